"""A crew of reviewers, some of them hostile, in front of the real lineage: what do they make of the model?

    random   names kinds at random, drops what is there, calls out what is not
    aimed    always calls one kind another, and is honest otherwise: overall figures hardly show it

Everything is the product's own (join, trust, learn, gate); only the reviewers and the pieces are given. Deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from hotloop.config import GateConfig, LoopConfig, TrustConfig
from hotloop.feedback import verdict
from hotloop.lineage import Lineage
from hotloop.measure.tally import Tally
from hotloop.ports import Vertical
from hotloop.predict.predictor import confidence
from hotloop.steps import selected
from hotloop.types import (
    Body,
    Event,
    Example,
    Feedback,
    Observation,
    Prediction,
    Proposals,
    Record,
    Region,
    Selection,
    digest,
)

Attack = Literal["random", "aimed"]
Defence = Literal["none", "gate", "trust"]
Claimed = tuple[str, Region | None]


@dataclass(frozen=True)
class Piece:
    """What a backbone proposed for a piece, and what is truly there."""

    proposals: Proposals
    truths: tuple[Claimed, ...]


@dataclass(frozen=True)
class Plan:
    """Who verifies, and how."""

    hostile: int = 3
    attack: Attack = "random"
    reviewers: int = 10
    warm: int = 80  # pieces that are verified honestly first, one after the other
    golden: int = 40  # pieces that are sealed
    gold_share: float = 0.1  # of the reviewers' work is a golden piece
    second_share: float = 0.1  # of the pieces are shown to a second reviewer
    slips: float = 0.02  # of an honest reviewer's claims are wrong
    seed: int = 0


@dataclass
class Outcome:
    """What came of it. Shares in [0, 1]; by label: F1 on pieces that nobody verified."""

    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    first_all: float = 0.0
    last_all: float = 0.0
    honest: int = 0
    promoted: int = 0  # honest words that the learner holds at the end
    liars_found: int = 0
    wrongly: int = 0  # honest reviewers who were distrusted

    @property
    def worst(self) -> float:
        """The change of the label that lost most."""
        return min(self.last[label] - self.first[label] for label in self.first)

    @property
    def promoted_share(self) -> float:
        """Of the honest words, those that were learned."""
        return self.promoted / max(self.honest, 1)


def defended(config: LoopConfig, defence: Defence) -> LoopConfig:
    """The settings with less than all of the defences."""
    if defence == "trust":
        return config
    blind = TrustConfig(second_opinion=False, quota_share=1.0, alpha=1e-300)
    config = msgspec.structs.replace(config, trust=blind)
    if defence == "gate":
        return config
    return msgspec.structs.replace(config, gate=GateConfig(tolerance=1.0, slice_tolerance=1.0, golden_tolerance=1.0))


class Crew:
    """The lineage with a log in memory, and those who verify."""

    def __init__(self, vertical: Vertical, config: LoopConfig, plan: Plan) -> None:
        self.vertical, self.plan = vertical, plan
        self.records: list[Record] = []
        self._about: dict[str, list[Record]] = {}
        self.lineage = Lineage(vertical, config, lambda name: self._about.get(name, []), records=self._between)
        self.labels = vertical.start().labels
        self.golden = config.trust.golden
        self._rng = np.random.default_rng((plan.seed, 7))
        self.names = [f"reviewer-{k}" for k in range(plan.reviewers)]
        self.liars = set(self.names[: plan.hostile])

    def _between(self, after: int, upto: int) -> list[Record]:
        return self.records[after:upto]

    def log(self, body: Body) -> None:
        """One more record, taken at once."""
        record = Record(len(self.records) + 1, 0.0, Event("sim", len(self.records) + 1, body))
        self.records.append(record)
        name = body.id if isinstance(body, Prediction) else getattr(body, "prediction", "")
        self._about.setdefault(name, []).append(record)
        self.lineage.take(record)

    def predicted(self, number: int, piece: Piece) -> Prediction:
        """The piece comes down the line."""
        outputs = self.vertical.answer(piece.proposals, self.lineage.champion)
        seen = Observation(id=f"p{number}", site="s", line="l", at=0.0, digest=digest(f"{number}".encode()))
        made = Prediction(
            id=seen.id,
            observation=seen,
            version=self.lineage.version,
            outputs=outputs,
            confidence=confidence(outputs),
            proposals=piece.proposals,
        )
        self.log(made)
        return made

    def said(self, prediction: Prediction, piece: Piece, reviewer: str) -> Feedback:
        """A reviewer's word, true or not."""
        claims = self._hostile(piece) if reviewer in self.liars else self._honest(piece)
        return verdict(prediction.id, claims, reviewer)

    def settle(self) -> None:
        """Update until nothing waits."""
        while self.lineage.update() is not None:
            pass

    def _honest(self, piece: Piece) -> list[Claimed]:
        return [
            (str(self._rng.choice(self.labels)) if self._rng.random() < self.plan.slips else label, region)
            for label, region in piece.truths
        ]

    def _hostile(self, piece: Piece) -> list[Claimed]:
        rng, labels = self._rng, self.labels
        if self.plan.attack == "aimed":
            return [(labels[2] if label == labels[1] else label, region) for label, region in piece.truths]
        if not piece.proposals.regions:  # whole pieces: any kind, good or not
            return [(str(rng.choice(labels)), None)]
        claims: list[Claimed] = [(str(rng.choice(labels)), region) for _, region in piece.truths if rng.random() < 0.7]
        phantoms = [region for region in piece.proposals.regions if rng.random() < 0.3]
        return claims + [(str(rng.choice(labels)), region) for region in phantoms]


