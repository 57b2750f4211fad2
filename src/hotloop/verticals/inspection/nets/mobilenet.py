"""MobileNetV3-Small and -Large (Howard et al. 2019), with the state-dict keys of torchvision's `mobilenet_v3_*`.

Written from the paper's tables 1 and 2, so that torchvision's checkpoints load without torchvision.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hotloop.verticals.inspection.nets.layers import Pyramid


@dataclass(frozen=True)
class Row:
    """One row of the paper's tables: kernel, expanded and output channels, squeeze, h-swish, stride."""

    size: int
    expanded: int
    out: int
    squeeze: bool
    swish: bool
    step: int


_LARGE = (
    Row(3, 16, 16, False, False, 1), Row(3, 64, 24, False, False, 2), Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2), Row(5, 120, 40, True, False, 1), Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2), Row(3, 200, 80, False, True, 1), Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1), Row(3, 480, 112, True, True, 1), Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2), Row(5, 960, 160, True, True, 1), Row(5, 960, 160, True, True, 1),
)  # fmt: skip
_SMALL = (
    Row(3, 16, 16, True, False, 2), Row(3, 72, 24, False, False, 2), Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2), Row(5, 240, 40, True, True, 1), Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1), Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2), Row(5, 576, 96, True, True, 1), Row(5, 576, 96, True, True, 1),
)  # fmt: skip


def _eighth(value: float) -> int:
    """The multiple of 8 nearest to `value`, at least 8, and not below 0.9 of it (the paper's code)."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def _conv(i: int, o: int, size: int, step: int = 1, groups: int = 1, act: type[nn.Module] | None = None) -> nn.Module:
    """Convolution, normalisation (eps 1e-3, momentum 0.01, as the checkpoints have it), activation."""
    parts = [
        nn.Conv2d(i, o, size, step, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(o, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*parts, *([act()] if act else []))


class Squeeze(nn.Module):
    """Squeeze-and-excitation with a hard sigmoid: each channel is scaled by what the whole map says."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, h, w) -> the same shape."""
        scale = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(scale)


class Inverted(nn.Module):
    """An inverted residual: widen, filter each channel, squeeze, narrow; a shortcut where shapes allow."""

    def __init__(self, i: int, row: Row) -> None:
        super().__init__()
        act = nn.Hardswish if row.swish else nn.ReLU
        parts = [] if row.expanded == i else [_conv(i, row.expanded, 1, act=act)]
        parts.append(_conv(row.expanded, row.expanded, row.size, row.step, row.expanded, act))
        if row.squeeze:
            parts.append(Squeeze(row.expanded, _eighth(row.expanded / 4)))
        parts.append(_conv(row.expanded, row.out, 1))
        self.block = nn.Sequential(*parts)
        self.shortcut = row.step == 1 and i == row.out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, i, h, w) -> (n, row.out, h / row.step, w / row.step)."""
        return x + self.block(x) if self.shortcut else self.block(x)


class MobileNetV3(Pyramid):
    """`features` and `classifier` as torchvision names them; `pyramid` leaves the classifier out."""

    def __init__(self, inputs: int, rows: tuple[Row, ...], hidden: int) -> None:
        super().__init__()
        last = rows[-1].out
        layers = [_conv(inputs, 16, 3, 2, act=nn.Hardswish)]
        widths, stride, taps = 16, 2, {}
        for row in rows:
            if row.step == 2:
                taps[stride] = len(layers) - 1
                stride *= 2
            layers.append(Inverted(widths, row))
            widths = row.out
        taps[stride] = len(layers)
        layers.append(_conv(last, 6 * last, 1, act=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, 1000)
        )
        self._taps = tuple(taps[step] for step in self.strides)
        self.channels = (*(rows[tap - 1].out for tap in self._taps[:-1]), 6 * last)

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(n, inputs, h, w) -> the last map of strides 8 and 16, and the widened one of stride 32."""
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                maps.append(x)
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, 1000) ImageNet logits."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def mobilenet_v3_small(inputs: int = 3) -> MobileNetV3:
    """MobileNetV3-Small: 2.5 M parameters with its classifier."""
    return MobileNetV3(inputs, _SMALL, 1024)


def mobilenet_v3_large(inputs: int = 3) -> MobileNetV3:
    """MobileNetV3-Large: 5.5 M parameters with its classifier."""
    return MobileNetV3(inputs, _LARGE, 1280)
