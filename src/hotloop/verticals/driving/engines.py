"""The port of the engines that play scenarios, what comes out, and the engine of our own.

    replay       kinematic, B scenes at once, NumPy alone; the default, and what the tuning runs on
    highway-env  the vehicle model and the collisions of highway-env (extra hotloop[driving-sim])
    sumo         the planner's vehicle in SUMO, on a road along its path (extra hotloop[sumo])

Every engine shows the planner the same view (`Seen`), lets the others do the same (`others.Others`) and measures the
same (`Tape`). A run ends at its first collision. All of them are deterministic: the seed is for engines that draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from hotloop.errors import ConfigError, InputError
from hotloop.types import Floats
from hotloop.verticals.driving.geometry import Boxes, Mask, along, overlaps
from hotloop.verticals.driving.others import Batch, Ego, Others, batch_of
from hotloop.verticals.driving.planner import Plan, Planner, View
from hotloop.verticals.driving.scenario import STEP_S, Scenario

BRAKE_MAX: Final = 9.0  # m/s2 that a car can do
SPEED_UP_MAX: Final = 4.0
_RANGE_M = 80.0  # that a planner sees
_SIDE_MAX = 1.0  # m/s to the side
_CHUNK = 64  # scenes at once: more do not fit the caches
_LAID_MAX = 48  # chunks that are kept for the next planner: 3,072 scenes, some 5 MB a chunk


@dataclass(frozen=True)
class Limits:
    """When a run has passed."""

    brake: float = 6.0  # m/s2: harder is an intervention, as a collision is
    progress: float = 0.5  # share of the recorded way, at least


@dataclass(frozen=True)
class Collision:
    """With whom (index of the others), at which frame."""

    frame: int
    other: int


@dataclass(frozen=True)
class Run:
    """What happened. trajectory (frames, 5): x, y, heading, v, a of the planner's vehicle, NaN after a collision.

    hardest: m/s2 braked at most; ttc_s: the least time to collision with who was in the way (inf: none); progress:
    share of the recorded way (1 where the recorded one stood); jerk: its root mean square, m/s3.
    """

    scenario: str
    engine: str
    trajectory: Floats
    collisions: tuple[Collision, ...]
    hardest: float
    ttc_s: float
    progress: float
    jerk: float

    def intervention(self, limits: Limits | None = None) -> bool:
        """A collision, or braking harder than the limit."""
        return bool(self.collisions) or self.hardest > (limits or Limits()).brake

    def passed(self, limits: Limits | None = None) -> bool:
        """No intervention, and enough progress."""
        limits = limits or Limits()
        return not self.intervention(limits) and self.progress >= limits.progress


class Simulator(Protocol):
    """An engine. Its laws are in tests/unit/verticals/driving/test_engines.py: each engine is run through them."""

    name: str

    def run(self, scenarios: Sequence[Scenario], planner: Planner, seed: int = 0) -> tuple[Run, ...]:
        """Each scene with the planner in its seat, in their order. InputError if what the planner says is no number."""
        ...


class Seen:
    """The others as the planner sees them: along its path, within 80 m."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        actors = [one.seat.actor for one in batch.scenarios]
        self._length = np.array([one.length for one in actors])
        self._width = np.array([one.width for one in actors])

    def view(self, ego: Ego, acceleration: Floats, others: Others) -> View:
        """What is seen now."""
        s, d, turn, fore, across = others.along_path()
        boxes = others.boxes
        ahead, aside = s - ego.s[:, None], d - ego.d[:, None]
        with np.errstate(invalid="ignore"):
            far = ~(np.hypot(boxes.x - ego.box.x[:, None], boxes.y - ego.box.y[:, None]) <= _RANGE_M)
        cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        half_ahead = (boxes.length * cos + boxes.width * sin) / 2
        half_aside = (boxes.length * sin + boxes.width * cos) / 2
        raw = (boxes.x, boxes.y, boxes.heading, others.now[..., 3])
        columns = (ahead, aside, fore, across, half_ahead, half_aside, *raw)
        seen = [np.where(far, np.nan, one) for one in columns]
        limit = self._batch.limit
        place = np.clip(ego.s, 0, limit.shape[1] - 1).astype(np.int64)
        desired = limit[np.arange(len(limit)), place]
        box = ego.box
        own = (ego.v, acceleration, box.length, box.width, ego.d, desired, box.x, box.y, box.heading)
        return View(STEP_S, *own, *seen)

    def ego(self, s: Floats, d: Floats, v: Floats, place: tuple[Floats, Floats, Floats] | None = None) -> Ego:
        """The planner's vehicle at s and d of its path, or where the engine says that it is (x, y, heading)."""
        x, y, heading = along(self._batch.path, self._batch.turn, s, d) if place is None else place
        return Ego(s, d, v, Boxes(x, y, heading, self._length, self._width))


