"""The refresh's child process: what it trains on, that it goes on after a kill to the same bytes, and how it fails."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hotloop.config import LoopConfig
from hotloop.edge.parity import Limits
from hotloop.errors import InputError, ModelError
from hotloop.feedback import false_alarms, verdict
from hotloop.job import Job, JobExample, blob_path, read_job, told, write_job
from hotloop.sense.images import encode_png
from hotloop.types import (
    Example,
    Observation,
    Output,
    Payload,
    Prediction,
    Proposals,
    Rederivation,
    digest,
    rederived,
)
from hotloop.verticals.inspection import refresh
from hotloop.verticals.inspection.boards import draw_board
from hotloop.verticals.inspection.bundle import BOXES, LITE0, SHIPPED, make_bundle, open_bundle
from hotloop.verticals.inspection.export import recipe_of
from hotloop.verticals.inspection.task import vertical
from hotloop.verticals.inspection.train import REFUTED, Patch, Recipe, cut, turn
from hotloop.verticals.inspection.tune_boxes import BoxesRun, balance, patch_of, swapped

SIDE = 192
NONE = Proposals(0, 0, b"")


@pytest.fixture(scope="module")
def boards():
    """The vertical on the shipped model."""
    return vertical(LoopConfig())


def payload(seed):
    """A small drawn board with its template, and what is truly there."""
    board = draw_board(seed, size_px=SIDE)
    truths = [(d.kind, tuple(float(v) for v in d.box)) for d in board.defects]
    return Payload(encode_png(board.test), "image/png", encode_png(board.template)), truths


def example(seed, outputs=()):
    """A verified small board and its payload."""
    seen, truths = payload(seed)
    observation = Observation(
        id=f"p{seed}", site="s", line="l", at=0.0, digest=digest(seen.data), reference=digest(seen.reference)
    )
    made = Prediction(
        id=f"p{seed}", observation=observation, version=1, outputs=outputs, confidence=1.0, proposals=NONE
    )
    return Example(made, (verdict(made.id, truths, "ann"),)), seen


def laid(folder, boards, roles, minutes=0.05, tables=None):
    """A job's folder of small boards, one for each role."""
    examples = []
    (folder / "blobs").mkdir(parents=True)
    for seed, role in enumerate(roles):
        one, seen = example(seed)
        for data in (seen.data, seen.reference):
            blob_path(folder, digest(data)).write_bytes(data)
        examples.append(JobExample(one, role))
    job = Job(
        tier="refresh",
        reason="test",
        backbone=boards.backbone,
        tables=tables or {},
        base="",
        examples=tuple(examples),
        trained_to=1,
        seed=0,
        minutes_max=minutes,
        threads=1,
    )
    write_job(folder, job, boards.bundle())
    return job


@pytest.fixture
def small(monkeypatch):
    """Training at a size for tests."""
    monkeypatch.setattr("hotloop.verticals.inspection.tune_boxes._DRAWN_KEPT", 2)
    monkeypatch.setattr("hotloop.verticals.inspection.tune_boxes._DRAWN_CHECKS", 2)
    monkeypatch.setattr("hotloop.verticals.inspection.refresh._TIMED_STEPS", 2)
    monkeypatch.setattr("hotloop.verticals.inspection.refresh._SAVE_S", 0.0)
    monkeypatch.setattr("hotloop.verticals.inspection.tune_boxes.Recipe", lambda: Recipe(batch=2, patch_px=96))


def test_a_job_is_done(tmp_path, boards, small):
    """A new backbone that fits the loop, every example seen by it whatever it is for, and the way there told."""
    laid(tmp_path, boards, ["train"] * 4 + ["judge", "golden"])
    (tmp_path / "plan.json").write_text('{"steps": 3}')
    assert refresh.main([str(tmp_path)]) == 0
    assert told(tmp_path).state == "done"
    bundle = (tmp_path / "result.bin").read_bytes()
    after = boards.revived(bundle)
    assert after.backbone == digest(bundle) != boards.backbone
    assert (after.labels, after.recipe) == (boards.labels, boards.recipe)
    found = msgspec.msgpack.decode((tmp_path / "features.msgpack").read_bytes(), type=Rederivation)
    assert found.backbone == after.backbone
    assert set(found.proposals) == {f"p{k}" for k in range(6)}
    seen, _ = payload(0)
    assert found.proposals["p0"] == after.propose(seen)


def test_a_refresh_brings_the_forms_that_are_wanted(tmp_path, boards, small, monkeypatch):
    """One that answers as the new network does is in the bundle; the digest of the features is that bundle's."""
    monkeypatch.setattr("hotloop.verticals.inspection.refresh.Limits", lambda: Limits(0.0, 0, apart_max=1.0))
    laid(tmp_path, boards, ["train"] * 3, tables={"inspection": {"variants": ["int8"]}})
    (tmp_path / "plan.json").write_text('{"steps": 2}')
    assert refresh.main([str(tmp_path)]) == 0
    bundle = (tmp_path / "result.bin").read_bytes()
    assert set(open_bundle(bundle, BOXES).variants) == {"int8"}
    found = msgspec.msgpack.decode((tmp_path / "features.msgpack").read_bytes(), type=Rederivation)
    assert found.backbone == digest(bundle)
    assert "3 examples on the new backbone; int8 answers" in told(tmp_path).text


