"""Which scenes are worth their cost: value per cost under a budget, no scene twice, and an audit share. Pure.

The value of a case is severity x novelty x what it may teach x what humans think of such cases. Scenes are chosen
greedily by value per cost; one that is like a scene already chosen counts for little. Of what was not chosen, some
are drawn with a chance that is known, whatever is on them: so recall can be estimated without bias (Horvitz and
Thompson 1952). The draw is that of `feedback/audit.py`: the same in every replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hotloop.errors import InputError
from hotloop.feedback.audit import drawn
from hotloop.types import Floats
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.limits import RankConfig
from hotloop.verticals.driving.measures import Flags
from hotloop.verticals.driving.scene import NAMES, vector
from hotloop.verticals.driving.tracks import Ints

INTEREST: Final = 4.0  # a human's "worse than you think" multiplies the value by this, "not interesting" divides it


@dataclass(frozen=True)
class Candidate:
    """A finding with the log it is of. interest: what humans think of such cases, -1 (dull) to 1; 0: not known."""

    finding: Finding
    log: str = ""
    step_s: float = 0.1
    interest: float = 0.0

    @property
    def key(self) -> str:
        """Which case of which log: what the audit draw hashes."""
        one = self.finding
        return f"{self.log}:{one.case}:{'-'.join(map(str, one.actors))}:{one.first}"


@dataclass(frozen=True)
class Choice:
    """A candidate to spend on, by its index. propensity: its chance of being here; 1 unless it was drawn."""

    index: int
    value: float
    cost: float
    audit: bool = False
    propensity: float = 1.0


def value(one: Candidate) -> float:
    """What a case is worth: severity x novelty x expected learning x interest; each of the middle two from 0.5 to 1."""
    finding = one.finding
    learning = max(finding.surprise, finding.rarity)
    interest = float(np.clip(one.interest, -1.0, 1.0))
    return float(finding.severity * (0.5 + 0.5 * finding.novelty) * (0.5 + 0.5 * learning) * INTEREST**interest)


def cost(one: Candidate, limits: RankConfig) -> float:
    """What simulating a case costs: its seconds with those around it, and a fixed part."""
    seconds = (one.finding.last - one.finding.first + 1) * one.step_s
    return limits.fixed_cost + limits.before_s + seconds + limits.after_s


def rank(candidates: Sequence[Candidate], limits: RankConfig) -> list[Choice]:
    """The choices, best first, then those drawn for the audit. Their cost is within the budget, the audit's on average.

    InputError if a value is no number.
    """
    values = np.array([value(one) for one in candidates], np.float64)
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"the value of {candidates[place].key} is {values[place]}: findings have finite measures")
    costs = np.array([cost(one, limits) for one in candidates], np.float64)
    order = sorted(range(len(values)), key=lambda i: (-values[i] / costs[i], candidates[i].key, i))
    looked = np.array(order[: limits.candidates_max], np.int64)
    chosen = _greedy(candidates, looked, (values, costs), limits)
    taken = {choice.index for choice in chosen}
    left = [i for i in range(len(values)) if i not in taken]
    total = float(costs[left].sum()) if left else 0.0
    chance = min(1.0, limits.audit_share * limits.budget / total) if total else 0.0
    audit = [i for i in left if drawn(candidates[i].key, limits.seed, chance)]
    return chosen + [Choice(i, float(values[i]), float(costs[i]), audit=True, propensity=chance) for i in audit]


def _greedy(
    candidates: Sequence[Candidate], looked: Ints, worth: tuple[Floats, Floats], limits: RankConfig
) -> list[Choice]:
    """Always the best value per cost that still fits; what is like it is worth little from then on."""
    values, costs = worth[0][looked].copy(), worth[1][looked]
    scenes = np.array([vector(candidates[i].finding) for i in looked]).reshape(len(looked), len(NAMES))
    moments = _Moments([candidates[i] for i in looked])
    left, free, chosen = limits.budget * (1 - limits.audit_share), np.ones(len(looked), bool), list[Choice]()
    like = np.zeros(len(looked), bool)
    while True:
        fits = free & (costs <= left) & (values > 0)
        if not fits.any():
            return chosen
        best = int(np.argmax(np.where(fits, values / costs, -np.inf)))  # the first of equals
        chosen.append(Choice(int(looked[best]), float(values[best]), float(costs[best])))
        free[best] = False
        left -= costs[best]
        far = np.sqrt(np.mean((scenes - scenes[best]) ** 2, axis=1))
        now = ((far < limits.alike) | moments.same(best)) & ~like
        values[now] *= limits.alike_share
        like |= now


class _Moments:
    """Which candidates are of one moment: the same log, an actor in common, and overlapping in time."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        logs: dict[str, int] = {}
        self._log = np.array([logs.setdefault(one.log, len(logs)) for one in candidates], np.int64)
        self._first = np.array([one.finding.first for one in candidates], np.int64)
        self._last = np.array([one.finding.last for one in candidates], np.int64)
        self._who = [frozenset(one.finding.actors) for one in candidates]

    def same(self, index: int) -> Flags:
        """(n,): whether each is of the moment of the candidate `index`."""
        first, last = self._first[index], self._last[index]
        near: Flags = (self._log == self._log[index]) & (self._first <= last) & (self._last >= first)
        for place in np.flatnonzero(near):
            near[place] = bool(self._who[place] & self._who[index]) or not self._who[index]
        return near


@dataclass(frozen=True)
class Looked:
    """What somebody found on a choice: whether it was a case worth having."""

    choice: Choice
    hit: bool


def recall(looked: Iterable[Looked]) -> float | None:
    """Share of all cases worth having that the ranking chose, estimated by the audit; None without any hit.

    Each hit stands for 1 / propensity of its kind.
    """
    found = missed = 0.0
    for one in looked:
        if one.hit and one.choice.audit:
            missed += 1.0 / one.choice.propensity
        elif one.hit:
            found += 1.0
    return found / (found + missed) if found + missed else None
