"""What a log leaves out is derived from its places."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest.rows import Rows, frames_of, held, step_of, tracks_of
from hotloop.verticals.driving.tracks import Actor, Moment

NAN = math.nan
CAR = Actor("1", "car", 4.5, 1.8)


def test_rows_come_out_sorted_whatever_their_order() -> None:
    """By actor, then frame; moments by frame, each once."""
    rows = Rows.of([(1, 1, 3, 0, 0, 1, NAN), (0, 5, 1, 0, 0, 1, NAN), (1, 0, 2, 0, 0, 1, 0.5), (0, 2, 0, 0, 0, 1, NAN)])
    told = [Moment(4, "take-over"), Moment(2, "take-over"), Moment(4, "take-over")]
    out = tracks_of(rows, [CAR, CAR], 0.1, "log", told)
    assert out.actor.tolist() == [0, 0, 1, 1]
    assert out.frame.tolist() == [2, 5, 0, 1]
    assert out.x.tolist() == [0, 1, 2, 3]
    assert [one.frame for one in out.moments] == [2, 4]
    assert np.isnan(out.a).tolist() == [True, True, False, True]


@pytest.mark.parametrize("turn", [0.0, 1.0, -2.5, math.pi / 2])
def test_heading_and_speed_of_a_straight_drive(turn: float) -> None:
    """10 m/s along any direction, told by places alone."""
    way = 1.0 * np.arange(20)
    rows = Rows.of([(0, i, s * math.cos(turn), s * math.sin(turn), NAN, NAN, NAN) for i, s in enumerate(way)])
    out = tracks_of(rows, [CAR], 0.1, "log")
    assert np.allclose(out.heading, turn, atol=1e-9)
    assert np.allclose(out.v, 10.0)
    assert np.isnan(out.a).all()


def test_a_told_heading_makes_going_backwards_negative() -> None:
    """The speed is along the heading, also where it is derived."""
    out = tracks_of(Rows.of([(0, i, -i * 0.5, 0, 0.0, NAN, NAN) for i in range(5)]), [CAR], 0.1, "log")
    assert np.allclose(out.v, -5.0)


def test_who_stands_keeps_the_heading_it_came_with() -> None:
    """Jitter of a standing car does not turn it; one that never moves looks along x."""
    xs = [0, 1, 2, 3, 3.01, 3.0, 3.01, 3.0]
    rows = [(0, i, 0.0, x, NAN, NAN, NAN) for i, x in enumerate(xs)] + [(1, i, 5, 5, NAN, NAN, NAN) for i in range(3)]
    out = tracks_of(Rows.of(rows), [CAR, CAR], 0.1, "log")
    assert np.allclose(out.heading[out.rows_of(0)], math.pi / 2)
    assert out.heading[out.rows_of(1)].tolist() == [0, 0, 0]
    assert out.v[out.rows_of(1)].tolist() == [0, 0, 0]


def test_nothing_is_derived_across_actors() -> None:
    """The place of one actor says nothing of the next one's motion."""
    rows = [(0, 0, 0, 0, NAN, NAN, NAN), (1, 0, 100, 100, NAN, NAN, NAN), (1, 1, 100, 101, NAN, NAN, NAN)]
    out = tracks_of(Rows.of(rows), [CAR, CAR], 0.1, "log")
    assert out.v[0] == 0
    assert np.allclose(out.v[1:], 10)
    actor = np.array([0, 0, 1, 1])
    assert held(actor, np.array([NAN, 3, NAN, NAN])).tolist() == [3, 3, 0, 0]


@pytest.mark.parametrize("frame", [NAN, math.inf, 2.0**40, -1.0])
def test_a_frame_that_is_none_is_refused(frame: float) -> None:
    """Not a number, too large, before the beginning."""
    with pytest.raises(InputError, match="frame"):
        tracks_of(Rows.of([(0, frame, 0, 0, 0, 0, 0)]), [CAR], 0.1, "log")


def test_times_become_frames() -> None:
    """From the first time on, with the jitter of a clock; what lies between two frames is refused."""
    assert frames_of(np.array([5.0, 5.101, 5.299]), 0.1, "log").tolist() == [0, 1, 3]
    with pytest.raises(InputError, match=r"time 5\.15"):
        frames_of(np.array([5.0, 5.15]), 0.1, "log")
    with pytest.raises(InputError, match="time nan"):
        frames_of(np.array([5.0, NAN]), 0.1, "log")


def test_the_step_is_the_usual_difference_of_times() -> None:
    """Gaps and repeated times do not matter; one moment is no track."""
    assert step_of(np.array([0.0, 0.1, 0.2, 0.2, 0.9, 1.0]), "log") == 0.1
    with pytest.raises(InputError, match="one moment"):
        step_of(np.array([1.0, 1.0]), "log")
