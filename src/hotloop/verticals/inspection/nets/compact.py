"""The compact backbone: 0.3 M parameters, plain 3 x 3 convolutions, made for one core without a GPU.

Full convolutions at strides 8 to 32 keep a CPU's vector units busy; depthwise ones at fine strides do not
(measured by bench/backbones.py). Two strided convolutions of 16 and 32 channels keep the fine detail of a trace's edge.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import torch
from torch import nn

from hotloop.verticals.inspection.nets.layers import ConvNorm, Pyramid, Residual


class Compact(Pyramid):
    """Strided stem, then three stages of residual blocks at strides 8, 16 and 32."""

    channels = (48, 64, 64)

    def __init__(self, inputs: int) -> None:
        super().__init__()
        fine, middle, coarse = self.channels
        self.stem = nn.Sequential(ConvNorm(inputs, 16, step=2), ConvNorm(16, 32, step=2))
        self.stage8 = nn.Sequential(ConvNorm(32, fine, step=2), Residual(fine))
        self.stage16 = nn.Sequential(ConvNorm(fine, middle, step=2), Residual(middle), Residual(middle))
        self.stage32 = nn.Sequential(ConvNorm(middle, coarse, step=2), Residual(coarse))

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(n, inputs, h, w) -> maps of 48, 64 and 64 channels at strides 8, 16 and 32."""
        fine = self.stage8(self.stem(x))
        middle = self.stage16(fine)
        return [fine, middle, self.stage32(middle)]
