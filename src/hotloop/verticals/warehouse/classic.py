"""The classic routes through one block, as people walk them: peers of the exact tour, and what a plant starts from.

    s-shape       through every aisle with picks, the last one back where it was entered if their number is odd
    return        into every aisle from the front and back
    largest gap   through the first and the last one; the others from both ends, up to their largest gap
    combined      through or back, aisle by aisle, whichever is shorter together (Roodbergen & de Koster 2001)

Hall (1993), Petersen (1997). Each gives legs from the depot and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.warehouse.layout import Layout, Leg, Place

Router = Callable[[Layout, Sequence[Place], Floats], list[Leg]]


def s_shape(layout: Layout, picks: Sequence[Place], _times: Floats) -> list[Leg]:
    """Through every aisle with picks."""
    by_aisle = _by_aisle(picks)
    ways = ["through"] * len(by_aisle)
    if len(ways) % 2:
        ways[-1] = "front"
    return _gone(layout, by_aisle, ways)


def back_and_forth(layout: Layout, picks: Sequence[Place], _times: Floats) -> list[Leg]:
    """Into every aisle from the front."""
    by_aisle = _by_aisle(picks)
    return _gone(layout, by_aisle, ["front"] * len(by_aisle))


def combined(layout: Layout, picks: Sequence[Place], times: Floats) -> list[Leg]:
    """Through or back, by a dynamic programme over the two ends that one may be at."""
    by_aisle = _by_aisle(picks)
    depths = layout.depths(times)
    crosses = times[layout.config.aisles * layout.parts :].reshape(layout.config.blocks + 1, layout.config.aisles - 1)
    best: dict[str, tuple[float, list[str]]] = {"front": (0.0, []), "back": (float("inf"), [])}
    here = layout.config.depot
    for aisle, at in by_aisle.items():
        low, high = sorted((here, aisle))
        front, back = float(crosses[0, low:high].sum()), float(crosses[-1, low:high].sum())
        whole, far = float(depths[aisle, -1]), layout.depth(depths, aisle, at[-1])
        near = whole - layout.depth(depths, aisle, at[0])
        at_front, at_back = best["front"][0] + front, best["back"][0] + back
        stay = (at_front + 2 * far, [*best["front"][1], "front"])
        up = (at_front + whole, [*best["front"][1], "through"])
        down = (at_back + whole, [*best["back"][1], "through"])
        hang = (at_back + 2 * near, [*best["back"][1], "back"])
        best = {"front": min(stay, down), "back": min(hang, up)}
        here = aisle
    return _gone(layout, by_aisle, best["front"][1])


def largest_gap(layout: Layout, picks: Sequence[Place], times: Floats) -> list[Leg]:
    """Up the first aisle, along the back, down the last one, along the front."""
    by_aisle = _by_aisle(picks)
    if len(by_aisle) < 2:
        return back_and_forth(layout, picks, times)
    depths, far, ends = layout.depths(times), layout.config.blocks, layout.length_m
    first, *middle, last = by_aisle
    front_m, back_m = {}, {}
    for aisle in middle:
        at = [0.0, *by_aisle[aisle], ends]
        widest = int(np.diff([layout.depth(depths, aisle, metres) for metres in at]).argmax())
        front_m[aisle], back_m[aisle] = at[widest], at[widest + 1]
    legs = [*layout.across(0, layout.config.depot, first), *layout.along(first, 0.0, ends)]
    here = first
    for aisle in middle:
        if by_aisle[aisle][-1] >= back_m[aisle]:
            legs += layout.across(far, here, aisle)
            legs += [*layout.along(aisle, ends, back_m[aisle]), *layout.along(aisle, back_m[aisle], ends)]
            here = aisle
    legs += [*layout.across(far, here, last), *layout.along(last, ends, 0.0)]
    here = last
    for aisle in reversed(middle):
        if by_aisle[aisle][0] <= front_m[aisle]:
            legs += layout.across(0, here, aisle)
            legs += [*layout.along(aisle, 0.0, front_m[aisle]), *layout.along(aisle, front_m[aisle], 0.0)]
            here = aisle
    return [*legs, *layout.across(0, here, layout.config.depot)]


CLASSIC: Final[dict[str, Router]] = {
    "s-shape": s_shape, "return": back_and_forth, "largest gap": largest_gap, "combined": combined,
}  # fmt: skip


def time_of(legs: Sequence[Leg], times: Floats) -> float:
    """How long legs take, s."""
    return float(sum(times[stretch] * share for stretch, share in legs))


def _by_aisle(picks: Sequence[Place]) -> dict[int, list[float]]:
    """The picks of each aisle, front to back, from the first aisle to the last."""
    found: dict[int, list[float]] = {}
    for aisle, metres in sorted(picks):
        found.setdefault(aisle, []).append(metres)
    return found


def _gone(layout: Layout, by_aisle: dict[int, list[float]], ways: Sequence[str]) -> list[Leg]:
    """Aisle after aisle: "through", "front" (in and back), or "back" (the same from the back end)."""
    legs: list[Leg] = []
    here, end = layout.config.depot, 0
    for (aisle, at), way in zip(by_aisle.items(), ways, strict=True):
        legs += layout.across(end, here, aisle)
        edge = layout.length_m if end else 0.0
        if way == "through":
            legs += layout.along(aisle, edge, layout.length_m - edge)
            end = 0 if end else layout.config.blocks
        else:
            turn = at[0] if end else at[-1]
            legs += [*layout.along(aisle, edge, turn), *layout.along(aisle, turn, edge)]
        here = aisle
    return [*legs, *layout.across(end, here, layout.config.depot)]
