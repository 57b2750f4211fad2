"""OpenAPI 3.1 from the route table: what is not in a row is not in the description."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from hotloop import __doc__ as about
from hotloop.hub.problems import PROBLEM_TYPE, Problem
from hotloop.hub.table import ROLES, Route

_REF = "#/components/schemas/{name}"
_MEANING = {
    200: "Done.",
    202: "Kept; it counts when what it is about is known.",
    400: "Not of its format.",
    401: "No token, or an unknown one.",
    403: "The role lacks the permission.",
    404: "Not here.",
    409: "The key was used for something else.",
    413: "Too large.",
    415: "Not a media type that is taken.",
    422: "Understood, but it cannot be.",
    503: "Overloaded or busy: nothing was taken. Retry-After says when.",
    507: "The disk is full: nothing was taken. Retry-After says when.",
}


@lru_cache(maxsize=4)
def encoded(routes: tuple[Route, ...]) -> bytes:
    """The description as JSON; made once for a table."""
    return msgspec.json.encode(document(routes))


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of the routes."""
    kinds = [kind for route in routes for kind in (route.request, route.response) if _has_schema(kind)]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    by_kind = {repr(kind): schema for kind, schema in zip([*kinds, Problem], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hotloop hub", "version": "1", "description": about or ""},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def statuses(route: Route) -> tuple[int, ...]:
    """Every status that a route may answer with, by its row."""
    found = {421, *route.success, *route.errors}
    if route.lane != "free":
        found |= {503}
    if route.permission != "open":
        found |= {401, 403}
    if route.params.__struct_fields__ or route.takes:
        found |= {400, 422}
    if route.takes:
        found |= {408, 413}
    if route.request is not None:
        found |= {415}
    if route.writes or route.audit:
        found |= {507}
    return tuple(sorted(found))


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    """One row as an operation."""
    operation: dict[str, Any] = {
        "operationId": route.method.lower() + "_".join(part.strip("{}") for part in route.path.split("/")),
        "summary": route.summary,
        "x-permission": route.permission,
        "x-roles": sorted(role for role, held in ROLES.items() if route.permission in held),
        "security": [] if route.permission == "open" else [{"token": []}],
        "parameters": _parameters(route),
        "responses": {str(status): _response(route, status, schemas) for status in statuses(route)},
    }
    if route.takes:
        schema = schemas.get(repr(route.request), {})
        media = {"*/*" if kind == "*" else kind: {"schema": schema} for kind in route.takes}
        operation["requestBody"] = {"required": True, "content": media}
        operation["x-limit"] = f"hub.{route.limit}"
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    """The parameters of path and query."""
    found = []
    schema = msgspec.json.schema(route.params)["$defs"][route.params.__name__]
    for name, kind in schema.get("properties", {}).items():
        found.append(
            {
                "name": name,
                "in": "path" if name in route.named else "query",
                "required": name in schema.get("required", ()),
                "schema": kind,
            }
        )
    if route.keyed:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "device:sequence, the same at each retry: the feedback counts once",
            }
        )
    return found


def _response(route: Route, status: int, schemas: dict[str, Any]) -> dict[str, Any]:
    """What is answered with a status."""
    if status in route.success:
        content = {route.gives: {"schema": schemas.get(repr(route.response), {})}}
    else:
        content = {PROBLEM_TYPE: {"schema": schemas[repr(Problem)]}}
    return {"description": _MEANING.get(status, "See the problem's detail."), "content": content}


def _has_schema(kind: Any) -> bool:
    """Whether a row's type is one of records, not of plain bytes or text."""
    return kind not in (None, bytes, str, dict)
