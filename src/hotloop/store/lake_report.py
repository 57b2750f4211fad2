"""Check a lake from end to end: read every file, hash every image, look every digest up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotloop.store.lake import EMBEDDING_VERSIONS, IMAGE_VERSIONS, bytes_of, check_format, known, own
from hotloop.store.lance_table import READ_ERRORS, LanceTable
from hotloop.types import digest


@dataclass(frozen=True)
class LakeReport:
    """What `verify_lake` found: how many images are whole, which are not, and which files cannot be read."""

    path: str
    images: int
    embeddings: int
    rotten: tuple[str, ...]  # digests whose bytes are others, or cannot be read
    unreadable: tuple[str, ...]  # files, with what is wrong with them

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.rotten and not self.unreadable

    def __str__(self) -> str:
        """One line for people."""
        found = f"{self.path}: {self.images} images and {self.embeddings} embeddings as written"
        parts = [f"rotten: {', '.join(self.rotten)}"] if self.rotten else []
        return "; ".join([found, *parts, *self.unreadable])


def verify_lake(folder: Path) -> LakeReport:
    """Read everything in a lake that no process has open, and hash all bytes. StoreBusyError if one has."""
    lock = own(folder)
    try:
        check_format(folder)
        images = LanceTable(folder, "images", IMAGE_VERSIONS, index="digest")
        embeddings = LanceTable(folder, "embeddings", EMBEDDING_VERSIONS)
        faults = [table.repaired for table in (images, embeddings) if table.repaired]
        count, rotten = _check_images(images.dataset, faults)
        _check_look_up(images.dataset, faults)
        vectors = _count_embeddings(embeddings.dataset, faults)
        return LakeReport(str(folder), count, vectors, tuple(rotten), tuple(faults))
    finally:
        os.close(lock)


def _fragments(snapshot: Any) -> Iterator[tuple[Any, str]]:
    """The fragments of a snapshot, if there is one, with the names of their files."""
    for part in snapshot.get_fragments() if snapshot is not None else ():
        yield part, ", ".join(file.path for file in part.data_files())


def _check_images(snapshot: Any, faults: list[str]) -> tuple[int, list[str]]:
    """How many images are whole, and the digests of those that are not; unreadable files go to `faults`."""
    count, rotten = 0, []
    for part, files in _fragments(snapshot):
        try:
            whole, lost = _hash_all(part)
        except READ_ERRORS as error:
            faults.append(f"{files}: {str(error)[:200]}")
            whole, lost = _hash_each(snapshot, part)
        count += whole
        rotten += lost
    return count, rotten


def _hash_all(part: Any) -> tuple[int, list[str]]:
    """How many images of a fragment are whole, and the digests of the others."""
    whole, rotten = 0, []
    for batch in part.to_batches(columns=["digest", "bytes"], batch_size=64):
        for row in batch.to_pylist():
            if digest(row["bytes"]) == row["digest"]:
                whole += 1
            else:
                rotten.append(row["digest"])
    return whole, rotten


def _hash_each(snapshot: Any, part: Any) -> tuple[int, list[str]]:
    """As `_hash_all`, image by image, of a fragment that cannot be read as a whole."""
    try:
        names = part.to_table(columns=["digest"])["digest"].to_pylist()
    except READ_ERRORS:
        return 0, []
    rotten = [name for name in names if not _is_whole(snapshot, part, name)]
    return len(names) - len(rotten), rotten


def _is_whole(snapshot: Any, part: Any, name: str) -> bool:
    """Whether the image `name` can be read in a fragment, and is what its digest says."""
    try:
        return any(digest(blob) == name for blob in bytes_of(snapshot, name, part))
    except READ_ERRORS:
        return False


def _check_look_up(snapshot: Any, faults: list[str]) -> None:
    """Note how many images the look-up by digest misses: their bytes may be whole, and `get` is then slow."""
    missed = 0
    for part, _ in _fragments(snapshot):
        try:
            names = part.to_table(columns=["digest"])["digest"].to_pylist()
        except READ_ERRORS:
            continue  # named already
        for start in range(0, len(names), 256):
            few = names[start : start + 256]
            missed += len(set(few) - known(snapshot, few))
    if missed:
        faults.append(f"_indices: the index misses {missed} images")


def _count_embeddings(snapshot: Any, faults: list[str]) -> int:
    """How many embeddings can be read; unreadable files go to `faults`."""
    count = 0
    for part, files in _fragments(snapshot):
        try:
            count += part.to_table().num_rows
        except READ_ERRORS as error:
            faults.append(f"{files}: {str(error)[:200]}")
    return count
