"""Six ways to spoil the copper of a board, each checked to be what its name says after it was drawn.

Copper removed and copper added mirror each other, so there are three acts on a *material* (copper or bare
ground): a stroke *across* it (open, short), a dent *into* its edge (mousebite, spur) and an island *inside*
it (pin-hole, copper). The checks label connected components in a window around the act, which is what a
person would see of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""In the order of DeepPCB's types 1 to 6."""
MARGIN_PX = (6, 12)
"""How far outside the changed pixels a person puts the sides of a box."""
AREA_PX_MIN = 26
SPAN_PX_MAX = 96
"""The widest trace that an open cuts and the widest gap that a short bridges."""
_TRIES = 60
_REMOVES = frozenset({"open", "mousebite", "pin-hole"})
_EIGHT = np.ones((3, 3), bool)

Box = tuple[int, int, int, int]
_Change = tuple[int, int, np.ndarray]  # left, top, and the pixels to flip from there: bool (h, w)


@dataclass(frozen=True)
class Defect:
    """A region of a board, x1 y1 x2 y2 in pixels (x2, y2 outside), and what is there."""

    box: Box
    kind: str


@dataclass(frozen=True)
class _Edge:
    """A point on a material's edge, the unit normal into it, and how far it reaches that way."""

    x: float
    y: float
    inward: tuple[float, float]
    depth_px: int


def add_defects(copper: np.ndarray, rng: np.random.Generator, count: int) -> list[Defect]:
    """Spoil `copper` (bool (H, W), changed in place) with up to `count` defects that do not overlap."""
    first = int(rng.integers(len(KINDS)))
    kinds = [KINDS[(first + i) % len(KINDS)] for i in range(count)]
    found: list[Defect] = []
    for i in rng.permutation(count):
        defect = _place(copper, rng, kinds[i], found)
        if defect is not None:
            found.append(defect)
    return found


def _place(copper: np.ndarray, rng: np.random.Generator, kind: str, others: list[Defect]) -> Defect | None:
    """Draw one defect where it fits, or nothing if it fits nowhere that was tried."""
    act = _ACTS[kind]
    material = copper if kind in _REMOVES else ~copper
    spots = _edge_spots(copper, rng) if act is not _island else _inner_spots(material, rng)
    for x, y in spots:
        if any(b[0] - 8 <= x < b[2] + 8 and b[1] - 8 <= y < b[3] + 8 for b in (o.box for o in others)):
            continue
        drawn = act(material, rng, x, y)
        if drawn is None:
            continue
        left, top, change = drawn
        box = _box_around(change, left, top, rng, copper.shape)
        if any(_overlap(box, other.box) for other in others):
            continue
        h, w = change.shape
        copper[top : top + h, left : left + w] ^= change
        return Defect(box, kind)
    return None


