"""Logs come in: files of four kinds become `Tracks`, and go into the lake once each.

    .xml           CommonRoad 2018b, 2020a      metres, in its plane                          `commonroad`
    .csv, .csv.gz  tracks as columns            metres, or NGSIM's own form in feet           `csv_tracks`
    a folder with  a segment of comma2k19       ECEF and radar -> metres, a plane east and    `comma2k19`
    processed_log                               north of the first place, 10 Hz
    .mcap          JSON messages                metres, in its plane                          `mcap`

What each gives and how it is converted stands in its module. A file is told by its first bytes, then by its name.
Every log is known by the digest of its bytes; one that the table has is passed over. So ingest can be stopped anywhere
(a log is one commit) and started again, and doing it twice changes nothing. A broken log is refused by name with the
reason, and all others go on.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from hotloop.errors import ConfigError, InputError
from hotloop.types import digest
from hotloop.verticals.driving.ingest.bounds import Bounds, Reading, file_bytes, shown, unzipped
from hotloop.verticals.driving.privacy import Privacy
from hotloop.verticals.driving.tracks import Tracks

__all__ = [
    "Bounds", "Ingested", "Known", "Reading", "Refused", "Settings", "Summary", "Table", "ingest", "logs_in", "main",
    "read",
]  # fmt: skip

ENDINGS: Final = (".xml", ".csv", ".csv.gz", ".mcap")
_MCAP: Final = b"\x89MCAP0\r\n"
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True)
class Ingested:
    """A log that was taken."""

    path: Path
    digest: str
    rows: int
    actors: int
    seconds: float


@dataclass(frozen=True)
class Known:
    """A log that the table had."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Refused:
    """A log that was not taken, and why."""

    path: Path
    why: str


Outcome: TypeAlias = Ingested | Known | Refused


@dataclass(frozen=True)
class Summary:
    """What became of each log, in the order in which they came."""

    ingested: tuple[Ingested, ...]
    known: tuple[Known, ...]
    refused: tuple[Refused, ...]

    def __str__(self) -> str:
        rows, hours = sum(one.rows for one in self.ingested), sum(one.seconds for one in self.ingested) / 3600
        return (
            f"{len(self.ingested)} logs ingested ({rows} rows, {hours:.2f} h), {len(self.known)} known already, "
            f"{len(self.refused)} refused"
        )


class Table(Protocol):
    """Where tracks are kept: `lake.TrackLake`, or anything like it."""

    region: str

    def known(self) -> frozenset[str]:
        """The digests of all logs that it has."""
        ...

    def append(self, tracks: Tracks) -> bool:
        """Keep a log, whole or not at all; False if it is there already."""
        ...


@dataclass(frozen=True)
class Settings:
    """How logs are taken: how they are read, what is kept of them, and the region that they are tagged with.

    region: where they may be kept and trained on; None: the table's.
    """

    reading: Reading = field(default_factory=Reading)
    privacy: Privacy = field(default_factory=Privacy)
    region: str | None = None


def read(path: Path, reading: Reading | None = None) -> Tracks:
    """The tracks of one log, digest included. InputError, by the log's name, if it is no such log or broken."""
    return _Opened(path, reading or Reading()).tracks()


def ingest(
    paths: Iterable[Path], table: Table, settings: Settings | None = None,
    progress: Callable[[int, Outcome], None] | None = None,
) -> Summary:  # fmt: skip
    """Bring all logs at `paths` (files, or folders walked through) into the table.

    progress: called after each log with how many are done. StoreError ends it (the disk); what is in stays in.
    """
    settings = settings or Settings()
    outcomes: list[Outcome] = []
    for path in paths:
        for log in logs_in(path):
            outcomes.append(_one(log, table, settings))
            if progress is not None:
                progress(len(outcomes), outcomes[-1])
    return Summary(
        tuple(one for one in outcomes if isinstance(one, Ingested)),
        tuple(one for one in outcomes if isinstance(one, Known)),
        tuple(one for one in outcomes if isinstance(one, Refused)),
    )


