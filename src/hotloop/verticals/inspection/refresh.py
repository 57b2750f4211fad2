"""The child process of a refresh: `python -m hotloop.verticals.inspection.refresh FOLDER` trains what a job asks for.

It begins at the job's backbone, trains on its "train" examples alone, and re-derives every example on the result.
Killed and started again on the same folder it goes on where it was, to the same bytes: the plan is kept, each step
draws from (seed, step), and weights, their mean and the optimiser's moments lie in a checkpoint. On a GPU if there is
one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import msgspec
import safetensors.torch
import torch

from hotloop.config import LearnConfig, LoopConfig
from hotloop.edge.parity import Limits, Parity, exported
from hotloop.errors import ImageError, ModelError
from hotloop.job import Job, Progress, as_process, blob_path, do, finish, read_job, say
from hotloop.learn import Reflex
from hotloop.types import Change, Example, Payload, Proposals, Rederivation, digest, rederived
from hotloop.verticals.inspection.settings import settings_of
from hotloop.verticals.inspection.task import Detection, vertical
from hotloop.verticals.inspection.tune_boxes import BoxesRun
from hotloop.verticals.inspection.tune_whole import WholeRun
from hotloop.verticals.inspection.whole import WholeImage

_SAVE_S = 20.0  # between two checkpoints
_TIMED_STEPS = 10  # that the plan is made by: the quickest third of them, for a busy moment must not make a small plan
_OVERTIME = 1.3  # of the time allowed, after which a run ends before its plan
_TRAIN_SHARE = 0.9  # of the time allowed goes to steps, the rest to what comes after
_SAY_EVERY = 10  # steps
_PARITY_MAX = 100  # newest verified pieces on which other forms of the network are compared with it


class Plan(msgspec.Struct, frozen=True):
    """What a job does, settled at its first start."""

    steps: int


class Run(Protocol):
    """A training run that a job drives: boxes or whole images."""

    steps_max: int  # more would only learn the pieces by heart

    def restart(self, steps: int) -> None:
        """Begin anew, for so many steps."""
        ...

    def step(self, number: int) -> float:
        """Take a step that depends on its number alone; its loss."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state."""
        ...

    def bundle(self) -> bytes:
        """The trained backbone."""
        ...


def run_of(job: Job, folder: Path) -> tuple[Run, Detection | WholeImage]:
    """The run that a job asks for, and the vertical that it begins at. ModelError if its backbone cannot be trained."""
    start = vertical(_config_of(job))
    assert isinstance(start, Detection | WholeImage), "the verticals of this package"
    begun = start.revived((folder / "bundle.bin").read_bytes())
    train = [one.example for one in job.examples if one.role == "train"]
    if isinstance(begun, Detection):
        return BoxesRun(begun, train, payloads(folder), job.seed), begun
    return WholeRun(begun, train, payloads(folder), job.seed), begun


def _config_of(job: Job) -> LoopConfig:
    return LoopConfig(tables=job.tables, base=job.base, learn=LearnConfig(seed=job.seed))


def payloads(folder: Path) -> Callable[[Example], Payload]:
    """Reads an example's bytes. ImageError if they are not in the folder."""

    def read(example: Example) -> Payload:
        seen = example.prediction.observation
        try:
            data = blob_path(folder, seen.digest).read_bytes()
            reference = None if seen.reference is None else blob_path(folder, seen.reference).read_bytes()
        except OSError as error:
            raise ImageError(f"the bytes of {example.prediction.id} are not in {folder}: {error}") from error
        return Payload(data, reference=reference)

    return read


def train(folder: Path) -> None:
    """Do the job of a folder, or go on with it."""
    job = read_job(folder)
    torch.set_num_threads(job.threads)
    run, begun = run_of(job, folder)
    plan = _planned(run, job, folder)
    run.restart(plan.steps)
    first = _restored(run, folder)
    saved_s = began_s = time.monotonic()
    for number in range(first, plan.steps):
        loss = run.step(number)
        now_s = time.monotonic()
        if number % _SAY_EVERY == 0:
            left_s = (now_s - began_s) / (number - first + 1) * (plan.steps - number - 1)
            text = f"training, step {number + 1} of {plan.steps}, loss {loss:.3f}, {left_s:.0f} s left"
            say(folder, Progress(state="running", share=_TRAIN_SHARE * (number + 1) / plan.steps, text=text))
        if now_s - saved_s > _SAVE_S:
            _save(run, number + 1, folder)
            saved_s = now_s
        if now_s - began_s > _OVERTIME * job.minutes_max * 60:
            break
    _save(run, plan.steps, folder)
    say(folder, Progress(state="running", share=_TRAIN_SHARE, text="measuring what was trained"))
    bundle = run.bundle()
    after = begun.revived(bundle)
    proposals = _rederived(after, job, folder)
    bundle, words = _in_other_forms(after, proposals, job, folder)
    finish(folder, bundle, Rederivation(digest(bundle), proposals), words)


