"""What was learned of motion, scenes and cases, learned again from a job's drives: `python -m ...refresh FOLDER`.

On top of what the loop began with, each drive that may be trained on is learned once, oldest first: moments of the
trajectory predictor and of scenes, the predictor's errors in calm driving, how often each case comes. Which drives
these are, the common rehearsed with the rare, is the core's choice (`refresher.rehearsed`). Then every example is mined
again by what was learned, for the gate to judge case by case.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import InputError
from hotloop.job import Job, Progress, as_process, blob_path, do, finish, read_job, say
from hotloop.types import Example, Payload, Proposals, Rederivation, digest
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.mine import lesson, mine
from hotloop.verticals.driving.settings import settings_of
from hotloop.verticals.driving.task import Driving, vertical


def train(folder: Path) -> None:
    """Do the job of a folder. It takes seconds, so that one that was stopped begins anew."""
    job = read_job(folder)
    config = LoopConfig(tables=job.tables, base=job.base, learn=LearnConfig(seed=job.seed))
    start, limits = vertical(config), settings_of(config).mine
    knows, seen = Knows.from_bytes(start.bundle()), set[str]()
    for number, one in enumerate(job.examples):
        name = one.example.prediction.observation.digest
        if one.role == "train" and name not in seen:
            seen.add(name)
            tracks = start.tracks(_payload(one.example, folder))
            knows.learn(lesson(tracks, mine(tracks, knows, limits), knows, limits))
        text = f"learning drives, {number + 1} of {len(job.examples)}"
        say(folder, Progress(state="running", share=0.5 * (number + 1) / len(job.examples), text=text))
    after = start.revived(knows.to_bytes())
    proposals = _mined_again(after, job, folder)
    calm = "calibrated" if knows.calibrated else "not calibrated yet"
    words = f"{len(seen)} drives, {knows.scenes.count} scenes, {calm}"
    finish(folder, after.bundle(), Rederivation(digest(after.bundle()), proposals), words)


def _payload(example: Example, folder: Path) -> Payload:
    """An example's segment. InputError if it is not in the folder."""
    path = blob_path(folder, example.prediction.observation.digest)
    try:
        return Payload(path.read_bytes())
    except OSError as error:
        raise InputError(f"the segment of {example.prediction.id} is not in {folder}: {error}") from error


def _mined_again(after: Driving, job: Job, folder: Path) -> dict[str, Proposals]:
    """What each example's segment holds by what was learned, whatever the example is for."""
    found, of_segment = {}, dict[str, Proposals]()
    for number, one in enumerate(job.examples):
        prediction = one.example.prediction
        name = prediction.observation.digest
        if name not in of_segment:
            of_segment[name] = after.propose(_payload(one.example, folder))
        found[prediction.id] = of_segment[name]
        share = 0.5 + 0.5 * (number + 1) / len(job.examples)
        text = f"mining again, {number + 1} of {len(job.examples)}"
        say(folder, Progress(state="running", share=share, text=text))
    return found


main = partial(do, train)

if __name__ == "__main__":
    as_process(main)
