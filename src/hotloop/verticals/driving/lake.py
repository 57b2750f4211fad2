"""The table of all tracks: a Lance table that any reader opens without us; one row an actor and frame.

    digest, source, region   of the log             frame (int32), time_s (= frame x step_s), step_s
    actor, kind, ego, length, width, number         x, y, heading, v, a (NaN where the log has none)
    log                      the first row of a log: JSON of what no column holds (actors, moments); null in all others

A log is one commit: all of it is there, or nothing (see `store.lance_table`). What is on the disk is known by digest.
A table belongs to a region ("" none): it refuses logs that may be kept in another one only.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from hotloop.errors import ConfigError, CorruptError, InputError, NotFoundError
from hotloop.store.lance_table import READ_ERRORS, UNTIDY_FRAGMENTS, LanceTable
from hotloop.types import UNREADABLE
from hotloop.verticals.driving.tracks import Actor, Moment, Tracks

NAME: Final = "tracks"
_VERSIONS: Final = 8  # that stay open to a reader who began before the newest commit
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FLOATS: Final = ("x", "y", "heading", "v", "a")
_REGION: Final = b"hotloop.region"
_SCHEMA: Final = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("digest", "source", "region", "actor", "kind")),
        pa.field("ego", pa.bool_()), pa.field("length", pa.float64()), pa.field("width", pa.float64()),
        pa.field("number", pa.int32()), pa.field("frame", pa.int32()), pa.field("time_s", pa.float64()),
        pa.field("step_s", pa.float64()), *(pa.field(name, pa.float64()) for name in _FLOATS),
        pa.field("log", pa.string()),
    ]
)  # fmt: skip


class _Log(msgspec.Struct, frozen=True):
    source: str
    region: str
    step_s: float
    actors: tuple[Actor, ...]
    moments: tuple[Moment, ...]


class TrackLake:
    """The table in `folder`, of one region. One process writes. ConfigError if it is of another region."""

    def __init__(self, folder: Path, region: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table = LanceTable(folder, NAME, _VERSIONS, index="digest")
        self.region = region
        self.path = self._table.path
        if self._table.dataset is not None:
            told = (self._table.dataset.schema.metadata or {}).get(_REGION, b"").decode()
            if told != region:
                raise ConfigError(f"{self.path} is a table of region {told!r}, not {region!r}; open it as what it is")
        self._known = self._listed()

    def known(self) -> frozenset[str]:
        """The digests of all logs that are here."""
        return frozenset(self._known)

    def append(self, tracks: Tracks) -> bool:
        """Keep a log, in one durable commit; False if it is here already. InputError for one that is not taken."""
        digest = _checked(tracks.digest)
        if tracks.region not in ("", self.region):
            raise InputError(
                f"{tracks.source}: a log of region {tracks.region!r}; {self.path.name} is of {self.region!r} and takes "
                "none that must stay elsewhere: ingest it there"
            )
        if not len(tracks.check()):
            raise InputError(f"{tracks.source}: it has no rows")
        if digest in self._known:
            return False
        self._table.append(self._rows(tracks))
        self._known.add(digest)
        if self._table.untidy >= UNTIDY_FRAGMENTS:
            self._table.tidy()
        return True

    def read(self, digest: str, first: int = 0, last: int | None = None) -> Tracks:
        """A log, or its frames from `first` to `last`, both included. NotFoundError if it is not here."""
        wanted = f"digest = '{_checked(digest)}'"
        if digest not in self._known:
            raise NotFoundError(f"the log {digest[:12]} is not in {self.path}")
        until = "" if last is None else f" AND frame <= {int(last)}"
        columns = ["number", "frame", *_FLOATS]
        try:
            told = self._table.dataset.to_table(columns=["log"], filter=f"{wanted} AND log IS NOT NULL")
            rows = self._table.dataset.to_table(columns=columns, filter=f"{wanted} AND frame >= {int(first)}{until}")
            log = msgspec.json.decode(told["log"][0].as_py(), type=_Log)
        except (*READ_ERRORS, *UNREADABLE) as error:
            raise CorruptError(f"the log {digest[:12]} in {self.path} cannot be read: {error}") from error
        found = {name: rows[name].to_numpy() for name in columns}
        order = np.lexsort((found["frame"], found["number"]))
        floats = {name: found[name][order] for name in _FLOATS}
        whole = Tracks(
            log.actors, found["number"][order].astype(np.int64), found["frame"][order].astype(np.int64), **floats,
            step_s=log.step_s, source=log.source, digest=digest, region=log.region, moments=log.moments,
        )  # fmt: skip
        stop = 2**31 if last is None else last
        return replace(whole, moments=tuple(one for one in log.moments if first <= one.frame <= stop))

    def erase(self, digest: str) -> int:
        """Take a log off the disk, in all versions; returns how many rows it had."""
        gone = self._table.erase(f"digest = '{_checked(digest)}'")
        self._known.discard(digest)
        return gone

    def tidy(self) -> None:
        """Index what is new and gather small files."""
        self._table.tidy()

    def _listed(self) -> set[str]:
        if self._table.dataset is None:
            return set()
        try:
            found = self._table.dataset.to_table(columns=["digest"], filter="log IS NOT NULL")
        except READ_ERRORS as error:
            raise CorruptError(f"{self.path} cannot be read: {error}") from error
        return set(found["digest"].to_pylist())

    def _rows(self, tracks: Tracks) -> Any:
        n, who = len(tracks), tracks.actor
        log = _Log(tracks.source, tracks.region, tracks.step_s, tracks.actors, tracks.moments)
        of = {name: pa.array([getattr(one, name) for one in tracks.actors]) for name in ("name", "kind", "ego")}
        sizes = {name: np.array([getattr(one, name) for one in tracks.actors]) for name in ("length", "width")}
        number = pa.array(who.astype(np.int32))
        columns = {
            **{name: pa.repeat(getattr(tracks, name), n) for name in ("digest", "source", "region")},
            "actor": of["name"].take(number), "kind": of["kind"].take(number), "ego": of["ego"].take(number),
            "length": sizes["length"][who].astype(np.float64), "width": sizes["width"][who].astype(np.float64),
            "number": number, "frame": tracks.frame.astype(np.int32), "time_s": tracks.frame * tracks.step_s,
            "step_s": pa.repeat(float(tracks.step_s), n), **{name: getattr(tracks, name) for name in _FLOATS},
            "log": pa.array([msgspec.json.encode(log).decode(), *[None] * (n - 1)], pa.string()),
        }  # fmt: skip
        schema = _SCHEMA.with_metadata({_REGION: self.region.encode()})
        return pa.table([columns[name] for name in schema.names], schema=schema)


def _checked(digest: str) -> str:
    """The digest, which goes into a condition: 64 hex digits. InputError for any other text."""
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"{digest[:80]!r} is no digest of a log: 64 hex digits")
    return digest
