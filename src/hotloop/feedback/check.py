"""Is a feedback of a form that can teach? Checked before it is acknowledged, so that a typo is said at once."""

from __future__ import annotations

import math

from hotloop.config import check_name
from hotloop.errors import ConfigError, InputError
from hotloop.types import Feedback

_CLAIMS_MAX = 1000
_COORDINATE_MAX = 1e6


def check_feedback(feedback: Feedback, labels: tuple[str, ...]) -> Feedback:
    """`feedback` if its names, labels, numbers and regions can be; InputError says which is wrong."""
    try:
        check_name(feedback.reviewer, "reviewer")
    except ConfigError as error:
        raise InputError(str(error)) from None
    if len(feedback.claims) > _CLAIMS_MAX:
        raise InputError(
            f"a feedback makes at most {_CLAIMS_MAX} claims, this one makes {len(feedback.claims)}"
        )
    if not math.isfinite(feedback.at):
        raise InputError("a feedback's `at` is seconds since 1970 UTC, a finite number")
    for place, claim in enumerate(feedback.claims):
        if claim.label is not None and claim.label not in labels:
            raise InputError(
                f"claim {place}: the loop knows no label {claim.label[:80]!r}; it knows {', '.join(labels)}"
            )
        if claim.output is not None and claim.output < 0:
            raise InputError(f"claim {place}: `output` is the index of an output, 0 or above")
        if claim.region is not None and not _possible(claim.region):
            raise InputError(f"claim {place}: region {claim.region} is not x1 < x2 and y1 < y2 in pixels")
        if claim.value is not None and not math.isfinite(claim.value):
            raise InputError(f"claim {place}: `value` is a finite number")
    return feedback


def _possible(region: tuple[float, ...]) -> bool:
    """A box is x1, y1, x2, y2 with an area, in bounds."""
    if not region or any(not math.isfinite(v) or abs(v) > _COORDINATE_MAX for v in region):
        return False
    return len(region) != 4 or (region[0] < region[2] and region[1] < region[3])
