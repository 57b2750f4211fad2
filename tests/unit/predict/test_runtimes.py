"""Runtimes by their short names: what is here, in order, the CPU last; what is not is said."""

from __future__ import annotations

import pytest

from hotloop.predict import runtimes


@pytest.fixture
def here(monkeypatch):
    """A machine with OpenVINO and a CPU."""
    monkeypatch.setattr(
        runtimes.onnxruntime, "get_available_providers", lambda: ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
    )


def test_what_is_here_is_used_in_order_and_the_cpu_last(here):
    """Twice named is once used."""
    assert runtimes.providers(("tensorrt", "openvino", "openvino", "cuda")) == [
        "OpenVINOExecutionProvider", "CPUExecutionProvider"
    ]  # fmt: skip
    assert runtimes.providers(("cpu",)) == ["CPUExecutionProvider"]
    assert runtimes.providers(()) == ["CPUExecutionProvider"]


def test_what_is_not_here_is_said(here):
    """In the order in which it was wanted."""
    assert runtimes.passed_over(("tensorrt", "openvino", "cuda")) == ["tensorrt", "cuda"]


def test_a_runtime_without_a_cpu_is_asked_for_it_all_the_same(monkeypatch):
    """Its refusal is then ONNX Runtime's own."""
    monkeypatch.setattr(runtimes.onnxruntime, "get_available_providers", list)
    assert runtimes.providers(("cuda",)) == ["CPUExecutionProvider"]
