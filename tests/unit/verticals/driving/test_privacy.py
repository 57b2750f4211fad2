"""Coarser places, no names, no ends: what is kept stays useful, and what is dropped is gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ConfigError, InputError
from hotloop.verticals.driving.privacy import Privacy, coarsened, nameless, without_ends
from hotloop.verticals.driving.tracks import Actor, Moment, Tracks


def some(seed: int, ego: int | None = 0, actors: int = 4, frames: int = 50) -> Tracks:
    """Cars that come and go, far from the origin."""
    rng = np.random.default_rng(seed)
    who = tuple(Actor(f"plate {rng.integers(1e9)}", "car", 4.567, 1.834, i == ego) for i in range(actors))
    spans = [sorted(rng.choice(frames, 2, replace=False)) for _ in range(actors)]
    actor = np.concatenate([np.full(b - a + 1, i) for i, (a, b) in enumerate(spans)])
    frame = np.concatenate([np.arange(a, b + 1) for a, b in spans])
    n = len(actor)
    place = rng.uniform(-1e5, 1e5, 2)
    return Tracks(
        who, actor, frame, place[0] + rng.normal(0, 50, n), place[1] + rng.normal(0, 50, n), rng.normal(size=n),
        rng.normal(10, 2, n), np.full(n, np.nan), 0.1, "route of a person", "ab" * 32, "eu", (Moment(5, "take-over"),),
    ).check()  # fmt: skip


seeds, grids = st.integers(0, 10_000), st.sampled_from([1.0, 10.0, 250.0, 1000.0])


@settings(max_examples=60, deadline=None)
@given(seeds, grids, st.sampled_from([None, 0, 2]))
def test_a_shift_leaves_all_that_is_relative(seed: int, grid_m: float, ego: int | None) -> None:
    """Differences of places to a nanometre or so; everything else to the bit."""
    tracks = some(seed, ego)
    out = coarsened(tracks, grid_m).check()
    assert np.allclose(np.diff(out.x), np.diff(tracks.x), atol=1e-9)
    assert np.allclose(np.diff(out.y), np.diff(tracks.y), atol=1e-9)
    assert replace(out, x=tracks.x, y=tracks.y) == replace(tracks, x=tracks.x, y=tracks.y)


@settings(max_examples=60, deadline=None)
@given(seeds, grids)
def test_the_anchor_lies_on_the_grid_and_no_further_than_half_a_cell(seed: int, grid_m: float) -> None:
    """The ego's first place: all drives that begin in one cell begin in one place."""
    tracks = some(seed)
    out = coarsened(tracks, grid_m)
    row = tracks.rows_of(0).start
    for name in ("x", "y"):
        at, was = float(getattr(out, name)[row]), float(getattr(tracks, name)[row])
        assert at == grid_m * round(at / grid_m)
        assert abs(at - was) <= grid_m / 2 + 1e-6
    again = coarsened(out, grid_m)
    assert np.allclose(again.x, out.x, atol=1e-9)


