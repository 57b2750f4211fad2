"""A finding becomes a scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes

from hotloop.errors import InputError
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.scenario import from_finding, from_moment


def finding(actor=0, peak=60):
    return Finding("cut-in", 0.5, 1.0, "s", (actor, 2), peak - 5, peak, peak + 5, "words")


def test_the_subject_is_taken_out_and_its_seat_is_where_it_was():
    """3 s before the peak to 4 s after; the others keep what was recorded."""
    log = scenes.tracks()
    scene = from_finding(log, finding())
    assert scene.frames == 71
    assert scene.peak == 30
    assert (scene.seat.x, scene.seat.y, scene.seat.v) == (30.0, 0.0, 10.0)
    assert [one.name for one in scene.others] == ["a1", "a2", "a3"]
    assert scene.x[0, 0] == pytest.approx(25 + 30.0)
    assert scene.x[1, -1] == pytest.approx(-10 + 12 * 10.0)
    assert scene.case == "cut-in"
    assert scene.region == "eu"


def test_nothing_in_it_says_when_the_subject_was_where():
    """A subject that braked, and one that did not, on one way leave the same path: times are taken away."""
    log = scenes.tracks()
    slower = log.x.copy()
    rows = log.rows_of(0)
    t = np.arange(rows.stop - rows.start) * 0.1
    slower[rows] = np.where(t < 6.0, 10 * t, 60 + 10 * (t - 6.0) - 0.5 * np.minimum(t - 6.0, 3.0) ** 2)
    a, b = from_finding(log, finding()), from_finding(replace(log, x=slower), finding())
    assert a.seat == b.seat
    shared = min(len(a.path), len(b.path))
    assert np.abs(a.path[:shared, 1] - b.path[:shared, 1]).max() == 0
    assert b.goal < a.goal


def test_the_goal_is_how_far_the_recorded_one_came():
    """7 s at 10 m/s."""
    scene = from_finding(scenes.tracks(), finding())
    assert scene.recorded_m == pytest.approx(70.0, abs=1.0)
    assert scene.desired == 10.0


def test_a_log_in_quarter_seconds_is_played_in_tenths():
    """Between its frames everybody goes straight on."""
    scene = from_finding(scenes.tracks(step_s=0.25), finding(peak=24))
    assert scene.frames == 71
    assert np.diff(scene.x[0]) == pytest.approx(np.full(70, 1.0), abs=2e-3)


def test_the_beginning_and_the_end_of_the_log_cut_a_scene():
    """A peak 1 s after the subject came begins there."""
    scene = from_moment(scenes.tracks(), 2, 30)
    assert scene.peak == 10
    assert scene.frames == 51
    assert scene.case == "common"


@pytest.mark.parametrize(
    ("actor", "peak", "why"), [(0, 500, "less than"), (3, 60, "no direction"), (2, 3, "less than")]
)
def test_a_scene_that_cannot_be_is_refused_by_name(actor, peak, why):
    """Not there, never moved, too short."""
    with pytest.raises(InputError, match=why) as caught:
        from_finding(scenes.tracks(), finding(actor, peak))
    assert f"log:a{actor}" in str(caught.value)


def test_a_scene_that_begins_in_a_collision_is_refused():
    """Nothing that a planner does could mend it."""
    log = scenes.tracks()
    with pytest.raises(InputError, match="begins in a collision"):
        from_moment(replace(log, x=np.where(log.actor == 1, log.x - 23.0, log.x)), 0, 60)


def test_the_digest_is_of_what_is_in_it():
    """Twice the same, and another one for another place, name or latency."""
    log = scenes.tracks()
    scene = from_finding(log, finding())
    assert scene.digest == from_finding(log, finding()).digest
    others = [replace(scene, latency=1), replace(scene, name="x"), scene.only([0]), scene.until(40)]
    assert len({one.digest for one in [scene, *others]}) == 5


def test_a_shorter_one_leaves_out_who_comes_later():
    """The goal is nearer in proportion; the peak is within."""
    base = scenes.with_one(scenes.road(), (20.0, 3.5), (10.0, 0.0), frames=(40, 60))
    short = base.until(31)
    assert short.frames == 31
    assert short.others == ()
    assert short.recorded_m == pytest.approx(30.0, abs=1.0)
    assert base.until(1000) is base


def test_of_a_crowd_the_nearest_are_kept():
    """At most 24 others, those that come nearest to the subject."""
    log = scenes.tracks()
    many = []
    for k in range(40):
        many.append(scenes.Actor(f"b{k}", "car", 4.0, 1.8))
    frames = np.tile(np.arange(100), 40)
    actor = np.repeat(np.arange(4, 44), 100)
    x = frames * 1.0 + 2.0 * (actor - 4)
    crowd = replace(
        log, actors=log.actors + tuple(many), actor=np.concatenate((log.actor, actor)),
        frame=np.concatenate((log.frame, frames)), x=np.concatenate((log.x, x)),
        y=np.concatenate((log.y, np.full(len(x), 7.0))), heading=np.concatenate((log.heading, np.zeros(len(x)))),
        v=np.concatenate((log.v, np.full(len(x), 10.0))), a=np.concatenate((log.a, np.full(len(x), np.nan))),
    ).check()  # fmt: skip
    scene = from_moment(crowd, 0, 60)
    assert len(scene.others) == 24
    assert "b0" in [one.name for one in scene.others]
    assert "b39" not in [one.name for one in scene.others]


def test_places_are_of_the_frames_that_were_recorded():
    """Each of the others, each tenth: the recorded place, to the millimetre."""
    log = scenes.tracks()
    scene = from_finding(log, finding())
    for k, actor in enumerate((1, 2, 3)):
        rows = log.rows_of(actor)
        frames = log.frame[rows]
        inside = (frames >= 30) & (frames <= 100)
        assert scene.x[k, frames[inside] - 30] == pytest.approx(log.x[rows][inside], abs=1e-3)
        assert scene.y[k, frames[inside] - 30] == pytest.approx(log.y[rows][inside], abs=1e-3)


def test_a_hole_in_a_track_is_bridged_straight():
    """Half a second that the log did not see."""
    log = scenes.tracks()
    keep = ~((log.actor == 1) & (log.frame >= 50) & (log.frame < 55))
    columns = ("actor", "frame", "x", "y", "heading", "v", "a")
    holed = replace(log, **{name: getattr(log, name)[keep] for name in columns})
    scene = from_finding(holed.check(), finding())
    assert scene.x[0] == pytest.approx(from_finding(log, finding()).x[0], abs=2e-3)


def test_a_heading_that_goes_round_is_not_played_the_other_way():
    """From π to -π is no turn."""
    log = scenes.tracks(step_s=0.25)
    heading = np.where(log.actor == 1, np.where(log.frame % 2 == 0, np.pi - 0.01, -np.pi + 0.01), log.heading)
    scene = from_finding(replace(log, heading=heading), finding(peak=24))
    assert np.abs(np.cos(scene.heading[0]) + 1).max() < 1e-3


def test_who_stood_at_first_takes_the_direction_of_its_way():
    """A recorded heading of a standing car is noise."""
    log = scenes.tracks()
    rows = log.rows_of(0)
    t = np.arange(rows.stop - rows.start) * 0.1
    x, v, heading = log.x.copy(), log.v.copy(), log.heading.copy()
    x[rows], v[rows], heading[rows] = np.maximum(t - 4.0, 0.0) * 5.0, np.where(t > 4.0, 5.0, 0.0), 2.0
    scene = from_finding(replace(log, x=x, v=v, heading=heading), finding())
    assert scene.seat.v == 0.0
    assert scene.seat.heading == pytest.approx(0.0, abs=0.01)
    assert scene.desired == 5.0


def test_only_keeps_rows_together():
    """Names, sizes and motion of whoever is kept."""
    scene = from_finding(scenes.tracks(), finding())
    two = scene.only([2, 0, 2])
    assert [one.name for one in two.others] == ["a1", "a3"]
    assert np.array_equal(two.x, scene.x[[0, 2]], equal_nan=True)
    assert scene.only([]).x.shape == (0, 71)


def test_the_goal_of_a_shorter_scene_is_nearer_in_proportion():
    """Half of the time is half of the way; the peak is not behind the end; all of it is itself."""
    scene = from_finding(scenes.tracks(), finding())
    half = scene.until(36)
    assert half.frames == 36
    assert half.recorded_m == pytest.approx(scene.recorded_m / 2, abs=1.0)
    assert half.peak == 30
    assert scene.until(11).peak == 10
    assert scene.until(11).recorded_m == pytest.approx(10.0, abs=1.0)
    assert scene.until(71) is scene.until(500) is scene


def test_it_begins_in_a_collision_only_by_the_first_frame():
    """Who overlaps the seat one step later, or only did so before, is no obstacle to playing it."""
    scene = scenes.with_one(scenes.road(), (4.0, 0.0), (10.0, 0.0))
    assert scene.hit_at_start.tolist() == [True]
    later = replace(scene, x=np.where(np.arange(scene.frames) == 0, 9.0, scene.x))
    assert later.hit_at_start.tolist() == [False]
    away = replace(scene, x=np.where(np.arange(scene.frames) > 0, scene.x + 30.0, scene.x))
    assert away.hit_at_start.tolist() == [True]
    assert scenes.road().hit_at_start.tolist() == []


def test_the_seconds_around_a_finding_can_be_chosen():
    """One before, two after."""
    scene = from_finding(scenes.tracks(), finding(), before_s=1.0, after_s=2.0)
    assert (scene.frames, scene.peak, scene.seat.x) == (31, 10, 50.0)


def test_a_scene_of_a_frame_number_that_is_high_is_the_same():
    """A log cut out of a longer one keeps its frame numbers: the scene has its own."""
    log = scenes.tracks()
    later = replace(log, frame=log.frame + 12_345)
    a, b = from_finding(log, finding()), from_finding(later, finding(peak=60 + 12_345))
    assert replace(b, name=a.name).digest == a.digest
