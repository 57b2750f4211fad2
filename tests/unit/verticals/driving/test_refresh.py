"""A job's drives are learned again: once each, on top of the start, the same each time, and all examples mined anew."""

from __future__ import annotations

import re
import time
from contextlib import closing

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import hotloop
from hotloop.cli import app
from hotloop.config import LoopConfig
from hotloop.errors import InputError
from hotloop.job import Job, JobExample, blob_path, told, write_job
from hotloop.offline import rebuild
from hotloop.refresher import Refresher
from hotloop.types import (
    Claim,
    Example,
    Feedback,
    Judgement,
    Observation,
    Payload,
    Prediction,
    Proposals,
    Rederivation,
    digest,
)
from hotloop.verticals.driving.finding import CASES
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.planted import plant
from hotloop.verticals.driving.refresh import main
from hotloop.verticals.driving.rows import finding_of
from hotloop.verticals.driving.segment import pack
from hotloop.verticals.driving.task import vertical
from hotloop.verticals.driving.traffic import highway, street

BARE = Proposals(0, 0, b"")


def segment(seed):
    """A drive of twenty seconds."""
    return pack((highway if seed % 2 else street)(seed, seconds=20.0))


def example(name, data, role="train"):
    """A verified segment with a purpose."""
    seen = Observation(id=name, site="s", line="l", at=0.0, digest=digest(data))
    said = Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=BARE)
    word = Feedback(prediction=name, reviewer="r", claims=(Claim(label="jerk"),))
    return JobExample(Example(said, (word,)), role)


def laid(folder, segments, roles=(), tables=None, lost=()):
    """A job in a folder."""
    roles = roles or ("train",) * len(segments)
    examples = tuple(example(f"p{k}", data, role) for k, (data, role) in enumerate(zip(segments, roles, strict=True)))
    bundle = Knows.start().to_bytes()
    job = Job(
        tier="refresh", reason="test", backbone=digest(bundle), tables=tables or {}, base="", examples=examples,
        trained_to=1, seed=0, minutes_max=1.0, threads=1,
    )  # fmt: skip
    folder.mkdir()
    write_job(folder, job, bundle)
    for data in segments:
        if data not in lost:
            blob_path(folder, digest(data)).write_bytes(data)
    return folder


def results(folder):
    """The bundle, and what was mined again."""
    bundle = (folder / "result.bin").read_bytes()
    return bundle, msgspec.msgpack.decode((folder / "features.msgpack").read_bytes(), type=Rederivation)


def test_drives_are_learned_and_mined_again(tmp_path):
    """Scenes, errors and windows are counted; each example's proposals are those of the new knowledge."""
    segments = [segment(seed) for seed in range(3)]
    folder = laid(tmp_path / "job", segments, ("train", "train", "judge"))
    assert main([str(folder)]) == 0
    bundle, features = results(folder)
    knows = Knows.from_bytes(bundle)
    assert knows.scenes.count > 100
    assert knows.windows == 4
    assert features.backbone == digest(bundle)
    assert sorted(features.proposals) == ["p0", "p1", "p2"]
    after = vertical(LoopConfig(vertical="driving")).revived(bundle)
    assert features.proposals["p2"] == after.propose(Payload(segments[2]))
    assert told(folder).state == "done"
    assert "2 drives" in told(folder).text


def test_what_judges_is_not_learned(tmp_path):
    """Only what may be trained on is; the golden pieces and the held-out ones are only mined again."""
    segments = [segment(seed) for seed in (1, 2, 3)]
    whole, part = laid(tmp_path / "a", segments[:1]), laid(tmp_path / "b", segments, ("train", "judge", "golden"))
    assert main([str(whole)]) == main([str(part)]) == 0
    assert results(whole)[0] == results(part)[0]


def test_a_drive_that_was_verified_twice_is_learned_once(tmp_path):
    """Two predictions on the same bytes are one drive."""
    one = segment(1)
    once, twice = laid(tmp_path / "a", [one]), laid(tmp_path / "b", [one, one])
    assert main([str(once)]) == main([str(twice)]) == 0
    assert results(once)[0] == results(twice)[0]
    assert results(twice)[1].proposals["p0"] == results(twice)[1].proposals["p1"]


