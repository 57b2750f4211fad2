"""TRUST 19: fuzzed requests, made from the route table, straight into the application: 0 answers of 5xx."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from hotloop.errors import DiskFullError
from hotloop.hub.routes import ROUTES
from hotloop.hub.shown import Order
from hotloop.hub.table import Route
from hotloop.types import (
    Claim,
    Declined,
    Event,
    Feedback,
    LineReport,
    Live,
    Notice,
    Observation,
    Output,
    Prediction,
    Proposals,
    Selection,
    digest,
)

WORDS: list[Any] = [
    "",
    "..",
    "../../etc/passwd",
    "line-1",
    "a" * 65,
    "a" * 5000,
    "\x00",
    "\ud7ff\U0010ffff",
    "null",
    "-1",
    "9" * 400,
    "1e400",
    "NaN",
    "%00",
    "'; DROP TABLE events; --",
    "<script>",
    "hub",
    "audit-1",
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**40,
    0.5,
    -0.0,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    True,
    None,
    [],
    {},
    [[]],
    {"": {}},
    b"\x00\xff",
]
KINDS = [
    b"application/json",
    b"application/msgpack",
    b"application/x-msgpack",
    b"application/json; charset=utf-8",
    b"application/json\x00",
    b"multipart/form-data; boundary=x",
    b"text/plain",
    b"image/png",
    b"\xff\xfe",
    b"",
]
SEEN = Observation(id="line-1:1", site="site-1", line="line-1", at=1.0, digest=digest(b"kept"))
SAID = Prediction(
    id="line-1:1",
    observation=SEEN,
    version=1,
    outputs=(Output("ok", 0.5, (0.0, 0.0, 1.0, 1.0)),),
    confidence=0.5,
    proposals=Proposals(1, 2, b"\x00" * 4),
)
VERDICT = Feedback(
    prediction="line-1:1", reviewer="ann", claims=(Claim(0, "worn", None, 0.5), Claim(None, "ok", (0.0, 1.0)))
)
BODIES: dict[str, Any] = {
    "/v1/observations": [0.5, 1.0],
    "/v1/events": [
        Event("line-1", 1, SAID),
        Event("line-1", 2, VERDICT),
        Event("line-1", 3, Live(line="line-1", version=1)),
        Event("line-1", 4, Notice(subject="spool", text="full")),
        Event("line-1", 5, Declined(line="line-1", version=2, stays=1, reason="it hung")),
    ],
    "/v1/feedback": VERDICT,
    "/v1/blobs": "kept",
    "/v1/live": [Live(line="line-1", version=1)],
    "/v1/commands": Order(order="unlearn", reason="why", version=1, selection=Selection(reviewer="ann", since=1.0)),
    "/v1/reports": LineReport(line="line-1", site="site-1", version=1, dropped={"flagged: full": 2}, trouble="none"),
}
PLAIN = {path: msgspec.to_builtins(body) for path, body in BODIES.items()}
# There is little to get wrong in a route without parameters and body, and reports take long to compute.
WEIGHTS = [1.0 if route.takes or route.params.__struct_fields__ else 0.003 for route in ROUTES]
DEEP = [b"[" * 100_000, b'{"a":' * 50_000, b"\x91" * 100_000, b'{"claims":' + b"[" * 50_000, b"\x81\xa1a" * 30_000]


class Fuzzer:
    """Requests from a seed: mostly nearly right, for what is all wrong is refused at the first check."""

    def __init__(self, seed: int, tokens: dict[str, str]) -> None:
        self.chance = random.Random(seed)
        self.tokens = tokens

    def request(self) -> tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]:
        """Method, path, query, headers and body."""
        chance = self.chance
        route = chance.choices(ROUTES, WEIGHTS)[0]
        method = (
            route.method
            if chance.random() < 0.95
            else chance.choice(["GET", "POST", "PUT", "HEAD", "", "\x00", "G" * 99])
        )
        return method, self.path(route), self.query(route), self.headers(route), self.body(route)

    def word(self) -> Any:
        """A value that somebody did not think of."""
        return self.chance.choice(WORDS)

    def path(self, route: Route) -> str:
        """The row's path with parameters, now and then another."""
        good = {"digest": digest(b"kept"), "id": "line-1:1", "version": "1", "name": "1.root.json"}
        parts = []
        for part in route.segments:
            if part.startswith("{"):
                parts.append(good[part[1:-1]] if self.chance.random() < 0.4 else str(self.word()))
            else:
                parts.append(part)
        path = "/".join(parts)
        if self.chance.random() < 0.03:
            path = self.chance.choice(
                ["", "/", "//", path + "/", path.upper(), "/../.." + path, path + "\x00", str(self.word())]
            )
        return path

    def query(self, route: Route) -> bytes:
        """The row's query parameters, some of them wrong, twice or unknown."""
        chance = self.chance
        good = {"line": "line-1", "after": "0", "limit": "10", "reference": digest(b"kept")}
        pairs = []
        for name in route.params.__struct_fields__:
            if name in good and chance.random() < 0.8:
                value = good[name] if chance.random() < 0.6 else self.word()
                pairs.append(f"{name}={value}")
        if chance.random() < 0.05:
            pairs.append(
                chance.choice(
                    ["x=1", "after=1&after=2", "=", "&&&", "%", "%zz", "%ff=%fe", "a=" * 30, "line[]=1", "limit=null"]
                )
            )
        text = "&".join(pairs).encode("utf-8", "surrogatepass")
        return text if chance.random() < 0.97 else self.flipped(text)

    def headers(self, route: Route) -> list[tuple[bytes, bytes]]:
        """A token that is mostly right, a media type that is often right, and keys."""
        chance = self.chance
        found: list[tuple[bytes, bytes]] = []
        if chance.random() < 0.97:
            role = "admin" if chance.random() < 0.9 else chance.choice(list(self.tokens))
            found.append((b"authorization", b"Bearer " + self.tokens[role].encode()))
        else:
            found.append(
                (b"authorization", chance.choice([b"", b"Bearer", b"\xff", b"Bearer " + b"x" * 9000, b"Basic Og=="]))
            )
        if route.takes and chance.random() < 0.9:
            right = b"application/json" if route.takes == ("*",) else chance.choice(route.takes).encode()
            self.kind = right if chance.random() < 0.85 else chance.choice(KINDS)
            found.append((b"content-type", self.kind))
        else:
            self.kind = b""
        if chance.random() < 0.3:
            found.append(
                (
                    b"idempotency-key",
                    chance.choice([b"cell-1:1", b"cell-1:2", b"x", b":", b"a:-1", b"\xff:1", b"a:" + b"9" * 99]),
                )
            )
        if chance.random() < 0.05:
            found.append(
                (b"content-length", chance.choice([b"0", b"5", b"-1", b"99999999999", b"x", b"\xb2", b"9" * 400]))
            )
        if chance.random() < 0.03:
            found.append(
                (
                    chance.choice([b"host", b"origin"]),
                    chance.choice([b"localhost", b"evil", b"[", b"[::1]:", b"\xff", b"http://", b"127.0.0.1:99999"]),
                )
            )
        return found

    def body(self, route: Route) -> bytes:
        """The row's body in a format, with values changed, bytes flipped, or something else."""
        chance = self.chance
        if not route.takes:
            return b""
        roll = chance.random()
        if roll < 0.005:
            return chance.choice(DEEP)
        if roll < 0.05:
            return chance.randbytes(chance.choice([0, 1, 7, 100, 5000]))
        plain = PLAIN[route.path]
        for _ in range(chance.choice([0, 1, 1, 2, 5])):
            plain = self.changed(plain)
        data = self.encoded(plain)
        return data if chance.random() < 0.85 else self.flipped(data)

    def encoded(self, plain: Any) -> bytes:
        """Plain values as JSON or msgpack, whichever was said; what cannot be is sent as JSON text."""
        try:
            return msgspec.msgpack.encode(plain) if b"msgpack" in self.kind else msgspec.json.encode(plain)
        except (OverflowError, msgspec.MsgspecError, TypeError):
            return repr(plain).replace("'", '"').encode("utf-8", "replace")

    def changed(self, plain: Any) -> Any:
        """The value with one place in it changed, lost, doubled or added."""
        chance = self.chance
        if isinstance(plain, dict) and plain and chance.random() < 0.9:
            key = chance.choice(list(plain))
            roll = chance.random()
            if roll < 0.1:
                return {k: v for k, v in plain.items() if k != key}
            if roll < 0.15:
                return {**plain, str(self.word()): self.word()}
            return {**plain, key: self.changed(plain[key])}
        if isinstance(plain, list) and plain and chance.random() < 0.9:
            place = chance.randrange(len(plain))
            roll = chance.random()
            if roll < 0.1:
                return plain[:place] + plain[place + 1 :]
            if roll < 0.15:
                return plain + [plain[place]] * chance.choice([1, 10, 1100])
            return [*plain[:place], self.changed(plain[place]), *plain[place + 1 :]]
        return self.word()

    def flipped(self, data: bytes) -> bytes:
        """Bytes cut, turned or repeated."""
        chance = self.chance
        if not data:
            return b"\xff"
        place = chance.randrange(len(data))
        roll = chance.random()
        if roll < 0.3:
            return data[:place]
        if roll < 0.4:
            return data + data
        return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def fuzz(hub: Any, seed: int, count: int) -> Counter[int]:
    """Send `count` requests; the statuses, with every 5xx named by its request."""
    fuzzer = Fuzzer(seed, hub.tokens)
    statuses: Counter[int] = Counter()

    async def run() -> None:
        for number in range(count):
            method, path, query, headers, body = fuzzer.request()
            status, _, answer = await hub.ask(method, path, query, headers, body)
            statuses[status] += 1
            assert status < 500, (seed, number, method, path[:99], query[:99], headers, body[:300], answer)

    asyncio.run(run())
    while hub.engine.turn() is not None or hub.engine.behind:
        pass  # whatever was taken can be joined, learned and judged, too
    return statuses


