"""A watched folder as a sensor: an image that is dropped in gets its answer in a file beside it.

`X_test.png` (or `X.png`) is compared with `X_temp.png`, and answered in `X_test.png.hotloop.json`. That file is
also the mark that the image is done: it is written last, in one step, so a restart forgets none; a crash between a
prediction and its answer repeats that one image.
An image that cannot be used gets the reason in the same place. Nothing is ever moved or deleted.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import structs

from hotloop.config import SenseConfig
from hotloop.errors import InputError, ModelError, StoreError, TemplateError
from hotloop.types import Payload, Prediction

_KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".bmp": "image/bmp",
    ".json": "application/json",
}
_EMPTY_S = 5.0
_log = logging.getLogger(__name__)
_ANSWER = ".hotloop.json"

_Stamp: TypeAlias = tuple[int, int, int]  # bytes, nanoseconds of the last change, inode: whether a file is the same
Observe = Callable[[Payload, str], Prediction]


class WatchedFolder:
    """Looks for new payloads in `config.folder`, each time `poll` is called."""

    def __init__(self, config: SenseConfig, observe: Observe) -> None:
        self._config = config
        self._folder = Path(config.folder)
        self._observe = observe
        self._stamps: dict[Path, _Stamp] = {}  # of files seen at the last poll: one that still grows is not read
        self._unwritten: dict[tuple[Path, _Stamp], dict[str, object]] = {}  # answers that the disk did not take yet
        self._nameless: set[Path] = set()  # whose answer can have no name

    def poll(self) -> int:
        """Answer every payload that came and has stopped growing; how many were answered.

        StoreError once all were seen to, if an answer could not be written: it is kept, and written by a later poll.
        """
        count, failed = 0, None
        for path, stamp in self._complete():
            if (path, stamp) not in self._unwritten:
                self._unwritten[path, stamp] = self._answered(path)
            try:
                _write(_beside(path), self._unwritten[path, stamp])
            except StoreError as error:
                failed = failed or error
                continue
            del self._unwritten[path, stamp]
            count += 1
        if failed is not None:
            raise failed
        return count

    def _complete(self) -> Iterator[tuple[Path, _Stamp]]:
        stamps = {}
        listed = _listed(self._folder)
        self._nameless.intersection_update(listed)
        for path in listed:
            try:
                if self.is_payload(path) and not _beside(path).exists():
                    found = path.stat()
                    # An empty file is most often one that is about to be written.
                    if found.st_size > 0 or time.time() - found.st_mtime > _EMPTY_S:
                        stamps[path] = (found.st_size, found.st_mtime_ns, found.st_ino)
            except OSError as error:  # else taken away since it was listed, or not ours to look at
                if error.errno == errno.ENAMETOOLONG and path not in self._nameless:
                    self._nameless.add(path)
                    _log.warning("%r is not looked at: its name is too long for an answer beside it", path.name)
        before, self._stamps = self._stamps, stamps
        # An answer is of what was looked at: another piece under the same name gets its own.
        self._unwritten = {key: said for key, said in self._unwritten.items() if stamps.get(key[0]) == key[1]}
        yield from ((path, stamp) for path, stamp in stamps.items() if before.get(path) == stamp)

    def is_payload(self, path: Path) -> bool:
        """Whether a file is a piece: not a template, an answer or something else."""
        if path.suffix.lower() not in _KINDS or path.name.endswith(_ANSWER) or not path.is_file():
            return False
        suffix = self._config.reference_suffix
        return not (suffix and path.stem.endswith(suffix))

    def _answered(self, path: Path) -> dict[str, object]:
        """What is written beside a payload."""
        try:
            prediction = self._observe(self.payload(path), self._config.line)
        except (InputError, ModelError) as error:  # this image alone: those after it must not wait for it
            hint = f". {self._sought(path)}" if isinstance(error, TemplateError) else ""
            words = f"{error}{hint}".encode(errors="replace").decode()  # a file's name need not be text
            return {"error": type(error).__name__, "detail": words}
        outputs = [msgspec.to_builtins(output) for output in prediction.outputs]
        return {"prediction": prediction.id, "version": prediction.version, "outputs": outputs}

    def payload(self, path: Path) -> Payload:
        """A piece with its template, if there is one. InputError if it cannot be read."""
        reference = self._reference(path)
        return Payload(_read(path), _KINDS[path.suffix.lower()], None if reference is None else _read(reference))

    def _reference(self, path: Path) -> Path | None:
        """The template of an image: the one for all, or the one beside it, if there is one."""
        if self._config.reference:
            return Path(self._config.reference)
        if not self._config.reference_suffix:
            return None
        beside = (path.with_name(self._reference_stem(path) + suffix) for suffix in (path.suffix, *_KINDS))
        return next((file for file in beside if file.exists()), None)

    def _reference_stem(self, path: Path) -> str:
        return path.stem.removesuffix(self._config.image_suffix) + self._config.reference_suffix

    def _sought(self, path: Path) -> str:
        """What to do about a template that is missing or does not fit."""
        return (
            f"Beside {path.name} belongs {self._reference_stem(path)}{path.suffix}, or one for all images in "
            "[sense] reference. Then remove this file to try again"
        )


def payloads_of(config: SenseConfig, folder: Path) -> list[Payload]:
    """All payloads of a folder, each with its template, by name. StoreError, InputError."""
    watched = WatchedFolder(structs.replace(config, folder=str(folder)), _nobody)
    found = [watched.payload(path) for path in _listed(folder) if watched.is_payload(path)]
    if not found:
        raise InputError(f"{folder} has no payload: put pieces there as the line sees them")
    return found


def _nobody(_payload: Payload, _line: str) -> Prediction:
    raise InputError("nobody answers here")


def _listed(folder: Path) -> list[Path]:
    """The files of a folder by name. StoreError if it cannot be read: a share may come and go."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StoreError(f"the watched folder cannot be read: {error}. Mend it, or set [sense] folder") from error


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _ANSWER)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _write(path: Path, said: dict[str, object]) -> None:
    """Write in one step: whoever watches for answers never sees half of one."""
    beside = path.with_name(f".hotloop-{os.getpid()}.part")  # short: the answer's name may be as long as names can be
    try:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(said)))
        beside.replace(path)
    except OSError as error:
        raise StoreError(f"{path} was not written: {error}") from error
