"""YOLO's layout: `images/x.jpg` with `labels/x.txt`, one line `class cx cy w h` a box, in shares of the
image.

The names of the classes are in classes.txt, obj.names, or under `names:` in data.yaml. Lines of polygons
(`class x1 y1 x2 y2 x3 y3 ...`) give their bounding box. An image without a label file is a good piece.
"""

from __future__ import annotations

import re
from pathlib import Path

from hotloop.errors import LabelError
from hotloop.types import Region
from hotloop.verticals.inspection.pieces import (
    LabelSet,
    Piece,
    Truth,
    checked_region,
    images_below,
    read_lines,
    size_of,
    template_of,
)
from hotloop.verticals.inspection.transfer import copy_pieces

LOOKED_FOR = "YOLO (classes.txt, obj.names or a .yaml with names:, beside images/ and labels/)"
_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")
_ENTRY = re.compile(r"(?:-|(\d+)\s*:)\s*(.+)")


def recognise(path: Path) -> Path | None:
    """The file with the classes' names, if the folder has one and any label file; else None."""
    if path.is_file():
        candidates = [path] if _is_yaml(path) or path.name in ("classes.txt", "obj.names") else []
    else:
        candidates = [path / name for name in _LISTS] + sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    names = next((file for file in candidates if file.is_file()), None)
    if names is None:
        return None
    folder = _images(_root(names))
    return names if any(_label_file(image, folder).is_file() for image in images_below(folder)) else None


def read(names_file: Path) -> LabelSet:
    """The pieces beside a file of class names. LabelError naming the file and line that is wrong."""
    labels = _names(names_file)
    folder = _images(_root(names_file))
    pieces = []
    for image in images_below(folder):
        file = _label_file(image, folder)
        lines = list(read_lines(file)) if file.is_file() else []
        size = size_of(image, str(file)) if lines else (0, 0)
        truths = tuple(_truth(place, line, labels, size) for place, line in lines)
        pieces.append(Piece(image, template_of(image, folder), truths))
    return LabelSet(labels, tuple(pieces), "yolo")


def _is_yaml(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml")


def _root(names_file: Path) -> Path:
    folder = names_file.parent
    return folder.parent if folder.name == "labels" else folder


def _images(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root


def _label_file(image: Path, images: Path) -> Path:
    """Where an image's boxes are: in labels/ beside images/, or else beside the image itself."""
    mirrored = images.parent / "labels" / image.relative_to(images).with_suffix(".txt")
    return mirrored if images.name == "images" and mirrored.is_file() else image.with_suffix(".txt")


def _names(file: Path) -> tuple[str, ...]:
    lines = [(place, line) for place, line in read_lines(file) if not line.startswith("#")]
    names = _yaml_names(file, lines) if _is_yaml(file) else [line for _, line in lines]
    if not names or len(set(names)) != len(names) or not all(names):
        raise LabelError(f"{file}: wanted the classes' names, each once, found {names[:20]}")
    return tuple(names)


def _yaml_names(file: Path, lines: list[tuple[str, str]]) -> list[str]:
    """The value of `names:` as it is written: [a, b], a list of `- a`, or a table of `0: a`."""
    start = next((i for i, (_, line) in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise LabelError(f"{file}: has no line 'names:'; add the classes' names")
    value = lines[start][1].split(":", 1)[1].split(" #")[0].strip()
    if value:
        for _, line in lines[start + 1 :] if not value.endswith(("]", "}")) else []:
            value += " " + line.split(" #")[0].strip()
            if value.endswith(("]", "}")):
                break
        return [
            _unquoted(word.split(":", 1)[-1] if value[0] == "{" else word)
            for word in value.strip("[]{}").split(",")
            if word.strip()
        ]
    names: list[str] = []
    for place, line in lines[start + 1 :]:
        entry = _ENTRY.fullmatch(line.split(" #")[0].strip())
        if entry is None:
            break
        if entry[1] is not None and int(entry[1]) != len(names):
            raise LabelError(f"{place}: class {entry[1]} stands where {len(names)} should; number them from 0")
        names.append(_unquoted(entry[2]))
    return names


def _unquoted(word: str) -> str:
    return word.strip().strip("'\"")


def _truth(place: str, line: str, labels: tuple[str, ...], size: tuple[int, int]) -> Truth:
    words = line.split()
    try:
        number, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise LabelError(f"{place}: wanted numbers 'class cx cy w h', found {line[:80]!r}") from error
    if not 0 <= number < len(labels):
        raise LabelError(f"{place}: class {number} is not one of 0 to {len(labels) - 1}")
    return Truth(labels[number], _region(place, values, size))


def _region(place: str, values: list[float], size: tuple[int, int]) -> Region:
    if not all(-0.01 <= value <= 1.01 for value in values):
        raise LabelError(f"{place}: coordinates are shares of the image, 0 to 1; found {values[:8]}")
    width, height = size
    if len(values) == 4:
        cx, cy, w, h = values
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
    else:
        raise LabelError(f"{place}: wanted 4 coordinates or a polygon of 3 points and more, found {len(values)}")
    x1, y1, x2, y2 = corners
    return checked_region((max(0.0, x1 * width), max(0.0, y1 * height), x2 * width, y2 * height), place)


def save_yolo(directory: Path, labels: LabelSet) -> Path:
    """Write the pieces as a YOLO folder: images/, labels/, templates/, classes.txt and data.yaml, which is
    returned.

    LabelError for a truth of a whole piece: YOLO can say only boxes.
    """
    ids = {label: number for number, label in enumerate(labels.labels)}
    for name, piece in copy_pieces(directory, labels):
        width, height = size_of(piece.image, str(directory))
        lines = []
        for truth in piece.truths:
            if truth.region is None:
                raise LabelError(f"{piece.image}: {truth.label!r} has no box, which YOLO cannot say; use COCO")
            x1, y1, x2, y2 = truth.region
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{ids[truth.label]} " + " ".join(f"{share:.8f}" for share in shares) + "\n")
        file = (directory / "labels" / name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    (directory / "classes.txt").write_text("".join(f"{label}\n" for label in labels.labels), encoding="utf-8")
    names = "".join(f"  {number}: {label}\n" for label, number in ids.items())
    config = directory / "data.yaml"
    config.write_text(f"path: .\ntrain: images\nval: images\nnames:\n{names}", encoding="utf-8")
    return config
