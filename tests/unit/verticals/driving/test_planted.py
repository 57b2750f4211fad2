"""Planted cases: where they are said to be, as bad as they are meant, driven as one can drive, all else as it was."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import mine
from hotloop.verticals.driving.planted import (
    PLANTABLE,
    _braked,
    _clear,
    _driven,
    _free,
    _gaps,
    _own_rows,
    _scene_of,
    plant,
)
from hotloop.verticals.driving.tracks import Actor, Tracks, as_grid
from hotloop.verticals.driving.traffic import highway, street

EACH = dict.fromkeys(PLANTABLE, 2)


@pytest.fixture(scope="module", params=["highway", "street"])
def planted(request):
    """Before, after and the truth, over some seeds."""
    made = []
    for seed in range(3):
        before = highway(seed, noise=0.0) if request.param == "highway" else street(seed, seconds=90.0, noise=0.0)
        made.append((before, *plant(before, seed, EACH)))
    return made


def only(planted, *cases):
    """(before's grid, after's grid, tracks, truth) of the cases."""
    for before, after, truth in planted:
        was, now = as_grid(before), as_grid(after)
        for one in truth:
            if one.case in cases:
                yield was, now, after, one


def gap(grid, tracks, rear, front, frame):
    """Metres from bumper to bumper, along the rear one's heading, and metres sideways."""
    dx, dy = grid.x[front, frame] - grid.x[rear, frame], grid.y[front, frame] - grid.y[rear, frame]
    cos, sin = np.cos(grid.heading[rear, frame]), np.sin(grid.heading[rear, frame])
    both = (tracks.actors[rear].length + tracks.actors[front].length) / 2
    return dx * cos + dy * sin - both, abs(dy * cos - dx * sin)


def test_most_of_what_is_asked_for_is_planted(planted):
    """In ordinary traffic there is room; the truth says frames and actors that are there."""
    count = sum(len(truth) for _, _, truth in planted)
    assert count >= 3 * 8 * 0.6
    for _, after, truth in planted:
        assert {one.case for one in truth} >= {"crossing", "pedestrian crossing"}
        for one in truth:
            assert 0 <= one.first <= one.peak <= one.last < after.frames
            assert len(set(one.actors)) == 2
            for actor in one.actors:
                assert one.peak in after.frame[after.rows_of(actor)]


def test_everybody_else_drives_as_before(planted):
    """To the bit; and nobody changes before the case begins."""
    for before, after, truth in planted:
        was, now = as_grid(before), as_grid(after)
        changed = {actor for one in truth for actor in one.changed}
        for actor in range(len(before.actors)):
            upto = min((one.first for one in truth if actor in one.changed), default=before.frames)
            upto = upto if actor in changed else before.frames
            for name in ("x", "y", "heading", "v"):
                np.testing.assert_array_equal(getattr(was, name)[actor, :upto], getattr(now, name)[actor, :upto])


def test_changed_ones_drive_as_one_can(planted):
    """No jump, no more than a car's brakes give, bounded jerk."""
    for before, after, truth in planted:
        grid, changed = as_grid(after), sorted({actor for one in truth for actor in one.changed})
        if not changed:
            continue
        a = np.diff(grid.v[changed], axis=1) / before.step_s
        moved = np.hypot(np.diff(grid.x[changed], axis=1), np.diff(grid.y[changed], axis=1)) / before.step_s
        assert np.abs(a).max() < 10.0
        assert np.abs(np.diff(a, axis=1)).max() / before.step_s < 90.0  # coming to a stand is a step
        assert np.abs(moved - (grid.v[changed, 1:] + grid.v[changed, :-1]) / 2).max() < 1.5


def test_a_hard_brake_brakes_hard_and_is_noticed_late(planted):
    """6 m/s2 and more; who is behind comes much nearer, and does not touch."""
    count = 0
    for was, now, tracks, one in only(planted, "hard braking"):
        lead, follower = one.actors
        braking = -np.diff(now.v[lead, one.first : one.peak + 2]) / tracks.step_s
        assert 5.9 < braking.max() < 9.0
        until = min(one.last + 20, tracks.frames - 1)
        gaps = [gap(now, tracks, follower, lead, k)[0] for k in range(one.first, until)]
        assert 0.0 < min(gaps) < gap(was, tracks, follower, lead, one.first)[0]
        reacted = np.flatnonzero(now.v[follower, one.first :] < was.v[follower, one.first :] - 0.3)
        assert len(reacted) == 0 or reacted[0] * tracks.step_s > 0.4
        count += 1
    assert count >= 2


