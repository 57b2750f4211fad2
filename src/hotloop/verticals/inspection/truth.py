"""What the reviewers of a piece say together: the boxes that most of them name, and the outputs they refute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hotloop.types import Claim, Example, Feedback, Floats, Output, Region
from hotloop.verticals.inspection.score import OVERLAP_MIN, Boxes, overlaps, truths_of


@dataclass(frozen=True)
class Said:
    """One reviewer's word: the boxes that are there, the proposals that are nothing, and whether that is all.

    `nothing` (n, 4) px: the places of refuted outputs whose proposals are another backbone's.
    """

    truths: Boxes
    refuted: tuple[int, ...]
    complete: bool
    nothing: Floats = field(default_factory=lambda: np.zeros((0, 4)))


def said(feedback: Feedback, outputs: Sequence[Output], labels: Sequence[str]) -> Said:
    """What a feedback says in terms of boxes.

    A label without a place (no region, and no output that has one) cannot be learned. Then the feedback is not
    taken as complete: something is there, so what it does not mention may not be called ground.
    """
    complete = feedback.complete
    regions: list[Region] = []
    named: list[int] = []
    refuted = []
    nothing: list[Region] = []
    for claim in feedback.claims:
        output = _output(claim, outputs)
        if claim.label is None:
            if output is not None and output.proposal >= 0:
                refuted.append(output.proposal)
            elif output is not None and output.region is not None and len(output.region) == 4:
                nothing.append(output.region)
            continue
        region = claim.region or (output.region if output is not None else None)
        if claim.label in labels and region is not None and len(region) == 4:
            regions.append(region)
            named.append(labels.index(claim.label))
        else:
            complete = False
    return Said(truths_of(regions, named), tuple(refuted), complete, truths_of(nothing, [0] * len(nothing)).regions)


def _output(claim: Claim, outputs: Sequence[Output]) -> Output | None:
    if claim.output is None or not 0 <= claim.output < len(outputs):
        return None
    return outputs[claim.output]


def agreed(words: Sequence[Said]) -> Boxes:
    """The boxes that at least half of the reviewers name: same label, and overlapping as a hit would."""
    if len(words) == 1:
        return words[0].truths
    none = truths_of([], [])
    regions = np.concatenate([none.regions, *(word.truths.regions for word in words)])
    labels = np.concatenate([none.labels, *(word.truths.labels for word in words)])
    owners = np.repeat(np.arange(len(words)), [len(word.truths.labels) for word in words])
    kept = []
    left = np.arange(len(labels))
    while len(left):
        first = left[0]
        same = (overlaps(regions[first : first + 1], regions[left])[0] > OVERLAP_MIN) & (labels[left] == labels[first])
        same[0] = True
        if 2 * len(np.unique(owners[left[same]])) >= len(words):
            kept.append(first)
        left = left[~same]
    return truths_of(regions[kept], labels[kept])


def words_of(example: Example, labels: Sequence[str]) -> list[Said]:
    """What each reviewer of an example says, in the order of their names."""
    return [said(feedback, example.prediction.outputs, labels) for feedback in example.feedback]
