"""Scenes as CommonRoad XML."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.scenario import from_moment
from hotloop.verticals.driving.scenario_xml import from_xml, to_xml
from hotloop.verticals.driving.tracks import as_grid


def full():
    """A car, a pedestrian who comes later and goes earlier, a thing that stands."""
    scene = scenes.with_one(scenes.road(), (30.0, 0.0), (8.0, 0.0))
    scene = scenes.with_one(scene, (40.0, -5.0), (0.0, 1.4), "pedestrian", (0.5, 0.6), (12, 50))
    return replace(scenes.with_one(scene, (80.0, 4.0), (0.0, 0.0), "static", (2.0, 1.0)), latency=2, region="eu")


def same(a, b):
    assert (a.name, a.case, a.seat, a.others, a.desired, a.goal, a.peak, a.latency, a.region) == (
        b.name, b.case, b.seat, b.others, b.desired, b.goal, b.peak, b.latency, b.region
    )  # fmt: skip
    for one, other in ((a.x, b.x), (a.y, b.y), (a.heading, b.heading), (a.v, b.v), (a.path, b.path)):
        assert np.array_equal(one, other, equal_nan=True)


def test_a_scene_is_read_back_as_it_was():
    """Every field, and the same bytes again."""
    scene = full()
    back = from_xml(to_xml(scene))
    same(scene, back)
    assert to_xml(back) == to_xml(scene)
    assert back.digest == scene.digest


def test_a_scene_of_a_log_is_read_back_as_it_was():
    """With its bends, rounded to millimetres."""
    scene = from_moment(scenes.tracks(), 0, 60)
    same(scene, from_xml(to_xml(scene)))


@settings(max_examples=15, deadline=None)
@given(st.floats(-0.05, 0.05), st.floats(0.5, 30.0), st.text(max_size=12).filter(lambda t: t.isprintable()))
def test_any_bend_speed_and_name_is_read_back(bend, speed, name):
    """The path is the middle of the corridor to the millimetre."""
    scene = scenes.road(2.0, round(speed, 3))
    turn = np.cumsum(np.full(len(scene.path), bend))
    path = np.round(np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0), 3) + 0.0
    scene = replace(scene, path=path, name=name)
    same(scene, from_xml(to_xml(scene)))


def test_who_comes_later_is_led_there_from_time_0():
    """As the schema wants it: straight to where it was first seen, at its speed."""
    root = etree.fromstring(to_xml(full()))
    walker = root.xpath("//dynamicObstacle[type='pedestrian']")[0]
    assert walker.findtext("initialState/time/exact") == "0"
    assert float(walker.findtext("initialState/position/point/y")) == pytest.approx(-5.0, abs=0.01)
    assert len(walker.findall("trajectory/state")) == 50


def test_what_stands_is_a_static_obstacle_and_comes_first():
    """The schema's order, and its types."""
    root = etree.fromstring(to_xml(full()))
    tags = [node.tag for node in root if isinstance(node.tag, str)]
    assert tags[:3] == ["location", "scenarioTags", "lanelet"]
    assert tags[3:] == ["staticObstacle", "dynamicObstacle", "dynamicObstacle", "planningProblem"]
    assert root.findtext("staticObstacle/type") == "unknown"


@pytest.mark.parametrize("data", [b"", b"<a/>", b"<commonRoad source='{}'/>", b"not xml", b"\xff\xfe"])
def test_what_is_no_scene_is_refused(data):
    """With an error of ours."""
    with pytest.raises(InputError, match="no scenario"):
        from_xml(data)


def test_a_scene_with_parts_missing_is_refused():
    """Each part taken out on its own."""
    for part in ("lanelet", "planningProblem", "dynamicObstacle"):
        root = etree.fromstring(to_xml(full()))
        root.remove(root.find(part))
        with pytest.raises(InputError, match="not whole"):
            from_xml(etree.tostring(root))


def test_entities_are_not_followed(tmp_path: Path):
    """A file beside it is not read into a scene."""
    secret = tmp_path / "secret"
    secret.write_text("17")
    data = to_xml(full()).decode().replace("<commonRoad", f'<!DOCTYPE c [<!ENTITY s SYSTEM "{secret}">]><commonRoad', 1)
    data = data.replace("<x>30.000</x>", "<x>&s;</x>", 1)
    with pytest.raises(InputError):
        from_xml(data.encode())


