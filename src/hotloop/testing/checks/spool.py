"""The laws of the Spool: what every adapter must do.

Each law takes an `Opener`: a function that opens one and the same spool, empty at first, each time it is called (so
that a law can close it and open it again), with the limits and the clock given. `check_spool` runs them all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias, get_args

from hotloop.config import EdgeConfig
from hotloop.ports import Clock, Spool
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Spooled, SpoolKind

Opener: TypeAlias = Callable[[EdgeConfig, Clock], Spool]
Law: TypeAlias = Callable[[Opener], None]

KINDS: tuple[SpoolKind, ...] = get_args(SpoolKind)
ROOMY = EdgeConfig()


def check_spool(make: Callable[[], Opener]) -> None:
    """Hold a spool to all laws, each on its own: `make` gives an Opener of a new, empty spool."""
    for law in LAWS:
        law(make())


def item(kind: SpoolKind, of: str, size: int = 100, at: float = 1_700_000_000.0) -> Spooled:
    """Something to deliver, of so many bytes that nothing else has."""
    return Spooled(kind, of, at, f"{kind}/{of}".encode().ljust(size, b"."))


def names(spool: Spool, what: str = "events") -> list[str]:
    """Which predictions' events, or payloads, wait."""
    return [one.of for one in spool.waiting("events" if what == "events" else "payloads", 1_000_000)]


def gives_back_what_was_put(opened: Opener) -> None:
    """In order, as it was, events and payloads apart; what was delivered is forgotten."""
    spool = opened(ROOMY, SimulatedClock())
    assert spool.state().size_bytes == spool.state().events == 0, "a new spool is empty"
    assert spool.state().oldest_at == 0.0, "nothing waits in it"
    assert spool.waiting("events", 5) == [], "an empty spool gives nothing"
    sent = [item("unflagged", "a"), item("flagged payload", "a"), item("flagged", "b"), item("verdict", "c", at=5.0)]
    spool.put(sent, {})
    found = spool.waiting("events", 10)
    assert [(one.kind, one.of, one.at, one.data) for one in found] == [
        (one.kind, one.of, one.at, one.data) for one in sent if one.kind != "flagged payload"
    ], "events come back in order, as they were put"
    assert names(spool, "payloads") == ["a"], "payloads apart from events"
    assert spool.waiting("events", 1) == found[:1], "no more than asked for, the oldest first"
    state = spool.state()
    assert (state.events, state.payloads, state.size_bytes, state.oldest_at) == (3, 1, 400, 5.0), "it knows its size"
    spool.done(found[:2])
    assert names(spool) == ["c"], "what was delivered is forgotten"
    spool.done(found[:2])
    assert spool.state().size_bytes == 200, "saying so twice changes nothing"
    spool.close()


def a_payload_is_kept_once(opened: Opener) -> None:
    """The same bytes wait once, as dear as the dearest that brought them; delivered, they may come again."""
    spool = opened(EdgeConfig(spool_bytes_max=250), SimulatedClock())
    same = b"template".ljust(100)
    spool.put([Spooled("unflagged payload", "a", 1e18, same), Spooled("flagged payload", "b", 1e18, same)], {})
    assert (spool.state().payloads, spool.state().size_bytes) == (1, 100), "once"
    spool.put([item("unflagged payload", "c", at=1e18), item("unflagged payload", "d", at=1e18)], {})
    waiting = spool.waiting("payloads", 9)
    assert [one.kind for one in waiting] == ["flagged payload", "unflagged payload"], "as dear as the dearest"
    spool.done(waiting)
    spool.put([Spooled("unflagged payload", "e", 1e18, same)], {})
    assert spool.state().payloads == 1, "delivered bytes may come again"
    spool.close()


def the_cheapest_goes_first(opened: Opener) -> None:
    """A full spool drops the cheapest kind, oldest first, and counts it; never a verdict."""
    spool = opened(EdgeConfig(spool_bytes_max=500), SimulatedClock())
    for kind in KINDS:
        spool.put([item(kind, f"{kind}-{number}") for number in range(2)], {})
    state = spool.state()
    assert state.size_bytes == 500, "no more than it may hold"
    assert state.dropped == {
        "unflagged payload: full": 2,
        "unflagged: full": 2,
        "flagged payload: full": 2,
        "flagged: full": 2,
        "judged payload: full": 1,
    }, f"the cheapest first: {state.dropped}"
    assert names(spool, "payloads") == ["judged payload-1"], "of one kind the oldest first"
    spool.put([item("verdict", f"late-{number}") for number in range(9)], {})
    kinds = {one.kind for one in spool.waiting("events", 99)}
    assert kinds == {"verdict", "judged"}, "all but verdicts, and what they are about, goes"
    assert spool.state().events == 13, "never a verdict"
    spool.put([item("flagged", "no room")], {})
    assert "no room" not in names(spool), "where verdicts fill it, nothing else is taken"
    assert sum(spool.state().dropped.values()) == 11, "and that is counted too"
    spool.close()


