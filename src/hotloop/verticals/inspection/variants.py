"""A network in other forms, for devices on which they do better (extra `hotloop[train]`; LiteRT: `litert-torch`).

`int8`: statically quantised ONNX, in QDQ form, a scale a channel, calibrated on pictures of the line.
`litert`: a .tflite file, converted from the same weights in torch, for pictures of one size.
Whether a form answers well enough is not said here: `hotloop.edge.parity`.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from hotloop.errors import ModelError
from hotloop.predict.runtimes import REFUSALS, is_here
from hotloop.verticals.inspection.bundle import BOXES, LITE0, SHIPPED, Bundle, open_bundle
from hotloop.verticals.inspection.detector import described
from hotloop.verticals.inspection.export import Pooled, recipe_of, weights_of
from hotloop.verticals.inspection.nets import Served, build
from hotloop.verticals.inspection.nets.efficientnet import EfficientNetLite0

_CALIBRATED_MAX = 100  # pictures: more change nothing
_PLAIN_DEEP = 2  # of 40 boards one more is answered otherwise with 1, and with 2 it is as fast
_PLANES = {"grey": 1, "grey+template": 2, "colour": 3, "colour+template": 6}

_FAILURES = (*REFUSALS, DecodeError)  # converters raise anything

Inputs = Sequence[NDArray[np.float32]]


def converted(variant: str, bundle: bytes, inputs: Inputs) -> bytes:
    """The network of a bundle in another form. `inputs`: what it is given for pictures of the line.

    ModelError if it cannot be had in that form, or what is needed for it is not installed.
    """
    if not inputs:
        raise ModelError("a network is converted with pictures of the line: give some")
    found = open_bundle(bundle, BOXES, LITE0, SHIPPED)
    if not found.onnx:
        raise ModelError("a network that is a plain callable has no other form")
    if variant == "int8":
        return int8(found.onnx, inputs)
    if variant == "litert":
        return litert(network_of(found), (inputs[0].shape[2], inputs[0].shape[3]))
    raise ModelError(f"there is no form {variant!r} of a network; there are int8 and litert")


class _Pictures(CalibrationDataReader):
    """Inputs, one by one."""

    def __init__(self, name: str, inputs: Inputs) -> None:
        self._rows: Iterator[dict[str, Any]] = iter([{name: one} for one in inputs[:_CALIBRATED_MAX]])

    def get_next(self) -> dict[str, Any] | None:
        """The next one; None after the last."""
        return next(self._rows, None)


def int8(model: bytes, inputs: Inputs) -> bytes:
    """A network statically quantised: weights in 8 bits with a scale a channel, what flows in 8 bits. ModelError."""
    with tempfile.TemporaryDirectory(prefix="hotloop-int8-") as place:
        plain, folded, out = (Path(place) / name for name in ("plain.onnx", "folded.onnx", "int8.onnx"))
        plain.write_bytes(model)
        name = onnx.load_from_string(model).graph.input[0].name
        try:
            # normalisation is folded into the convolutions first: quantised apart from them it costs points
            quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
            quantize_static(
                str(folded),
                str(out),
                _Pictures(name, inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_last(onnx.load(str(folded))),
                # what cuts off goes with its convolution: else the range before it is what 8 bits are spent on
                op_types_to_quantize=["Conv", "Relu", "Clip"],
            )
        except _FAILURES as error:
            raise ModelError(f"the network cannot be quantised: {str(error)[:300]}") from error
        return out.read_bytes()


def _last(model: onnx.ModelProto) -> list[str]:
    """The last convolutions before each output, `_PLAIN_DEEP` of them in a row: what they give is read as features, and
    stays in float32.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    found: dict[str, None] = {}
    todo = [(output.name, _PLAIN_DEEP) for output in model.graph.output]
    seen: set[tuple[str, int]] = set()
    while todo:
        name, deep = todo.pop()
        node = makers.get(name)
        if node is None or (name, deep) in seen:
            continue
        seen.add((name, deep))
        if node.op_type == "Conv":
            found[node.name] = None
            deep -= 1
        todo.extend((one, deep) for one in node.input if deep)
    return list(found)


def litert(module: nn.Module, size_px: tuple[int, int]) -> bytes:
    """A network as .tflite for pictures of one size. ModelError if litert-torch is not installed, or cannot."""
    if not is_here("litert_torch"):
        raise ModelError("a .tflite file is made with litert-torch, which is not installed: pip install litert-torch")
    import litert_torch  # noqa: PLC0415 - 1.3 GB of packages that only an export needs

    planes = next(module.parameters()).shape[1]
    with tempfile.TemporaryDirectory(prefix="hotloop-litert-") as place:
        out = Path(place) / "network.tflite"
        try:
            litert_torch.convert(module.eval(), (torch.zeros(1, planes, *size_px),)).export(str(out))
        except _FAILURES as error:
            raise ModelError(f"the network cannot be converted: {str(error)[:300]}") from error
        return out.read_bytes()


def network_of(bundle: Bundle) -> nn.Module:
    """The network of a bundle in torch. ModelError if it was not made by hotloop."""
    if bundle.kind == LITE0:
        module: nn.Module = Pooled(EfficientNetLite0())
        weights = weights_of(bundle.onnx)
    else:
        description = described(bundle.description)
        if description.feed is not None:
            raise ModelError("a detector that was brought is converted by who trained it: bring.py takes the .tflite")
        module = build(recipe_of(bundle.description), _PLANES[description.planes], len(description.labels))
        weights = weights_of(bundle.onnx)
    own = module.state_dict()
    if missing := [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]:
        raise ModelError(f"the bundle's network is another than its description says: it lacks {missing[0]}")
    module.load_state_dict({**own, **{name: value for name, value in weights.items() if name in own}})
    return module.eval() if bundle.kind == LITE0 else Served(module).eval()
