"""The reference page of the HTTP interface, from the route table: `python -m hotloop.hub.reference`.

A test holds docs/reference/http.md against it, so that no route, limit or status goes undocumented.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from hotloop.hub.openapi import statuses
from hotloop.hub.problems import STATUSES, TYPE_PREFIX
from hotloop.hub.routes import ROUTES
from hotloop.hub.table import ROLES, Route

_HEAD = f"""# The hub's HTTP interface

Made from the route table by `python -m hotloop.hub.reference`; do not edit by hand. `GET /openapi.json` gives
the same, with every field, as OpenAPI 3.1.

The hub listens on the loopback interface only and answers to `localhost`, `127.x.x.x` and `[::1]` (others: 421).
Send `Authorization: Bearer TOKEN`; the tokens are in `tokens.json` of the store's folder, made at the first start,
one a role. A credential with a `subject` speaks for that line or reviewer alone: line, reviewer and device (also that
of an Idempotency-Key) are the subject or begin with it and a dot; ids of predictions go on with a colon (`line-7:42`).

Errors are `application/problem+json` (RFC 9457): `type` is `{TYPE_PREFIX}` and the name of the error in
`hotloop.errors`, `detail` says what happened and what to do. 503 and 507 took nothing and carry `Retry-After`.
Whatever carries its own key (events; feedback with `Idempotency-Key: device:sequence`) can be sent again safely.
"""


def reference(routes: Sequence[Route]) -> str:
    """The page, as Markdown."""
    parts = [_HEAD, _permissions(), _errors(), "## Routes\n"]
    parts += [_section(route) for route in routes]
    return "\n".join(parts)


def _permissions() -> str:
    """Which role holds which permission."""
    roles = sorted(ROLES)
    held = sorted(set().union(*ROLES.values()))
    lines = ["## Permissions\n", f"| permission | {' | '.join(roles)} |", "| --- |" + " --- |" * len(roles)]
    lines += [f"| {p} | " + " | ".join("yes" if p in ROLES[r] else "" for r in roles) + " |" for p in held]
    return "\n".join(lines) + "\n"


def _errors() -> str:
    """Which error is answered with which status."""
    lines = ["## Statuses of errors\n", "The nearest class in an error's ancestry counts.\n"]
    lines += ["| error | status |", "| --- | --- |"]
    lines += [f"| `{kind.__name__}` | {status} |" for kind, status in STATUSES.items()]
    lines += ["| `AccessError` | 401 without a known token, 403 with one |"]
    lines += ["| `RequestError` | 400, 405, 408, 413, 415, 421 or 422, as it says |"]
    return "\n".join(lines) + "\n"


def _section(route: Route) -> str:
    """One route."""
    roles = ", ".join(sorted(role for role, held in ROLES.items() if route.permission in held)) or "anybody"
    lines = [f"### {route.method} {route.path}\n", f"{route.summary}\n"]
    lines += [f"- permission: `{route.permission}` ({roles})" + ("; each call is audited" if route.audit else "")]
    for field in msgspec.structs.fields(route.params):
        place = "path" if field.name in route.named else "query"
        needed = "required" if field.required else f"default {field.default}"
        lines.append(f"- {place} parameter `{field.encode_name}` ({needed})")
    if route.takes:
        kinds = " or ".join("any media type" if kind == "*" else f"`{kind}`" for kind in route.takes)
        lines.append(f"- body: {kinds}{_of(route.request)}, at most `hub.{route.limit}`")
    if route.keyed:
        lines.append("- header `Idempotency-Key: device:sequence` (optional): the same at each retry, counts once")
    lines.append(f"- answer: `{route.gives.partition(';')[0]}`{_of(route.response)}")
    lines.append(f"- statuses: {', '.join(map(str, statuses(route)))}")
    return "\n".join(lines) + "\n"


def _of(kind: Any) -> str:
    """The name of a record, in words."""
    inner = getattr(kind, "__args__", ())
    if inner:
        return f", a list of `{inner[0].__name__}`"
    return f", a `{kind.__name__}`" if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else ""


if __name__ == "__main__":
    sys.stdout.write(reference(ROUTES))