def test_two_drives_that_begin_in_a_cell_cannot_be_told_apart_by_place() -> None:
    """The same motion from two doors of a street gives the same table."""
    tracks = some(1)
    row = tracks.rows_of(0).start
    base = replace(tracks, x=tracks.x - tracks.x[row], y=tracks.y - tracks.y[row])
    one, other = (coarsened(replace(base, x=base.x + at, y=base.y - at), 100.0) for at in (1003.0, 1040.0))
    assert np.allclose(one.x, other.x, atol=1e-9)
    assert np.allclose(one.y, other.y, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_names_become_numbers_in_order_of_appearance(seed: int) -> None:
    """No name of the log is left, the numbers rise with the first frames, and every row is still there."""
    tracks = some(seed)
    out = nameless(tracks).check()
    assert [one.name for one in out.actors] == [str(i) for i in range(1, len(out.actors) + 1)]
    first = [int(out.frame[out.rows_of(i).start]) for i in range(len(out.actors))]
    assert first == sorted(first)
    was, now = (sorted(zip(one.frame, one.x, one.y, strict=True)) for one in (tracks, out))
    assert was == now
    assert sum(one.ego for one in out.actors) == 1
    assert "person" not in repr(out)
    assert "plate" not in repr(out)
    assert (out.actors[0].length, out.actors[0].width) == (4.6, 1.8)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_order_of_names_in_the_log_says_nothing(seed: int) -> None:
    """The same drive with its actors listed and named in another order gives the same table."""
    tracks = some(seed, ego=None)
    turn = np.random.default_rng(seed).permutation(4)
    place = np.argsort(turn)
    actor = place[tracks.actor]
    order = np.lexsort((tracks.frame, actor))
    columns = {name: getattr(tracks, name)[order] for name in ("frame", "x", "y", "heading", "v", "a")}
    named = tuple(replace(tracks.actors[i], name=f"n{i}") for i in turn)
    other = replace(tracks, actors=named, actor=actor[order], **columns)
    one, two = nameless(tracks), nameless(other.check())
    assert one.actors == two.actors
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.actor, two.actor)


def test_who_has_no_row_is_dropped() -> None:
    """A name that is nowhere is not numbered."""
    tracks = some(3).only([0, 2])
    assert len(nameless(tracks).actors) == 2


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0.01, 1.9))
def test_the_ends_are_gone(seed: int, cut_s: float) -> None:
    """Nothing of the first and last seconds is left, moments neither; the rest is as it was."""
    tracks = some(seed)
    at = tracks.frame * 0.1
    if not ((at >= at.min() + cut_s - 1e-9) & (at <= at.max() - cut_s + 1e-9)).any():
        with pytest.raises(InputError, match="not kept"):
            without_ends(tracks, cut_s)
        return
    out = without_ends(tracks, cut_s)
    assert out.frame.min() * 0.1 >= tracks.frame.min() * 0.1 + cut_s - 1e-9
    assert out.frame.max() * 0.1 <= tracks.frame.max() * 0.1 - cut_s + 1e-9
    assert len(out)
    inner = (tracks.frame >= out.frame.min()) & (tracks.frame <= out.frame.max())
    assert np.array_equal(out.x, tracks.x[inner])
    assert all(at.min() + cut_s - 1e-9 <= one.frame * 0.1 <= at.max() - cut_s + 1e-9 for one in out.moments)


def test_a_log_in_whose_middle_nobody_is_leaves_nothing() -> None:
    """Long enough, and yet all of it is at its ends."""
    tracks = some(0).between(5, 5)
    two = replace(tracks, actors=tracks.actors * 2)
    late = replace(two, actor=tracks.actor + 4, frame=tracks.frame + 100)
    names = ("x", "y", "heading", "v", "a")
    columns = {name: np.concatenate([getattr(two, name), getattr(late, name)]) for name in names}
    frame, actor = np.concatenate([two.frame, late.frame]), np.concatenate([two.actor, late.actor])
    with pytest.raises(InputError, match="nobody is between"):
        without_ends(replace(two, actor=actor, frame=frame, **columns).check(), 2.0)


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    """By default a log is kept as it is; asked for, all three are done."""
    tracks = some(0)
    assert Privacy().kept(tracks) is tracks
    out = Privacy(grid_m=100.0, drop_names=True, cut_s=0.2).kept(tracks)
    assert out.source == "log " + "ab" * 6
    assert len(out) < len(tracks)
    assert out.digest == tracks.digest


@pytest.mark.parametrize(
    "wrong", [{"grid_m": -1.0}, {"grid_m": float("nan")}, {"grid_m": 1e9}, {"cut_s": -1.0}, {"cut_s": 1e5}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    """By ConfigError, before any log is read."""
    with pytest.raises(ConfigError):
        Privacy(**wrong)
