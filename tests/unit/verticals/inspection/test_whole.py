"""Whole pieces: silent at first, told apart after a few verdicts, and judged as good, hit, alarm or miss."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import ImageLimits, LearnConfig
from hotloop.errors import ConfigError, ImageTooLargeError, ModelError, UnreadableImageError
from hotloop.feedback import verdict
from hotloop.learn import Reflex
from hotloop.sense.images import encode_png
from hotloop.types import (
    Change,
    Claim,
    Example,
    Feedback,
    Observation,
    Outcome,
    Output,
    Payload,
    Prediction,
    digest,
)
from hotloop.verticals.inspection.detector import boards_files
from hotloop.verticals.inspection.settings import InspectionConfig
from hotloop.verticals.inspection.whole import WholeImage

KINDS = ("scratched", "stained")


@pytest.fixture(scope="module")
def whole():
    """Good pieces and two kinds of bad ones, on the shipped backbone."""
    return WholeImage(InspectionConfig(task="image", labels=KINDS), 0)


def picture(seed, kind):
    """A noisy grey texture: plain if it is ok, with lines across if scratched, with dark discs if stained."""
    rng = np.random.default_rng(seed)
    grey = rng.integers(110, 140, (96, 96))
    y, x = np.mgrid[:96, :96]
    if kind == "scratched":
        grey[int(rng.integers(9)) :: int(rng.integers(9, 14))] -= 90
    if kind == "stained":
        for cx, cy in rng.integers(15, 80, (5, 2)):
            grey[(x - cx) ** 2 + (y - cy) ** 2 < 90] -= 90
    return Payload(encode_png(grey.clip(0, 255).astype(np.uint8)), "image/png")


def example(proposals, *feedback, outputs=()):
    seen = Observation(id="o", site="site-1", line="line-1", at=0.0, digest="")
    prediction = Prediction(id="p", observation=seen, version=1, outputs=outputs, confidence=1.0, proposals=proposals)
    return Example(prediction, feedback)


def called(kind, reviewer="ann"):
    """A complete verdict: one kind, or that the piece is good."""
    return verdict("p", [] if kind == "ok" else [(kind, None)], reviewer)


@pytest.fixture(scope="module")
def pieces(whole):
    """Proposals with what is true of them, the kinds in turn."""
    kinds = ("ok", *KINDS)
    return [(whole.propose(picture(seed, kinds[seed % 3])), kinds[seed % 3]) for seed in range(30)]


class TestAnswers:
    """What it says."""

    def test_it_begins_by_calling_every_piece_good(self, whole, pieces):
        """The good label stands first; a cold head says nothing of any piece."""
        head = whole.start()
        assert head.labels == ("ok", *KINDS)
        assert all(whole.answer(proposals, head) == () for proposals, _ in pieces)

    def test_a_few_verdicts_tell_kinds_apart(self, whole, pieces):
        """Six verdicts of each kind, and pieces that were not shown are told apart."""
        reflex = Reflex(whole.teach, whole.start(), LearnConfig())
        for offset, (proposals, kind) in enumerate(pieces[:18], 1):
            reflex.learn([Change(offset, None, example(proposals, called(kind)))])
        head = reflex.head()
        right = [
            {o.kind for o in whole.outcomes(whole.answer(proposals, head), example(proposals, called(kind)))}
            <= {"hit", "right"}
            for proposals, kind in pieces[18:]
        ]
        assert sum(right) >= 10, "of 12"

    def test_one_verdict_is_enough_for_the_same_piece(self, whole, pieces):
        """Said of a piece once, it is answered of that piece; taken back, it is silent again."""
        proposals, kind = pieces[1]
        reflex = Reflex(whole.teach, whole.start(), LearnConfig())
        taught = example(proposals, called(kind))
        reflex.learn([Change(1, None, taught)])
        (output,) = whole.answer(proposals, reflex.head())
        assert output.label == kind
        assert 0.5 < output.score <= 1.0
        assert output.region is None
        reflex.unlearn([taught])
        assert np.allclose(reflex.head().weights, whole.start().weights, atol=1e-9)

    def test_features_are_those_of_the_picture(self, whole, pieces):
        """One row, the same bytes each time, from colour as from grey."""
        assert whole.propose(picture(1, "scratched")) == pieces[1][0]
        assert (pieces[1][0].rows, pieces[1][0].regions) == (1, ())
        grey = np.full((40, 60), 90, np.uint8)
        one, two = (whole.propose(Payload(encode_png(p))) for p in (grey, np.repeat(grey[:, :, None], 3, 2)))
        assert one == two

    @pytest.mark.parametrize(
        "change",
        [
            {"rows": 0, "data": b""},
            {"rows": 2},
            {"rows": -1},
            {"columns": 3},
            {"rows": 1, "columns": 3, "data": bytes(6)},
            {"data": b"x"},
            {"kind": "f4"},
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_a_model_error(self, whole, pieces, change):
        """Features of another backbone, or made up: asked, taught or judged."""
        bad = msgspec.structs.replace(pieces[0][0], **change)
        with pytest.raises(ModelError):
            whole.answer(bad, whole.start())
        for words in ((), (called("ok"),)):
            with pytest.raises(ModelError):
                whole.teach(example(bad, *words))
            with pytest.raises(ModelError):
                whole.outcomes((), example(bad, *words))

    def test_what_is_no_picture_is_refused(self, whole):
        """And one above the table's limits."""
        with pytest.raises(UnreadableImageError):
            whole.propose(Payload(b"junk"))
        strict = WholeImage(InspectionConfig(labels=KINDS, images=ImageLimits(pixels_max=9)), 0)
        with pytest.raises(ImageTooLargeError):
            strict.propose(picture(0, "ok"))


