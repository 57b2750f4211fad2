"""The detector: any backbone, a small top-down neck to stride 8, a decoupled anchor-free head.

Boxes are the distances left, top, right, bottom from a location (FCOS, Tian et al. 2019), classes and boxes have
branches of their own (YOLOX, Ge et al. 2021). The last maps before the two answers are outputs too: they are what
the reflex learns from.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import math

import torch
from torch import nn

from hotloop.verticals.inspection.nets.layers import ConvNorm, Pyramid, Separable

STRIDE_PX = 8
_PRIOR = 0.01  # first answer of every class at every location: without it the empty board drowns the first steps
_FIRST_SIDE_PX = 16.0  # first distance from a location to a side


class Neck(nn.Module):
    """Adds the coarse maps onto the finest one, top down (Lin et al. 2017), and smooths once."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.sides = nn.ModuleList(ConvNorm(i, width, 1, relu=False) for i in channels)
        self.smooth = Separable(width, width)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Maps at strides 8, 16, 32 -> (n, width, h / 8, w / 8)."""
        merged = self.sides[-1](maps[-1])
        for side, finer in zip(reversed(self.sides[:-1]), reversed(maps[:-1]), strict=True):
            merged = side(finer) + nn.functional.interpolate(merged, scale_factor=2.0, mode="nearest")
        return self.smooth(torch.relu(merged))


class Detector(nn.Module):
    """Image -> (class logits, box sides in px, class features, box features, context), all at stride 8."""

    def __init__(self, backbone: Pyramid, classes: int, width: int = 64) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = Neck(backbone.channels, width)
        self.class_branch = Separable(width, width)
        self.box_branch = Separable(width, width)
        self.class_head = nn.Conv2d(width, classes, 1)
        self.box_head = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.class_head.weight, std=0.01)
        nn.init.constant_(self.class_head.bias, -math.log((1 - _PRIOR) / _PRIOR))
        nn.init.normal_(self.box_head.weight, std=0.01)
        nn.init.constant_(self.box_head.bias, math.log(_FIRST_SIDE_PX))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(n, inputs, h, w), h and w multiples of 32 -> five maps of h / 8 by w / 8.

        Logits (n, classes, ...), sides (n, 4, ...) > 0 in px, then three maps of `width` channels.
        """
        context = self.neck(self.backbone.pyramid(x))
        classes, boxes = self.class_branch(context), self.box_branch(context)
        sides = torch.exp(self.box_head(boxes).clamp(-2.0, 6.5))  # 0.1 to 665 px: no overflow early on
        return self.class_head(classes), sides, classes, boxes, context


class Served(nn.Module):
    """What is exported: a detector whose class logits are probabilities."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `Detector.forward`, with class probabilities first."""
        logits, *rest = self.detector(x)
        return (torch.sigmoid(logits), *rest)


def locations(height: int, width: int, device: torch.device) -> torch.Tensor:
    """The pixel (x, y) at the middle of each stride-8 cell, row by row: (height * width, 2)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack((x, y), -1).reshape(-1, 2) + 0.5) * STRIDE_PX
