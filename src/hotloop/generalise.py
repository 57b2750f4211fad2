"""Does what is learned hold for sites that it was not learned from? Leave-one-site-out is a subtraction of moments.

    gaps     each site's error with the head that has learned everything, and with the one that never saw the site
    harm     whether what one site taught makes the others worse: such a release fits that site and not the product
    choose   for one site: its own head, the shared one, or the others' moments at a part of their weight, by evidence

Pure. One factorisation a site (2 to 4 ms at 512 columns), so it runs at every release of a loop with several sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse
from hotloop.gate.loss import piece_loss
from hotloop.learn import Moments, Sums
from hotloop.learned import Learned
from hotloop.types import Floats, Head, Rows

SHARES = (0.0, 0.1, 0.3, 1.0)  # of the others' weight: 0 is the site's own head, 1 the shared one


@dataclass(frozen=True)
class Gap:
    """A site: its mean loss with the head of all sites and with the head that never saw it, on `count` pieces of its
    own.

    `e_value`: evidence that the gap is above the tolerance: then the site is known by heart, not understood.
    """

    site: str
    count: int
    seen: float
    unseen: float
    e_value: float

    def words(self) -> str:
        """In a sentence."""
        return (
            f"site {self.site!r}: error {self.seen:.3f}, and {self.unseen:.3f} with a head that never saw it "
            f"({self.count} pieces, e-value {self.e_value:.3g})"
        )


def by_site(learned: Learned) -> dict[str, list[Rows]]:
    """The rows of the recent past, by site."""
    found: dict[str, list[Rows]] = {}
    for name in learned.recent.names():
        example = learned.examples[name]
        rows = learned.rows(example)
        if len(rows.w):
            found.setdefault(example.prediction.observation.site, []).append(rows)
    return found


def gaps(learned: Learned, config: GateConfig) -> list[Gap]:
    """Every site with enough recent pieces, the widest gap first; none where there is one site only."""
    found = []
    for site, own in _parted(learned).items():
        if own.sum() >= config.slice_least_examples:
            seen, unseen = learned.recent.losses(learned.champion, learned.reflex.leave_out(site))
            e_value = e_value_worse(unseen[own] - seen[own], config.site_tolerance)
            found.append(Gap(site, int(own.sum()), float(seen[own].mean()), float(unseen[own].mean()), e_value))
    return sorted(found, key=lambda gap: gap.seen - gap.unseen)


def harm(learned: Learned, candidate: Head, config: GateConfig) -> str:
    """Why a candidate is to be held: what one site taught makes the others worse than without it; "" where it does
    not.
    """
    parted = _parted(learned)
    for site, own in parted.items():
        count = int((~own).sum())
        if count < config.slice_least_examples:
            continue
        with_it, without = (part[~own] for part in learned.recent.losses(candidate, learned.reflex.leave_out(site)))
        e_value = e_value_worse(with_it - without, config.site_tolerance)
        if e_value >= len(parted) / config.alpha:
            return (
                f"it over-fits the site {site!r}: what was learned there makes the {count} pieces of the other "
                f"sites worse, error {with_it.mean():.3f} against {without.mean():.3f} without it "
                f"(e-value {e_value:.3g})"
            )
    return ""


def _parted(learned: Learned) -> dict[str, NDArray[np.bool_]]:
    """Which pieces of the recent past are of each site; nothing where there is one site only."""
    sites = np.array(learned.recent.sites())
    names = dict.fromkeys(sites.tolist())
    return {name: sites == name for name in names} if len(names) > 1 else {}


@dataclass(frozen=True)
class Choice:
    """The share of the others' weight that serves a site best, its loss there, and those of all shares."""

    share: float
    losses: dict[float, float]
    reason: str


def choose(own: Moments, others: Sums, pieces: Sequence[Rows], head: Head, alpha: float) -> Choice:
    """Local (0), shared (1) or a blend: judged on a site's pieces, each by heads that have not learned it.

    `own`: the site's moments, which have learned `pieces`; `others`: the sums of all other sites. The shared head stays
    unless there is evidence (paired, betting) that another is better.
    """
    table = {share: _left_out(own, others, share, pieces, head) for share in SHARES}
    means = {share: float(values.mean()) for share, values in table.items()}
    best = min(SHARES, key=lambda share: (means[share], -share))
    evidence = e_value_worse(table[1.0] - table[best], 0.0)
    if best == 1.0 or evidence < len(SHARES) / alpha:
        found = f"best mean at {best:g}: {means[best]:.3f}"
        reason = f"the shared head: no other is proven better on {len(pieces)} pieces ({found})"
        return Choice(1.0, means, reason)
    name = "its own head" if best == 0.0 else f"the others at {best:g} of their weight"
    compared = f"error {means[best]:.3f} against {means[1.0]:.3f} shared"
    reason = f"{name}: {compared}, {len(pieces)} pieces (e-value {evidence:.3g})"
    return Choice(best, means, reason)


def _left_out(own: Moments, others: Sums, share: float, pieces: Sequence[Rows], head: Head) -> Floats:
    """Each piece's loss under the head of the site's own moments and a share of the others', without that piece."""
    part = others.twin()
    part.scale(share)
    mixed = Moments(own.sums.columns, own.sums.targets, own.ridge, own.prior)
    mixed.merge(own)
    mixed.merge(part)
    found = []
    for rows in pieces:
        answers = rows.y - mixed.leave_all_out(rows)  # what the head without the piece says of its rows
        found.append(piece_loss(Rows(answers, rows.y, rows.w), _passing(head)))
    return np.array(found)


def _passing(head: Head) -> Head:
    """A head that passes scores through, with the thresholds of `head`."""
    return Head(head.labels, np.eye(len(head.labels)), head.thresholds)
