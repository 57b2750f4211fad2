"""Runtimes of a device against its CPU, and exports against what they are of: fit, or refused with the numbers."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from hotloop.cli import app
from hotloop.config import LoopConfig, load
from hotloop.edge import parity
from hotloop.edge.health import Trial
from hotloop.edge.parity import Limits
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.loading import load_vertical
from hotloop.predict import pack_head
from hotloop.store.registry import SqliteRegistry
from hotloop.types import Head, Model, Output, Payload, RunsOn
from hotloop.verticals.inspection import variants
from hotloop.verticals.inspection.plant import plant_boards

OPEN, SHORT = (Output("open", 0.9),), (Output("short", 0.9),)
PLAIN = Trial((OPEN,) * 100, (0.010,) * 100, peak_bytes=100 * 2**20)
MIB = 2**20


@pytest.fixture
def trials(monkeypatch):
    """What each runtime answers."""
    found = {"cpu": PLAIN}
    monkeypatch.setattr(parity, "_tried", lambda asked, runtime: found[runtime])
    return found


def compared(trials, **more):
    limits = Limits(**{"latency_ms_max": 50.0, **more})
    return {one.runtime: one for one in parity.compared(LoopConfig(), list(trials), [Payload(b"x")], limits)}


def test_one_that_answers_alike_in_time_and_memory_is_fit(trials):
    """The plain one comes first, whatever was asked for."""
    trials["openvino"] = Trial((OPEN,) * 99 + (SHORT,), (0.004,) * 100, peak_bytes=50 * MIB)
    found = compared(trials)
    assert list(found) == ["cpu", "openvino"]
    assert found["openvino"] == parity.Parity("openvino", 0.99, 0.0, 4.0, 50.0, "")


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (Trial((OPEN,) * 50 + (SHORT,) * 50, (0.004,) * 100), "50.0% as the plain one does; 99.0% is asked"),
        (Trial((OPEN,) * 100, (0.2,) * 100), "200.0 ms; 50 ms are allowed"),
        (Trial((OPEN,) * 100, (0.004,) * 100, peak_bytes=5000 * MIB), "5000 MiB; 4096 are allowed"),
        (Trial(((Output("open", 0.6),),) * 100, (0.004,) * 100), "up to 0.300 from the plain one's; 0.1 is allowed"),
        (Trial(failure="it crashed"), "it crashed"),
    ],
)
def test_one_that_is_not_is_refused_with_the_numbers(trials, trial, words):
    """Each reason."""
    trials["cuda"] = trial
    assert words in compared(trials)["cuda"].refused


def test_a_few_scores_may_be_far_off(trials):
    """One in twenty: a score beside a threshold may tip."""
    odd = (Output("open", 0.5),)
    trials["int8"] = Trial((odd,) * 4 + (OPEN,) * 96, (0.004,) * 100)
    assert compared(trials)["int8"].refused == ""
    trials["int8"] = Trial((odd,) * 7 + (OPEN,) * 93, (0.004,) * 100)
    assert "0.400 from" in compared(trials)["int8"].refused


def test_pieces_on_which_nothing_is_found_tell_nothing(trials):
    """A network of zeros answers them alike: some must be there of which something is found."""
    nothing = Trial(((),) * 100, (0.004,) * 100)
    trials["cpu"] = nothing
    trials["int8"] = nothing
    assert "found on 0 of 100, give at least 5" in compared(trials)["int8"].refused
    trials["cpu"] = Trial(((),) * 96 + (OPEN,) * 4, (0.004,) * 100)
    assert "found on 4 of 100" in compared(trials)["int8"].refused
    trials["cpu"] = Trial(((),) * 94 + (OPEN,) * 6, (0.004,) * 100)
    assert "answers 0.0% as the plain one" in compared(trials)["int8"].refused, "of those that tell something"
    trials["int8"] = trials["cpu"]
    assert compared(trials)["int8"].refused == ""


def test_a_plain_runtime_that_does_not_answer_is_an_error(trials):
    """There is nothing to compare with."""
    trials["cpu"] = Trial(failure="no such model")
    with pytest.raises(ModelError, match="no such model"):
        compared(trials)


def test_a_head_that_says_nothing_is_replaced_by_one_that_does(tmp_path):
    """Else a cold start would call everything alike. The same at each call."""
    config = LoopConfig(tables={"inspection": {"task": "image", "labels": ["crack"]}})
    vertical = load_vertical(config)
    assert not vertical.start().weights.any()
    drawn = parity.telling(vertical)
    assert drawn.weights.any()
    np.testing.assert_array_equal(drawn.weights, parity.telling(vertical).weights)
    boards = load_vertical(LoopConfig())
    np.testing.assert_array_equal(parity.telling(boards).weights, boards.start().weights)


def test_the_head_that_the_loop_has_learned_is_compared(tmp_path):
    """If it is of this backbone; else the one that the loop begins with."""
    config = msgspec.structs.replace(
        LoopConfig(), store=msgspec.structs.replace(LoopConfig().store, folder=str(tmp_path))
    )
    vertical = load_vertical(config)
    assert parity.learned(config, vertical) is None
    head = Head(vertical.start().labels, vertical.start().weights + 0.5, vertical.start().thresholds)
    registry = SqliteRegistry(tmp_path / "registry.sqlite", 10)
    own = {"version": 1, "parent": 0, "tier": "reflex", "learned_to": 1, "recipe": vertical.recipe}
    own |= {"labels": head.labels, "head": pack_head(head)}
    registry.add(Model(**own, backbone=vertical.backbone))
    np.testing.assert_allclose(parity.learned(config, vertical).weights, head.weights, rtol=1e-6)
    registry.add(Model(**own | {"version": 2, "parent": 1}, backbone="f" * 64))
    registry.close()
    assert parity.learned(config, vertical) is None


@pytest.fixture
def boards(tmp_path):
    """Three drawn boards with their templates, and a loop."""
    for number, board in enumerate(plant_boards(3, 0, size_px=320)):
        if number == 3:
            break
        (tmp_path / f"{number}_test.png").write_bytes(board.payload.data)
        (tmp_path / f"{number}_temp.png").write_bytes(board.payload.reference)
    (tmp_path / "loop.toml").write_text('name = "boards"\n[inspection]\nruntimes = ["int8"]\n')
    return tmp_path


def invoked(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_on_this_machine_with_real_boards(boards):
    """The CPU answers itself; what is not here, and what nobody knows, is said."""
    words = ["bench-edge", boards / "loop.toml", "--images", boards]
    done = invoked(*words, "--runtime", "cpu")
    assert done.exit_code == 0, done.output
    assert "100.0%" in done.output
    done = invoked(*words, "--runtime", "tensorrt", "--runtime", "int8")
    assert done.exit_code == 1
    assert "tensorrt refused: not on this device" in done.output
    assert "int8 refused: nobody has exported it" in done.output
    with pytest.raises(ConfigError, match="no runtime 'abacus'"):
        parity.compared(LoopConfig(), ["abacus"], [], Limits())
    empty = boards / "empty"
    empty.mkdir()
    assert isinstance(invoked(*words[:3], empty).exception, InputError)


def test_a_form_that_passes_is_exported_and_used(boards):
    """The bundle is the start model, with INT8 in it; the line says on what it runs."""
    out = boards / "boards.bundle"
    words = ["export", boards / "loop.toml", "--images", boards, "--out", out, "--variant", "int8"]
    done = invoked(*words, "--ask", "alike=0.6,apart=0.5,telling=1")
    assert done.exit_code == 0, done.output
    assert 'runtimes to ["int8"]' in done.output
    (boards / "loop.toml").write_text('[inspection]\nstart = "boards.bundle"\nruntimes = ["int8"]\n')
    vertical = load_vertical(load(boards / "loop.toml"))
    assert vertical.runtime == RunsOn("int8")
    assert vertical.bundle() == out.read_bytes()
    plain = load_vertical(LoopConfig())
    assert vertical.carrying({}) == plain.bundle(), "without the form it is the start model, to the last bit"


def test_a_form_that_answers_otherwise_is_refused_and_not_written(boards, monkeypatch):
    """With the numbers."""
    plain = load_vertical(LoopConfig()).bundle()
    broken = msgspec.msgpack.decode(plain)["onnx"]
    import onnx

    model = onnx.load_from_string(broken)
    for one in model.graph.initializer:
        if "class_head" in one.name and one.name.endswith("weight"):
            one.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(one), one.name))
    monkeypatch.setattr(variants, "int8", lambda network, inputs: model.SerializeToString())
    out = boards / "boards.bundle"
    words = ["export", boards / "loop.toml", "--images", boards, "--out", out, "--variant", "int8"]
    done = invoked(*words, "--ask", "telling=1")
    assert done.exit_code == 1
    assert "int8 refused: it answers 0.0% as the plain one does" in done.output
    assert not out.exists()


def test_limits_are_read_as_they_are_typed():
    """Those that are not named are as by default; nonsense is said."""
    assert parity.limits_of("alike=0.5, ms=20") == Limits(0.5, latency_ms_max=20.0)
    assert parity.limits_of("") == Limits()
    for wrong in ("alike", "speed=3", "ms=quick"):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no limit: give alike=NUMBER"):
            parity.limits_of(wrong)


def test_a_form_that_cannot_be_made_does_not_take_the_others_with_it(boards, monkeypatch):
    """It is refused by name."""
    monkeypatch.setattr(variants, "is_here", lambda package: False)
    out = boards / "boards.bundle"
    words = ["export", boards / "loop.toml", "--images", boards, "--out", out, "--variant", "litert"]
    words += ["--variant", "int8"]
    done = invoked(*words, "--ask", "alike=0.6,apart=0.5,telling=1")
    assert done.exit_code == 1
    assert "litert refused: a .tflite file is made with litert-torch" in done.output
    assert set(msgspec.msgpack.decode(out.read_bytes())["variants"]) == {"int8"}


def test_a_vertical_without_a_network_exports_nothing(tmp_path):
    """Plain numbers."""
    config = LoopConfig(vertical="vectors", tables={"vectors": {"labels": ["a", "b"], "columns": 2}})
    with pytest.raises(ModelError, match="'vectors' has no network"):
        parity.exported(config, ["int8"], [Payload(b"[1, 2]")], Limits())
