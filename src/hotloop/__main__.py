"""`python -m hotloop` is `hotloop`."""

from hotloop.cli import main

if __name__ == "__main__":
    main()
