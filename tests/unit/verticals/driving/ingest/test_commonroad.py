"""CommonRoad files: both versions, all shapes, broken and hostile ones; every real file against a second reading."""

from __future__ import annotations

import math
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import commonroad
from hotloop.verticals.driving.ingest.bounds import Bounds
from hotloop.verticals.driving.tracks import Tracks

RECTANGLE = "<rectangle><length>4.5</length><width>1.8</width></rectangle>"


def state(step: int, x: float = 0.0, y: float = 0.0, tag: str = "state", more: str = "") -> str:
    """A state with a heading of 0 and 10 m/s."""
    return (
        f"<{tag}><position><point><x>{x}</x><y>{y}</y></point></position><orientation><exact>0.0</exact></orientation>"
        f"<time><exact>{step}</exact></time><velocity><exact>10.0</exact></velocity>{more}</{tag}>"
    )


def obstacle(
    shape: str = RECTANGLE, states: str = "", kind: str = "car", tag: str = "dynamicObstacle", name: int = 7
) -> str:
    """An obstacle of two states, or of those given."""
    states = states or state(0, tag="initialState") + f"<trajectory>{state(1, 1.0)}</trajectory>"
    return f'<{tag} id="{name}"><type>{kind}</type><shape>{shape}</shape>{states}</{tag}>'


def road(*obstacles: str, version: str = "2020a", step: str = "0.1", before: str = "") -> bytes:
    """A file."""
    return (
        f'<?xml version="1.0"?>{before}<commonRoad timeStepSize="{step}" commonRoadVersion="{version}">'
        f"{''.join(obstacles)}</commonRoad>"
    ).encode()


def read(data: bytes, **bounds: int) -> Tracks:
    """The tracks of a file."""
    return commonroad.tracks(data, "a.xml", Bounds(**bounds))


def test_a_car_of_2020a() -> None:
    """Its name, size, places, speeds; a is NaN, and kept where it is said."""
    braking = state(1, 1.0, more="<acceleration><exact>-2</exact></acceleration>")
    out = read(road(obstacle(states=state(0, tag="initialState") + f"<trajectory>{braking}</trajectory>")))
    (car,) = out.actors
    assert (car.name, car.kind, car.length, car.width) == ("7", "car", 4.5, 1.8)
    assert (out.x.tolist(), out.v.tolist(), out.frame.tolist(), out.step_s) == ([0, 1], [10, 10], [0, 1], 0.1)
    assert np.isnan(out.a[0])
    assert out.a[1] == -2


def test_2018b_says_role_in_an_element() -> None:
    """A static and a dynamic <obstacle>."""
    one = obstacle(tag="obstacle").replace("<type>", "<role>dynamic</role><type>")
    other = obstacle(states=state(0, 9, 9, "initialState"), tag="obstacle", name=8)
    other = other.replace("<type>", "<role>static</role><type>")
    out = read(road(one, other, version="2018b"))
    assert [one.kind for one in out.actors] == ["car", "static"]
    assert out.v[out.rows_of(1)].tolist() == [0, 0]


def test_what_stands_is_in_every_frame_of_those_that_move() -> None:
    """From the first to the last, standing; alone, in one frame."""
    states = state(3, tag="initialState") + f"<trajectory>{state(5)}</trajectory>"
    still = obstacle(states=state(0, 9, 8, "initialState"), tag="staticObstacle", kind="parkedVehicle", name=1)
    out = read(road(obstacle(states=states), still))
    assert out.frame[out.rows_of(1)].tolist() == [3, 4, 5]
    assert set(out.x[out.rows_of(1)]) == {9.0}
    assert len(read(road(still))) == 1


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("taxi", "car"), ("truck", "truck"), ("pedestrian", "pedestrian"), ("ufo", "unknown"), ("", "unknown")],
)
def test_kinds(kind: str, ours: str) -> None:
    """CommonRoad's types in our words."""
    assert read(road(obstacle(kind=kind))).actors[0].kind == ours


CORNERS = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in [(-1, 0), (3, 0), (3, 1), (-1, 1)])
POLYGON = f"<polygon>{CORNERS}</polygon>"


