"""The slower tiers at work: jobs laid, a child that trains, what came meanwhile, stops and failures."""

from __future__ import annotations

import time

import msgspec
import pytest

from hotloop.config import RefreshConfig
from hotloop.errors import DiskFullError, ModelError, StoreError
from hotloop.job import JobExample, Progress, read_job, say, told, write_job
from hotloop.refresher import rehearsed
from hotloop.types import Candidate, Claim, Example, Feedback, Notice, Observation, Prediction, Proposals

TRAINER = """
import json, sys, time
from pathlib import Path
import msgspec
from hotloop.job import Progress, blob_path, finish, read_job, say
from hotloop.types import Proposals, Rederivation, digest
folder = Path(sys.argv[1])
job = read_job(folder)
if (folder / "fail").exists() or {fail}:
    say(folder, Progress(state="failed", share=0.5, text="the lamp went out"))
    sys.exit(1)
if not (folder / "begun").exists():
    (folder / "begun").write_text("")
    time.sleep({first_s})
matrix = [[0.0, 2.0], [2.0, 0.0]]
bundle = json.dumps(matrix).encode()
seen = {{}}
for one in job.examples:
    p = one.example.prediction
    x, y = json.loads(blob_path(folder, p.observation.digest).read_bytes())
    import struct
    seen[p.id] = Proposals(1, 2, struct.pack("<2f", 2 * y, 2 * x), kind="f4")
finish(folder, bundle, Rederivation(digest(bundle), seen))
"""


@pytest.fixture
def trained(stand, tmp_path, monkeypatch):
    """A loop whose backbone is trained by a child that is really started."""

    def make(*, fail=False, first_s=0.0, **refresh):
        (tmp_path / "turned_trainer.py").write_text(TRAINER.format(fail=fail, first_s=first_s))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        loop = stand(turned=True, folder=tmp_path / "store", refresh=RefreshConfig(**refresh))
        (tmp_path / "store").mkdir(exist_ok=True)
        monkeypatch.setattr(type(loop.vertical), "trainer", lambda self: ("turned_trainer",))
        return loop

    return make


def until(loop, kind, seconds=20.0):
    """Work until the log holds one of a kind; the newest."""
    end = time.monotonic() + seconds
    while not loop.bodies(kind):
        loop.engine.refresher.work()
        assert time.monotonic() < end, loop.engine.refresher.words
        time.sleep(0.02)
    return loop.bodies(kind)[-1]


def test_an_ordered_refresh_goes_out(trained):
    """The order lays a job, the child trains, the gate lets it pass, the line answers with it."""
    loop = trained()
    before = loop.taught(40, group=5)
    loop.order("refresh")
    candidate = until(loop, Candidate)
    assert (candidate.tier, candidate.count) == ("refresh", 40)
    assert "tester" in candidate.reason or "ordered" in candidate.reason
    assert loop.settle() == before + 1
    assert loop.registry.get(before + 1).tier == "refresh"
    assert not loop.engine.refresher.folder.exists()
    loop.rebuilt()


def test_what_is_verified_while_the_child_trains_is_seen_too(trained):
    """The candidate brings it on its own backbone, so nothing waits."""
    loop = trained()
    loop.taught(30, group=5)
    loop.order("refresh")
    loop.engine.refresher.work()
    loop.taught(5, group=5)
    candidate = until(loop, Candidate)
    assert candidate.count == 35
    loop.settle()
    assert loop.engine.snapshot().elsewhere == 0


def test_a_consolidation_begins_at_the_start_model(trained):
    """After a refresh it trains on everything, from the first backbone."""
    loop = trained()
    loop.taught(30, group=5)
    loop.order("refresh")
    until(loop, Candidate)
    loop.settle()
    loop.order("consolidate")
    loop.engine.refresher.work()
    assert read_job(loop.engine.refresher.folder).backbone == loop.vertical.backbone
    loop.engine.refresher.close()


def test_a_child_that_fails_is_said_and_nothing_else_happens(trained):
    """The notice has its words; the line stays with what it has; another order may follow."""
    loop = trained(fail=True)
    version = loop.taught(20, group=5)
    loop.order("refresh")
    loop.engine.refresher.work()
    end = time.monotonic() + 20
    while loop.engine.refresher.running and time.monotonic() < end:
        loop.engine.refresher.work()
    notice = loop.bodies(Notice)[-1]
    assert "the lamp went out" in notice.text
    assert loop.settle() == version
    assert not loop.engine.refresher.folder.exists()


