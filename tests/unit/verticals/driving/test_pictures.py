"""Pictures: of whatever is found, wherever it is, and with nothing in them to draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.pictures import Queued, Shown, from_above, planner_chart, queue_chart, top_findings
from hotloop.verticals.driving.planted import plant
from hotloop.verticals.driving.tracks import as_grid
from hotloop.verticals.driving.traffic import highway, street


@pytest.fixture(scope="module")
def tracks():
    return plant(street(2, seconds=40.0), 1, {"pedestrian crossing": 1, "cut-in": 1})[0]


def finding(actors=(0, 1), peak=50, case="cut-in", words="car v0 cut in on car v1"):
    return Finding(case, 0.7, 0.4, "s", actors, max(peak - 5, 0), peak, peak + 5, words)


def drawn(path):
    """The picture's numbers; it is one, and not of one colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.std() > 1.0
    return pixels


def axes_of(one):
    """What is drawn of a finding."""
    axes = Figure().subplots()
    from_above(axes, one)
    return axes


def test_the_first_findings_are_drawn(tmp_path, tracks):
    """Six of them, however many there are; fewer leave their places empty."""
    some = [Shown(tracks, finding(peak=20 * k), 0.5) for k in range(1, 9)]
    top_findings(some, tmp_path / "eight.png")
    top_findings(some[:6], tmp_path / "six.png")
    top_findings(some[:1], tmp_path / "one.png")
    np.testing.assert_array_equal(drawn(tmp_path / "eight.png"), drawn(tmp_path / "six.png"))
    assert drawn(tmp_path / "one.png").shape[0] < drawn(tmp_path / "six.png").shape[0]


