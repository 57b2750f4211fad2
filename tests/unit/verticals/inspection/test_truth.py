"""What reviewers say together: places, refutations, and how far a word may be taken as all there is."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.types import Claim, Example, Feedback, Observation, Output, Prediction, Proposals
from hotloop.verticals.inspection.score import truths_of
from hotloop.verticals.inspection.truth import Said, agreed, said, words_of

LABELS = ("open", "short")
OUTPUTS = (
    Output("open", 0.9, (0.0, 0.0, 10.0, 10.0), 4),
    Output("short", 0.8, (50.0, 50.0, 70.0, 70.0), 7),
    Output("open", 0.7, None, 2),
)
BOX = (100.0, 100.0, 120.0, 110.0)


def word(*claims, complete=True, reviewer="ann"):
    return Feedback(prediction="p", reviewer=reviewer, claims=claims, complete=complete)


def boxes(*named, complete=True):
    """A word that names these (label, region)."""
    return Said(truths_of([r for _, r in named], [LABELS.index(n) for n, _ in named]), (), complete)


def listed(found):
    return [(LABELS[k], tuple(r)) for k, r in zip(found.labels, found.regions.tolist(), strict=True)]


class TestSaid:
    """One reviewer's word."""

    def test_a_confirmed_output_is_a_truth_in_its_place(self):
        """Its label as the reviewer gives it, its region as the model gave it."""
        found = said(word(Claim(output=1, label="open")), OUTPUTS, LABELS)
        assert listed(found.truths) == [("open", OUTPUTS[1].region)]
        assert found.complete
        assert found.refuted == ()

    def test_a_region_of_the_reviewers_own_goes_first(self):
        """A box that was moved counts where it was moved to."""
        found = said(word(Claim(output=0, label="open", region=BOX)), OUTPUTS, LABELS)
        assert listed(found.truths) == [("open", BOX)]

    def test_a_refuted_output_names_its_proposal(self):
        """Not its place among the outputs."""
        found = said(word(Claim(output=1), Claim(output=0), complete=False), OUTPUTS, LABELS)
        assert found.refuted == (7, 4)
        assert not found.complete
        assert len(found.truths.labels) == 0

    def test_nothing_claimed_is_a_good_piece(self):
        """Complete, with no truths."""
        found = said(word(), OUTPUTS, LABELS)
        assert found.complete
        assert found.truths.regions.shape == (0, 4)

    @pytest.mark.parametrize(
        "claim",
        [
            Claim(label="open"),
            Claim(output=2, label="open"),
            Claim(output=99, label="open"),
            Claim(output=-1, label="open"),
            Claim(label="scratch", region=BOX),
            Claim(label="open", region=(1.0, 2.0)),
            Claim(label="open", region=()),
        ],
        ids=str,
    )
    def test_a_label_that_cannot_be_placed_makes_a_word_incomplete(self, claim):
        """Something is there: what the word does not mention may not be called ground. The rest still holds."""
        found = said(word(claim, Claim(output=0, label="open")), OUTPUTS, LABELS)
        assert not found.complete
        assert listed(found.truths) == [("open", OUTPUTS[0].region)]

    @pytest.mark.parametrize("place", [None, 3, -1, -3, 10**12])
    def test_refuting_what_is_not_there_says_nothing(self, place):
        """No output of that index: no proposal is refuted, and no other one is hit in its stead."""
        found = said(word(Claim(output=place)), OUTPUTS, LABELS)
        assert found.refuted == ()
        assert found.complete


class TestAgreed:
    """What reviewers agree on."""

    def test_one_reviewer_is_taken_at_their_word(self):
        """Even where two of their boxes overlap."""
        alone = boxes(("open", BOX), ("open", BOX))
        assert agreed([alone]) is alone.truths

    def test_nobody_says_nothing(self):
        """No words, no truths."""
        assert agreed([]).regions.shape == (0, 4)

    def test_half_is_enough(self):
        """One of two counts; one of three does not; two of three do."""
        yes, no = boxes(("open", BOX)), boxes()
        assert listed(agreed([yes, no])) == [("open", BOX)]
        assert listed(agreed([no, yes, no])) == []
        assert listed(agreed([yes, no, yes])) == [("open", BOX)]

    def test_one_thing_drawn_twice_is_one_truth(self):
        """Boxes that overlap as a hit would are the same; the first reviewer's place is kept."""
        moved = tuple(v + 2.0 for v in BOX)
        assert listed(agreed([boxes(("open", BOX)), boxes(("open", moved))])) == [("open", BOX)]

    def test_boxes_that_hardly_overlap_are_two(self):
        """Each has one voice of three: none is a truth."""
        far = tuple(v + 12.0 for v in BOX)
        assert listed(agreed([boxes(("open", BOX)), boxes(("open", far)), boxes()])) == []

    def test_the_label_belongs_to_it(self):
        """Three reviewers, one place: the label that two give is the truth."""
        words = [boxes(("open", BOX)), boxes(("short", BOX)), boxes(("short", BOX))]
        assert listed(agreed(words)) == [("short", BOX)]

    def test_a_reviewer_has_one_voice(self):
        """Drawing the same box three times does not outvote two others."""
        assert listed(agreed([boxes(*[("open", BOX)] * 3), boxes(), boxes()])) == []

    def test_the_order_of_boxes_does_not_matter(self):
        """Each place is found whichever comes first."""
        other = (0.0, 0.0, 30.0, 30.0)
        one, two = boxes(("open", BOX), ("short", other)), boxes(("short", other), ("open", BOX))
        assert sorted(listed(agreed([one, two, boxes()]))) == sorted(listed(agreed([two, one, boxes()])))
        assert len(agreed([one, two, boxes()]).labels) == 2

    def test_empty_boxes_agree_with_themselves_alone(self):
        """A box without an area overlaps nothing; it ends the search all the same."""
        flat = (5.0, 5.0, 5.0, 9.0)
        assert listed(agreed([boxes(("open", flat)), boxes(("open", flat))])) == [("open", flat), ("open", flat)]


def test_words_come_in_the_order_of_the_feedback():
    """One word a reviewer, read against the prediction's outputs."""
    seen = Observation(id="o", site="s", line="l", at=0.0, digest="")
    prediction = Prediction(
        id="p", observation=seen, version=1, outputs=OUTPUTS, confidence=1.0, proposals=Proposals(0, 0, b"")
    )
    given = (word(Claim(output=0)), word(Claim(output=0, label="open"), complete=False, reviewer="bob"))
    first, second = words_of(Example(prediction, given), LABELS)
    assert first.refuted == (4,)
    assert np.array_equal(second.truths.regions, [OUTPUTS[0].region])
