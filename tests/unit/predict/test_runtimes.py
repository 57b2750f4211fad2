"""Runtimes by their short names: what is here, in order, the CPU last; what is passed over is said."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hotloop.errors import ModelError
from hotloop.predict import runtimes
from hotloop.predict.runtimes import Network, lacking, open_network

IMAGE = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)


def doubler(height="h", width="w", extra=False):
    """Y = x + x (and, where asked, the size that it was told)."""
    shape = [1, 2, height, width]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    nodes = [helper.make_node("Add", ["images", "images"], ["y"])]
    if extra:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
        outputs.append(helper.make_tensor_value_info("size", TensorProto.INT64, [1, 2]))
        nodes.append(helper.make_node("Identity", ["orig_target_sizes"], ["size"]))
    graph = helper.make_graph(nodes, "doubler", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def here(monkeypatch):
    """A machine with CUDA and a CPU."""
    monkeypatch.setattr(
        runtimes.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )


def test_the_first_that_is_there_is_used_and_the_others_are_said(here, monkeypatch):
    """In the order in which they are wanted."""
    asked = []

    def opened(onnx_bytes, options, providers):
        asked.append(providers)
        return SimpleNamespace(
            get_inputs=lambda: [SimpleNamespace(name="x", shape=[1, 3, 32, 64])], get_providers=lambda: providers
        )

    monkeypatch.setattr(runtimes.onnxruntime, "InferenceSession", opened)
    found = open_network({"onnx": b"x"}, ("tensorrt", "litert", "cuda", "cpu"))
    assert (found.runtime, found.size) == ("cuda", (32, 64))
    assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]]
    assert [why.split(":")[0] for why in found.passed_over] == ["tensorrt", "litert"]
    assert str(found.runs_on).startswith("on cuda (tensorrt: not on this device")


@pytest.mark.filterwarnings("ignore:Specified provider")  # what ONNX Runtime says of one that it has not
def test_a_provider_that_does_not_start_is_passed_over(here):
    """It is built in, and its libraries are not here: ONNX Runtime would fall back without a word."""
    found = open_network({"onnx": doubler(), "int8": doubler()}, ("cuda", "int8"))
    assert found.runtime == "int8"
    assert "cuda: CUDAExecutionProvider does not start on this device" in str(found.runs_on)


def test_a_form_that_is_damaged_is_passed_over():
    """The network itself is not."""
    found = open_network({"onnx": doubler(), "int8": b"junk", "litert": b"junk"}, ("int8", "litert"))
    assert found.runtime == "cpu"
    assert [why.split(":")[0] for why in found.passed_over] == ["int8", "litert"]


@pytest.mark.parametrize("error", [KeyError("x"), OSError("x"), AssertionError("x"), ZeroDivisionError("x")])
def test_whatever_a_callable_raises_is_ours(monkeypatch, error):
    """When it is made and when it is called."""

    def broken(*_):
        raise error

    for load in (lambda: broken, lambda: lambda: broken):
        point = SimpleNamespace(name="mine", load=load)
        monkeypatch.setattr(runtimes, "entry_points", lambda group, name=None, point=point: [point])
        with pytest.raises(ModelError):
            open_network({"python": b"mine"})(IMAGE)


def test_the_cpu_is_the_last_resort():
    """Whatever is wanted."""
    found = open_network({"onnx": doubler()}, ("cann", "int8"))
    assert (found.runtime, found.size) == ("cpu", None)
    assert [why.split(":")[0] for why in found.passed_over] == ["cann", "int8"]
    np.testing.assert_array_equal(found(IMAGE)[0], 2 * IMAGE)


def test_a_form_that_somebody_exported_is_used():
    """INT8 is a file of its own."""
    found = open_network({"onnx": b"no model", "int8": doubler()}, ("int8",))
    assert (found.runtime, found.passed_over) == ("int8", ())
    np.testing.assert_array_equal(found(IMAGE)[0], 2 * IMAGE)


def test_a_size_that_is_fixed_is_known_and_another_refused():
    """By the network itself, with the shape."""
    found = open_network({"onnx": doubler(3, 4)})
    assert found.size == (3, 4)
    with pytest.raises(ModelError, match=r"cannot be run on \(1, 2, 4, 4\)"):
        found(np.zeros((1, 2, 4, 4), np.float32))


def test_a_detector_that_asks_for_the_size_is_told_its_own():
    """Width, then height: boxes then come in pixels of what it sees."""
    outputs = open_network({"onnx": doubler(extra=True)})(IMAGE)
    assert outputs[1].tolist() == [[4, 3]]


@pytest.mark.parametrize("data", [b"", b"junk", doubler()[:40]])
def test_bytes_that_are_no_model_are_refused(data):
    """Whatever ONNX Runtime thinks of them."""
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_network({"onnx": data})


def test_weights_in_another_file_and_too_many_bytes_are_refused(monkeypatch):
    """They would be read from the device's disk."""
    model = onnx.load_from_string(doubler())
    with pytest.raises(ModelError, match="another file"):
        open_network({"onnx": model.SerializeToString() + b"\n\x08location"})
    monkeypatch.setattr(runtimes, "MODEL_BYTES_MAX", 10)
    with pytest.raises(ModelError, match=r"\(int8\) has 11 bytes, more than 10"):
        open_network({"onnx": b"x", "int8": b"x" * 11})


