"""The description and the reference page are made from the table, and leave nothing out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hotloop.hub.openapi import document, encoded, statuses
from hotloop.hub.routes import ROUTES
from hotloop.hub.table import Route

IDS = [f"{r.method} {r.path}" for r in ROUTES]


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_every_route_is_described(route: Route) -> None:
    """Summary, permission, parameters, body and statuses of each row are in the description."""
    operation = document(ROUTES)["paths"][route.path][route.method.lower()]
    assert operation["summary"] == route.summary
    assert operation["x-permission"] == route.permission
    named = {p["name"]: p for p in operation["parameters"]}
    assert set(route.params.__struct_fields__) <= set(named)
    assert all(named[name]["in"] == "path" and named[name]["required"] for name in route.named)
    assert ("requestBody" in operation) == bool(route.takes)
    assert {int(s) for s in operation["responses"]} == set(statuses(route))
    assert (operation["security"] == []) == (route.permission == "open")


def test_every_reference_leads_somewhere() -> None:
    """No $ref points at a schema that is not there."""
    data = encoded(ROUTES)
    known = set(msgspec.json.decode(data)["components"]["schemas"])
    used = {part.split(b'"')[0].decode() for part in data.split(b"#/components/schemas/")[1:]}
    assert used <= known
    assert {"Feedback", "Prediction", "Problem", "ShownPrediction"} <= used


def test_operations_have_names_of_their_own() -> None:
    """Code made from the description has no two functions of one name."""
    paths = document(ROUTES)["paths"]
    names = [operation["operationId"] for rows in paths.values() for operation in rows.values()]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_errors_are_described_as_problems() -> None:
    """Every 4xx and 5xx is problem+json, but health's own 503."""
    for path, rows in document(ROUTES)["paths"].items():
        for operation in rows.values():
            for status, response in operation["responses"].items():
                kinds = set(response["content"])
                assert (kinds == {"application/problem+json"}) == (
                    (int(status) >= 400 and path != "/healthz") or status == "421"
                )


def test_the_description_is_made_once() -> None:
    """Asking for it again costs nothing."""
    assert encoded(ROUTES) is encoded(ROUTES)


def test_the_page_is_what_the_table_says() -> None:
    """docs/reference/http.md is up to date; if not: python -m hotloop.hub.reference > docs/reference/http.md."""
    from hotloop.hub.reference import reference

    page = Path(__file__).parents[3] / "docs/reference/http.md"
    assert page.read_text(encoding="utf-8") == reference(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_the_page_has_every_route(route: Route) -> None:
    """Each row has a section with its parameters and its limit."""
    from hotloop.hub.reference import reference

    page = reference(ROUTES)
    section = page.split(f"### {route.method} {route.path}\n")[1].split("###")[0]
    assert route.summary in section
    for name in route.params.__struct_fields__:
        assert f"`{name}`" in section
    if route.limit:
        assert f"hub.{route.limit}" in section
