"""Criticality of pairs and of one actor, each over arrays: one element a pair and frame.

Definitions follow Westhofen et al. 2023 (Criticality metrics for automated driving, Arch. Computat. Methods Eng. 30)
and Lin and Althoff 2023 (CommonRoad-CriMe, IEEE IV). Where they leave room:

- gap: of the oriented rectangles, m; 0 where they overlap.
- time to collision (TTC): until the rectangles touch if both keep velocity and heading (exact, separating axes);
  `along`: the same along the follower's path, gap / closing speed (Hayward 1972).
- time headway (THW): gap along the path / speed of the follower.
- required deceleration (DRAC, Cooper and Ferguson 1976): closing² / (2 gap) along the path; for any pair
  closing / (2 TTC), which is the same where one follows the other.
- post-encroachment time (PET, Allen et al. 1978): from the first one's leaving of the area that both cross to the
  second one's entering it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats
from hotloop.verticals.driving.tracks import Ints

Flags = NDArray[np.bool_]

_TINY: Final = 1e-9
PATH_M_MAX: Final = 40.0  # as far ahead is a follower's path bent as it bends now
BEND_MAX: Final = 0.2  # 1/m: nobody turns in less than 5 m


@dataclass(frozen=True)
class Boxes:
    """Oriented rectangles that move along their heading: all (n,), in m, rad, m/s. bend: of the path, 1/m."""

    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    length: Floats
    width: Floats
    bend: Floats

    def __len__(self) -> int:
        """How many."""
        return len(self.x)

    def take(self, index: Ints | Flags) -> Boxes:
        """Those of `index`."""
        return Boxes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def wrapped(angle: Floats) -> Floats:
    """An angle in -π to π."""
    out: Floats = np.remainder(angle + np.pi, 2 * np.pi) - np.pi
    return out


def reach(box: Boxes) -> Floats:
    """Half the diagonal: nothing of a rectangle is farther from its middle."""
    out: Floats = 0.5 * np.hypot(box.length, box.width)
    return out


def relative_speed(a: Boxes, b: Boxes) -> Floats:
    """Of b as seen from a, m/s."""
    out: Floats = np.hypot(*_relative_velocity(a, b))
    return out


def _relative_velocity(a: Boxes, b: Boxes) -> tuple[Floats, Floats]:
    return (
        b.v * np.cos(b.heading) - a.v * np.cos(a.heading),
        b.v * np.sin(b.heading) - a.v * np.sin(a.heading),
    )


def circle_contact_s(a: Boxes, b: Boxes) -> Floats:
    """Until the circles around both touch, s; 0 if they do, infinity if never. Never more than `contact_s`."""
    dx, dy = b.x - a.x, b.y - a.y
    vx, vy = _relative_velocity(a, b)
    along, speed2 = dx * vx + dy * vy, vx * vx + vy * vy
    beyond = dx * dx + dy * dy - (reach(a) + reach(b)) ** 2
    root = along * along - speed2 * beyond
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = (along < 0) & (root >= 0) & (speed2 > _TINY)
        out: Floats = np.where(meets, (-along - np.sqrt(np.maximum(root, 0.0))) / speed2, np.inf)
    return np.where(beyond <= 0, 0.0, out)


def _axes(a: Boxes, b: Boxes) -> tuple[tuple[Floats, Floats, Floats], ...]:
    """The four axes that can separate two rectangles, each as (cos, sin, how far both reach along it together)."""
    turn = b.heading - a.heading
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    ca, sa, cb, sb = np.cos(a.heading), np.sin(a.heading), np.cos(b.heading), np.sin(b.heading)
    return (
        (ca, sa, 0.5 * (a.length + b.length * c + b.width * s)),
        (-sa, ca, 0.5 * (a.width + b.length * s + b.width * c)),
        (cb, sb, 0.5 * (b.length + a.length * c + a.width * s)),
        (-sb, cb, 0.5 * (b.width + a.length * s + a.width * c)),
    )


def depth(a: Boxes, b: Boxes) -> Floats:
    """How deep two rectangles are in each other, m: what separates them at least; negative where they do not touch."""
    dx, dy = b.x - a.x, b.y - a.y
    out = np.full(len(a), np.inf)
    for c, s, extent in _axes(a, b):
        out = np.minimum(out, extent - np.abs(dx * c + dy * s))
    return out


def gap(a: Boxes, b: Boxes) -> Floats:
    """Distance of the rectangles, m; 0 where they overlap."""
    nearest = np.minimum(_corners_to(a, b), _corners_to(b, a))
    return np.where(depth(a, b) >= 0, 0.0, nearest)


def _corners_to(a: Boxes, b: Boxes) -> Floats:
    """The least distance of a corner of b to the rectangle a."""
    dx, dy, c, s = b.x - a.x, b.y - a.y, np.cos(a.heading), np.sin(a.heading)
    x, y, turn = dx * c + dy * s, dy * c - dx * s, b.heading - a.heading
    ct, st, out = np.cos(turn), np.sin(turn), np.full(len(a), np.inf)
    for front, left in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        along, across = 0.5 * front * b.length, 0.5 * left * b.width
        px, py = x + along * ct - across * st, y + along * st + across * ct
        out = np.minimum(
            out, np.hypot(np.maximum(np.abs(px) - 0.5 * a.length, 0), np.maximum(np.abs(py) - 0.5 * a.width, 0))
        )
    return out


def contact_s(a: Boxes, b: Boxes) -> Floats:
    """TTC, s: until the rectangles touch at constant velocities and headings; 0 if they do, infinity if never."""
    return contact(a, b)[0]


def contact(a: Boxes, b: Boxes) -> tuple[Floats, Floats]:
    """TTC as `contact_s`, and how fast they then come together across the sides that touch, m/s."""
    dx, dy = b.x - a.x, b.y - a.y
    vx, vy = _relative_velocity(a, b)
    enter, leave, closing = np.zeros(len(a)), np.full(len(a), np.inf), np.zeros(len(a))
    with np.errstate(divide="ignore", invalid="ignore"):
        for c, s, extent in _axes(a, b):
            place, speed = dx * c + dy * s, vx * c + vy * s
            still = np.abs(speed) < _TINY
            one, two = (-extent - place) / speed, (extent - place) / speed
            apart = np.abs(place) > extent
            first = np.where(still, np.where(apart, np.inf, 0.0), np.minimum(one, two))
            last = np.where(still, np.where(apart, -np.inf, np.inf), np.maximum(one, two))
            closing = np.where(first > enter, np.abs(speed), closing)
            enter, leave = np.maximum(enter, first), np.minimum(leave, last)
    return np.where(enter <= leave, enter, np.inf), closing


def turning_contact_s(a: Boxes, b: Boxes, horizon_s: float, step_s: float = 0.1) -> Floats:
    """TTC, s, if both go on along the bend of their paths: rolled out in steps; infinity beyond the horizon."""
    out = np.full(len(a), np.inf)
    for t in np.arange(0.0, horizon_s + step_s / 2, step_s):
        touch = depth(turned(a, t), turned(b, t)) >= 0
        out = np.where(touch & np.isinf(out), t, out)
    return out


def turned(box: Boxes, t: float) -> Boxes:
    """Where the rectangles are after t seconds along their bend."""
    way = box.v * t
    half = 0.5 * box.bend * way
    chord = way * np.sinc(half / np.pi)
    course = box.heading + half
    x, y = box.x + chord * np.cos(course), box.y + chord * np.sin(course)
    return Boxes(x, y, box.heading + 2 * half, box.v, box.length, box.width, box.bend)


@dataclass(frozen=True)
class Ahead:
    """How b lies to the path of a, (n,): m along it between bumpers (negative: not ahead), m across (left positive),
    m/s at which the gap closes, and whether b's rectangle reaches into the path that a's sweeps.
    """

    gap: Floats
    across: Floats
    closing: Floats
    inside: Flags


def ahead(a: Boxes, b: Boxes) -> Ahead:
    """How b lies to the path of a: straight on, or along the bend that a drives now."""
    dx, dy, c, s = b.x - a.x, b.y - a.y, np.cos(a.heading), np.sin(a.heading)
    along, across = dx * c + dy * s, dy * c - dx * s
    near = np.clip(along, 0.0, PATH_M_MAX)
    bend = np.clip(a.bend, -BEND_MAX, BEND_MAX)
    across = across - 0.5 * bend * near * near
    turn = b.heading - a.heading - bend * near
    ct, st = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    half_along, half_across = 0.5 * (b.length * ct + b.width * st), 0.5 * (b.length * st + b.width * ct)
    inside = np.abs(across) < 0.5 * a.width + half_across
    return Ahead(along - half_along - 0.5 * a.length, across, a.v - b.v * np.cos(turn), inside)


def along_s(gap_m: Floats, closing: Floats) -> Floats:
    """TTC along a path, s: gap / closing speed; infinity where it does not close, NaN where nobody is ahead."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Floats = np.where(closing > _TINY, gap_m / closing, np.inf)
    return np.where(gap_m < 0, np.nan, out)