def test_a_form_that_answers_otherwise_is_left_out_and_said(tmp_path, boards, small, monkeypatch):
    """With the numbers; so is one that cannot be made. The refresh itself goes on."""
    small_process = Limits(0.0, 0, apart_max=1.0, mib_max=1.0)
    monkeypatch.setattr("hotloop.verticals.inspection.refresh.Limits", lambda: small_process)
    laid(tmp_path / "a", boards, ["train"] * 2, tables={"inspection": {"variants": ["int8"]}})
    (tmp_path / "a" / "plan.json").write_text('{"steps": 1}')
    assert refresh.main([str(tmp_path / "a")]) == 0
    assert not open_bundle((tmp_path / "a" / "result.bin").read_bytes(), BOXES).variants
    assert "MiB; 1 are allowed" in told(tmp_path / "a").text
    monkeypatch.setattr("hotloop.verticals.inspection.variants.is_here", lambda package: False)
    laid(tmp_path / "b", boards, ["train"] * 2, tables={"inspection": {"variants": ["litert"]}})
    (tmp_path / "b" / "plan.json").write_text('{"steps": 1}')
    assert refresh.main([str(tmp_path / "b")]) == 0
    assert "litert refused: a .tflite file is made with litert-torch" in told(tmp_path / "b").text


def test_killed_anywhere_it_ends_at_the_same_bytes(tmp_path, boards, small, monkeypatch):
    """After each of its steps: the checkpoint leads to the same backbone as a run that was never stopped."""
    laid(tmp_path / "whole", boards, ["train"] * 3)
    (tmp_path / "whole" / "plan.json").write_text('{"steps": 4}')
    assert refresh.main([str(tmp_path / "whole")]) == 0
    wanted = (tmp_path / "whole" / "result.bin").read_bytes()
    step = BoxesRun.step
    for killed_at in (1, 3):
        folder = tmp_path / f"at-{killed_at}"
        laid(folder, boards, ["train"] * 3)
        (folder / "plan.json").write_text('{"steps": 4}')

        def mortal(self, number, at=killed_at):
            if number == at and not (folder / "died").exists():
                (folder / "died").write_text("")
                raise KeyboardInterrupt
            return step(self, number)

        monkeypatch.setattr(BoxesRun, "step", mortal)
        with pytest.raises(KeyboardInterrupt):
            refresh.main([str(folder)])
        assert told(folder).state == "running"
        assert refresh.main([str(folder)]) == 0
        assert (folder / "result.bin").read_bytes() == wanted


def test_the_plan_is_made_once_by_the_time_a_step_takes(tmp_path, boards, small):
    """Kept in the folder, so that whoever goes on has the same; never more steps than the pieces are worth."""
    laid(tmp_path, boards, ["train"] * 3, minutes=1e-4)
    job = read_job(tmp_path)
    run, _ = refresh.run_of(job, tmp_path)
    plan = refresh._planned(run, job, tmp_path)
    assert plan.steps == 1
    assert json.loads((tmp_path / "plan.json").read_text()) == {"steps": 1}
    (tmp_path / "plan.json").write_text('{"steps": 7}')
    assert refresh._planned(run, job, tmp_path).steps == 7
    (tmp_path / "plan.json").unlink()
    assert refresh._planned(run, msgspec.structs.replace(job, minutes_max=1e6), tmp_path).steps == run.steps_max


def test_a_run_ends_when_its_time_is_far_over(tmp_path, boards, small, monkeypatch):
    """A machine that became slow does not train all night: what there is is measured and judged."""
    monkeypatch.setattr(refresh, "_OVERTIME", 0.0)
    laid(tmp_path, boards, ["train"] * 3)
    (tmp_path / "plan.json").write_text('{"steps": 500}')
    assert refresh.main([str(tmp_path)]) == 0
    assert told(tmp_path).state == "done"


def test_only_what_may_be_trained_on_is_opened(tmp_path, boards, small, monkeypatch):
    """The pictures of judges and golden pieces are never given to the training run."""
    job = laid(tmp_path, boards, ["train", "judge", "train", "golden"])
    given = []
    original = BoxesRun.__init__

    def watched(self, begun, examples, read, seed):
        given.extend(one.prediction.id for one in examples)
        original(self, begun, examples, read, seed)

    monkeypatch.setattr(BoxesRun, "__init__", watched)
    refresh.run_of(job, tmp_path)
    assert given == ["p0", "p2"]


