"""Check a lake from end to end: read every file, hash every image, look every digest up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotloop.store.lake import EMBEDDING_VERSIONS, IMAGE_VERSIONS, bytes_of, check_format, known, own
from hotloop.store.lance_table import READ_ERRORS, LanceTable
from hotloop.types import digest


@dataclass(frozen=True)
class LakeReport:
    """What `verify_lake` found: how many images are whole, which are not, and which files cannot be read."""

    images: int
    embeddings: int
    rotten: tuple[str, ...]  # digests whose bytes are others, or cannot be read
    unreadable: tuple[str, ...]  # files, with what is wrong with them

    @property
    def whole(self) -> bool:
        """Whether everything is as it was written."""
        return not self.rotten and not self.unreadable


def verify_lake(folder: Path) -> LakeReport:
    """Read everything in a lake that no process has open, and hash all bytes. StoreBusyError if one has."""
    lock = own(folder)
    try:
        check_format(folder)
        images = LanceTable(folder, "images", IMAGE_VERSIONS, index="digest")
        embeddings = LanceTable(folder, "embeddings", EMBEDDING_VERSIONS)
        rotten: list[str] = []
        unreadable = [table.repaired for table in (images, embeddings) if table.repaired]
        counts = [_verify(images.dataset, rotten, unreadable), _verify(embeddings.dataset, None, unreadable)]
        unreadable += _index_faults(images.dataset)
    finally:
        os.close(lock)
    return LakeReport(counts[0], counts[1], tuple(rotten), tuple(unreadable))


def _verify(snapshot: Any, rotten: list[str] | None, unreadable: list[str]) -> int:
    """Read a table file by file, adding what is wrong to the lists; returns how many rows are whole."""
    whole = 0
    for part in snapshot.get_fragments() if snapshot is not None else ():
        columns = ["digest", "bytes"] if rotten is not None else None
        try:
            for batch in part.to_batches(columns=columns, batch_size=64):
                bad = [] if rotten is None else _rotten_in(batch.to_pylist())
                whole += batch.num_rows - len(bad)
                if rotten is not None:
                    rotten += bad
        except READ_ERRORS as error:
            files = ", ".join(file.path for file in part.data_files())
            unreadable.append(f"{files}: {str(error)[:200]}")
            if rotten is not None:
                rotten += _lost_in(snapshot, part)
    return whole


def _lost_in(snapshot: Any, part: Any) -> list[str]:
    """The digests whose bytes cannot be read in a fragment that is unreadable as a whole, as far as it names them."""
    try:
        names = part.to_table(columns=["digest"])["digest"].to_pylist()
    except READ_ERRORS:
        return []
    lost = []
    for name in names:
        try:
            if any(digest(blob) == name for blob in bytes_of(snapshot, name, part)):
                continue
        except READ_ERRORS:
            pass
        lost.append(name)
    return lost


def _rotten_in(rows: list[dict[str, Any]]) -> list[str]:
    """The digests among `rows` whose bytes are others."""
    return [row["digest"] for row in rows if digest(row["bytes"]) != row["digest"]]


def _index_faults(snapshot: Any) -> list[str]:
    """What is wrong with the look-up by digest: images that it does not find, though their bytes may be whole."""
    missed = 0
    for part in snapshot.get_fragments() if snapshot is not None else ():
        try:
            names = part.to_table(columns=["digest"])["digest"].to_pylist()
        except READ_ERRORS:
            continue  # named already
        for start in range(0, len(names), 256):
            few = names[start : start + 256]
            missed += len(set(few) - known(snapshot, few))
    return [f"_indices: {missed} images are not found by digest until the lake is tidied"] if missed else []


def _lost_in(snapshot: Any, part: Any) -> list[str]:
    """The digests whose bytes cannot be read in a fragment that is unreadable as a whole, as far as it names them."""
    try:
        names = part.to_table(columns=["digest"])["digest"].to_pylist()
    except READ_ERRORS:
        return []
    lost = []
    for name in names:
        try:
            if any(digest(blob) == name for blob in bytes_of(snapshot, name, part)):
                continue
        except READ_ERRORS:
            pass
        lost.append(name)
    return lost


def _rotten_in(snapshot: Any, rows: list[dict[str, Any]]) -> list[str]:
    """The digests among `rows` whose bytes are others, or that a look-up does not find."""
    found = known(snapshot, [row["digest"] for row in rows])
    return [
        row["digest"]
        for row in rows
        if hashlib.sha256(row["bytes"]).hexdigest() != row["digest"] or row["digest"] not in found
    ]
