"""How much a reviewer's word counts: earned by gold questions and agreement, lost by evidence, never by opinion.

Fed, word by word, with how each compares with something else: the sealed truth of a gold question, another reviewer's
word on the same piece, a champion that is sure. Each comparison is the share of things agreed on, by label. So an aimed
lie (one class always called another) shows in that class, where a mean over all classes would hide it.

Distrust. For each reviewer, and for each label of theirs, someone bets that they agree less than the others do by
more than `trust.margin` (fair money if they do not; Ville 1939). Who gets k / alpha times richer, with k tests on that
reviewer, has the proof. What the others do is the median over reviewers, the accused left out: three liars of ten do
not move it. An honest reviewer is ever distrusted with a chance of at most about alpha. The stakes are spread over
several bet sizes.

A lone reviewer has nobody to be compared with, and a champion alone is no judge: a model that is wrong must not silence
the only one who says so. Pure: no clock, no randomness.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np

from hotloop.config import TrustConfig
from hotloop.types import Floats, Outcome

Kind: TypeAlias = Literal["gold", "peer", "champion"]

BETS: Final[Floats] = np.array([0.1, 0.3, 0.6, 0.9])  # shares of the largest safe bet
REVIEWERS_MAX: Final = 1000  # remembered; the one silent for longest is forgotten, and starts anew
LABELS_MAX: Final = 64  # of a reviewer that are tested on their own; later ones are tested together alone
WINDOW: Final = 50  # newest admitted words that the quota looks at
POOL_LEAST: Final = 3  # comparisons that a reviewer needs to be part of what "the others do"
EARNED_LEAST: Final = 5  # gold questions that earn full standing
NEW_COMPARISONS: Final = 5  # below this a reviewer among others is new
GOLD_REFERENCE: Final = 0.9  # agreement with the truth where no other reviewer was asked
CORROBORATION: Final = 64  # newest contradictions of a sure champion that may corroborate another
_NEW_WEIGHT: Final = 0.5
_STRONG: Final = {"gold": 3.0, "peer": 1.0, "champion": 0.5}  # how much each kind says of a reviewer
_WEIGH_EVERY: Final = 10  # comparisons between two weighings, so that a weight seldom changes
_ALL: Final = "*"
_ROOM_LEAST: Final = 0.05
_LOG_MAX: Final = 600.0


@dataclass(frozen=True)
class Standing:
    """How much a reviewer's word counts, in [0, 1], and why."""

    weight: float
    distrusted: bool
    reason: str


class Record(msgspec.Struct):
    """What is known of a reviewer: comparisons and agreements by kind and label, and the stakes by label."""

    seen: dict[str, list[float]] = {}  # "kind/label": [comparisons, sum of their shares of agreements]
    stakes: dict[str, list[float]] = {}  # label: log capital of each bet
    comparisons: int = 0
    weight: float = _NEW_WEIGHT
    distrusted: str = ""  # why, or ""


class TrustState(msgspec.Struct, frozen=True):
    """Trust as a record."""

    records: dict[str, Record]
    told: list[str]
    window: list[str]
    clashes: list[tuple[str, str]]


