"""The floor as a Gymnasium environment, for those who bring a policy of their own (extra `hotloop[gym]`).

An action is what the policy thinks of each stretch: a factor on its planned time. Orders that lie together by it are
batched, and the robot that is free goes the shortest tour on it. The reward is minus the seconds, a line, of the trips
that have ended since; an episode is so many orders. https://gymnasium.farama.org/api/env/
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hotloop.verticals.warehouse.batching import lying_together
from hotloop.verticals.warehouse.floor import Decided, Decision, Floor, Trip, Truth, random_orders
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.routing import tours

FACTOR_MIN, FACTOR_MAX = 0.3, 20.0


class WarehouseEnv(gymnasium.Env[dict[str, NDArray[np.float32]], NDArray[np.float32]]):
    """Robots that pick orders. Seen: `busy` robots by stretch, `waiting` lines by aisle, `now` as a day's share."""

    def __init__(
        self, layout: LayoutConfig | None = None, truth: Truth | None = None, orders: int = 200, robots: int = 8,
        per_s: float = 0.35, capacity: int = 20,
    ) -> None:  # fmt: skip
        """`truth`: what the floor is like (None: as planned, with crowding and delays)."""
        self.layout = Layout(layout or LayoutConfig())
        self._truth = truth or Truth(np.ones(self.layout.stretches))
        self._orders, self._robots, self._per_s, self._capacity = orders, robots, per_s, capacity
        count, aisles = self.layout.stretches, self.layout.config.aisles
        box = gymnasium.spaces.Box
        self.action_space = box(FACTOR_MIN, FACTOR_MAX, (count,), np.float32)
        spaces: Any = {
            "busy": box(0.0, float(robots), (count,), np.float32),
            "waiting": box(0.0, 1e6, (aisles,), np.float32),
            "now": box(0.0, 1.0, (1,), np.float32),
        }
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        self._play: Generator[Decision | Trip, Decided, None] | None = None
        self._asked: Decision | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Another episode: other orders, other noise, by the seed."""
        super().reset(seed=seed, options=options)
        number = int(self.np_random.integers(2**31))
        floor = Floor(self.layout, self._truth, (), number)
        self._play = floor.play(random_orders(self.layout, self._orders, self._per_s, number), self._robots)
        self._go_on(next(self._play))
        return self._observed(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Send the robot that is free; go on until another is."""
        if self._play is None or self._asked is None:
            raise gymnasium.error.ResetNeeded("call reset first: there is no episode, or it is over")
        times = self.layout.planned_s * np.asarray(action, np.float64).clip(FACTOR_MIN, FACTOR_MAX)
        batch = lying_together(self.layout, self._asked.waiting, self._capacity, times)
        picks = [place for order in batch for place in order.picks]
        (legs,) = tours(self.layout, picks, [times])
        try:
            trips = self._go_on(self._play.send((batch, legs, "")))
        except StopIteration:
            self._asked, trips = None, []
        lines = sum(trip.lines for trip in trips)
        reward = -sum(trip.ended - trip.began for trip in trips) / lines if lines else 0.0
        return self._observed(), float(reward), self._asked is None, False, {"lines": lines, "trips": len(trips)}

    def _go_on(self, event: Decision | Trip) -> list[Trip]:
        """Until a robot is free: the trips that ended."""
        assert self._play is not None
        trips = []
        self._asked = None
        while not isinstance(event, Decision):
            trips.append(event)
            try:
                event = next(self._play)
            except StopIteration:
                return trips
        self._asked = event
        return trips

    def _observed(self) -> dict[str, NDArray[np.float32]]:
        busy = np.zeros(self.layout.stretches, np.float32)
        waiting = np.zeros(self.layout.config.aisles, np.float32)
        now = 0.0
        if self._asked is not None:
            for stretch, robots in self._asked.busy.items():
                busy[stretch] = robots
            for order in self._asked.waiting:
                for aisle, _ in order.picks:
                    waiting[aisle] += 1
            now = self._asked.now % 86_400.0 / 86_400.0
        return {"busy": busy, "waiting": waiting, "now": np.array([now], np.float32)}