def test_no_file_at_all_is_said():
    """There is nothing to open."""
    with pytest.raises(ModelError, match="no network"):
        open_network({})


def test_a_plain_callable_is_found_by_its_name(monkeypatch):
    """Installed by whoever runs the device; nothing else can be named."""
    point = SimpleNamespace(name="mine", load=lambda: lambda: lambda image: [image + 1])
    monkeypatch.setattr(
        runtimes, "entry_points", lambda group, name=None: [point] if name in (None, "mine") else []
    )
    found = open_network({"python": b"mine"}, ("cuda",))
    assert found.runtime == "python"
    np.testing.assert_array_equal(found(IMAGE)[0], IMAGE + 1)
    with pytest.raises(ModelError, match=r"no network 'os:system' is installed .* there are: mine"):
        open_network({"python": b"os:system"})


def test_what_a_network_raises_is_a_model_error():
    """Of a callable too."""

    def broken(image):
        raise ValueError("no such layer")

    with pytest.raises(ModelError, match=r"cannot be run on .*no such layer"):
        Network(broken, "python")(IMAGE)


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_an_engine_that_is_not_installed_is_said(runtime, monkeypatch):
    """With what to install."""
    monkeypatch.setitem(sys.modules, runtimes._ENGINES[runtime], None)  # importing it fails
    assert f"pip install hotloop[{runtime}]" in lacking(runtime, {"onnx": b"x", "litert": b"x"})


TFLITE = Path(__file__).parents[2] / "data" / "twice.tflite"  # (1, 2, 8, 8) -> twice it, and one more than it


def test_litert_answers_as_it_was_exported():
    """The real engine on a file that `hotloop export` wrote, from eight threads at once."""
    found = open_network({"onnx": b"x", "litert": TFLITE.read_bytes()}, ("litert",))
    assert (found.runtime, found.size, found.passed_over) == ("litert", (8, 8), ())
    pictures = [np.full((1, 2, 8, 8), number, np.float32) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for picture, (twice, more) in zip(pictures, pool.map(found, pictures), strict=True):
            np.testing.assert_array_equal(twice, 2 * picture)
            np.testing.assert_array_equal(more, picture + 1)
    with pytest.raises(ModelError, match=r"cannot be run .* exported for \(1, 2, 8, 8\)"):
        found(IMAGE)
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_network({"onnx": b"x", "litert": b"TFL3 but not really"}, ("litert",))


@pytest.mark.filterwarnings("ignore")  # it starts a process when it is imported, which another library warns of
def test_openvino_answers_as_onnx_runtime_does():
    """The real engine, from eight threads at once."""
    found = open_network({"onnx": doubler()}, ("openvino",))
    assert (found.runtime, found.size) == ("openvino", None)
    assert open_network({"onnx": doubler(3, 4)}, ("openvino",)).size == (3, 4)
    pictures = [np.full((1, 2, 3, 4), number, np.float32) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for picture, (twice,) in zip(pictures, pool.map(found, pictures), strict=True):
            np.testing.assert_array_equal(twice, 2 * picture)
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_network({"onnx": b"junk"}, ("openvino",))


def test_litert_answers_in_the_order_of_its_outputs(monkeypatch):
    """output_2 comes before output_10; the interpreter is asked by one thread at a time."""

    class Runner:
        def get_input_details(self):
            return {"args_0": {"shape": np.array([1, 2, 3, 4])}}

        def get_output_details(self):
            return {"output_10": {}, "output_2": {}}

        def __call__(self, **given):
            return {"output_10": given["args_0"] * 10, "output_2": given["args_0"] * 2}

    module = SimpleNamespace(Interpreter=lambda **_: SimpleNamespace(get_signature_runner=Runner))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace(interpreter=module))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    found = open_network({"onnx": b"x", "litert": b"TFL3"}, ("litert",))
    assert (found.runtime, found.size) == ("litert", (3, 4))
    assert [output[0, 0, 0, 1] for output in found(IMAGE)] == [2.0, 10.0]
