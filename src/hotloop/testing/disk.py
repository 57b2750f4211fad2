"""A simulated disk: it forgets, drops or tears what was not synced, and fails when it is told to.

`kill -9` cannot see a missing sync, because the page cache outlives the process. This disk can: it keeps a
journal of everything that was done to it, so that a power cut at any point of a run can be played over and
over, with another part of the unsynced writes surviving each time. `SimulatedVfs` puts it under SQLite.

What is assumed of a disk, as SQLite does (https://sqlite.org/atomiccommit.html, powersafe overwrite): a sync
makes the file's earlier writes durable; writes not synced survive in any combination, each sector of a write
for itself; bytes next to a write are not harmed; a new or deleted name is durable once its folder is synced.
"""

# ruff: noqa: N802, ARG002, FBT001 - the names and arguments are SQLite's
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, cast

import apsw
import msgspec

Image: TypeAlias = dict[str, bytes]  # what lies on a disk: name -> content
SECTORS = (512, 4096)  # bytes
_FOLDER_SYNCED = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL  # SQLite syncs the folder for these


class Step(msgspec.Struct, frozen=True):
    """One thing done to a disk. `file` is the inode: a name that is deleted and made again is another file."""

    kind: Literal["create", "delete", "write", "truncate", "sync", "sync folder"]
    name: str = ""
    file: int = 0
    at: int = 0  # bytes: where it was written, or the new length
    data: bytes = b""


