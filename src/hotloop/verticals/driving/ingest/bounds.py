"""How much a log may be before it is refused, and reading no more than that."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from hotloop.errors import InputError
from hotloop.verticals.driving.tracks import ROWS_MAX

Units: TypeAlias = Literal["auto", "m", "ft"]


@dataclass(frozen=True)
class Bounds:
    """Of one log: bytes of its file, bytes once decompressed, bytes of XML (its tree takes ten times as much), rows."""

    bytes_max: int = 512_000_000
    unpacked_bytes_max: int = 1_000_000_000
    xml_bytes_max: int = 32_000_000
    rows_max: int = ROWS_MAX


@dataclass(frozen=True)
class Reading:
    """How a log is read. `units`, `step_s`: of CSV files that do not say so themselves (see `csv_tracks`)."""

    bounds: Bounds = field(default_factory=Bounds)
    units: Units = "auto"
    step_s: float = 0.1


def shown(name: str) -> str:
    """A file's name as text that can be kept: bytes of it that are no UTF-8 become question marks."""
    return name.encode(errors="replace").decode()


def file_bytes(path: Path, bytes_max: int) -> bytes:
    """All of a file. InputError if it is larger, or cannot be read."""
    name = shown(path.name)
    try:
        if path.is_fifo():
            raise InputError(f"{name}: it is a pipe, which would be waited for; files are read")
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise InputError(f"{name}: it cannot be read: {error.strerror or error}") from error
    if len(data) > bytes_max:
        raise InputError(f"{name}: more than {bytes_max} bytes, which are the most that are read: cut the log")
    return data


def unzipped(data: bytes, source: str, bytes_max: int) -> bytes:
    """What gzip packed. InputError if it is damaged, cut short, or holds more than `bytes_max` bytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            out = file.read(bytes_max + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source}: damaged gzip: {error}") from error
    if len(out) > bytes_max:
        raise InputError(f"{source}: more than {bytes_max} bytes once decompressed, which are the most that are read")
    return out
