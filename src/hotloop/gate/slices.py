"""Parts of the verified examples that are judged on their own: classes, lines, sites, the golden set.

A mean over all pieces hides an aimed attack: one class can lose thirty points while the whole gains three. A part is
named "label:short", "line:line-1", "site:site-2" or "golden".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Parts:
    """k parts of n examples: their names, and which examples are in each (k, n).

    `own` (k, n): the paired differences of the part alone, where they are not those of the whole piece; None: none are.
    """

    names: tuple[str, ...]
    masks: Masks
    own: Floats | None = None


NO_PARTS = Parts((), np.zeros((0, 0), bool))


def parts_of(
    labels: Sequence[Collection[str]], lines: Sequence[str], sites: Sequence[str], extra: Mapping[str, Masks]
) -> Parts:
    """The parts of n examples: by the labels that are truly there, by line, by site, and `extra` as they are.

    A part that holds every example is left out where it says nothing of its own (one line, one site); so is an empty
    one.
    """
    names: list[str] = []
    rows: list[Masks] = []
    for label in sorted({label for there in labels for label in there}):
        names.append(f"label:{label}")
        rows.append(np.array([label in there for there in labels], bool))
    for kind, places in (("line", lines), ("site", sites)):
        found = sorted(set(places))
        for place in found if len(found) > 1 else ():
            names.append(f"{kind}:{place}")
            rows.append(np.array([one == place for one in places], bool))
    for name, mask in extra.items():
        if mask.any():
            names.append(name)
            rows.append(mask)
    return Parts(tuple(names), np.stack(rows)) if rows else NO_PARTS


def with_labels(parts: Parts, labels: Sequence[str], before: Floats, after: Floats) -> Parts:
    """The parts, those of labels judged on their label alone: its losses (labels, n) under champion and candidate.

    NaN: the label is neither there nor said on that piece. A label that only one of the two says counts as right for
    the other. The masks of labels are the pieces on which either has something to decide.
    """
    names = [f"label:{label}" for label in labels]
    differences = np.nan_to_num(after, nan=0.0) - np.nan_to_num(before, nan=0.0)
    masks = ~(np.isnan(before) & np.isnan(after))
    kept = [k for k, name in enumerate(parts.names) if not name.startswith("label:")]
    there = np.flatnonzero(masks.any(axis=1)).tolist()
    count = before.shape[1]
    others = parts.masks[kept] if kept else np.zeros((0, count), bool)
    whole = np.full((len(kept), count), np.nan)  # of the piece: the caller's own differences
    return Parts(
        (*(names[k] for k in there), *(parts.names[k] for k in kept)),
        np.concatenate([masks[there], others]),
        np.concatenate([differences[there], whole]),
    )
