"""One Lance table on a local disk that keeps what it acknowledged, whatever happens to the power.

Lance (14.0) writes its files and commits its manifest without a single fsync (strace), so that a power cut
can leave a manifest whose data never reached the disk; and it does not notice when a file's last write fails
on a full disk: it commits a file without its end. Here a version counts only once the *mark* says so:

    write -> check the files' ends -> fsync new files and folders -> write and fsync the mark -> acknowledge

The mark is one line beside the table: the acknowledged version and the SHA-256 of its manifest, overwritten
in place (95 bytes: within a sector). On opening, and after any failed write, versions above the mark are
dropped: nobody was told of them. If the marked manifest itself has rotted, the newest older one that opens is
taken, and `orphans` are the data files it does not know, for the owner to take up again.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hotloop.errors import CorruptError, DiskFullError, NotFoundError, StoreError

READ_ERRORS = (OSError, ValueError, RuntimeError, LookupError)  # what Lance raises, and Arrow's derive from
_WRITE_ERRORS = (*READ_ERRORS, StoreError)
SMALL_ROWS = 1024  # fragments below this are gathered first ...
FULL_ROWS = 65_536  # ... and again to this: 100 M rows are 1,526 fragments and a manifest below 1 MB
FULL_BYTES = 256 * 2**20  # a file of this size is left alone, however few rows it has
UNTIDY_FRAGMENTS = 64  # new fragments after which tidying is due
_VERSION_TOP = 2**64 - 1  # Lance names manifests by this less the version, so that the newest sorts first
_CACHE_BYTES = 64 * 2**20


def lance_module() -> Any:
    """Lance, imported when it is needed: it takes 0.5 s and starts threads (so never fork after it)."""
    return importlib.import_module("lance")


def store_error(error: Exception, doing: str) -> StoreError:
    """What `error` of Lance or the disk, met while `doing` something, is in hotloop's words."""
    if isinstance(error, StoreError):
        return error
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    if full or any(text in str(error) for text in ("os error 28", "os error 122", "os error 27")):
        return DiskFullError(f"the disk is full: {doing} was not done. Make room and try again. ({error})")
    return StoreError(f"{doing} failed: {error}. Nothing acknowledged was touched; check the disk.")


def newest_to_merge(sizes: Sequence[int], fresh: int) -> int:
    """How many of the newest index segments to merge with `fresh` rows, so that sizes stay geometric.

    Each segment older than the merged one is larger than it: n rows make O(log n) segments and each row is
    rewritten O(log n) times (the log-structured merge of O'Neil et al., 1996).
    """
    count, total = 0, fresh
    for size in reversed(sizes):
        if size > total:
            break
        count, total = count + 1, total + size
    return count


