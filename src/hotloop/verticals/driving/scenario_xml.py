"""A scenario as CommonRoad XML 2020a, and back. The bytes are canonical: one scenario, one file.

The reference path becomes a lanelet corridor 3.5 m wide, whose middle it is; the seat the initial state of the planning
problem; what was reached, and the desired speed, its goal. The schema wants every obstacle from time 0: who comes later
is led there at the speed of its first moment, and `first` in the attribute `source` (JSON: what CommonRoad has no place
for) says from where on it was recorded. A road user that stood all the time is a static obstacle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from lxml import etree

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.geometry import headings
from hotloop.verticals.driving.scenario import STEP_S, Scenario, Seat
from hotloop.verticals.driving.tracks import KINDS, Actor, Kind

BYTES_MAX: Final = 64 * 2**20
_HALF_M = 1.75
_GOAL_M = (10.0, 3.5)
_FIRST_ID = 100
_DATE = "1970-01-01"  # of no day: the bytes of a scenario do not change with when it was written
_TYPES = frozenset(KINDS) - {"static"}


class _More(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What CommonRoad has no place for."""

    name: str
    case: str
    region: str
    peak: int
    latency: int
    frames: int
    seat: tuple[str, Kind]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]


def to_xml(scenario: Scenario) -> bytes:
    """The canonical bytes."""
    there = ~np.isnan(scenario.x)
    first = there.argmax(axis=1)
    last = scenario.frames - 1 - there[:, ::-1].argmax(axis=1)
    more = _More(
        scenario.name, scenario.case, scenario.region, scenario.peak, scenario.latency, scenario.frames,
        (scenario.seat.actor.name, scenario.seat.actor.kind), tuple(one.name for one in scenario.others),
        tuple(one.kind for one in scenario.others), tuple(first.tolist()), tuple(last.tolist()),
    )  # fmt: skip
    root = etree.Element(
        "commonRoad", timeStepSize=f"{STEP_S:g}", commonRoadVersion="2020a", author="hotloop", affiliation="",
        source=msgspec.json.encode(more).decode(), benchmarkID="ZAM_Hotloop-1_1_T-1", date=_DATE,
    )  # fmt: skip
    location = etree.SubElement(root, "location")
    for tag, text in (("geoNameId", "-999"), ("gpsLatitude", "999"), ("gpsLongitude", "999")):
        etree.SubElement(location, tag).text = text
    etree.SubElement(root, "scenarioTags")
    _lanelet(root, scenario.path)
    order = sorted(range(len(scenario.others)), key=lambda k: not _stood(scenario, k))
    for k in order:
        _obstacle(root, scenario, k, int(first[k]), int(last[k]))
    _problem(root, scenario)
    etree.indent(root, " ")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _text(value: float) -> str:
    """A decimal of the schema: no exponent, no "-0"."""
    return f"{round(value, 3) + 0.0:.3f}"


def _point(parent: etree._Element, x: float, y: float) -> None:
    node = etree.SubElement(parent, "point")
    etree.SubElement(node, "x").text, etree.SubElement(node, "y").text = f"{x:.6f}", f"{y:.6f}"


def _lanelet(root: etree._Element, path: Floats) -> None:
    lanelet = etree.SubElement(root, "lanelet", id="1")
    turn = headings(path)
    aside = _HALF_M * np.stack((-np.sin(turn), np.cos(turn)), axis=1)
    for tag, line in (("leftBound", path + aside), ("rightBound", path - aside)):
        bound = etree.SubElement(lanelet, tag)
        for x, y in line.tolist():
            _point(bound, x, y)
    etree.SubElement(lanelet, "laneletType").text = "unknown"


