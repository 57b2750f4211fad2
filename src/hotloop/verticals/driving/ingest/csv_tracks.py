"""Tracks as CSV: one row an actor and moment, columns by the header's names, in any order; .csv or .csv.gz.

Two forms, told by the header:

    plain   id, type, length, width, step|time|time_s|t [s] or frame, x, y, heading [rad], v, a
            metres and seconds (feet with units="ft"); places are middles; only id, x, y and a time are needed. With
            `frame` and no time, the step is `step_s` of the reading. Without a size: 4.5 x 1.8 m, a pedestrian's
            0.6 x 0.6 m.
    NGSIM   Vehicle_ID, Frame_ID, Local_X, Local_Y, v_Length, v_Width, v_Class, v_Vel, v_Acc, as published by the US
            Department of Transportation: feet (metres with units="m"), 0.1 s a frame. Local_X grows to the right of
            the road and Local_Y along it, and they are of the middle of the front: x = Local_Y, y = -Local_X, and half
            the length back along the heading, which is derived (NGSIM has none).

heading and v are derived from the places where there are none (`rows`); a is NaN. Other columns are not read.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.ingest.bounds import Reading
from hotloop.verticals.driving.ingest.rows import Rows, derived, frames_of, step_of, tracks_of
from hotloop.verticals.driving.tracks import KINDS, Actor, Ints, Kind, Tracks

FOOT_M: Final = 0.3048
_TIMES: Final = ("time_s", "time", "t", "step")
_NGSIM: Final = {
    "vehicle_id": "id", "frame_id": "frame", "local_x": "right", "local_y": "x", "v_length": "length",
    "v_width": "width", "v_class": "type", "v_vel": "v", "v_acc": "a",
}  # fmt: skip
_PLAIN: Final = ("id", "type", "length", "width", *_TIMES, "frame", "x", "y", "heading", "v", "a")
_CLASSES: Final[dict[str, Kind]] = {"1": "motorcycle", "2": "car", "3": "truck"}  # of NGSIM
_SIZES: Final[dict[str, tuple[float, float]]] = {
    "pedestrian": (0.6, 0.6), "bicycle": (1.8, 0.6), "motorcycle": (2.2, 0.8), "truck": (10.0, 2.5), "bus": (12.0, 2.5),
}  # fmt: skip
_SIZE: Final = (4.5, 1.8)
_HEADER_MAX: Final = 10_000  # bytes of the first line


def tracks(data: bytes, source: str, reading: Reading) -> Tracks:
    """The tracks of a CSV file's bytes. InputError with the line or column that is wrong."""
    names, form = _header(data, source)
    table = _table(data, names, source, reading)
    columns = {name: np.asarray(table[told], np.float64) for told, name in names.items() if name not in ("id", "type")}
    scale = FOOT_M if (reading.units == "ft" or (reading.units == "auto" and form == "NGSIM")) else 1.0
    for name in {"x", "y", "right", "length", "width", "v", "a"} & set(columns):
        columns[name] = columns[name] * scale
    kinds = _texts(table, names, "type")
    told = _texts(table, names, "id")  # as Python's text: NumPy's takes as much for each as for the longest
    ids = sorted(set(told))
    index = {name: number for number, name in enumerate(ids)}
    actor = np.array([index[name] for name in told], np.int64)
    first = np.unique(actor, return_index=True)[1]
    actors = [
        _actor(name, kinds[row] if kinds else "", columns, row) for name, row in zip(ids, first.tolist(), strict=True)
    ]
    step_s, frame = _times(columns, reading, source)
    gone = np.full(table.num_rows, np.nan)
    x, y = columns["x"], -columns["right"] if form == "NGSIM" else columns["y"]
    rows = Rows(
        actor, frame, x, y,
        columns.get("heading", gone), columns.get("v", gone), columns.get("a", gone),
    )  # fmt: skip
    if form == "NGSIM":
        rows = _backed(rows, np.array([one.length for one in actors]), step_s)
    return tracks_of(rows, actors, step_s, source)