def _one(path: Path, table: Table, settings: Settings) -> Outcome:
    try:
        opened = _Opened(path, settings.reading)
        if opened.digest in table.known():
            return Known(path, opened.digest)
        region = table.region if settings.region is None else settings.region
        tracks = settings.privacy.kept(replace(opened.tracks(), region=region))
        if not table.append(tracks):
            return Known(path, opened.digest)
    except InputError as error:
        return Refused(path, str(error))
    return Ingested(path, opened.digest, len(tracks), len(tracks.actors), tracks.seconds)


def logs_in(path: Path) -> Iterator[Path]:
    """The logs at a path, in order of their names: the file itself, or those in a folder; links are not followed."""
    if _is_segment(path) or not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        segments = [name for name in folders if _is_segment(Path(folder, name))]
        folders[:] = [name for name in folders if name not in segments]
        names = segments + [name for name in files if name.lower().endswith(ENDINGS)]
        yield from (Path(folder, name) for name in sorted(names))


def _is_segment(path: Path) -> bool:
    return (path / "processed_log" / "CAN").is_dir()


def _reader(name: str) -> Any:
    """The module that reads a kind of log; its libraries may not be installed."""
    try:
        return importlib.import_module(f"hotloop.verticals.driving.ingest.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is needed to read this: pip install 'hotloop[driving]'") from error


class _Opened:
    """A log's bytes, and what can be made of them."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._reading = reading
        self._path = path
        if _is_segment(path):
            self._name = shown(f"{path.resolve().parent.name}/{path.name}")
            try:
                self._files = _reader("comma2k19").segment_bytes(path, reading.bounds)
            except InputError as error:
                raise InputError(f"{self._name}: {error}") from error
            self.digest = _reader("comma2k19").digest_of(self._files)
        else:
            self._name = shown(path.name)
            self._data = file_bytes(path, reading.bounds.bytes_max)
            self.digest = digest(self._data)

    def tracks(self) -> Tracks:
        """The tracks, with the digest of what they were read from."""
        try:
            return replace(self._parsed(), digest=self.digest)
        except InputError as error:
            if self._name in str(error):
                raise
            raise InputError(f"{self._name}: {error}") from error

    def _parsed(self) -> Tracks:
        name, bounds = self._name, self._reading.bounds
        if _is_segment(self._path):
            return _reader("comma2k19").tracks(self._files, name, bounds)  # type: ignore[no-any-return]
        data = self._data
        if data.startswith(_GZIP):
            data = unzipped(data, name, bounds.unpacked_bytes_max)
        if data.startswith(_MCAP):
            return _reader("mcap").tracks(data, name, bounds)  # type: ignore[no-any-return]
        if data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
            return _reader("commonroad").tracks(data, name, bounds)  # type: ignore[no-any-return]
        if name.lower().endswith((".csv", ".csv.gz")):
            return _reader("csv_tracks").tracks(data, name, self._reading)  # type: ignore[no-any-return]
        raise InputError(f"{name}: neither CommonRoad XML, nor CSV by its name, nor MCAP, nor a segment of comma2k19")


def main(
    paths: Sequence[Path], table: Path, settings: Settings | None = None, say: Callable[[str], None] = lambda _: None
) -> int:
    """The command: bring logs into the table in the folder `table`; `say` is told what becomes of each.

    Returns the exit status: 1 if any log was refused. A table that is not there yet gets the region of the settings.
    """
    settings = settings or Settings()
    lake = importlib.import_module("hotloop.verticals.driving.lake").TrackLake(table, settings.region or "")

    def told(done: int, outcome: Outcome) -> None:
        name = shown(str(outcome.path))
        if isinstance(outcome, Refused):
            say(f"{done}: refused {name}: {outcome.why}")
        elif isinstance(outcome, Ingested):
            say(f"{done}: {name}: {outcome.rows} rows, {outcome.actors} actors, {outcome.seconds:.1f} s")
        else:
            say(f"{done}: {name}: known already")

    summary = ingest(paths, lake, settings, told)
    say(str(summary))
    return 1 if summary.refused else 0
