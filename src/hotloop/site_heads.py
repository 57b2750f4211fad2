"""Which head answers at a site: the shared one, its own, or a blend, by evidence. Pure.

A site whose pieces differ is served better by moments in which the others weigh less. Whether it is, is judged on the
site's own recent pieces, each by heads that have not learned it, at its hundredth verified piece and at each doubling
of that; the shared head stays unless another is *proven* better. A head of its own is then watched piece by piece
against the shared one, before each verdict is learned, and is given up once it is proven worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.evidence import e_value_worse
from hotloop.gate.loss import piece_loss
from hotloop.learn import Moments, Reflex, Sums
from hotloop.rollout import Watch, spent
from hotloop.rollout.watch import WatchState
from hotloop.types import Floats, Head, Rows

SHARES = (0.0, 0.1, 0.3, 1.0)  # of the others' weight: 0 is the site's own head, 1 the shared one
FIRST = 100  # verified pieces of a site before the first look
_PIECES_LEAST, _PIECES_MAX = 10, 60  # of a site's recent ones that a look judges by: some 0.2 s at 512 columns
_SITES_MAX = 64


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


class SiteState(msgspec.Struct, frozen=True):
    """A site: its verified pieces, how often one has looked, the others' share in its head, and the watch over that."""

    verified: int = 0
    looks: int = 0
    share: float = 1.0
    watch: WatchState | None = None


class SiteHeads:
    """Each site's choice. One thread at a time."""

    def __init__(self, config: LoopConfig) -> None:
        self._alpha, self._on = config.gate.alpha, config.learn.site_heads
        self._sites: dict[str, SiteState] = {}

    def judge(self, site: str, rows: Rows, head: Head) -> str:
        """A newly verified piece, before it is learned. In words, if the site gives up its own head for it."""
        state = self._sites.get(site, SiteState())
        if not self._on or not len(rows.w) or (site not in self._sites and len(self._sites) >= _SITES_MAX):
            return ""
        said, own = "", head.own.get(site)
        if own is not None and state.watch is not None:
            watch = Watch(0.0, spent(self._alpha, state.looks))
            watch.restore(state.watch)
            watch.add(piece_loss(rows, head.at(site)), piece_loss(rows, head))
            kept = None if watch.alarm else watch.state()
            state = msgspec.structs.replace(state, watch=kept, share=1.0 if watch.alarm else state.share)
            said = f"site {site!r} is answered by the shared head again: {watch.words()}" if watch.alarm else ""
        self._sites[site] = msgspec.structs.replace(state, verified=state.verified + 1)
        return said

    def due(self) -> list[str]:
        """The sites at which it is time to look."""
        if not self._on or len(self._sites) < 2:
            return []
        return [site for site, state in self._sites.items() if state.verified >= FIRST << state.looks]

    def look(self, reflex: Reflex, pieces: Callable[[], Mapping[str, Sequence[Rows]]], head: Head) -> list[str]:
        """Choose for each site at which it is time. `pieces`: what is recent, by site. In words, what changes."""
        said = []
        due = self.due()
        recent = pieces() if due else {}
        for site in due:
            state = self._sites[site]
            looks = state.looks + 1
            share, words = state.share, ""
            judged = recent.get(site, ())[-_PIECES_MAX:]
            if len(judged) >= _PIECES_LEAST and site in reflex.sites:
                choice = choose(*_parted(reflex, site), judged, head, spent(self._alpha, looks))
                if choice.share < 1.0:  # without evidence it stays as it is: what it has is watched
                    share, words = choice.share, f"site {site!r} is answered by {choice.reason}"
            watch = Watch(0.0, spent(self._alpha, looks)).state() if share < 1.0 else None
            if share != state.share:
                said.append(words)
            self._sites[site] = SiteState(state.verified, looks, share, watch if share != state.share else state.watch)
        return said

    @property
    def own(self) -> set[str]:
        """The sites that are answered by a head of their own."""
        return {site for site, state in self._sites.items() if state.share < 1.0}

    def moved(self, before: SiteHeads) -> None:
        """On another backbone: what was chosen stays chosen, and is watched anew."""
        fresh = Watch(0.0, self._alpha).state()
        self._sites = {
            site: msgspec.structs.replace(state, watch=None if state.share == 1.0 else fresh)
            for site, state in before.state().items()
        }

    def onto(self, head: Head, reflex: Reflex) -> Head:
        """A head with those that sites have of their own."""
        own = {}
        for site in self.own:
            if site in reflex.sites:
                state = self._sites[site]
                alone, others = _parted(reflex, site)
                if alone.count < 1:  # all that it taught was taken out
                    continue
                others.scale(state.share)
                alone.merge(others)
                weights = alone.weights()
                if np.isfinite(weights).all():
                    own[site] = weights
        return replace(head, own=own) if own or head.own else head

    def state(self) -> dict[str, SiteState]:
        """What `restore` needs."""
        return dict(self._sites)

    def restore(self, state: Mapping[str, SiteState]) -> None:
        """Become what `state` was."""
        self._sites = dict(state)


def _parted(reflex: Reflex, site: str) -> tuple[Moments, Sums]:
    """A site's moments alone, and the sums of all others."""
    own = reflex.sums_of(site)
    others = reflex.moments.sums.twin()
    others.merge(own, -1)
    return reflex.moments.with_only(own), others
