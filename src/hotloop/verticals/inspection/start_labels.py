"""Labels to start from, as payloads and what is there: read one piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hotloop.errors import ConfigError, ImageError
from hotloop.types import Claim, Payload
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.pieces import Piece


def labelled_payloads(
    folder: str, labels: Sequence[str]
) -> list[Callable[[], tuple[Payload, tuple[Claim, ...]]]]:
    """The pieces of a labelled folder ("" has none), each read when it is called.

    LayoutError if the folder is in no known layout; ConfigError if it has labels that the loop has not.
    """
    if not folder:
        return []
    found = read_labels(Path(folder))
    strange = sorted({truth.label for piece in found.pieces for truth in piece.truths} - set(labels))
    if strange:
        raise ConfigError(
            f"{folder} has labels that this loop has not: {', '.join(strange[:10])}. "
            f"Name them in [inspection] labels; it has {', '.join(labels)}"
        )
    return [partial(_read, piece) for piece in found.pieces]


def _read(piece: Piece) -> tuple[Payload, tuple[Claim, ...]]:
    """A piece's bytes and claims. ImageError if a file is gone."""
    try:
        data = piece.image.read_bytes()
        reference = None if piece.template is None else piece.template.read_bytes()
    except OSError as error:
        raise ImageError(f"{piece.image} or its template cannot be read: {error}") from error
    return Payload(data, "image/*", reference), tuple(
        Claim(label=t.label, region=t.region) for t in piece.truths
    )
