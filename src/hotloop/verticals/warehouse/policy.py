"""A policy: how tours are chosen from what is learned. A small record, so that it goes out like any backbone does.

It travels as JSON, is known by its digest, goes to a zone first and then everywhere, and comes back when trips take
longer. What the loop learns (the head) stays what it is: a policy only says what is made of it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from hotloop.config import Section
from hotloop.errors import ModelError
from hotloop.types import UNREADABLE, Floats, Head
from hotloop.verticals.warehouse.layout import Layout

DEAR_MAX: Final = 3.0  # times its planned time that a stretch may count dearer, for what it costs the others
_BYTES_MAX: Final = 100_000
Router: TypeAlias = Literal["exact", "s-shape", "return", "largest gap", "combined"]


class Routing(Section, frozen=True):
    """`[warehouse.routing]`: how tours are chosen."""

    router: Router = "exact"
    explores: Annotated[float, Meta(ge=0, le=4)] = 1.0  # how far samples lie from the mean: 0 goes by the mean alone
    congestion: tuple[float, ...] = ()  # by aisle, then by cross-aisle: what a robot there costs others (`congestion`)

    def bundle(self) -> bytes:
        """As bytes."""
        return msgspec.json.encode(self)

    def check(self, layout: Layout) -> None:
        """ModelError if it is of another warehouse. `congestion` is in shares of the planned time, one a place."""
        places = layout.config.aisles + layout.config.blocks + 1
        if self.congestion and len(self.congestion) != places:
            raise ModelError(
                f"a value of congestion here is of {places} places (aisles, then cross-aisles), not of "
                f"{len(self.congestion)}: fit it to this layout"
            )
        if any(not 0.0 <= value <= DEAR_MAX for value in self.congestion):
            raise ModelError(f"a value of congestion is 0 to {DEAR_MAX:g} times the planned time")


def routing_of(bundle: bytes, layout: Layout) -> Routing:
    """The policy in a bundle. ModelError if it is none, or of another warehouse."""
    if len(bundle) > _BYTES_MAX:
        raise ModelError(f"a policy takes at most {_BYTES_MAX} bytes, this has {len(bundle)}")
    try:
        routing = msgspec.json.decode(bundle, type=Routing)
    except UNREADABLE as error:
        raise ModelError(f"these bytes are no policy of a warehouse: {error}") from error
    routing.check(layout)
    return routing


def place_of(layout: Layout) -> NDArray[np.intp]:
    """Of each stretch, the number of its place: its aisle, or its cross-aisle after all aisles (stretches,)."""
    aisles = np.repeat(np.arange(layout.config.aisles), layout.parts)
    across = np.repeat(np.arange(layout.config.blocks + 1), layout.config.aisles - 1) + layout.config.aisles
    return np.concatenate((aisles, across))


def steered(head: Head, routing: Routing, layout: Layout, centres: Floats, unit: float) -> Head:
    """The head whose samples are drawn as a policy wants them: nearer to the mean or farther from it, and dearer where
    a robot is in the way of others. The first columns are the classes (`centres`), the others samples in `unit`s.
    """
    if routing.explores == 1.0 and not routing.congestion:
        return head
    weights = head.weights.copy()
    classes = len(centres)
    mean = (weights[:, :classes] @ centres * unit)[:, None]
    weights[:, classes:] = mean + routing.explores * (weights[:, classes:] - mean)
    if routing.congestion:
        dear = np.array(routing.congestion)[place_of(layout)]
        weights[: layout.stretches, classes:] += unit * dear[:, None]
    return Head(head.labels, weights, head.thresholds)