def a_verdict_keeps_what_it_is_about(opened: Opener) -> None:
    """The prediction it speaks of is never dropped from then on, and its bytes after all that nobody spoke of."""
    clock = SimulatedClock()
    spool = opened(EdgeConfig(spool_bytes_max=400, spool_age_s_max=60.0), clock)
    now = clock.now()
    pairs: tuple[tuple[SpoolKind, SpoolKind], ...]
    pairs = (("unflagged", "unflagged payload"), ("flagged", "flagged payload"))
    for its, its_bytes in pairs:
        spool.put([item(its, its, at=now), item(its_bytes, its, at=now), item("verdict", its, at=now)], {})
        spool.put([item("flagged", f"{n}", at=now) for n in range(5)], {})
        assert names(spool) == [its, its, "4"], "what nobody spoke of goes first"
        assert names(spool, "payloads") == [its], "the bytes of what was spoken of stay"
        spool.done(spool.waiting("events", 9) + spool.waiting("payloads", 9))
    spool.put([item("flagged", "old", at=now), item("verdict", "old", at=now)], {})
    clock.advance(61.0)
    spool.put([item("flagged", "young", at=clock.now())], {})
    assert names(spool) == ["old", "old", "young"], "age takes nothing of it"
    spool.put([item("verdict", f"v{n}", at=clock.now()) for n in range(6)], {})
    assert names(spool)[:2] == ["old", "old"], "nor does a full spool"
    spool.close()


def what_is_too_old_goes(opened: Opener) -> None:
    """Beyond its age everything but verdicts, and what they are about, is dropped, and counted."""
    clock = SimulatedClock()
    spool = opened(EdgeConfig(spool_age_s_max=60.0), clock)
    spool.put([item(kind, kind, at=clock.now()) for kind in KINDS], {})
    clock.advance(61.0)
    spool.put([item("unflagged", "young", at=clock.now())], {})
    assert names(spool) == ["verdict", "judged", "young"], "verdicts and what is young stay"
    assert names(spool, "payloads") == [], "payloads go as events do"
    assert spool.state().dropped == {f"{kind}: too old": 1 for kind in KINDS[2:]}, "each kind is counted"
    spool.close()


def it_outlives_a_restart(opened: Opener) -> None:
    """What waits, and what was dropped, is there after closing and opening again; numbers go on rising."""
    clock, limits = SimulatedClock(), EdgeConfig(spool_bytes_max=250)
    spool = opened(limits, clock)
    spool.put([item("unflagged", "a"), item("unflagged", "b"), item("flagged", "c")], {"flagged: disk": 2})
    before, state = spool.waiting("events", 9), spool.state()
    assert state.dropped == {"unflagged: full": 1, "flagged: disk": 2}, "what never got here is counted with the rest"
    spool.close()
    spool = opened(limits, clock)
    assert (spool.waiting("events", 9), spool.state()) == (before, state), "as it was"
    spool.put([item("flagged", "d")], {})
    numbers = [one.number for one in spool.waiting("events", 9)]
    assert numbers == sorted(set(numbers)), "numbers rise"
    assert numbers[-1] > before[-1].number, "over a restart too"
    spool.close()


def nothing_goes_uncounted(opened: Opener) -> None:
    """However it is used: put = delivered + dropped + waiting, kind by kind, and never more than it may hold."""
    rng, clock, limits = random.Random(5), SimulatedClock(), EdgeConfig(spool_bytes_max=3000, spool_age_s_max=50.0)
    spool, put, delivered = opened(limits, clock), Counter[str](), Counter[str]()
    for step in range(300):
        clock.advance(rng.choice((0.1, 0.1, 5.0)))
        count = rng.randint(0, 4)
        new = [item(rng.choice(KINDS), f"{step}-{n}", rng.randint(60, 200), clock.now()) for n in range(count)]
        put.update(_sort(one) for one in new)
        spool.put(new, {})
        if rng.random() < 0.3:
            sent = spool.waiting(rng.choice(("events", "payloads")), rng.randint(1, 6))
            delivered.update(_sort(one) for one in sent)
            spool.done(sent)
        if rng.random() < 0.05:
            spool.close()
            spool = opened(limits, clock)
        state = spool.state()
        kept = [one for one in spool.waiting("events", 10_000) if one.kind in ("verdict", "judged")]
        assert state.size_bytes <= max(limits.spool_bytes_max, sum(len(one.data) for one in kept)), "bounded"
        waiting = state.events + state.payloads
        assert sum(put.values()) == sum(delivered.values()) + sum(state.dropped.values()) + waiting, "all is counted"
    assert state.dropped, "the law has to meet a full spool"
    assert not [why for why in state.dropped if why.startswith("verdict")], "never a verdict"
    assert put["verdict"] == delivered["verdict"] + sum(
        one.kind == "verdict" for one in spool.waiting("events", 10_000)
    ), "every verdict is delivered or waits"
    spool.close()


def _sort(one: Spooled) -> str:
    return "payload" if one.kind.endswith("payload") else one.kind


LAWS: tuple[Law, ...] = (
    gives_back_what_was_put,
    a_payload_is_kept_once,
    the_cheapest_goes_first,
    a_verdict_keeps_what_it_is_about,
    what_is_too_old_goes,
    it_outlives_a_restart,
    nothing_goes_uncounted,
)
