"""Where a vertical can tell what an example would have cost (`ports.Costing`): costs in place of rights and wrongs.

A cost is a number in [0, 1] of one verified example under one head, so that the same bets are fair on its paired
differences. Labels are no parts here: what one of them costs alone nobody can tell. Lines and sites are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotloop.gate.slices import Parts, parts_of
from hotloop.ports import Costing
from hotloop.types import Example, Floats, Head


def costs_of(vertical: Costing, examples: Sequence[Example], heads: Sequence[Head], expects: Head) -> Floats:
    """The cost of each example under each head as it answers at the example's site: (heads, examples), NaN where an
    example cannot tell. Kept in [0, 1], whatever the vertical says: beyond it a bet is not fair.
    """
    found = np.full((len(heads), len(examples)), np.nan)
    sites = np.array([example.prediction.observation.site for example in examples])
    for site in dict.fromkeys(sites.tolist()):
        chosen = np.flatnonzero(sites == site)
        own = [examples[k] for k in chosen.tolist()]
        found[:, chosen] = vertical.costs(own, [head.at(site) for head in heads], expects.at(site))
    clipped: Floats = found.clip(0.0, 1.0)
    return clipped


def costed(
    vertical: Costing, examples: Sequence[Example], champion: Head, candidate: Head
) -> tuple[Floats, Floats, Parts]:
    """The costs of those examples that can tell, under champion and candidate, and their parts by line and site. What
    was not tried is priced by the champion.
    """
    table = costs_of(vertical, examples, (champion, candidate), champion)
    told = np.isfinite(table).all(axis=0)
    seen = [examples[k].prediction.observation for k in np.flatnonzero(told).tolist()]
    parts = parts_of([()] * len(seen), [one.line for one in seen], [one.site for one in seen], {})
    return table[0, told], table[1, told], parts