def test_a_cut_in_ends_close_in_front_of_the_other(planted):
    """It begins beside the other's path and is on it at the peak, less than a second's way ahead."""
    count = 0
    for _, now, tracks, one in only(planted, "cut-in"):
        mover, other = one.actors
        assert gap(now, tracks, other, mover, one.first)[1] > 2.3
        ahead, beside = gap(now, tracks, other, mover, one.peak)
        assert beside < 1.6
        assert 0.0 < ahead < 1.0 * now.v[other, one.peak]
        count += 1
    assert count >= 2


def test_a_crosser_is_off_the_path_just_before_the_other_arrives(planted):
    """The time between the two, by brute force over fine steps, is above 0 and below 1.2 s."""
    for _, now, tracks, one in only(planted, "crossing", "pedestrian crossing"):
        crosser, other = one.actors
        assert (tracks.actors[crosser].kind == "pedestrian") == (one.case == "pedestrian crossing")
        there = np.flatnonzero(np.isfinite(now.x[crosser]))
        fine = np.arange(there[0], there[-1], 0.1)
        path = [np.interp(fine, np.arange(tracks.frames), values[crosser]) for values in (now.x, now.y)]
        his = [np.interp(fine, np.arange(tracks.frames), values[other]) for values in (now.x, now.y)]
        turn = now.heading[other, one.peak]
        who, he = tracks.actors[crosser], tracks.actors[other]
        across = -(path[0] - his[0][-1]) * np.sin(turn) + (path[1] - his[1][-1]) * np.cos(turn)
        left = fine[np.flatnonzero(np.abs(across) < (he.width + who.length) / 2)].max()
        middle = np.argmin(np.abs(across))
        along = (his[0] - path[0][middle]) * np.cos(turn) + (his[1] - path[1][middle]) * np.sin(turn)
        arrived = fine[np.flatnonzero(along > -(he.length + who.width) / 2)]
        if len(arrived):  # else it only came after the crosser was out of sight
            assert -0.1 < (arrived[0] - left) * tracks.step_s < 1.3


def test_planting_is_the_same_for_a_seed_and_leaves_its_input():
    """Twice the same; another seed elsewhere; the tracks that were given stay."""
    before = highway(7, noise=0.0)
    kept = replace(before, x=before.x.copy(), v=before.v.copy())
    one, again, other = plant(before, 1, EACH), plant(before, 1, EACH), plant(before, 2, EACH)
    assert one[1] == again[1] != other[1]
    np.testing.assert_array_equal(one[0].x, again[0].x)
    np.testing.assert_array_equal(before.x, kept.x)
    np.testing.assert_array_equal(before.v, kept.v)


def test_frames_are_those_of_the_log():
    """A log that begins at frame 500 has its cases after that."""
    tracks = street(1, seconds=60.0)
    later = replace(tracks, frame=tracks.frame + 500)
    plain, shifted = plant(tracks, 4, EACH), plant(later, 4, EACH)
    assert [one.peak + 500 for one in plain[1]] == [one.peak for one in shifted[1]]
    assert all(one.first >= 500 for one in shifted[1])
    np.testing.assert_array_equal(plain[0].x, shifted[0].x)


def test_a_log_without_accelerations_stays_without():
    """NaN where it has none, new rows included; where it has some, they follow from the speeds."""
    tracks = highway(1)
    bare = replace(tracks, a=np.full(len(tracks), np.nan))
    assert np.isnan(plant(bare, 1, EACH)[0].a).all()
    after, truth = plant(tracks, 1, EACH)
    assert np.isfinite(after.a).all()
    lead = next(one for one in truth if one.case == "hard braking").actors[0]
    assert after.a[after.rows_of(lead)].min() < -5.5


