"""comma2k19 segments: ego from pose or from CAN, radar tracks, take-overs, and arrays that cannot harm."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import comma2k19
from hotloop.verticals.driving.ingest.bounds import Bounds
from hotloop.verticals.driving.tracks import Tracks

CAN, POSE = "processed_log/CAN", "global_pose"


def npy(values: object, order: str = "C") -> bytes:
    """An array's file."""
    out = io.BytesIO()
    np.save(out, np.asarray(values, order=order), allow_pickle=False)
    return out.getvalue()


def drive(seconds: float = 10.0, v: float = 10.0, **more: object) -> dict[str, bytes]:
    """A car at a steady speed, by CAN; other files by name."""
    t = 500.0 + np.arange(0, seconds + 1e-9, 0.01)
    return {f"{CAN}/speed/t": npy(t), f"{CAN}/speed/value": npy(np.full((len(t), 1), v)), **more}


def radar(rows: list[tuple[float, ...]]) -> dict[str, bytes]:
    """Radar files of rows (t, ahead, left, relative speed, address, new)."""
    table = np.array(rows)
    gone = np.full(len(table), np.nan)
    value = np.column_stack([table[:, 1:4], gone, gone, table[:, 4:]])
    return {f"{CAN}/radar/t": npy(table[:, 0]), f"{CAN}/radar/value": npy(value)}


def read(files: dict[str, bytes]) -> Tracks:
    """The tracks of a segment."""
    return comma2k19.tracks(files, "route/7", Bounds())


def test_by_can_alone_the_ego_goes_straight_on() -> None:
    """10 s at 10 m/s: 101 frames at 10 Hz along x."""
    out = read(drive())
    assert (out.actors, len(out), out.step_s) == ((comma2k19.EGO,), 101, 0.1)
    assert np.allclose(out.x, np.arange(101))
    assert not out.y.any()


def test_the_gyro_turns_it() -> None:
    """A yaw rate to the left (down axis negative) makes a circle of v / rate; in Fortran's order, as in the data."""
    t = 500.0 + np.arange(0, 10, 0.01)
    gyro = np.column_stack([np.zeros((len(t), 2)), np.full(len(t), -0.2)])
    out = read(drive(**{"processed_log/IMU/gyro/t": npy(t), "processed_log/IMU/gyro/value": npy(gyro, "F")}))
    assert np.allclose(out.heading, 0.2 * np.arange(101) * 0.1)
    assert np.allclose(np.hypot(out.x, out.y - 50.0), 50.0, atol=0.01)


def test_a_pose_on_the_earth_becomes_a_plane_east_and_north() -> None:
    """A drive due east on the equator, looking east: x grows, heading 0, the middle behind the camera."""
    t = np.arange(0, 5, 0.05)
    lon = 10.0 * t / 6378137.0
    ecef = 6378137.0 * np.column_stack([np.cos(lon), np.sin(lon), 0 * lon])
    # forward = y of the Earth, right = -z, down = -x: the rotation with these columns, as a quaternion
    turn = np.tile([0.5, -0.5, -0.5, 0.5], (len(t), 1))
    w, x, y, z = turn[0]
    forward = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
    assert np.allclose(forward, [0, 1, 0])
    arrays = {"times": t, "positions": ecef, "orientations": turn}
    out = read({f"{POSE}/frame_{name}": npy(values) for name, values in arrays.items()})
    assert np.allclose(out.x, np.arange(len(out)) - comma2k19.CAMERA_AHEAD_M, atol=1e-3)
    assert np.allclose(out.y, 0, atol=1e-3)
    assert np.allclose(out.heading, 0, atol=1e-5)
    assert np.allclose(out.v, 10, atol=1e-3)


def test_radar_tracks_become_actors() -> None:
    """A car ahead at the same speed, 30 m of gap and 2 m to the left; one that comes towards us; a sign."""
    rows = []
    for t in 500.0 + np.arange(0, 5, 0.05):
        since = t - 500.0
        rows += [(t, 30.0, 2.0, 0.0, 528, 0), (t, 150 - 25 * since, 6.0, -25.0, 529, 0)]
        rows += [(t, 90 - 10 * since, -5.0, -10.0, 530, 0)]
    out = read(drive(**radar(rows)))
    assert [one.kind for one in out.actors] == ["car", "unknown", "unknown", "static"]
    ahead, towards, sign = (out.rows_of(i) for i in (1, 2, 3))
    assert np.allclose(out.x[ahead] - out.x[:50][: len(out.x[ahead])], 30 + 4.6 / 2 + 4.5 / 2, atol=1e-6)
    assert np.allclose((out.y[ahead], out.v[ahead], out.heading[ahead]), np.array([[2.0], [10.0], [0.0]]))
    assert np.allclose(out.v[towards], 15)
    assert np.allclose(out.heading[towards], math.pi)
    assert np.allclose(out.x[sign], 90 + 4.6 / 2 + 0.25, atol=1e-6)
    assert not out.v[sign].any()


def test_new_tracks_begin_where_the_radar_says_pauses_or_jumps() -> None:
    """One address, four things; what is seen for less than half a second is dropped."""
    rows = [(500 + 0.05 * i, 30.0, 0.0, 0.0, 528, 0) for i in range(20)]
    rows += [(501 + 0.05 * i, 30.5, 0.0, 0.0, 528, i == 0) for i in range(20)]
    rows += [(502 + 0.05 * i, 60.0, 0.0, 0.0, 528, 0) for i in range(20)]
    rows += [(504 + 0.05 * i, 60.0, 0.0, 0.0, 528, 0) for i in range(20)]
    rows += [(506 + 0.05 * i, 60.0, 0.0, 0.0, 528, 0) for i in range(5)]
    out = read(drive(**radar(rows)))
    assert [one.name for one in out.actors[1:]] == ["radar 1", "radar 2", "radar 3", "radar 4"]