def test_the_same_job_gives_the_same_bytes(tmp_path):
    """A job that was stopped and begun anew, or done elsewhere."""
    segments = [segment(seed) for seed in (4, 5)]
    one, other = laid(tmp_path / "a", segments), laid(tmp_path / "b", segments)
    assert main([str(one)]) == main([str(one)]) == main([str(other)]) == 0
    assert (one / "result.bin").read_bytes() == (other / "result.bin").read_bytes()
    assert (one / "features.msgpack").read_bytes() == (other / "features.msgpack").read_bytes()


def test_it_begins_with_what_the_loop_began_with(tmp_path):
    """What a start file holds is kept beside what the drives teach."""
    first = laid(tmp_path / "first", [segment(1)])
    assert main([str(first)]) == 0
    (tmp_path / "start.bin").write_bytes(results(first)[0])
    tables = {"driving": {"start": str(tmp_path / "start.bin")}}
    more, alone = laid(tmp_path / "more", [segment(3)], tables=tables), laid(tmp_path / "alone", [segment(3)])
    assert main([str(more)]) == main([str(alone)]) == 0
    counts = [Knows.from_bytes(results(folder)[0]).scenes.count for folder in (first, alone, more)]
    assert counts[2] == counts[0] + counts[1]


def test_a_drive_of_another_region_is_not_trained_on(tmp_path):
    """The job says why, and there is no result."""
    tracks = highway(1, 5, 5.0)
    foreign = pack(type(tracks)(**{**tracks.__dict__, "region": "us"}))
    folder = laid(tmp_path / "job", [foreign], tables={"driving": {"region": "eu"}})
    assert main([str(folder)]) == 1
    assert told(folder).state == "failed"
    assert "'us'" in told(folder).text
    assert not (folder / "result.bin").exists()


def test_a_segment_that_is_not_there_is_named(tmp_path):
    """The job fails with its prediction's name."""
    one = segment(1)
    folder = laid(tmp_path / "job", [one], lost=[one])
    assert main([str(folder)]) == 1
    assert "the segment of p0 is not in" in told(folder).text


def test_a_folder_that_is_no_job_is_said(tmp_path):
    """So is a call without one."""
    (tmp_path / "no job").mkdir()
    assert main([str(tmp_path / "no job")]) == 1
    assert "ModelError" in told(tmp_path / "no job").text
    with pytest.raises(InputError, match="one argument"):
        main([])


def looked_at(loop, seeds, seconds):
    """Segments that an expert looked at: their cut-ins and hard brakes are of use."""
    for seed in seeds:
        calm = (highway if seed % 2 else street)(seed, 16, seconds=seconds)
        tracks = plant(calm, seed, {"cut-in": 1, "hard braking": 1})[0]
        said = loop.engine.observe(Payload(pack(tracks)), "car-1")
        claims = tuple(
            Claim(output=k, label=o.label if o.label in ("cut-in", "hard braking") else None)
            for k, o in enumerate(said.outputs)
        )
        loop.engine.feedback(Feedback(prediction=said.id, reviewer="expert", claims=claims, complete=False))
    loop.learn()


def refreshed(loop):
    """The gate's words on a refresh that is begun and waited for."""
    with closing(Refresher(loop.engine)) as refresher:
        refresher.begin("test", "refresh")
        limit = time.monotonic() + 120.0
        while (refresher.folder / "job.msgpack").exists() and time.monotonic() < limit:
            refresher.work()
            loop.learn()
            time.sleep(0.05)
        loop.learn()
    bodies = [record.event.body for record in loop.engine.log.read(0, 10_000)]
    return [one for one in bodies if isinstance(one, Judgement) and one.tier == "refresh"]


