"""A release on another backbone goes out in waves: some lines first, then site by site, then everywhere. Pure.

A head on a backbone that all lines have goes to all at once: it is a product of matrices that the gate has judged, and
cannot crash a device. Another backbone can: a runtime, a memory or a camera that no gate has seen. So few lines try it
first, each tells whether it answers with it or has declined it, and one wave is all that a bad one can reach.

Whether it answers *better* is not found here. The watch (`rollout.watch`) tells it from verified pieces that both
backbones answer, wherever they were made, which needs an order of magnitude fewer than canary against control; an
alarm there rolls back what is under way here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hotloop.config import RolloutConfig

_GONE_S: Final = 86_400.0  # a line that was silent for a day is no line any more


@dataclass(frozen=True)
class LineState:
    """A line as the hub knows it. `version`: what it acknowledged last; `silent_s`: since it was heard of."""

    line: str
    site: str
    version: int
    silent_s: float
    declined: str = ""  # why it does not take this release, or ""
    pinned: bool = False  # by an engineer: it stays with what it has


@dataclass(frozen=True)
class Wave:
    """The lines that may take the release, since when (a monotonic clock), and the how-manieth wave it is."""

    lines: frozenset[str]
    began_s: float
    number: int


@dataclass(frozen=True)
class Plan:
    """What to do next, and why, in words."""

    action: Literal["offer", "wait", "everywhere", "roll back"]
    lines: frozenset[str]
    reason: str


def next_wave(fleet: Sequence[LineState], wave: Wave | None, version: int, now_s: float, config: RolloutConfig) -> Plan:
    """What follows for the release of `version`: the next wave, patience, all lines, or the way back.

    Pinned lines are neither waited for nor counted. A line that falls silent after it was offered the release may have
    been taken down by it: it is waited for, and where most of a wave have, that is the way back.
    """
    known = [one for one in fleet if not one.pinned and one.silent_s <= _GONE_S]
    present = [one for one in known if one.silent_s <= config.away_s]
    if wave is None:
        return _first(present, known, config)
    offered = [one for one in known if one.line in wave.lines]
    number, count = wave.number, max(len(offered), 1)
    declined = [one for one in offered if one.declined]
    if len(declined) / count > config.declined_max:
        first = declined[0]
        said = f"{len(declined)} of {count} lines of wave {number} declined it"
        return Plan("roll back", wave.lines, f"{said}; {first.line}: {first.declined}")
    lost = [one for one in offered if one.silent_s > config.away_s]
    if 2 * len(lost) > count:
        said = f"{len(lost)} of {count} lines of wave {number} fell silent after they were offered it"
        return Plan("roll back", wave.lines, f"{said}: {_names(lost)}")
    if lost:
        said = f"{len(lost)} of {count} lines of wave {number} fell silent after they were offered it: {_names(lost)}"
        return Plan("wait", wave.lines, f"{said}. hotloop pin leaves a line out")
    if not offered:
        return _first(present, known, config)
    if waiting := [one for one in offered if one.version < version and not one.declined]:
        said = f"{len(waiting)} of {count} lines do not answer with it yet: {_names(waiting)}"
        return Plan("wait", wave.lines, said)
    if (left := config.wave_s - (now_s - wave.began_s)) > 0:
        return Plan("wait", wave.lines, f"wave {number} answers with it; {left:.0f} s until the next")
    return _following(present, wave, config)


def _names(lines: Sequence[LineState]) -> str:
    return ", ".join(one.line for one in lines[:3])


def _first(present: Sequence[LineState], known: Sequence[LineState], config: RolloutConfig) -> Plan:
    """The canary: a share of the lines, all of as few sites as can be; once most of the lines are here."""
    if len(known) <= 1:
        return Plan("everywhere", frozenset(one.line for one in known), "there are not two lines to tell apart")
    if 2 * len(present) < len(known):
        return Plan("wait", frozenset(), f"{len(present)} of {len(known)} lines are here: waiting for more")
    count = max(1, math.ceil(config.canary_share * len(present)))
    lines = frozenset(one.line for one in _ordered(present)[:count])
    return Plan("offer", lines, f"canary: {count} of {len(present)} lines")


def _following(present: Sequence[LineState], wave: Wave, config: RolloutConfig) -> Plan:
    """So many times as many lines as before, up to the end of a site; everywhere when that is all of them."""
    ordered = _ordered(present)
    aim = max(math.ceil(config.wave_factor * len(wave.lines)), len(wave.lines) + 1)
    chosen = [one for one in ordered if one.line in wave.lines]
    for one in ordered:
        if one.line not in wave.lines and (len(chosen) < aim or one.site == chosen[-1].site):
            chosen.append(one)
    lines = wave.lines | {one.line for one in chosen}
    if all(one.line in lines for one in ordered):
        return Plan("everywhere", lines, f"wave {wave.number} answers with it: all {len(ordered)} lines")
    return Plan("offer", lines, f"wave {wave.number + 1}: {len(lines)} of {len(ordered)} lines")


def _ordered(lines: Sequence[LineState]) -> list[LineState]:
    return sorted(lines, key=lambda one: (one.site, one.line))