class TestTeach:
    """What verdicts say of a piece."""

    @pytest.mark.parametrize(
        ("feedback", "wanted"),
        [
            (called("ok"), [1, 0, 0]),
            (called("stained"), [0, 0, 1]),
            (verdict("p", [("ok", None)], "ann"), [1, 0, 0]),
            (Feedback(prediction="p", reviewer="ann", claims=(Claim(output=0),), complete=False), [1, 0, 0]),
            (verdict("p", [("scratched", (1.0, 2.0, 3.0, 4.0))], "ann"), [0, 1, 0]),
            (verdict("p", [("scratched", None), ("stained", None)], "ann"), [0, 1, 0]),
        ],
        ids=["good", "stained", "named good", "false alarm", "with a place", "the first of two"],
    )
    def test_a_verdict_is_one_row(self, whole, pieces, feedback, wanted):
        """One for what it truly is."""
        rows = whole.teach(example(pieces[0][0], feedback))
        assert rows.y.tolist() == [wanted]
        assert rows.w.tolist() == [1.0]

    def test_reviewers_who_differ_are_averaged(self, whole, pieces):
        """Two to one."""
        words = [called("ok", "ann"), called("stained", "bob"), called("stained", "eve")]
        assert np.allclose(whole.teach(example(pieces[0][0], *words)).y, [[1 / 3, 0, 2 / 3]])

    def test_a_word_on_nothing_teaches_nothing(self, whole, pieces):
        """Partial and empty, or none at all; beside one that speaks it has no voice."""
        silent = Feedback(prediction="p", reviewer="bob", claims=(), complete=False)
        for words in ((), (silent,)):
            rows = whole.teach(example(pieces[0][0], *words))
            assert rows.x.shape == (0, len(whole.start().weights))
            assert rows.y.shape == (0, 3)
        assert whole.teach(example(pieces[0][0], called("stained"), silent)).y.tolist() == [[0, 0, 1]]


class TestOutcomes:
    """How it turned out."""

    @pytest.mark.parametrize(
        ("said", "truth", "wanted"),
        [
            ("ok", "ok", [Outcome("right", "ok")]),
            ("stained", "stained", [Outcome("hit", "stained")]),
            ("stained", "ok", [Outcome("false alarm", "stained")]),
            ("ok", "stained", [Outcome("missed", "stained")]),
            ("scratched", "stained", [Outcome("false alarm", "scratched"), Outcome("missed", "stained")]),
        ],
    )
    def test_said_against_true(self, whole, pieces, said, truth, wanted):
        """Good and good is right; one kind for another is two mistakes."""
        outputs = () if said == "ok" else (Output(said, 0.9),)
        assert list(whole.outcomes(outputs, example(pieces[0][0], called(truth)))) == wanted

    def test_nobody_spoke(self, whole, pieces):
        """Without a verdict there is no outcome."""
        assert whole.outcomes((Output("stained", 0.9),), example(pieces[0][0])) == ()


class TestSettings:
    """What the table can be."""

    @pytest.mark.parametrize("labels", [(), ("ok",)])
    def test_kinds_are_needed(self, labels):
        """Good alone is no problem to learn."""
        with pytest.raises(ConfigError, match="labels"):
            WholeImage(InspectionConfig(task="image", labels=labels), 0)

    def test_good_stands_first_whatever_the_order(self):
        """Under its own name, and once."""
        found = WholeImage(InspectionConfig(labels=("dent", "fine"), good="fine"), 0)
        assert found.labels == ("fine", "dent")

    def test_it_names_its_backbone(self, whole):
        """The shipped one, by its digest."""
        assert whole.backbone == digest(whole.bundle())
        assert boards_files()[0] in whole.bundle()
        assert "image" in whole.recipe

    def test_a_missing_backbone_says_how_to_write_it(self, tmp_path):
        """The error names the command."""
        with pytest.raises(ModelError, match="export lite0"):
            WholeImage(InspectionConfig(labels=KINDS, start=str(tmp_path / "none.onnx")), 0)

    def test_no_folder_has_no_labels_to_start_from(self, whole):
        """The setting is empty by default."""
        assert whole.labelled() == []


def test_proposals_of_a_piece_fit_the_log(pieces):
    """One row in float16: what a piece costs."""
    proposals = pieces[0][0]
    assert len(proposals.data) == 2 * proposals.columns
