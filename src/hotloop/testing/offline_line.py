"""A line that is offline for a day: everything arrives once and in order, and what a full spool drops is counted.

The real `Agent` and the real spool on disk; the hub loses acknowledgements, the process is restarted, time is
simulated.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig
from hotloop.errors import HubUnreachableError
from hotloop.feedback import verdict
from hotloop.ports import Vertical
from hotloop.store.spool import DiskSpool
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Feedback, Live, Model, Payload, Prediction
from hotloop.verticals.vectors import Vectors, VectorsConfig

_SETTLE_EVERY = 60  # pieces that share one sync, so that a day of them takes seconds
_ROUNDS_MAX = 100_000


class OfflineReport(msgspec.Struct, frozen=True):
    """What came of it."""

    events: int  # that the line made
    arrived: int
    dropped: dict[str, int]
    requests: int
    restarts: int


class LossyHub:
    """A hub that takes everything, once a key, and loses a share of requests and of acknowledgements; or is away."""

    def __init__(self, rng: random.Random, lost_share: float) -> None:
        self.away = True
        self.log: list[Event] = []
        self.requests = 0
        self._known: dict[tuple[str, int], Event] = {}
        self._rng, self._lost_share = rng, lost_share

    def send(self, events: Sequence[Event]) -> list[int]:
        """Durable, once a key; the answer may be lost."""
        self.requests += 1
        lost = self._rng.random() < self._lost_share
        if self.away or (lost and self._rng.random() < 0.5):
            raise HubUnreachableError("the request did not get there")
        for event in events:
            key = (event.device, event.sequence)
            assert self._known.setdefault(key, event) == event, f"{key} came with two bodies"
            if self._known[key] is event:
                self.log.append(event)
        if lost:
            raise HubUnreachableError("the acknowledgement was lost")
        return list(range(len(events)))

    def put_blobs(self, blobs: Sequence[bytes]) -> list[str]:
        """No payload is kept here."""
        return [str(len(blob)) for blob in blobs]

    def follow(self, _line: str, _after: int) -> Iterator[Model]:
        """No release comes."""
        yield from ()

    def acknowledge(self, lives: Sequence[Live]) -> None:
        """Nobody asks."""

    def get_blob(self, digest: str) -> bytes:
        """No backbone comes."""
        raise HubUnreachableError(digest)


def check_offline_day(
    folder: Path, *, events: int = 86_400, restarts: int = 20, lost_share: float = 0.3, limits: EdgeConfig | None = None
) -> OfflineReport:
    """A day offline (an event a second), then the hub comes back. AssertionError if anything is lost that was not
    counted, comes twice or out of order, or if a verdict is dropped.
    """
    rng, clock, config = random.Random(6), SimulatedClock(), limits or EdgeConfig()
    hub = LossyHub(rng, lost_share)
    vertical = Vectors(VectorsConfig(labels=("ok", "worn"), columns=1), seed=0)
    stops = set(rng.sample(range(1, events), restarts))
    made: list[str] = []  # ids of predictions, and of what verdicts are about, in order
    line, spool = _started(folder, config, vertical, hub, clock)
    for number in range(events):
        if number in stops:
            line.close(timeout_s=0.0)
            spool.close()
            line, spool = _started(folder, config, vertical, hub, clock)
        if number % 50 == 49:
            line.say(verdict(made[-1], [("worn", None)], "line-1"))
            made.append(f"verdict on {made[-1]}")
        else:
            made.append(line.sense(Payload(b"[%d.0]" % (number % 7)), keep=False).id)
        clock.advance(86_400.0 / events)
        if number % _SETTLE_EVERY == 0:
            line.settle()
        if number % 1000 == 0:
            line.send_once()
    line.settle()
    hub.away = False
    _delivered(line, hub)
    report = OfflineReport(events, len(hub.log), line.state().dropped, hub.requests, restarts)
    spool.close()
    _agree(made, hub, report)
    return report


def _started(
    folder: Path, config: EdgeConfig, vertical: Vertical, hub: LossyHub, clock: SimulatedClock
) -> tuple[Agent, DiskSpool]:
    spool = DiskSpool(folder / "spool.sqlite", config, clock)
    return Agent(Place("site-1", "line-1"), vertical, hub, clock, spool), spool


def _delivered(line: Agent, hub: LossyHub) -> None:
    """Try until nothing waits."""
    for _ in range(_ROUNDS_MAX):
        if not line.waiting:
            return
        line.send_once()
    raise AssertionError(f"{line.waiting} events still wait after {hub.requests} requests")


def _agree(made: list[str], hub: LossyHub, report: OfflineReport) -> None:
    """What arrived is what was made, in order, less exactly what was counted."""
    came = [_name(event) for event in hub.log]
    assert len(came) == len(set(came)), "something came twice"
    kept = set(came)
    assert came == [name for name in made if name in kept], "something came out of order, or was never made"
    missing = len(made) - len(came)
    assert missing == sum(report.dropped.values()), f"{missing} are missing, {report.dropped} were counted"
    lost = [name for name in made if name.startswith("verdict") and name not in kept]
    assert not lost, f"{len(lost)} verdicts were dropped"


def _name(event: Event) -> str:
    body = event.body
    assert isinstance(body, Prediction | Feedback)
    return body.id if isinstance(body, Prediction) else f"verdict on {body.prediction}"
