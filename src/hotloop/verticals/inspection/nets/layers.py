"""The building blocks that all backbones share."""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

import torch
from torch import nn


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation, ReLU (or none): (n, i, h, w) -> (n, o, h / step, w / step)."""

    def __init__(self, i: int, o: int, size: int = 3, *, step: int = 1, groups: int = 1, relu: bool = True) -> None:
        super().__init__(
            nn.Conv2d(i, o, size, step, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True) if relu else nn.Identity(),
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNorm(width, width)
        self.second = ConvNorm(width, width, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, h, w) -> the same shape."""
        return torch.relu(x + self.second(self.first(x)))


class Separable(nn.Sequential):
    """A 3 x 3 convolution a channel, then a 1 x 1 one across: a tenth of the work of a full one."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(ConvNorm(i, i, groups=i), ConvNorm(i, o, 1))


class Pyramid(nn.Module):
    """A backbone: an image in, feature maps out, finest first.

    `strides` are the maps' pixel steps, `channels` their widths; every backbone here gives strides 8, 16 and 32.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    channels: tuple[int, ...] = ()

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(n, c, h, w), h and w multiples of 32 -> one map a stride."""
        raise NotImplementedError