@pytest.mark.parametrize("trouble", ["bytes", "bundle", "none"])
def test_what_goes_wrong_is_said(tmp_path, boards, small, trouble):
    """Missing bytes, a damaged backbone, nothing to train on: failed, with the reason, exit code 1."""
    laid(tmp_path, boards, ["judge"] if trouble == "none" else ["train"] * 2)
    if trouble == "bytes":
        for path in (tmp_path / "blobs").iterdir():
            path.unlink()
    elif trouble == "bundle":
        (tmp_path / "bundle.bin").write_bytes(b"x")
    assert refresh.main([str(tmp_path)]) == 1
    assert told(tmp_path).state == "failed"
    assert len(told(tmp_path).text) > 20
    with pytest.raises(InputError, match="folder"):
        refresh.main([])


def test_a_piece_is_trained_on_as_its_reviewers_agree(boards):
    """Truths and what is refuted, by index or by place; incomplete words leave the rest unknown; weight 0 is not
    there.
    """
    box, other = (10.0, 10.0, 40.0, 40.0), (100.0, 100.0, 130.0, 130.0)
    one, seen = example(0, (Output("open", 0.9, box, 0), Output("short", 0.9, other, 1)))
    word = false_alarms(one.prediction, [1], "ann")
    partial = Example(one.prediction, (word,))
    patch = patch_of(boards, partial, seen)
    assert not patch.complete
    assert patch.classes.tolist() == [REFUTED]
    np.testing.assert_array_equal(patch.boxes[0], other)
    moved = Example(rederived(one.prediction, NONE), (word,))
    np.testing.assert_array_equal(patch_of(boards, moved, seen).boxes, patch.boxes)
    whole = patch_of(boards, one, seen)
    assert whole.complete
    assert len(whole.boxes) == len(payload(0)[1])
    assert whole.planes.shape == (2, SIDE, SIDE)
    silent = patch_of(boards, Example(one.prediction, one.feedback, (0.0,)), seen)
    assert (len(silent.boxes), silent.complete) == (0, False)


def test_refuted_places_move_with_the_picture():
    """Cut and turned like the truths."""
    patch = Patch(
        np.zeros((1, 40, 40), np.uint8), np.array([[4.0, 4, 8, 8], [30, 30, 36, 36]]), np.array([0, -1]), complete=False
    )
    part = cut(patch, 20, 20, 20)
    assert (part.classes.tolist(), part.complete) == ([-1], False)
    turned = turn(part, 1, mirror=True)
    assert (turned.classes.tolist(), turned.complete) == ([-1], False)


def test_rare_kinds_and_new_pieces_come_more_often():
    """The chances sum to one; refuted places and good pieces do no harm."""
    common, rare = np.array([0, 0, 0]), np.array([1])
    chances = balance([common] * 50 + [rare] + [np.array([REFUTED]), np.zeros(0, int)])
    assert chances.sum() == pytest.approx(1.0)
    assert chances[50] > 3 * chances[49]
    assert chances[49] > 1.5 * chances[0]


def test_weights_are_swapped_and_checked(boards):
    """Into the file at hand; other kinds are exported anew."""
    from hotloop.verticals.inspection.nets import build

    onnx = open_bundle(boards.bundle(), BOXES).onnx
    torch.manual_seed(0)
    same = swapped(onnx, build("compact", 2, 6).eval(), 2)
    assert len(same) == len(onnx)
    assert same != onnx
    assert len(swapped(onnx, build("compact", 2, 3).eval(), 2)) != len(onnx)


def test_a_bundle_is_what_it_says(boards):
    """Damaged, too large or of another kind: ModelError; it survives being opened."""
    found = open_bundle(boards.bundle(), BOXES)
    assert make_bundle(found.kind, found.onnx, found.description) == boards.bundle()
    for wrong in (b"", b"x" * 40, make_bundle(LITE0, b"", b"")):
        with pytest.raises(ModelError, match="backbone"):
            open_bundle(wrong, BOXES, SHIPPED)
    assert recipe_of(found.description) == "compact"
    assert recipe_of(b"{}") == recipe_of(b"no json") == "compact"


def test_a_bundle_has_a_size_that_it_may_have(monkeypatch):
    """Before it is decoded."""
    monkeypatch.setattr("hotloop.verticals.inspection.bundle.BYTES_MAX", 10)
    with pytest.raises(ModelError, match="at most"):
        open_bundle(b"x" * 11, BOXES)


def test_a_backbone_of_other_kinds_is_not_taken(boards):
    """It would answer in other words."""
    description = msgspec.json.decode(open_bundle(boards.bundle(), BOXES).description)
    description["labels"] = [f"kind-{k}" for k in range(6)]
    strange = make_bundle(BOXES, open_bundle(boards.bundle(), BOXES).onnx, msgspec.json.encode(description))
    with pytest.raises(ModelError, match="kind-0"):
        boards.revived(strange)