def test_where_nothing_fits_nothing_is_planted():
    """One lone car on a second of road."""
    tracks = highway(1, vehicles=1, seconds=1.0, lanes=1)
    after, truth = plant(tracks, 1, EACH)
    assert truth == ()
    np.testing.assert_array_equal(after.x, tracks.x)


def test_a_case_that_cannot_be_planted_is_refused():
    """By name."""
    with pytest.raises(InputError, match=r"take-over cannot be planted; cut-in, hard braking"):
        plant(highway(1, 4, 5.0), 1, {"take-over": 1})


def test_one_actor_is_in_one_case_at_a_time(planted):
    """Cases that share somebody lie apart in time, so that each can be told from the other."""
    for _, after, truth in planted:
        for number, one in enumerate(truth):
            for other in truth[number + 1 :]:
                if set(one.actors) & set(other.actors):
                    assert one.last < other.first or other.last < one.first, (one, other, after.source)


def test_nobody_touches_anybody_because_of_it(planted):
    """What is planted is close, and is no accident: rectangles that were apart stay apart."""
    for _, after, _ in planted:
        grid = as_grid(after)
        size = np.array([(one.length, one.width) for one in after.actors])
        for k in range(0, after.frames, 2):
            x, y, turn = grid.x[:, k], grid.y[:, k], grid.heading[:, k]
            dx, dy = x - x[:, None], y - y[:, None]
            cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
            along, across = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
            c, s = np.abs(np.cos(turn - turn[:, None])), np.abs(np.sin(turn - turn[:, None]))
            near = along < (size[:, :1] + size[:, 0] * c + size[:, 1] * s) / 2
            near &= across < (size[:, 1:] + size[:, 0] * s + size[:, 1] * c) / 2
            np.fill_diagonal(near, val=False)
            walks = np.array([one.kind == "pedestrian" for one in after.actors])
            touching = np.argwhere(near & near.T & ~(walks[:, None] & walks))
            assert len(touching) == 0, (after.source, k, touching[0])


