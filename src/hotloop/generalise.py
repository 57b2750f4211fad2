"""Does what is learned hold for sites that it was not learned from? Leave-one-site-out is a subtraction of moments.

    gaps     each site's error with the head that has learned everything, and with the one that never saw the site
    harm     whether what one site taught makes the others worse: such a release fits that site and not the product

Which head serves a site best is `site_heads.py`'s to say. Pure. One factorisation a site (2 to 4 ms at 512 columns), so
it runs at every release of a loop with several sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse
from hotloop.learned import Learned
from hotloop.types import Head, Rows


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
