"""A verdict that is given at a line, checked there as the hub would: whoever gave it can still mend it.

Who gives it is known at the line alone, so it is the line's word: reviewer `ann` of line-1 is `line-1.ann` to the hub.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hotloop import intake
from hotloop.agent import Agent
from hotloop.errors import InputError, RequestError
from hotloop.feedback.check import check_feedback
from hotloop.types import UNREADABLE, Feedback

VERDICT_BYTES_MAX: Final = 2**20
_OUTPUTS_MAX: Final = 10_000  # of one prediction, as the hub takes them
_REASON_CHARS_MAX: Final = 500


def checked_verdict(data: bytes, agent: Agent, golden: str) -> Feedback:
    """The verdict that `data` (JSON, as `POST /v1/feedback` takes it) holds. InputError if the hub would not take it.

    `golden`: the reviewer whose word is the sealed truth; no line speaks for it.
    """
    if len(data) > VERDICT_BYTES_MAX:
        raise InputError(f"a verdict has at most {VERDICT_BYTES_MAX} bytes, this one has {len(data)}")
    try:
        said = msgspec.json.decode(data, type=Feedback)
    except UNREADABLE as error:
        raise InputError(f"this is no feedback: {str(error)[:_REASON_CHARS_MAX]}") from error
    if not said.reviewer:
        raise InputError("say who gives it: `reviewer`, a name or a badge's number")
    named, said = said.reviewer, agent.in_its_name(said)
    if golden in (named, said.reviewer):
        raise InputError(f"{golden!r} gives the sealed truth (trust.golden): no line speaks for it")
    _check(said)
    return check_feedback(said, agent.predictor.current.head.labels)


def _check(said: Feedback) -> None:
    """InputError for what the hub would refuse for good."""
    try:
        intake.feedback(said)
    except RequestError as error:
        raise InputError(str(error)) from None
    for place, claim in enumerate(said.claims):
        if claim.output is not None and claim.output >= _OUTPUTS_MAX:
            raise InputError(f"claim {place}: `output` is the index of an output")
