"""The vertical for routes: orders in, a tour out, the measured times of its stretches back.

A payload is JSON (`Request`): what is to be picked, when, and how many robots are in each stretch. A stretch's time is
its planned time times a factor, whose distribution over five classes is learned: a passage that took 1.4 times as long
is 0.6 of "as planned" and 0.4 of "slower", so that the mean factor is kept and the report can say which stretches were
rightly called slow. Beside the classes the head holds some draws of the factor: regressions on targets and priors with
noise (randomised least squares: Osband, Van Roy & Wen 2016), each a sample of what the factors may be. A tour is the
shortest one (`routing`) on one of them, picked by the digest of the request: Thompson sampling, whose propensity is the
share of draws that lead to the same tour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from hotloop.config import LoopConfig, Section, own_table
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.types import UNREADABLE, Example, Floats, Head, Outcome, Output, Payload, Proposals, Rows, digest
from hotloop.verticals.warehouse import routing
from hotloop.verticals.warehouse.classic import CLASSIC
from hotloop.verticals.warehouse.cost import Costs
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig, Leg, Place, check_layout
from hotloop.verticals.warehouse.policy import Routing, routing_of, steered
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

FACTORS: Final = {"fast": 0.6, "as planned": 1.0, "slower": 2.0, "slow": 4.0, "blocked": 12.0}
_GROUND: Final = frozenset({"fast", "as planned"})
_CENTRES: Final = np.array(list(FACTORS.values()))
_SAID_FROM = 0.5
_NEVER = 1e9  # the threshold of a draw: it is no answer
_MILLI = 1e-3  # draws are kept in thousandths, so that they never outweigh a class
_FACTOR_MIN, _FACTOR_MAX = 0.3, 20.0
_PICKS_MAX = 64
_DAY_S = 86_400.0
_UNLEARNED: Final = ("routing", "considerate", "robots")  # settings that what is learned does not depend on
_SHARED = 4  # features of every stretch: a constant, robots in it, time of day (sine, cosine)


class WarehouseConfig(Section, frozen=True):
    """`[warehouse]`: routes of robots."""

    layout: LayoutConfig = LayoutConfig()
    routing: Routing = Routing()  # how tours are chosen to begin with
    considerate: bool = False  # a refresh fits what robots cost each other
    draws: Annotated[int, Meta(ge=1, le=64)] = 8  # samples of what the times may be
    spread: Annotated[float, Meta(gt=0)] = 0.3  # of a passage's factor, and of what one does not know of a stretch
    robots: RobotsConfig = RobotsConfig()  # `hotloop robots`


class Request(msgspec.Struct, frozen=True):
    """What is asked: places (aisle from 0, metres from the front), the time (s since 1970), robots by stretch; where
    the tour begins (None: at the depot, where it ends).
    """

    picks: list[tuple[int, float]]
    at: float = 0.0
    busy: dict[int, int] = {}
    start: tuple[int, float] | None = None


def vertical(config: LoopConfig) -> Warehouse:
    """Entry point: the vertical for `config`. ConfigError if `[warehouse]` cannot be."""
    settings = own_table(config, "warehouse", WarehouseConfig)
    check_layout(settings.layout)
    try:
        return Warehouse(settings, config.learn.seed)
    except ModelError as error:
        raise ConfigError(f"[warehouse.routing] {error}") from error


class Warehouse:
    """Tours on learned times; exact up to four blocks. Its backbone is its policy (`policy.py`)."""

    def __init__(self, config: WarehouseConfig, seed: int, bundle: bytes = b"") -> None:
        """`bundle`: a policy in place of the one in the settings. ModelError if it is none, or of another layout."""
        self.layout = Layout(config.layout)
        self._config, self._seed = config, seed
        self._planned = self.layout.planned_s
        routing.prepare(self.layout)
        count = self.layout.stretches
        aisles = np.zeros((count, config.layout.aisles))
        inside = np.arange(config.layout.aisles * self.layout.parts)
        aisles[inside, inside // self.layout.parts] = 1.0
        self._fixed = np.concatenate((np.eye(count), aisles), axis=1)
        self.columns = self._fixed.shape[1] + _SHARED
        self.labels = (*FACTORS, *(f"draw {k + 1}" for k in range(config.draws)))
        self.routing = routing_of(bundle, self.layout) if bundle else config.routing
        self.routing.check(self.layout)
        built_in = not bundle and config.routing == Routing()
        self.backbone = "" if built_in else digest(self.bundle())
        made_of = {key: value for key, value in msgspec.to_builtins(config).items() if key not in _UNLEARNED}
        self.recipe = f"warehouse {msgspec.json.encode(made_of).decode()}, seed {seed}"
        self._costs = Costs(self)

    def start(self) -> Head:
        """Everything as planned; what each draw thinks beyond that is noise."""
        weights = np.zeros((self.columns, len(self.labels)))
        rng = np.random.Generator(np.random.PCG64([self._seed, 7]))
        stretches = self.layout.stretches
        weights[-_SHARED, 1] = 1.0
        weights[-_SHARED, len(FACTORS) :] = _MILLI
        drawn = rng.normal(size=(stretches, self._config.draws)) * self._config.spread
        weights[:stretches, len(FACTORS) :] = _MILLI * drawn
        thresholds = (*(_SAID_FROM for _ in FACTORS), *(_NEVER for _ in range(self._config.draws)))
        return Head(self.labels, weights, thresholds)

    def propose(self, payload: Payload) -> Proposals:
        """The request as one row: lines, places, time of day, robots by stretch. InputError."""
        try:
            asked = msgspec.json.decode(payload.data, type=Request)
        except UNREADABLE as error:
            raise InputError(f'a request is JSON such as {{"picks": [[3, 12.5]], "at": 0}}: {error}') from error
        if not 1 <= len(asked.picks) <= _PICKS_MAX:
            raise InputError(f"a request has 1 to {_PICKS_MAX} picks, this one {len(asked.picks)}")
        busy = np.zeros(self.layout.stretches)
        for stretch, robots in asked.busy.items():
            if not (0 <= stretch < len(busy) and 0 <= robots <= 1000):
                raise InputError(f"{robots} robots in stretch {stretch}: there are {len(busy)} stretches")
            busy[stretch] = robots
        places = np.zeros((_PICKS_MAX, 2))
        places[: len(asked.picks)] = [self.layout.check(place) for place in asked.picks]
        start = [] if asked.start is None else self.layout.check(asked.start)
        row = np.concatenate(([len(asked.picks), (asked.at % _DAY_S) / _DAY_S], places.ravel(), busy, start))
        return Proposals(1, len(row), row.astype("<f4").tobytes(), kind="f4")

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The tour, leg by leg: the class that its stretch is thought to be in, with its share as the score; region:
        stretch, share of it, expected s, and the tour's propensity.
        """
        tours, x = self.chosen(proposals, head)
        chosen = int.from_bytes(hashlib.blake2b(proposals.data, digest_size=8).digest()) % len(tours)
        return self._told(tours[chosen], x, head, tours.count(tours[chosen]) / len(tours))

    def tours(self, proposals: Proposals, head: Head) -> tuple[list[list[Leg]], Floats]:
        """The tour that each draw leads to, and the features of every stretch."""
        picks, x = self._read(proposals)
        factors = (x @ head.weights[:, len(FACTORS) :] / _MILLI).clip(_FACTOR_MIN, _FACTOR_MAX)
        found = routing.tours(self.layout, picks, list(self._planned * factors.T), self._start(proposals))
        return [[(stretch, round(share, 6)) for stretch, share in legs] for legs in found], x

    def chosen(self, proposals: Proposals, head: Head) -> tuple[list[list[Leg]], Floats]:
        """As `tours`, by the policy that is this vertical's backbone. Classic routes begin at the depot: from elsewhere
        the tour is the shortest one, whatever the policy.
        """
        if self.routing.router == "exact" or self._start(proposals) is not None:
            return self.tours(proposals, steered(head, self.routing, self.layout, _CENTRES, _MILLI))
        picks, x = self._read(proposals)
        legs = CLASSIC[self.routing.router](self.layout, picks, self._planned)
        return [[(stretch, round(share, 6)) for stretch, share in legs]], x

    def bundle(self) -> bytes:
        """The policy."""
        return self.routing.bundle()

    def revived(self, bundle: bytes) -> Warehouse:
        """The same warehouse by another policy. ModelError."""
        if not bundle:
            raise ModelError("a policy of no bytes is none")
        return Warehouse(self._config, self._seed, bundle)

    def trainer(self) -> tuple[str, ...]:
        """See `refresh`."""
        return ("hotloop.verticals.warehouse.refresh",)

    def costs(self, examples: Sequence[Example], heads: Sequence[Head], expects: Head) -> Floats:
        """What trips would have taken under heads, by this policy (see `cost`)."""
        return self._costs.of(examples, heads, expects)

    def propensity(self, outputs: Sequence[Output]) -> float:
        """With what chance this tour was chosen."""
        region = outputs[0].region if outputs else None
        return 1.0 if region is None else float(region[3])

    def _told(self, legs: Sequence[Leg], x: Floats, head: Head, propensity: float) -> tuple[Output, ...]:
        """Legs as outputs."""
        shares = x @ head.weights[:, : len(FACTORS)]
        expected = self._planned * self._mean(shares)
        names = list(FACTORS)
        told = []
        for stretch, share in legs:
            kind = int(shares[stretch].argmax())
            score = round(float(shares[stretch, kind].clip(0.0, 1.0)), 4)
            region = (float(stretch), round(share, 6), round(float(expected[stretch]) * share, 3), round(propensity, 4))
            told.append(Output(names[kind], score, region))
        return tuple(told)

    def teach(self, example: Example) -> Rows:
        """One row a passage that was measured: what its factor says of the classes, and of each draw with its noise."""
        _, x = self._read(example.prediction.proposals)
        outputs = example.prediction.outputs
        claims = (claim for feedback in example.feedback for claim in feedback.claims)
        found = [one for claim in claims if (one := self._measured(outputs, claim.output, claim.value)) is not None]
        if not found:
            return Rows(x[:0], np.zeros((0, len(self.labels))), np.zeros(0))
        factors = np.array([factor for _, factor in found])
        y = np.zeros((len(found), len(self.labels)))
        y[:, : len(FACTORS)] = classes_of(factors)
        noise = self._noise(example.prediction.id, len(found)) * self._config.spread
        y[:, len(FACTORS) :] = _MILLI * (factors.clip(_CENTRES[0], _CENTRES[-1])[:, None] + noise)
        return Rows(x[[stretch for stretch, _ in found]], y, np.ones(len(found)))

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """Of each measured stretch: rightly called slow, a false alarm, missed; "right" where nothing was slow."""
        told: list[Outcome] = []
        measured = False
        for feedback in example.feedback:
            for claim in feedback.claims:
                one = self._measured(outputs, claim.output, claim.value)
                if one is None or claim.output is None:
                    continue
                measured = True
                truth = list(FACTORS)[int(classes_of(np.array([one[1]]))[0].argmax())]
                said = outputs[claim.output].label
                if said not in _GROUND:
                    told.append(Outcome("hit" if said == truth else "false alarm", said))
                if truth not in _GROUND and said != truth:
                    told.append(Outcome("missed", truth))
        return tuple(told) if told or not measured else (Outcome("right", ""),)

    def _measured(self, outputs: Sequence[Output], index: int | None, value: float | None) -> tuple[int, float] | None:
        """The stretch that a claim is about, and how many times its planned time it took; None if it says neither."""
        if index is None or value is None or not 0 <= index < len(outputs) or value < 0:
            return None
        region = outputs[index].region
        if region is None or len(region) != 4 or not 0 <= region[0] < self.layout.stretches or region[1] <= 0:
            return None
        stretch = int(region[0])
        return stretch, value / (self._planned[stretch] * region[1])

    def _mean(self, shares: Floats) -> Floats:
        """The mean factor of class shares (n, 5)."""
        found: Floats = (shares @ _CENTRES).clip(_FACTOR_MIN, _FACTOR_MAX)
        return found

    def expected(self, head: Head, at: float, busy: Mapping[int, int]) -> Floats:
        """What each stretch is thought to take, s."""
        robots = np.zeros(self.layout.stretches)
        for stretch, count in busy.items():
            robots[stretch] = count
        return self.times(self._features(robots, at % _DAY_S / _DAY_S), head)

    def times(self, x: Floats, head: Head) -> Floats:
        """The same, from the features of every stretch."""
        return self._planned * self._mean(x @ head.weights[:, : len(FACTORS)])

    def _read(self, proposals: Proposals) -> tuple[list[Place], Floats]:
        """The picks, and the features of every stretch (stretches, columns). ModelError if it is no such request."""
        picks, robots, day = self._asked(proposals)
        return picks, self._features(robots, day)

    def _asked(self, proposals: Proposals) -> tuple[list[Place], Floats, float]:
        """The picks, robots by stretch, and the time as a share of the day. ModelError if it is no such request."""
        row = proposals.array()
        width = 2 + 2 * _PICKS_MAX + self.layout.stretches
        if row.shape not in ((1, width), (1, width + 2)):
            raise ModelError(f"a request here is 1 x {width}, or two more with where it begins, not {row.shape}")
        count = int(row[0, 0])
        places = row[0, 2 : 2 + 2 * _PICKS_MAX].reshape(_PICKS_MAX, 2)[:count]
        picks = [self._place(aisle, metres) for aisle, metres in places]
        return picks, row[0, 2 + 2 * _PICKS_MAX : width], float(row[0, 1])

    def _start(self, proposals: Proposals) -> Place | None:
        """Where the tour begins (None: at the depot), of a request that `_read` has read."""
        row = proposals.array()[0]
        return self._place(*row[-2:]) if len(row) > 2 + 2 * _PICKS_MAX + self.layout.stretches else None

    def _place(self, aisle: float, metres: float) -> Place:
        """A place as a row has it. ModelError if there is none."""
        try:  # float32 may round a place at the very end beyond it
            return self.layout.check((int(aisle), min(float(metres), self.layout.length_m)))
        except InputError as error:
            raise ModelError(str(error)) from error

    def _features(self, robots: Floats, day: float) -> Floats:
        shared = np.empty((self.layout.stretches, _SHARED))
        turn = 2 * np.pi * day
        shared[:] = (1.0, 0.0, np.sin(turn), np.cos(turn))
        shared[:, 1] = robots
        return np.concatenate((self._fixed, shared), axis=1)

    def state_of(self, proposals: Proposals) -> tuple[Floats, float]:
        """Robots by stretch, and the time as a share of the day. ModelError."""
        _, robots, day = self._asked(proposals)
        return robots, day

    def thought(self, robots: Floats, days: Floats, head: Head) -> Floats:
        """What each stretch is thought to take with these robots (n, stretches) at these times (n,): the same, s."""
        return self._planned * self._mean(self._scores(robots, days, head.weights[:, : len(FACTORS)]))

    def sampled(self, robots: Floats, days: Floats, head: Head) -> Floats:
        """What it takes by each sample of a head, as the policy uses it: (n, stretches, samples), s."""
        weights = steered(head, self.routing, self.layout, _CENTRES, _MILLI).weights[:, len(FACTORS) :]
        scores = self._scores(robots, days, weights) / _MILLI
        times: Floats = self._planned[:, None] * scores.clip(_FACTOR_MIN, _FACTOR_MAX)
        return times

    def tabled(self, proposals: Proposals, factors: Floats) -> list[list[Leg]]:
        """The shortest tour on each table of factors (stretches, tables)."""
        weights = np.zeros((self.columns, len(FACTORS) + factors.shape[1]))
        weights[: self.layout.stretches, len(FACTORS) :] = _MILLI * factors
        return self.tours(proposals, Head((), weights, ()))[0]

    def _scores(self, robots: Floats, days: Floats, weights: Floats) -> Floats:
        """As `_features(...) @ weights` of n floors at once: (n, stretches, k)."""
        fixed, (one, robot, sine, cosine) = weights[:-_SHARED], weights[-_SHARED:]
        turn = 2 * np.pi * days[:, None, None]
        scores: Floats = (self._fixed @ fixed + one)[None] + robots[:, :, None] * robot
        scores += np.sin(turn) * sine + np.cos(turn) * cosine
        return scores

    def _noise(self, name: str, count: int) -> Floats:
        """Standard normal (count, draws), the same whenever the same passage is learned again."""
        words = hashlib.blake2b(name.encode(), digest_size=8).digest()
        rng = np.random.Generator(np.random.PCG64([self._seed, int.from_bytes(words)]))
        return rng.normal(size=(count, self._config.draws))


def classes_of(factors: Floats) -> Floats:
    """Shares of the classes (n, 5) whose mean factor is the given one, within the classes' range."""
    clipped = factors.clip(_CENTRES[0], _CENTRES[-1])
    upper = np.searchsorted(_CENTRES, clipped, side="left").clip(1, len(_CENTRES) - 1)
    share = (clipped - _CENTRES[upper - 1]) / (_CENTRES[upper] - _CENTRES[upper - 1])
    shares = np.zeros((len(factors), len(_CENTRES)))
    rows = np.arange(len(factors))
    shares[rows, upper - 1], shares[rows, upper] = 1.0 - share, share
    return shares