def test_a_refresh_on_little_evidence_is_held(tmp_path):
    """In a child process, as on a hub: the candidate is judged on the held-out drives, of which there are too few; the
    loop goes on with what it knew, and the log alone leads to the same models again.
    """
    refresh = {"examples_min": 10, "minutes_max": 1.0}
    with hotloop.open(tmp_path / "loop", vertical="driving", refresh=refresh) as loop:
        looked_at(loop, range(12), 8.0)
        before = loop.engine.vertical.backbone
        (said,) = refreshed(loop)
        assert said.decision == "hold"
        assert "too few to judge by" in said.reason
        assert loop.engine.vertical.backbone == before
        config = loop.config
    found = rebuild(config, lambda records, _words, _count: records)
    assert found.releases == found.same >= 1


SETTINGS = """
vertical = "driving"
[store]
folder = "stores"
[gate]
least_examples = 8
[refresh]
examples_min = 10
holdout_share = 0.6
minutes_max = 1.0
"""


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """The settings of a loop, closed, in which a refresh was judged on enough verified drives; what the gate said; the
    loop's findings of one more drive before and after it; and that drive.
    """
    path = tmp_path_factory.mktemp("loop") / "loop.toml"
    path.write_text(SETTINGS)
    fresh = pack(plant(street(900, seconds=20.0), 900, {"cut-in": 1})[0])
    with hotloop.open(path) as loop:
        looked_at(loop, range(18), 8.0)
        before = loop.engine.observe(Payload(fresh), "car-1")
        said = refreshed(loop)
        after = loop.engine.observe(Payload(fresh), "car-2")
    return path, said, (before, after), fresh


def test_a_refresh_that_is_no_worse_is_promoted(promoted):
    """On enough held-out drives, case by case; from then on the loop answers with what it learned of driving."""
    path, said, (before, after), fresh = promoted
    assert [one.decision for one in said] == ["promote"], [one.reason for one in said]
    assert said[0].count >= 8
    assert {one.name for one in said[0].slices} <= {f"label:{case}" for case in CASES}
    with hotloop.open(path) as loop:  # after a restart, too
        task = loop.engine.vertical
        assert task.backbone != vertical(LoopConfig(vertical="driving")).backbone
        assert task.knows.windows > 0
        assert task.knows.scenes.count > 0
        assert task.propose(Payload(fresh)) == after.proposals
    assert (before.version, before.proposals.rows) != (after.version, 0)
    assert after.version > before.version


def test_what_the_refresh_learned_changes_what_is_found(promoted):
    """Rarity, novelty and surprise were unknown before, and are in the findings after; the cases are still there."""
    _, _, (before, after), _ = promoted
    unknown, told = (np.array([region[7:10] for region in one.proposals.regions]) for one in (before, after))
    assert not unknown.any()
    assert told[:, 2].max() > 0  # rarity
    cases = [{finding_of(region).case for region in one.proposals.regions} for one in (before, after)]
    assert cases[0] <= cases[1]


def test_everything_rerun_from_the_log_is_the_same_to_the_byte(promoted, tmp_path):
    """`hotloop replay` makes each release again with the digest that was logged, the refresh's, too; and each drive's
    findings, mined again from the lake by the knowledge of their time, are the bytes of the log.
    """
    path = promoted[0]
    result = CliRunner().invoke(app, ["replay", str(path), "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    told = re.search(r"(\d+) releases made again .*; (\d+) with the same digest, 0 not", output)
    assert told is not None, result.output
    assert int(told[1]) == int(told[2]) >= 2
    start = vertical(LoopConfig(vertical="driving"))
    with hotloop.open(path) as loop:
        lake, now = loop.engine.lake, loop.engine.vertical
        said = [r.event.body for r in loop.engine.log.read(0, 10_000) if isinstance(r.event.body, Prediction)]
        assert len(said) == 20
        for number, one in enumerate(said):
            by = now if number == 19 else start
            found = by.propose(Payload(lake.get(one.observation.digest)))
            assert msgspec.msgpack.encode(found) == msgspec.msgpack.encode(one.proposals), one.id