def covered(statuses: Counter[int]) -> None:
    """The fuzzer reached what it is for: handlers that succeed, and every way of refusing."""
    assert {200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 421, 422} <= set(statuses), statuses
    assert statuses[200] + statuses[201] + statuses[202] > 0.1 * statuses.total(), statuses


def test_5000_fuzzed_requests_never_break_the_hub(hub: Any) -> None:
    """5,000 requests from the route table, mutated: no 5xx, and every kind of refusal was reached."""
    covered(fuzz(hub, 19, 5_000))


@pytest.mark.full
def test_100000_fuzzed_requests_never_break_the_hub(hub: Any) -> None:
    """100,000 requests from the route table, mutated: no 5xx."""
    covered(fuzz(hub, 20, 100_000))


def test_the_fuzzer_finds_a_hub_that_breaks(hub: Any) -> None:
    """A handler that fails on some input is found: the fuzzer can fail."""
    hub.engine.check_was = hub.engine.feedback

    def fragile(feedback: Feedback, *key: Any) -> Any:
        if feedback.evidence == "" and feedback.kind == "verdict":
            raise ZeroDivisionError
        return hub.engine.check_was(feedback, *key)

    hub.engine.feedback = fragile
    with pytest.raises(AssertionError, match="500"):
        fuzz(hub, 19, 5_000)


def test_5xx_by_design_says_when_to_come_back(hub: Any) -> None:
    """A full disk is 507 with Retry-After for every route that writes, and fuzzing goes on after it."""

    def full(*_: Any) -> list[int]:
        raise DiskFullError("the disk is full: make room")

    append, hub.engine.log.append = hub.engine.log.append, full
    headers = [(b"authorization", f"Bearer {hub.tokens['admin']}".encode()), (b"content-type", b"application/json")]
    for path in ("/v1/events", "/v1/feedback", "/v1/live"):
        body = msgspec.json.encode(BODIES[path])
        status, answered, _ = asyncio.run(hub.ask("POST", path, b"", headers, body))
        assert (path, status, answered[b"retry-after"]) == (path, 507, b"5")
    hub.engine.log.append = append
    assert fuzz(hub, 21, 300).total() == 300
