"""A job's drives are learned again: once each, on top of the start, the same each time, and all examples mined anew."""

from __future__ import annotations

import msgspec
import pytest

from hotloop.config import LoopConfig
from hotloop.errors import InputError
from hotloop.job import Job, JobExample, blob_path, told, write_job
from hotloop.types import Claim, Example, Feedback, Observation, Payload, Prediction, Proposals, Rederivation, digest
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.refresh import main
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