def headway_s(gap_m: Floats, v: Floats) -> Floats:
    """THW, s: gap along the path / speed of the follower; infinity at a stand, NaN where nobody is ahead."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Floats = np.where(v > _TINY, gap_m / v, np.inf)
    return np.where(gap_m < 0, np.nan, out)


def required_braking(closing: Floats, ttc_s: Floats) -> Floats:
    """DRAC, m/s2: the constant deceleration that just avoids contact, closing / (2 TTC); infinity at contact."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Floats = np.where(closing > _TINY, closing / (2 * ttc_s), 0.0)
    return out


@dataclass(frozen=True)
class Passing:
    """Two that pass one place: when their middles do, s; how fast, m/s; the angle between them, rad; their sizes, m."""

    t_a: Floats
    t_b: Floats
    v_a: Floats
    v_b: Floats
    angle: Floats
    size_a: tuple[Floats, Floats]
    size_b: tuple[Floats, Floats]


def post_encroachment_s(at: Passing) -> Floats:
    """PET, s, from the first one's rear leaving the common area to the second one's front entering it; < 0: both in it.

    The area is where the two swept strips cross; paths are straight and speeds constant within it.
    """
    sine, cosine = np.maximum(np.abs(np.sin(at.angle)), 0.1), np.abs(np.cos(at.angle))
    half_a = 0.5 * at.size_a[0] + 0.5 * (at.size_b[1] + at.size_a[1] * cosine) / sine
    half_b = 0.5 * at.size_b[0] + 0.5 * (at.size_a[1] + at.size_b[1] * cosine) / sine
    stay_a, stay_b = half_a / np.maximum(at.v_a, _TINY), half_b / np.maximum(at.v_b, _TINY)
    later: Floats = np.abs(at.t_b - at.t_a) - stay_a - stay_b
    return later
