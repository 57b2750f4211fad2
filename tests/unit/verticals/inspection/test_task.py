"""Boxes: the loop starts at the start model's answers, and each verdict moves them, exactly and reversibly."""

from __future__ import annotations

import dataclasses
from itertools import islice

import msgspec
import numpy as np
import pytest

from hotloop.config import ImageLimits, LearnConfig, LoopConfig
from hotloop.errors import (
    ConfigError,
    ImageTooLargeError,
    LayoutError,
    ModelError,
    TemplateError,
    UnreadableImageError,
)
from hotloop.feedback import false_alarms, right, verdict
from hotloop.learn import Reflex
from hotloop.sense.images import decode_image, encode_png
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
    Proposals,
    digest,
)
from hotloop.verticals.inspection import vertical as entry_point
from hotloop.verticals.inspection.candidates import HIT_OVERLAP, MISS_OVERLAP, decide
from hotloop.verticals.inspection.detector import COLD_SCORE_MIN, boards_files, boards_model
from hotloop.verticals.inspection.plant import plant_boards
from hotloop.verticals.inspection.score import overlaps
from hotloop.verticals.inspection.settings import InspectionConfig
from hotloop.verticals.inspection.task import Detection, smoothed
from hotloop.verticals.inspection.whole import WholeImage

SIZE_PX = 320
CORNER = (0.5, 0.5, 3.5, 3.5)  # a place where nothing is proposed


@pytest.fixture(scope="module")
def detection():
    """The vertical as it is shipped."""
    return Detection(InspectionConfig(), 0)


@pytest.fixture(scope="module")
def boards():
    """A few boards of one plant."""
    return list(islice(plant_boards(5, 0, size_px=SIZE_PX), 8))


@pytest.fixture(scope="module")
def predictions(detection, boards):
    """What the start model says of each."""
    return [predicted(detection, board) for board in boards]


@pytest.fixture(scope="module")
def prediction(predictions):
    """The one with the most answers: at least two."""
    found = max(predictions, key=lambda one: len(one.outputs))
    assert len(found.outputs) >= 2
    return found


def predicted(detection, board, key="line-1:1"):
    proposals = detection.propose(board.payload)
    seen = Observation(id="o", site="site-1", line="line-1", at=0.0, digest=digest(board.payload.data))
    outputs = detection.answer(proposals, detection.start())
    return Prediction(id=key, observation=seen, version=1, outputs=outputs, confidence=1.0, proposals=proposals)


def example(prediction, *feedback):
    return Example(prediction, tuple(sorted(feedback, key=lambda one: one.reviewer)))


def said_of(prediction, *claims, complete=True, reviewer="ann"):
    return Feedback(prediction=prediction.id, reviewer=reviewer, claims=claims, complete=complete)


def counted(outcomes):
    kinds = [outcome.kind for outcome in outcomes]
    return tuple(kinds.count(kind) for kind in ("hit", "false alarm", "missed", "right"))


def target(detection, rows, proposal_rows, index):
    """The target that a lesson has for a proposal, or None."""
    x = detection._expand(proposal_rows.array()[index : index + 1])[0]
    found = [y for row, y in zip(rows.x, rows.y, strict=True) if np.allclose(row, x, atol=1e-9)]
    return found[0].tolist() if found else None