@pytest.mark.parametrize(
    ("shape", "length", "width", "x", "y"),
    [
        ("<circle><radius>0.3</radius></circle>", 0.6, 0.6, 0, 0),
        (POLYGON, 4, 1, 1, 0.5),
        ("<rectangle><length>4</length><width>2</width><center><x>1</x><y>0</y></center></rectangle>", 4, 2, 1, 0),
        ("<circle><radius>1</radius></circle>" + POLYGON, 4, 2, 1, 0),
    ],
)
def test_shapes(shape: str, length: float, width: float, x: float, y: float) -> None:
    """The box around the shape, and its middle."""
    out = read(road(obstacle(shape=shape)))
    assert (out.actors[0].length, out.actors[0].width) == pytest.approx((length, width))
    assert (out.x[0], out.y[0]) == pytest.approx((x, y))


def test_a_turned_rectangle_turns_its_obstacle() -> None:
    """Its own orientation is added to the state's."""
    shape = "<rectangle><length>4</length><width>2</width><orientation>1.5</orientation></rectangle>"
    out = read(road(obstacle(shape=shape)))
    assert out.heading[0] == 1.5
    assert (out.actors[0].length, out.actors[0].width) == (4, 2)


def test_intervals_give_their_middle() -> None:
    """Of time (rounded down), orientation and speed."""
    text = state(0, tag="initialState").replace("<velocity><exact>10.0</exact>",
        "<velocity><intervalStart>4</intervalStart><intervalEnd>8</intervalEnd>").replace("<time><exact>0</exact>",
        "<time><intervalStart>2</intervalStart><intervalEnd>5</intervalEnd>")  # fmt: skip
    out = read(road(obstacle(states=text)))
    assert (out.frame[0], out.v[0]) == (3, 6)


def test_areas_give_their_centroid_and_the_motion_between_them() -> None:
    """An occupancy set of squares, one metre apart each step."""

    def square(step: int) -> str:
        corners = [(step - 0.5, -0.5), (step + 0.5, -0.5), (step + 0.5, 0.5), (step - 0.5, 0.5)]
        points = "".join(f"<point><x>{1000 + x}</x><y>{y}</y></point>" for x, y in corners)
        return f"<occupancy><shape><polygon>{points}</polygon></shape><time><exact>{step}</exact></time></occupancy>"

    states = state(0, 1000, tag="initialState") + f"<occupancySet>{square(1)}{square(2)}{square(3)}</occupancySet>"
    out = read(road(obstacle(states=states)))
    assert np.allclose(out.x, [1000, 1001, 1002, 1003])
    assert np.allclose(out.y, 0)
    assert np.allclose(out.v[1:], 10)


def test_a_trajectory_may_begin_with_the_initial_state_once_more() -> None:
    """It counts once; any other frame that comes twice is refused."""
    first = state(0, tag="initialState")
    assert len(read(road(obstacle(states=first + f"<trajectory>{state(0)}{state(1)}</trajectory>")))) == 2
    with pytest.raises(InputError, match="frame 1 twice"):
        read(road(obstacle(states=first + f"<trajectory>{state(1)}{state(1)}</trajectory>")))