def _in_other_forms(
    after: Detection | WholeImage, proposals: dict[str, Proposals], job: Job, folder: Path
) -> tuple[bytes, str]:
    """The new backbone with those forms of `[inspection] variants` that answer as it does, with a head learned from the
    job; and what was found, in words.
    """
    config = _config_of(job)
    variants = settings_of(config).variants
    if not variants:
        return after.bundle(), ""
    say(folder, Progress(state="running", share=_TRAIN_SHARE, text=f"trying it as {', '.join(variants)}"))
    moved = [_moved(one.example, proposals) for one in job.examples]
    reflex = Reflex(after.teach, after.start(), config.learn)
    reflex.learn([Change(0, None, example) for example in moved])
    named = [one for one in moved if any(claim.label for word in one.feedback for claim in word.claims)]
    rest = [one for one in moved if one not in named]
    chosen = [*rest[-_PARITY_MAX // 2 :], *named[-_PARITY_MAX:]][-_PARITY_MAX:]  # what is there tells most
    pieces = [payloads(folder)(example) for example in chosen]
    try:
        bundle, found = exported(config, variants, pieces, Limits(), reflex.head(), after)
    except ModelError as error:
        return after.bundle(), f"in no other form: {error}"
    return bundle, "; ".join(f"{one.runtime} {_verdict(one)}" for one in found if one.runtime in variants)


def _moved(example: Example, proposals: dict[str, Proposals]) -> Example:
    """An example as the new backbone sees it."""
    prediction = example.prediction
    return msgspec.structs.replace(example, prediction=rederived(prediction, proposals[prediction.id]))


def _verdict(one: Parity) -> str:
    if one.refused:
        return f"refused: {one.refused}"
    return f"answers {one.alike:.1%} as it does, in {one.latency_ms:.1f} ms"


def _planned(run: Run, job: Job, folder: Path) -> Plan:
    """How many steps there will be: by the time that a step takes here, and kept for who goes on."""
    kept = folder / "plan.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Plan)
    run.restart(1000)
    marks = [time.monotonic()]
    for number in range(_TIMED_STEPS):
        run.step(number)
        marks.append(time.monotonic())
    step_s = sorted(later - earlier for earlier, later in pairwise(marks))[_TIMED_STEPS // 3]
    steps = min(run.steps_max, max(1, int(_TRAIN_SHARE * job.minutes_max * 60 / step_s)))
    kept.write_bytes(msgspec.json.encode(Plan(steps)))
    return Plan(steps)


def _save(run: Run, number: int, folder: Path) -> None:
    """Replace the checkpoint in one step."""
    beside = folder / "checkpoint.new"
    state = {**run.state(), "number": torch.tensor(number)}
    beside.write_bytes(safetensors.torch.save(state))
    beside.replace(folder / "checkpoint.safetensors")


def _restored(run: Run, folder: Path) -> int:
    """The number of the next step, after taking up the checkpoint if there is one."""
    kept = folder / "checkpoint.safetensors"
    if not kept.exists():
        return 0
    state = safetensors.torch.load(kept.read_bytes())
    number = int(state.pop("number"))
    run.restore(state)
    return number


def _rederived(after: Detection | WholeImage, job: Job, folder: Path) -> dict[str, Proposals]:
    """What the new backbone proposes for each example, whatever it is for."""
    read, found = payloads(folder), {}
    for number, one in enumerate(job.examples):
        found[one.example.prediction.id] = after.propose(read(one.example))
        if number % _SAY_EVERY == 0:
            share = _TRAIN_SHARE + (1 - _TRAIN_SHARE) * number / len(job.examples)
            text = f"looking again at what was verified, {number} of {len(job.examples)}"
            say(folder, Progress(state="running", share=share, text=text))
    return found


main = partial(do, train)

if __name__ == "__main__":
    as_process(main)
