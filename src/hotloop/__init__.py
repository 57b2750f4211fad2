"""hotloop: the high-density feedback loop.

sense -> predict -> feedback -> join -> learn -> gate -> rollout -> (predict)

    import hotloop
    loop = hotloop.open("my-loop", vertical="vectors", labels=["ok", "worn"], columns=3)
    prediction = loop.predict([0.1, 2.0, 3.3])
    loop.feedback(prediction.id, "worn", reviewer="ann")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hotloop.errors import HotloopError

if TYPE_CHECKING:
    from hotloop.api import Loop, open  # noqa: A004  (hotloop.open is how a loop is opened)

__all__ = ["HotloopError", "Loop", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Loop` and `open`, once they are asked for: a line's device has no lake, and must not need its packages."""
    if name in ("Loop", "open"):
        return getattr(importlib.import_module("hotloop.api"), name)
    raise AttributeError(f"module 'hotloop' has no attribute {name!r}")
