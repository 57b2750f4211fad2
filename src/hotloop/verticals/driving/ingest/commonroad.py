"""CommonRoad scenarios, 2018b and 2020a (commonroad.in.tum.de): XML -> Tracks.

    units    metres, rad, m/s, m/s2, in one plane, as in Tracks; frame is the file's time step, timeStepSize its length
    place    the middle of the obstacle's shape: a shape with a centre or an orientation of its own is moved by it
    size     rectangle: its own; circle: its diameter; polygon, or several shapes: of the box around them along the
             obstacle's axes
    numbers  `exact`, or the middle of `intervalStart` and `intervalEnd`
    static   obstacles without motion: kind "static", v = 0, in each frame that the moving ones have
    sets     where a place is an area (a shape in a state; an occupancySet): its centroid; heading and v as `rows` says

Road network, traffic signs, environmentObstacle, phantomObstacle and planningProblem are not read.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from lxml import etree

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest.bounds import Bounds
from hotloop.verticals.driving.ingest.rows import Rows, tracks_of
from hotloop.verticals.driving.tracks import Actor, Kind, Tracks

VERSIONS: Final = ("2018b", "2020a")
_KINDS: Final[dict[str, Kind]] = {
    "car": "car", "taxi": "car", "priorityVehicle": "car", "parkedVehicle": "car", "truck": "truck", "bus": "bus",
    "motorcycle": "motorcycle", "bicycle": "bicycle", "pedestrian": "pedestrian", "train": "train",
}  # fmt: skip
_NAN: Final = math.nan
_SMALL_M: Final = 0.01  # a shape without width is a line on the ground


def tracks(data: bytes, source: str, bounds: Bounds) -> Tracks:
    """The tracks of a CommonRoad file's bytes. InputError if it is none, is broken, or holds too much."""
    root = _root(data, source, bounds)
    moving: list[list[float]] = []
    still: list[list[float]] = []
    actors: list[Actor] = []
    for obstacle in root.iterchildren("obstacle", "dynamicObstacle", "staticObstacle"):
        static = obstacle.tag == "staticObstacle" or (obstacle.findtext("role") or "").strip() == "static"
        name = obstacle.get("id") or f"{obstacle.tag} in line {obstacle.sourceline}"
        try:
            box = _box(obstacle.find("shape"))
            found = _places(obstacle)
        except (ValueError, ArithmeticError) as error:
            raise InputError(f"{source}: obstacle {name} (line {obstacle.sourceline}): {error}") from error
        kind: Kind = "static" if static else _KINDS.get((obstacle.findtext("type") or "").strip(), "unknown")
        rows = [_moved(len(actors), place, box) for place in found]
        actors.append(Actor(name, kind, max(box[0], _SMALL_M), max(box[1], _SMALL_M)))
        if static:
            still += rows[:1]
        else:
            moving += rows
        if len(moving) + len(still) > bounds.rows_max:
            raise InputError(f"{source}: more than {bounds.rows_max} places; cut the log into parts")
    if not actors:
        raise InputError(f"{source}: no obstacles: there is nothing to learn from")
    first, last = (int(min(at)), int(max(at))) if (at := [row[1] for row in moving]) else (0, 0)
    if len(moving) + len(still) * (last - first + 1) > bounds.rows_max:
        raise InputError(f"{source}: more than {bounds.rows_max} places; cut the log into parts")
    for row in still:
        moving += [[row[0], frame, *row[2:5], 0.0, 0.0] for frame in range(first, last + 1)]
    return tracks_of(Rows.of(moving), actors, _step(root, source), source)


