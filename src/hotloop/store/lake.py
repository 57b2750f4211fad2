"""The embedded Lake: image bytes by digest and embeddings that can be searched, in two Lance tables.

Folder: `lake.json` (format), `images.lance` (digest, bytes, size), `embeddings.lance` (prediction, digest,
label, vector), each with its mark (see `lance_table`). DuckDB, Polars, Ray and Spark can read the tables.
One process owns a lake; importing Lance starts threads, so do not fork after one is open: spawn.

Memory does not grow with the lake. To keep 100 M images apart by digest in a set would take 10 GB; here a put
asks the B-tree on disk (one query for a whole group) and remembers the last 100,000 digests (about 15 MB).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import re
import shutil
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hotloop.config import StoreConfig
from hotloop.errors import (
    CorruptError,
    DiskFullError,
    HotloopError,
    InputError,
    NewerFormatError,
    NotFoundError,
    OverloadError,
    StoreBusyError,
    StoreError,
)
from hotloop.store.lance_table import READ_ERRORS, UNTIDY_FRAGMENTS, LanceTable, sync
from hotloop.types import Embedding, Neighbour, digest

FORMAT = 1
GROUP_BYTES_MAX = 64 * 2**20  # written in one append
PENDING_BYTES_MAX = 256 * 2**20  # put but not yet durable; more raise OverloadError
RECENT_DIGESTS_MAX = 100_000
IMAGE_VERSIONS = 2  # versions of the image table that stay: bytes never change, so an old one is of no use
EMBEDDING_VERSIONS = 1000  # the retention: `nearest` answers as of each of the newest 1,000 versions
QUIET_S = 0.05  # without a put for this long the lake tidies, if it is due; under load, at 4 times that
_DIGEST = re.compile(r"\A[0-9a-f]{64}\Z")


@dataclass
class _Task:
    """Something for the writer: blobs to put (by digest), or a call. `done` carries its result or error."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    call: Callable[[], Any] | None = None
    done: Future[Any] = field(default_factory=Future)

    @property
    def size_bytes(self) -> int:
        """Bytes that wait with it."""
        return sum(map(len, self.blobs.values()))