def _header(data: bytes, source: str) -> tuple[dict[str, str], str]:
    """Our name of each column that is read, by the file's; and the form of the file."""
    line, newline, _ = data[:_HEADER_MAX].partition(b"\n")
    try:
        told = [name.strip().strip('"') for name in line.decode("utf-8-sig").split(",")]
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: its first line is no text: {error.reason}") from error
    if not newline:
        raise InputError(f"{source}: no rows after the first {len(line)} bytes: no CSV of tracks")
    low = [name.lower() for name in told]
    form = "NGSIM" if {"vehicle_id", "local_x", "local_y"} <= set(low) else "plain"
    known = _NGSIM if form == "NGSIM" else {name: name for name in _PLAIN}
    names = {name: known[name.lower()] for name in told if name.lower() in known}
    if len(set(names.values())) != sum(name in known for name in low):
        raise InputError(f"{source}: a column twice in {told[:20]}")
    missing = ({"id", "x", "right", "frame"} if form == "NGSIM" else {"id", "x", "y"}) - set(names.values())
    if missing or not ({*_TIMES, "frame"} & set(names.values())):
        raise InputError(
            f"{source}: its columns are {told[:20]}; id, x, y and a time (step, time_s or frame) are needed, "
            "or NGSIM's Vehicle_ID, Frame_ID, Local_X and Local_Y"
        )
    return names, form


def _table(data: bytes, names: dict[str, str], source: str, reading: Reading) -> pa.Table:
    """The columns that are read: text of id and type, numbers of all others."""
    types = {told: pa.string() if name in ("id", "type") else pa.float64() for told, name in names.items()}
    data = data.removeprefix(b"\xef\xbb\xbf")
    _, _, body = data.partition(b"\n")
    header = [one.strip().strip('"') for one in data[: len(data) - len(body)].decode().rstrip("\r\n").split(",")]
    try:
        table = csv.read_csv(
            pa.BufferReader(body),
            read_options=csv.ReadOptions(use_threads=False, column_names=header),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(names), null_values=["", "NaN", "nan"],
                strings_can_be_null=False,
            ),
        )  # fmt: skip
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{source}: no CSV of tracks: {str(error)[:300]}") from error
    if not 0 < table.num_rows <= reading.bounds.rows_max:
        raise InputError(f"{source}: {table.num_rows} rows; 1 to {reading.bounds.rows_max} are read: cut the log")
    return table


def _texts(table: pa.Table, names: dict[str, str], wanted: str) -> list[str]:
    """A column of text; [] if there is none."""
    return next((table[told].to_pylist() for told, name in names.items() if name == wanted), [])


def _actor(name: str, kind: str, columns: dict[str, Floats], row: int) -> Actor:
    """Who, by the first row that it has."""
    named: Kind = next((one for one in KINDS if one == kind.strip().lower()), "unknown")
    of = _CLASSES.get(kind.strip(), named)
    length, width = _SIZES.get(of, _SIZE)
    if "length" in columns and not math.isnan(columns["length"][row]):
        length = float(columns["length"][row])
    if "width" in columns and not math.isnan(columns["width"][row]):
        width = float(columns["width"][row])
    return Actor(name, of, length, width)


def _times(columns: dict[str, Floats], reading: Reading, source: str) -> tuple[float, Floats]:
    """The step in s, and whole frames from the first one on."""
    told = next((name for name in _TIMES if name in columns), None)
    if told is not None:
        step_s = step_of(columns[told], source)
        return step_s, frames_of(columns[told], step_s, source)
    frame = columns["frame"]
    if not (frame == np.rint(frame)).all():
        raise InputError(f"{source}: a frame that is no whole number")
    return reading.step_s, frame - frame.min()


def _backed(rows: Rows, lengths: Floats, step_s: float) -> Rows:
    """NGSIM's places are of the front: back by half the length, along the heading that the places give."""
    order = np.lexsort((rows.frame, rows.actor))
    back: Ints = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    sorted_: list[Any] = [one[order] for one in (rows.actor, rows.frame * step_s, rows.x, rows.y, rows.heading, rows.v)]
    heading = derived(*sorted_)[0][back]
    half = lengths[rows.actor] / 2
    x, y = rows.x - half * np.cos(heading), rows.y - half * np.sin(heading)
    return Rows(rows.actor, rows.frame, x, y, heading, rows.v, rows.a)
