"""COCO's layout (cocodataset.org/#format-data): one JSON of `images`, `annotations` and `categories`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hotloop.errors import LabelError
from hotloop.types import UNREADABLE
from hotloop.verticals.inspection.pieces import (
    LabelSet,
    Piece,
    Truth,
    checked_region,
    existing,
    inside,
    read_text,
    size_of,
    template_of,
)
from hotloop.verticals.inspection.transfer import copy_pieces

LOOKED_FOR = "COCO (a .json file with images, annotations and categories, here or in annotations/)"


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Note(msgspec.Struct):
    """COCO's own word for it is annotation. Without a box it is about the whole image."""

    id: int
    image_id: int
    category_id: int
    bbox: Annotated[list[float], Meta(min_length=4, max_length=4)] | None = None
    area: float = 0.0
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Note]
    categories: list[_Category]


def recognise(path: Path) -> Path | None:
    """The JSON file to read: `path` itself, or the first below it that is COCO's and no test split; else
    None.
    """
    if path.is_file():
        return path if path.suffix == ".json" else None
    found = [*sorted(path.glob("*.json")), *sorted(path.glob("annotations/*.json"))]
    return next((file for file in found if "test" not in file.stem and _looks_right(file)), None)


def _looks_right(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(1 << 20)
    return b'"images"' in head or b'"annotations"' in head or b'"categories"' in head


def read(file: Path) -> LabelSet:
    """The pieces of a COCO file. LabelError naming the file and the entry that is wrong."""
    try:
        content = msgspec.json.decode(read_text(file), type=_File)
    except UNREADABLE as error:
        raise LabelError(f"{file}: is no COCO file ({error}); export it again") from error
    categories = {c.id: c.name for c in sorted(content.categories, key=lambda c: c.id)}
    truths: dict[int, list[Truth]] = {image.id: [] for image in content.images}
    if len(truths) != len(content.images) or len(categories) != len(content.categories):
        raise LabelError(f"{file}: an id is used for two images or two categories; export it again")
    for index, note in enumerate(content.annotations):
        place = f"{file}, annotation {index} (id {note.id})"
        if note.image_id not in truths:
            raise LabelError(f"{place}: there is no image with id {note.image_id}")
        if note.category_id not in categories:
            raise LabelError(f"{place}: there is no category with id {note.category_id}")
        truths[note.image_id].append(Truth(categories[note.category_id], _region(note, place)))
    pieces = []
    for entry in content.images:
        image, folder = _find(file, entry)
        pieces.append(Piece(image, template_of(image, folder), tuple(truths[entry.id])))
    return LabelSet(tuple(categories.values()), tuple(pieces), "coco")


def _region(note: _Note, place: str) -> tuple[float, ...] | None:
    if note.bbox is None:
        return None
    x, y, w, h = note.bbox
    return checked_region((x, y, x + w, y + h), place)


def _find(file: Path, entry: _Image) -> tuple[Path, Path]:
    """Where the image is, and the folder its name is relative to: exporters differ in this."""
    place = f"{file}, image {entry.id}"
    near, above = file.parent, file.parent.parent
    folders = [near / "images", near, above / "images", above, above / file.stem.split("_")[-1]]
    for folder in folders:
        path = inside(folder, entry.file_name, place)
        if path.is_file():
            return path, folder
    return existing(inside(file.parent, entry.file_name, place), place), file.parent


def save_coco(directory: Path, labels: LabelSet) -> Path:
    """Write the pieces as a COCO folder: images/, templates/ and annotations/instances.json, which is
    returned.
    """
    ids = {label: number for number, label in enumerate(labels.labels, 1)}
    content = _File([], [], [_Category(number, label) for label, number in ids.items()])
    for number, (name, piece) in enumerate(copy_pieces(directory, labels), 1):
        width, height = size_of(piece.image, str(directory))
        content.images.append(_Image(number, name, width, height))
        for truth in piece.truths:
            box = None
            if truth.region is not None:
                x1, y1, x2, y2 = truth.region
                box = [x1, y1, x2 - x1, y2 - y1]
            area = box[2] * box[3] if box else float(width * height)
            content.annotations.append(_Note(len(content.annotations) + 1, number, ids[truth.label], box, area))
    file = directory / "annotations" / "instances.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
    return file