class TestStart:
    """Where a loop begins."""

    def test_the_first_answers_are_the_start_models_own(self, detection, boards):
        """Same boxes, labels and scores as the detector's candidates at its thresholds, to the features' float16."""
        model = boards_model()
        for board in boards:
            image, template = decode_image(board.payload.data), decode_image(board.payload.reference)
            found = model.candidates(image, template)
            _, wanted = decide(found.regions.round(1), found.scores, model.description.thresholds)
            said = detection.answer(detection.propose(board.payload), detection.start())
            assert [output.label for output in said] == [model.description.labels[k] for k in wanted.labels]
            assert np.allclose([output.score for output in said], wanted.scores, atol=1e-3)
            assert np.allclose([output.region for output in said], wanted.regions)

    def test_a_cold_start_says_nothing(self, boards):
        """Start = "none" proposes as ever, and its head is silent."""
        cold = Detection(InspectionConfig(start="none", labels=("scratch", "dent")), 0)
        proposals = cold.propose(boards[0].payload)
        assert proposals.rows > 0
        assert cold.answer(proposals, cold.start()) == ()
        assert cold.start().labels == ("scratch", "dent")
        assert not cold.start().weights.any()

    def test_a_cold_start_forgets_even_the_labels_it_could_know(self, boards):
        """Labels of the start model are cold too when the user asks for a cold start."""
        cold = Detection(InspectionConfig(start="none", labels=("open", "short")), 0)
        assert cold.answer(cold.propose(boards[0].payload), cold.start()) == ()

    def test_a_cold_start_without_labels_is_refused(self):
        """It says which setting is missing."""
        with pytest.raises(ConfigError, match="labels"):
            Detection(InspectionConfig(start="none"), 0)

    def test_own_labels_keep_what_the_start_model_knows_of_them(self, detection, boards):
        """In an order of one's own, with one that it does not know: the known ones answer as before."""
        known = detection.labels
        own = Detection(InspectionConfig(labels=("scratch", *reversed(known))), 0)
        for board in boards:
            proposals = own.propose(board.payload)
            assert own.answer(proposals, own.start()) == detection.answer(proposals, detection.start())
        assert own.start().thresholds[0] == 0.5

    def test_a_label_left_out_is_never_said(self, detection, prediction):
        """With one label alone, the other kinds have no column."""
        alone = prediction.outputs[0].label
        own = Detection(InspectionConfig(labels=(alone,)), 0)
        assert {o.label for o in own.answer(prediction.proposals, own.start())} == {alone}

    def test_it_names_its_backbone_and_recipe(self, detection):
        """The digest of the shipped bytes, and a recipe that holds the seed."""
        assert detection.backbone == digest(detection.bundle())
        assert boards_files()[0] in detection.bundle()
        assert detection.recipe != Detection(InspectionConfig(), 1).recipe

    def test_a_missing_start_model_says_how_to_make_one(self, tmp_path):
        """The error names the path and the command."""
        with pytest.raises(ModelError, match=r"inspection\.train"):
            Detection(InspectionConfig(start=str(tmp_path / "none.onnx")), 0)

    def test_a_start_model_of_ones_own_is_read_from_its_two_files(self, detection, tmp_path):
        """A copy of the shipped pair starts like the shipped one."""
        onnx, description = boards_files()
        (tmp_path / "own.onnx").write_bytes(onnx)
        (tmp_path / "own.json").write_bytes(description)
        own = Detection(InspectionConfig(start=str(tmp_path / "own.onnx")), 0)
        assert own.backbone == detection.backbone
        assert np.array_equal(own.start().weights, detection.start().weights)

    def test_the_entry_point_makes_what_the_table_asks_for(self):
        """Boxes by default, the whole piece with task = "image"."""
        assert isinstance(entry_point(LoopConfig()), Detection)
        table = {"inspection": {"task": "image", "labels": ["dent"]}}
        assert isinstance(entry_point(LoopConfig(tables=table)), WholeImage)


