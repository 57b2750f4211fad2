"""The reflex: the tier of learning that answers each verdict, in milliseconds.

A learner (`hotloop.ports.Learner`) on the moments of `hotloop.learn.moments`. What an example teaches is the
vertical's to say (`teach`, deterministic); so a change is learned by taking out the rows of its `before` and
adding those of its `after`. Change by change the sums add up in the same order however the changes are
batched: after the same log prefix the head is the same to the last bit.

The sums of each site are kept apart (but for the first site's, which are all that the others' are not), so
that leave-one-site-out is a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.config import LearnConfig
from hotloop.errors import ModelError
from hotloop.learn.moments import Moments, Step, Sums
from hotloop.types import UNREADABLE, Change, Example, Floats, Head, Rows, digest

SITES_MAX = 64  # sites whose sums are kept apart; those that come later share one
FEDERATION = "(federation)"  # the site under which what others gave is kept; no site can be called so
_FORGOTTEN = 0.01  # of a half-life: what is learned is scaled in steps of that
_OLDEST = 60.0  # half-lives: older lessons have no weight, and may not underflow
_DIGEST = 64  # bytes that a state's digest takes, before the state


class _State(msgspec.Struct, frozen=True):
    recipe: str
    moments: bytes
    first: str | None
    others: tuple[tuple[str, bytes], ...]
    pool: bytes
    at: float = 0.0


class Reflex:
    """Learns a head from verdicts, exactly and reversibly. Pure: no clock, no disk, one thread at a time."""

    def __init__(
        self, teach: Callable[[Example], Rows], start: Head, config: LearnConfig, given: Sums | None = None
    ) -> None:
        """`teach` is the vertical's; `start` is the head to begin with and, with config.ridge, the prior.

        `given`: what other sites have learned, of the same features and labels: it is there from the start.
        """
        columns, targets = np.shape(start.weights)
        if not targets == len(start.labels) == len(start.thresholds):
            raise ModelError(
                f"the start head has {targets} columns, {len(start.labels)} labels and "
                f"{len(start.thresholds)} thresholds: make them equal"
            )
        self._teach = teach
        self._start = start
        self._moments = Moments(columns, targets, config.ridge, start.weights)
        prior = self._moments.prior.tobytes()
        named = (start.labels, start.thresholds, config.ridge, config.seed, columns, prior)
        if given is not None:
            self._moments.merge(given)
            named = (*named, digest(given.to_bytes()))  # type: ignore[assignment]
        self._recipe = digest(msgspec.msgpack.encode(named))
        self._first: str | None = None
        self._others: dict[str, Sums] = {} if given is None else {FEDERATION: given.twin()}
        self._pool = Sums(columns, targets)
        self._half_life_s = config.half_life_s
        self._at = 0.0  # the time at which a lesson has its full weight

    @property
    def count(self) -> int:
        """Rows learned less rows unlearned."""
        return self._moments.count

    def learn(self, changes: Sequence[Change]) -> None:
        """Unlearn each change's `before` and learn its `after`; all of them or, on ModelError, none."""
        self._forget([change.after for change in changes if change.after is not None])
        self._apply([step for change in changes for step in self._steps(change.before, change.after)])

    def unlearn(self, examples: Sequence[Example]) -> None:
        """Take out what these examples taught; all of them or, on ModelError, none."""
        self._apply([step for example in examples for step in self._steps(example, None)])

    def head(self) -> Head:
        """The head that follows from all that is learned now."""
        return self._headed(self._moments)

    def leave_out(self, site: str) -> Head:
        """The head that never saw a site. The sites after the first SITES_MAX are left out together."""
        if site != self._first:
            return self._headed(self._moments.without(self._others.get(site, self._pool)))
        others = self._pool.twin()
        for sums in self._others.values():
            others.merge(sums)
        return self._headed(self._moments.with_only(others))

    def sums_of(self, site: str) -> Sums:
        """What a site's rows add up to. The sites after the first SITES_MAX share one."""
        if site != self._first:
            return self._others.get(site, self._pool).twin()
        whole = self._moments.sums.twin()
        for sums in (*self._others.values(), self._pool):
            whole.merge(sums, -1)
        return whole

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites whose sums are kept apart."""
        return (*(() if self._first is None else (self._first,)), *self._others)

    @property
    def moments(self) -> Moments:
        """The moments of all that is learned, to be read."""
        return self._moments

    def leverage(self, x: Floats) -> Floats:
        """How new each row of x (n, d) is: h = xᵀ A⁻¹ x, (n,)."""
        return self._moments.leverage(x)

    def suspicion(self, example: Example) -> float:
        """How far a learned example is from what all others say; 0 if it teaches nothing.

        The largest |y - xᵀW| over its rows, by the W that never saw the example. ModelError if it cannot
        have been learned.
        """
        rows = self._teach(example)
        return float(np.abs(self._moments.leave_all_out(rows)).max(initial=0.0))

    def state(self) -> bytes:
        """The sums, of all and by site: about 4 d² bytes for each site (and no more for the first)."""
        others = tuple((site, sums.to_bytes()) for site, sums in self._others.items())
        pool = self._pool.to_bytes() if self._pool.xx.any() else b""
        state = _State(self._recipe, self._moments.to_bytes(), self._first, others, pool, self._at)
        data = msgspec.msgpack.encode(state)
        return digest(data).encode() + data

    def restore(self, state: bytes) -> None:
        """Become what `state` was. ModelError, and nothing changed, if it is damaged or of another recipe."""
        if digest(state[_DIGEST:]).encode() != state[:_DIGEST]:
            raise ModelError("the reflex's state is not what was written (digest): replay the log")
        try:
            found = msgspec.msgpack.decode(state[_DIGEST:], type=_State)
        except UNREADABLE as error:
            raise ModelError(f"the reflex's state cannot be read ({error}): replay the log") from error
        if found.recipe != self._recipe:
            raise ModelError(
                "the reflex's state is of another recipe (start head, labels, learn.ridge or learn.seed): "
                "use the settings it was made with, or replay the log"
            )
        moments = Moments.from_bytes(found.moments)
        others = {site: self._fitting(data) for site, data in found.others}
        pool = self._fitting(found.pool)
        self._moments, self._first, self._others, self._pool = moments, found.first, others, pool
        self._at = found.at

    def _headed(self, moments: Moments) -> Head:
        return Head(self._start.labels, moments.weights(), self._start.thresholds)

    def _fitting(self, data: bytes) -> Sums:
        """Sums from bytes, of this head's size; none are zeros."""
        sums = Sums(*self._start.weights.shape)
        if data:
            sums.merge(Sums.from_bytes(data))
        return sums

    def _steps(self, before: Example | None, after: Example | None) -> list[tuple[str, Step]]:
        """What to unlearn and what to learn, each with its site. Rows taught alike by both stay."""
        old = None if before is None else self._weighed(before)
        new = None if after is None else self._weighed(after)
        if old is not None and new is not None and old.x.shape == new.x.shape and _site(before) == _site(after):
            changed = (old.x != new.x).any(1) | (old.y != new.y).any(1) | (old.w != new.w)
            old, new = _only(old, changed), _only(new, changed)
        unlearn: list[tuple[str, Step]] = [] if old is None else [(_site(before), (-1, old))]
        learn: list[tuple[str, Step]] = [] if new is None else [(_site(after), (1, new))]
        return unlearn + learn

    def _forget(self, examples: Sequence[Example]) -> None:
        """All that is learned loses weight, by the time that has passed between it and these examples.

        A lesson learned at its time has weight 1, one of a half-life ago 1/2, whenever it is learned or taken out
        again: so forgetting and unlearning do not disturb each other.
        """
        newest = max((example.prediction.observation.at for example in examples), default=0.0)
        if not self._half_life_s or newest - self._at < _FORGOTTEN * self._half_life_s:
            return
        if self._at:
            left = 0.5 ** ((newest - self._at) / self._half_life_s)
            self._moments.scale(left)
            for sums in (*self._others.values(), self._pool):
                sums.scale(left)
        self._at = newest

    def _weighed(self, example: Example) -> Rows:
        """What an example teaches, at the weight that it has now."""
        rows = self._teach(example)
        if not self._half_life_s:
            return rows
        age = (self._at - example.prediction.observation.at) / self._half_life_s
        return Rows(rows.x, rows.y, rows.w * 0.5 ** min(max(age, -1.0), _OLDEST))

    def _apply(self, steps: Sequence[tuple[str, Step]]) -> None:
        self._moments.apply([step for _, step in steps])
        for site, (sign, rows) in steps:
            if len(rows.w) and (sums := self._apart(site)) is not None:
                sums.add(rows, sign)

    def _apart(self, site: str) -> Sums | None:
        """The sums that are kept for a site; None for the first one."""
        if self._first is None:
            self._first = site
        if site == self._first:
            return None
        if site not in self._others and len(self._others) < SITES_MAX - 1:
            self._others[site] = Sums(*self._start.weights.shape)
        return self._others.get(site, self._pool)


def _site(example: Example | None) -> str:
    return "" if example is None else example.prediction.observation.site


def _only(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    return Rows(rows.x[chosen], rows.y[chosen], rows.w[chosen])
