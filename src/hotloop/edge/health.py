"""Whether a release does well on this device: decided from what it answered to the device's own recent payloads.

Pure. What is asked: it answers at all, with numbers, in time, and mostly as what answers now does. Whether it is
*better* is the gate's to say, on verified pieces; a device has seen too few of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from hotloop.config import EdgeConfig
from hotloop.types import Output, RunsOn

_CHANCE: Final = 0.001  # of refusing a release that agrees as often as the gate says


class Trial(msgspec.Struct, frozen=True):
    """What was answered to some payloads, in order, and how long each took. `failure`: why it ended early, or "".

    `peak_bytes` of the process that tried, and what the network ran on: only where it had one of its own.
    """

    answers: tuple[tuple[Output, ...], ...] = ()
    seconds: tuple[float, ...] = ()
    failure: str = ""
    peak_bytes: int = 0
    runtime: RunsOn = RunsOn()


def unhealthy(present: Trial, candidate: Trial, expected: float, limits: EdgeConfig) -> str:
    """Why a candidate may not answer on this device, in words; "" if it may.

    Both trials are of the same payloads; without any, a candidate that does not fail may answer. `expected`: the share
    of pieces that the gate found both to answer alike (0: it has not said).
    """
    if candidate.failure:
        return f"it failed: {candidate.failure}"
    if len(candidate.answers) != len(present.answers):
        return f"it answered {len(candidate.answers)} of {len(present.answers)} payloads"
    if any(not math.isfinite(output.score) for answer in candidate.answers for output in answer):
        return "it answers with what is no number"
    if not candidate.answers:
        return ""
    slow, usual = median(candidate.seconds), median(present.seconds)
    if slow > max(limits.slower_max * usual, limits.latency_s_least):
        times = slow / max(usual, 1e-9)
        return f"it takes {1e3 * slow:.1f} ms a payload, {times:.1f} times as long as what answers now"
    count = len(candidate.answers)
    alike = sum(map(agree, present.answers, candidate.answers)) / count
    if alike < expected - slack(count):
        return f"it answers {alike:.0%} of {count} payloads as what answers now does; the gate expects {expected:.0%}"
    return ""


def together(trials: Sequence[Trial]) -> Trial:
    """Trials of one payload after the other as one; it fails where one of them does."""
    answers = tuple(answer for one in trials for answer in one.answers)
    seconds = tuple(second for one in trials for second in one.seconds)
    return Trial(answers, seconds, next((one.failure for one in trials if one.failure), ""))


def slack(count: int) -> float:
    """By how much the share of `count` independent pieces may lie below its mean, but once in a thousand (Hoeffding
    1963).
    """
    return math.sqrt(math.log(1.0 / _CHANCE) / (2.0 * count))


def agree(one: Sequence[Output], other: Sequence[Output]) -> bool:
    """Whether two answers say the same labels, each as often, wherever."""
    return sorted(output.label for output in one) == sorted(output.label for output in other)


def median(seconds: Sequence[float]) -> float:
    """The middle one; 0.0 of none."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] if ordered else 0.0
