"""`[warehouse.robots]`: every setting of a fleet that speaks VDA 5050, with its unit."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hotloop.config import Section


class RobotsConfig(Section, frozen=True):
    """`[warehouse.robots]`: a fleet that speaks VDA 5050 at the loop's broker (`hotloop robots`)."""

    interface: str = "uagv"  # what all topics of the robots begin with
    names: tuple[str, ...] = ()  # MANUFACTURER/SERIAL of each; (): whoever shows up
    robots_max: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    port: Annotated[int, Meta(ge=0, le=65535)] = 8430  # of this computer alone: orders, actions; 0 picks a free one
    orders_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000  # that wait; as many that are over are remembered
    capacity: Annotated[int, Meta(ge=1, le=64)] = 20  # picks on one tour; a larger order has a tour of its own
    pick: str = "pick"  # the action (VDA 5050) that a robot does where something is picked; "": it drives past
    base: Annotated[int, Meta(ge=1, le=200)] = 6  # legs released at a time; more when half are gone
    horizon: Annotated[int, Meta(ge=0, le=200)] = 6  # legs that are announced behind these
    again_s: Annotated[float, Meta(gt=0)] = 5.0  # a robot has so long to take what was said; then it is said again
    silent_s: Annotated[float, Meta(gt=0)] = 35.0  # without a state (one is due every 30 s) a robot on tour is asked
    late_s: Annotated[float, Meta(ge=0)] = 2.0  # a tour's feedback waits so long for states that are missing
    reviewer: str = "robots"  # in whose name measured times are