class Trust:
    """Every reviewer's record. One thread at a time."""

    def __init__(self, config: TrustConfig) -> None:
        self._config = config
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._fresh: list[str] = []  # newly distrusted, not yet told
        self._window: deque[str] = deque(maxlen=WINDOW)
        self._clashes: deque[tuple[str, str]] = deque(maxlen=CORROBORATION)  # (reviewer, label)

    def saw(self, reviewer: str, kind: Kind, outcomes: Sequence[Outcome]) -> None:
        """A word of a reviewer was compared: a hit (or "right") for each thing agreed on, a miss or false alarm for
        others.
        """
        if not outcomes:
            return
        record, agreements = self._record(reviewer), _agreements(outcomes)
        floors = {label: self._floor(reviewer, kind, label) for label in agreements}
        for label, agreed in agreements.items():
            floor = floors[label]
            if floor is not None and (label in record.stakes or len(record.stakes) < LABELS_MAX):
                self._bet(record, label, floor, agreed)
            count = record.seen.setdefault(f"{kind}/{label}", [0.0, 0.0])
            count[0] += 1.0
            count[1] += agreed
        record.comparisons += 1
        if record.comparisons % _WEIGH_EVERY == 0:
            record.weight = self._weighed(reviewer, record)
        if not record.distrusted and (why := self._proof(record)):
            record.distrusted = why
            self._fresh.append(reviewer)

    def standing(self, reviewer: str) -> Standing:
        """How much a reviewer's word counts now."""
        record = self._records.get(reviewer)
        if record is not None and record.distrusted:
            return Standing(0.0, distrusted=True, reason=record.distrusted)
        if len(self._records) < 2 or record is None:
            return Standing(1.0, distrusted=False, reason="there is nobody to be compared with yet")
        if record.comparisons < NEW_COMPARISONS:
            return Standing(_NEW_WEIGHT, distrusted=False, reason=f"new: {record.comparisons} comparisons so far")
        return Standing(record.weight, distrusted=False, reason=f"agrees in {self._share(record):.0%} of comparisons")

    def reviewers(self) -> tuple[str, ...]:
        """All that have a record, the one silent for longest first."""
        return tuple(self._records)

    def newly_distrusted(self) -> tuple[str, ...]:
        """Those distrusted since it was last asked: what they taught is to be taken out."""
        fresh, self._fresh = tuple(self._fresh), []
        return fresh

    def distrusted(self) -> tuple[str, ...]:
        """All who are not trusted any more."""
        return tuple(name for name, record in self._records.items() if record.distrusted)

    def reinstate(self, reviewer: str) -> None:
        """A reviewer starts anew, as if nobody had ever been compared with them."""
        self._records.pop(reviewer, None)

    # quota

    def admits(self, reviewers: Sequence[str]) -> list[bool]:
        """Which of the waiting words one update may learn, given whose each is ("": of several, always admitted).

        At most `quota_share` of the newest WINDOW words that were learned may be one reviewer's, once `quota_least`
        are at work. A share of the one batch at hand would say nothing: most batches are a word or two.
        """
        admitted = []
        for reviewer in reviewers:
            active = len({*self._window, *reviewers} - {""})
            own = sum(one == reviewer for one in self._window) + 1
            free = reviewer == "" or active < self._config.quota_least
            admitted.append(free or own <= max(1.0, self._config.quota_share * WINDOW))
            if admitted[-1]:
                self._window.append(reviewer)
        return admitted

    def admitted(self, reviewers: Sequence[str]) -> None:
        """The words that an earlier run let one update learn: for a rebuild."""
        self._window.extend(reviewers)

    # second opinion

    def clashed(self, reviewer: str, label: str) -> None:
        """A word contradicted what a sure champion says of a label."""
        self._clashes.append((reviewer, label))

    def needs_second(self, reviewer: str, label: str, active: int) -> bool:
        """Whether a word that contradicts a sure champion on a label has to wait for another reviewer's.

        Not with fewer than three at work, not from one who has earned full standing by gold questions, and not if
        somebody else has lately contradicted the champion on the same label: then it is the champion who has to
        explain itself.
        """
        if not self._config.second_opinion or active < 3:
            return False
        if any(other != reviewer and what == label for other, what in self._clashes):
            return False
        gold, agreed = self._records.get(reviewer, Record()).seen.get(f"gold/{_ALL}", [0.0, 0.0])
        return not (gold >= EARNED_LEAST and agreed / gold >= GOLD_REFERENCE)

    # state

    def state(self) -> TrustState:
        """What `restore` needs."""
        records = {name: msgspec.json.decode(msgspec.json.encode(r), type=Record) for name, r in self._records.items()}
        return TrustState(records, list(self._fresh), list(self._window), list(self._clashes))

    def restore(self, state: TrustState) -> None:
        """Become what `state` was."""
        kept = {name: msgspec.json.decode(msgspec.json.encode(r), type=Record) for name, r in state.records.items()}
        self._records = OrderedDict(kept)
        self._fresh = list(state.told)
        self._window = deque(state.window, maxlen=WINDOW)
        self._clashes = deque(((a, b) for a, b in state.clashes), maxlen=CORROBORATION)

    def _record(self, reviewer: str) -> Record:
        record = self._records.get(reviewer)
        if record is None:
            record = self._records[reviewer] = Record(seen={}, stakes={})
            if len(self._records) > REVIEWERS_MAX:
                self._records.popitem(last=False)
        self._records.move_to_end(reviewer)
        return record

    def _floor(self, accused: str, kind: Kind, label: str) -> float | None:
        """The agreement that is asked of a reviewer on a label: the others' (medians over reviewers), less the margin.
        None if nobody can say.
        """
        on_all = self._median(accused, f"{kind}/{_ALL}")
        if on_all is None:
            return GOLD_REFERENCE - self._config.margin if kind == "gold" else None
        on_label = self._median(accused, f"{kind}/{label}")
        return min(on_all, on_label if on_label is not None else on_all) - self._config.margin

    def _median(self, accused: str, key: str) -> float | None:
        """The median over the other reviewers of their share of agreements; None with fewer than two who can be
        counted.
        """
        shares = [
            seen[1] / seen[0]
            for name, record in self._records.items()
            if name != accused and not record.distrusted and (seen := record.seen.get(key, _NONE))[0] >= POOL_LEAST
        ]
        return float(np.median(shares)) if len(shares) >= 2 else None

    def _bet(self, record: Record, label: str, floor: float, agreed: float) -> None:
        """Stake that the agreement is below `floor`: gains where they disagree, loses where they agree."""
        if floor <= 0:
            return
        stakes = record.stakes.setdefault(label, [0.0] * len(BETS))
        shares = BETS / max(1.0 - floor, _ROOM_LEAST)  # a larger bet could lose more than all
        steps = np.log1p(shares * (floor - agreed))
        record.stakes[label] = np.minimum(np.array(stakes) + steps, _LOG_MAX).tolist()

    def _proof(self, record: Record) -> str:
        """Why a reviewer is not to be trusted any more, if it is proven; else ""."""
        for label, stakes in record.stakes.items():
            capital = float(np.exp(stakes).mean())
            if capital >= len(record.stakes) / self._config.alpha:
                gold = record.seen.get(f"gold/{label}", _NONE)
                where = "" if label == _ALL else f" on {label!r}"
                return (
                    f"agrees less than the others do{where}: {self._share(record, label):.0%} of "
                    f"{self._seen(record, label):.0f} comparisons, {gold[0]:.0f} of them gold questions "
                    f"(e-value {capital:.3g})"
                )
        return ""

    def _weighed(self, reviewer: str, record: Record) -> float:
        """The weight that the record earns: 1 like the others, less the further below them."""
        others = [
            self._share(r) for name, r in self._records.items() if name != reviewer and r.comparisons >= NEW_COMPARISONS
        ]
        below = (float(np.median(others)) if others else 0.0) - self._share(record)
        margin = self._config.margin
        return 1.0 if below <= margin / 2 else 0.5 if below <= margin else 0.25

    @staticmethod
    def _share(record: Record, label: str = _ALL) -> float:
        """The share of agreements on a label, gold counting most."""
        parts = [(_STRONG[kind], record.seen.get(f"{kind}/{label}", _NONE)) for kind in _STRONG]
        total = sum(strong * seen[0] for strong, seen in parts)
        return sum(strong * seen[1] for strong, seen in parts) / total if total else 1.0

    @staticmethod
    def _seen(record: Record, label: str) -> float:
        return sum(record.seen.get(f"{kind}/{label}", _NONE)[0] for kind in _STRONG)


def _agreements(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The share of agreements in one word, over all and by label. A word is one piece of evidence, however much it
    says: two words that disagree on one thing often disagree on all of it.
    """
    by_label: dict[str, list[bool]] = {_ALL: []}
    for outcome in outcomes:
        for label in (_ALL, outcome.label) if outcome.label else (_ALL,):
            by_label.setdefault(label, []).append(outcome.kind in ("hit", "right"))
    return {label: sum(agreed) / len(agreed) for label, agreed in by_label.items()}


_NONE: Final[list[float]] = [0.0, 0.0]
