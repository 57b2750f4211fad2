"""Corner cases planted by a seed in any tracks, real ones too: what mining has to find, with the truth beside it.

Who is changed drives on along the path that it drove anyway (a cut-in's shifted sideways), only later: nobody jumps,
accelerations and jerk are bounded. Who is behind brakes if it has to; everybody else's rows stay as they were. Where
no place is fit for a case it is not planted: fewer come back than were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.finding import Case
from hotloop.verticals.driving.tracks import Actor, Grid, Kind, Tracks, as_grid

PLANTABLE: Final[tuple[Case, ...]] = ("cut-in", "hard braking", "crossing", "pedestrian crossing")
_BRAKE_MAX, _JERK_MAX, _AGAIN = 8.5, 25.0, 1.5  # m/s2, m/s3, m/s2 up to speed again
_REACTIONS_S = (1.4, 1.1, 0.8, 0.5)  # the latest reaction that just avoids a collision is taken
_NEXT_S = (0.5, 0.2, 0.0)  # of those behind, who see more coming
_SPEED_MIN = 6.0  # m/s: slower ones brake and cut in without much danger
_CROSSERS: Final = {  # length, width (m), slowest and fastest (m/s), metres driven on either side of the path
    "pedestrian": (0.5, 0.6, 1.3, 2.8, 5.0),
    "bicycle": (1.8, 0.6, 3.5, 6.0, 12.0),
    "car": (4.6, 1.8, 6.0, 10.0, 20.0),
}
_TOUCH_M = 0.3  # bumpers come no nearer than this
_BESIDE_M = 1.4  # middles nearer than this sideways: one path
_TRIES_MAX = 60
_FOLLOWERS_MAX = 6  # who may have to brake because of one case
_NEED_S = 3.5  # a case needs so much of the log
_AFTER_S = 2.0  # between cases of one actor's path there is a pause
_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """A case that is there by design: who (the one it is done to last), and from which frame to which."""

    case: Case
    actors: tuple[int, ...]
    first: int
    peak: int
    last: int
    changed: tuple[int, ...] = ()  # all whose rows were changed


@dataclass
class _Scene:
    """The arrays that are worked on; `used` (actors, frames): taken by a case."""

    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    length: Floats
    width: Floats
    step_s: float
    used: _Bools

    @property
    def frames(self) -> int:
        """Columns."""
        return int(self.x.shape[1])


@dataclass(frozen=True)
class _Way:
    """A path that somebody drives: places by the metres driven along it."""

    s: Floats
    x: Floats
    y: Floats
    heading: Floats


@dataclass(frozen=True)
class _Edit:
    """New rows of actors from a frame on: x, y, heading, v (4, frames left), by actor."""

    case: Planted
    begin: int
    rows: dict[int, Floats]


def plant(tracks: Tracks, seed: int, counts: Mapping[Case, int]) -> tuple[Tracks, tuple[Planted, ...]]:
    """The tracks with so many of each case in them, where they fit; and what was planted. InputError."""
    if strange := set(counts) - set(PLANTABLE):
        raise InputError(f"{', '.join(sorted(strange))} cannot be planted; {', '.join(PLANTABLE)} can")
    rng = np.random.default_rng([seed, 3])
    done: list[Planted] = []
    wanted = [case for case in PLANTABLE for _ in range(counts.get(case, 0))]
    for index in rng.permutation(len(wanted)):
        case = wanted[int(index)]
        scene, first = _scene_of(tracks, done), int(tracks.frame.min())
        if case in {"cut-in", "hard braking"}:
            edit = _cut_in(scene, rng) if case == "cut-in" else _hard_brake(scene, rng)
            if edit is not None:
                tracks = _edited(tracks, edit, first)
                done.append(_shifted(edit.case, first))
        else:
            found = _crossing(scene, rng, case)
            if found is not None:
                tracks, truth = _added(tracks, found, first)
                done.append(truth)
    return tracks.check(), tuple(sorted(done, key=lambda one: one.first))


def _scene_of(tracks: Tracks, done: list[Planted]) -> _Scene:
    grid: Grid = as_grid(tracks)
    used = np.zeros(grid.x.shape, bool)
    first = int(tracks.frame.min())
    pause = int(_AFTER_S / tracks.step_s)
    for one in done:
        span = slice(max(0, one.first - first - pause), one.last - first + pause)
        used[:, span] |= np.isin(np.arange(len(used)), (*one.actors, *one.changed))[:, None]
    sizes = np.array([(one.length, one.width) for one in tracks.actors])
    return _Scene(
        grid.x.copy(), grid.y.copy(), grid.heading.copy(), grid.v.copy(), sizes[:, 0], sizes[:, 1], tracks.step_s, used
    )


def _seen_from(scene: _Scene, who: int, frame: int) -> tuple[Floats, Floats, Floats]:
    """Of everybody, in that frame: metres ahead (middles), metres to the left, and how far the headings differ."""
    dx, dy = scene.x[:, frame] - scene.x[who, frame], scene.y[:, frame] - scene.y[who, frame]
    cos, sin = np.cos(scene.heading[who, frame]), np.sin(scene.heading[who, frame])
    turned = scene.heading[:, frame] - scene.heading[who, frame]
    return dx * cos + dy * sin, dy * cos - dx * sin, np.abs((turned + np.pi) % (2 * np.pi) - np.pi)


def _gaps(scene: _Scene, who: int, frame: int, beside: float = 0.0) -> tuple[Floats, Floats]:
    """Bumper to bumper metres to whoever is ahead and to whoever is behind on one's path (moved left by `beside`), else
    infinite; by actor.
    """
    ahead, left, turned = _seen_from(scene, who, frame)
    here = (np.abs(left - beside) < _BESIDE_M) & (turned < 0.6) & (np.arange(len(ahead)) != who)
    both = (scene.length + scene.length[who]) / 2
    return (
        np.where(here & (ahead > 0), ahead - both, np.inf),
        np.where(here & (ahead <= 0), -ahead - both, np.inf),
    )


def _free(scene: _Scene, who: int, frame: int) -> bool:
    """Whether the log has this actor from a second before to some seconds after, and no case has it yet."""
    low, high = frame - round(1.0 / scene.step_s), frame + round(_NEED_S / scene.step_s)
    if low < 0 or high >= scene.frames:
        return False
    return bool(np.isfinite(scene.x[who, low:high]).all() and not scene.used[who, low:high].any())


def _way(scene: _Scene, who: int) -> _Way:
    """The path that it drove; straight on beyond its end, in case it gets further."""
    frames = np.flatnonzero(np.isfinite(scene.x[who]))
    x, y, heading = scene.x[who, frames], scene.y[who, frames], np.unwrap(scene.heading[who, frames])
    along = np.diff(x) * np.cos(heading[:-1]) + np.diff(y) * np.sin(heading[:-1])
    s = np.concatenate(([0.0], np.cumsum(along.clip(0.0))))
    return _Way(s + 1e-9 * np.arange(len(s)), x, y, heading)


def _driven(scene: _Scene, who: int, begin: int, v: Floats) -> Floats:
    """x, y, heading, v (4, n) of an actor that from frame `begin` on drives with v (n,) along its path."""
    way = _way(scene, who)
    offset = int(np.flatnonzero(np.isfinite(scene.x[who]))[0])
    ds = np.concatenate(([0.0], (v[1:] + v[:-1]) / 2 * scene.step_s))
    s = way.s[begin - offset] + np.cumsum(ds)
    beyond = (s - way.s[-1]).clip(0.0)
    heading = np.interp(s, way.s, way.heading)
    x, y = np.interp(s, way.s, way.x) + beyond * np.cos(heading), np.interp(s, way.s, way.y) + beyond * np.sin(heading)
    return np.stack((x, y, heading, v))


def _own_rows(scene: _Scene, who: int, begin: int) -> Floats:
    """What it does from a frame on, up to where the log loses it (4, n)."""
    there = np.isfinite(scene.x[who, begin:])
    end = begin + (len(there) if there.all() else int(there.argmin()))
    rows = slice(begin, end)
    return np.stack((scene.x[who, rows], scene.y[who, rows], scene.heading[who, rows], scene.v[who, rows]))


def _put(scene: _Scene, who: int, begin: int, rows: Floats) -> _Scene:
    """The scene with other rows of an actor."""
    other = replace(scene, x=scene.x.copy(), y=scene.y.copy(), heading=scene.heading.copy(), v=scene.v.copy())
    span = slice(begin, begin + rows.shape[1])
    other.x[who, span], other.y[who, span], other.heading[who, span], other.v[who, span] = rows
    return other


def _braked(v: Floats, step_s: float, hard: float, for_s: float) -> Floats:
    """Speeds of one that brakes so hard for so long, stays slow for a second, and takes up its speed again."""
    out, a, now = v.copy(), 0.0, float(v[0])
    end, again = round(for_s / step_s), round((for_s + 1.0) / step_s)
    for k in range(1, len(v)):
        wish = -hard if k <= end else (0.0 if k < again else min(_AGAIN, (float(v[k]) - now) / step_s))
        a += float(np.clip(wish - a, -_JERK_MAX * step_s, _JERK_MAX * step_s))
        now = max(0.0, now + a * step_s)
        a = 0.0 if now == 0.0 else a
        out[k] = now
    return out


def _following(scene: _Scene, who: int, begin: int, late: int) -> Floats:
    """What one does who from frame `begin` on drives as it did, but brakes for who is ahead, from `late` frames on."""
    own = _own_rows(scene, who, begin)
    v, a, now, step = own[3].copy(), 0.0, float(own[3, 0]), scene.step_s
    moved = _put(scene, who, begin, own)
    way, offset = _way(scene, who), int(np.flatnonzero(np.isfinite(scene.x[who]))[0])
    s = float(way.s[begin - offset])
    for k in range(1, own.shape[1]):
        frame = begin + k - 1
        gap = _gaps(moved, who, frame)[0]
        front = int(gap.argmin())
        wish = min(_AGAIN, (float(own[3, k]) - now) / step) if now < own[3, k] else (float(own[3, k]) - now) / step
        if k >= late and np.isfinite(gap[front]):
            closing, left = now - float(moved.v[front, frame]), max(0.1, float(gap[front]) - 1.5)
            need = closing * abs(closing) / (2 * left) if closing > 0 else 0.0
            if need > 1.0 or (left < 0.4 * now and closing > 0.0):
                wish = min(wish, -1.25 * need - 0.5)
            elif left < 0.5 * now:
                wish = min(wish, 0.0)
        a += float(np.clip(np.clip(wish, -_BRAKE_MAX, _AGAIN * 2) - a, -_JERK_MAX * step, _JERK_MAX * step))
        after = max(0.0, now + a * step)
        s += (now + after) / 2 * step
        now, v[k] = after, after
        a = 0.0 if after == 0.0 else a
        heading = float(np.interp(s, way.s, way.heading))
        beyond = max(0.0, s - float(way.s[-1]))
        moved.x[who, begin + k] = np.interp(s, way.s, way.x) + beyond * np.cos(heading)
        moved.y[who, begin + k] = np.interp(s, way.s, way.y) + beyond * np.sin(heading)
        moved.heading[who, begin + k], moved.v[who, begin + k] = heading, after
    return _driven(scene, who, begin, v)


def _nearest_behind(scene: _Scene, who: int, frame: int) -> int:
    """Who follows; -1: nobody."""
    behind = _gaps(scene, who, frame)[1]
    return int(behind.argmin()) if np.isfinite(behind).any() else -1


def _least_gap(scene: _Scene, who: int, begin: int, count: int) -> float:
    """The least bumper to bumper distance to whoever is ahead, from a frame on."""
    frames = range(begin, min(begin + count, scene.frames))
    return min((float(_gaps(scene, who, k)[0].min()) for k in frames if np.isfinite(scene.x[who, k])), default=np.inf)


def _clear(scene: _Scene, who: int, begin: int, count: int, room: float = 0.1, but: int = -1) -> bool:
    """Whether for so many frames nobody is within `room` metres of an actor; `but` may be that near, not touch it."""
    span = slice(begin, min(begin + count, scene.frames))
    heading = scene.heading[who, span]
    dx, dy = scene.x[:, span] - scene.x[who, span], scene.y[:, span] - scene.y[who, span]
    along, across = dx * np.cos(heading) + dy * np.sin(heading), dy * np.cos(heading) - dx * np.sin(heading)
    cos, sin = np.abs(np.cos(scene.heading[:, span] - heading)), np.abs(np.sin(scene.heading[:, span] - heading))
    length, width = scene.length[:, None], scene.width[:, None]
    rooms = np.full((len(scene.x), 1), room)
    rooms[but if but >= 0 else who] = 0.0
    near = np.abs(along) < (scene.length[who] + length * cos + width * sin) / 2 + rooms
    near &= np.abs(across) < (scene.width[who] + length * sin + width * cos) / 2 + rooms
    near[who] = False
    return not bool(near.any())


def _with_followers(scene: _Scene, pair: tuple[int, int], begin: int, rows: Floats, seen: int) -> _Edit | None:
    """The lead's new rows and those of all who then have to brake; the first follower sees it `seen` frames on and
    reacts as late as just avoids a collision. None: it cannot be avoided, or it would spread too far.
    """
    if scene.used[pair[0], begin:].any():  # it would come too late to what it is a part of already
        return None
    changed = {pair[0]: rows}
    scene, follower = _put(scene, pair[0], begin, rows), pair[1]
    for number in range(_FOLLOWERS_MAX):
        if scene.used[follower, begin:].any():
            return None
        for late_s in _REACTIONS_S if number == 0 else _NEXT_S:
            after = _following(scene, follower, begin, seen + round(late_s / scene.step_s))
            tried = _put(scene, follower, begin, after)
            if _least_gap(tried, follower, begin, after.shape[1]) > _TOUCH_M:
                break
        else:
            return None
        changed[follower], scene = after, tried
        follower = _nearest_behind(scene, follower, begin)
        if follower < 0 or _least_gap(scene, follower, begin, rows.shape[1]) > 1.0:
            if not all(_clear(scene, who, begin, rows.shape[1]) for who in changed):
                return None
            return _Edit(Planted("jerk", pair, begin, begin, begin, tuple(sorted(changed))), begin, changed)
    return None


def _hard_brake(scene: _Scene, rng: np.random.Generator) -> _Edit | None:
    """A leader brakes with 6 to 9 m/s2, and who is behind sees it late."""
    for _ in range(_TRIES_MAX):
        lead, begin = int(rng.integers(len(scene.x))), int(rng.integers(scene.frames))
        if not _free(scene, lead, begin) or not scene.v[lead, begin] > _SPEED_MIN:
            continue
        behind = _gaps(scene, lead, begin)[1]
        follower = int(behind.argmin())
        if not 5.0 < behind[follower] < 6.0 + 1.4 * scene.v[lead, begin] or not _free(scene, follower, begin):
            continue
        hard, v = float(rng.uniform(6.3, _BRAKE_MAX)), _own_rows(scene, lead, begin)[3]
        for_s = min(float(rng.uniform(1.2, 2.0)), 0.9 * float(v[0]) / hard)
        if for_s < 0.6 or scene.v[follower, begin] < _SPEED_MIN:
            continue
        rows = _driven(scene, lead, begin, _braked(v, scene.step_s, hard, for_s))
        made = _with_followers(scene, (lead, follower), begin, rows, 0)
        if made is not None:
            peak, last = begin + round((for_s - 0.1) / scene.step_s), begin + round((for_s + 1.5) / scene.step_s)
            return replace(made, case=replace(made.case, case="hard braking", peak=peak, last=last))
    return None


def _cut_in(scene: _Scene, rng: np.random.Generator) -> _Edit | None:
    """One from the lane beside moves over, close in front of another, and slows down."""
    for _ in range(_TRIES_MAX * 3):
        other, begin = int(rng.integers(len(scene.x))), int(rng.integers(scene.frames))
        if not _free(scene, other, begin) or not scene.v[other, begin] > _SPEED_MIN:
            continue
        ahead, left, turned = _seen_from(scene, other, begin)
        gap = ahead - (scene.length + scene.length[other]) / 2
        speed = float(scene.v[other, begin])
        fit = (np.abs(left) > 2.4) & (np.abs(left) < 5.0) & (turned < 0.2) & (gap > 1.5) & (gap < 2.0 + 0.5 * speed)
        fit &= np.abs(scene.v[:, begin] - speed) < 4.0
        able = [int(k) for k in np.flatnonzero(fit) if _free(scene, int(k), begin)]
        if not able:
            continue
        mover = int(rng.choice(able))
        made = _moved_over(scene, rng, (mover, other), begin, -float(left[mover]))
        if made is not None:
            return made
    return None


def _moved_over(
    scene: _Scene, rng: np.random.Generator, pair: tuple[int, int], begin: int, across: float
) -> _Edit | None:
    """The cut-in of a pair, `across` metres to the left; None if somebody is in the way."""
    mover, other = pair
    takes_s, own = float(rng.uniform(2.3, 3.0)), _own_rows(scene, mover, begin)
    u = (np.arange(own.shape[1]) * scene.step_s / takes_s).clip(0.0, 1.0)
    v = _braked(own[3], scene.step_s, float(rng.uniform(1.0, 2.5)), takes_s * 0.8)
    if v[u < 1.0].min() < _SPEED_MIN / 2:
        return None
    rows = _driven(scene, mover, begin, v)
    share, slope = u**3 * (10 - 15 * u + 6 * u**2), 30 * u**2 * (1 - u) ** 2 / takes_s
    x, y, heading, _ = rows.copy()
    rows[0], rows[1] = x - across * share * np.sin(heading), y + across * share * np.cos(heading)
    there, entered = _put(scene, mover, begin, rows), int(np.searchsorted(share, 1 - _BESIDE_M / abs(across)))
    if entered >= rows.shape[1] - 2 or _nearest_behind(there, mover, begin + entered + 1) != other:
        return None
    if _least_gap(there, mover, begin + entered, rows.shape[1]) < 2.0:
        return None
    rows[2], rows[3] = heading + np.arctan2(across * slope, np.maximum(v, 0.5)), np.hypot(v, across * slope)
    made = _with_followers(there, pair, begin, rows, entered)
    if made is None:
        return None
    count = round(takes_s / scene.step_s)
    truth = replace(made.case, case="cut-in", peak=begin + entered, last=min(begin + count + 5, scene.frames - 1))
    return replace(made, case=truth)


@dataclass(frozen=True)
class _Crosser:
    """Somebody new: rows x, y, heading, v (4, n) from a frame on."""

    kind: Kind
    length: float
    width: float
    begin: int
    rows: Floats
    truth: Planted


def _crossing(scene: _Scene, rng: np.random.Generator, case: Case) -> _Crosser | None:
    """Somebody new crosses a path, and is off it well under a second before the one who drives there arrives."""
    for _ in range(_TRIES_MAX * 5):
        other, frame = int(rng.integers(len(scene.x))), int(rng.integers(scene.frames))
        if not _free(scene, other, frame) or not scene.v[other, frame] > 4.0 or scene.length[other] < 2.0:
            continue
        if (found := _crosser(scene, rng, case, (other, frame))) is not None:
            return found
    return None


def _crosser(scene: _Scene, rng: np.random.Generator, case: Case, at: tuple[int, int]) -> _Crosser | None:
    """Across the place where one is in a frame; None if somebody is in the way, or it would not fit into the log."""
    other, frame = at
    kind: Kind = "pedestrian" if case == "pedestrian crossing" else ("bicycle" if rng.random() < 0.5 else "car")
    length, width, slow, fast, reach = _CROSSERS[kind]
    speed, step = float(rng.uniform(slow, fast)), scene.step_s
    free_m = (scene.width[other] + length) / 2
    front_s = frame * step - (scene.length[other] + width) / 2 / scene.v[other, frame]
    middle_s = front_s - float(rng.uniform(0.2, 0.8)) - free_m / speed
    side = float(rng.choice((-1.0, 1.0)))
    heading = float(scene.heading[other, frame]) + side * (np.pi / 2 + float(rng.uniform(-0.2, 0.2)))
    begin, end = int(np.ceil((middle_s - reach / speed) / step)), int((middle_s + reach / speed) / step)
    if begin < 0 or end >= scene.frames or scene.used[other, begin:end].any():
        return None
    along = (np.arange(begin, end + 1) * step - middle_s) * speed
    x = scene.x[other, frame] + along * np.cos(heading)
    y = scene.y[other, frame] + along * np.sin(heading)
    rows = np.stack((x, y, np.full(len(x), heading), np.full(len(x), speed)))
    wider = _wider(scene, length, width)
    wider = _put(wider, len(scene.x), begin, rows)
    if not _clear(wider, len(scene.x), begin, len(x), room=0.4, but=other):
        return None
    first = round((middle_s - min(reach, free_m + 2.0) / speed) / step)
    last, peak = min(round(front_s / step) + 2, scene.frames - 1), round((middle_s + free_m / speed) / step)
    truth = Planted(case, (len(scene.x), other), max(begin, first), peak, last)
    return _Crosser(kind, length, width, begin, rows, truth)


def _wider(scene: _Scene, length: float, width: float) -> _Scene:
    """The scene with an actor more, who is not there yet."""
    none = np.full((1, scene.frames), np.nan)
    x, y, heading, v = (np.concatenate((old, none)) for old in (scene.x, scene.y, scene.heading, scene.v))
    sizes = {"length": np.append(scene.length, length), "width": np.append(scene.width, width)}
    used = np.concatenate((scene.used, np.zeros((1, scene.frames), bool)))
    return _Scene(x, y, heading, v, sizes["length"], sizes["width"], scene.step_s, used)


def _shifted(truth: Planted, first: int) -> Planted:
    """Columns as frames of the log."""
    return replace(truth, first=truth.first + first, peak=truth.peak + first, last=truth.last + first)


def _edited(tracks: Tracks, edit: _Edit, first: int) -> Tracks:
    """The tracks with the changed rows; accelerations there follow from the speeds, where the log has any."""
    columns = {name: getattr(tracks, name).copy() for name in ("x", "y", "heading", "v", "a")}
    for who, rows in edit.rows.items():
        span = tracks.rows_of(who)
        low = span.start + int(np.searchsorted(tracks.frame[span], edit.begin + first))
        here = slice(low, low + rows.shape[1])
        for name, values in zip(("x", "y", "heading", "v"), rows, strict=True):
            columns[name][here] = values
        a = np.gradient(rows[3], tracks.step_s) if rows.shape[1] > 1 else np.zeros(rows.shape[1])
        columns["a"][here] = np.where(np.isnan(tracks.a[here]), np.nan, a)
    return replace(tracks, **columns)


def _added(tracks: Tracks, found: _Crosser, first: int) -> tuple[Tracks, Planted]:
    """The tracks with one more actor."""
    count = found.rows.shape[1]
    actor = Actor(f"planted {len(tracks.actors)}", found.kind, found.length, found.width)
    x, y, heading, v = (np.concatenate((old, new)) for old, new in zip(
        (tracks.x, tracks.y, tracks.heading, tracks.v), found.rows, strict=True))  # fmt: skip
    more = replace(
        tracks, actors=(*tracks.actors, actor), x=x, y=y, heading=heading, v=v,
        actor=np.append(tracks.actor, np.full(count, len(tracks.actors))),
        frame=np.append(tracks.frame, np.arange(count) + found.begin + first),
        a=np.append(tracks.a, np.full(count, 0.0 if np.isfinite(tracks.a).any() else np.nan)),
    )  # fmt: skip
    return more, _shifted(found.truth, first)