def test_no_finding_is_an_empty_picture(tmp_path):
    """A drive in which nothing happened has a picture, too."""
    top_findings([], tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_the_subject_is_in_the_middle_and_drives_to_the_right(tracks):
    """Whatever its heading; red, and the other one orange, both drawn after the rest."""
    for actor in range(6):
        axes = axes_of(Shown(tracks, finding((actor, 7)), 0.5))
        colours = [patch.get_facecolor()[:3] for patch in axes.patches]
        assert sum(colour == pytest.approx((0.843, 0.188, 0.153), abs=0.01) for colour in colours) == 1
        red = next(p for p, c in zip(axes.patches, colours, strict=True) if c[0] > 0.8 and c[1] < 0.3)
        corners = red.get_xy()[:4]
        np.testing.assert_allclose(corners.mean(axis=0), 0.0, atol=1e-6)
        assert np.ptp(corners[:, 0]) > np.ptp(corners[:, 1])


def test_the_words_and_the_moment_stand_with_it(tracks):
    """What, when, where from, and what the loop thinks of it."""
    axes = axes_of(Shown(tracks, finding(peak=123), 0.875))
    assert axes.get_title(loc="left") == "car v0 cut in on car v1"
    told = [text.get_text() for text in axes.texts]
    assert any("12.3 s" in one and "interest 0.88" in one and "street 2" in one for one in told)
    assert any(one.startswith("v0, ") and one.endswith("m/s") for one in told)


def test_long_words_are_wrapped(tracks):
    """Two lines at most."""
    title = axes_of(Shown(tracks, finding(words="far " * 100), 0.5)).get_title(loc="left")
    assert title.count("\n") == 1
    assert max(len(line) for line in title.splitlines()) <= 95


def test_who_has_left_is_drawn_where_it_was_last(tracks):
    """A pedestrian who was seen for a moment is in the picture of a later peak."""
    planted = next(k for k, one in enumerate(tracks.actors) if one.name.startswith("planted"))
    last = int(tracks.frame[tracks.rows_of(planted)].max())
    late = axes_of(Shown(tracks, finding((0, planted), peak=last + 10), 0.5))
    assert any(text.get_text().startswith("planted") for text in late.texts)


def test_all_who_matter_are_in_view():
    """However far apart they are."""
    tracks = highway(1, 30, 10.0)
    far = axes_of(Shown(tracks, finding((0, 28)), 0.5))
    near = axes_of(Shown(tracks, finding((0,)), 0.5))
    assert far.get_xlim()[1] > near.get_xlim()[1]
    for text in far.texts:
        if text.get_text().startswith("v28"):
            assert far.get_xlim()[0] < text.get_position()[0] < far.get_xlim()[1]


@pytest.mark.parametrize("strange", [{"actors": ()}, {"actors": (5,), "peak": 100_000}, {"peak": 0}])
def test_a_strange_finding_is_drawn_all_the_same(tracks, strange):
    """Nobody in it, a peak beyond the log, the first frame."""
    assert axes_of(Shown(tracks, finding(**strange), 0.5)).patches


def test_a_log_without_rows_is_an_empty_place():
    """Nothing to draw is no error."""
    tracks = highway(1, 3, 2.0)
    empty = tracks.between(500, 600)
    assert len(empty) == 0
    assert not axes_of(Shown(replace(empty, source="none"), finding(), 0.5)).patches


def test_the_queue_says_how_much_of_it_is_of_use(tmp_path):
    """Both sides, with cases of every kind, and strangers among them."""
    before = [Queued(case, 0.9 - 0.05 * k, k % 2 == 0) for k, case in enumerate((*CASES, "of no kind"))]
    queue_chart(before, before[::2], tmp_path / "queue.png")
    queue_chart([], [], tmp_path / "empty.png")
    assert not np.array_equal(drawn(tmp_path / "queue.png"), drawn(tmp_path / "empty.png"))


def test_a_planner_before_and_after(tmp_path):
    """Slices that one side lacks count as none."""
    planner_chart({"cut-in": 0.5, "common": 0.1}, {"cut-in": 0.1}, tmp_path / "one.png")
    planner_chart({"cut-in": 0.5, "common": 0.1}, {"cut-in": 0.1, "common": 0.0}, tmp_path / "two.png")
    np.testing.assert_array_equal(drawn(tmp_path / "one.png"), drawn(tmp_path / "two.png"))
    planner_chart({}, {}, tmp_path / "none.png")
    assert (tmp_path / "none.png").exists()


def test_a_view_holds_whoever_is_in_the_finding(tracks):
    """The two of it are within the picture's borders, however far apart they are."""
    grid = as_grid(tracks)
    for other in range(1, 8):
        frame = int(np.flatnonzero(np.isfinite(grid.x[[0, other]]).all(axis=0))[0])
        axes = axes_of(Shown(tracks, finding((0, other), peak=frame), 0.5))
        away = np.hypot(grid.x[other, frame] - grid.x[0, frame], grid.y[other, frame] - grid.y[0, frame])
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert left < 0 < right
        assert np.hypot(max(-left, right), max(-low, high)) >= min(away, 60.0)


@pytest.mark.parametrize("turn", [0.0, 1.2, -2.5])
def test_a_picture_is_seen_from_its_subject_whatever_the_compass_says(tracks, turn):
    """The same drive along another direction, elsewhere, has the same borders and the same outlines within them."""
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = cos * tracks.x - sin * tracks.y + 300.0, sin * tracks.x + cos * tracks.y - 50.0
    plain, turned = (
        axes_of(Shown(one, finding((0, 3)), 0.5))
        for one in (tracks, replace(tracks, x=x, y=y, heading=tracks.heading + turn))
    )
    assert turned.get_xlim() == pytest.approx(plain.get_xlim(), abs=1e-6)
    assert turned.get_ylim() == pytest.approx(plain.get_ylim(), abs=1e-6)
    assert len(turned.patches) == len(plain.patches) > 2
    for one, other in zip(plain.patches, turned.patches, strict=True):
        np.testing.assert_allclose(one.get_path().vertices, other.get_path().vertices, atol=1e-6)