class TestPropose:
    """What the vertical takes for a picture, and for its template."""

    def test_a_region_and_a_row_of_features_for_each_proposal(self, detection, predictions):
        """Boxes within the picture, numbers all finite."""
        for one in predictions:
            proposals = one.proposals
            assert len(proposals.regions) == proposals.rows == len(proposals.array())
            assert np.isfinite(proposals.array()).all()
            assert all(0 <= x1 < x2 <= SIZE_PX and 0 <= y1 < y2 <= SIZE_PX for x1, y1, x2, y2 in proposals.regions)

    def test_the_same_picture_gives_the_same_bytes(self, detection, boards, predictions):
        """A model is a function of the log: so are its features of the picture."""
        assert detection.propose(boards[0].payload) == predictions[0].proposals

    def test_colour_is_read_as_its_luma(self, detection, boards, predictions):
        """A grey picture saved in RGB gives what it gave."""
        parts = [decode_image(part) for part in (boards[0].payload.data, boards[0].payload.reference)]
        data, reference = (encode_png(np.repeat(part[:, :, None], 3, 2)) for part in parts)
        assert detection.propose(Payload(data, "image/png", reference)) == predictions[0].proposals

    def test_a_missing_template_is_said_with_both_ways_out(self, detection, boards):
        """Send it, or switch the comparison off."""
        with pytest.raises(TemplateError, match="reference = false"):
            detection.propose(Payload(boards[0].payload.data))

    @pytest.mark.parametrize("shape", [(SIZE_PX, SIZE_PX - 8), (SIZE_PX + 1, SIZE_PX), (1, 1)])
    def test_a_template_of_another_size_is_refused(self, detection, boards, shape):
        """Both sizes are named, width first."""
        small = encode_png(np.zeros(shape, np.uint8))
        with pytest.raises(TemplateError, match=f"template is {shape[1]} x {shape[0]} .* {SIZE_PX} x {SIZE_PX}"):
            detection.propose(Payload(boards[0].payload.data, "image/png", small))

    @pytest.mark.parametrize("part", ["data", "reference"])
    def test_bytes_that_are_no_picture_are_refused(self, detection, boards, part):
        """In the place of the picture or of its template."""
        with pytest.raises(UnreadableImageError):
            detection.propose(msgspec.structs.replace(boards[0].payload, **{part: b"junk"}))

    def test_the_limits_of_the_table_hold(self, boards):
        """A picture above images.pixels_max is not decoded."""
        strict = Detection(InspectionConfig(images=ImageLimits(pixels_max=1000)), 0)
        with pytest.raises(ImageTooLargeError, match="pixels_max"):
            strict.propose(boards[0].payload)

    def test_without_references_a_piece_is_compared_with_itself_smoothed(self, boards):
        """Reference = false proposes from the picture alone, down to a single pixel."""
        alone = Detection(InspectionConfig(reference=False), 0)
        proposals = alone.propose(Payload(boards[0].payload.data))
        image = decode_image(boards[0].payload.data)
        found = boards_model().candidates(image, smoothed(image), COLD_SCORE_MIN)
        assert np.array_equal(proposals.array(), found.features.astype(np.float64))
        assert alone.propose(Payload(encode_png(np.zeros((1, 1), np.uint8)))).rows >= 0

    def test_without_references_one_that_comes_is_used_all_the_same(self, boards, predictions):
        """Reference = false allows a missing template; it throws none away."""
        alone = Detection(InspectionConfig(reference=False), 0)
        assert alone.propose(boards[0].payload) == predictions[0].proposals

    @pytest.mark.parametrize("shape", [(1, 1), (3, 90), (90, 3), (64, 48, 3)])
    def test_smoothed_keeps_shape_and_what_is_even(self, shape):
        """An even picture stays as it is; one odd pixel all but vanishes."""
        even = np.full(shape, 120, np.uint8)
        assert np.array_equal(smoothed(even), even)
        odd = np.full((240, 240), 120, np.uint8)
        odd[100, 100] = 255
        assert abs(smoothed(odd).astype(int) - 120).max() <= 3


