"""comma2k19 segments (github.com/commaai/comma2k19, MIT): a folder of NumPy arrays, a minute of one car -> Tracks.

    read     processed_log/CAN: speed [m/s], radar [m ahead, m left, m/s relative], raw_can; processed_log/IMU/gyro
             [rad/s: forward, right, down]; global_pose (or global_pos): positions [ECEF, m], orientations [quaternion,
             camera to ECEF], times. Each with its times in s of the recorder's clock. One of pose and speed is enough.
    frame    10 Hz from the first moment on; a plane east and north of the first place (x east, y north)
    ego      the middle of the car: 0.78 m behind the camera. Heading by the pose's orientation; v by CAN, else by
             pose. Without pose: speed and yaw rate summed up from (0, 0), heading 0; without a gyro, straight on.
    others   the radar's tracks, new where it says so, pauses for 0.3 s, or jumps by 5 m; those of half a second or
             more are kept. A radar sees the near side: the middle is half a car (4.5 x 1.8 m) beyond it, and it sits
             at the front of the ego. v = the ego's v + what the radar says, along the ego's heading, or against it
             for what comes towards it. Kind "static" (0.5 x 0.5 m) where |v| stays below 1.5 m/s, else "unknown".
             A radar reports one car at several addresses: of what is within 3 m along, 1.2 m across and 1.5 m/s of a
             longer track, nothing is kept (no track at all if that is more than three tenths of it).
    moments  by CAN where the car is known (Toyota RAV4, Honda Civic): cruise control goes from on to off:
             "take-over" if the driver braked within 0.5 s of it, else "disengagement"
    a        NaN: there is none of the car itself

Arrays are read without pickle, and never more of one than its file has.
"""

from __future__ import annotations

import ast
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats, digest
from hotloop.verticals.driving.ingest.bounds import Bounds, file_bytes
from hotloop.verticals.driving.ingest.rows import Rows, tracks_of
from hotloop.verticals.driving.tracks import Actor, Moment, Tracks

STEP_S: Final = 0.1
SECONDS_MAX: Final = 3600.0
CAMERA_AHEAD_M: Final = 0.78  # of the middle: the radar is at the front, and the camera 1.52 m behind it
EGO: Final = Actor("ego", "car", 4.6, 1.85, ego=True)
FILES: Final = (
    "global_pose/frame_times", "global_pose/frame_positions", "global_pose/frame_orientations",
    "processed_log/CAN/speed/t", "processed_log/CAN/speed/value", "processed_log/CAN/radar/t",
    "processed_log/CAN/radar/value", "processed_log/CAN/raw_can/t", "processed_log/CAN/raw_can/address",
    "processed_log/CAN/raw_can/src", "processed_log/CAN/raw_can/data", "processed_log/IMU/gyro/t",
    "processed_log/IMU/gyro/value",
)  # fmt: skip
# (address, byte, bit) of: cruise control is on; the driver brakes. By the cars' public DBC files.
_CARS: Final = (((0x1D2, 0, 5), (0x224, 0, 5)), ((0x17C, 4, 6), (0x17C, 6, 5)))
_OTHER: Final = (4.5, 1.8)
_STILL: Final = (0.5, 0.5)
_PAUSE_S, _JUMP_M, _SHORT_S, _STILL_M_S, _BRAKED_S = 0.3, 5.0, 0.5, 1.5, 0.5
_SAME: Final = (3.0, 1.2, 1.5)  # m along, m across, m/s: within these, two tracks are of one thing
_TWICE_MAX: Final = 0.3
_HEADER_MAX: Final = 10_000

Array = NDArray[Any]


def is_segment(path: Path) -> bool:
    """Whether a folder is a segment of comma2k19."""
    return (path / "processed_log" / "CAN").is_dir()


def segment_bytes(path: Path, bounds: Bounds) -> dict[str, bytes]:
    """The files of a segment that are read, by name. InputError if they are too much."""
    out: dict[str, bytes] = {}
    left = bounds.bytes_max
    for name in FILES:
        other = path / name.replace("global_pose", "global_pos")
        file = path / name if (path / name).is_file() else other
        if file.is_file():
            out[name] = file_bytes(file, left)
            left -= len(out[name])
    return out