def said(planner: Planner, view: View) -> Plan:
    """The plan, within what a car can do. InputError if it is not B numbers."""
    plan = planner.plan(view)
    for what, column in (("acceleration", plan.acceleration), ("offset", plan.offset)):
        if column.shape != view.v.shape or not np.isfinite(column).all():
            raise InputError(f"the planner's {what} is not {len(view.v)} finite numbers but {column!r:.200}")
    return Plan(np.clip(plan.acceleration, -BRAKE_MAX, SPEED_UP_MAX), np.clip(plan.offset, -5.0, 5.0))


class Waiting:
    """Plans that take effect some frames later (`Scenario.latency`); until the first one does, nothing is done."""

    def __init__(self, batch: Batch, offset: Floats) -> None:
        self._latency = np.array([one.latency for one in batch.scenarios], np.int64)
        self._said: list[Plan] = []
        self._offset = offset

    def next(self, plan: Plan) -> Plan:
        """The plan that takes effect now."""
        self._said.append(plan)
        if not self._latency.any():
            return self._said.pop()
        at = len(self._said) - 1 - self._latency
        rows = np.arange(len(at))
        accelerations = np.stack([one.acceleration for one in self._said])[np.maximum(at, 0), rows]
        offsets = np.stack([one.offset for one in self._said])[np.maximum(at, 0), rows]
        return Plan(np.where(at >= 0, accelerations, 0.0), np.where(at >= 0, offsets, self._offset))


@dataclass
class Tape:
    """What is measured while B scenes run."""

    batch: Batch
    states: list[Floats] = field(default_factory=list)
    collided: list[Collision | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.batch.scenarios)
        self.collided = [None] * count
        self._ttc = np.full(count, np.inf)
        self._s = np.zeros(count)

    def over(self, frame: int) -> Mask:
        """Which scenes are at their end (B,)."""
        return np.array([one is not None for one in self.collided]) | (frame >= self.batch.frames)

    def take(self, frame: int, ego: Ego, acceleration: Floats, others: Others) -> None:
        """The state at a frame; acceleration: that led to it."""
        over = self.over(frame)
        box = ego.box
        state = np.stack((box.x, box.y, box.heading, ego.v, acceleration), axis=1)
        self.states.append(np.where(over[:, None], np.nan, state))
        self._s = np.where(over, self._s, ego.s)
        self._take_ttc(ego, others, over)
        own = Boxes(*(column[:, None] for column in (box.x, box.y, box.heading, box.length, box.width)))
        hit = overlaps(own, others.boxes) & ~over[:, None]
        for k in np.flatnonzero(hit.any(axis=1)).tolist():
            self.collided[k] = Collision(frame, int(hit[k].argmax()))

    def _take_ttc(self, ego: Ego, others: Others, over: Mask) -> None:
        s, d, turn, fore, _ = others.along_path()
        boxes = others.boxes
        cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = s - ego.s[:, None] - (boxes.length * cos + boxes.width * sin + ego.box.length[:, None]) / 2
            wide = (boxes.length * sin + boxes.width * cos + ego.box.width[:, None]) / 2
            closing = ego.v[:, None] - fore
            inside = (np.abs(d - ego.d[:, None]) < wide) & (s > ego.s[:, None]) & (closing > 0)
            ttc = np.where(inside, np.maximum(gap, 0.0) / closing, np.inf).min(axis=1)
        self._ttc = np.where(over, self._ttc, np.minimum(self._ttc, ttc))

    def runs(self, engine: str) -> tuple[Run, ...]:
        """One a scene."""
        table = np.stack(self.states, axis=1)
        return tuple(self._run(k, scene, table[k], engine) for k, scene in enumerate(self.batch.scenarios))

    def _run(self, k: int, scene: Scenario, states: Floats, engine: str) -> Run:
        states = states[: scene.frames]
        braked = states[1:, 4]
        braked = braked[~np.isnan(braked)]
        jerk = np.diff(braked) / STEP_S  # not from the seat's first step: what was done before is not known
        recorded = scene.recorded_m
        progress = (float(self._s[k]) - scene.start_m) / recorded if recorded >= 1.0 else 1.0
        collision = self.collided[k]
        return Run(
            scene.name, engine, states, () if collision is None else (collision,),
            hardest=float(max(-braked.min(initial=0.0), 0.0)), ttc_s=float(self._ttc[k]), progress=progress,
            jerk=float(np.sqrt((jerk**2).mean())) if len(jerk) else 0.0,
        )  # fmt: skip


