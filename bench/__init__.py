"""Every figure of the README, each as a ratio against a named peer where there is one: `python -m bench`."""