def test_a_job_that_a_stop_interrupted_goes_on(trained):
    """The child of the next start finds its folder as it was."""
    loop = trained(first_s=30.0)
    before = loop.taught(30, group=5)
    loop.order("refresh")
    loop.engine.refresher.work()
    begun = loop.engine.refresher.folder / "begun"
    end = time.monotonic() + 20
    while not begun.exists() and time.monotonic() < end:
        time.sleep(0.02)
    loop.engine.close()
    engine = loop.start()
    engine.start()
    end = time.monotonic() + 30
    while engine.model.version == before and time.monotonic() < end:
        time.sleep(0.05)
    engine.close()
    assert engine.model.tier == "refresh"


def test_without_a_backbone_or_anything_verified_it_says_so(stand, trained):
    """An order that cannot be carried out is answered in words, in the log."""
    plain = stand()
    plain.taught(5)
    plain.order("refresh")
    plain.engine.refresher.work()
    assert "no backbone" in plain.bodies(Notice)[-1].text
    empty = trained()
    empty.order("refresh")
    empty.engine.refresher.work()
    assert "no verified piece" in empty.bodies(Notice)[-1].text


def test_bytes_that_are_not_kept_are_passed_over(trained):
    """What the lake has lost cannot be trained on, or seen again; the rest can."""
    loop = trained()
    loop.taught(30, group=5)
    lost, _ = loop.sense((0.5, 0.5))
    loop.say(lost, "worn")
    loop.settle()
    del loop.lake._blobs[lost.observation.digest]
    loop.order("refresh")
    assert until(loop, Candidate).count == 30


def example(name, *labels):
    """A verified example of some labels."""
    seen = Observation(id=name, site="s", line="l", at=0.0, digest="d")
    made = Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b""))
    return Example(made, (Feedback(prediction=name, reviewer="r", claims=tuple(Claim(label=x) for x in labels)),))


def test_the_memory_that_is_rehearsed_is_balanced():
    """The newer half as it came; of the older ones as many of the rare kind as there are; judges and golden always."""
    common = [JobExample(example(f"c{n}", "dent"), "train") for n in range(200)]
    rare = [JobExample(example(f"r{n}", "crack"), "train") for n in range(10)]
    fixed = [JobExample(example("j"), "judge"), JobExample(example("g"), "golden")]
    found = rehearsed([*rare, *common, *fixed], 60)
    names = [one.example.prediction.id for one in found]
    assert len(names) == 62
    assert {f"r{n}" for n in range(10)} <= set(names)
    assert {f"c{n}" for n in range(170, 200)} <= set(names)
    assert {"j", "g"} <= set(names)
    assert names == sorted(names, key=[one.example.prediction.id for one in [*rare, *common, *fixed]].index)
    assert rehearsed(common, 200) == common


def test_a_job_is_read_as_it_was_laid(tmp_path):
    """Whole, or refused: a bundle that is not the one it names, a folder that is none."""
    from hotloop.job import Job
    from hotloop.types import digest

    job = Job(
        tier="refresh", reason="r", backbone=digest(b"x"), tables={"a": {"b": 1}}, base="", examples=(), trained_to=3,
        seed=0, minutes_max=1.0, threads=1,
    )  # fmt: skip
    assert told(tmp_path) == Progress(state="running", share=0.0, text="starting")
    write_job(tmp_path, job, b"x")
    assert read_job(tmp_path) == job
    say(tmp_path, Progress(state="running", share=0.5, text="half"))
    assert told(tmp_path).share == 0.5
    (tmp_path / "bundle.bin").write_bytes(b"y")
    with pytest.raises(ModelError, match="not the backbone"):
        read_job(tmp_path)
    with pytest.raises(ModelError, match="no training job"):
        read_job(tmp_path / "none")