def test_what_is_no_obstacle_is_passed_over() -> None:
    """Lanelets, signs, environment, phantoms, planning problems."""
    others = "<lanelet id='1'/><environmentObstacle id='2'/><phantomObstacle id='3'/><planningProblem id='4'/>"
    assert len(read(road(others, obstacle())).actors) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<commonRoad", "broken XML"),
        (b"", "broken XML"),
        (b"<html/>", "root <html>"),
        (road(obstacle(), version="2017a"), "2017a"),
        (road(obstacle(), step="soon"), "timeStepSize"),
        (road(obstacle(), step="nan"), "step of nan"),
        (road(), "no obstacles"),
        (road(obstacle(shape="")), r"obstacle 7.*no shape"),
        (road(obstacle(shape="<blob/>")), "blob"),
        (road(obstacle(shape="<circle><radius>x</radius></circle>")), "obstacle 7"),
        (road(obstacle(shape="<polygon/>")), "0 corners"),
        (road(obstacle(states="<trajectory/>")), "nowhere"),
        (road(obstacle(states="<initialState/>")), "no position"),
        (road(obstacle().replace("<exact>1</exact>", "")), "no time"),
        (road(obstacle().replace("<x>1.0</x>", "<x>inf</x>")), "no finite number"),
        (road(obstacle().replace("<x>1.0</x>", "<x>1e300</x>")), "finite numbers within"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_by_name_and_reason(data: bytes, words: str) -> None:
    """Each says the file and what is wrong."""
    with pytest.raises(InputError, match=words) as error:
        read(data)
    assert "a.xml" in str(error.value)


def test_entities_are_not_followed(tmp_path: Path) -> None:
    """A billion laughs, a file of this machine, a document type from the net: refused, quickly."""
    tens = (f'<!ENTITY {c} "{("&" + p + ";") * 10}">' for p, c in zip("abcdefghi", "bcdefghij", strict=True))
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(tens) + "]>"
    secret = tmp_path / "secret"
    secret.write_text("4.5")
    for before, inside in (
        (laughs, "&j;"),
        (f'<!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]>', "&s;"),
        ('<!DOCTYPE commonRoad SYSTEM "http://127.0.0.1:9/x.dtd">', "car"),
    ):
        with pytest.raises(InputError, match=r"document type|broken XML"):
            read(road(obstacle(kind=inside), before=before))


def test_too_much_is_refused() -> None:
    """Bytes, depth, rows; also rows that a standing obstacle would take over a long time."""
    with pytest.raises(InputError, match="bytes of XML"):
        read(road(obstacle()), xml_bytes_max=100)
    with pytest.raises(InputError, match="broken XML"):
        read(b"<commonRoad>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</commonRoad>")
    with pytest.raises(InputError, match="more than 1 places"):
        read(road(obstacle()), rows_max=1)
    long = obstacle(states=state(0, tag="initialState") + f"<trajectory>{state(2_000_000_000)}</trajectory>")
    still = obstacle(states=state(0, 9, 8, "initialState"), tag="staticObstacle", name=1)
    with pytest.raises(InputError, match="places"):
        read(road(long, still))


def test_damaged_files_never_do_worse_than_an_input_error() -> None:
    """1,000 files with bytes changed or cut out: tracks that hold, or InputError."""
    rng = random.Random(3)
    still = obstacle(states=state(0, 9, 8, "initialState"), tag="staticObstacle", name=9)
    whole = road(obstacle(), obstacle(shape=POLYGON, name=8), still)
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            at = rng.randrange(60, len(data))
            data[at : at + rng.choice([0, 1, 1, 20])] = rng.choice([b"", b"9", b"-", b"<", b"e9", rng.randbytes(2)])
        try:
            read(bytes(data)).check()
        except InputError:
            refused += 1
    assert 100 < refused < 1000


def test_every_real_file_gives_the_places_that_it_says(data_dir: Path) -> None:
    """22 files: each state with a point, as a second reading (Python's own XML, no shapes) has it, is a row."""
    paths = sorted((data_dir / "driving/commonroad").glob("*.xml"))
    assert len(paths) == 22
    states = 0
    for path in paths:
        out = commonroad.tracks(path.read_bytes(), path.name, Bounds())
        keys = zip(out.actor.tolist(), out.frame.tolist(), strict=True)
        rows = {(out.actors[i].name, f): n for n, (i, f) in enumerate(keys)}
        root = ET.parse(path).getroot()
        for found in [*root.findall("obstacle"), *root.findall("dynamicObstacle")]:
            if (found.findtext("role") or "dynamic").strip() == "dynamic":
                for one in [found.find("initialState"), *found.findall("trajectory/state")]:
                    if one.find("position/point") is not None and one.find("time/exact") is not None:
                        row = rows[found.get("id"), int(one.findtext("time/exact"))]
                        assert out.x[row] == pytest.approx(float(one.findtext("position/point/x")), abs=1e-6)
                        assert out.y[row] == pytest.approx(float(one.findtext("position/point/y")), abs=1e-6)
                        assert out.v[row] == pytest.approx(float(one.findtext("velocity/exact") or math.nan), abs=1e-6)
                        states += 1
    assert states > 7000