class Disk:
    """A disk with `image` durable on it, a journal of `steps`, and faults. For one process."""

    def __init__(self, image: Image | None = None) -> None:
        self.image = dict(image or {})
        self.steps: list[Step] = []
        self.files = {number: bytearray(data) for number, data in enumerate(self.image.values())}
        self.names = {name: number for number, name in enumerate(self.image)}
        self.calls = 0  # writes, truncates and syncs so far
        self._failing: tuple[int, int, type[apsw.Error]] | None = None

    def fail(self, after: int, count: int, error: type[apsw.Error]) -> None:
        """After `after` more calls let `count` of them fail with `error`; a full disk takes half a write."""
        self._failing = (self.calls + after, self.calls + after + count, error)

    def heal(self) -> None:
        """No more faults."""
        self._failing = None

    def create(self, name: str) -> int:
        """A new empty file; its number."""
        number = len(self.files)
        self.files[number] = bytearray()
        self.names[name] = number
        self.steps.append(Step("create", name, number))
        return number

    def delete(self, name: str, *, durable: bool) -> None:
        """Take a name away; `durable` syncs the folder."""
        number = self.names.pop(name)
        self.steps.append(Step("delete", name, number))
        if durable:
            self.steps.append(Step("sync folder"))

    def write(self, number: int, data: bytes, at: int) -> None:
        """Write into a file."""
        error = self._fault()
        kept = data[: len(data) // 2] if error is apsw.FullError else b"" if error else data
        if kept:
            _put(self.files[number], kept, at)
            self.steps.append(Step("write", file=number, at=at, data=kept))
        if error:
            raise error("simulated: the disk is full or broken")

    def truncate(self, number: int, size: int) -> None:
        """Make a file `size` bytes long."""
        if error := self._fault():
            raise error("simulated: truncate failed")
        _resize(self.files[number], size)
        self.steps.append(Step("truncate", file=number, at=size))

    def sync(self, number: int, *, folder: bool) -> None:
        """Make a file durable, and with `folder` the names too."""
        if error := self._fault():
            raise error("simulated: sync failed")
        self.steps.append(Step("sync", file=number))
        if folder:
            self.steps.append(Step("sync folder"))

    def _fault(self) -> type[apsw.Error] | None:
        self.calls += 1
        if self._failing is None:
            return None
        first, end, error = self._failing
        return error if first < self.calls <= end else None


class PowerCuts:
    """Every state in which a power cut can leave a disk that was used as `steps` say, one cut point after another.

    Four kinds of luck take turns by `turn`: nothing unsynced survives; all of it does (that is a kill -9);
    the first part does and the last write is torn; any of it does, torn by sectors.
    """

    def __init__(self, image: Image, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._names = {name: number for number, name in enumerate(image)}
        self._files = {number: bytearray(data) for number, data in enumerate(image.values())}
        self._unsynced: list[Step] = []

    def points(self) -> Iterator[int]:
        """The numbers of steps done at each cut point, 0 first; `survivor` then tells of that point."""
        yield 0
        for done, step in enumerate(self._steps, 1):
            self._advance(step)
            yield done

    def survivor(self, turn: int, rng: random.Random) -> Image:
        """What the next start finds on the disk after a cut at the present point."""
        luck = turn % 4
        names = dict(self._names)
        files = dict(self._files)
        steps = self._unsynced
        if luck == 0:
            steps = []
        elif luck == 2:
            steps = steps[: rng.randint(0, len(steps))]
        sector = SECTORS[rng.randrange(2)]
        fresh: set[int] = set()
        for index, step in enumerate(steps):
            if luck == 3 and rng.random() < 0.5:
                continue
            torn = luck == 3 or (luck == 2 and index == len(steps) - 1)
            if step.file not in fresh and step.kind in ("write", "truncate"):
                files[step.file] = bytearray(files.get(step.file, b""))
                fresh.add(step.file)
            _apply(step, names, files, _sectors(step, sector, rng) if torn else None)
        return {name: bytes(files.get(number, b"")) for name, number in names.items()}

    def _advance(self, step: Step) -> None:
        if step.kind not in ("sync", "sync folder"):
            self._unsynced.append(step)
            return
        left: list[Step] = []
        for one in self._unsynced:
            of_names = one.kind in ("create", "delete")
            if of_names if step.kind == "sync folder" else one.file == step.file and not of_names:
                self._files.setdefault(one.file, bytearray())
                _apply(one, self._names, self._files, None)
            else:
                left.append(one)
        self._unsynced = left


def _sectors(step: Step, sector: int, rng: random.Random) -> list[slice]:
    """The parts of a write that survive, cut where sectors meet."""
    parts: list[slice] = []
    start = 0
    while start < len(step.data):
        end = min(len(step.data), ((step.at + start) // sector + 1) * sector - step.at)
        if rng.random() < 0.5:
            parts.append(slice(start, end))
        start = end
    return parts


def _apply(step: Step, names: dict[str, int], files: dict[int, bytearray], parts: list[slice] | None) -> None:
    """Do a step to names and files; of a torn write only `parts`."""
    if step.kind == "create":
        names[step.name] = step.file
    elif step.kind == "delete":
        if names.get(step.name) == step.file:
            del names[step.name]
    elif step.kind == "truncate":
        _resize(files[step.file], step.at)
    elif step.kind == "write":
        for part in [slice(0, len(step.data))] if parts is None else parts:
            _put(files[step.file], step.data[part], step.at + part.start)


def _put(content: bytearray, data: bytes, at: int) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


class SimulatedVfs(apsw.VFS):
    """The disk under SQLite. Mount another one by setting `disk`; open with `vfs=` its `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, base="")
        self.name = name
        self.disk = Disk()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open or make a file."""
        path = (
            name.filename() if isinstance(name, apsw.URIFilename) else str(name or f"temporary-{len(self.disk.files)}")
        )
        made = path not in self.disk.names
        if made and not flags[0] & apsw.SQLITE_OPEN_CREATE:
            raise apsw.CantOpenError(f"no file {path} on the simulated disk")
        number = self.disk.create(path) if made else self.disk.names[path]
        flags[1] = flags[0]
        file = _OpenFile(self.disk, number, names_too=made and bool(flags[0] & _FOLDER_SYNCED))
        return cast("apsw.VFSFile", file)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Delete a name."""
        if filename not in self.disk.names:
            missing = apsw.IOError(f"no file {filename} on the simulated disk")
            missing.extendedresult = apsw.SQLITE_IOERR_DELETE_NOENT  # type: ignore[attr-defined]
            raise missing
        self.disk.delete(filename, durable=syncdir)

    def xAccess(self, pathname: str, flags: int) -> bool:
        """Whether a file is there."""
        return pathname in self.disk.names

    def xFullPathname(self, name: str) -> str:
        """Names are whole already."""
        return name


class _OpenFile:
    """An open file of the simulated disk, in SQLite's words (https://sqlite.org/c3ref/io_methods.html)."""

    def __init__(self, disk: Disk, number: int, *, names_too: bool) -> None:
        self._disk = disk
        self._number = number
        self._names_too = names_too

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._disk.files[self._number][offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.write(self._number, bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.truncate(self._number, newsize)

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._number, folder=self._names_too)
        self._names_too = False

    def xFileSize(self) -> int:
        return len(self._disk.files[self._number])

    def xLock(self, level: int) -> None:
        """One process only: nobody to lock out."""

    def xUnlock(self, level: int) -> None:
        """As `xLock`."""

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)  # as SQLite assumes of the system's disks

    def xClose(self) -> None:
        """Nothing is lost by closing, and nothing made durable either."""