def test_a_log_of_larger_steps_is_planted_in_too():
    """Every other frame: times stay times, so a brake lasts as long in seconds."""
    fine = highway(3, noise=0.0)
    keep = fine.frame % 2 == 0
    columns = {name: getattr(fine, name)[keep] for name in ("actor", "x", "y", "heading", "v", "a")}
    coarse = replace(fine, **columns, frame=fine.frame[keep] // 2, step_s=0.2).check()
    after, truth = plant(coarse, 2, EACH)
    assert len(truth) >= 4
    grid = as_grid(after)
    for one in truth:
        assert 0.4 <= (one.last - one.first) * 0.2 <= 8.0
        if one.case == "hard braking":
            lead = one.actors[0]
            braking = -np.diff(grid.v[lead, one.first : one.peak + 2]) / 0.2
            assert 5.0 < braking.max() < 9.0


def test_a_brake_is_hard_then_slow_then_over():
    """Jerk is bounded, no speed is below 0, and the old speed comes back without being passed."""
    v = np.full(150, 20.0)
    for hard, for_s in ((6.5, 1.5), (8.4, 2.0), (8.0, 5.0)):
        out = _braked(v, 0.1, hard, for_s)
        a = np.diff(out) / 0.1
        assert a.min() == pytest.approx(-hard, abs=0.01)
        assert out.min() >= 0.0
        assert out.max() <= 20.0 + 0.3
        assert out[-1] > out.min()
        moving = out[1:] > 0.5
        assert np.abs(np.diff(a))[moving[1:]].max() <= 25.0 * 0.1 + 1e-9


def test_one_drives_on_along_ones_own_path():
    """With the speeds that one had one is where one was; with lower ones, at an earlier place of the same path."""
    scene = _scene_of(street(4, seconds=30.0, noise=0.0), [])
    for who in range(0, 12, 3):
        own = _own_rows(scene, who, 50)
        same = _driven(scene, who, 50, own[3])
        assert np.hypot(*(same[:2] - own[:2])).max() < 0.6
        slower = _driven(scene, who, 50, 0.5 * own[3])
        whole = np.stack((scene.x[who], scene.y[who]), axis=1)
        for place in slower[:2].T[::20]:
            assert np.hypot(*(whole - place).T).min() < 0.8


def test_gaps_are_from_bumper_to_bumper():
    """Two in a lane: 20 m of middles less half of both lengths; who is beside is in nobody's way."""
    actors = (Actor("a", "car", 4.0, 2.0), Actor("b", "car", 6.0, 2.0), Actor("c", "car", 4.0, 2.0))
    x, y = np.array([0.0, 20.0, 10.0]), np.array([0.0, 0.5, 3.6])
    tracks = Tracks(actors, np.arange(3), np.zeros(3, int), x, y, np.zeros(3), np.full(3, 5.0), np.zeros(3), 0.1)
    scene = _scene_of(tracks, [])
    ahead, behind = _gaps(scene, 0, 0)
    assert ahead.tolist() == [np.inf, 15.0, np.inf]
    assert np.isinf(behind).all()
    assert _gaps(scene, 1, 0)[1].tolist() == [15.0, np.inf, np.inf]
    assert _gaps(scene, 2, 0, beside=-3.6)[0].tolist() == [np.inf, 5.0, np.inf]
    assert _clear(scene, 0, 0, 1)
    assert not _clear(scene, 0, 0, 1, room=16.0)


def test_recorded_traffic_can_be_planted_in():
    """In real snippets most cases find a place; all who are not in one drive as they were recorded."""
    folder = Path(os.environ.get("HOTLOOP_DATA", "")) / "driving" / "ngsim-us101"
    if not os.environ.get("HOTLOOP_DATA") or not folder.is_dir():
        pytest.skip("HOTLOOP_DATA is not set, or holds no driving/ngsim-us101")
    paths = sorted(folder.glob("*.csv.gz"))[4:16]
    assert len(paths) == 12
    count = 0
    for number, path in enumerate(paths):
        before = read(path)
        after, truth = plant(before, number, {PLANTABLE[number % 4]: 1})
        count += len(truth)
        was, now = as_grid(before), as_grid(after)
        changed = {actor for one in truth for actor in one.changed}
        kept = [k for k in range(len(before.actors)) if k not in changed]
        np.testing.assert_array_equal(was.x[kept], now.x[kept])
        np.testing.assert_array_equal(was.v[kept], now.v[kept])
    assert count >= len(paths) // 2


def test_an_actor_that_is_in_a_case_for_a_moment_is_not_free():
    """One frame that is used is enough; before and after it, it is free; at the ends of the log it is not there."""
    scene = _scene_of(highway(2, 6, 30.0), [])
    free = [frame for frame in range(scene.frames) if _free(scene, 0, frame)]
    assert free
    middle = free[len(free) // 2]
    scene.used[0, middle + 3] = True
    assert not _free(scene, 0, middle)
    assert _free(scene, 1, middle)
    assert not _free(scene, 0, 0)
    assert not _free(scene, 0, scene.frames - 1)


@pytest.mark.parametrize("case", PLANTABLE)
def test_what_is_planted_can_be_mined(case):
    """In calm traffic each kind of case is found by mining, near its moment, with somebody of it among the actors."""
    found = total = 0
    for seed in range(4):
        calm = (street if "crossing" in case else highway)(40 + seed, seconds=30.0)
        tracks, truth = plant(calm, seed, {case: 1})
        some = mine(tracks, None, MineConfig())
        for one in truth:
            total += 1
            near = [f for f in some if f.first <= one.last + 5 and f.last >= one.first - 5]
            found += any(set(f.actors) & set(one.actors) for f in near)
    assert total >= 3
    assert found == total


def test_more_can_be_asked_for_than_finds_a_place():
    """What is planted is at most what was asked for, each case in its own frames of the log."""
    tracks, truth = plant(highway(3, 12, 20.0), 3, {"hard braking": 50})
    assert 0 < len(truth) < 50
    first, last = int(tracks.frame.min()), int(tracks.frame.max())
    for one in truth:
        assert first <= one.first <= one.peak <= one.last <= last
        assert one.changed
        assert set(one.changed) <= set(range(len(tracks.actors)))