def digest_of(files: dict[str, bytes]) -> str:
    """One digest of a segment: of the names and digests of its files."""
    return digest("\n".join(f"{name} {digest(data)}" for name, data in sorted(files.items())).encode())


def tracks(files: dict[str, bytes], source: str, bounds: Bounds) -> Tracks:
    """The tracks of a segment's files. InputError, with the file, for what is broken."""
    arrays = {name: _array(data, f"{source}: {name}") for name, data in files.items()}
    log = _Log(arrays, source)
    ego = _ego(log)
    frame = np.arange(len(ego.at))
    rows = [np.column_stack([np.zeros(len(frame)), frame, ego.x, ego.y, ego.heading, ego.v, _gone(ego.at)])]
    actors = [EGO]
    for track in _single([_on_frames(one, ego.at) for one in _radar_tracks(log)]):
        row, still = _seen(track, ego, len(actors))
        rows.append(row)
        size, kind = (_STILL, "static") if still else (_OTHER, "unknown")
        actors.append(Actor(f"radar {len(actors)}", kind, *size))  # type: ignore[arg-type]
    table = np.concatenate(rows)
    if len(table) > bounds.rows_max:
        raise InputError(f"{source}: {len(table)} rows; at most {bounds.rows_max} are read")
    return tracks_of(Rows.of(table), actors, STEP_S, source, _moments(log, float(ego.at[0])))  # type: ignore[arg-type]