def test_the_bytes_are_valid_by_the_published_schema():
    """CommonRoad's XSD, where the package commonroad-io that holds it is installed."""
    found = importlib.util.find_spec("commonroad")
    if found is None or not found.submodule_search_locations:
        pytest.skip("commonroad-io, which holds the schema, is not installed")
    folder = Path(next(iter(found.submodule_search_locations)))
    schema = etree.XMLSchema(etree.parse(next(folder.rglob("XML_commonRoad_XSD.xsd"))))
    for scene in (full(), scenes.road(), from_moment(scenes.tracks(), 0, 60)):
        schema.assertValid(etree.fromstring(to_xml(scene)))


def test_the_bytes_do_not_depend_on_when_or_where_they_are_written():
    """No date of today, no machine, no order of a set: the digest of a known scene is known."""
    scene = scenes.wall(scenes.road(1.0), 30.0)
    assert to_xml(scene) == to_xml(scenes.wall(scenes.road(1.0), 30.0))
    root = etree.fromstring(to_xml(scene))
    assert root.get("date") == "1970-01-01"
    assert root.get("commonRoadVersion") == "2020a"
    assert root.get("timeStepSize") == "0.1"


def test_numbers_are_decimals_of_the_schema():
    """No exponent, no "-0", whatever is tiny or huge."""
    scene = scenes.with_one(scenes.road(1.0), (1e6, -1e-5), (1e-5, 0.0))
    text = to_xml(scene).decode()
    body = text[text.index("<location") :]
    assert ">-0.000<" not in body
    assert "e-" not in body.replace("laneletType", "")
    same(scene, from_xml(to_xml(scene)))


def test_the_corridor_is_as_wide_as_a_lane_everywhere():
    """3.5 m from bound to bound."""
    root = etree.fromstring(to_xml(from_moment(scenes.tracks(), 0, 60)))
    left, right = (
        np.array([(float(p.findtext("x")), float(p.findtext("y"))) for p in root.findall(f"lanelet/{tag}/point")])
        for tag in ("leftBound", "rightBound")
    )
    assert np.hypot(*(left - right).T) == pytest.approx(np.full(len(left), 3.5), abs=1e-5)
    assert (left[:, 1] > right[:, 1]).all()


def test_the_planning_problem_is_the_seat_and_the_goal():
    """As CommonRoad has it: where, how fast, until when, how far."""
    scene = full()
    problem = etree.fromstring(to_xml(scene)).find("planningProblem")
    assert float(problem.findtext("initialState/velocity/exact")) == scene.seat.v
    assert int(problem.findtext("goalState/time/intervalEnd")) == scene.frames - 1
    assert float(problem.findtext("goalState/position/rectangle/center/x")) == scene.path[scene.goal, 0]
    assert float(problem.findtext("goalState/velocity/intervalEnd")) == scene.desired


def test_too_many_bytes_are_not_parsed(monkeypatch):
    """They are refused before."""
    monkeypatch.setattr("hotloop.verticals.driving.scenario_xml.BYTES_MAX", 100)
    with pytest.raises(InputError, match="at most 100"):
        from_xml(to_xml(full()))


def test_the_reader_of_recorded_drives_sees_the_same_scene(tmp_path):
    """What is written is CommonRoad to another reader: all others in all of their frames, to the millimetre."""
    scene = full()
    path = tmp_path / "scene.xml"
    path.write_bytes(to_xml(scene))
    told = read(path)
    grid = as_grid(told)
    assert told.step_s == pytest.approx(0.1)
    assert len(scene.others) == 3
    for k, actor in enumerate(scene.others):
        there = np.flatnonzero(~np.isnan(scene.x[k]))
        away = np.hypot(grid.x[:, there] - scene.x[k, there], grid.y[:, there] - scene.y[k, there])
        off = np.where(np.isnan(away), np.inf, away).max(axis=1)
        assert off.min() < 0.002
        size = told.actors[int(off.argmin())]
        assert (size.length, size.width) == pytest.approx((actor.length, actor.width))


@pytest.mark.parametrize("part", ["case", "region", "latency", "peak", "goal", "desired"])
def test_whatever_is_changed_changes_the_bytes_and_comes_back(part):
    """Nothing that a scene holds is left out of its file, so that its digest is of all of it."""
    scene = full()
    other = {"case": "jerk", "region": "us", "latency": 7, "peak": 3, "goal": scene.goal + 5, "desired": 31.5}[part]
    changed = replace(scene, **{part: other})
    assert changed.digest != scene.digest
    assert getattr(from_xml(to_xml(changed)), part) == other