class TestAnswer:
    """What is said of proposals; and of bytes that are none."""

    def test_best_first_and_none_on_another(self, detection, predictions):
        """Scores fall, all reach their threshold, and no two answers share a third of their place."""
        thresholds = dict(zip(detection.labels, detection.start().thresholds, strict=True))
        for one in predictions:
            scores = [output.score for output in one.outputs]
            assert scores == sorted(scores, reverse=True)
            assert all(output.score >= thresholds[output.label] - 1e-3 for output in one.outputs)
            boxes = np.array([output.region for output in one.outputs]).reshape(-1, 4)
            assert (np.triu(overlaps(boxes, boxes), 1) <= 0.3 + 1e-9).all()
            assert all(one.proposals.regions[output.proposal] == output.region for output in one.outputs)

    def test_no_proposals_no_answers(self, detection):
        """A piece on which nothing stands out is good, and teaches no rows."""
        empty = Proposals(0, 0, b"")
        assert detection.answer(empty, detection.start()) == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"rows": 3},
            {"rows": -1},
            {"rows": 10**12},
            {"columns": 1},
            {"data": b""},
            {"kind": "f4"},
            {"regions": ()},
            {"regions": ((0.0, 0.0, 1.0),) * 32},
            {"rows": 1, "columns": 3, "data": bytes(6), "regions": ((0.0, 0.0, 9.0, 9.0),)},
            {"rows": 4096, "data": bytes(2 * 4096), "columns": 1, "regions": ((0.0, 0.0, 9.0, 9.0),) * 4096},
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_a_model_error(self, detection, prediction, change):
        """Proposals of another model, or made up: asked, taught or judged, there is no other error, and no wait."""
        bad = msgspec.structs.replace(prediction.proposals, **change)
        with pytest.raises(ModelError):
            detection.answer(bad, detection.start())
        strange = msgspec.structs.replace(prediction, proposals=bad)
        for words in ((), (right(prediction, "ann"),)):
            with pytest.raises(ModelError):
                detection.teach(example(strange, *words))
        assert counted(detection.outcomes(prediction.outputs, example(strange, right(prediction, "ann"))))[0]

    @pytest.mark.parametrize("place", [-1, -10_000, 32, 10**9])
    def test_outputs_and_claims_out_of_range_teach_nothing_and_raise_nothing(self, detection, prediction, place):
        """An output of a proposal that is not there; a claim on an output that is not there."""
        far = msgspec.structs.replace(prediction, outputs=(Output("open", 0.9, CORNER, place),))
        assert len(detection.teach(example(far, false_alarms(far, [0], "ann"))).w) == 0
        none = example(prediction, said_of(prediction, Claim(output=place), complete=False))
        assert len(detection.teach(none).w) == 0
        assert detection.outcomes(prediction.outputs, none) == ()


