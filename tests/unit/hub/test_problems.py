"""Every error of the tree has a status, and is answered as problem+json."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from hotloop import errors
from hotloop.errors import (
    AccessError,
    CorruptError,
    DiskFullError,
    HotloopError,
    ImageTooLargeError,
    KeyConflictError,
    NewerFormatError,
    NotFoundError,
    OverloadError,
    RequestError,
    StoreBusyError,
    TemplateError,
    UnreadableImageError,
    UpdateRefusedError,
)
from hotloop.hub.problems import PROBLEM_TYPE, TYPE_PREFIX, Problem, problem, status_of

TREE = sorted(
    (e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, HotloopError)), key=lambda e: e.__name__
)


@pytest.mark.parametrize("kind", TREE, ids=lambda e: e.__name__)
def test_every_error_is_answered_by_name(kind: type[HotloopError]) -> None:
    """The answer is problem+json whose type names the error, with its text and its status."""
    answer = problem(kind("what happened, and what to do"))
    body = msgspec.json.decode(answer.body, type=Problem)
    assert answer.media_type == PROBLEM_TYPE
    assert body.type == TYPE_PREFIX + kind.__name__
    assert body.status == answer.status
    assert body.detail == "what happened, and what to do"
    assert 400 <= answer.status < 600


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError(""), 422),
        (RequestError("", status=415), 415),
        (AccessError(""), 401),
        (AccessError("", known=True), 403),
        (NotFoundError(""), 404),
        (KeyConflictError(""), 409),
        (UpdateRefusedError(""), 409),
        (UnreadableImageError(""), 422),
        (TemplateError(""), 422),
        (ImageTooLargeError(""), 413),
        (DiskFullError(""), 507),
        (StoreBusyError(""), 503),
        (OverloadError(""), 503),
        (CorruptError(""), 500),
        (NewerFormatError(""), 500),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, HotloopError) else str(v),
)
def test_the_table_of_statuses(error: HotloopError, status: int) -> None:
    """What the sender can mend is 4xx, what passes is 503 or 507, what is broken is 500."""
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (OverloadError("", retry_after_s=7.2), "7"),
        (OverloadError("", retry_after_s=0.01), "1"),
        (StoreBusyError(""), "1"),
        (DiskFullError(""), "5"),
    ],
    ids=str,
)
def test_what_passes_says_when_to_come_back(error: HotloopError, after: str) -> None:
    """Overload, a busy store and a full disk carry Retry-After in whole seconds, at least 1."""
    assert (b"retry-after", after.encode()) in problem(error).headers


def test_a_missing_token_is_asked_for() -> None:
    """401 says which scheme is wanted; 403 does not."""
    assert b"www-authenticate" in dict(problem(AccessError("")).headers)
    assert b"www-authenticate" not in dict(problem(AccessError("", known=True)).headers)


def test_other_errors_do_not_ask_for_a_retry() -> None:
    """What will fail again in the same way has no Retry-After."""
    assert problem(KeyConflictError("")).headers == ()
    assert problem(CorruptError("")).headers == ()
