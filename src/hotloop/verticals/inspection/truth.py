"""What the reviewers of a piece say together: the boxes that most of them name, and the outputs they refute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hotloop.types import Claim, Example, Feedback, Output, Region
from hotloop.verticals.inspection.score import OVERLAP_MIN, Boxes, overlaps, truths_of


@dataclass(frozen=True)
class Said:
    """One reviewer's word: the boxes that are there, the proposals that are nothing, and whether that is all."""

    truths: Boxes
    refuted: tuple[int, ...]
    complete: bool


def said(feedback: Feedback, outputs: Sequence[Output], labels: Sequence[str]) -> Said:
    """What a feedback says in terms of boxes.

    A label without a place (no region, and no output that has one) cannot be learned. Then the feedback is not
    taken as complete: something is there, so what it does not mention may not be called ground.
    """
    complete = feedback.complete
    regions: list[Region] = []
    named: list[int] = []
    refuted = []
    for claim in feedback.claims:
        output = _output(claim, outputs)
        if claim.label is None:
            refuted += [] if output is None else [output.proposal]
            continue
        region = claim.region or (output.region if output is not None else None)
        if claim.label in labels and region is not None and len(region) == 4:
            regions.append(region)
            named.append(labels.index(claim.label))
        else:
            complete = False
    return Said(truths_of(regions, named), tuple(refuted), complete)


def _output(claim: Claim, outputs: Sequence[Output]) -> Output | None:
    if claim.output is None or claim.output >= len(outputs):
        return None
    return outputs[claim.output]


def agreed(words: Sequence[Said]) -> Boxes:
    """The boxes that at least half of the reviewers name: same label, and overlapping as a hit would."""
    if len(words) == 1:
        return words[0].truths
    left = [
        (k, region, label)
        for k, w in enumerate(words)
        for region, label in zip(w.truths.regions, w.truths.labels, strict=True)
    ]
    regions, labels = [], []
    while left:
        _, region, label = left[0]
        shares = overlaps(region[None], np.array([other for _, other, _ in left]))[0]
        same = [
            (share > OVERLAP_MIN) and other == label
            for share, (_, _, other) in zip(shares, left, strict=True)
        ]
        same[0] = True
        voices = {k for hit, (k, _, _) in zip(same, left, strict=True) if hit}
        if 2 * len(voices) >= len(words):
            regions.append(region)
            labels.append(int(label))
        left = [entry for hit, entry in zip(same, left, strict=True) if not hit]
    return truths_of(regions, labels)


def words_of(example: Example, labels: Sequence[str]) -> list[Said]:
    """What each reviewer of an example says, in the order of their names."""
    return [said(feedback, example.prediction.outputs, labels) for feedback in example.feedback]