class TestTeach:
    """What a verdict says of the proposals."""

    def test_all_right_teaches_hits_and_ground(self, detection, prediction):
        """Each answer's own proposal gets its label, far ones get nothing, and near ones are left alone."""
        rows = detection.teach(example(prediction, right(prediction, "ann")))
        boxes = np.array(prediction.proposals.regions)
        shares = overlaps(boxes, np.array([o.region for o in prediction.outputs])).max(1)
        told = (shares >= HIT_OVERLAP) | (shares <= MISS_OVERLAP)
        assert len(rows.w) == told.sum()
        assert (rows.w == 1.0).all()
        for output in prediction.outputs:
            wanted = [float(label == output.label) for label in detection.labels]
            assert target(detection, rows, prediction.proposals, output.proposal) == wanted

    def test_a_false_alarm_teaches_that_one_alone(self, detection, prediction):
        """A partial verdict says nothing of the rest: one row, all zeros."""
        rows = detection.teach(example(prediction, false_alarms(prediction, [1], "ann")))
        assert rows.y.tolist() == [[0.0] * len(detection.labels)]
        assert target(detection, rows, prediction.proposals, prediction.outputs[1].proposal) is not None

    def test_a_correction_gives_the_output_another_label(self, detection, prediction):
        """The place of the output, the label of the reviewer."""
        output = prediction.outputs[0]
        other = next(label for label in detection.labels if label != output.label)
        words = said_of(prediction, Claim(output=0, label=other), complete=False)
        rows = detection.teach(example(prediction, words))
        wanted = [float(label == other) for label in detection.labels]
        assert target(detection, rows, prediction.proposals, output.proposal) == wanted
        assert (rows.y.sum(1) == 1.0).all(), "a partial verdict calls nothing ground"

    def test_a_drawn_box_teaches_the_proposals_below_it(self, detection, prediction):
        """What the model did not say but did propose is learned from the box that a reviewer draws."""
        quiet = len(prediction.proposals.regions) - 1
        drawn = Claim(label=detection.labels[0], region=prediction.proposals.regions[quiet])
        rows = detection.teach(example(prediction, said_of(prediction, drawn, complete=False)))
        wanted = [1.0] + [0.0] * (len(detection.labels) - 1)
        assert target(detection, rows, prediction.proposals, quiet) == wanted

    def test_a_good_piece_teaches_ground_everywhere(self, detection, prediction):
        """A complete verdict without claims: every proposal is nothing."""
        rows = detection.teach(example(prediction, said_of(prediction)))
        assert len(rows.w) == prediction.proposals.rows
        assert not rows.y.any()

    def test_a_label_without_a_place_calls_nothing_ground(self, detection, prediction):
        """Something is there, nobody knows where: so nothing may be taught as empty."""
        words = said_of(prediction, Claim(label="open"))
        assert len(detection.teach(example(prediction, words)).w) == 0
        assert detection.outcomes(prediction.outputs, example(prediction, words)) == ()

    def test_a_label_that_the_loop_does_not_know_calls_nothing_ground(self, detection, prediction):
        """It was said under other settings: the place may not be taught as empty."""
        words = said_of(prediction, Claim(label="scratch", region=CORNER))
        assert len(detection.teach(example(prediction, words)).w) == 0

    def test_reviewers_who_differ_are_averaged(self, detection, prediction):
        """One says it is something, one that it is nothing: half."""
        output = prediction.outputs[0]
        yes = said_of(prediction, Claim(output=0, label=output.label), complete=False, reviewer="ann")
        no = false_alarms(prediction, [0], "bob")
        rows = detection.teach(example(prediction, yes, no))
        wanted = [0.5 * (label == output.label) for label in detection.labels]
        assert target(detection, rows, prediction.proposals, output.proposal) == wanted

    def test_a_reviewer_who_is_silent_on_a_proposal_has_no_voice_in_it(self, detection, prediction):
        """Two partial verdicts on two outputs: each is learned at full strength."""
        first, second = (
            false_alarms(prediction, [0], "ann"),
            said_of(prediction, Claim(output=1, label=prediction.outputs[1].label), complete=False, reviewer="bob"),
        )
        rows = detection.teach(example(prediction, first, second))
        wanted = [float(label == prediction.outputs[1].label) for label in detection.labels]
        assert target(detection, rows, prediction.proposals, prediction.outputs[1].proposal) == wanted
        assert set(target(detection, rows, prediction.proposals, prediction.outputs[0].proposal)) == {0.0}

    def test_no_proposals_no_rows(self, detection, prediction):
        """A verdict on a piece without proposals teaches nothing, of the right width."""
        empty = msgspec.structs.replace(prediction, proposals=Proposals(0, 0, b""), outputs=())
        rows = detection.teach(example(empty, verdict(empty.id, [("open", CORNER)], "ann")))
        assert rows.x.shape == (0, len(detection.start().weights))
        assert rows.y.shape == (0, len(detection.labels))


