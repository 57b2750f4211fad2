"""A network in other forms: quantised it answers nearly alike; what cannot be converted is said."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.errors import ModelError
from hotloop.predict.runtimes import open_network
from hotloop.verticals.inspection import variants
from hotloop.verticals.inspection.bundle import BOXES, LITE0, make_bundle, open_bundle
from hotloop.verticals.inspection.detector import boards_files, boards_model
from hotloop.verticals.inspection.plant import plant_boards
from hotloop.verticals.inspection.variants import converted, litert, network_of


@pytest.fixture(scope="module")
def bundle():
    return make_bundle(BOXES, *boards_files())


@pytest.fixture(scope="module")
def inputs():
    """What the network is given for three drawn boards."""
    from hotloop.sense.images import decode_image

    found = []
    for number, board in enumerate(plant_boards(3, 0, size_px=320)):
        if number == 3:
            break
        found.append(boards_model().inputs(decode_image(board.payload.data), decode_image(board.payload.reference)))
    return found


def test_int8_is_smaller_and_nearly_the_same(bundle, inputs):
    """A third of the bytes; probabilities within a few hundredths where there is something."""
    onnx = open_bundle(bundle, BOXES).onnx
    quantised = converted("int8", bundle, inputs)
    assert len(quantised) < len(onnx) / 2
    plain, small = open_network({"onnx": onnx})(inputs[0]), open_network({"onnx": quantised})(inputs[0])
    assert [one.shape for one in plain] == [one.shape for one in small]
    there = plain[0] > 0.5
    assert there.any()
    assert 0.0 < np.abs(plain[0] - small[0])[there].mean() < 0.1, "quantised, and still right"


def test_the_torch_network_of_a_bundle_is_the_one_that_was_exported(bundle, inputs):
    """What is converted to other engines answers as the file does."""
    import torch

    with torch.no_grad():
        made = network_of(open_bundle(bundle, BOXES))(torch.from_numpy(inputs[0]))
    for ours, theirs in zip(made, open_network({"onnx": boards_files()[0]})(inputs[0]), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-3)


def test_what_cannot_be_converted_is_said(bundle, inputs, monkeypatch):
    """Each reason."""
    with pytest.raises(ModelError, match="give some"):
        converted("int8", bundle, [])
    with pytest.raises(ModelError, match="no form 'fp4'"):
        converted("fp4", bundle, inputs)
    with pytest.raises(ModelError, match="plain callable"):
        converted("int8", make_bundle(BOXES, b"", b"", {"python": b"mine"}), inputs)
    with pytest.raises(ModelError, match="cannot be quantised"):
        converted("int8", make_bundle(BOXES, boards_files()[0], b""), [np.zeros((1, 9, 32, 32), np.float32)])
    monkeypatch.setattr(variants, "is_here", lambda name: False)
    with pytest.raises(ModelError, match="pip install litert-torch"):
        converted("litert", bundle, inputs)
    with pytest.raises(ModelError, match="it lacks"):
        network_of(open_bundle(make_bundle(LITE0, boards_files()[0], b""), LITE0))


def test_a_converter_that_fails_is_a_model_error(monkeypatch):
    """Whatever it raises."""
    import sys
    from types import SimpleNamespace

    import torch

    def convert(module, given):
        raise RuntimeError(f"no lowering for {given[0].shape}")

    monkeypatch.setitem(sys.modules, "litert_torch", SimpleNamespace(convert=convert))
    monkeypatch.setattr(variants, "is_here", lambda name: True)
    with pytest.raises(ModelError, match=r"cannot be converted: no lowering for torch.Size\(\[1, 2, 32, 64\]\)"):
        litert(torch.nn.Conv2d(2, 3, 1), (32, 64))