class LanceLake:
    """The port Lake in `folder`. StoreBusyError if a process has it, NewerFormatError if a newer one made it.

    Puts from many threads share one append and one sync (group commit). With less than
    `config.free_bytes_min` of room on the disk, images are refused with DiskFullError, so that the log, which
    needs little, can go on.
    """

    def __init__(self, folder: Path, config: StoreConfig) -> None:
        self._folder = folder
        self._free_bytes_min = config.free_bytes_min
        self._lock = own(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._lock)
            check_format(folder)
            self._images = LanceTable(folder, "images", IMAGE_VERSIONS, index="digest")
            self._embeddings = LanceTable(folder, "embeddings", EMBEDDING_VERSIONS)
            _take_up_orphans(self._images)
            undo.pop_all()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._tasks: deque[_Task] = deque()
        self._pending_bytes = 0
        self._closing = False  # no more is taken: `close` was called, or the writer died
        self._closed = False
        self._group: list[_Task] = []
        self._tidy_failures = 0
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="hotloop-lake", daemon=True)
        self._writer.start()

    @property
    def repaired(self) -> tuple[str, ...]:
        """What opening had to set right, in words; empty as a rule."""
        return tuple(text for text in (self._images.repaired, self._embeddings.repaired) if text)

    def put(self, blobs: Sequence[bytes]) -> list[str]:
        """See Lake. DiskFullError: none of these is acknowledged. OverloadError: too much waits already."""
        digests = [digest(blob) for blob in blobs]
        with self._changed:
            new = {name: blob for name, blob in zip(digests, blobs, strict=True) if name not in self._recent}
        if new:
            self._do(_Task(blobs=new))
        return digests

    def get(self, digest: str) -> bytes:
        """See Lake."""
        if not _DIGEST.match(digest):
            raise NotFoundError(f"{digest[:80]!r} is no digest: 64 hex digits are")
        snapshot = self._images.dataset
        if snapshot is None:
            raise NotFoundError(f"no image with digest {digest}")
        try:
            found = list(bytes_of(snapshot, digest))
        except READ_ERRORS:  # a file has rotted, or this snapshot was tidied away while we read
            found = list(self._bytes_around_rot(digest))
        for blob in found:
            if hashlib.sha256(blob).hexdigest() == digest:
                return blob
        if found:
            raise CorruptError(f"the bytes of image {digest} have rotted: restore it from a backup")
        raise NotFoundError(f"no image with digest {digest}")

    def embed(self, rows: Sequence[Embedding]) -> int:
        """See Lake. InputError if the vectors are not finite and of the length of those that are here."""
        length = len(rows[0].vector) if rows else 0
        for row in rows:
            _check_vector(row.vector, length)
        if rows and not length:
            raise InputError("a vector of no numbers cannot be searched")
        made = _embedding_rows(rows, length) if rows else None
        return int(self._do(_Task(call=lambda: self._embed(made, length))))

    def nearest(self, vector: Sequence[float], count: int, version: int | None = None) -> list[Neighbour]:
        """See Lake. Exact: every vector is compared. NotFoundError if the version is beyond the retention."""
        snapshot = self._embeddings.dataset if version is None else self._embeddings.at(version)
        if snapshot is None or count < 1:
            return []
        _check_vector(vector, _length(snapshot))
        asked = {"column": "vector", "q": list(vector), "k": count, "metric": "L2", "use_index": False}
        try:
            rows = snapshot.to_table(
                columns=["prediction", "digest", "label", "_distance"], nearest=asked
            ).to_pylist()
        except READ_ERRORS as error:
            raise CorruptError(f"{self._embeddings.path} cannot be searched: {error}") from error
        found = [Neighbour(row["prediction"], row["digest"], row["label"], row["_distance"]) for row in rows]
        return sorted(found, key=lambda near: (near.distance, near.prediction, near.label))

    def tidy(self) -> None:
        """Index, gather small files and clean old versions now, rather than at the next quiet moment."""
        self._do(_Task(call=self._tidy))

    def erase(self, digests: Sequence[str]) -> int:
        """Take images and their embeddings off the disk for good; returns how many images.

        Older versions hold them too, so all of these are removed: `nearest` answers as of now only.
        """
        wanted = sorted({name for name in digests if _DIGEST.match(name)})
        return int(self._do(_Task(call=lambda: self._erase(wanted)))) if wanted else 0

    def close(self) -> None:
        """Finish what is waiting, then release the folder. A second close does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = self._closing = True
            self._changed.notify_all()
        self._writer.join()
        os.close(self._lock)

    def _do(self, task: _Task) -> Any:
        """Hand a task to the writer and wait for it."""
        with self._changed:
            if self._closing:
                raise StoreError(f"the lake in {self._folder} is closed")
            if self._pending_bytes and self._pending_bytes + task.size_bytes > PENDING_BYTES_MAX:
                raise OverloadError("images come faster than the disk takes them: send these again")
            self._pending_bytes += task.size_bytes
            self._tasks.append(task)
            self._changed.notify_all()
        return task.done.result()

    def _write(self) -> None:
        """The writer thread. Should it ever die of a bug, those who wait are told."""
        try:
            while self._step():
                pass
        finally:
            with self._changed:
                self._closing = True
                for task in (*self._group, *self._tasks):
                    if not task.done.done():
                        task.done.set_exception(StoreError("the lake's writer has stopped; restart hotloop"))
                self._tasks.clear()

    def _step(self) -> bool:
        """One group of puts or one call; tidying in between. False when closed and done."""
        with self._changed:
            busy = self._changed.wait_for(lambda: self._tasks or self._closing, timeout=self._patience_s())
            group = self._group = self._next_group()
            if not group and self._closing:
                return False
        if group:
            _settle(group, group[0].call or (lambda: self._put(group)))
        with self._changed:
            self._pending_bytes -= sum(task.size_bytes for task in group)
        if self._is_due(4 if busy else 1):
            chore = _Task()
            _settle([chore], self._tidy)  # lost nothing if it failed: it is tried again after more writes
            self._tidy_failures = self._tidy_failures + 1 if chore.done.exception() else 0
        return True

    def _patience_s(self) -> float | None:
        """How long to wait for work: without end, unless there is tidying to do."""
        return QUIET_S if self._is_due(1) else None

    def _is_due(self, times: int) -> bool:
        """Whether a table has `times` as many new fragments as tidying waits for; more if it has failed."""
        limit = UNTIDY_FRAGMENTS * (times + 4 * self._tidy_failures)
        return max(self._images.untidy, self._embeddings.untidy) >= limit

    def _next_group(self) -> list[_Task]:
        """The next call alone, or the puts in front up to the group's limit."""
        group: list[_Task] = []
        size = 0
        while self._tasks and not (group and (group[0].call or self._tasks[0].call)):
            size += self._tasks[0].size_bytes
            if group and size > GROUP_BYTES_MAX:
                break
            group.append(self._tasks.popleft())
        return group

    def _put(self, group: Sequence[_Task]) -> None:
        """Append the blobs of a group that are not here yet."""
        blobs = {name: blob for task in group for name, blob in task.blobs.items()}
        here = known(self._images.dataset, blobs)
        new = {name: blob for name, blob in blobs.items() if name not in here}
        if new:
            self._check_room(sum(map(len, new.values())))
            self._images.append(_image_rows(new))
        with self._changed:
            for name in blobs:
                self._recent[name] = None
            while len(self._recent) > RECENT_DIGESTS_MAX:
                self._recent.popitem(last=False)

    def _check_room(self, size_bytes: int) -> None:
        """DiskFullError if `size_bytes` more would take the room that is left for the log."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StoreError(f"the lake's folder {self._folder} is gone: {error}") from error
        if free - size_bytes < self._free_bytes_min:
            raise DiskFullError(
                f"{free} bytes are free at {self._folder} and {self._free_bytes_min} are kept for the log "
                f"(store.free_bytes_min): {size_bytes} bytes were not taken. Make room and send them again."
            )

    def _embed(self, made: Any, length: int) -> int:
        """Append embeddings; with none (`made` is None) there is a new version all the same."""
        snapshot = self._embeddings.dataset
        if snapshot is None and made is None:
            raise InputError("the first embeddings cannot be none: they fix the length of the vectors")
        if made is None:
            made = _embedding_rows([], _length(snapshot))
        elif snapshot is not None and length != _length(snapshot):
            raise InputError(f"vectors of {length} numbers came, those of this lake have {_length(snapshot)}")
        self._check_room(made.nbytes)
        return self._embeddings.append(made)

    def _tidy(self) -> None:
        self._images.tidy()
        self._embeddings.tidy()

    def _erase(self, wanted: Sequence[str]) -> int:
        condition = _any_of(wanted)
        with self._changed:
            for name in wanted:
                self._recent.pop(name, None)
        self._embeddings.erase(condition)
        return self._images.erase(condition)

    def _bytes_around_rot(self, digest: str) -> Iterator[bytes]:
        """The bytes of a digest, file by file. CorruptError if they may be in an unreadable one."""
        snapshot = self._images.dataset
        unreadable: list[str] = []
        found = False
        for part in snapshot.get_fragments():
            try:
                for blob in bytes_of(snapshot, digest, part):
                    found = True
                    yield blob
            except READ_ERRORS:
                unreadable += [file.path for file in part.data_files()]
        if unreadable and not found:
            raise CorruptError(
                f"image {digest} cannot be read: it was in {', '.join(unreadable[:3])}, if anywhere. "
                "`hotloop verify` names all that is lost; restore those from a backup."
            )


def _settle(group: Sequence[_Task], outcome: Callable[[], Any]) -> None:
    """Do it, and give the result, or the error, to all of a group."""
    try:
        result = outcome()
    except HotloopError as error:
        for task in group:
            task.done.set_exception(error)
    else:
        for task in group:
            task.done.set_result(result)


def own(folder: Path) -> int:
    """A lock on the folder, held until it is closed. StoreBusyError if another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"the lake's folder {folder} cannot be used: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreBusyError(f"another process has the lake in {folder} open: stop it first") from None
    return handle


