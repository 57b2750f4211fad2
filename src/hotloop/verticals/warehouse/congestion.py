"""What a robot in a place costs the others: the value of a state of the floor, by least-squares TD. Pure.

A state is how many robots are in each aisle and cross-aisle when a robot is sent (x, with a constant). Its reward r is
what that trip lost: seconds measured less what the learned times expect of a floor without other robots. V(x) = x v is
what is lost from now on, a second being worth less by half in `HALF_LIFE_S`: from one decision to the next, x to x'
after d seconds, v solves (Bradtke & Barto 1996, in continuous time)

    sum x (x - g x')' v = sum x r          g = 2^(-d / HALF_LIFE_S)

The matrix is not symmetric, so that the moments that the head is learned by (`learn.moments`: a Cholesky factor of
sum x x') do not fit; there are as many columns as aisles, and it is solved as it is, with a ridge that holds values at
0.

A robot that stays t seconds of a usual stay of s in a place costs the others v t / s: a share of its own time there,
which is added to the times that tours are chosen by (`routing.Routing.congestion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import ModelError
from hotloop.types import Example, Floats, Head
from hotloop.verticals.warehouse.policy import DEAR_MAX, place_of

if TYPE_CHECKING:
    from hotloop.verticals.warehouse.task import Warehouse

HALF_LIFE_S: Final = 30.0  # about how long a robot is somewhere near
RIDGE: Final = 10.0  # decisions' worth of evidence that a place costs nothing
LEAST: Final = 50  # trips, below which nothing is said


@dataclass(frozen=True)
class Moment:
    """A robot was sent: when, with how many robots in each place (places,); the seconds that its trip lost, how long it
    stayed in each place, and how often it came into it.
    """

    at: float
    robots: Floats
    lost_s: float
    stayed_s: Floats
    visits: Floats


def values(states: Floats, lost: Floats, seconds: Floats, ridge: float = RIDGE) -> Floats:
    """Least-squares TD: states (n, k) in order, what was lost after each (n,), and seconds until the next (n - 1,).

    The value of one more robot in each place (k,), s. The last state has no next one and is left out.
    """
    x = np.concatenate((states, np.ones((len(states), 1))), axis=1)
    worth = np.exp2(-np.maximum(seconds, 0.0) / HALF_LIFE_S)[:, None]
    held = ridge * np.eye(x.shape[1])
    held[-1, -1] = 1e-6  # what is lost whoever is where may be anything
    solved = np.asarray(np.linalg.solve(x[:-1].T @ (x[:-1] - worth * x[1:]) + held, x[:-1].T @ lost[:-1]), np.float64)
    return solved[:-1]


def moments_of(task: Warehouse, head: Head, examples: Sequence[Example]) -> list[Moment]:
    """The decisions whose every leg was measured, in the order of their times."""
    places = place_of(task.layout)
    found = (_moment(task, head, example, places) for example in examples)
    return sorted((one for one in found if one is not None), key=lambda one: one.at)


def congestion(moments: Sequence[Moment]) -> tuple[float, ...]:
    """What a robot in each place costs the others, as a share of its time there; nothing from too few trips."""
    if len(moments) < LEAST:
        return ()
    times = np.array([one.at for one in moments])
    states = np.stack([one.robots for one in moments])
    value = values(states, np.array([one.lost_s for one in moments]), np.diff(times))
    visits = np.stack([one.visits for one in moments]).sum(0)
    stay = np.stack([one.stayed_s for one in moments]).sum(0) / np.maximum(visits, 1.0)
    share = np.where(stay > 0, value / np.maximum(stay, 1e-6), 0.0).clip(0.0, DEAR_MAX)
    return tuple(round(float(one), 4) for one in share)


def _moment(task: Warehouse, head: Head, example: Example, places: NDArray[np.intp]) -> Moment | None:
    prediction = example.prediction
    claims = (claim for word in example.feedback for claim in word.claims)
    taken = {claim.output: claim.value for claim in claims if claim.value is not None}
    regions = [output.region for output in prediction.outputs if output.region is not None]
    if not regions or set(taken) != set(range(len(prediction.outputs))) or len(regions) != len(taken):
        return None
    try:
        robots, day = task.state_of(prediction.proposals)
    except ModelError:
        return None
    alone = task.thought(np.zeros((1, len(robots))), np.array([day]), head)[0]
    count = int(places.max()) + 1
    stayed, visits = np.zeros(count), np.zeros(count)
    before, lost = -1, 0.0
    for k, region in enumerate(regions):
        stretch, share, took = int(region[0]), float(region[1]), float(taken[k])
        place = int(places[stretch])
        lost += took - float(alone[stretch]) * share
        stayed[place] += took
        visits[place] += place != before
        before = place
    by_place = np.zeros(count)
    np.add.at(by_place, places, robots)
    return Moment(prediction.observation.at, by_place, lost, stayed, visits)
