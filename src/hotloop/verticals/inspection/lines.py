"""A simulated line in a process of its own: it draws or reads boards, predicts, and its verifier answers by HTTP.

    python -m hotloop.verticals.inspection.lines --url http://... --line line-1 ...

It stands in for a camera and a person; the agent, the model, the requests and the hub are the real ones.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from hotloop.adapters.hub_client import HubClient
from hotloop.agent import Agent, Place
from hotloop.config import LoopConfig
from hotloop.loading import load_vertical
from hotloop.store.clock import SystemClock
from hotloop.types import Feedback, Prediction
from hotloop.verticals.inspection.pieces import Truth
from hotloop.verticals.inspection.plant import Sensed, Verifier, folder_boards, plant_boards

UNSEEN = 40  # pieces of a folder, from its end, that no line shows: what the loop is judged on


class Bench:
    """The verifier's bench: verdicts that are due go to the hub, each in a request of its own."""

    def __init__(self, client: HubClient, verifier: Verifier) -> None:
        self._client = client
        self._verifier = verifier
        self._due: list[tuple[float, int, Feedback]] = []
        self._count = itertools.count()
        self._sequence = itertools.count(int(time.time() * 1e6))
        self._more = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, prediction: Prediction, truths: tuple[Truth, ...]) -> None:
        """A piece comes to the bench."""
        with self._more:
            for delay_s, feedback in self._verifier.verdicts(prediction, truths):
                heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._count), feedback))
            self._more.notify()

    def close(self) -> None:
        """Give what is left, at once."""
        with self._more:
            self._closing = True
            self._more.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._more:
                while not self._ready() and not (self._closing and not self._due):
                    self._more.wait(max(0.0, self._due[0][0] - time.monotonic()) if self._due else None)
                if not self._due:
                    return
                feedback = heapq.heappop(self._due)[2]
            told = msgspec.structs.replace(feedback, at=time.time())
            self._client.feedback(told, self._verifier.name, next(self._sequence))

    def _ready(self) -> bool:
        return bool(self._due) and (self._closing or self._due[0][0] <= time.monotonic())


def boards(given: argparse.Namespace) -> Iterator[Sensed]:
    """The boards of this line: its share of the folder's, in a seeded order of its own, or drawn ones without end."""
    if given.data is None:
        yield from plant_boards(given.site_seed, given.number, step=given.lines)
        return
    pieces = folder_boards(given.data, unseen=UNSEEN)
    order = np.random.default_rng(given.site_seed).permutation(len(pieces))[given.number :: given.lines]
    for index in order:
        yield pieces[int(index)]()


def run(given: argparse.Namespace) -> None:
    """Run the line until its time is up or its boards are."""
    config = LoopConfig(site=f"plant-{given.site_seed}")
    vertical = load_vertical(config)
    line = f"line-{given.number + 1}"
    agent = Agent(
        Place(config.site, line),
        vertical,
        HubClient(given.url, os.environ["HOTLOOP_LINE_TOKEN"]),
        SystemClock(),
    )
    agent.start()
    verifier = Verifier(f"verifier-{given.number + 1}", given.number, vertical.start().labels)
    bench = Bench(HubClient(given.url, os.environ["HOTLOOP_OPERATOR_TOKEN"]), verifier)
    end = time.monotonic() + given.seconds
    for board in boards(given):
        if time.monotonic() > end:
            break
        bench.take(agent.sense(board.payload), board.truths)
    bench.close()
    agent.close(timeout_s=20.0)


def main() -> None:
    """Read the arguments and run. Tokens come by the environment, so that no list of processes shows them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--lines", type=int, required=True)
    parser.add_argument("--site-seed", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--data", type=Path, default=None)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
