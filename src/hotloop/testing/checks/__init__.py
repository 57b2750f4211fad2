"""The laws of the ports. An adapter is whatever passes them: `check_log`, `check_lake`, `check_registry`, ...

Each module has its laws as functions with a docstring, and `LAWS`, for anyone's `pytest.mark.parametrize`.
"""

from hotloop.testing.checks.channel import check_channel
from hotloop.testing.checks.lake import check_lake
from hotloop.testing.checks.learner import check_learner
from hotloop.testing.checks.log import check_log
from hotloop.testing.checks.registry import check_registry

__all__ = ["check_channel", "check_lake", "check_learner", "check_log", "check_registry"]
