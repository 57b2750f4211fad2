"""How a law says that something must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from hotloop.errors import HotloopError

P = ParamSpec("P")


def raises(error: type[HotloopError], call: Callable[P, object], *args: P.args, **named: P.kwargs) -> bool:
    """Whether a call raises that error. Any other goes up."""
    try:
        call(*args, **named)
    except error:
        return True
    return False
