"""The child of a refresh: what it finds in a job's trips, and what it says where there is nothing to find."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.errors import InputError
from hotloop.job import Job, JobExample, blob_path, told, write_job
from hotloop.types import Payload, Proposals, Rederivation, digest
from hotloop.verticals.warehouse.policy import Routing
from hotloop.verticals.warehouse.refresh import GAIN_LEAST, chosen, main, mean_cost
from hotloop.verticals.warehouse.task import vertical

from .test_task import TABLE, trip


def started(**more):
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE | more}))


def laid(folder, task, count, tables, partial=False):
    """A job of so many trips: every fifth judges."""
    rng = np.random.default_rng(0)
    factors = rng.choice([1.0, 1.0, 4.0], task.layout.stretches)
    found, blobs = [], {}
    for number in range(count):
        picks = [(int(rng.integers(6)), float(rng.uniform(0, 30))) for _ in range(4)]
        one = trip(task, task.start(), picks, lambda s: factors[s], f"t:{number}", float(number))
        data = json.dumps({"picks": picks, "at": float(number), "busy": {"0": int(rng.integers(3))}}).encode()
        seen = msgspec.structs.replace(one.prediction.observation, digest=digest(data))
        bare = msgspec.structs.replace(one.prediction, observation=seen, proposals=Proposals(0, 0, b""))
        words = one.feedback
        if partial:
            words = tuple(msgspec.structs.replace(word, claims=word.claims[:1]) for word in words)
        role = "judge" if number % 5 == 0 else "train"
        found.append(JobExample(msgspec.structs.replace(one, prediction=bare, feedback=words), role))
        blobs[digest(data)] = data
    job = Job(
        tier="refresh", reason="told to", backbone=digest(task.bundle()), tables={"warehouse": tables}, base=".",
        examples=tuple(found), trained_to=1, seed=0, minutes_max=1.0, threads=1,
    )  # fmt: skip
    write_job(folder, job, task.bundle())
    for name, data in blobs.items():
        blob_path(folder, name).write_bytes(data)
    return job


def done(folder):
    """What a job came to: the policy, and what every trip is seen as."""
    features = msgspec.msgpack.decode((folder / "features.msgpack").read_bytes(), type=Rederivation)
    bundle = (folder / "result.bin").read_bytes()
    assert features.backbone == digest(bundle)
    return msgspec.json.decode(bundle, type=Routing), features.proposals


def test_a_better_router_is_found(tmp_path):
    """From routes as people walk them to the exact ones; every trip is there for the gate, seen as before."""
    tables = TABLE | {"routing": {"router": "return", "explores": 0.5}}
    task = started(routing={"router": "return", "explores": 0.5})
    job = laid(tmp_path, task, 40, tables)
    assert main([str(tmp_path)]) == 0
    routing, proposals = done(tmp_path)
    assert routing == Routing(router="exact", explores=0.5), "how it explores is left as it is"
    assert list(proposals) == [one.example.prediction.id for one in job.examples]
    first = job.examples[0].example.prediction.observation.digest
    assert proposals["t:0"] == task.propose(Payload(blob_path(tmp_path, first).read_bytes()))
    progress = told(tmp_path)
    assert progress.state == "done"
    assert "cost by router: exact 0." in progress.text
    before = (tmp_path / "result.bin").read_bytes(), (tmp_path / "features.msgpack").read_bytes()
    assert main([str(tmp_path)]) == 0, "started again on the same folder"
    assert ((tmp_path / "result.bin").read_bytes(), (tmp_path / "features.msgpack").read_bytes()) == before


def test_where_nothing_is_better_that_is_said(tmp_path):
    """The exact tours stay; the job fails, in words."""
    laid(tmp_path, started(), 30, TABLE)
    assert main([str(tmp_path)]) == 1
    progress = told(tmp_path)
    assert progress.state == "failed"
    assert "no policy is better than the one that answers: cost by router: exact 0." in progress.text
    assert not (tmp_path / "result.bin").exists()


def test_a_considerate_warehouse_learns_what_robots_cost_each_other(tmp_path):
    """Only where it is asked for; the values are of this layout."""
    laid(tmp_path, started(considerate=True), 80, TABLE | {"considerate": True})
    assert main([str(tmp_path)]) == 0
    routing, _ = done(tmp_path)
    assert routing.router == "exact"
    assert len(routing.congestion) == 8
    assert "what robots cost each other: up to" in told(tmp_path).text
    assert started().revived(routing.bundle()).routing == routing


def test_trips_that_cannot_tell_move_nothing(tmp_path):
    """Not one was measured whole."""
    laid(tmp_path, started(), 30, TABLE, partial=True)
    assert main([str(tmp_path)]) == 1
    assert "no trip was measured whole" in told(tmp_path).text


def test_what_is_missing_is_named(tmp_path):
    """A request whose bytes are gone; a bundle that is none; a folder that is no job."""
    job = laid(tmp_path, started(), 30, TABLE)
    blob_path(tmp_path, job.examples[3].example.prediction.observation.digest).unlink()
    assert main([str(tmp_path)]) == 1
    assert "the request of t:3 is not in" in told(tmp_path).text
    (tmp_path / "bundle.bin").write_bytes(b"junk")
    assert main([str(tmp_path)]) == 1
    assert "not the backbone that the job names" in told(tmp_path).text
    with pytest.raises(InputError, match="one argument"):
        main([])


def test_a_router_has_to_be_better_by_enough():
    """Else it stays; one without a price is none."""
    now = Routing(router="combined", congestion=())
    assert chosen(now, {"exact": 0.1, "combined": 0.1 + GAIN_LEAST / 2})[0] == now
    assert chosen(now, {"exact": 0.1, "combined": 0.1 + 2 * GAIN_LEAST})[0].router == "exact"
    assert chosen(now, {"exact": float("nan"), "combined": 0.9})[0] == now
    assert chosen(now, {"exact": 0.3, "combined": float("nan")})[0].router == "exact"
    assert chosen(now, {}) == (now, "cost by router: no trip was measured whole")


def test_a_mean_of_nothing_is_no_number():
    """No trip, or none that can tell."""
    task = started()
    assert np.isnan(mean_cost(task, [], task.start()))
    one = trip(task, task.start(), [(1, 10.0)], lambda s: 1.0)
    silent = msgspec.structs.replace(one, feedback=())
    assert np.isnan(mean_cost(task, [silent], task.start()))
    assert 0.0 <= mean_cost(task, [silent, one], task.start()) < 0.5
