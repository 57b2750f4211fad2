"""Before and after: counted by the vertical's own outcomes, and drawn."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from hotloop.measure import Tally
from hotloop.types import Outcome, Output
from hotloop.verticals.inspection import pictures
from hotloop.verticals.inspection.pictures import before_after, compare, counts
from hotloop.verticals.inspection.pieces import Truth
from hotloop.verticals.inspection.plant import plant_boards
from hotloop.verticals.inspection.settings import InspectionConfig
from hotloop.verticals.inspection.task import Detection


@pytest.fixture(scope="module")
def detection():
    """The vertical as it is shipped."""
    return Detection(InspectionConfig(), 0)


@pytest.fixture(scope="module")
def compared(detection):
    """Four small boards, answered by a head that is silent and by the start model's."""
    silent = dataclasses.replace(detection.start(), thresholds=(9.0,) * len(detection.labels))
    boards = list(islice(plant_boards(5, 0, size_px=320), 4))
    return compare(detection, boards, silent, detection.start())


def test_shares_of_counts():
    """Precision of what was said, recall of what is there; nothing said and nothing there is 0."""
    found = Tally(hits=6, false_alarms=2, missed=3)
    assert (found.precision, found.recall) == (0.75, pytest.approx(6 / 9))
    assert (Tally(0, 0, 0).precision, Tally(0, 0, 0).recall) == (0.0, 0.0)


def test_both_heads_answer_the_same_proposals(detection, compared):
    """Each board once, with its whole truth as the verdict."""
    assert [one.before for one in compared] == [()] * 4
    for one in compared:
        assert one.after == detection.answer(one.example.prediction.proposals, detection.start())
        assert [c.label for c in one.example.feedback[0].claims] == [t.label for t in one.board.truths]
        assert one.example.feedback[0].complete


def test_counts_are_the_outcomes(detection, compared):
    """Every truth is hit or missed, every answer a hit or a false alarm."""
    truths = sum(len(one.board.truths) for one in compared)
    assert counts(detection, compared, after=False) == Tally(0, 0, truths)
    found = counts(detection, compared, after=True)
    assert found.hits + found.missed == truths
    assert found.hits + found.false_alarms == sum(len(one.after) for one in compared)
    assert counts(detection, [], after=True) == Tally(0, 0, 0)


def test_marks_agree_with_counts(detection, compared):
    """What is drawn green, red and dashed is what is counted, board by board."""
    for one in compared:
        found = counts(detection, [one], after=True)
        said, missed = pictures._marks(detection, one, one.after)
        kinds = [kind for _, kind in said]
        assert (kinds.count("hit"), kinds.count("false alarm"), len(missed)) == (
            found.hits,
            found.false_alarms,
            found.missed,
        )


def test_two_answers_on_one_truth_are_drawn_as_counted(detection, compared):
    """The better is the hit; the other is drawn as the false alarm that it is counted as."""
    one = next(one for one in compared if one.board.truths)
    truth = one.board.truths[0]
    outputs = tuple(Output(truth.label, score, truth.region) for score in (0.9, 0.8))
    assert [o.kind for o in detection.outcomes(outputs, one.example)].count("hit") == 1
    said, _ = pictures._marks(detection, one, outputs)
    assert [kind for _, kind in said] == ["hit", "false alarm"]


def test_the_picture_is_drawn(detection, compared, tmp_path):
    """A PNG, not blank: on the left what the silent head missed, on the right what the start model hits."""
    path = tmp_path / "before_after.png"
    before_after(detection, compared, path)
    with Image.open(path) as found:
        assert found.format == "PNG"
        pixels = np.asarray(found.convert("RGB")).astype(int)
    assert pixels.shape[1] > 800
    assert pixels.std() > 20
    below = pixels[120:]  # the legend has every colour
    left, right = below[:, : below.shape[1] // 2], below[:, below.shape[1] // 2 :]
    hit, missed = (0x1A, 0x98, 0x50), (0xF5, 0x85, 0x18)
    assert has(left, missed)
    assert not has(left, hit), "the silent head hits nothing"
    assert has(right, hit)


def has(pixels, colour):
    """Whether a colour stands anywhere in the pixels."""
    return bool((np.abs(pixels - np.array(colour)).sum(2) < 6).any())


def test_no_boards_no_picture(detection, tmp_path):
    """Nothing is written."""
    before_after(detection, [], tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_boards_that_changed_most_are_shown(detection, compared, monkeypatch, tmp_path):
    """Of the boards, the three where most mistakes went away, most first."""
    drawn = []
    monkeypatch.setattr(pictures, "_board", lambda axes, vertical, one, outputs, name: drawn.append((name, one)))
    before_after(detection, compared, tmp_path / "x.png")
    assert [name for name, _ in drawn] == ["before", "after"] * 3
    changes = [pictures._change(detection, one) for _, one in drawn[::2]]
    every = sorted((pictures._change(detection, one) for one in compared), reverse=True)
    assert changes == every[:3]


class Whole:
    """A vertical without places: one kind for the piece."""

    def outcomes(self, outputs, example):
        """A hit if the kind is dent."""
        told = Outcome("hit", "dent") if [o.label for o in outputs] == ["dent"] else Outcome("missed", "dent")
        return (told,)


def test_answers_without_a_place_can_be_drawn(compared, tmp_path):
    """A kind of the whole piece is marked in the corner."""
    one = dataclasses.replace(compared[0], before=(), after=(Output("dent", 0.8),))
    truths = tuple(Truth("dent", region) for region in ((1.0, 2.0, 30.0, 40.0), None))
    one = dataclasses.replace(one, board=dataclasses.replace(one.board, truths=truths))
    assert pictures._marks(Whole(), one, one.after) == ([(one.after[0], "hit")], [])
    assert pictures._marks(Whole(), one, ()) == ([], [("dent", truths[0].region)])
    before_after(Whole(), [one], tmp_path / "whole.png")
    assert (tmp_path / "whole.png").stat().st_size > 10_000