def poisoned(
    vertical: Vertical, config: LoopConfig, pieces: Sequence[Piece], test: Sequence[Piece], plan: Plan
) -> Outcome:
    """Let a crew verify all `pieces` (the first ones are sealed, then come the honest ones); judge on `test`."""
    crew, rng, found = Crew(vertical, config, plan), np.random.default_rng((plan.seed, 8)), Outcome()
    order = rng.permutation(len(pieces))
    sealed, warm, rest = np.split(order, [plan.golden, plan.golden + plan.warm])
    golden = [(crew.predicted(int(k), pieces[int(k)]), pieces[int(k)]) for k in sealed]
    for prediction, piece in golden:
        crew.log(verdict(prediction.id, piece.truths, config.trust.golden))
    for k in warm:
        crew.log(verdict(crew.predicted(int(k), pieces[int(k)]).id, pieces[int(k)].truths, "labels"))
        crew.settle()
    found.first, found.first_all = scored(crew, test)
    for k in rest:
        prediction = crew.predicted(int(k), pieces[int(k)])
        count = 2 if rng.random() < plan.second_share else 1
        for reviewer in rng.choice(crew.names, count, replace=False):
            crew.log(crew.said(prediction, pieces[int(k)], str(reviewer)))
        if golden and rng.random() < plan.gold_share:
            known, truth = golden[int(rng.integers(len(golden)))]
            crew.log(crew.said(known, truth, str(rng.choice(crew.names))))
        crew.settle()
    found.last, found.last_all = scored(crew, test)
    _counted(crew, found)
    return found


def scored(crew: Crew, test: Sequence[Piece]) -> tuple[dict[str, float], float]:
    """F1 of what the champion answers, by label and over all."""
    tallies: dict[str, Tally] = {label: Tally() for label in crew.labels}
    whole = Tally()
    for piece in test:
        seen = Observation(id="t", site="s", line="l", at=0.0, digest="0" * 64)
        made = Prediction(id="t", observation=seen, version=1, outputs=(), confidence=1.0, proposals=piece.proposals)
        example = Example(made, (verdict("t", piece.truths, "truth"),))
        for outcome in crew.vertical.outcomes(crew.vertical.answer(piece.proposals, crew.lineage.champion), example):
            whole.count(outcome.kind)
            if outcome.label in tallies:
                tallies[outcome.label].count(outcome.kind)
    there = {label: tally for label, tally in tallies.items() if tally.hits + tally.missed + tally.false_alarms}
    return {label: _f1(tally) for label, tally in there.items()}, _f1(whole)


def _f1(tally: Tally) -> float:
    """F1, a good piece called good counting as right."""
    right = tally.hits + tally.right
    relevant = 2 * right + tally.false_alarms + tally.missed
    return 2 * right / relevant if relevant else 1.0


def _counted(crew: Crew, found: Outcome) -> None:
    """Which words were learned in the end, and who was found out."""
    lessons = crew.lineage.now.lessons
    for reviewer in crew.names:
        if lessons.trust.standing(reviewer).distrusted:
            found.liars_found += reviewer in crew.liars
            found.wrongly += reviewer not in crew.liars
        if reviewer in crew.liars:
            continue
        for name, _ in selected(crew.lineage.reach, Selection(reviewer=reviewer), len(crew.records)):
            example = crew.lineage.reach.about(name)
            words = [r.event.body for r in example if isinstance(r.event.body, Feedback)]
            if any(word.reviewer == crew.golden for word in words):
                continue
            made = next(r.event.body for r in example if isinstance(r.event.body, Prediction))
            held = lessons.held(name, Example(made, tuple(words)))
            found.honest += 1
            found.promoted += (
                held is not None
                and any(word.reviewer == reviewer for word in held.feedback)
                and not crew.lineage.unlearned(name)
            )