def _edge_spots(copper: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random pixels (x, y) beside an edge of the copper."""
    steps = np.flatnonzero(copper[:-1, :-1] ^ copper[1:, :-1] | (copper[:-1, :-1] ^ copper[:-1, 1:]))
    if not len(steps):
        return []
    chosen = steps[rng.integers(0, len(steps), _TRIES)]
    width = copper.shape[1] - 1
    return [(int(i % width), int(i // width)) for i in chosen]


def _inner_spots(material: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random pixels (x, y) inside the material."""
    # Every third row and column is enough: an island is wider than that.
    y0, x0 = (int(v) for v in rng.integers(0, 3, 2))
    thin = material[y0::3, x0::3]
    inside = np.flatnonzero(thin)
    if not len(inside):
        return []
    chosen = inside[rng.integers(0, len(inside), _TRIES * 2)]
    return [(int(i % thin.shape[1]) * 3 + x0, int(i // thin.shape[1]) * 3 + y0) for i in chosen]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _box_around(change: np.ndarray, left: int, top: int, rng: np.random.Generator, shape: tuple[int, ...]) -> Box:
    """The changed pixels with a person's margin on each side, inside the board."""
    ys, xs = np.flatnonzero(change.any(1)), np.flatnonzero(change.any(0))
    m = rng.integers(MARGIN_PX[0], MARGIN_PX[1], 4, endpoint=True)
    return (
        max(0, int(left + xs[0] - m[0])),
        max(0, int(top + ys[0] - m[1])),
        min(shape[1], int(left + xs[-1] + 1 + m[2])),
        min(shape[0], int(top + ys[-1] + 1 + m[3])),
    )


def _window(material: np.ndarray, x: float, y: float, half: int) -> tuple[int, int, np.ndarray]:
    """The part of a board within `half` pixels of a point: (left, top, view)."""
    left, top = max(0, int(x) - half), max(0, int(y) - half)
    return left, top, material[top : int(y) + half, left : int(x) + half]


def _edge_at(material: np.ndarray, x: int, y: int) -> _Edge | None:
    """The edge near a pixel: its inward normal from the material's centre of mass, its depth by marching
    along it.
    """
    left, top, view = _window(material, x, y, 5)
    inside = int(view.sum())
    if inside in (0, view.size) or view.size < 100:
        return None
    ys, xs = np.nonzero(view)
    dx, dy = float(xs.mean()) + left - x, float(ys.mean()) + top - y
    norm = math.hypot(dx, dy)
    if norm < 0.5:
        return None
    nx, ny = dx / norm, dy / norm
    steps = np.arange(-5, SPAN_PX_MAX + 6)
    px, py = np.rint(x + nx * steps).astype(int), np.rint(y + ny * steps).astype(int)
    ok = (px >= 0) & (py >= 0) & (px < material.shape[1]) & (py < material.shape[0])
    line = material[py[ok], px[ok]]
    entered = np.flatnonzero(line)
    if not len(entered):
        return None
    first = int(entered[0])
    leaves = np.flatnonzero(~line[first:])
    depth = int(leaves[0]) if len(leaves) else SPAN_PX_MAX + 1
    start = float(steps[ok][first])
    return _Edge(x + nx * start, y + ny * start, (nx, ny), depth)


def _open(material: np.ndarray, rng: np.random.Generator, x: int, y: int) -> _Change | None:
    """A trace is cut in two."""
    stroke = _across(material, rng, (x, y), rough=rng.random() < 0.7)
    if stroke is None:
        return None
    left, top, change = stroke
    copper = material[top : top + change.shape[0], left : left + change.shape[1]]
    return stroke if _parts(copper, copper & ~change, change) else None


def _short(material: np.ndarray, rng: np.random.Generator, x: int, y: int) -> _Change | None:
    """Two traces are bridged; the material is the bare ground between them."""
    stroke = _across(material, rng, (x, y), rough=rng.random() < 0.25)
    if stroke is None:
        return None
    left, top, change = stroke
    copper = ~material[top : top + change.shape[0], left : left + change.shape[1]]
    return stroke if _parts(copper | change, copper, change) else None


def _across(material: np.ndarray, rng: np.random.Generator, spot: tuple[int, int], *, rough: bool) -> _Change | None:
    """A stroke right across the material, from beyond one edge to beyond the other."""
    edge = _edge_at(material, *spot)
    # Narrow traces and gaps first: they are where a real etch fails.
    if edge is None or not 4 <= edge.depth_px <= SPAN_PX_MAX or rng.random() > (14 / edge.depth_px) ** 0.5:
        return None
    left, top, view = _window(material, *spot, edge.depth_px + 30)
    slant = min(1.0, max(-1.0, float(rng.normal(0.0, 0.45)))) if rng.random() < 0.7 else 0.0
    tx, ty = _turned(edge.inward, slant)
    over = edge.depth_px / math.cos(slant) + 3
    x, y = edge.x - left, edge.y - top
    ends = [(x - tx * 3, y - ty * 3), (x + tx * over, y + ty * over)]
    if rng.random() < 0.2:  # a whole stretch, not a line
        radius = float(rng.uniform(3.0, 12.0))
    else:
        radius = float(rng.uniform(1.2, 1.8 + min(edge.depth_px, 40) * 0.1))
    change = _stroke(view.shape, rng, ends, radius, rough=rough) & view
    return None if change.sum() < AREA_PX_MIN or _on_border(change) else (left, top, change)


def _parts(whole: np.ndarray, cut: np.ndarray, change: np.ndarray) -> bool:
    """Whether copper that was one piece beside the change in `whole` is two big pieces in `cut`."""
    near = _grown(change, 2)
    pieces, _ = ndimage.label(cut, _EIGHT)
    beside = np.bincount(pieces[near], minlength=1)
    beside[0] = 0
    sizes = np.bincount(pieces.ravel())
    big = [i for i in np.flatnonzero(beside) if sizes[i] >= 60]
    if len(big) != 2:
        return False
    joined, _ = ndimage.label(whole, _EIGHT)
    return bool(joined[pieces == big[0]][0] == joined[pieces == big[1]][0])


def _dent(material: np.ndarray, rng: np.random.Generator, x: int, y: int) -> _Change | None:
    """A stroke or blob from outside an edge of the material to inside it, well short of the far side."""
    edge = _edge_at(material, x, y)
    if edge is None or edge.depth_px < 5:
        return None
    left, top, view = _window(material, x, y, 48)
    ends, radius = _dent_stroke(edge, rng)
    ends = [(x - left, y - top) for x, y in ends]
    change = _stroke(view.shape, rng, ends, radius, rough=rng.random() < 0.5) & view
    if change.sum() < AREA_PX_MIN or _on_border(change):
        return None
    # One piece of the other material grows, and this one is not cut.
    if _touching(~view, change) != 1 or _count(view) != _count(view & ~change) or _count(change) > 2:
        return None
    return left, top, change


def _dent_stroke(edge: _Edge, rng: np.random.Generator) -> tuple[list[tuple[float, float]], float]:
    """The ends and radius of a dent: a stroke at any slant, a bump on the edge, or a scrape along it."""
    depth = edge.depth_px * float(rng.uniform(0.35, 0.92))
    form = rng.random()
    if form < 0.55:
        slant = float(rng.uniform(-1.1, 1.1))
        tx, ty = _turned(edge.inward, slant)
        reach = min(depth / math.cos(slant), float(rng.gamma(2.2, 5.5)) + 4.0)
        radius = min(float(rng.uniform(1.2, 2.2 + reach * 0.25)), 0.6 * depth)
        begin, end = -2.0, max(0.5, reach - radius)
        return [(edge.x + tx * t, edge.y + ty * t) for t in (begin, end)], radius
    nx, ny = edge.inward
    if form < 0.8:
        half = float(rng.gamma(2.0, 2.5))
        radius = max(2.0, min(depth, float(rng.uniform(2.5, 11.0))))
        return [(edge.x - ny * t, edge.y + nx * t) for t in (-half, half)], radius
    half, radius = float(rng.uniform(4.0, 18.0)), float(rng.uniform(1.2, 2.6))
    ends = []
    for t in (-half, half):
        into = float(rng.uniform(-0.5, max(0.0, min(depth - radius, 5.0))))
        ends.append((edge.x - ny * t + nx * into, edge.y + nx * t + ny * into))
    return ends, radius


def _island(material: np.ndarray, rng: np.random.Generator, x: int, y: int) -> _Change | None:
    """A blob or stroke inside the material that touches none of its edges."""
    left, top, view = _window(material, x, y, 44)
    if not view[max(0, y - top - 3) : y - top + 4, max(0, x - left - 3) : x - left + 4].all():
        return None
    length = float(rng.gamma(2.0, 5.0)) if rng.random() < 0.8 else 1.0
    dx, dy = _turned((length / 2, 0.0), float(rng.uniform(0, math.pi)))
    radius = 1.2 + float(rng.gamma(2.0, 1.0)) + (2.0 if length <= 4 else 0.0)
    ends = [(x - dx - left, y - dy - top), (x + dx - left, y + dy - top)]
    change = _stroke(view.shape, rng, ends, radius, rough=rng.random() < 0.6)
    clear = _grown(change, int(rng.integers(2, 5)))
    if change.sum() < AREA_PX_MIN or _on_border(clear) or not view[clear].all():
        return None
    return (left, top, change) if _count(change) <= 3 else None


def _turned(vector: tuple[float, float], angle: float) -> tuple[float, float]:
    """A vector turned by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return vector[0] * cos - vector[1] * sin, vector[0] * sin + vector[1] * cos


def _on_border(change: np.ndarray) -> bool:
    """Whether a change reaches its window's border: it may go on outside, where nothing was checked."""
    return bool(change[0].any() or change[-1].any() or change[:, 0].any() or change[:, -1].any())


def _grown(area: np.ndarray, by_px: int) -> np.ndarray:
    """The area and all pixels within `by_px` of it, in rows and columns."""
    grown = area
    for _ in range(by_px):
        tall = grown.copy()
        tall[1:] |= grown[:-1]
        tall[:-1] |= grown[1:]
        grown = tall.copy()
        grown[:, 1:] |= tall[:, :-1]
        grown[:, :-1] |= tall[:, 1:]
    return grown


def _count(area: np.ndarray) -> int:
    return int(ndimage.label(area, _EIGHT)[1])


def _touching(area: np.ndarray, change: np.ndarray) -> int:
    """How many pieces of an area a change touches."""
    pieces, _ = ndimage.label(area, _EIGHT)
    near = np.unique(pieces[_grown(change, 1)])
    return int((near > 0).sum())


def _stroke(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    ends: list[tuple[float, float]],
    radius: float,
    *,
    rough: bool,
) -> np.ndarray:
    """A hand's stroke between two points: bool, clean or ragged, bent or tapered, sometimes scratched twice."""
    image = Image.new("1", (shape[1], shape[0]))
    pen = ImageDraw.Draw(image)
    if not rough and rng.random() < 0.35:
        pen.line([*ends[0], *ends[1]], fill=1, width=max(2, round(2 * radius)))  # as with a ruler
        return np.array(image)
    points, radii = _path(rng, ends, radius, rough=rough)
    flat = float(rng.uniform(0.7, 1.3))
    for (x, y), r in zip(points.tolist(), radii.tolist(), strict=True):
        pen.ellipse((x - r, y - r * flat, x + r, y + r * flat), fill=1)
    if rough and rng.random() < 0.25:
        wobble = rng.normal(0.0, radius * 1.5 + 1.0, 4) + np.ravel(ends)
        pen.line(wobble.tolist(), fill=1, width=int(rng.integers(1, 4)))
    stroke = np.array(image)
    if rough and rng.random() < 0.5:
        stroke &= rng.random(stroke.shape) > rng.uniform(0.0, 0.15)
    return stroke


def _path(
    rng: np.random.Generator, ends: list[tuple[float, float]], radius: float, *, rough: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The points (n, 2) that a pen passes between two ends, in an arc or an S, and its radius (n,) at each."""
    first, last = np.asarray(ends[0]), np.asarray(ends[1])
    length = float(np.linalg.norm(last - first))
    steps = max(2, int(length / 2.0) + 1)
    along = np.linspace(0.0, 1.0, steps)
    across = np.zeros(steps)
    if rng.random() < 0.6:
        across = np.sin(along * math.pi * (2 if rng.random() < 0.25 else 1)) * rng.normal(0.0, 0.18) * length
    radii = radius * np.linspace(1.0, rng.uniform(0.35, 1.1) if rng.random() < 0.5 else 1.0, steps)
    if rough:
        across = across + rng.normal(0.0, radius * 0.35, steps)
        radii = radii * rng.uniform(0.6, 1.4, steps)
    side = np.array((first[1] - last[1], last[0] - first[0])) / max(length, 1.0)
    return first + along[:, None] * (last - first) + across[:, None] * side, radii


_Act = Callable[[np.ndarray, np.random.Generator, int, int], _Change | None]
_ACTS: dict[str, _Act] = {
    "open": _open,
    "short": _short,
    "mousebite": _dent,
    "spur": _dent,
    "copper": _island,
    "pin-hole": _island,
}