def _exact(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(etree.SubElement(parent, tag), "exact").text = text


def _state(parent: etree._Element, tag: str, frame: int, state: Sequence[float]) -> None:
    node = etree.SubElement(parent, tag)
    place = etree.SubElement(etree.SubElement(node, "position"), "point")
    etree.SubElement(place, "x").text, etree.SubElement(place, "y").text = _text(state[0]), _text(state[1])
    _exact(node, "orientation", _text(state[2]))
    _exact(node, "time", str(frame))
    _exact(node, "velocity", _text(state[3]))


def _stood(scenario: Scenario, k: int) -> bool:
    """It is a thing that stands there from the first frame to the last."""
    same = all(np.ptp(column[k]) == 0 for column in (scenario.x, scenario.y, scenario.heading))
    return scenario.others[k].kind == "static" and same and not scenario.v[k].any()


def _obstacle(root: etree._Element, scenario: Scenario, k: int, first: int, last: int) -> None:
    actor, stood = scenario.others[k], _stood(scenario, k)
    node = etree.SubElement(root, "staticObstacle" if stood else "dynamicObstacle", id=str(_FIRST_ID + k))
    etree.SubElement(node, "type").text = actor.kind if actor.kind in _TYPES else "unknown"
    shape = etree.SubElement(etree.SubElement(node, "shape"), "rectangle")
    etree.SubElement(shape, "length").text, etree.SubElement(shape, "width").text = (
        _text(actor.length), _text(actor.width),
    )  # fmt: skip
    motion = np.stack([column[k] for column in (scenario.x, scenario.y, scenario.heading, scenario.v)], axis=1)
    for frame in range(first):  # nobody saw it then: led to where it was first seen
        back = (first - frame) * STEP_S * motion[first, 3]
        led = motion[first] - (back * np.cos(motion[first, 2]), back * np.sin(motion[first, 2]), 0.0, 0.0)
        motion[frame] = led
    _state(node, "initialState", 0, motion[0].tolist())
    if stood:
        return
    trajectory = etree.SubElement(node, "trajectory")
    for frame in range(1, max(last, 1) + 1):  # the schema wants one state at least
        _state(trajectory, "state", frame, motion[min(frame, last)].tolist())


def _problem(root: etree._Element, scenario: Scenario) -> None:
    seat = scenario.seat
    problem = etree.SubElement(root, "planningProblem", id=str(_FIRST_ID + len(scenario.others)))
    _state(problem, "initialState", 0, (seat.x, seat.y, seat.heading, seat.v))
    start = problem[0]
    for tag in ("yawRate", "slipAngle"):
        _exact(start, tag, "0")
    goal = etree.SubElement(problem, "goalState")
    _interval(goal, "time", str(max(scenario.frames - 1, 1)), str(max(scenario.frames - 1, 1)))
    place = etree.SubElement(etree.SubElement(goal, "position"), "rectangle")
    etree.SubElement(place, "length").text, etree.SubElement(place, "width").text = map(_text, _GOAL_M)
    etree.SubElement(place, "orientation").text = _text(float(headings(scenario.path)[scenario.goal]))
    middle = etree.SubElement(place, "center")
    x, y = scenario.path[scenario.goal]
    etree.SubElement(middle, "x").text, etree.SubElement(middle, "y").text = _text(x), _text(y)
    _interval(goal, "velocity", "0", _text(scenario.desired))
    seated = etree.Comment(f"{_text(seat.actor.length)} {_text(seat.actor.width)}")
    problem.append(seated)  # CommonRoad leaves the size of who plans to who plans


def _interval(parent: etree._Element, tag: str, low: str, high: str) -> None:
    node = etree.SubElement(parent, tag)
    etree.SubElement(node, "intervalStart").text, etree.SubElement(node, "intervalEnd").text = low, high


def from_xml(data: bytes) -> Scenario:
    """What `to_xml` wrote. InputError on anything else: logs in CommonRoad's form are read by the ingest."""
    if len(data) > BYTES_MAX:
        raise InputError(f"a scenario of {len(data)} bytes; at most {BYTES_MAX} are read")
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        root = etree.fromstring(data, parser)
        more = msgspec.json.decode(root.get("source", ""), type=_More)
        return _read(root, more)
    except (etree.XMLSyntaxError, msgspec.MsgspecError) as error:
        raise InputError(f"these bytes are no scenario that hotloop wrote: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"a scenario that is not whole: {error!r}") from error


def _number(node: etree._Element, path: str) -> float:
    return float(node.find(path).text)


def _size(node: etree._Element) -> tuple[float, float]:
    return _number(node, "shape/rectangle/length"), _number(node, "shape/rectangle/width")


def _read(root: etree._Element, more: _More) -> Scenario:
    lines = [
        np.array([(_number(p, "x"), _number(p, "y")) for p in root.findall(f"lanelet/{tag}/point")])
        for tag in ("leftBound", "rightBound")
    ]
    path = np.round((lines[0] + lines[1]) / 2, 3) + 0.0
    nodes = {int(n.get("id")) - _FIRST_ID: n for n in root if n.tag in ("staticObstacle", "dynamicObstacle")}
    count = len(more.names)
    motion = np.full((4, count, more.frames), np.nan)
    for k in range(count):
        states = [nodes[k].find("initialState"), *nodes[k].findall("trajectory/state")]
        table = np.array([[_number(s, tag) for tag in _PARTS] for s in states]).T
        if len(states) == 1:
            table = np.repeat(table, more.frames, axis=1)
        motion[:, k, more.first[k] : more.last[k] + 1] = table[:, more.first[k] : more.last[k] + 1]
    others = tuple(Actor(more.names[k], more.kinds[k], *_size(nodes[k])) for k in range(count))
    problem = root.find("planningProblem")
    length, width = (float(part) for part in problem.xpath("comment()")[0].text.split())
    x, y, heading, v = (_number(problem.find("initialState"), tag) for tag in _PARTS)
    goal = (_number(problem, "goalState/position/rectangle/center/x"),
            _number(problem, "goalState/position/rectangle/center/y"))  # fmt: skip
    return Scenario(
        more.name, more.case, Seat(x, y, heading, v, Actor(more.seat[0], more.seat[1], length, width)), others,
        motion[0], motion[1], motion[2], motion[3], path, _number(problem, "goalState/velocity/intervalEnd"),
        int(((path - goal) ** 2).sum(axis=1).argmin()), more.peak, more.latency, more.region,
    )  # fmt: skip


_PARTS = ("position/point/x", "position/point/y", "orientation/exact", "velocity/exact")
