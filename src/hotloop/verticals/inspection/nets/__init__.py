"""The networks in plain torch (extra `hotloop[train]`): backbones, the detector on top, its loss."""

from __future__ import annotations

from collections.abc import Callable

from hotloop.errors import ModelError
from hotloop.verticals.inspection.nets.compact import Compact
from hotloop.verticals.inspection.nets.detector import STRIDE_PX, Detector, Served
from hotloop.verticals.inspection.nets.efficientnet import EfficientNetLite0
from hotloop.verticals.inspection.nets.layers import Pyramid
from hotloop.verticals.inspection.nets.loss import Truths, detection_loss
from hotloop.verticals.inspection.nets.mobilenet import mobilenet_v3_large, mobilenet_v3_small

BACKBONES: dict[str, Callable[[int], Pyramid]] = {
    "compact": Compact,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mobilenet_v3_large": mobilenet_v3_large,
    "efficientnet_lite0": EfficientNetLite0,
}


def build(backbone: str, inputs: int, classes: int) -> Detector:
    """A detector with fresh weights. ModelError if there is no such backbone."""
    if backbone not in BACKBONES:
        raise ModelError(f"There is no backbone {backbone!r}. Choose one of: {', '.join(BACKBONES)}")
    return Detector(BACKBONES[backbone](inputs), classes)


__all__ = ["BACKBONES", "STRIDE_PX", "Detector", "Pyramid", "Served", "Truths", "build", "detection_loss"]
