"""Sites share what they have learned without sharing a picture: the sums of their moments, sealed, merged, taken out
again.

An export is X'X and X'Y over all rows of a site, with what they are of: backbone, labels, recipe. Merging is
addition, so it is the same in any order and equal to having learned everything in one place; a site can be taken out
as exactly. What a Gram matrix can reveal is in docs/reference/gram-matrix.md: hence a least number of rows, and
clipping with noise for who wants a bound (the Gaussian mechanism; Dwork & Roth 2014, theorem A.1; sums of clipped
rows as in AdaSSP, Wang 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from hotloop.errors import ModelError
from hotloop.learn.moments import Sums
from hotloop.types import UNREADABLE, Rows, digest

FORMAT = 1
_DIGEST = 64


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What one site gives. `privacy` says in words what was done to the sums."""

    format: int
    site: str
    backbone: str
    recipe: str
    labels: tuple[str, ...]
    rows: int
    sums: bytes
    privacy: str


def export(sums: Sums, *, site: str, backbone: str, recipe: str, labels: tuple[str, ...]) -> bytes:
    """A site's sums as sealed bytes. ModelError with fewer rows than columns: those could be solved for."""
    if sums.count < sums.columns:
        raise ModelError(
            f"site {site!r} has learned {sums.count} rows of {sums.columns} columns: from so few they could be "
            "reconstructed. Export again when there are more rows than columns"
        )
    record = Export(
        format=FORMAT,
        site=site,
        backbone=backbone,
        recipe=recipe,
        labels=labels,
        rows=sums.count,
        sums=sums.to_bytes(),
        privacy="the sums as they are",
    )
    return _sealed(record)


def read(data: bytes) -> Export:
    """What `export` wrote. ModelError if it is not that, to the last bit."""
    body = data[_DIGEST:]
    if data[:_DIGEST] != digest(body).encode():
        raise ModelError("the export is not as it was written (digest): fetch it again")
    try:
        found = msgspec.msgpack.decode(body, type=Export)
    except UNREADABLE as error:
        raise ModelError(f"these bytes are no export of a site: {error}") from error
    if found.format != FORMAT:
        raise ModelError(f"the export has format {found.format}, this hotloop reads {FORMAT}: use the same version")
    return found


def merged(exports: Sequence[Export]) -> Sums:
    """The sums of several sites. ModelError names the first that is of another backbone, recipe or labels, or comes
    twice.
    """
    if not exports:
        raise ModelError("there is no export to merge")
    first, total, seen = exports[0], None, set()
    for one in exports:
        if (one.backbone, one.recipe, one.labels) != (first.backbone, first.recipe, first.labels):
            raise ModelError(
                f"site {one.site!r} learned on another model ({one.recipe}, backbone {one.backbone[:12]}, labels "
                f"{', '.join(one.labels)}) than {first.site!r}: features of two models cannot be added"
            )
        if one.site in seen:
            raise ModelError(f"site {one.site!r} comes twice: what it learned would count twice")
        seen.add(one.site)
        sums = Sums.from_bytes(one.sums)
        if total is None:
            total = sums
        else:
            total.merge(sums)
    assert total is not None, "there is at least one"
    return total


def clipped(rows: Rows, norm_max: float) -> Rows:
    """Rows whose features are at most so long, so that none can move the sums by more than is known."""
    lengths = np.linalg.norm(rows.x, axis=1, keepdims=True)
    return Rows(rows.x * np.minimum(1.0, norm_max / np.maximum(lengths, 1e-12)), rows.y, rows.w)


def noised(sums: Sums, norm_max: float, epsilon: float, delta: float, seed: int) -> Sums:
    """Sums of `clipped` rows (weight at most 1, one target at most 1) with noise for (epsilon, delta) a row.

    One row moves X'X by at most norm_max^2 and X'Y by norm_max (Frobenius); half of epsilon and delta goes to each. The
    noise on X'X is symmetric, and as much ridge is added as keeps it positive definite. ModelError on a bound that is
    none.
    """
    if not (0 < epsilon <= 2 and 0 < delta < 1 and norm_max > 0):
        raise ModelError(f"epsilon is above 0 and at most 2, delta between 0 and 1; not {epsilon} and {delta}")
    random = np.random.default_rng(seed)
    factor = math.sqrt(2 * math.log(1.25 / (delta / 2))) / (epsilon / 2)
    twin = sums.twin()
    noise = np.tril(random.normal(0.0, factor * norm_max**2, twin.xx.shape))
    twin.xx += noise
    whole = noise + np.tril(noise, -1).T
    twin.xx[np.diag_indices(twin.columns)] += max(0.0, -float(np.linalg.eigvalsh(whole)[0]))
    twin.xy = twin.xy + random.normal(0.0, factor * norm_max, twin.xy.shape)
    return twin


def _sealed(record: Export) -> bytes:
    data = msgspec.msgpack.encode(record)
    return digest(data).encode() + data
