"""highway-env behind the port: its bicycle model moves the planner's vehicle, its polygons say who collides.

Only its vehicles and road are used (Leurent 2018, MIT), not its environments: those draw their own traffic. Steering is
pure pursuit of the reference path (Coulter 1992). Needs the extra hotloop[driving-sim].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from highway_env.road.lane import StraightLane
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle

from hotloop.types import Floats
from hotloop.verticals.driving.engines import Collision, Run, Seen, Tape, Waiting, said
from hotloop.verticals.driving.geometry import along, onto
from hotloop.verticals.driving.others import Batch, Ego, Others, batch_of
from hotloop.verticals.driving.planner import Planner
from hotloop.verticals.driving.scenario import STEP_S, Scenario

_STEER_MAX: Final = 0.6  # rad
_LOOK_S, _LOOK_LEAST_M = 0.8, 4.0
_AWAY_M = 1e6  # where a vehicle is parked that is not there


class _Car(Vehicle):  # type: ignore[misc]  # highway-env has no types
    """One that is as large as it is, and never drives backwards."""

    MIN_SPEED = 0.0
    MAX_SPEED = 70.0

    def __init__(self, road: Road, place: tuple[float, float], heading: float, speed: float) -> None:
        super().__init__(road, place, heading, speed)

    def sized(self, length: float, width: float) -> _Car:
        """With its size, which highway-env has by class."""
        self.LENGTH, self.WIDTH = length, width
        self.diagonal = math.hypot(length, width)
        return self


class HighwayEnv:
    """The engine, scene by scene."""

    name = "highway-env"

    def run(self, scenarios: Sequence[Scenario], planner: Planner, seed: int = 0) -> tuple[Run, ...]:
        """Each scene with the planner in its seat."""
        return tuple(self._one(batch_of([one]), planner, seed) for one in scenarios)

    def _one(self, batch: Batch, planner: Planner, seed: int) -> Run:
        scene = batch.scenarios[0]
        others, seen, tape = Others(batch), Seen(batch), Tape(batch)
        road = _road(seed)
        seat = scene.seat
        car = _Car(road, (seat.x, seat.y), seat.heading, seat.v).sized(seat.actor.length, seat.actor.width)
        them = [_Car(road, (_AWAY_M, k * 100.0), 0.0, 0.0).sized(*batch.size[0, k]) for k in range(batch.size.shape[1])]
        ego = _ego(seen, batch, car)
        waiting = Waiting(batch, ego.d)
        acceleration = np.zeros(1)
        tape.take(0, ego, acceleration, others)
        for frame in range(scene.frames - 1):
            if tape.over(frame + 1).all():
                break
            plan = waiting.next(said(planner, seen.view(ego, acceleration, others)))
            steering = _pursuit(batch, ego, float(plan.offset[0]))
            asked = max(float(plan.acceleration[0]), -car.speed / STEP_S)  # it stops, it does not roll back
            before = car.speed
            car.act({"acceleration": asked, "steering": steering})
            car.step(STEP_S)
            others.step(frame, ego)
            _placed(them, others)
            ego = _ego(seen, batch, car)
            acceleration = np.array([(car.speed - before) / STEP_S])
            tape.take(frame + 1, ego, acceleration, others)
            hit = next((k for k, other in enumerate(them) if _hits(car, other)), None)
            if tape.collided[0] is None and hit is not None:  # polygons touch a hair earlier than rectangles
                tape.collided[0] = Collision(frame + 1, hit)
        return tape.runs(self.name)[0]


def _road(seed: int) -> Road:
    """A road without lanes of its own: vehicles look one up, and the path is ours."""
    network = RoadNetwork()
    network.add_lane("a", "b", StraightLane((0.0, 0.0), (1.0, 0.0)))
    return Road(network, np_random=np.random.RandomState(seed), record_history=False)


def _hits(car: _Car, other: _Car) -> bool:
    """By highway-env's separating axes on where they are now."""
    if other.position[0] >= _AWAY_M / 2:
        return False
    intersecting, _, _ = car._is_colliding(other, 0.0)  # noqa: SLF001 its public form also moves what collides
    return bool(intersecting)


def _placed(them: Sequence[_Car], others: Others) -> None:
    for k, one in enumerate(them):
        x, y, heading, v = others.now[0, k, :4]
        there = not math.isnan(x)
        one.position = np.array((x, y) if there else (_AWAY_M, k * 100.0))
        one.heading, one.speed = (float(heading), float(v)) if there else (0.0, 0.0)


def _ego(seen: Seen, batch: Batch, car: _Car) -> Ego:
    x, y = (np.array([float(one)]) for one in car.position)
    s, d = onto(batch.path[0], x, y)
    return seen.ego(s, d, np.array([float(car.speed)]), (x, y, np.array([float(car.heading)])))


def _pursuit(batch: Batch, ego: Ego, offset: float) -> float:
    """The steering angle that leads to the path a little ahead."""
    look = max(_LOOK_S * float(ego.v[0]), _LOOK_LEAST_M)
    target: tuple[Floats, ...] = along(batch.path, batch.turn, ego.s + look, np.array([offset]))
    dx, dy = float(target[0][0] - ego.box.x[0]), float(target[1][0] - ego.box.y[0])
    angle = math.atan2(dy, dx) - float(ego.box.heading[0])
    bend = 2 * math.sin(angle) / max(math.hypot(dx, dy), 0.1)
    tangent = math.tan(math.asin(max(-0.9, min(0.9, bend * float(ego.box.length[0]) / 2))))
    return max(-_STEER_MAX, min(_STEER_MAX, math.atan(2 * tangent)))  # the model turns about its middle
