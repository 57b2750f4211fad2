"""TRUST 10: a learner that is killed anywhere comes back to the same model, with all tiers at work."""

from __future__ import annotations

import json
from functools import partial

import numpy as np

from hotloop.feedback import verdict
from hotloop.types import Candidate, Command, Payload, Selection, digest

TURNED = [[0.0, 1.0], [1.0, 0.0]]
POINTS = 200


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Axe:
    """Kills at the n-th write of log, registry or lake: before it, or right after."""

    def __init__(self, loop, at):
        self.left = at
        for store, name in ((loop.log, "append"), (loop.registry, "add"), (loop.lake, "put")):
            setattr(store, name, self.wrapped(getattr(type(store), name).__get__(store)))

    def wrapped(self, write):
        """The same write, that may be the last."""

        def act(*arguments):
            self.strike()
            found = write(*arguments)
            self.strike()
            return found

        return act

    def strike(self):
        """Count down; kill at zero, once."""
        self.left -= 1
        if self.left == 0:
            raise Killed


def order(kind, **more):
    """An engineer's order."""
    return Command(order=kind, by="tester", **more)


def acts(loop):
    """What happens in this story, each to be tried again after a kill: verdicts, a refresh, unlearning, a rollback."""
    rng = np.random.default_rng(5)

    def verified(number, x):
        name, wrong = f"line-1:{1000 + 2 * number}", number % 6 == 5
        if not loop.log.about(name):
            payload = Payload(json.dumps(x).encode())
            loop.engine.observe(payload, "line-1", key=("line-1", 1000 + 2 * number))
        label = "ok" if (sum(x) > 0) == wrong else "worn"
        given = verdict(name, [(label, None)], "bob" if wrong else "ann")
        loop.engine.feedback(given, "line-1", 1001 + 2 * number)
        loop.settle()

    def once(given, give):
        if not given():
            give()
        loop.settle()
        loop.engine.refresher.look_again()
        loop.settle()

    def ordered(kind, **more):
        return partial(
            once,
            lambda: any(one.order == kind for one in loop.bodies(Command)),
            lambda: loop.engine.command(order(kind, **more)),
        )

    told = [partial(verified, number, np.round(rng.normal(size=2), 3).tolist()) for number in range(24)]
    told.insert(14, partial(once, lambda: loop.bodies(Candidate), lambda: loop.retrained(TURNED)))
    told.insert(19, ordered("unlearn", selection=Selection(reviewer="bob")))
    told.insert(24, ordered("rollback", version=12))
    return told


def story(loop, axe_at=0):
    """Run it, killed at one write; the digest of the last head, and how many writes there were."""
    axe = Axe(loop, axe_at)
    for act in acts(loop):
        for _ in range(2):  # what was killed is done again after the restart
            try:
                act()
                break
            except Killed:
                loop.start()
    return digest(loop.engine.model.head), -axe.left


def check(stand, points):
    """Kill at each of so many points, spread over the story; each run ends at the same model, and its log leads
    there.
    """
    wanted, writes = story(stand(turned=True))
    assert writes > points
    for at in np.linspace(1, writes, points).astype(int):
        loop = stand(turned=True)
        found, _ = story(loop, int(at))
        assert loop.rebuilt().version == loop.engine.model.version
        assert found == wanted, f"killed at write {at} of {writes}"


def test_a_learner_killed_anywhere_comes_back_to_the_same_model(stand):
    """The last head is the same to the last bit, and the log replays to every digest."""
    check(stand, POINTS)
