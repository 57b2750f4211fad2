"""Classic routes through several blocks (Roodbergen & de Koster 2001): to the farthest block with picks, and back block
by block.

    s-shape       through every sub-aisle with picks, from the nearer side on; the last one so that it ends in front
    largest gap   each from behind and from the front, up to its largest gap; the last one through
    combined      through or back, sub-aisle by sub-aisle, whichever is shorter together

Between blocks a robot goes along the aisle where it is. With one block they are what `classic` has, but for the first
aisle of the farthest block, which is gone through to get behind it. Each gives legs from the depot and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.warehouse.classic import Router
from hotloop.verticals.warehouse.layout import Layout, Leg, Place

_Block = dict[int, list[float]]  # the picks of a block: metres by aisle, in order


@dataclass
class _Walk:
    """Where a robot is, and the legs that it has gone."""

    layout: Layout
    depths: Floats
    aisle: int
    number: int = 0  # of the cross-aisle
    legs: list[Leg] = field(default_factory=list)

    def to(self, aisle: int) -> None:
        """Along the cross-aisle."""
        self.legs += self.layout.across(self.number, self.aisle, aisle)
        self.aisle = aisle

    def through(self, number: int) -> None:
        """Along the aisle, to another cross-aisle."""
        block_m = self.layout.config.block_m
        self.legs += self.layout.along(self.aisle, self.number * block_m, number * block_m)
        self.number = number

    def turn(self, metres: float) -> None:
        """Into the aisle and back."""
        at = self.number * self.layout.config.block_m
        there = self.layout.along(self.aisle, at, metres)
        self.legs += [*there, *self.layout.along(self.aisle, metres, at)]

    def widest(self, block: int, at: list[float]) -> tuple[float, float]:
        """Between which of the ends and the picks it takes longest."""
        block_m = self.layout.config.block_m
        ends = [block * block_m, *at, (block + 1) * block_m]
        seen = [self.layout.depth(self.depths, self.aisle, metres) for metres in ends]
        widest = int(np.diff(seen).argmax())
        return ends[widest], ends[widest + 1]


def s_shape(layout: Layout, picks: Sequence[Place], times: Floats) -> list[Leg]:
    """Through every sub-aisle with picks."""
    walk, blocks = _begun(layout, picks, times)
    farthest = max(blocks)
    for block in range(farthest, -1, -1):
        rest = list(blocks.get(block, {}))
        if block == farthest:
            walk.to(rest.pop(0))
            if not rest:
                walk.turn(blocks[block][walk.aisle][-1])
                continue
            walk.through(block + 1)
        if not rest:
            walk.through(block)
            continue
        if abs(rest[-1] - walk.aisle) < abs(rest[0] - walk.aisle):
            rest.reverse()
        for aisle in rest[:-1]:
            walk.to(aisle)
            walk.through(block if walk.number > block else block + 1)
        walk.to(rest[-1])
        if walk.number > block:
            walk.through(block)
        else:
            walk.turn(blocks[block][walk.aisle][-1])
    walk.to(layout.config.depot)
    return walk.legs


def largest_gap(layout: Layout, picks: Sequence[Place], times: Floats) -> list[Leg]:
    """From behind, through the last sub-aisle, and from the front, up to the largest gaps."""
    walk, blocks = _begun(layout, picks, times)
    farthest = max(blocks)
    for block in range(farthest, -1, -1):
        own = blocks.get(block, {})
        rest = list(own)
        if block == farthest:
            walk.to(rest.pop(0))
            if not rest:
                walk.turn(own[walk.aisle][-1])
                continue
            walk.through(block + 1)
        if not rest:
            walk.through(block)
            continue
        last = max(rest[0], rest[-1], key=lambda aisle: abs(aisle - walk.aisle))
        if rest[-1] != last:
            rest.reverse()
        front: list[tuple[int, float]] = []
        for aisle in rest[:-1]:
            before, behind = _gap(walk, block, aisle, own[aisle])
            if own[aisle][0] <= before:
                front.append((aisle, before))
            if own[aisle][-1] >= behind:
                walk.to(aisle)
                walk.turn(behind)
        walk.to(last)
        walk.through(block)
        for aisle, before in reversed(front):
            walk.to(aisle)
            walk.turn(before)
    walk.to(layout.config.depot)
    return walk.legs


def _gap(walk: _Walk, block: int, aisle: int, at: list[float]) -> tuple[float, float]:
    """The largest gap of another sub-aisle than the one where the robot is."""
    return _Walk(walk.layout, walk.depths, aisle).widest(block, at)


def combined(layout: Layout, picks: Sequence[Place], times: Floats) -> list[Leg]:
    """Each block by a dynamic programme over the two ends that one may be at, to end in front."""
    walk, blocks = _begun(layout, picks, times)
    farthest = max(blocks)
    crosses = times[layout.config.aisles * layout.parts :].reshape(layout.config.blocks + 1, layout.config.aisles - 1)
    for block in range(farthest, -1, -1):
        own = blocks.get(block, {})
        if not own:
            walk.through(block)
            continue
        order = list(own)
        if block < farthest and abs(order[-1] - walk.aisle) < abs(order[0] - walk.aisle):
            order.reverse()
        for aisle, turns in _chosen(walk, block, [(aisle, own[aisle]) for aisle in order], crosses):
            walk.to(aisle)
            if turns:
                walk.turn(own[aisle][-1] if walk.number == block else own[aisle][0])
            else:
                walk.through(block if walk.number > block else block + 1)
    walk.to(layout.config.depot)
    return walk.legs


def _chosen(
    walk: _Walk, block: int, rows: list[tuple[int, list[float]]], crosses: Floats
) -> list[tuple[int, bool]]:
    """Each sub-aisle of a block, and whether one turns in it (else one goes through); the last one ends in front."""
    low = block * walk.layout.config.parts
    best: dict[int, tuple[float, list[tuple[int, bool]]]] = {walk.number: (0.0, [])}
    here = walk.aisle
    for aisle, at in rows:
        first, last = sorted((here, aisle))
        depths = walk.depths[aisle]
        ends = depths[low], depths[low + walk.layout.config.parts]
        near, far = (walk.layout.depth(walk.depths, aisle, metres) for metres in (at[0], at[-1]))
        turned = {block: 2 * (far - ends[0]), block + 1: 2 * (ends[1] - near)}
        after: dict[int, tuple[float, list[tuple[int, bool]]]] = {}
        for number, (took, done) in best.items():
            there = took + float(crosses[number, first:last].sum())
            other = 2 * block + 1 - number
            for to, more, turns in ((number, turned[number], True), (other, float(ends[1] - ends[0]), False)):
                if to not in after or there + more < after[to][0]:
                    after[to] = (there + more, [*done, (aisle, turns)])
        best, here = after, aisle
    return best[block][1]


def _begun(layout: Layout, picks: Sequence[Place], times: Floats) -> tuple[_Walk, dict[int, _Block]]:
    """A robot that has come to the front of the farthest block with picks, in the left-most aisle with any; picks."""
    blocks: dict[int, _Block] = {}
    for aisle, metres in sorted(picks):
        block = min(int(metres / layout.config.block_m), layout.config.blocks - 1)
        blocks.setdefault(block, {}).setdefault(aisle, []).append(metres)
    walk = _Walk(layout, layout.depths(times), layout.config.depot)
    if not blocks:
        return walk, {0: {layout.config.depot: [0.0]}}
    walk.to(min(aisle for aisle, _ in picks))
    walk.through(max(blocks))
    return walk, blocks


BY_BLOCKS: Final[dict[str, Router]] = {
    "s-shape by blocks": s_shape, "largest gap by blocks": largest_gap, "combined by blocks": combined,
}  # fmt: skip