def _root(data: bytes, source: str, bounds: Bounds) -> Any:
    """The parsed file, without following anything it names: no entities, no network, no document type."""
    if len(data) > bounds.xml_bytes_max:
        raise InputError(f"{source}: {len(data)} bytes of XML; at most {bounds.xml_bytes_max} are read")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InputError(f"{source}: broken XML: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise InputError(f"{source}: it has a document type, which no CommonRoad file has; it was not read")
    if root.tag != "commonRoad":
        raise InputError(f"{source}: XML with the root <{root.tag}>; <commonRoad> is read")
    if root.get("commonRoadVersion") not in VERSIONS:
        raise InputError(f"{source}: CommonRoad {root.get('commonRoadVersion')}; {' and '.join(VERSIONS)} are read")
    return root


def _step(root: Any, source: str) -> float:
    try:
        return float(root.get("timeStepSize", ""))
    except ValueError as error:
        raise InputError(f"{source}: timeStepSize is {root.get('timeStepSize')!r}, no number of seconds") from error


def _places(obstacle: Any) -> list[tuple[float, ...]]:
    """(time step, x, y, heading, v, a) of each state, NaN where it is not said."""
    states = [obstacle.find("initialState"), *obstacle.iterfind("trajectory/state")]
    found = [_state(one) for one in states if one is not None]
    if len(found) > 1 and found[0][0] == found[1][0]:
        del found[1]  # some writers begin the trajectory with the initial state once more
    for one in obstacle.iterfind("occupancySet/occupancy"):
        found.append((_time(one), *_centroid(one.find("shape")), _NAN, _NAN, _NAN))  # noqa: PERF401
    if not found:
        raise ValueError("it has no state: it is nowhere")
    return found


def _state(state: Any) -> tuple[float, ...]:
    position = state.find("position")
    if position is None or not len(position):
        raise ValueError(f"the state in line {state.sourceline} has no position")
    x, y = _point(position[0]) if position[0].tag == "point" else _centroid(position)
    return (_time(state), x, y, *(_number(state.find(name)) for name in ("orientation", "velocity", "acceleration")))


def _time(element: Any) -> float:
    """The time step; the middle of an interval, rounded down."""
    step = _number(element.find("time"))
    if not math.isfinite(step):
        raise ValueError(f"the state in line {element.sourceline} has no time")
    return math.floor(step)


def _number(element: Any) -> float:
    """A number, exact or the middle of an interval; NaN if there is none."""
    if element is None:
        return _NAN
    if (exact := element.findtext("exact")) is not None:
        return _finite(exact)
    low, high = element.findtext("intervalStart"), element.findtext("intervalEnd")
    return _NAN if low is None or high is None else (_finite(low) + _finite(high)) / 2


def _finite(text: str | None) -> float:
    value = float(text or "")
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def _point(element: Any) -> tuple[float, float]:
    return _finite(element.findtext("x")), _finite(element.findtext("y"))


def _outline(shape: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The corners (n, 2) of one shape, in the frame that it stands in."""
    if shape.tag == "polygon":
        corners = np.array([_point(one) for one in shape.iterchildren("point")])
        if len(corners) < 3:
            raise ValueError(f"a polygon of {len(corners)} corners in line {shape.sourceline}")
        return corners
    if shape.tag == "circle":
        half = np.full(2, _finite(shape.findtext("radius")))
    elif shape.tag == "rectangle":
        half = np.array([_finite(shape.findtext("length")), _finite(shape.findtext("width"))]) / 2
    else:
        raise ValueError(f"<{shape.tag}> in line {shape.sourceline} is no shape that is read")
    middle = np.zeros(2) if (centre := shape.find("center")) is None else np.array(_point(centre))
    turn = 0.0 if (told := shape.findtext("orientation")) is None or shape.tag == "circle" else _finite(told)
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
    c, s = math.cos(turn), math.sin(turn)
    return np.asarray(middle + corners @ np.array([[c, s], [-s, c]]), np.float64)


def _box(shape: Any) -> tuple[float, float, float, float, float]:
    """Length, width, and how the box around a shape lies in its obstacle: (x, y) of its middle and its heading."""
    if shape is None or not len(shape):
        raise ValueError("it has no shape")
    if len(shape) == 1 and shape[0].tag == "rectangle" and (turn := shape[0].findtext("orientation")) is not None:
        one = shape[0]
        x, y = (0.0, 0.0) if one.find("center") is None else _point(one.find("center"))
        return _finite(one.findtext("length")), _finite(one.findtext("width")), x, y, _finite(turn)
    corners = np.concatenate([_outline(one) for one in shape])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1]), *((high + low) / 2).tolist(), 0.0


def _centroid(shape: Any) -> tuple[float, float]:
    """The centroid of an area: of its shapes' areas, each by its size."""
    if shape is None or not len(shape):
        raise ValueError("an area without a shape")
    total, at = 0.0, np.zeros(2)
    for one in shape:
        corners = _outline(one)
        around = np.roll(corners, -1, axis=0)
        offset = corners[0]  # far from the origin, the cross products would cancel
        p, q = corners - offset, around - offset
        cross = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
        area = float(cross.sum()) / 2
        middle = offset + (((p + q) * cross[:, None]).sum(axis=0) / (6 * area) if area else p.mean(axis=0))
        total, at = total + abs(area), at + (abs(area) or 1e-12) * middle
    at /= total or len(shape) * 1e-12
    return float(at[0]), float(at[1])


def _moved(actor: int, place: tuple[float, ...], box: tuple[float, ...]) -> list[float]:
    """A row of the obstacle's box: where its middle is when the obstacle is at `place`."""
    step, x, y, heading, v, a = place
    _, _, dx, dy, turn = box
    c, s = (math.cos(heading), math.sin(heading)) if math.isfinite(heading) else (1.0, 0.0)
    return [actor, step, x + c * dx - s * dy, y + s * dx + c * dy, heading + turn, v, a]
