"""DeepPCB's layout (Tang et al., arXiv:1902.06197): pairs of a tested board and its template, boxes in text
files.

`PCBData/trainval.txt` has a line `group1/1/0001.jpg group1/1_not/0001.txt` for each pair; the image name
`X.jpg` stands for `X_test.jpg` and `X_temp.jpg`. A line of the label file is `x1 y1 x2 y2 type` in pixels,
types from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from hotloop.errors import LabelError
from hotloop.verticals.inspection.boards import KINDS, Board
from hotloop.verticals.inspection.pieces import (
    LabelSet,
    Piece,
    Truth,
    checked_region,
    existing,
    inside,
    read_lines,
)

LOOKED_FOR = "DeepPCB (PCBData/trainval.txt or PCBData/test.txt)"
_LISTS = ("trainval.txt", "test.txt")
_GROUP = "00000"


def recognise(path: Path) -> Path | None:
    """The list of pairs to read: `path` itself, or below it trainval.txt before test.txt; None if there is
    none.
    """
    if path.is_file():
        return path if path.name in _LISTS else None
    candidates = (folder / name for folder in (path, path / "PCBData") for name in _LISTS)
    return next((found for found in candidates if found.is_file()), None)


def read(list_file: Path) -> LabelSet:
    """The pairs of a list file. LabelError naming the file and line that is wrong."""
    root = list_file.parent
    pieces = []
    for place, line in read_lines(list_file):
        names = line.split()
        if len(names) != 2:
            raise LabelError(f"{place}: wanted an image and a label file, found {len(names)} words")
        image, labels = (inside(root, name, place) for name in names)
        pieces.append(
            Piece(
                image=existing(image.with_name(f"{image.stem}_test{image.suffix}"), place),
                template=existing(image.with_name(f"{image.stem}_temp{image.suffix}"), place),
                truths=tuple(_truth(where, text) for where, text in read_lines(labels)),
            )
        )
    return LabelSet(KINDS, tuple(pieces), "deeppcb")


def _truth(place: str, line: str) -> Truth:
    words = line.replace(",", " ").split()
    try:
        x1, y1, x2, y2, kind = (int(word) for word in words)
    except ValueError as error:
        raise LabelError(f"{place}: wanted whole numbers x1 y1 x2 y2 type, found {line[:60]!r}") from error
    if not 1 <= kind <= len(KINDS):
        raise LabelError(f"{place}: type {kind} is not one of 1 to {len(KINDS)}")
    return Truth(KINDS[kind - 1], checked_region((x1, y1, x2, y2), place))


def save_deeppcb(directory: Path, boards: Iterable[Board]) -> None:
    """Write drawn boards as DeepPCB is laid out, under `directory`/PCBData, listed in trainval.txt."""
    root = directory / "PCBData"
    images, notes = root / f"group{_GROUP}" / _GROUP, root / f"group{_GROUP}" / f"{_GROUP}_not"
    images.mkdir(parents=True, exist_ok=True)
    notes.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, board in enumerate(boards):
        name = f"{_GROUP}{number:04d}"
        # At full quality black stays below and white above any sensible threshold.
        Image.fromarray(board.test).save(images / f"{name}_test.jpg", quality=95)
        Image.fromarray(board.template).save(images / f"{name}_temp.jpg", quality=95)
        boxes = (" ".join(map(str, (*d.box, KINDS.index(d.kind) + 1))) for d in board.defects)
        (notes / f"{name}.txt").write_text("".join(f"{box}\n" for box in boxes), encoding="utf-8")
        lines.append(f"group{_GROUP}/{_GROUP}/{name}.jpg group{_GROUP}/{_GROUP}_not/{name}.txt\n")
    (root / "trainval.txt").write_text("".join(lines), encoding="utf-8")