class TestOutcomes:
    """How answers turned out."""

    def test_all_right_is_all_hits(self, detection, prediction):
        """As many hits as outputs, under their labels."""
        told = detection.outcomes(prediction.outputs, example(prediction, right(prediction, "ann")))
        assert told == tuple(Outcome("hit", output.label) for output in prediction.outputs)

    def test_a_partial_verdict_judges_what_it_speaks_of(self, detection, prediction):
        """One false alarm is one false alarm: the other outputs are not judged."""
        told = detection.outcomes(prediction.outputs, example(prediction, false_alarms(prediction, [1], "ann")))
        assert told == (Outcome("false alarm", prediction.outputs[1].label),)

    def test_a_missed_box_is_missed(self, detection, prediction):
        """All that was said is right, and there is one more."""
        words = right(prediction, "ann")
        more = said_of(prediction, *words.claims, Claim(label="open", region=CORNER))
        told = detection.outcomes(prediction.outputs, example(prediction, more))
        assert counted(told) == (len(prediction.outputs), 0, 1, 0)
        assert Outcome("missed", "open") in told

    def test_a_correction_is_a_false_alarm_and_a_miss(self, detection, prediction):
        """Another label in the same place: the one was wrong, the other was not said."""
        output = prediction.outputs[0]
        other = next(label for label in detection.labels if label != output.label)
        words = said_of(prediction, Claim(output=0, label=other))
        told = detection.outcomes((output,), example(prediction, words))
        assert told == (Outcome("false alarm", output.label), Outcome("missed", other))

    def test_a_good_piece_called_good_is_right(self, detection, prediction):
        """Only if the verdict is complete; a partial one without claims says nothing."""
        good = msgspec.structs.replace(prediction, outputs=())
        assert detection.outcomes((), example(good, said_of(good))) == (Outcome("right", ""),)
        assert detection.outcomes((), example(good, said_of(good, complete=False))) == ()
        assert detection.outcomes((), example(good)) == ()

    def test_a_good_piece_called_bad_is_all_false_alarms(self, detection, prediction):
        """Each output counts."""
        told = detection.outcomes(prediction.outputs, example(prediction, said_of(prediction)))
        assert counted(told) == (0, len(prediction.outputs), 0, 0)

    def test_the_second_answer_on_one_truth_is_a_false_alarm(self, detection, prediction):
        """The better score takes it."""
        best = prediction.outputs[0]
        twin = msgspec.structs.replace(best, score=best.score / 2)
        words = said_of(prediction, Claim(output=0, label=best.label))
        assert counted(detection.outcomes((best, twin), example(prediction, words))) == (1, 1, 0, 0)

    def test_most_reviewers_have_it(self, detection, prediction):
        """What one of three names is not a truth; what two name is one."""
        claim = Claim(output=0, label=prediction.outputs[0].label)
        yes = [said_of(prediction, claim, reviewer=name) for name in ("ann", "bob", "eve")]
        no = [said_of(prediction, reviewer=name) for name in ("ann", "bob", "eve")]
        outputs = prediction.outputs[:1]
        assert counted(detection.outcomes(outputs, example(prediction, yes[0], no[1], no[2]))) == (0, 1, 0, 0)
        assert counted(detection.outcomes(outputs, example(prediction, yes[0], yes[1], no[2]))) == (1, 0, 0, 0)

    def test_outputs_of_other_settings_are_passed_over(self, detection, prediction):
        """A label that this loop does not have, or a place that is no box, is not judged."""
        strange = (Output("scratch", 0.9, CORNER), Output("open", 0.9), Output("open", 0.9, (1.0, 2.0, 3.0)))
        told = detection.outcomes(strange, example(prediction, said_of(prediction)))
        assert told == (Outcome("right", ""),)