def test_one_car_at_two_addresses_is_kept_once() -> None:
    """The longer track stays; a car beside it is another one."""
    rows = []
    for i in range(40):
        rows += [(500 + 0.05 * i, 30.0, 0.0, 0.0, 528, 0), (500 + 0.05 * i, 30.0, 3.5, 0.0, 530, 0)]
        rows += [(500 + 0.05 * i, 30.4, 0.3, 0.1, 529, 0)] * (i < 30)
    out = read(drive(**radar(rows)))
    assert len(out.actors) == 3
    assert len(out.rows_of(1).indices(999)) == 3
    assert sorted(set(np.round(out.y[out.actor > 0], 3))) == [0.0, 3.5]


@pytest.mark.parametrize(("cruise", "brake"), [((0x1D2, 0, 5), (0x224, 0, 5)), ((0x17C, 4, 6), (0x17C, 6, 5))])
@pytest.mark.parametrize(("braked", "what"), [(None, "disengagement"), (503.2, "take-over"), (504.0, "disengagement")])
def test_cruise_control_going_off_is_told(cruise: tuple, brake: tuple, braked: float | None, what: str) -> None:
    """Off at 3 s; the driver braked near it, long after, or not at all. Other buses are not the car's."""
    rows = []
    for i in range(100):
        t = 500 + 0.1 * i
        on, pressed = i < 30, braked is not None and abs(t - braked) < 0.06
        octets = {cruise[0]: bytearray(8)}
        octets.setdefault(brake[0], bytearray(8))
        octets[cruise[0]][cruise[1]] |= on << cruise[2]
        octets[brake[0]][brake[1]] |= pressed << brake[2]
        rows += [(t, address, 0, bytes(data)) for address, data in octets.items()]
        rows += [(t, cruise[0], 128, b"\xff" * 8)]
    files = {
        f"{CAN}/raw_can/{name}": npy(np.array([row[i] for row in rows], kind))
        for i, (name, kind) in enumerate([("t", float), ("address", np.int64), ("src", np.int64), ("data", "S8")])
    }
    (moment,) = read(drive(**files)).moments
    assert (moment.frame, moment.what) == (30, what)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (f"{CAN}/speed/value", b"", "no NumPy array"),
        (f"{CAN}/speed/value", b"\x93NUMPY" + b"\xff" * 40, "header"),
        (f"{CAN}/speed/value", npy(np.zeros(10))[:-1], "which are not there"),
        (f"{CAN}/speed/value", npy(np.zeros(10)), "shape"),
        (f"{CAN}/speed/value", npy(np.full(1001, np.nan)), "no finite number"),
        (f"{CAN}/speed/value", npy(np.full(1001, 1e9)), "x of actor .ego."),
        (f"{CAN}/speed/value", npy(np.zeros(1001, "S3")), "no finite number"),
        (f"{CAN}/speed/t", npy(np.arange(1001)), "no time"),
        (f"{CAN}/speed/t", npy(np.full(1001, np.inf)), "no time"),
        (f"{CAN}/speed/t", npy(np.linspace(0, 1e9, 1001)), "lasts"),
        (f"{CAN}/speed/t", npy(np.zeros(1001)), "lasts"),
        (f"{CAN}/radar/value", npy(np.zeros((4, 2))), "shape|neither"),
    ],
)
def test_broken_arrays_are_refused_by_their_file(name: str, data: bytes, words: str) -> None:
    """With the segment's name and what is wrong."""
    more = {f"{CAN}/radar/t": npy(np.arange(4.0))} if "radar" in name else {}
    with pytest.raises(InputError, match=words) as error:
        read({**drive(), **more, name: data})
    assert "route/7" in str(error.value)


def test_an_array_that_says_more_than_it_has_is_not_allocated() -> None:
    """A header of 2**60 numbers, one with a negative size, one of objects (pickle)."""
    good = npy(np.zeros(1001))
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], object), allow_pickle=True)
    assert pickle.loads(out.getvalue()[128:]) is not None
    huge = good.replace(b"(1001,), ", b"(1<<60,),").replace(b"1<<60", b"9" * 5)
    for data in (huge, good.replace(b"(1001,)", b"(-1,)  "), out.getvalue(), good.replace(b"{'descr'", b"[[[[[[[[")):
        with pytest.raises(InputError):
            read({**drive(), f"{CAN}/speed/value": data})


def test_without_pose_and_speed_there_is_no_ego() -> None:
    """It is said what is missing."""
    with pytest.raises(InputError, match="neither global_pose nor CAN/speed"):
        read({})


def test_the_real_minute(data_dir: Path) -> None:
    """600 frames; the way that pose tells and the speed that CAN tells agree; no two actors in one place."""
    path = data_dir / "driving/comma2k19-example/segment-40"
    assert comma2k19.is_segment(path)
    out = read(comma2k19.segment_bytes(path, Bounds()))
    ego = out.rows_of(0)
    assert len(out.x[ego]) == 600
    way = np.hypot(np.diff(out.x[ego]), np.diff(out.y[ego])) / 0.1
    assert np.median(np.abs(way - out.v[ego][1:])) < 0.3
    course = np.arctan2(np.diff(out.y[ego]), np.diff(out.x[ego]))
    assert np.median(np.abs(course - out.heading[ego][1:])) < 0.1
    assert len(out.actors) > 40
    for frame in range(0, 600, 20):
        at = np.column_stack([out.x, out.y])[out.frame == frame]
        apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) + 99 * np.eye(len(at))
        assert apart.min() > 1.2
    assert out.moments == ()  # cruise control goes on in this minute, and never off
