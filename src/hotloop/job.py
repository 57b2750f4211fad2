"""A training job as a folder: what a slower tier is given, and what it gives back. The core writes it, a vertical
trains.

FOLDER/job.msgpack        `Job`: the examples, the settings, the time it may take
FOLDER/bundle.bin         the backbone to begin at
FOLDER/blobs/DIGEST       the pictures (or whatever was sensed) of the examples, and their references
FOLDER/progress.json      `Progress`, replaced in one step as it goes on
FOLDER/...                whatever the trainer needs to go on after a stop: the same command on the same folder resumes
FOLDER/result.bin         the new backbone's bundle, and
FOLDER/features.msgpack   `Rederivation`: every example's proposals on it. Both are there when `done` is in
progress.json
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from hotloop.errors import HotloopError, InputError, ModelError
from hotloop.types import UNREADABLE, Example, Rederivation, digest

Role = Literal["train", "judge", "golden"]
_NICE: Final = 10


class JobExample(msgspec.Struct, frozen=True):
    """A verified example and what it is for: only "train" may be trained on; all are re-derived."""

    example: Example
    role: Role


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a trainer may depend on. `tables` are the verticals' own tables of loop.toml."""

    tier: Literal["refresh", "consolidate"]
    reason: str
    backbone: str  # digest of bundle.bin
    tables: dict[str, dict[str, Any]]
    base: str  # the folder from which relative paths in `tables` are seen
    examples: tuple[JobExample, ...]  # oldest first
    trained_to: int  # offset of the log
    seed: int
    minutes_max: float
    threads: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is. `share` is 0 to 1 of all of it; `text` says what it does, or why it failed."""

    state: Literal["running", "done", "failed"]
    share: float
    text: str


def write_job(folder: Path, job: Job, bundle: bytes) -> None:
    """Lay the job's own files; the blobs are laid by whoever has them (`blob_path`)."""
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "bundle.bin").write_bytes(bundle)
    (folder / "job.msgpack").write_bytes(msgspec.msgpack.encode(job))


def read_job(folder: Path) -> Job:
    """The job of a folder. ModelError if it is none, or its bundle is not the one it names."""
    try:
        job = msgspec.msgpack.decode((folder / "job.msgpack").read_bytes(), type=Job)
        bundle = (folder / "bundle.bin").read_bytes()
    except (OSError, *UNREADABLE) as error:
        raise ModelError(f"{folder} is no training job: {error}") from error
    if digest(bundle) != job.backbone:
        raise ModelError(f"{folder}/bundle.bin is not the backbone that the job names: start the job anew")
    return job


def blob_path(folder: Path, name: str) -> Path:
    """Where the bytes of a digest are."""
    return folder / "blobs" / name


def say(folder: Path, progress: Progress) -> None:
    """Replace progress.json in one step."""
    beside = folder / "progress.new"
    beside.write_bytes(msgspec.json.encode(progress))
    beside.replace(folder / "progress.json")


def told(folder: Path) -> Progress:
    """How far the job is; not begun if nothing was said yet."""
    try:
        return msgspec.json.decode((folder / "progress.json").read_bytes(), type=Progress)
    except (OSError, *UNREADABLE):
        return Progress(state="running", share=0.0, text="starting")


def finish(folder: Path, bundle: bytes, features: Rederivation, words: str = "") -> None:
    """Write what the job came to, then say that it is done; `words`: what else there is to know of it."""
    (folder / "result.bin").write_bytes(bundle)
    (folder / "features.msgpack").write_bytes(msgspec.msgpack.encode(features))
    text = f"{len(features.proposals)} examples on the new backbone{words and f'; {words}'}"
    say(folder, Progress(state="done", share=1.0, text=text))


def do(train: Callable[[Path], None], arguments: Sequence[str]) -> int:
    """A trainer's `main`: do the job of the folder that is the one argument; what goes wrong is said there. 1 if it
    did. InputError without such an argument.
    """
    if len(arguments) != 1:
        raise InputError("one argument is wanted: the job's folder")
    folder = Path(arguments[0])
    try:
        train(folder)
    except HotloopError as error:
        say(folder, Progress(state="failed", share=0.0, text=f"{type(error).__name__}: {error}"))
        return 1
    return 0


def as_process(main: Callable[[Sequence[str]], int]) -> None:
    """A trainer's `main` as a process of its own, which yields to what answers. Does not return."""
    os.nice(_NICE)
    sys.exit(main(sys.argv[1:]))
