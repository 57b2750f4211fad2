"""Scores of boxes against an oracle that is slow and plain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.verticals.inspection.score import Boxes, average_precision, hits, measure, overlaps, truths_of

corner = st.integers(0, 12)
boxes = st.lists(
    st.tuples(corner, corner, st.integers(1, 8), st.integers(1, 8), st.integers(0, 2), st.integers(1, 9)), max_size=7
)


def made(rows):
    regions = np.array([(x, y, x + w, y + h) for x, y, w, h, _, _ in rows], float).reshape(-1, 4)
    return Boxes(regions, np.array([r[4] for r in rows], int), np.array([r[5] / 10 for r in rows]))


def oracle_overlap(a, b):
    pixels_a = {(x, y) for x in range(int(a[0]), int(a[2])) for y in range(int(a[1]), int(a[3]))}
    pixels_b = {(x, y) for x in range(int(b[0]), int(b[2])) for y in range(int(b[1]), int(b[3]))}
    return len(pixels_a & pixels_b) / max(len(pixels_a | pixels_b), 1)


def oracle_hits(found, truths, least):
    """The truth that each answer takes, by sorting and nested loops over single pixels."""
    free, taken = set(range(len(truths.labels))), {}
    for index in sorted(range(len(found.labels)), key=lambda i: (-found.scores[i], i)):
        options = [
            (oracle_overlap(found.regions[index], truths.regions[j]), -j)
            for j in free
            if truths.labels[j] == found.labels[index]
        ]
        if options and max(options)[0] > least:
            taken[index] = -max(options)[1]
            free.discard(taken[index])
    return [taken.get(i, -1) for i in range(len(found.labels))]


def oracle_precision(scores, right, truths):
    """The area under max precision at any recall not below r, score by score."""
    points = []
    for limit in sorted(set(scores), reverse=True):
        kept = [r for s, r in zip(scores, right, strict=True) if s >= limit]
        points.append((sum(kept) / truths, sum(kept) / len(kept)))
    area, last = 0.0, 0.0
    for recall, _ in points:
        best = max(p for r, p in points if r >= recall)
        area += (recall - last) * best
        last = recall
    return area


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_overlaps_count_pixels(a, b):
    """On whole pixels the overlap is the share of pixels in both of those in either."""
    left, right = made(a).regions, made(b).regions
    found = overlaps(left, right)
    assert found.shape == (len(left), len(right))
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            assert found[i, j] == pytest.approx(oracle_overlap(one, other))


@settings(max_examples=80, deadline=None)
@given(boxes, boxes, st.sampled_from([0.0, 0.33, 0.5]))
def test_hits_equal_the_oracle(found, truths, least):
    """Which truth each answer takes is what loops over single pixels say."""
    assert hits(made(found), made(truths), least).tolist() == oracle_hits(made(found), made(truths), least)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12), st.integers(0, 4))
def test_average_precision_equals_the_oracle(answers, missed):
    """The area under the precision envelope, ties taken together."""
    scores, right = np.array([a[0] / 10 for a in answers]), np.array([a[1] for a in answers])
    truths = int(right.sum()) + missed
    if truths == 0:
        assert average_precision(scores, right, 0) == 0.0
    else:
        wanted = oracle_precision(scores.tolist(), right.tolist(), truths)
        assert average_precision(scores, right, truths) == pytest.approx(wanted)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(boxes, boxes), min_size=1, max_size=4))
def test_measure_equals_the_oracle(images):
    """Precision, recall, F and mean average precision over several images, by counting."""
    pairs = [(made(a), made(b)) for a, b in images]
    limits = (0.3, 0.5, 0.7)
    quality = measure(pairs, limits)
    said = right = 0
    for found, truths in pairs:
        keep = [i for i, label in enumerate(found.labels) if found.scores[i] >= limits[label]]
        chosen = Boxes(found.regions[keep], found.labels[keep], found.scores[keep])
        said += len(keep)
        right += sum(t >= 0 for t in oracle_hits(chosen, truths, 0.33))
    there = sum(len(t.labels) for _, t in pairs)
    assert quality.precision == pytest.approx(right / max(said, 1))
    assert quality.recall == pytest.approx(right / max(there, 1))
    assert quality.f == pytest.approx(2 * right / max(said + there, 1))
    for label in {int(k) for _, t in pairs for k in t.labels}:
        rows = [
            (f.scores[i], t >= 0)
            for f, truths in pairs
            for i, t in enumerate(oracle_hits(f, truths, 0.33))
            if f.labels[i] == label
        ]
        count = sum(int((t.labels == label).sum()) for _, t in pairs)
        wanted = oracle_precision([r[0] for r in rows], [r[1] for r in rows], count) if rows else 0.0
        assert quality.average_precision[label] == pytest.approx(wanted)


def test_perfect_answers_score_one():
    """Answers equal to the truths have precision, recall, F and mean average precision 1."""
    truths = truths_of([(0, 0, 10, 10), (20, 20, 40, 30)], [0, 1])
    quality = measure([(truths, truths)], (0.5, 0.5))
    assert (quality.precision, quality.recall, quality.f, quality.mean_average_precision) == (1, 1, 1, 1)


def test_wrong_label_and_second_answer_are_false_alarms():
    """The right place with the wrong label is no hit; nor is a second answer on a truth already taken."""
    truths = truths_of([(0, 0, 10, 10)], [0])
    wrong = Boxes(np.array([[0, 0, 10, 10.0]]), np.array([1]), np.array([0.9]))
    assert hits(wrong, truths).tolist() == [-1]
    twice = Boxes(np.array([[0, 0, 10, 9.0], [0, 0, 10, 10.0]]), np.array([0, 0]), np.array([0.9, 0.8]))
    assert hits(twice, truths).tolist() == [0, -1]


def test_overlap_must_exceed_the_limit():
    """An overlap of exactly the limit is no hit: DeepPCB's rule says above."""
    truths = truths_of([(0, 0, 10, 10)], [0])
    half = Boxes(np.array([[0, 0, 10, 5.0]]), np.array([0]), np.array([0.9]))
    assert hits(half, truths, 0.5).tolist() == [-1]
    assert hits(half, truths, 0.49).tolist() == [0]


def test_nothing_said_or_nothing_there():
    """A good piece called good changes nothing; answers on a good piece are only false alarms."""
    none = truths_of([], [])
    said = Boxes(np.array([[0, 0, 5, 5.0]]), np.array([0]), np.array([0.9]))
    assert measure([(none, none)], (0.5,)).f == 0.0
    assert measure([(said, none)], (0.5,)).precision == 0.0
    assert measure([(none, said)], (0.5,)).average_precision == {0: 0.0}


def test_empty_boxes_overlap_nothing():
    """A box without area, even one with its corners swapped, has no overlap and gives no NaN."""
    flat = np.array([[5, 5, 5, 9], [8, 8, 2, 2.0]])
    assert not overlaps(flat, np.array([[0, 0, 10, 10.0], [5, 5, 5, 9]])).any()


def test_no_image_is_refused():
    """A quality over no image is an error, not a 0 that looks like a bad model."""
    with pytest.raises(InputError, match="at least one image"):
        measure([], (0.5,))
