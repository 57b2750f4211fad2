"""Folders of kinds with pixel masks, as in the magnetic-tile set (Huang et al., 2018): `MT_Crack/Imgs/x.jpg`,
`x.png`.

The mask of an image is the .png of the same stem beside it; each connected part of it is one truth, its label
the folder's name without what all folders' names begin with (`MT_`). A folder called free, good, ok or normal
is of good pieces, whose masks may be left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from hotloop.errors import ImageError, LabelError
from hotloop.sense.images import Pixels, decode_image
from hotloop.verticals.inspection.pieces import IMAGE_SUFFIXES, LabelSet, Piece, Truth

LOOKED_FOR = "masks (KIND/ or KIND/Imgs/ with x.jpg and its mask x.png)"
_GOOD = frozenset({"free", "good", "normal", "ok"})
_INNER = frozenset({"imgs", "images"})
_PART_AREA_PX_MIN = 4
"""Smaller parts are specks that the mask's compression left."""


def recognise(path: Path) -> Path | None:
    """The folder itself if it has folders of images with masks, else None."""
    if not path.is_dir():
        return None
    return path if any(_has_masks(folder) for folder in _kind_folders(path)) else None


def read(root: Path) -> LabelSet:
    """The pieces of all kinds below the folder. LabelError for a mask that is missing or does not fit."""
    folders = {folder: _images(folder) for folder in _kind_folders(root)}
    folders = {folder: images for folder, images in folders.items() if images}
    prefix = _shared_prefix([folder.name for folder in folders])
    labels, pieces = [], []
    for folder, images in folders.items():
        label = folder.name[len(prefix) :]
        good = label.lower() in _GOOD
        if not good:
            labels.append(label)
        pieces += [Piece(image, None, () if good else _truths(image, label)) for image in images]
    return LabelSet(tuple(labels), tuple(pieces), "masks")


def _kind_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """The images of a kind, masks apart: beside a photograph in another format, a .png is its mask."""
    inner = next((path for path in folder.iterdir() if path.is_dir() and path.name.lower() in _INNER), folder)
    return sorted(p for p in inner.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES - {".png"} and p.is_file())


def _has_masks(folder: Path) -> bool:
    return any(image.with_suffix(".png").is_file() for image in _images(folder))


def _shared_prefix(names: list[str]) -> str:
    """What all names begin with, up to an underscore (`MT_`); nothing for fewer than two names."""
    head = names[0].split("_")[0] + "_" if names else ""
    return head if len(names) > 1 and all(name.startswith(head) and name != head for name in names) else ""


def _truths(image: Path, label: str) -> tuple[Truth, ...]:
    mask_file = image.with_suffix(".png")
    if not mask_file.is_file():
        raise LabelError(f"{image}: has no mask {mask_file.name} beside it; add it, or move the image to a folder 'ok'")
    pixels, mask = _decoded(image), _decoded(mask_file)
    if pixels.shape[:2] != mask.shape[:2]:
        raise LabelError(
            f"{mask_file}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, "
            f"its image {pixels.shape[1]} x {pixels.shape[0]}; export it again"
        )
    # An empty mask in a folder of a kind: nobody drew where, but the piece is no good one.
    return tuple(Truth(label, region) for region in mask_regions(mask)) or (Truth(label),)


def mask_regions(mask: Pixels) -> list[tuple[float, float, float, float]]:
    """The boxes (x1, y1, x2, y2) around the connected parts of a mask, uint8 (H, W[, 3]), of 0 and 1 or 0 to
    255.
    """
    grey = mask.max(axis=2) if mask.ndim == 3 else mask
    on = grey > (0 if grey.max(initial=0) <= 1 else 127)
    parts, _ = ndimage.label(on, np.ones((3, 3), bool))
    areas = np.bincount(parts.ravel())[1:]
    boxes = []
    for (rows, columns), area in zip(ndimage.find_objects(parts), areas, strict=True):
        if area >= _PART_AREA_PX_MIN:
            boxes.append((float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)))
    return boxes


def _decoded(path: Path) -> Pixels:
    try:
        return decode_image(path.read_bytes())
    except (OSError, ImageError) as error:
        raise LabelError(f"{path}: {error}") from error