class LanceTable:
    """A table in `folder`/`name`.lance with its mark. One thread writes; any thread reads the snapshot.

    `index` names a string column to keep a B-tree on; `retained` is how many versions stay open to `at`.
    Nothing is on disk until the first append, which fixes the schema.
    """

    def __init__(self, folder: Path, name: str, retained: int, index: str = "") -> None:
        self.path = folder / f"{name}.lance"
        self.repaired = ""  # what opening had to set right, in words
        self._mark_path = folder / f"{name}.mark"
        self._retained = retained
        self._index = index
        self._seen: set[Path] = set()  # files that are on the disk for good, or left by what failed
        self._folders: set[Path] = set()  # those that are there for good: the one they are in was synced
        self._stale = False
        self._untidy = 0
        self._dataset: Any = None
        self._mark = self._read_mark()
        if self._mark is None and not self._versions():
            self._mark = (0, "-")
        try:
            self._roll_back()
        except _WRITE_ERRORS as error:
            raise store_error(error, f"opening {self.path}") from error
        if self._dataset is not None:
            self._folders = {self.path, *(path.parent for path in self._seen)}
            self._untidy = sum(rows < SMALL_ROWS for rows, _ in self._sizes(self._dataset).values())

    @property
    def dataset(self) -> Any:
        """The acknowledged snapshot, or None while there is none. It never changes under a reader."""
        return self._dataset

    @property
    def untidy(self) -> int:
        """How many fragments came since the last tidying."""
        return self._untidy

    def at(self, version: int) -> Any:
        """The snapshot of an acknowledged version. NotFoundError if it is not retained, or was never."""
        if self._mark is not None and 0 < version <= self._mark[0] and self._manifest(version).exists():
            try:
                return lance_module().dataset(str(self.path), version=version, session=self._session)
            except READ_ERRORS as error:
                raise CorruptError(f"version {version} of {self.path} cannot be opened: {error}") from error
        raise NotFoundError(
            f"version {version} of {self.path.name} is not here: the newest {self._retained} are kept"
        )

    def append(self, rows: Any) -> int:
        """Add an Arrow table; returns its version once durable. DiskFullError and StoreError undo it."""
        self._recover()
        try:
            target = self._dataset if self._dataset is not None else str(self.path)
            mode = "create" if self._dataset is None else "append"
            written = lance_module().write_dataset(rows, target, mode=mode, session=self._session)
            self._acknowledge(written)
        except _WRITE_ERRORS as error:
            self._give_up()
            raise store_error(error, f"writing {rows.num_rows} rows to {self.path}") from error
        self._untidy += 1
        return int(self._dataset.version)

    def tidy(self) -> None:
        """Index what is not indexed, gather small fragments, clean versions beyond `retained`."""
        self._recover()
        if self._dataset is None:
            return
        try:
            handle = self.at(self._dataset.version)  # its own: readers keep theirs
            if self._index:
                self._bring_index_up(handle)
            self._gather(handle, SMALL_ROWS)
            self._gather(handle, FULL_ROWS)
            self._acknowledge(handle)
            self.clean(self._retained)
        except _WRITE_ERRORS as error:
            self._give_up()
            raise store_error(error, f"tidying {self.path}") from error
        self._untidy = 0

    def erase(self, condition: str) -> int:
        """Take the rows that meet an SQL `condition` off the disk, in all versions; returns how many."""
        self._recover()
        if self._dataset is None:
            return 0
        try:
            handle = self.at(self._dataset.version)
            before = handle.count_rows()
            handle.delete(condition)
            handle.optimize.compact_files(materialize_deletions_threshold=0.0, num_threads=1)
            gone = before - handle.count_rows()
            self._acknowledge(handle)
            self.clean(1)
        except _WRITE_ERRORS as error:
            self._give_up()
            raise store_error(error, f"erasing from {self.path}") from error
        return int(gone)

    def clean(self, retained: int) -> None:
        """Remove all versions but the newest `retained`, and files that no version knows."""
        self._dataset.cleanup_old_versions(retain_versions=retained, delete_unverified=True)
        self._seen &= set(self._files())

    def orphans(self) -> list[Path]:
        """Data files that the acknowledged snapshot does not know."""
        known: set[str] = set()
        if self._dataset is not None:
            known = {file.path for part in self._dataset.get_fragments() for file in part.data_files()}
        return sorted(path for path in (self.path / "data").glob("*.lance") if path.name not in known)

    def _bring_index_up(self, handle: Any) -> None:
        """Add the rows that are not indexed yet to the B-tree, as a segment merged with the newest few."""
        names = [entry.name for entry in handle.describe_indices()]
        if not names:
            handle.create_scalar_index(self._index, "BTREE")
            return
        try:
            told = handle.stats.index_stats(names[0])
            if told["num_unindexed_rows"]:
                merge = newest_to_merge(told["num_indexed_rows_per_delta"], told["num_unindexed_rows"])
                handle.optimize.optimize_indices(num_indices_to_merge=merge)
        except READ_ERRORS as error:
            if isinstance(store_error(error, "indexing"), DiskFullError):
                raise
            handle.create_scalar_index(self._index, "BTREE", replace=True)  # rotten: made anew from the rows

    def _gather(self, handle: Any, rows: int) -> None:
        """Rewrite fragments below `rows` as fewer ones, once there are many: each row about twice."""
        sizes = self._sizes(handle)
        full = [part for part, (_, size) in sizes.items() if size >= FULL_BYTES]
        small = [part for part, (count, size) in sizes.items() if count < rows and size < FULL_BYTES]
        if len(small) >= UNTIDY_FRAGMENTS:
            handle.optimize.compact_files(
                target_rows_per_fragment=rows,
                max_bytes_per_file=2 * FULL_BYTES,
                compaction_mode="try_binary_copy",  # in pieces of 16 MB, whatever the size of a row
                excluded_fragment_ids=full,
                num_threads=1,
            )

    @staticmethod
    def _sizes(handle: Any) -> dict[int, tuple[int, int]]:
        """Rows and bytes of each fragment, by its id, from the manifest alone."""
        return {
            part.fragment_id: (part.physical_rows, sum(file.file_size_bytes or 0 for file in files))
            for part in handle.get_fragments()
            for files in [part.data_files()]
        }

    def _acknowledge(self, handle: Any) -> None:
        """Sync every file that is new, then the mark: from here on `handle` is what counts."""
        now = set(self._files())
        new = now - self._seen
        folders = {path.parent for path in new}
        above = {parent for path in folders for parent in (path, *path.parents)}
        made = {path for path in above if path.is_relative_to(self.path)} - self._folders
        self._check_whole(handle, new)
        for path in (*sorted(new), *sorted(folders | {path.parent for path in made})):
            sync(path)
        mark = (int(handle.version), _hash(self._manifest(handle.version)))
        self._write_mark(mark)
        self._mark, self._seen, self._dataset = mark, now, handle
        self._folders |= made

    def _check_whole(self, handle: Any, new: set[Path]) -> None:
        """DiskFullError unless every new file has its end: Lance does not notice when its last write fails.

        A data file must be as long as the manifest says (an image may well end like a Lance file does); all
        others must end in Lance's magic.
        """
        for path in new:
            if path.suffix in {".lance", ".manifest"}:
                with path.open("rb") as file:
                    file.seek(max(path.stat().st_size - 4, 0))
                    if file.read() != b"LANC":
                        raise _cut_short(path)
        sizes = {path.name: path.stat().st_size for path in new if path.parent.name == "data"}
        for part in handle.get_fragments() if sizes else ():
            for known in part.data_files():
                if sizes.get(known.path, known.file_size_bytes) != known.file_size_bytes:
                    raise _cut_short(self.path / "data" / known.path)

    def _files(self) -> Iterator[Path]:
        """Every data, index, deletion and manifest file of the table."""
        for pattern in ("data/*.lance", "_indices/*/*", "_deletions/*", "_versions/*.manifest"):
            yield from self.path.glob(pattern)

    def _recover(self) -> None:
        """Before a write: if an earlier one failed and could not be undone, undo it now."""
        try:
            if self._stale:
                self._roll_back()
        except _WRITE_ERRORS as error:
            raise store_error(error, f"undoing a failed write to {self.path}") from error

    def _give_up(self) -> None:
        """After a failed write: drop what it left; should the disk refuse that too, before the next write."""
        self._stale = True
        try:
            self._roll_back()
        except _WRITE_ERRORS:
            return

    def _roll_back(self) -> None:
        """Drop every version above the mark and open the marked one; an older one if it has rotted."""
        # A session caches manifests by version: a version that is written anew needs a new one.
        self._session = lance_module().Session(
            index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES
        )
        if self._mark is not None:
            self._write_mark(self._mark)  # a failed write may have left a mark ahead of what is there
        for version in self._versions():
            if self._mark is not None and version > self._mark[0]:
                self._manifest(version).unlink()  # nobody was told of it
            elif self._open(version):
                break
        else:
            self._dataset = None
        (self.path / "_versions" / "latest_version_hint.json").unlink(missing_ok=True)
        self._seen = set(self._files())  # what failed left files that no version will ever name
        self._stale = False

    def _versions(self) -> list[int]:
        """The versions whose manifests are there, newest first."""
        found = (self.path / "_versions").glob("*.manifest")
        return sorted((_VERSION_TOP - int(path.stem) for path in found), reverse=True)

    def _open(self, version: int) -> bool:
        """Make `version` the snapshot, if its manifest is whole; else set the manifest aside and say so."""
        path = self._manifest(version)
        found = _hash(path)
        try:
            if self._mark is None or self._mark[0] != version or self._mark[1] == found:
                handle = lance_module().dataset(str(self.path), version=version, session=self._session)
                self._write_mark((version, found))
                self._mark, self._dataset = (version, found), handle
                return True
        except ValueError:  # not what Lance writes; an OSError is the disk's, and goes up
            if self._mark is not None and self._mark == (version, found):
                raise
        aside = self.path.with_suffix(".rotten")
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
        self.repaired = (
            f"the manifest of version {version} of {self.path} has rotted and was moved to {aside}; "
            "the newest older version was taken"
        )
        return False

    def _manifest(self, version: int) -> Path:
        """The file of a version."""
        return self.path / "_versions" / f"{_VERSION_TOP - version:020}.manifest"

    def _read_mark(self) -> tuple[int, str] | None:
        """The acknowledged version and its manifest's hash; None if there is no mark, or it is torn."""
        try:
            version, manifest, check = self._mark_path.read_text(encoding="ascii").split()
        except (FileNotFoundError, ValueError):
            return None
        whole = check == hashlib.sha256(f"{version} {manifest}".encode()).hexdigest()[:8]
        return (int(version), manifest) if whole else None

    def _write_mark(self, mark: tuple[int, str]) -> None:
        """Overwrite the mark in place, durably: the same 95 bytes each time, so no room is needed."""
        text = f"{mark[0]:020} {mark[1]}"
        line = f"{text} {hashlib.sha256(text.encode()).hexdigest()[:8]}\n".encode("ascii")
        new = not self._mark_path.exists()
        handle = os.open(self._mark_path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            if os.pwrite(handle, line, 0) < len(line):
                raise _cut_short(self._mark_path)
        finally:
            os.close(handle)
        sync(self._mark_path)
        if new:
            sync(self._mark_path.parent)


def _cut_short(path: Path) -> DiskFullError:
    """The error for a file that the disk took only a part of."""
    return DiskFullError(f"the disk is full: it took only a part of {path}. Make room and try again.")


def _hash(path: Path) -> str:
    """SHA-256 of a small file; '' if it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
