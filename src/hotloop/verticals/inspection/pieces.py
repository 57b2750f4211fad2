"""Labelled pieces, whatever the files they came from: the records, and how label files are read within
bounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hotloop.errors import InputError, LabelError
from hotloop.sense.images import image_size
from hotloop.types import Region

LABEL_FILE_BYTES_MAX = 256 * 2**20
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})
TEMPLATES = "templates"
"""In COCO and YOLO folders: holds the reference of `images/NAME` as `templates/NAME`, where pieces have one.
"""


@dataclass(frozen=True)
class Truth:
    """What is known to be there: a label and where (x1, y1, x2, y2 in pixels), None for the whole piece."""

    label: str
    region: Region | None = None


@dataclass(frozen=True)
class Piece:
    """An image, its reference if it has one, and all that is wrong with it (nothing: the piece is good)."""

    image: Path
    template: Path | None = None
    truths: tuple[Truth, ...] = ()


@dataclass(frozen=True)
class LabelSet:
    """Labelled pieces in the order of their files, the labels in the order of their numbers, and their
    layout.
    """

    labels: tuple[str, ...]
    pieces: tuple[Piece, ...]
    layout: str = ""


def read_text(path: Path) -> str:
    """A label file as text. LabelError if it is missing, over `LABEL_FILE_BYTES_MAX` or not UTF-8."""
    try:
        if path.stat().st_size > LABEL_FILE_BYTES_MAX:
            raise LabelError(f"{path}: over {LABEL_FILE_BYTES_MAX} bytes; split the file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # not UTF-8, or a NUL in the path
        raise LabelError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a label file that say something, each with its place for messages (`file, line 3`)."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            yield f"{path}, line {number}", line.strip()


def inside(folder: Path, name: str, place: str) -> Path:
    """The file that a label file names. LabelError if the name leads out of the folder."""
    clean = os.path.normpath(name)
    if not name or "\0" in name or clean.startswith("..") or Path(clean).is_absolute():
        raise LabelError(f"{place}: {name!r} is not inside {folder}; name files relative to that folder")
    return folder / clean


def existing(path: Path, place: str) -> Path:
    """The path if it is a file, else a LabelError that says who named it."""
    if not path.is_file():
        raise LabelError(f"{place}: there is no image {path}; add the file or drop the line")
    return path


def size_of(path: Path, place: str) -> tuple[int, int]:
    """Width and height in pixels of an image that a label file refers to. LabelError if it is no image."""
    try:
        return image_size(path.read_bytes())
    except (OSError, InputError) as error:
        raise LabelError(f"{place}: {path} cannot be measured: {error}") from error


def images_below(folder: Path) -> list[Path]:
    """All image files below a folder in the order of their names; a split called `test` is left aside."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and "test" not in path.relative_to(folder).parts[:-1]
        and TEMPLATES not in path.relative_to(folder).parts[:-1]
        and path.is_file()
    )


def template_of(image: Path, images: Path) -> Path | None:
    """The reference of an image in the folder `images`, by the convention of `TEMPLATES`, or None."""
    path = images.parent / TEMPLATES / image.relative_to(images)
    return path if path.is_file() else None


def checked_region(corners: tuple[float, float, float, float], place: str) -> Region:
    """The corners as a region. LabelError unless x1 < x2 and y1 < y2, all finite and none far below 0."""
    x1, y1, x2, y2 = corners
    if not (-1.0 <= x1 < x2 < 1e6 and -1.0 <= y1 < y2 < 1e6):
        raise LabelError(f"{place}: a box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}) is none; mend or drop it")
    return (x1, y1, x2, y2)
