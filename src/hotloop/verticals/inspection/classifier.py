"""Whole images (good, or which kind of bad) for products without boxes: image -> one row x for the reflex.

The backbone is frozen: EfficientNet-Lite0 with its ImageNet weights, written once by
`python -m hotloop.verticals.inspection.export lite0 OUT.onnx`, or, where torch is not to be had, the detector for
boards that hotloop ships. All that is learned on the line is the head, verdict by verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotloop.errors import ImageError, ModelError
from hotloop.predict.runtimes import Network, Runtime, open_network
from hotloop.types import Floats
from hotloop.verticals.inspection.bundle import BUNDLE_SUFFIX, LITE0, SHIPPED, make_bundle, open_bundle
from hotloop.verticals.inspection.detector import StartModel, boards_files, described

SIDE_PX = 224  # what EfficientNet-Lite0 was trained on; 320 is twice the time and no better (magnetic tiles)
# Length of a row x. With the reflex's ridge of 1 this is a ridge of 1 / SIZE^2 on rows of length 1.
SIZE = 18.0
LITE0_COLUMNS = 2 * (40 + 112 + 1280)
# Of the pooled maps (mean, largest; strides 8, 16, 32 widened), the means of the last two: largest values and the
# finest map cost accuracy at every number of verdicts (magnetic tiles, 70/30).
_MIDDLE = slice(80, 192)
_TOP = slice(304, 1584)
_GROUPS = 9  # three maps, three ways to pool
_BLUR_PX = 8  # what is smaller stands out against the picture out of focus
_CONTRAST_MIN = 8.0  # grey levels: a flat picture's noise is not blown up to black and white


class Backbone(Protocol):
    """A frozen network for whole images."""

    columns: int
    network: Network

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float16]:
        """(h, w) grey or (h, w, 3) RGB -> (columns,). ImageError for anything else."""
        ...

    def inputs(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network is given for it: (1, planes, h', w')."""
        ...


class Lite0:
    """EfficientNet-Lite0 as `export.py` writes it. Several threads may ask it."""

    columns = 112 + 1280

    def __init__(self, network: Network) -> None:
        """ModelError if it is not that network."""
        self.network = network
        height, width = network.size or (32, 32)
        found = self._pooled(np.zeros((1, 3, height, width), np.float32)).shape
        if found != (1, LITE0_COLUMNS):
            raise ModelError(f"The network gives features {found}, EfficientNet-Lite0 gives (1, {LITE0_COLUMNS}).")

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The pooled features of an image, squeezed to a square of `SIDE_PX`."""
        pooled = self._pooled(self.inputs(image))[0]
        # The widened map is after ReLU6 and skewed: its root is nearer to even
        return np.concatenate((np.sqrt(np.maximum(pooled[_TOP], 0.0)), pooled[_MIDDLE])).astype(np.float16)

    def inputs(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB, 0 to 255."""
        return np.ascontiguousarray(squeezed(image, SIDE_PX, "RGB").transpose(2, 0, 1))[None].astype(np.float32)

    def _pooled(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.network(pixels)[0])


class Shipped:
    """The shipped detector's last maps, pooled over the image: no download, no torch, and far less accurate.

    On magnetic tiles about 65 % with 500 verdicts, where EfficientNet-Lite0 has 96 %.
    """

    def __init__(self, network: Network, description: bytes) -> None:
        """ModelError if it is no detector."""
        self.network, self._model = network, StartModel(network, described(description))
        self.columns = len(self.features(np.zeros((SIDE_PX, SIDE_PX), np.uint8)))

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The pooled features of an image in grey, squeezed, at full contrast, compared with itself out of focus."""
        groups = np.sqrt(np.maximum(self._model.pooled(*_compared(image)), 0.0)).reshape(_GROUPS, -1)
        # each group (a map's means, largest values, spreads) on its own scale: else the largest values drown the rest
        plain = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, keepdims=True) + 1e-3)
        features: NDArray[np.float16] = plain.ravel().astype(np.float16)
        return features


    def inputs(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The picture and itself out of focus, -1 to 1."""
        return self._model.inputs(*_compared(image))


def _compared(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture at full contrast, and itself out of focus."""
    picture = stretched(squeezed(image, SIDE_PX, "L"))
    small = Image.fromarray(picture).resize((SIDE_PX // _BLUR_PX,) * 2, Image.Resampling.BOX)
    return picture, np.asarray(small.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))


def start_bundle(path: Path | None) -> bytes:
    """The network in a file that `export.py` wrote, or the shipped one if there is no path, as a bundle. ModelError."""
    if path is None:
        return make_bundle(SHIPPED, *boards_files())
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error}. Write it: python -m hotloop.verticals.inspection.export lite0 {path}"
        ) from error
    return data if path.suffix == BUNDLE_SUFFIX else make_bundle(LITE0, data, b"")


def backbone(bundle: bytes, runtimes: Sequence[Runtime] = ("cpu",)) -> Backbone:
    """The network of a bundle. ModelError if it is none for whole images."""
    found = open_bundle(bundle, LITE0, SHIPPED)
    network = open_network(found.files, runtimes)
    return Lite0(network) if found.kind == LITE0 else Shipped(network, found.description)


def squeezed(image: NDArray[np.uint8], side_px: int, mode: str) -> NDArray[np.uint8]:
    """An image (h, w) or (h, w, 3) as a square in another colour mode, `L` or `RGB`. ImageError for other arrays."""
    grey = image.ndim == 2
    if image.dtype != np.uint8 or not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        raise ImageError(f"An image is (h, w) or (h, w, 3) of uint8, not {image.shape} of {image.dtype}.")
    if image.shape[:2] == (side_px, side_px) and (mode == "L") == grey:
        return image
    picture = Image.fromarray(image).convert(mode)
    return np.asarray(picture.resize((side_px, side_px), Image.Resampling.BILINEAR))


def signature(image: NDArray[np.uint8]) -> bytes:
    """A difference hash: whether each of 16 x 16 patches is lighter than its left neighbour, 256 bits (32 bytes).

    Between two photographs of one tile (JPEG, 3 grey levels, a pixel's shift, noise) at most 24 bits differ in 97.4
    %; between two tiles in 0.3 % (bench/gate.py).
    """
    grey = np.asarray(Image.fromarray(image).convert("L").resize((17, 16), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def stretched(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey picture whose darkest and lightest hundredths become black and white: the detector knows little else."""
    low, high = np.percentile(grey, (1, 99))
    spread = max(float(high - low), _CONTRAST_MIN)
    pixels: NDArray[np.uint8] = ((grey - low) * (255.0 / spread)).clip(0, 255).astype(np.uint8)
    return pixels


def expand(features: NDArray[np.floating]) -> Floats:
    """Features (n, f) -> rows x (n, f + 1) of length `SIZE` besides a constant: brightness and contrast drop out."""
    raw = features.astype(np.float64)
    centred = raw - raw.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-6)
    return np.concatenate((directions * SIZE, np.full((len(raw), 1), SIZE)), axis=1)
