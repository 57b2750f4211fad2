"""CSV tracks: the plain form and NGSIM's own, their units, and what is refused."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest.bounds import Bounds, Reading, unzipped
from hotloop.verticals.driving.ingest.csv_tracks import FOOT_M, tracks
from hotloop.verticals.driving.tracks import Tracks

PLAIN = """id,type,length,width,step,x,y,heading,v,a
7,car,4.0,1.5,0.0,10.0,1.0,0.1,9.0,
7,car,4.0,1.5,0.1,10.9,1.1,0.1,9.1,0.5
3,truck,9.0,2.5,0.1,50.0,4.0,0.0,8.0,-1.0
"""


def read(text: str | bytes, **reading: object) -> Tracks:
    """The tracks of a CSV file."""
    return tracks(text if isinstance(text, bytes) else text.encode(), "a.csv", Reading(**reading))


def test_the_plain_form() -> None:
    """Each column as it stands; a is NaN where it is empty."""
    out = read(PLAIN)
    assert [(one.name, one.kind, one.length) for one in out.actors] == [("3", "truck", 9.0), ("7", "car", 4.0)]
    assert out.step_s == 0.1
    assert out.frame.tolist() == [1, 0, 1]
    assert out.x.tolist() == [50.0, 10.0, 10.9]
    assert out.v.tolist() == [8.0, 9.0, 9.1]
    assert np.isnan(out.a).tolist() == [False, True, False]


def test_columns_go_by_name_in_any_order() -> None:
    """Reversed, with spaces, capitals, quotes, a byte order mark, lines of Windows, and a column of no interest."""
    lines = [line.split(",")[::-1] for line in PLAIN.splitlines()]
    lines = [[*line, str(i)] for i, line in enumerate(lines)]
    lines[0] = ["A", "V", '"heading"', " Y", "x", "Step", "width", "length", "type", "ID", "lane"]
    text = b"\xef\xbb\xbf" + "\r\n".join(",".join(line) for line in lines).encode() + b"\r\n"
    one, other = read(text), read(PLAIN)
    assert one.actors == other.actors
    assert np.array_equal(one.x, other.x)
    assert np.array_equal(one.a, other.a, equal_nan=True)


def test_what_is_left_out_is_derived_or_usual() -> None:
    """Only who, where and when: heading and v by the places, sizes of a car and of a pedestrian."""
    out = read("id,type,time_s,x,y\n1,,0,0,0\n1,,0.5,0,5\n2,pedestrian,0,9,9\n2,pedestrian,0.5,9,9\n")
    assert np.allclose(out.heading[:2], math.pi / 2)
    assert np.allclose(out.v, [10, 10, 0, 0])
    assert np.isnan(out.a).all()
    assert [(one.kind, one.length) for one in out.actors] == [("unknown", 4.5), ("pedestrian", 0.6)]
    assert out.step_s == 0.5


def test_frames_without_times_take_the_step_of_the_reading() -> None:
    """From the first frame on; a broken number is no frame."""
    out = read("id,frame,x,y\n1,100,0,0\n1,101,1,0\n", step_s=0.04)
    assert (out.step_s, out.frame.tolist()) == (0.04, [0, 1])
    assert np.allclose(out.v, 25)
    with pytest.raises(InputError, match="no whole number"):
        read("id,frame,x,y\n1,0.5,0,0\n1,1,1,0\n")


def test_feet_become_metres() -> None:
    """Places, sizes, speeds and accelerations; not angles and times."""
    out, plain = read(PLAIN, units="ft"), read(PLAIN)
    for name in ("x", "y", "v", "a"):
        assert np.allclose(getattr(out, name), getattr(plain, name) * FOOT_M, equal_nan=True)
    assert np.array_equal(out.heading, plain.heading)
    assert out.actors[0].length == pytest.approx(9.0 * FOOT_M)


NGSIM = "Vehicle_ID,Frame_ID,Total_Frames,Global_Time,Local_X,Local_Y,v_Length,v_Width,v_Class,v_Vel,v_Acc,Lane_ID\n"


def test_ngsims_own_form() -> None:
    """Feet, x along the road, y to the left, places half a length behind the front; classes of vehicles."""
    rows = "".join(f"5,{10 + i},9,1118846980200,{16.4},{100 + 5 * i},15,6,2,50,0.5,2\n" for i in range(4))
    out = read(NGSIM + rows + "6,12,9,1118846980200,20,300,40,8,3,0,0,2\n")
    assert [(one.name, one.kind) for one in out.actors] == [("5", "car"), ("6", "truck")]
    assert out.actors[0].length == pytest.approx(15 * FOOT_M)
    assert out.x[:4] == pytest.approx([(100 + 5 * i - 7.5) * FOOT_M for i in range(4)])
    assert out.y[:4] == pytest.approx([-16.4 * FOOT_M] * 4)
    assert out.heading[:4] == pytest.approx([0.0] * 4)
    assert out.v[:4] == pytest.approx([50 * FOOT_M] * 4)
    assert out.a[0] == pytest.approx(0.5 * FOOT_M)
    assert (out.step_s, out.frame[:4].tolist()) == (0.1, [0, 1, 2, 3])


def test_ngsim_to_the_right_is_to_the_right() -> None:
    """Who goes to greater Local_X turns clockwise; its place is behind its front along that heading."""
    rows = "".join(f"1,{i},9,0,{10 * i},{10 * i},20,6,2,14,0,2\n" for i in range(5))
    out = read(NGSIM + rows, units="m")
    assert np.allclose(out.heading, -math.pi / 4)
    assert np.allclose(out.x, 10 * np.arange(5) - 10 * math.cos(math.pi / 4))
    assert np.allclose(out.y, -10 * np.arange(5) + 10 * math.sin(math.pi / 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("id,x,y,step", "no rows"),
        ("id,x,y,step\n", "0 rows|Empty"),
        ("id,x,step\n1,2,3\n", "are needed"),
        ("id,x,y\n1,2,3\n", "are needed"),
        ("id,x,y,step,X\n1,2,3,0,2\n", "twice"),
        ("id,x,y,step\n1,2,soon,0\n", "soon"),
        ("id,x,y,step\n1,2\n", "Expected 4 columns"),
        ("id,x,y,step\n1,2,3,0\n1,2,3,0\n", "one moment"),
        ("id,x,y,step\n1,2,3,0\n1,2,3,0\n1,2,3,0.1\n", "twice or out of order"),
        ("id,x,y,step\n1,2,,0\n1,2,3,0.1\n", "y of actor"),
        ("id,x,y,step\n1,2,3,\n1,2,3,0.1\n1,2,3,0.2\n", "time nan"),
        ("id,x,y,step\n1,2,3,0\n1,2,3,0.1\n1,2,3,0.2\n1,2,3,0.35\n", "time 0.35"),
        ("id,x,y,frame\n1,2,3,0\n1,2,3,99999999999\n", "frame"),
        ("id,length,x,y,frame\n1,-4,2,3,0\n", "-4"),
        (b"\xff\xfe\x00,\n1\n", "no text"),
        (b"id,x,y,step\n\xff,2,3,0\n", "no CSV"),
    ],
)  # fmt: skip
def test_what_is_no_csv_of_tracks_is_refused(text: str | bytes, words: str) -> None:
    """By name, with what is wrong."""
    with pytest.raises(InputError, match=words) as error:
        read(text)
    assert "a.csv" in str(error.value)


def test_rows_are_bounded() -> None:
    """More than are allowed are not kept."""
    with pytest.raises(InputError, match="3 rows"):
        read(PLAIN, bounds=Bounds(rows_max=2))


def test_damaged_files_never_do_worse_than_an_input_error() -> None:
    """1,000 files with bytes changed, cut out or put in: tracks that hold, or InputError."""
    rng = random.Random(5)
    refused = 0
    for _ in range(1000):
        data = bytearray(PLAIN.encode())
        for _ in range(rng.choice([1, 2, 4])):
            at = rng.randrange(len(data))
            data[at : at + rng.choice([0, 1, 4])] = rng.choice([b"", b",", b"\n", b'"', b"9", b"e99", rng.randbytes(2)])
        try:
            read(bytes(data)).check()
        except InputError:
            refused += 1
    assert 100 < refused < 1000


def test_the_real_snippets_of_us_101(data_dir: Path) -> None:
    """33 files of 69,741 rows: every row's place, speed and acceleration as a second reading (NumPy's) has them."""
    paths = sorted((data_dir / "driving/ngsim-us101").glob("*.csv.gz"))
    total = 0
    for path in paths:
        text = unzipped(path.read_bytes(), path.name, 10**8)
        out = read(text)
        want = np.genfromtxt(text.decode().splitlines()[1:], delimiter=",")
        names = [line.split(b",")[0].decode() for line in text.splitlines()[1:]]
        keys = zip(out.actor.tolist(), out.frame.tolist(), strict=True)
        row = {(out.actors[i].name, f): n for n, (i, f) in enumerate(keys)}
        at = [row[name, round(t / 0.1)] for name, t in zip(names, want[:, 4], strict=True)]
        assert len(set(at)) == len(out) == len(want)
        for column, name in ((5, "x"), (6, "y"), (7, "heading"), (8, "v"), (9, "a")):
            assert np.allclose(getattr(out, name)[at], want[:, column], atol=1e-9, equal_nan=True)
        total += len(out)
    assert (len(paths), total) == (33, 69_741)
