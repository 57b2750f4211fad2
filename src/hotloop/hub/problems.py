"""Which status each error of `hotloop.errors` is answered with: one table, problem+json (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from hotloop.errors import (
    AccessError,
    DiskFullError,
    HotloopError,
    HubUnreachableError,
    ImageError,
    ImageTooLargeError,
    InputError,
    KeyConflictError,
    NotFoundError,
    OverloadError,
    RequestError,
    ServiceError,
    StoreBusyError,
    UpdateRefusedError,
)
from hotloop.hub.table import Answer

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:hotloop:error:"

# The nearest class in an error's ancestry counts. AccessError and RequestError carry their own status.
STATUSES: dict[type[HotloopError], int] = {
    HotloopError: 500,
    InputError: 422,
    ImageError: 422,
    ImageTooLargeError: 413,
    KeyConflictError: 409,
    NotFoundError: 404,
    UpdateRefusedError: 409,
    DiskFullError: 507,
    StoreBusyError: 503,
    ServiceError: 500,
    OverloadError: 503,
    HubUnreachableError: 502,
}
RETRY_AFTER_S = {503: 1, 507: 5}  # unless the error says otherwise


class Problem(msgspec.Struct, frozen=True):
    """The body of every answer that is an error. `type` ends in the error's name in `hotloop.errors`."""

    type: str
    title: str
    status: int
    detail: str


def status_of(error: HotloopError) -> int:
    """The HTTP status for an error."""
    if isinstance(error, AccessError):
        return 403 if error.known else 401
    if isinstance(error, RequestError):
        return error.status
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(error: HotloopError) -> Answer:
    """The answer for an error that was raised on purpose. What the disk looks like inside is not told."""
    status = status_of(error)
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, OverloadError):
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    elif status in RETRY_AFTER_S:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S[status]))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="hotloop"'))
    return problem_answer(type(error).__name__, status, str(error), tuple(headers))


def problem_answer(name: str, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """A problem of any kind, as an answer."""
    body = Problem(TYPE_PREFIX + name, HTTPStatus(status).phrase, status, detail)
    return Answer(status, msgspec.json.encode(body), PROBLEM_TYPE, headers)
