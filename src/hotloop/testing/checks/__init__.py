"""The laws of the ports. An adapter is whatever passes them: `check_log`, `check_lake`, `check_registry`, ...

Each module has its laws as functions with a docstring, and `LAWS`, for anyone's `pytest.mark.parametrize`.
"""
