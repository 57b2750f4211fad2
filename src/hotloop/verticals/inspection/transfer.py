"""Copies the pictures of a label set into a folder that is to be handed on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hotloop.errors import LabelError
from hotloop.verticals.inspection.pieces import TEMPLATES, LabelSet, Piece


def copy_pieces(directory: Path, labels: LabelSet) -> Iterator[tuple[str, Piece]]:
    """Copy each piece's image to images/ and template to templates/; yield its name there with the piece.

    Names are kept as they are below the images' common folder. LabelError if a truth's label is not in the
    set.
    """
    known = set(labels.labels)
    common = Path(os.path.commonpath([piece.image.parent for piece in labels.pieces])) if labels.pieces else Path()
    for piece in labels.pieces:
        for truth in piece.truths:
            if truth.label not in known:
                raise LabelError(f"{piece.image}: its label {truth.label!r} is not one of {list(labels.labels)}")
        name = piece.image.relative_to(common).as_posix()
        _copy(piece.image, directory / "images" / name)
        if piece.template is not None:
            _copy(piece.template, directory / TEMPLATES / name)
        yield name, piece


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
