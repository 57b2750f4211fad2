"""TRUST 22: every route x role x own or foreign object, as the table says; generated from the table."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from hotloop.hub.problems import TYPE_PREFIX
from hotloop.hub.routes import ROUTES
from hotloop.hub.table import ROLES, Role, Route
from hotloop.types import Event, Feedback, LineReport, Live, Notice, Observation, Output, Prediction, Proposals, digest

IDS = [f"{r.method} {r.path}" for r in ROUTES]
STRANGERS: list[tuple[str, bytes]] = [
    ("no token", b""),
    ("an unknown token", b"Bearer " + b"x" * 46),
    ("another scheme", b"Basic YWRtaW46YWRtaW4="),
    ("an empty token", b"Bearer "),
]
OF_NO_LINE = ("/v1/blobs", "/v1/releases/{name}")
# One request of each route that its handler can answer; a new route wants one here.
TARGETS = {
    "/v1/observations": "/v1/observations?line=line-7",
    "/v1/blobs/{digest}": f"/v1/blobs/{digest(b'kept')}",
    "/v1/predictions/{id}": "/v1/predictions/line-7:1",
    "/v1/models/{version}": "/v1/models/1",
    "/v1/follow": "/v1/follow?line=line-7",
    "/v1/releases": "/v1/releases?line=line-7",
    "/v1/releases/{name}": "/v1/releases/1.root.json",
}


def prediction(line: str) -> Prediction:
    """A prediction of a line."""
    return Prediction(
        id=f"{line}:1",
        observation=Observation(id=f"{line}:1", site="site-1", line=line, at=1.0, digest=digest(b"kept")),
        version=1,
        outputs=(Output("ok", 0.5),),
        confidence=0.5,
        proposals=Proposals(1, 2, b"\x00" * 4),
    )


def body_of(route: Route, line: str) -> bytes:
    """A body that the route takes, about an object of `line`."""
    bodies: dict[str, Any] = {
        "/v1/observations": [0.5, 1.0],
        "/v1/events": [Event(line, 1, prediction(line))],
        "/v1/feedback": Feedback(prediction=f"{line}:1", reviewer=line, claims=()),
        "/v1/blobs": "kept",
        "/v1/live": [Live(line=line, version=1)],
        "/v1/commands": {"order": "freeze"},
        "/v1/reports": LineReport(line=line, site="site-1", version=1),
    }
    return msgspec.json.encode(bodies[route.path]) if route.takes else b""


def ask(hub: Any, route: Route, authorization: bytes, line: str = "line-7") -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask a route in order, as the bearer of a header."""
    hub.engine.lake.put([b"kept"])
    hub.engine.log.append([Event("line-7", 1, prediction("line-7"))])
    path, _, query = (
        TARGETS.get(route.path, route.path)
        .replace("line-7", line if route.lane == "streams" else "line-7")
        .partition("?")
    )
    if route.path == "/v1/observations":
        query = f"line={line}"
    headers = [(b"content-type", b"application/json")] + ([(b"authorization", authorization)] if authorization else [])
    return asyncio.run(hub.ask(route.method, path, query.encode(), headers, body_of(route, line)))


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_may_what_the_table_says(hub: Any, route: Route, role: Role) -> None:
    """A role that holds the permission is answered with a success of the row, and any other with 403."""
    status, _, body = ask(hub, route, f"Bearer {hub.tokens[role]}".encode())
    if route.permission == "open" or route.permission in ROLES[role]:
        assert status in route.success, body
    else:
        assert status == 403
        assert TYPE_PREFIX.encode() + b"AccessError" in body


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
@pytest.mark.parametrize(("_who", "authorization"), STRANGERS, ids=[who for who, _ in STRANGERS])
def test_strangers_get_no_answer_but_health(hub: Any, route: Route, _who: str, authorization: bytes) -> None:
    """Without a token of this hub there is 401 everywhere but at /healthz, and nothing is written."""
    before = hub.engine.log.last() or 1
    status, headers, body = ask(hub, route, authorization)
    if route.path == "/healthz":
        assert status == 200
    else:
        assert status == 401
        assert b"www-authenticate" in headers
        assert b"line-7" not in body
    assert hub.engine.log.last() <= before + 1  # the object that `ask` puts there itself


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if r.permission in ("observe", "events", "follow") and r.path not in OF_NO_LINE],
    ids=lambda r: r.path,
)
def test_a_bound_line_reaches_its_own_and_not_what_is_foreign(hub: Any, route: Route) -> None:
    """A credential bound to line-7 may speak for line-7, and is refused as line-8."""
    token = f"Bearer {hub.tokens['bound']}".encode()
    assert ask(hub, route, token, "line-7")[0] in route.success
    before = hub.engine.log.last()
    assert ask(hub, route, token, "line-8")[0] == 403
    assert hub.engine.log.last() == before


def test_a_line_cannot_write_as_the_hub_or_forge_a_release(hub: Any) -> None:
    """The hub's own keys and words are out of a line's reach."""
    route = next(r for r in ROUTES if r.path == "/v1/events")
    headers = [(b"authorization", f"Bearer {hub.tokens['line']}".encode())]
    own = msgspec.json.encode([Event("hub", 99, Notice(subject="x", text=""))])
    forged = b'[["line-7",9,{"type":"release","version":9,"parent":1,"tier":"reflex","digest":"","learned_to":1}]]'
    release = msgspec.json.encode([{"device": "line-7", "sequence": 9, "body": msgspec.json.decode(forged)[0][2]}])
    for body in (own, release):
        status, _, answer = asyncio.run(hub.ask(route.method, route.path, b"", headers, body))
        assert (status, b"own" in answer) == (422, True)


def test_the_audited_routes_leave_their_trace_for_every_role(hub: Any) -> None:
    """Who read the log, or tried to, stands in the log."""
    route = next(r for r in ROUTES if r.audit)
    for role in sorted(ROLES):
        ask(hub, route, f"Bearer {hub.tokens[role]}".encode())
    notices = [r.event.body for r in hub.engine.log.read(0, 1000) if isinstance(r.event.body, Notice)]
    assert [n.text.split(" ")[0] for n in notices if n.subject == "audit"] == sorted(ROLES)
    assert {n.text.rpartition(" ")[2] for n in notices if n.subject == "audit"} == {"200", "403"}
