"""The vertical for drives: a segment in, its rare and risky moments out, ranked by what humans found worth a look.

A payload is one segment of a drive (`segment.py`). Each finding that mining makes of it is a row; the labels are the
cases, and a score is the learned interest in it, 0 to 1, which begins as its severity. A verdict moves it at once:
the case as label says that it is one worth having (with a value in [0, 1]: how much, "worse than you think"), no label
that it is not interesting, another label that it is another case. An output from 0.5 on counts as flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hotloop.config import LoopConfig, path_from
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.types import Claim, Example, Feedback, Floats, Head, Outcome, Output, Payload, Proposals, Rows, digest
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.mine import mine
from hotloop.verticals.driving.planner import Planner, load_planner
from hotloop.verticals.driving.rank import Candidate, Choice, rank
from hotloop.verticals.driving.rows import expanded, finding_of, prior, proposals_of
from hotloop.verticals.driving.segment import unpack
from hotloop.verticals.driving.settings import DrivingConfig, settings_of
from hotloop.verticals.driving.tracks import Tracks

FLAGGED: Final = 0.5  # from this interest on it is worth a look


def vertical(config: LoopConfig) -> Driving:
    """Entry point: the vertical for `config`. ConfigError if `[driving]` cannot be, ModelError by its start file."""
    settings = settings_of(config)
    return Driving(settings, _start_bundle(path_from(config.base, settings.start)))


def _start_bundle(path: str) -> bytes:
    if not path:
        return Knows.start().to_bytes()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"[driving] start: {path} cannot be read: {error}") from error


class Driving:
    """Corner cases of drives, on what was learned of motion and scenes so far."""

    def __init__(self, config: DrivingConfig, bundle: bytes) -> None:
        self._config, self._bundle = config, bundle
        self.knows = Knows.from_bytes(bundle)
        self.backbone = digest(bundle)
        self.labels = CASES
        self._prior = prior()
        self.recipe = f"driving, {self._prior.shape[0]} columns, at most {config.findings_max} findings"

    def bundle(self) -> bytes:
        """What was learned of motion, scenes and cases, as one record."""
        return self._bundle

    def revived(self, bundle: bytes) -> Driving:
        """The same with other knowledge. ModelError if the bytes are none."""
        return Driving(self._config, bundle)

    def trainer(self) -> tuple[str, ...]:
        """What learns it again, in a child process."""
        return ("hotloop.verticals.driving.refresh",)

    def planner(self, name: str = "rule") -> Planner:
        """The planner to try on scenes, by `[driving.planner]`. ConfigError if none of that name is installed."""
        return load_planner(name, self._config.planner)

    def start(self) -> Head:
        """Each case is as interesting as it is severe."""
        return Head(self.labels, self._prior.copy(), (FLAGGED,) * len(self.labels))

    def tracks(self, payload: Payload) -> Tracks:
        """The segment. InputError if it is none, or of another region than this loop's."""
        found = unpack(payload.data, self._config.bytes_max)
        if self._config.region and found.region not in ("", self._config.region):
            raise InputError(
                f"a segment that may be kept in {found.region!r} alone, and this loop is in {self._config.region!r}: "
                "send it to the loop of its own region"
            )
        return found

    def findings(self, tracks: Tracks) -> list[Finding]:
        """The worst findings of a segment, by frame."""
        found = mine(tracks, self.knows, self._config.mine)
        worst = sorted(range(len(found)), key=lambda k: (-found[k].severity, k))[: self._config.findings_max]
        return [found[k] for k in sorted(worst)]

    def propose(self, payload: Payload) -> Proposals:
        """What mining finds in the segment. InputError."""
        tracks = self.tracks(payload)
        return proposals_of(self.findings(tracks), tracks.step_s)

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """All findings, the most interesting first; region: see `rows.region_of`."""
        if proposals.rows == 0:
            return ()
        x, cases = expanded(proposals)
        scores = x @ head.weights[:, : len(self.labels)]
        if not np.isfinite(scores).all():
            raise ModelError("the head gives a finding a score that is no finite number")
        own = scores[np.arange(len(cases)), cases]
        best = scores.argmax(axis=1)
        label = np.where(scores.max(axis=1) >= np.maximum(FLAGGED, own + 1e-9), best, cases)  # what mining said, else
        interest = scores[np.arange(len(cases)), label].clip(0.0, 1.0).round(4)
        order = sorted(range(len(cases)), key=lambda k: (-interest[k], k))
        regions = proposals.regions or (None,) * proposals.rows
        return tuple(Output(self.labels[int(label[k])], float(interest[k]), regions[k], k) for k in order)

    def teach(self, example: Example) -> Rows:
        """One row a finding that a reviewer spoke of; where reviewers differ, the mean of what they say."""
        proposals = example.prediction.proposals
        x, cases = expanded(proposals)
        count = len(self.labels)
        total, voices, weight = np.zeros((len(x), count)), np.zeros(len(x)), np.zeros(len(x))
        for index, feedback in enumerate(example.feedback):
            voice = example.weight(index)
            for row, y in self._said(feedback, example, cases).items():
                total[row] += voice * y
                voices[row] += voice
                weight[row] = max(weight[row], voice)
        rows = np.flatnonzero(voices)
        return Rows(x[rows], total[rows] / voices[rows, None], weight[rows])

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """Of each finding that was spoken of: flagged rightly, a false alarm, or missed; "right" if none of these."""
        proposals = example.prediction.proposals
        _, cases = expanded(proposals)
        words = [self._said(feedback, example, cases) for feedback in example.feedback]
        spoken = sorted({row for word in words for row in word})
        seen = [o for o in outputs if o.score >= FLAGGED]
        flagged = {row: o.label for o in seen if (row := _row_of(o, proposals)) is not None}
        told: list[Outcome] = []
        for row in spoken:
            y = np.mean([word[row] for word in words if row in word], axis=0)
            truth = self.labels[int(y.argmax())] if y.max() >= FLAGGED else None
            said = flagged.get(row)
            if said is not None and said in self.labels:
                told.append(Outcome("hit" if said == truth else "false alarm", said))
            if truth is not None and said != truth:
                told.append(Outcome("missed", truth))
        complete = any(feedback.complete for feedback in example.feedback)
        return tuple(told) if told or not (spoken or complete) else (Outcome("right", ""),)

    def ranked(self, predictions: Sequence[tuple[str, Proposals]], head: Head) -> list[tuple[int, Output, Choice]]:
        """What to spend `[driving.rank]` on, over many segments (name, proposals), best first, the audit's draws last:
        which segment, the output, and the choice with its value, cost and propensity.
        """
        found: list[tuple[int, Output]] = []
        candidates = []
        for index, (name, proposals) in enumerate(predictions):
            numbers = proposals.array()
            for output in self.answer(proposals, head):
                if output.region is None:
                    continue
                finding = finding_of(output.region, row=numbers[output.proposal])
                interest = float(np.clip(2.0 * (output.score - finding.severity), -1.0, 1.0))
                found.append((index, output))
                candidates.append(Candidate(finding, name, float(output.region[4]), interest))
        return [(*found[choice.index], choice) for choice in rank(candidates, self._config.rank)] if found else []

    def _said(self, feedback: Feedback, example: Example, cases: Sequence[int]) -> dict[int, Floats]:
        """What a reviewer says of rows: the interest in each case, by row."""
        prediction, found = example.prediction, dict[int, Floats]()
        for claim in feedback.claims:
            row = self._claimed(claim, example)
            if row is None or row >= len(cases):
                continue
            y = np.zeros(len(self.labels))
            worth = 1.0 if claim.value is None else float(np.clip(claim.value, 0.0, 1.0))
            if claim.label is None and claim.value is not None:  # how bad it was, of the case that was said
                y[cases[row]] = worth
            elif claim.label in self.labels:
                y[self.labels.index(claim.label)] = worth
            elif claim.label is not None:
                continue
            found[row] = y
        if feedback.complete:
            for row in range(prediction.proposals.rows):
                found.setdefault(row, np.zeros(len(self.labels)))
        return found

    def _claimed(self, claim: Claim, example: Example) -> int | None:
        """The row that a claim is about; None if it is about none of them."""
        outputs, proposals = example.prediction.outputs, example.prediction.proposals
        if claim.output is not None:
            return _row_of(outputs[claim.output], proposals) if 0 <= claim.output < len(outputs) else None
        if claim.region is None or claim.label is None or claim.label not in self.labels:
            return None
        return _row_of(Output(claim.label, 1.0, claim.region, -1), proposals)


def _row_of(output: Output, proposals: Proposals) -> int | None:
    """The proposal that an output is of: its own, or (seen by another backbone) the same case of the same ones."""
    if 0 <= output.proposal < proposals.rows:
        return output.proposal
    if output.region is None or output.proposal >= 0:
        return None
    try:
        wanted = finding_of(output.region)
        others = [finding_of(one) for one in proposals.regions]
    except ModelError:
        return None
    for row, one in enumerate(others):
        same = one.case == wanted.case and one.actors == wanted.actors
        if same and one.first <= wanted.last and one.last >= wanted.first:
            return row
    return None