class Replay:
    """Kinematic: along the path by its acceleration, beside it by at most 1 m/s (and 0.3 of the speed)."""

    name = "replay"

    def __init__(self, *, reactive: bool = True) -> None:
        """`reactive`: who follows the planner's vehicle does not run into it blindly; else all is as recorded."""
        self._reactive = reactive
        self._laid: dict[tuple[int, ...], Batch] = {}  # by identity: a batch keeps its scenes alive

    def run(self, scenarios: Sequence[Scenario], planner: Planner, seed: int = 0) -> tuple[Run, ...]:
        """Each scene with the planner in its seat."""
        del seed  # nothing is drawn
        found: dict[int, Run] = {}
        order = sorted(range(len(scenarios)), key=lambda k: (scenarios[k].frames, len(scenarios[k].others)))
        for low in range(0, len(order), _CHUNK):  # alike ones together: the shortest waits for the longest
            chosen = order[low : low + _CHUNK]
            runs = self._together(self._batch([scenarios[k] for k in chosen]), planner)
            found.update(zip(chosen, runs, strict=True))
        return tuple(found[k] for k in range(len(scenarios)))

    def _batch(self, scenarios: Sequence[Scenario]) -> Batch:
        """The scenes laid side by side: four fifths of a run's time, and the same for every planner that plays them."""
        key = tuple(id(one) for one in scenarios)
        if key not in self._laid:
            while len(self._laid) >= _LAID_MAX:
                self._laid.pop(next(iter(self._laid)))
            self._laid[key] = batch_of(scenarios)
        return self._laid[key]

    def _together(self, batch: Batch, planner: Planner) -> tuple[Run, ...]:
        others, seen, tape = Others(batch, reactive=self._reactive), Seen(batch), Tape(batch)
        s = np.array([one.start_m for one in batch.scenarios])
        d = np.zeros_like(s)
        v = np.array([one.seat.v for one in batch.scenarios])
        acceleration = np.zeros_like(s)
        waiting = Waiting(batch, d)
        ego = seen.ego(s, d, v)
        tape.take(0, ego, acceleration, others)
        for frame in range(int(batch.frames.max()) - 1):
            over = tape.over(frame + 1)
            if over.all():
                break
            plan = waiting.next(said(planner, seen.view(ego, acceleration, others)))
            v_next = np.maximum(v + plan.acceleration * STEP_S, 0.0)
            acceleration = (v_next - v) / STEP_S
            s = s + (v + v_next) / 2 * STEP_S
            side = np.minimum(_SIDE_MAX, 0.3 * v_next) * STEP_S
            d, v = d + np.clip(plan.offset - d, -side, side), v_next
            others.step(frame, ego)
            ego = seen.ego(s, d, v)
            tape.take(frame + 1, ego, acceleration, others)
        return tape.runs(self.name)


ENGINES: Final = ("replay", "highway-env", "sumo")


def engine(name: str) -> Simulator:
    """The engine of that name. ConfigError if there is none, or what it stands on is not installed."""
    if name == "replay":
        return Replay()
    try:
        if name == "highway-env":
            from hotloop.verticals.driving.highway_env import HighwayEnv  # noqa: PLC0415 an extra

            return HighwayEnv()
        if name == "sumo":
            from hotloop.verticals.driving.sumo import Sumo  # noqa: PLC0415 an extra

            return Sumo()
    except ImportError as error:
        extra = "driving-sim" if name == "highway-env" else "sumo"
        raise ConfigError(f"the engine {name!r} needs the extra hotloop[{extra}]: {error}") from error
    raise ConfigError(f"there is no engine {name!r}; there are: {', '.join(ENGINES)}")