def check_format(folder: Path) -> None:
    """Write the format's number into a new folder; NewerFormatError if it is above ours."""
    path = folder / "lake.json"
    if not path.exists():
        path.write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
        sync(path)
        sync(folder)
    try:
        found = int(json.loads(path.read_text(encoding="utf-8"))["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f'{path} should say {{"format": {FORMAT}}} and does not: {error}') from error
    if found > FORMAT:
        raise NewerFormatError(f"{path} has format {found}, this hotloop knows {FORMAT}: update hotloop")


def _take_up_orphans(images: LanceTable) -> None:
    """After an older version had to be taken: put back the images of data files that it does not know.

    An image proves itself by its digest, so that what a rotten manifest forgot can be told from rubbish.
    """
    if not images.repaired:
        return
    reader = importlib.import_module("lance.file").LanceFileReader
    for path in images.orphans():
        try:
            rows = [row for batch in reader(str(path)).read_all().to_batches() for row in batch.to_pylist()]
        except READ_ERRORS:
            continue  # never acknowledged, or named by `verify_lake` as what it was
        whole = {row["digest"]: row["bytes"] for row in rows if digest(row["bytes"]) == row["digest"]}
        here = known(images.dataset, whole)
        new = {name: blob for name, blob in whole.items() if name not in here}
        if new:
            images.append(_image_rows(new))


def _any_of(digests: Iterable[str]) -> str:
    """The SQL condition that a row has one of these digests (each was checked to be hex)."""
    return "digest IN (" + ", ".join(f"'{name}'" for name in digests) + ")"


def known(snapshot: Any, digests: Iterable[str]) -> set[str]:
    """Which digests are in a snapshot; none where it cannot be read, so that they are written again."""
    wanted = [name for name in digests if _DIGEST.match(name)]
    if snapshot is None or not wanted:
        return set()
    try:
        return set(snapshot.to_table(columns=["digest"], filter=_any_of(wanted))["digest"].to_pylist())
    except READ_ERRORS:
        return set()


def bytes_of(snapshot: Any, digest: str, part: Any = None) -> Iterator[bytes]:
    """All that is kept under a digest: in a snapshot, by the index; or in one fragment, without it."""
    apart = {} if part is None else {"fragments": [part], "use_scalar_index": False}
    rows = snapshot.scanner(columns=["bytes"], filter=_any_of([digest]), **apart).to_table()
    yield from rows["bytes"].to_pylist()


def _length(snapshot: Any) -> int:
    """The length of a table's vectors."""
    return int(snapshot.schema.field("vector").type.list_size)


def _check_vector(vector: Sequence[float], length: int) -> None:
    """InputError unless the vector has `length` finite numbers (as float32)."""
    if len(vector) != length:
        raise InputError(f"a vector of {len(vector)} numbers came, those of this lake have {length}")
    if not all(-3.4e38 < number < 3.4e38 for number in vector):
        raise InputError("a vector holds a number that is not finite")


def _image_rows(blobs: dict[str, bytes]) -> Any:
    """The Arrow table (digest, bytes, size) of blobs by digest."""
    arrow = importlib.import_module("pyarrow")
    return arrow.table(
        {
            "digest": arrow.array(list(blobs), arrow.string()),
            "bytes": arrow.array(list(blobs.values()), arrow.large_binary()),
            "size": arrow.array([len(blob) for blob in blobs.values()], arrow.int64()),
        }
    )


def _embedding_rows(rows: Sequence[Embedding], length: int) -> Any:
    """The Arrow table (prediction, digest, label, vector float32[length]) of embeddings. InputError."""
    arrow = importlib.import_module("pyarrow")
    columns = {name: [getattr(row, name) for row in rows] for name in ("prediction", "digest", "label")}
    try:
        made = {name: arrow.array(texts, arrow.string()) for name, texts in columns.items()}
    except ValueError as error:
        raise InputError(f"the text of an embedding is not Unicode: {error}") from error
    flat = arrow.array([number for row in rows for number in row.vector], arrow.float32())
    return arrow.table({**made, "vector": arrow.FixedSizeListArray.from_arrays(flat, length)})