class TestLearning:
    """The vertical with the reflex: what a verdict changes, and how it is taken back."""

    @pytest.fixture
    def reflex(self, detection):
        """A learner at the start."""
        return Reflex(detection.teach, detection.start(), LearnConfig())

    def test_a_false_alarm_is_not_said_again(self, detection, reflex, prediction):
        """After one verdict of "there is nothing" the same board is answered with less trust, and by and by silence."""
        reflex.learn([Change(1, None, example(prediction, said_of(prediction)))])
        after = detection.answer(prediction.proposals, reflex.head())
        before = {output.proposal: output.score for output in prediction.outputs}
        assert len(after) < len(before)
        assert all(output.score < before.get(output.proposal, 1.0) for output in after)

    def test_a_missed_box_is_said_next_time(self, detection, reflex, prediction):
        """The proposal that was too weak is an answer after its verdict."""
        said = {output.proposal for output in prediction.outputs}
        boxes = np.array(prediction.proposals.regions)
        near = overlaps(boxes, boxes[sorted(said)]).max(1)
        quiet = int(np.flatnonzero(near == 0.0)[0])
        words = right(prediction, "ann")
        drawn = Claim(label="spur", region=prediction.proposals.regions[quiet])
        reflex.learn([Change(1, None, example(prediction, said_of(prediction, *words.claims, drawn)))])
        found = [o for o in detection.answer(prediction.proposals, reflex.head()) if o.proposal == quiet]
        assert [output.label for output in found] == ["spur"]

    def test_unlearning_restores_the_first_answers(self, detection, reflex, predictions):
        """What verdicts taught is taken out again: the start model's head, to rounding."""
        examples = [example(one, said_of(one)) for one in predictions]
        reflex.learn([Change(k, None, one) for k, one in enumerate(examples, 1)])
        assert not np.allclose(reflex.head().weights, detection.start().weights, atol=1e-3)
        reflex.unlearn(examples)
        assert np.allclose(reflex.head().weights, detection.start().weights, atol=1e-8)
        for one in predictions:
            assert detection.answer(one.proposals, reflex.head()) == one.outputs

    def test_a_corrected_verdict_leaves_nothing_of_the_first(self, detection, reflex, prediction):
        """The last word of a reviewer replaces their first: the same head as if they had said it at once."""
        wrong, true = example(prediction, said_of(prediction)), example(prediction, right(prediction, "ann"))
        reflex.learn([Change(1, None, wrong), Change(2, wrong, true)])
        once = Reflex(detection.teach, detection.start(), LearnConfig())
        once.learn([Change(1, None, true)])
        assert np.allclose(reflex.head().weights, once.head().weights, atol=1e-8)

    def test_mistakes_go_away_on_the_boards_that_were_verified(self, detection, reflex, boards, predictions):
        """Each board with its whole truth: the same boards are answered better than by the start model."""
        given = [
            example(one, verdict(one.id, [(t.label, t.region) for t in board.truths], "ann"))
            for one, board in zip(predictions, boards, strict=True)
        ]
        reflex.learn([Change(k, None, one) for k, one in enumerate(given, 1)])

        def mistakes(head):
            told = [detection.outcomes(detection.answer(e.prediction.proposals, head), e) for e in given]
            return sum(outcome.kind in ("false alarm", "missed") for one in told for outcome in one)

        assert mistakes(reflex.head()) < mistakes(detection.start())

    def test_a_cold_start_learns_a_label_of_its_own(self, boards):
        """From silence: a few boxes of a new kind, and it is said."""
        cold = Detection(InspectionConfig(start="none", labels=("mark",)), 0)
        reflex = Reflex(cold.teach, cold.start(), LearnConfig())
        one = predicted(cold, boards[0])
        assert one.outputs == ()
        words = verdict(one.id, [("mark", one.proposals.regions[0])], "ann")
        reflex.learn([Change(1, None, example(one, words))])
        said = cold.answer(one.proposals, dataclasses.replace(reflex.head(), thresholds=(0.5,)))
        assert [(output.label, output.proposal) for output in said] == [("mark", 0)]


def test_labels_to_start_from_are_those_of_the_folder(detection, tmp_path):
    """None without a folder; a folder in no known layout is named."""
    assert detection.labelled() == []
    with pytest.raises(LayoutError):
        Detection(InspectionConfig(labelled=str(tmp_path)), 0).labelled()
