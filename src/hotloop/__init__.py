"""hotloop: the high-density feedback loop.

sense -> predict -> feedback -> join -> learn -> gate -> rollout -> (predict)

    import hotloop
    loop = hotloop.open("my-loop", vertical="vectors", labels=["ok", "worn"], columns=3)
    prediction = loop.predict([0.1, 2.0, 3.3])
    loop.feedback(prediction.id, "worn", reviewer="ann")
"""

from hotloop.api import Loop, open  # noqa: A004  (hotloop.open is how a loop is opened)
from hotloop.errors import HotloopError

__all__ = ["HotloopError", "Loop", "open"]
__version__ = "0.1.0"
