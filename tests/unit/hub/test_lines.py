"""What lines say of themselves over HTTP: reports, declined releases, enrolment, the repository of releases."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec
import pytest

from hotloop import intake
from hotloop.config import RolloutConfig
from hotloop.errors import RequestError
from hotloop.hub.app import HubApp
from hotloop.hub.auth import Credential, Keyring
from hotloop.store.devices import Devices
from hotloop.store.signing import Signer, first_root, make_keys
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Declined, Event, LineReport

REPORT = LineReport(line="line-1", site="site-1", version=3, waiting=2, dropped={"flagged: full": 4}, trouble="none")


@pytest.mark.parametrize(
    "change",
    [
        {"line": "no name"},
        {"site": ""},
        {"version": -1},
        {"waiting": -1},
        {"spool_bytes": 2**64},
        {"latency_ms": float("nan")},
        {"at": float("inf")},
        {"trouble": "x" * 5000},
        {"dropped": {"x" * 300: 1}},
        {"dropped": {"x": -1}},
        {"dropped": {str(k): 1 for k in range(10_001)}},
    ],
)
def test_a_report_that_cannot_be_is_refused(change):
    """Each field within its limits."""
    intake.report(REPORT)
    with pytest.raises(RequestError):
        intake.report(msgspec.structs.replace(REPORT, **change))


@pytest.mark.parametrize(
    "change", [{"line": "no name"}, {"version": -1}, {"stays": -1}, {"reason": "x" * 5000}, {"at": float("nan")}]
)
def test_a_declined_release_that_cannot_be_is_refused(change):
    """It comes as an event of the line's."""
    body = Declined(line="line-1", version=3, stays=2, reason="it hung")
    intake.events([Event("line-1", 1, body)])
    with pytest.raises(RequestError, match="event 0"):
        intake.events([Event("line-1", 1, msgspec.structs.replace(body, **change))])


@pytest.fixture
def plant(engine, tmp_path):
    """A hub with keys and devices; asks a route with a bearer."""
    clock = SimulatedClock()
    make_keys(tmp_path / "trust", clock)
    engine.signer = Signer(tmp_path / "trust", RolloutConfig(), clock, lambda _: b"")
    engine.devices = Devices(tmp_path, clock)
    ring = Keyring.of([Credential("eng", "engineer", "e" * 40), Credential("l", "line", "l" * 40)], engine.devices)
    app = HubApp(engine, ring)

    def ask(method, path, bearer, body=b""):
        sent = []
        head = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {bearer}".encode())]
        head += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))] if body else []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": head}
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"]

    yield ask, engine, tmp_path
    app.close()
    engine.devices.close()


def test_a_report_is_shown_in_the_fleet(plant):
    """With the line's own words."""
    ask, _, _ = plant
    assert ask("POST", "/v1/reports", "l" * 40, msgspec.json.encode(REPORT))[0] == 200
    status, body = ask("GET", "/v1/fleet", "e" * 40)
    [line] = msgspec.json.decode(body)["lines"]
    assert (status, line["version"], line["report"]["dropped"]) == (200, 3, {"flagged: full": 4})


def test_a_code_enrols_and_does_nothing_else(plant):
    """Once; with it come a token and the root."""
    ask, engine, folder = plant
    code = engine.devices.invite("line-9", 1.0)
    for method, path in (("GET", "/v1/fleet"), ("GET", "/v1/releases/1.root.json"), ("POST", "/v1/reports")):
        assert ask(method, path, code)[0] == 403
    status, body = ask("POST", "/v1/enrol", code)
    found = msgspec.json.decode(body, type=dict)
    assert status == 200
    assert engine.devices.known(hashlib.sha256(found["token"].encode()).digest()) == ("line-9", True)
    assert msgspec.json.decode(msgspec.json.encode(found["root"]), type=bytes) == first_root(folder / "trust")
    assert ask("POST", "/v1/enrol", code)[0] == 401
    assert ask("POST", "/v1/enrol", found["token"])[0] == 403
    other = msgspec.structs.replace(REPORT, line="line-8")
    assert ask("POST", "/v1/reports", found["token"], msgspec.json.encode(other))[0] == 403
    own = msgspec.structs.replace(REPORT, line="line-9")
    assert ask("POST", "/v1/reports", found["token"], msgspec.json.encode(own))[0] == 200
    engine.devices.revoke("line-9")
    assert ask("POST", "/v1/reports", found["token"], msgspec.json.encode(own))[0] == 401


def test_the_repository_of_releases_gives_its_files_and_no_others(plant):
    """Keys are none of them."""
    ask, _, folder = plant
    assert ask("GET", "/v1/releases/1.root.json", "l" * 40) == (200, first_root(folder / "trust"))
    for name in ("root.pem", "online.pem", "versions.json", "timestamp.json", "2.root.json"):
        assert ask("GET", f"/v1/releases/{name}", "l" * 40)[0] == 404
    assert ask("GET", "/v1/releases/..%2fonline.pem", "l" * 40)[0] in (404, 422)
