"""A trial of another backbone in a process of its own: one that crashes, hangs or eats memory takes nothing with it.

    python -m hotloop.edge.probe FOLDER

FOLDER has `trial.msgpack` (`Asked`); the answer is `trial.json` (`Trial`), written whole or not at all. Whoever asks
gives it its time, and kills it after that.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from hotloop.config import LoopConfig
from hotloop.edge.health import Trial
from hotloop.errors import HotloopError, ModelError
from hotloop.loading import load_vertical
from hotloop.ports import Exportable, Refreshable, Vertical
from hotloop.predict import unpack_head
from hotloop.types import UNREADABLE, Head, Output, Payload, RunsOn

_WARM = 2  # answers before the clock counts: a session's first are slower


class Asked(msgspec.Struct, frozen=True):
    """What is to be tried: a head on a backbone, on these payloads."""

    config: LoopConfig
    bundle: bytes
    head: bytes
    payloads: tuple[Payload, ...]


def tried(vertical: Vertical, head: Head, payloads: Sequence[Payload], warm: int = _WARM) -> Trial:
    """Let a head answer to each payload, here and now; the first `warm` of them once more before that."""
    answers: list[tuple[Output, ...]] = []
    seconds: list[float] = []
    for number, payload in enumerate([*payloads[:warm], *payloads]):
        began = time.perf_counter()
        try:
            answer = vertical.answer(vertical.propose(payload), head)
        except HotloopError as error:
            return Trial(tuple(answers), tuple(seconds), f"{type(error).__name__}: {error}")
        if number >= min(warm, len(payloads)):
            answers.append(answer)
            seconds.append(time.perf_counter() - began)
    return Trial(tuple(answers), tuple(seconds))


def in_a_child(asked: Asked, timeout_s: float, memory_bytes_max: int) -> Trial:
    """The same in a process of its own, which is killed after `timeout_s`."""
    with TemporaryDirectory(prefix="hotloop-probe-") as place:
        folder = Path(place)
        (folder / "trial.msgpack").write_bytes(msgspec.msgpack.encode(asked))
        command = [sys.executable, "-m", __spec__.name, str(folder), str(memory_bytes_max)]
        try:
            done = subprocess.run(command, timeout=timeout_s, capture_output=True, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return Trial(failure=f"it hung: no answer within {timeout_s:g} s")
        except OSError as error:
            return Trial(failure=f"no process could be started for it: {error}")
        try:
            return msgspec.json.decode((folder / "trial.json").read_bytes(), type=Trial)
        except (OSError, *UNREADABLE):
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return Trial(failure=f"it crashed with exit code {done.returncode}{': ' + said[-1] if said else ''}")


def _tried(asked: Asked) -> Trial:
    """What is asked, in this process."""
    try:
        vertical = load_vertical(asked.config)
        if asked.bundle:
            if not isinstance(vertical, Refreshable):
                raise ModelError("this vertical cannot be given another backbone")
            vertical = vertical.revived(asked.bundle)
        trial = tried(vertical, unpack_head(asked.head).at(asked.config.site), asked.payloads)
        runtime = vertical.runtime if isinstance(vertical, Exportable) else RunsOn()
        return msgspec.structs.replace(trial, peak_bytes=_peak_bytes(), runtime=runtime)
    except HotloopError as error:
        return Trial(failure=f"{type(error).__name__}: {error}")


def _peak_bytes() -> int:
    """The most memory that this process had at once. `ru_maxrss` is inherited from whoever started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):  # another system
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Answer, within the memory that is given."""
    folder, memory = Path(sys.argv[1]), int(sys.argv[2])
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    trial = _tried(msgspec.msgpack.decode((folder / "trial.msgpack").read_bytes(), type=Asked))
    fresh = folder / "trial.json.part"
    fresh.write_bytes(msgspec.json.encode(trial))
    fresh.replace(folder / "trial.json")


if __name__ == "__main__":
    main()
