"""The copper of a bare circuit board, drawn from a style and a seed: traces, buses, pads, planes and marks.

The picture is grey (255 copper, 0 bare); `scan.py` turns it into the ragged black and white of a binarised
scan.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from hotloop.verticals.inspection.canvas import Canvas
from hotloop.verticals.inspection.routing import STEPS, Grid
from hotloop.verticals.inspection.style import Style

_LETTERS = tuple("ABCDEFGHJKLMNPRSTUVXYZ0123456789+-")


def draw_layout(rng: np.random.Generator, style: Style, size_px: int) -> Image.Image:
    """One board of this style, grey (size_px, size_px), copper 255."""
    canvas = Canvas(size_px)
    _PAINTERS[style.family](canvas, rng, style)
    if rng.random() < style.marks:
        _marks(canvas, rng, style)
    turn = int(rng.integers(8))
    image = canvas.reduced()
    return image.transpose(Image.Transpose(turn - 1)) if turn else image


def _routed(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    for _ in range(int(rng.integers(0, 3))):
        _bus(canvas, rng, style, lanes=int(rng.integers(2, 9)))
    if rng.random() < 0.5:
        _pad_row(canvas, rng, style)
    _routes(canvas, rng, style, width_px=style.pitch_px * style.fill)


def _bus_field(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    for _ in range(int(rng.integers(1, 5))):
        _bus(canvas, rng, style, lanes=int(rng.integers(3, 17)))
    if rng.random() < 0.7:
        _routes(canvas, rng, style, width_px=style.pitch_px * style.fill)


def _pour(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    canvas.fill(255)
    for _ in range(int(rng.integers(0, 3))):
        _window(canvas, rng, style)
    if rng.random() < 0.4:
        _bus(canvas, rng, style, lanes=int(rng.integers(1, 6)))
    _routes(canvas, rng, style, width_px=style.clearance_px, grey=0)
    for _ in range(int(rng.integers(0, 9))):
        _cleared_pad(canvas, rng, style)


def _power(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    _routes(canvas, rng, style, width_px=style.pitch_px * style.fill)
    for _ in range(int(rng.integers(0, 4))):
        _disc(canvas, rng, float(rng.uniform(25, 120)), hole=style.hole)
    for _ in range(int(rng.integers(0, 3))):
        _plate(canvas, rng, style)


def _sparse(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    thin = replace(style, density=style.density * 0.15, bend=style.bend * 0.4)
    if rng.random() < 0.5:
        _bus(canvas, rng, style, lanes=int(rng.integers(2, 6)))
    for _ in range(int(rng.integers(0, 3))):
        _disc(canvas, rng, float(rng.uniform(20, 200)), hole=style.hole)
    _routes(canvas, rng, thin, width_px=max(6.0, style.pitch_px * style.fill * 0.5))


def _fingers(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """Rows of rounded tongues with a bent neck and a small hole, as at contacts and jumpers."""
    pitch, size = style.pitch_px, canvas.size_px
    width = pitch * float(rng.uniform(0.4, 0.7))
    row = pitch * float(rng.uniform(1.6, 3.5))
    lean = pitch * float(rng.uniform(-0.5, 0.5))
    hole = float(rng.uniform(3, 9)) if rng.random() < 0.7 else 0.0
    shape = "square" if rng.random() < 0.3 else "oblong"
    offset = rng.uniform(0, pitch, 2)
    for j in range(-1, int(size / row) + 2):
        for i in range(-1, int(size / pitch) + 2):
            x, y = i * pitch + offset[0] + lean * (j % 2), j * row + offset[1]
            canvas.pad(shape, x, y, (width / 2, row * 0.36))
            if (i + j) % 2 == 0:
                canvas.trace([(x, y), (x, y + row * 0.5), (x + lean, y + row)], width * 0.45)
            if hole:
                canvas.pad("round", x, y + row * 0.2, (hole, hole), 0)


def _spine(rng: np.random.Generator, style: Style, size_px: int, room_px: float) -> list[tuple[float, float]]:
    """A line across the board that bends by 45 degrees (or 90) and back, bends at least `room_px` apart."""
    turn = (1 if style.diagonal else 2) * (1 if rng.random() < 0.5 else -1)
    straight = int(rng.integers(4)) * 2
    middle = rng.uniform(0.1, 0.9, 2) * size_px
    back = STEPS[(straight + 4) % 8]
    x, y = middle[0] + back[0] * size_px, middle[1] + back[1] * size_px
    points = [(float(x), float(y))]
    bends = int(rng.integers(0, 5))
    lengths = [float(rng.uniform(0.5, 1.2)) * size_px, *(rng.uniform(0.1, 0.45, bends) * size_px + room_px)]
    for i, length in enumerate([*lengths, 2.0 * size_px]):
        step = STEPS[(straight + (turn if i % 2 else 0)) % 8]
        if i % 2 == 0 and i and rng.random() < 0.3:
            turn = -turn
        norm = math.hypot(*step)
        x, y = x + step[0] / norm * length, y + step[1] / norm * length
        points.append((float(x), float(y)))
    return points


def _beside(spine: list[tuple[float, float]], distance: float) -> list[tuple[float, float]]:
    """The line parallel to the spine at a distance, bends mitred."""
    points = np.asarray(spine)
    along = np.diff(points, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1)
    before = np.vstack((across[:1], across))
    after = np.vstack((across, across[-1:]))
    mitre = before + after
    mitre /= np.maximum((mitre * before).sum(1, keepdims=True), 0.3)
    return [(float(x), float(y)) for x, y in points + mitre * distance]


def _bus(canvas: Canvas, rng: np.random.Generator, style: Style, lanes: int) -> None:
    """Parallel traces that bend together; what was under them is cleared first."""
    pitch = style.pitch_px * float(rng.uniform(0.8, 1.1))
    spine = _spine(rng, style, canvas.size_px, room_px=lanes * pitch)
    width = pitch * style.fill
    middle = (lanes - 1) / 2
    canvas.trace(spine, lanes * pitch + width * 0.5, 0)
    wide = int(rng.integers(lanes)) if rng.random() < 0.15 else -1
    for lane in range(lanes):
        line = _beside(spine, (lane - middle) * pitch)
        canvas.trace(line, width * (1.4 if lane == wide and pitch * (1 - style.fill) > 9 else 1.0))


def _pad_row(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """One or two rows of surface-mount pads."""
    step = max(18.0, style.pitch_px * float(rng.uniform(1.0, 2.0)))
    half = (step * float(rng.uniform(0.25, 0.36)), step * float(rng.uniform(0.4, 1.2)))
    x, y = rng.uniform(0.05, 0.7, 2) * canvas.size_px
    count, rows = int(rng.integers(3, 12)), int(rng.integers(1, 3))
    gap = half[1] * 2 + step * float(rng.uniform(0.5, 3.0))
    for row in range(rows):
        top = y + row * gap
        canvas.pad("square", x + step * (count - 1) / 2, top, (step * count / 2, half[1] + 6), 0)
        for i in range(count):
            canvas.pad("square", x + i * step, top, half)


def _window(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """A bare rectangle in a plane, with a copper island inside some of them."""
    x, y = rng.uniform(0, 1, 2) * canvas.size_px
    half = rng.uniform(0.08, 0.35, 2) * canvas.size_px
    canvas.pad("square", x, y, (half[0], half[1]), 0)
    if rng.random() < 0.6:
        gap = style.clearance_px * float(rng.uniform(1.0, 2.5))
        if min(half) > gap + 10:
            canvas.pad(_shape(rng, style), x, y, (half[0] - gap, half[1] - gap))


def _plate(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """A big area of copper with cut corners, set off from what it covers."""
    x, y = rng.uniform(0, 1, 2) * canvas.size_px
    w, h = rng.uniform(0.1, 0.3, 2) * canvas.size_px
    cut = min(w, h) * float(rng.uniform(0.0, 0.6))
    for grow, grey in ((style.clearance_px * 1.5, 0), (0.0, 255)):
        a, b = w + grow, h + grow
        canvas.polygon(
            [
                (x - a + cut, y - b),
                (x + a, y - b),
                (x + a, y + b - cut),
                (x + a - cut, y + b),
                (x - a, y + b),
                (x - a, y - b + cut),
            ],
            grey,
        )


def _disc(canvas: Canvas, rng: np.random.Generator, radius: float, hole: float) -> None:
    """A big round land, drilled or not."""
    x, y = rng.uniform(-0.05, 1.05, 2) * canvas.size_px
    canvas.pad("round", x, y, (radius + 9, radius + 9), 0)
    canvas.pad("round", x, y, (radius, radius))
    if rng.random() < hole and radius > 14:
        inner = radius * float(rng.uniform(0.3, 0.6))
        canvas.pad("round", x, y, (inner, inner), 0)


def _cleared_pad(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """A pad in a plane: a bare ring around it, spokes on some, a hole in some."""
    x, y = rng.uniform(0, 1, 2) * canvas.size_px
    radius = float(rng.uniform(10, 45))
    outer = radius + style.clearance_px
    shape = _shape(rng, style)
    canvas.pad(shape, x, y, (outer, outer), 0)
    if rng.random() < 0.35:
        spoke = max(7.0, radius * 0.4)
        canvas.trace([(x - outer, y), (x + outer, y)], spoke)
        canvas.trace([(x, y - outer), (x, y + outer)], spoke)
    canvas.pad(shape, x, y, (radius, radius))
    if rng.random() < style.hole:
        inner = radius * float(rng.uniform(0.25, 0.5))
        canvas.pad("round", x, y, (inner, inner), 0)


def _shape(rng: np.random.Generator, style: Style) -> str:
    if style.pad_shape != "mixed":
        return style.pad_shape
    return ("round", "round", "square", "oblong")[int(rng.integers(4))]


def _marks(canvas: Canvas, rng: np.random.Generator, style: Style) -> None:
    """A few letters on bare ground (or cut out of a plane)."""
    grey = 0 if style.family == "pour" else 255
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(rng.choice(_LETTERS, int(rng.integers(1, 7))))
        height = int(rng.integers(26, 64))
        x, y = rng.uniform(0, 0.85, 2) * canvas.size_px
        if grey:
            canvas.pad(
                "square",
                x + len(text) * height * 0.3,
                y + height * 0.6,
                (len(text) * height * 0.34 + 6, height * 0.6),
                0,
            )
        canvas.mark(text, x, y, height, grey)


def _routes(canvas: Canvas, rng: np.random.Generator, style: Style, width_px: float, grey: int = 255) -> None:
    """Traces that walk the free cells of a grid, many with pads (grey 0: channels cut into a plane)."""
    pitch = style.pitch_px
    grid = Grid(canvas.cells(pitch, grey), rng, style)
    cells = grid.rows * grid.columns
    radius = min(pitch * style.pad_ratio, 60.0)
    reach = 0 if radius < pitch * 0.62 else 1
    jitter = rng.uniform(0.3, 0.7, 2) * pitch
    for net in range(2, 2 + max(3, int(cells * style.density / 7))):
        x, y = int(rng.integers(grid.columns)), int(rng.integers(grid.rows))
        padded = grey > 0 and rng.random() < 0.55
        if not (grid.claim(x, y, reach, net) if padded else grid.free(x, y, 0)):
            continue
        grid.owner[y][x] = net
        joins = rng.random() < (0.85 if grey == 0 else 0.15)
        path = grid.walk(x, y, net, int(rng.integers(4, 60)), joins=joins)
        points = [(i * pitch + jitter[0], j * pitch + jitter[1]) for i, j in path]
        if len(points) > 1:
            wide = 1.5 if grey and style.fill < 0.45 and rng.random() < 0.08 else 1.0
            canvas.trace(points, width_px * wide, grey)
        if padded:
            _land(canvas, rng, style, points[0], radius)
        if len(points) > 1 and grey and rng.random() < 0.35:
            _land(canvas, rng, style, points[-1], min(radius, pitch * 0.6))


def _land(canvas: Canvas, rng: np.random.Generator, style: Style, at: tuple[float, float], radius: float) -> None:
    """A pad at a trace's end, drilled or not."""
    shape = _shape(rng, style)
    half = (radius, radius * float(rng.uniform(0.6, 1.0))) if shape != "round" else (radius, radius)
    canvas.pad(shape, *at, half)
    if radius > 8 and rng.random() < style.hole:
        inner = radius * float(rng.uniform(0.3, 0.55))
        canvas.pad("round", *at, (inner, inner), 0)


_PAINTERS = {
    "routed": _routed,
    "bus": _bus_field,
    "pour": _pour,
    "power": _power,
    "fingers": _fingers,
    "sparse": _sparse,
}
