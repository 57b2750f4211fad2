"""Networks to ONNX: bytes in, bytes out, initializers named as the state dict has them.

The names let a newly trained state dict be swapped into an exported file without exporting again. Height and width
stay free. `python -m hotloop.verticals.inspection.export lite0 OUT.onnx` writes EfficientNet-Lite0 with its ImageNet
weights for whole-image classification (`classifier.py`).
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import argparse
import copy
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from torch import nn

from hotloop.errors import ModelError
from hotloop.verticals.inspection.nets import Pyramid, Served
from hotloop.verticals.inspection.nets.detector import Detector
from hotloop.verticals.inspection.nets.efficientnet import (
    IMAGENET_MEAN,
    IMAGENET_SPREAD,
    EfficientNetLite0,
    imagenet_weights,
)

DETECTOR_OUTPUTS = ("scores", "sides", "class_features", "box_features", "context")
TOLERANCE = 1e-3  # largest difference of an output between torch and ONNX Runtime, on outputs of the order of 1
_OPSET = 17


class Pooled(nn.Module):
    """A backbone for whole images: raw RGB in 0 to 255 -> mean and largest of each map, one vector."""

    def __init__(self, backbone: Pyramid) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> (n, f)."""
        maps = self.backbone.pyramid((x - IMAGENET_MEAN) / IMAGENET_SPREAD)
        if isinstance(self.backbone, EfficientNetLite0):
            maps = [*maps[:-1], self.backbone.top(maps[-1])]
        return torch.cat([f(m) for m in maps for f in (_mean, _largest)], 1)


def _mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3))


def _largest(x: torch.Tensor) -> torch.Tensor:
    return x.amax((2, 3))


def to_onnx(module: nn.Module, shape: tuple[int, int, int, int], outputs: Sequence[str]) -> bytes:
    """The module as ONNX bytes with input `image` of `shape`, height and width free, batch as given.

    ModelError if torch and ONNX Runtime differ by more than `TOLERANCE` on noise, at `shape` and at another size.
    """
    module = module.eval()
    buffer = io.BytesIO()
    stencil = _distinct(module)
    free = {2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this exporter old; the new one renames and takes 8 s
        torch.onnx.export(
            stencil,
            (torch.zeros(shape),),
            buffer,
            dynamo=False,
            opset_version=_OPSET,
            # as it is in the state dict: folding would merge normalisation into weights of other names
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["image"],
            output_names=list(outputs),
            dynamic_axes={"image": free} | {name: free for name in outputs if name != "features"},
        )
    data = swap_weights(buffer.getvalue(), module.state_dict())
    taller = (*shape[:2], shape[2] + 32, shape[3] + 64)
    worst = max(difference(module, data, size) for size in (shape, taller))
    if not worst <= TOLERANCE:
        raise ModelError(f"The exported model answers differently from the trained one: by {worst:.2g}.")
    return data


def _distinct(module: nn.Module) -> nn.Module:
    """A copy whose weights are all different: the exporter merges equal ones, and then names are lost."""
    stencil = copy.deepcopy(module)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*stencil.parameters(), *stencil.buffers()):
            if tensor.dtype.is_floating_point:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=noise))
    return stencil


def detector_to_onnx(detector: Detector, inputs: int) -> bytes:
    """A detector as ONNX bytes; its first output is probabilities."""
    served = Served(detector)
    return to_onnx(served, (1, inputs, 96, 64), DETECTOR_OUTPUTS)


def difference(module: nn.Module, data: bytes, shape: tuple[int, ...], seed: int = 0) -> float:
    """The largest difference of any output between the module and its export, on noise in -1 to 1."""
    noise = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(noise))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": noise})
    scales = [max(1.0, float(w.abs().max())) for w in wanted]
    return max(float(np.abs(w.numpy() - f).max()) / scale for w, f, scale in zip(wanted, found, scales, strict=True))


def swap_weights(data: bytes, weights: Mapping[str, torch.Tensor]) -> bytes:
    """The exported model with other weights of the same names and shapes.

    ModelError names a weight that is missing or of another shape.
    """
    model = onnx.load_from_string(data)
    for initializer in model.graph.initializer:
        value = weights.get(initializer.name)
        if value is None:
            raise ModelError(f"The exported model needs {initializer.name!r}, which the new weights lack.")
        if tuple(value.shape) != tuple(initializer.dims):
            raise ModelError(
                f"{initializer.name!r} is {tuple(value.shape)} in the new weights, {tuple(initializer.dims)} here."
            )
        initializer.CopyFrom(numpy_helper.from_array(value.detach().cpu().numpy(), initializer.name))
    return model.SerializeToString()


def weights_of(data: bytes) -> dict[str, torch.Tensor]:
    """The state dict of the network in an exported detector. ModelError if the bytes are no model."""
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise ModelError(f"These {len(data)} bytes are no ONNX model.") from error
    return {
        initializer.name.removeprefix("detector."): torch.from_numpy(numpy_helper.to_array(initializer).copy())
        for initializer in model.graph.initializer
    }


def recipe_of(description: bytes) -> str:
    """The name of the backbone that a description says it was trained with; the compact one if it does not say."""
    try:
        return str(json.loads(json.loads(description)["recipe"])["backbone"])
    except (KeyError, TypeError, ValueError):
        return "compact"


def classifier_to_onnx() -> bytes:
    """EfficientNet-Lite0 with ImageNet weights as ONNX bytes: RGB in 0 to 255 -> pooled features."""
    backbone = EfficientNetLite0()
    backbone.load_state_dict(imagenet_weights())
    return to_onnx(Pooled(backbone), (1, 3, 224, 224), ("features",))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a backbone for whole images."""
    parser = argparse.ArgumentParser(prog="python -m hotloop.verticals.inspection.export", description=__doc__)
    parser.add_argument("network", choices=["lite0"])
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    data = classifier_to_onnx()
    given.out.write_bytes(data)
    print(f"{given.out}: {len(data)} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
