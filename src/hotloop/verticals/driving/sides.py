"""Which recordings are tuned on and which are held out, so that nothing of the one is in the other. Pure.

Snippets of one camera overlap: the same vehicles, seconds or metres apart. A split by file name then judges on traffic
that was tuned on. Here recordings that share a vehicle (its name, kind and size to the centimetre) are one group, and
so are those that share one with these; a group is on one side. That asks for more than that the same moment is not on
both sides: who drives there is not, either. Names are taken as those of one survey; recordings whose names mean nothing
outside of them (simulated ones, other fleets) are groups of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hotloop.errors import InputError
from hotloop.verticals.driving.scenario import Scenario
from hotloop.verticals.driving.tracks import Tracks

Shared: TypeAlias = Mapping[str, Collection[str]]  # of each recording, those that share a vehicle with it


@dataclass(frozen=True)
class Sides:
    """Names of recordings. `tune` is `fit`, `choose` and `dropped`; what is held out is not looked at before the end.

    fit: settings are tried on it; choose: they are chosen by it; dropped: not tried on, because it shares vehicles with
    what they are chosen by.
    """

    tune: tuple[str, ...]
    held: tuple[str, ...]
    fit: tuple[str, ...]
    choose: tuple[str, ...]
    dropped: tuple[str, ...]


def shared(recordings: Sequence[Tracks]) -> dict[str, set[str]]:
    """Which recordings share a vehicle. InputError if two have one name."""
    who = {
        one.source: {(a.name, a.kind, round(a.length, 2), round(a.width, 2)) for a in one.actors} for one in recordings
    }
    if len(who) < len(recordings):
        raise InputError(f"{len(recordings)} recordings with {len(who)} names; each needs its own to be on one side")
    return {name: {other for other in who if other != name and who[name] & who[other]} for name in who}


def groups(links: Shared) -> list[tuple[str, ...]]:
    """Recordings that hang together by shared vehicles, the largest group first."""
    left, found = set(links), []
    while left:
        level = reached = {min(left)}
        while level:
            level = {other for name in level for other in links[name]} - reached
            reached = reached | level
        found.append(tuple(sorted(reached)))
        left -= reached
    return sorted(found, key=lambda group: (-len(group), group))


def sides(links: Shared, held_share: float = 0.4, choose_share: float = 0.2) -> Sides:
    """Whole groups to the side that is furthest from its share, the largest first; then the tuned side cut in two.

    A tuned side of several groups is cut the same way. One of a single group is a chain in time: settings are chosen by
    its end, and what shares a vehicle with that end is dropped while they are. InputError if nothing would be held out.
    """
    apart = groups(links)
    if len(apart) < 2:
        raise InputError(f"all {len(links)} recordings share vehicles, one with the next: none can be held out")
    tune, held = _dealt(apart, held_share)
    inner = groups({name: set(links[name]) & set(tune) for name in tune})
    if len(inner) > 1:
        fit, choose = _dealt(inner, choose_share)
        return Sides(tune, held, fit, choose, ())
    order = _in_a_row(links, tune)
    choose = tuple(sorted(order[len(order) - int(choose_share * len(order)) :])) if choose_share else ()
    near = {other for name in choose for other in links[name]} - set(choose)
    fit = tuple(name for name in tune if name not in choose and name not in near)
    return Sides(tune, held, fit, choose, tuple(sorted(near & set(tune))))


def _dealt(apart: Sequence[tuple[str, ...]], second_share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Groups onto two sides whose shares of the recordings are as wanted, as nearly as whole groups can be."""
    total = sum(len(group) for group in apart)
    first: list[str] = []
    second: list[str] = []
    for group in apart:
        lacks = (1 - second_share) * total - len(first), second_share * total - len(second)
        (first if lacks[0] >= lacks[1] else second).extend(group)
    return tuple(sorted(first)), tuple(sorted(second))


def _in_a_row(links: Shared, names: Sequence[str]) -> list[str]:
    """A chain from one of its ends on: by how many shared vehicles one has to go through to come there."""
    end = _steps(links, names, names[0])[-1]
    return _steps(links, names, end)


def _steps(links: Shared, names: Sequence[str], start: str) -> list[str]:
    level, order = [start], [start]
    while level:
        level = sorted({other for name in level for other in links[name] if other in names} - set(order))
        order += level
    return order


def of(scenarios: Sequence[Scenario], names: Collection[str]) -> list[Scenario]:
    """The scenes of these recordings."""
    return [one for one in scenarios if recording_of(one.name) in names]


def recording_of(scene: str) -> str:
    """The name of the recording that a scene of this name comes from: `recording:actor:frame`."""
    return scene.rsplit(":", 2)[0]
