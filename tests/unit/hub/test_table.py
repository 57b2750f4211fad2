"""The route table's own rules: no permission, no start; what a path matches; who may act as whom."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from hotloop.errors import AccessError, ConfigError
from hotloop.hub.handlers import status
from hotloop.hub.routes import ROUTES
from hotloop.hub.table import (
    INVITED,
    NOBODY,
    PERMISSIONS,
    ROLES,
    Answer,
    Caller,
    Permission,
    Role,
    Route,
    RouteTable,
    check_routes,
)


def row(**changes: Any) -> Route:
    """A row that is in order, but for the changes."""
    given: dict[str, Any] = {
        "method": "GET",
        "path": "/v1/x",
        "permission": "read",
        "handler": status,
        "summary": "x",
        **changes,
    }
    return Route(**given)


@pytest.mark.parametrize("permission", ["", None, "everything", "Read"])
def test_a_route_without_a_permission_does_not_start(permission: Any) -> None:
    """A row whose permission is missing or unknown is refused when the hub is made."""
    with pytest.raises(ConfigError, match=r"does not\s+start"):
        RouteTable([row(permission=permission)])


def test_a_route_cannot_be_written_without_the_column() -> None:
    """Leaving the permission out is no row at all."""
    with pytest.raises(TypeError, match="permission"):
        Route(method="GET", path="/x", handler=status, summary="")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"takes": ("*",)}, "without a limit"),
        ({"limit": "json_bytes_max"}, "without a limit"),
        ({"path": "/v1/x/{other}"}, "no field for other"),
    ],
)
def test_a_row_that_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    """A body without a limit, or a path parameter without a field, does not start."""
    with pytest.raises(ConfigError, match=words):
        check_routes([row(**changes)])


def test_a_row_that_is_there_twice_is_refused() -> None:
    """One method and path has one permission."""
    with pytest.raises(ConfigError, match="twice"):
        check_routes([row(), row(permission="audit")])


def test_the_shipped_table_is_in_order() -> None:
    """Every shipped row passes the rules, and only health is open."""
    check_routes(ROUTES)
    assert [r.path for r in ROUTES if r.permission == "open"] == ["/healthz"]
    assert all(r.summary.endswith(".") for r in ROUTES)


def test_rows_that_write_and_those_that_audit_are_marked() -> None:
    """Every POST says that it writes, but for reports, which are in memory; reading the log is audited."""
    writing = {r.path for r in ROUTES if r.writes}
    assert {r.path for r in ROUTES if r.method == "POST"} == writing | {"/v1/reports"}
    assert "/v1/log" in {r.path for r in ROUTES if r.audit}


def test_paths_are_found_with_their_parameters() -> None:
    """Plain paths and those with parameters are found; what is near them is not."""
    table = RouteTable(ROUTES)
    rows, found = table.find("/v1/models/7")
    assert rows["GET"].path == "/v1/models/{version}"
    assert found == {"version": "7"}
    assert table.find("/v1/models")[0]["GET"].path == "/v1/models"
    assert table.find("/v1/predictions/a:b")[1] == {"id": "a:b"}
    for path in ("", "/", "/v1", "/v1/models/", "/v1/models/7/", "/v1/models/7/8", "//v1/models", "/V1/models"):
        rows, found = table.find(path)
        assert rows == {} or found == {"version": ""}, path


def test_roles_hold_only_known_permissions() -> None:
    """The role table speaks the words of the permission column; nobody holds `open`."""
    assert set(get_args(Role)) == set(ROLES)
    assert set(get_args(Permission)) == PERMISSIONS
    for held in ROLES.values():
        assert held <= PERMISSIONS - {"open"}
    assert ROLES["admin"] == PERMISSIONS - {"open"} - INVITED
    assert INVITED == {"enrol"}


def test_least_privilege_holds() -> None:
    """A line cannot read reports, an operator cannot write events, an auditor cannot change anything."""
    assert not {"read", "audit", "feedback", "control"} & ROLES["line"]
    assert not {"events", "follow", "audit", "control"} & ROLES["operator"]
    assert ROLES["auditor"] == {"read", "audit"}


def test_nobody_may_do_what_is_open_and_nothing_else() -> None:
    """Without a role there is only the open."""
    assert [p for p in sorted(PERMISSIONS) if NOBODY.may(p)] == ["open"]


@pytest.mark.parametrize("name", ["line-7", "line-7.camera"])
def test_a_bound_credential_speaks_for_its_subject(name: str) -> None:
    """The subject itself and its parts are its own."""
    Caller("c", "line", "line-7").act_as(name, "line")
    Caller("c", "line").act_as(name, "line")


@pytest.mark.parametrize("name", ["line-8", "line-77", "line", "", "LINE-7", "x.line-7"])
def test_a_bound_credential_does_not_speak_for_others(name: str) -> None:
    """Another's name, also one that merely begins alike, is refused as 403."""
    with pytest.raises(AccessError) as caught:
        Caller("c", "line", "line-7").act_as(name, "line")
    assert caught.value.known


def test_answers_are_json_unless_said_otherwise() -> None:
    """The default media type is JSON."""
    assert Answer(200, b"{}").media_type == "application/json"
    assert issubclass(row().params, msgspec.Struct)
