"""The simulated plant: harmless marks clear of defects, seeds that repeat, a verifier with known habits."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from hotloop.sense.images import encode_png
from hotloop.types import Observation, Prediction, Proposals
from hotloop.verticals.inspection.boards import COPPER, KINDS, Board, Defect, Style, draw_board
from hotloop.verticals.inspection.pieces import Piece, Truth
from hotloop.verticals.inspection.plant import MARKS, Habits, Verifier, marked, plant_boards, sensed

SIZE_PX = 320
STYLE = Style.of(3)


def board(seed):
    return draw_board(seed, size_px=SIZE_PX, style=STYLE)


def spoilt(seed):
    return marked(board(seed), np.random.default_rng(seed))


def marks_of(found):
    return [defect for defect in found.lookalikes if defect.kind in MARKS]


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(6))
def test_marks_never_touch_defects_or_one_another(seed):
    """Whoever says "there is nothing" of a mark is right."""
    found = spoilt(seed)
    marks = marks_of(found)
    others = [d for d in (*found.defects, *found.lookalikes) if d.kind != "misregistration"]
    for mark in marks:
        assert not any(overlap(mark.box, other.box) for other in others if other is not mark)


@pytest.mark.parametrize("seed", range(6))
def test_marks_change_the_picture_within_their_boxes_alone(seed):
    """Each box holds a change, no pixel outside changes, and defects and template stay."""
    before, after = board(seed), spoilt(seed)
    changed = before.test != after.test
    inside = np.zeros_like(changed)
    for mark in marks_of(after):
        x1, y1, x2, y2 = mark.box
        assert changed[y1:y2, x1:x2].any()
        inside[y1:y2, x1:x2] = True
    assert not (changed & ~inside).any()
    assert after.defects == before.defects
    np.testing.assert_array_equal(after.template, before.template)


def test_each_kind_of_mark_is_drawn():
    """Over some boards, all three come; seven a board at most."""
    kinds = set()
    for seed in range(10):
        marks = marks_of(spoilt(seed))
        assert len(marks) <= 7
        kinds |= {mark.kind for mark in marks}
    assert kinds == set(MARKS)


def test_marks_lie_where_they_would_in_a_plant():
    """Needle tracks scratch copper; stains and dots are copper-dark on bare ground."""
    for seed in range(6):
        before, after = board(seed), spoilt(seed)
        for mark in marks_of(after):
            x1, y1, x2, y2 = mark.box
            changed = (before.test != after.test)[y1:y2, x1:x2]
            now = after.test[y1:y2, x1:x2][changed]
            assert (now != COPPER).all() if mark.kind == "needle track" else (now == COPPER).all()


def test_a_board_too_small_for_marks_has_none():
    """It comes back as it was."""
    small = np.full((60, 60), 255, np.uint8)
    plain = Board(small, small, (), (), STYLE)
    assert marked(plain, np.random.default_rng(0)).lookalikes == ()


def test_a_board_without_room_has_no_marks():
    """All of it is taken by a defect."""
    blank = np.full((200, 200), 255, np.uint8)
    full = Board(blank, blank, (Defect((0, 0, 200, 200), "open"),), (), STYLE)
    found = marked(full, np.random.default_rng(0))
    assert marks_of(found) == []
    np.testing.assert_array_equal(found.test, blank)


def test_a_plant_is_the_same_from_the_same_seed():
    """Piece by piece; another site makes others."""
    one, same, other = (list(islice(plant_boards(site, 0, size_px=SIZE_PX), 2)) for site in (1, 1, 2))
    assert one == same
    assert one != other


def test_lines_of_a_plant_share_its_boards():
    """With a step, each line takes every second board of the same sequence."""
    both = list(islice(plant_boards(1, 0, size_px=SIZE_PX), 4))
    assert list(islice(plant_boards(1, 1, size_px=SIZE_PX, step=2), 2)) == both[1::2]


def test_what_the_camera_gives_holds_picture_template_and_truth():
    """PNGs of the board, and a truth with its box for each defect; marks are no truths."""
    (piece,) = islice(plant_boards(1, 5, size_px=SIZE_PX), 1)
    drawn = draw_board(5, size_px=SIZE_PX, style=Style.of(1))
    assert piece.payload.reference == encode_png(drawn.template)
    assert piece.payload.media_type == "image/png"
    assert [(t.label, t.region) for t in piece.truths] == [
        (d.kind, tuple(float(v) for v in d.box)) for d in drawn.defects
    ]


def test_a_labelled_piece_is_given_as_its_files(tmp_path):
    """Bytes as they are, with a template or without."""
    image, template = tmp_path / "a.jpg", tmp_path / "t.jpg"
    image.write_bytes(b"image")
    template.write_bytes(b"template")
    truths = (Truth("open", (1.0, 2.0, 3.0, 4.0)),)
    assert sensed(Piece(image, template, truths)).payload.reference == b"template"
    alone = sensed(Piece(image, None, truths))
    assert (alone.payload.data, alone.payload.reference, alone.truths) == (b"image", None, truths)


TRUTHS = (Truth("open", (1.0, 2.0, 3.0, 4.0)), Truth("short", (5.0, 6.0, 7.0, 8.0)))
SAID = Prediction(
    id="p", observation=Observation(id="p", site="s", line="l", at=0.0, digest="d"), version=1, outputs=(),
    confidence=1.0, proposals=Proposals(0, 0, b""),
)  # fmt: skip
HONEST = Habits(skips=0.0, misses=0.0, slips=0.0, recants=0.0)


def said(habits, count=4000, seed=0):
    verifier = Verifier("ann", seed, KINDS, habits)
    return [verifier.verdicts(SAID, TRUTHS) for _ in range(count)]


def test_without_habits_the_truth_is_told_whole():
    """Every truth, with its place, once, after a positive delay."""
    for given in said(HONEST, 50):
        ((delay_s, feedback),) = given
        assert delay_s > 0
        assert (feedback.prediction, feedback.reviewer, feedback.complete) == ("p", "ann", True)
        assert [(claim.label, claim.region, claim.output) for claim in feedback.claims] == [
            (truth.label, truth.region, None) for truth in TRUTHS
        ]


def test_each_habit_has_its_share():
    """Skipped, missed, mistaken and recanted within three standard deviations of what is stated."""
    given = said(Habits(skips=0.2, misses=0.1, slips=0.3, recants=0.25))
    told = [verdicts for verdicts in given if verdicts]
    claims = [claim for verdicts in told for claim in verdicts[-1][1].claims]
    right = {truth.region: truth.label for truth in TRUTHS}
    wrong = sum(claim.label != right[claim.region] for claim in claims)
    shares = {
        0.2: (len(given) - len(told), len(given)),
        0.1: (2 * len(told) - len(claims), 2 * len(told)),
        0.3 * 5 / 6: (wrong, len(claims)),  # one slip in six hits the right kind
        0.25: (sum(len(verdicts) == 2 for verdicts in told), len(told)),
    }
    for share, (hits, total) in shares.items():
        assert abs(hits / total - share) < 3 * np.sqrt(share * (1 - share) / total), share


def test_who_recants_first_says_that_all_is_well():
    """And then the truth, later, under the same name: the last word replaces the first."""
    for given in said(Habits(skips=0.0, misses=0.0, slips=0.0, recants=1.0), 20):
        (soon, first), (late, last) = given
        assert soon < late
        assert first.claims == ()
        assert len(last.claims) == 2
        assert (first.prediction, first.reviewer, first.complete) == (last.prediction, last.reviewer, last.complete)


def test_delays_have_the_stated_median():
    """Half the verdicts come before it."""
    delays = [given[0][0] for given in said(HONEST)]
    assert np.median(delays) == pytest.approx(HONEST.delay_s, rel=0.05)


def test_a_verifier_is_the_same_from_the_same_seed():
    """Runs can be repeated."""
    habits = Habits(skips=0.2, misses=0.1, slips=0.3, recants=0.25)
    assert said(habits, 50, seed=1) == said(habits, 50, seed=1) != said(habits, 50, seed=2)
