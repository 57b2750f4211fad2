"""The child process of a refresh: `python -m hotloop.verticals.warehouse.refresh FOLDER` looks for a better policy.

What a policy would have cost is told from the job's "train" trips (`cost`), by a head that has learned them. Tried are
the routers; with `[warehouse] considerate` what a robot costs the others is fitted too (`congestion`). How much it
explores is left as it is: the trips at hand always speak for exploring less, and those to come for exploring. Nothing
is kept between two starts: it takes seconds, and comes to the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, get_args

import msgspec
import numpy as np

from hotloop.config import LearnConfig, LoopConfig, own_table
from hotloop.errors import ModelError, StoreError
from hotloop.job import Job, Progress, as_process, blob_path, do, finish, read_job, say
from hotloop.learn import Reflex
from hotloop.types import Change, Example, Head, Payload, Proposals, Rederivation, digest
from hotloop.verticals.warehouse.congestion import congestion, moments_of
from hotloop.verticals.warehouse.policy import Router, Routing
from hotloop.verticals.warehouse.task import Warehouse, WarehouseConfig, vertical

GAIN_LEAST: Final = 0.005  # of cost, that another router has to be better by


def train(folder: Path) -> None:
    """Do the job of a folder. ModelError where no policy is better than the one that answers."""
    job = read_job(folder)
    config = LoopConfig(vertical="warehouse", tables=job.tables, base=job.base, learn=LearnConfig(seed=job.seed))
    begun = vertical(config).revived((folder / "bundle.bin").read_bytes())
    proposals = {one.example.prediction.id: _proposed(begun, one.example, folder) for one in job.examples}
    say(folder, Progress(state="running", share=0.5, text=f"pricing policies on {len(proposals)} trips"))
    trips = _trips(job, proposals)
    reflex = Reflex(begun.teach, begun.start(), config.learn)
    reflex.learn([Change(0, None, example) for example in trips])
    head = reflex.head()
    priced = {router: mean_cost(_by(begun, router), trips, head) for router in get_args(Router)}
    routing, words = chosen(begun.routing, priced)
    if own_table(config, "warehouse", WarehouseConfig).considerate:
        fitted = congestion(moments_of(begun, head, trips))
        routing = msgspec.structs.replace(routing, congestion=fitted)
        words += f"; what robots cost each other: up to {max(fitted, default=0.0):.2f} of a stretch's time"
    if routing == begun.routing:
        raise ModelError(f"no policy is better than the one that answers: {words}")
    bundle = routing.bundle()
    finish(folder, bundle, Rederivation(digest(bundle), proposals), words)


def chosen(now: Routing, priced: dict[Router, float]) -> tuple[Routing, str]:
    """The policy with the cheapest router, if it is better by enough; and the prices in words."""
    told = {router: cost for router, cost in priced.items() if np.isfinite(cost)}
    words = ", ".join(f"{router} {cost:.3f}" for router, cost in told.items()) or "no trip was measured whole"
    best = min(told, key=lambda router: told[router], default=now.router)
    if best != now.router and told[best] <= told.get(now.router, np.inf) - GAIN_LEAST:
        now = msgspec.structs.replace(now, router=best)
    return now, f"cost by router: {words}"


def mean_cost(task: Warehouse, trips: Sequence[Example], head: Head) -> float:
    """What these trips would have cost by a policy, on average; not a number where none can tell."""
    costs = task.costs(trips, [head], head)[0] if trips else np.zeros(0)
    told = costs[np.isfinite(costs)]
    return float(told.mean()) if len(told) else float("nan")


def _by(task: Warehouse, router: Router) -> Warehouse:
    return task.revived(msgspec.structs.replace(task.routing, router=router).bundle())


def _proposed(task: Warehouse, example: Example, folder: Path) -> Proposals:
    """The request again. StoreError if its bytes are not in the folder."""
    try:
        data = blob_path(folder, example.prediction.observation.digest).read_bytes()
    except OSError as error:
        raise StoreError(f"the request of {example.prediction.id} is not in {folder}: {error}") from error
    return task.propose(Payload(data, "application/json"))


def _trips(job: Job, proposals: dict[str, Proposals]) -> list[Example]:
    """What may be trained on, oldest first."""
    found = []
    for one in job.examples:
        if one.role == "train":
            prediction = one.example.prediction
            seen = msgspec.structs.replace(prediction, proposals=proposals[prediction.id])
            found.append(msgspec.structs.replace(one.example, prediction=seen))
    return found


main = partial(do, train)

if __name__ == "__main__":
    as_process(main)