def test_a_result_that_cannot_be_read_is_no_candidate(trained):
    """Bytes that are no features are said, not released."""
    loop = trained()
    loop.taught(20, group=5)
    loop.order("refresh")
    loop.engine.refresher.work()
    loop.engine.refresher._child.wait(20)
    (loop.engine.refresher.folder / "features.msgpack").write_bytes(msgspec.msgpack.encode([1]))
    loop.engine.refresher.work()
    assert not loop.bodies(Candidate)
    assert "cannot be read" in loop.engine.refresher.words
    assert not loop.engine.refresher.folder.exists()  # or it would be tried for ever


def test_what_the_disk_did_not_take_is_handed_in_later(trained, monkeypatch):
    """A full disk when the child is done: said, and tried again; the job is not lost."""
    loop = trained()
    loop.taught(20, group=5)
    loop.order("refresh")
    loop.engine.refresher.work()
    loop.engine.refresher._child.wait(20)
    put = loop.lake.put
    fails = iter([DiskFullError("the disk is full")])

    def full(blobs):
        for error in fails:
            raise error
        return put(blobs)

    monkeypatch.setattr(loop.lake, "put", full)
    with pytest.raises(DiskFullError):
        loop.engine.refresher.work()
    assert not loop.bodies(Candidate)
    loop.engine.refresher.work()
    assert loop.bodies(Candidate)
    loop.order("refresh")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hotloop.refresher.write_job", refuse)
    with pytest.raises(StoreError, match="cannot go on"):
        loop.engine.refresher.work()


def test_pieces_that_nobody_can_see_again_are_bounded(stand, monkeypatch):
    """Their bytes are not kept: the oldest is let go."""
    monkeypatch.setattr("hotloop.lessons._WAITING_MAX", 2)
    loop = stand(turned=True)
    loop.taught(30, group=5)
    late = [loop.sense() for _ in range(4)]
    loop.retrained([[0.0, 1.0], [1.0, 0.0]])
    loop.settle()
    for piece, truth in late:
        loop.say(piece, truth)
    loop.settle()
    assert loop.engine.snapshot().elsewhere == 2


def test_a_new_backbone_is_told_from_the_former_one_where_they_differ(stand):
    """Pieces that the former one answers otherwise come first in the review order, however few those are; what both
    answer alike is not asked for. Once there is no former backbone to watch, nothing is.
    """
    loop = stand(turned=True)
    loop.taught(40, group=5)
    loop.retrained([[1.0, 0.0], [0.2, 0.0]])  # it sees one direction alone, and is worse
    loop.settle()
    loop.order("promote")
    engine = loop.engine
    former, lines = engine.lineage.standby, []
    assert former.backbone != engine.model.backbone
    for _ in range(60):
        lines.append(loop.sense()[0])
    loop.settle()
    while engine.refresher.tell_apart():
        pass
    said = {p.id: tuple(o.label for o in p.outputs) for p in lines}
    was = {}
    for p in lines:
        proposals = engine.refresher._proposed(p, former.vertical)
        was[p.id] = tuple(o.label for o in former.vertical.answer(proposals, former.head))
    differing = [p.id for p in lines if said[p.id] != was[p.id]]
    assert 0 < len(differing) < len(lines)
    first = [(name, why) for name, _, why in engine.review(200)[0][: len(differing)]]
    assert {name for name, _ in first} == set(differing)
    assert {why for _, why in first} == {"new and former model differ"}
    loop.say(next(p for p in lines if p.id == differing[0]), "worn")
    loop.settle()
    assert differing[0] not in {name for name, _, _ in engine.review(200)[0]}
    loop.order("rollback")
    assert engine.refresher.tell_apart() == 0
    assert not any(why == "new and former model differ" for _, _, why in engine.review(200)[0])


def test_a_piece_whose_bytes_have_not_come_yet_is_looked_at_later(stand):
    """A line sends its payloads after its predictions: what is not there yet is not given up."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    loop.retrained([[0.0, 1.0], [1.0, 0.0]])
    loop.settle()
    prediction, _ = loop.sense()
    loop.settle()
    kept = loop.lake._blobs.pop(prediction.observation.digest)
    loop.engine.refresher.tell_apart()
    assert prediction.id not in loop.engine.refresher._blind
    assert prediction.id not in loop.engine.refresher._compared
    loop.lake._blobs[prediction.observation.digest] = kept
    loop.engine.refresher.tell_apart()
    assert prediction.id in loop.engine.refresher._compared
