"""Runtimes of a device against its CPU: fit, or refused with the numbers."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hotloop.cli import app
from hotloop.config import LoopConfig
from hotloop.edge import parity
from hotloop.edge.health import Trial
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.types import Output, Payload
from hotloop.verticals.inspection.plant import plant_boards

OPEN, SHORT = (Output("open", 0.9),), (Output("short", 0.9),)
PLAIN = Trial((OPEN,) * 100, (0.010,) * 100)


@pytest.fixture
def trials(monkeypatch):
    """What each runtime answers."""
    found = {"cpu": PLAIN}
    monkeypatch.setattr(parity, "_tried", lambda config, runtime, payloads: found[runtime])
    return found


def compared(trials, **more):
    found = parity.compared(LoopConfig(), list(trials), [Payload(b"x")], more.get("alike", 0.99), more.get("ms", 50.0))
    return {one.runtime: one for one in found}


def test_one_that_answers_alike_and_in_time_is_fit(trials):
    """The plain one comes first, whatever was asked for."""
    trials["openvino"] = Trial((OPEN,) * 99 + (SHORT,), (0.004,) * 100)
    found = compared(trials)
    assert list(found) == ["cpu", "openvino"]
    assert found["openvino"] == parity.Parity("openvino", 0.99, 4.0, "")


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (Trial((OPEN,) * 50 + (SHORT,) * 50, (0.004,) * 100), "50.0% as the plain one does; 99.0% is asked"),
        (Trial((OPEN,) * 100, (0.2,) * 100), "200.0 ms; 50 ms are allowed"),
        (Trial(failure="it crashed"), "it crashed"),
    ],
)
def test_one_that_is_not_is_refused_with_the_numbers(trials, trial, words):
    """Each reason."""
    trials["cuda"] = trial
    assert words in compared(trials)["cuda"].refused


def test_a_plain_runtime_that_does_not_answer_is_an_error(trials):
    """There is nothing to compare with."""
    trials["cpu"] = Trial(failure="no such model")
    with pytest.raises(ModelError, match="no such model"):
        compared(trials)


def test_on_this_machine_with_real_boards(tmp_path):
    """The CPU answers itself; what is not here, and what nobody knows, is said."""
    for number, board in enumerate(plant_boards(3, 0, size_px=320)):
        if number == 3:
            break
        (tmp_path / f"{number}_test.png").write_bytes(board.payload.data)
        (tmp_path / f"{number}_temp.png").write_bytes(board.payload.reference)
    (tmp_path / "loop.toml").write_text('name = "boards"\n')
    words = ["bench-edge", str(tmp_path / "loop.toml"), "--images", str(tmp_path)]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "100.0%" in done.output
    done = CliRunner().invoke(app, [*words, "--runtime", "tensorrt"], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "not on this device" in done.output
    with pytest.raises(ConfigError, match="no runtime 'abacus'"):
        parity.compared(LoopConfig(), ["abacus"], [], 0.9, 9.0)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = CliRunner().invoke(app, [*words[:3], str(empty)])
    assert isinstance(done.exception, InputError)
