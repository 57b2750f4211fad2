"""A grey drawing of copper, twice as fine as wanted, so that its edges are grey as a camera sees them."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SCALE = 2


class Canvas:
    """A grey picture of copper, addressed in pixels of the reduced picture."""

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self.image = Image.new("L", (size_px * _SCALE, size_px * _SCALE), 0)
        self._pen = ImageDraw.Draw(self.image)

    def fill(self, grey: int) -> None:
        """Cover the whole board."""
        self.image.paste(grey, (0, 0, *self.image.size))

    def trace(self, points: list[tuple[float, float]], width_px: float, grey: int = 255) -> None:
        """A line through the points (x, y) with rounded ends and bends."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        width = max(2, round(width_px * _SCALE))
        self._pen.line(scaled, fill=grey, width=width)
        radius = (width - 1) / 2
        for x, y in scaled:
            self._pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=grey)

    def pad(self, shape: str, x: float, y: float, half_px: tuple[float, float], grey: int = 255) -> None:
        """A pad of half width and half height `half_px` around (x, y): `round`, `square` or `oblong`."""
        box = [
            (x - half_px[0]) * _SCALE,
            (y - half_px[1]) * _SCALE,
            (x + half_px[0]) * _SCALE,
            (y + half_px[1]) * _SCALE,
        ]
        if shape == "round":
            self._pen.ellipse(box, fill=grey)
        elif shape == "square":
            self._pen.rectangle(box, fill=grey)
        else:
            self._pen.rounded_rectangle(box, radius=min(half_px) * _SCALE * 0.9, fill=grey)

    def polygon(self, points: list[tuple[float, float]], grey: int = 255) -> None:
        """A filled polygon."""
        self._pen.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=grey)

    def mark(self, text: str, x: float, y: float, height_px: int, grey: int = 255) -> None:
        """Letters in copper, as boards carry for their name and revision."""
        self._pen.text(
            (x * _SCALE, y * _SCALE),
            text,
            fill=grey,
            font=_font(height_px * _SCALE),
            stroke_width=_SCALE // 2,
        )

    def cells(self, pitch_px: int, grey: int) -> np.ndarray:
        """Which cells of the routing grid hold anything but the other colour: bool (rows, columns)."""
        cells = np.asarray(self.image.reduce(pitch_px * _SCALE))
        return cells > 0 if grey else cells < 255

    def reduced(self) -> Image.Image:
        """The picture at its wanted size, edges grey."""
        return self.image.reduce(_SCALE)


@cache
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=height)
