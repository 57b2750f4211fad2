"""Where aisles and cross-aisles are, cut into stretches; a stretch is what a time is measured and learned of.

Aisles run from the front (0 m) to the back, through one block or several; cross-aisles lie at the front, between blocks
and at the back. A place is (aisle, metres from the front). Both ways along a stretch take the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from hotloop.config import Section
from hotloop.errors import ConfigError, InputError
from hotloop.types import Floats

Place = tuple[int, float]
Leg = tuple[int, float]  # a stretch, and the share of it that is gone along (0 to 1)


class LayoutConfig(Section, frozen=True):
    """`[warehouse.layout]`: aisles at right angles to cross-aisles."""

    aisles: Annotated[int, Meta(ge=1, le=200)] = 10
    blocks: Annotated[int, Meta(ge=1, le=10)] = 1
    block_m: Annotated[float, Meta(gt=0)] = 30.0  # length of an aisle in one block
    parts: Annotated[int, Meta(ge=1, le=20)] = 3  # stretches of an aisle in one block
    apart_m: Annotated[float, Meta(gt=0)] = 4.0  # from an aisle to the next
    speed_m_s: Annotated[float, Meta(gt=0)] = 1.5  # of a robot, as planned
    depot: Annotated[int, Meta(ge=0)] = 0  # the aisle at whose front end robots start and end


def check_layout(config: LayoutConfig) -> None:
    """ConfigError if no tour can be had in it: the depot is at no aisle, or a number is not finite."""
    if config.depot >= config.aisles:
        raise ConfigError(f"[warehouse.layout] depot = {config.depot}: there are the aisles 0 to {config.aisles - 1}")
    for name in ("block_m", "apart_m", "speed_m_s"):
        if not math.isfinite(value := getattr(config, name)):
            raise ConfigError(f"[warehouse.layout] {name} = {value}: give a finite number")


@dataclass(frozen=True)
class Layout:
    """The stretches: first the parts of aisles, front to back, aisle by aisle; then the cross-aisles, front to back."""

    config: LayoutConfig

    @property
    def length_m(self) -> float:
        """From front to back."""
        return self.config.blocks * self.config.block_m

    @property
    def parts(self) -> int:
        """Stretches of one aisle."""
        return self.config.blocks * self.config.parts

    @property
    def part_m(self) -> float:
        """Length of one."""
        return self.config.block_m / self.config.parts

    @property
    def stretches(self) -> int:
        """How many there are."""
        return self.config.aisles * self.parts + (self.config.blocks + 1) * (self.config.aisles - 1)

    @property
    def planned_s(self) -> Floats:
        """The time that each stretch takes as planned (stretches,)."""
        along = np.full(self.config.aisles * self.parts, self.part_m)
        across = np.full(self.stretches - len(along), self.config.apart_m)
        return np.concatenate((along, across)) / self.config.speed_m_s

    def part(self, aisle: int, number: int) -> int:
        """The stretch that is the part `number` of an aisle, from the front."""
        return aisle * self.parts + number

    def cross(self, number: int, aisle: int) -> int:
        """The stretch of cross-aisle `number` (0: front) from an aisle to the next."""
        return self.config.aisles * self.parts + number * (self.config.aisles - 1) + aisle

    def name(self, stretch: int) -> str:
        """What people call it: A3/2 (third aisle, second part), X0/3 (front cross-aisle, from aisle 3 on)."""
        aisles = self.config.aisles * self.parts
        if stretch < aisles:
            return f"A{stretch // self.parts + 1}/{stretch % self.parts + 1}"
        number, aisle = divmod(stretch - aisles, self.config.aisles - 1)
        return f"X{number}/{aisle + 1}"

    def depths(self, times: Floats) -> Floats:
        """The time from the front to the end of each part: (aisles, parts + 1), from times (stretches,)."""
        along = times[: self.config.aisles * self.parts].reshape(self.config.aisles, self.parts)
        return np.concatenate((np.zeros((self.config.aisles, 1)), np.cumsum(along, axis=1)), axis=1)

    def depth(self, depths: Floats, aisle: int, metres: float) -> float:
        """The time from the front of an aisle to a place in it."""
        part = min(int(metres / self.part_m), self.parts - 1)
        share = metres / self.part_m - part
        return float(depths[aisle, part] + share * (depths[aisle, part + 1] - depths[aisle, part]))

    def along(self, aisle: int, start_m: float, end_m: float) -> list[Leg]:
        """The legs from one place of an aisle to another."""
        low, high = sorted((start_m, end_m))
        legs = []
        for part in range(self.parts):
            inside = min(high, (part + 1) * self.part_m) - max(low, part * self.part_m)
            if inside > 1e-9:
                legs.append((self.part(aisle, part), inside / self.part_m))
        return legs if start_m <= end_m else legs[::-1]

    def across(self, number: int, start: int, end: int) -> list[Leg]:
        """The legs along a cross-aisle from an aisle to another."""
        steps = range(start, end) if start <= end else range(start - 1, end - 1, -1)
        return [(self.cross(number, aisle), 1.0) for aisle in steps]

    def check(self, place: Place) -> Place:
        """`place` if it is in this warehouse. InputError."""
        aisle, metres = place
        if not (0 <= aisle < self.config.aisles and 0.0 <= metres <= self.length_m):
            raise InputError(
                f"there is no place {metres:g} m into aisle {aisle + 1}: this warehouse has {self.config.aisles} "
                f"aisles of {self.length_m:g} m"
            )
        return (int(aisle), float(metres))