def _array(data: bytes, where: str) -> Array:
    """A NumPy array of numbers or bytes, looked at where it lies: never pickle, never more than the file has."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise InputError(f"{where}: no NumPy array")
    wide = data[6] > 1
    (size,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    begin = 8 + (4 if wide else 2)
    if size > _HEADER_MAX:
        raise InputError(f"{where}: a NumPy array with a header of {size} bytes")
    try:
        told = ast.literal_eval(data[begin : begin + size].decode("latin-1"))
        kind = np.dtype(str(told["descr"]))
        shape = tuple(int(n) for n in told["shape"])
        took = math.prod(shape) * kind.itemsize
        if kind.kind not in "fiuSb" or min(shape, default=0) < 0 or took != len(data) - begin - size:
            raise InputError(f"{where}: {shape} of {kind} take {took} bytes, which are not there, or are no numbers")
        values = np.frombuffer(data, kind, offset=begin + size)
        return values.reshape(shape, order="F" if told["fortran_order"] else "C")
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise InputError(f"{where}: no NumPy array of numbers: {str(error)[:200]}") from error


@dataclass(frozen=True)
class _Log:
    arrays: dict[str, Array]
    source: str

    def timed(self, time: str, *values: tuple[str, int]) -> tuple[Array, ...] | None:
        """Times and values of so many columns (0: one, flat), in order of time; None if they are not there."""
        if time not in self.arrays or any(name not in self.arrays for name, _ in values):
            return None
        t = self.arrays[time].ravel()
        out = [t]
        for name, columns in values:
            value = self.arrays[name]
            if columns == 0 and value.ndim == 2 and value.shape[1] == 1:
                value = value[:, 0]
            if value.ndim != (2 if columns else 1) or len(value) != len(t) or (columns and value.shape[1] < columns):
                raise InputError(f"{self.source}: {name} has the shape {value.shape} for {len(t)} times")
            out.append(value)
        if t.dtype.kind != "f" or not np.isfinite(t).all():
            raise InputError(f"{self.source}: {time} holds what is no time")
        order = np.argsort(t, kind="stable")
        return tuple(one[order] for one in out) if len(t) > 1 else None


@dataclass(frozen=True)
class _Ego:
    at: Floats  # s, by the recorder's clock
    x: Floats
    y: Floats
    heading: Floats
    v: Floats


def _gone(like: Array) -> Floats:
    return np.full(len(like), np.nan)


def _numbers(values: Array, source: str) -> Floats:
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"{source}: a value that is no finite number")
    return np.asarray(values, np.float64)


def _ego(log: _Log) -> _Ego:
    """The ego at 10 Hz."""
    names = ("global_pose/frame_positions", 3), ("global_pose/frame_orientations", 4)
    pose = log.timed("global_pose/frame_times", *names)
    speed = log.timed("processed_log/CAN/speed/t", ("processed_log/CAN/speed/value", 0))
    clock = pose or speed
    if clock is None:
        raise InputError(f"{log.source}: neither global_pose nor CAN/speed is there: the ego is nowhere")
    seconds = float(clock[0][-1] - clock[0][0])
    if not STEP_S < seconds <= SECONDS_MAX:
        raise InputError(f"{log.source}: it lasts {seconds:g} s; up to {SECONDS_MAX:g} s are read")
    at = clock[0][0] + STEP_S * np.arange(int(seconds / STEP_S + 1e-6) + 1)
    v = None if speed is None else np.interp(at, speed[0], _numbers(speed[1], log.source))
    return _posed(log, pose, at, v) if pose is not None else _reckoned(log, at, v)


def _posed(log: _Log, pose: tuple[Array, ...], at: Floats, v: Floats | None) -> _Ego:
    times, ecef, turn = pose[0], _numbers(pose[1][:, :3], log.source), _numbers(pose[2][:, :4], log.source)
    size = np.linalg.norm(turn, axis=1)
    if not (size > 0.5).all() or not 1e6 < float(np.linalg.norm(ecef[0])) < 1e8:
        raise InputError(f"{log.source}: global_pose holds no places on the Earth or no rotations")
    plane = _plane(ecef[0])
    w, qx, qy, qz = (turn / size[:, None]).T
    ahead = np.stack([1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy + w * qz), 2 * (qx * qz - w * qy)], axis=1) @ plane.T
    place = (ecef - ecef[0]) @ plane.T
    heading = np.interp(at, times, np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0])))
    x, y = np.interp(at, times, place[:, 0]), np.interp(at, times, place[:, 1])
    if v is None:
        v = np.hypot(np.gradient(x, STEP_S), np.gradient(y, STEP_S))
    return _Ego(at, x - CAMERA_AHEAD_M * np.cos(heading), y - CAMERA_AHEAD_M * np.sin(heading), heading, v)


def _plane(place: Floats) -> Floats:
    """Rows east and north at a place on the Earth (WGS 84: the normal of the ellipsoid)."""
    x, y, z = place
    flat = 1 - 6.69437999014e-3
    lon, lat = math.atan2(y, x), math.atan2(z, math.hypot(x, y) * flat)  # on the ellipsoid; 1e-6 rad off at 1 km above
    s, c, sn, cs = math.sin(lon), math.cos(lon), math.sin(lat), math.cos(lat)
    return np.array([[-s, c, 0.0], [-sn * c, -sn * s, cs]])


def _reckoned(log: _Log, at: Floats, v: Floats | None) -> _Ego:
    v = np.zeros(len(at)) if v is None else v
    gyro = log.timed("processed_log/IMU/gyro/t", ("processed_log/IMU/gyro/value", 3))
    yaw = np.zeros(len(at)) if gyro is None else -np.interp(at, gyro[0], _numbers(gyro[1][:, 2], log.source))
    heading = np.concatenate([[0.0], np.cumsum((yaw[1:] + yaw[:-1]) / 2 * STEP_S)])
    vx, vy = v * np.cos(heading), v * np.sin(heading)
    x, y = (np.concatenate([[0.0], np.cumsum((one[1:] + one[:-1]) / 2 * STEP_S)]) for one in (vx, vy))
    return _Ego(at, x, y, heading, v)


def _radar_tracks(log: _Log) -> list[Floats]:
    """Each track as rows (t, ahead, left, relative speed), in order of the time and the address that it begins with."""
    radar = log.timed("processed_log/CAN/radar/t", ("processed_log/CAN/radar/value", 7))
    if radar is None:
        return []
    t, value = radar
    if value.dtype.kind not in "fiu":
        raise InputError(f"{log.source}: processed_log/CAN/radar/value holds {value.dtype}, no numbers")
    good = np.isfinite(value[:, [0, 1, 2, 5, 6]]).all(axis=1) & (np.abs(value[:, :3]) < 1e3).all(axis=1)
    t, value = t[good], value[good]
    out = []
    for address in np.unique(value[:, 5]):
        of = value[:, 5] == address
        table = np.column_stack([t[of], value[of, :3]])
        jump = np.hypot(*np.diff(table[:, 1:3], axis=0).T) > _JUMP_M
        new = np.flatnonzero((np.diff(table[:, 0]) > _PAUSE_S) | jump | (value[of, 6][1:] != 0)) + 1
        out += [(float(part[0, 0]), float(address), part) for part in np.split(table, new) if len(part) > 1]
    return [part for _, _, part in sorted(out, key=lambda one: one[:2])]


def _on_frames(track: Floats, at: Floats) -> Floats:
    """A radar track at the frames within it: rows (frame, ahead, left, relative speed)."""
    frame = np.flatnonzero((at >= track[0, 0]) & (at <= track[-1, 0]))
    return np.column_stack([frame, *(np.interp(at[frame], track[:, 0], one) for one in track.T[1:])])


def _single(tracks: list[Floats]) -> list[Floats]:
    """The tracks without what a longer one says as well, and without the short; in the order in which they came."""
    shortest = round(_SHORT_S / STEP_S)
    order = sorted(range(len(tracks)), key=lambda i: (-len(tracks[i]), i))
    kept: dict[int, Floats] = {}
    said = np.empty((0, 4))  # of all that are kept, by frame
    for i in order:
        track = tracks[i]
        low, high = np.searchsorted(said[:, 0], track[:, 0]), np.searchsorted(said[:, 0], track[:, 0], side="right")
        spans = zip(low, high, track, strict=True)
        twice = np.array([(np.abs(said[a:b, 1:] - row[1:]) < _SAME).all(axis=1).any() for a, b, row in spans], bool)
        if len(track) - twice.sum() < shortest or twice.mean() > _TWICE_MAX:
            continue
        kept[i] = track[~twice]
        said = np.concatenate([said, kept[i]])
        said = said[np.argsort(said[:, 0], kind="stable")]
    return [kept[i] for i in sorted(kept)]


def _seen(track: Floats, ego: _Ego, actor: int) -> tuple[Floats, bool]:
    """A radar track's rows in the plane, and whether it stood still."""
    frame = track[:, 0].astype(np.int64)
    ahead, left, relative = track.T[1:]
    v = ego.v[frame] + relative
    still = bool((np.abs(v) < _STILL_M_S).all())
    towards = not still and len(v) > 0 and float(np.median(v)) < 0
    length = _STILL[0] if still else _OTHER[0]
    ahead = ahead + EGO.length / 2 + length / 2
    c, s = np.cos(ego.heading[frame]), np.sin(ego.heading[frame])
    x, y = ego.x[frame] + c * ahead - s * left, ego.y[frame] + s * ahead + c * left
    heading = ego.heading[frame] + (math.pi if towards else 0.0)
    v = np.zeros(len(v)) if still else -v if towards else v
    return np.column_stack([np.full(len(frame), actor), frame, x, y, heading, v, _gone(frame)]), still


def _moments(log: _Log, begin: float) -> list[Moment]:
    """When cruise control went off, and whether the driver braked then."""
    names = [(f"processed_log/CAN/raw_can/{name}", 0) for name in ("address", "src", "data")]
    can = log.timed("processed_log/CAN/raw_can/t", *names)
    if can is None or can[3].dtype.kind != "S" or can[3].dtype.itemsize != 8:
        return []
    t, address, bus, data = can
    octets = np.ascontiguousarray(data).view(np.uint8).reshape(-1, 8)

    def bits(where: tuple[int, int, int]) -> tuple[Floats, NDArray[np.bool_]]:
        of = (address == where[0]) & (bus == 0)
        return t[of], ((octets[of, where[1]] >> where[2]) & 1).astype(bool)

    out = []
    for cruise, brake in _CARS:
        at, on = bits(cruise)
        when, braking = bits(brake)
        if len(at):
            for off in at[1:][on[:-1] & ~on[1:]]:
                near = braking & (np.abs(when - off) <= _BRAKED_S)
                frame = max(round(float(off - begin) / STEP_S), 0)
                out.append(Moment(frame, "take-over" if near.any() else "disengagement"))
            break
    return out
