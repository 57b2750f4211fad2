"""Which runtimes of this device answer as the plain one does, how fast and in how much memory: each in a process of its
own.

The plain one is the CPU in float32. A runtime is fit if it answers as many payloads alike as is asked, with scores that
are as near, within the time and the memory that are given; else it is refused, with the numbers. The same gate stands
before an export: a form of a network that does not pass is in no bundle. A vertical offers runtimes by a key `runtimes`
in its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.edge.health import Trial, agree, median
from hotloop.edge.probe import Asked, in_a_child
from hotloop.errors import ConfigError, ModelError
from hotloop.loading import load_vertical
from hotloop.ports import Exportable, Refreshable, Vertical
from hotloop.predict import pack_head, unpack_head
from hotloop.predict.runtimes import RUNTIMES
from hotloop.store.registry import SqliteRegistry
from hotloop.types import Head, Output, Payload

PLAIN = "cpu"
_NEAR_SHARE = 0.95  # of the scores that must be as near as is asked: a single one may tip a candidate


@dataclass(frozen=True)
class Limits:
    """What a runtime is asked for: the least share of payloads answered alike, of all and of the telling ones (of which
    either says something), and how many of those there must be; by how much scores may differ (95 of 100), the longest
    answer (median), and the largest process.
    """

    alike_min: float = 0.99
    telling_min: int = 5
    apart_max: float = 0.1
    latency_ms_max: float = 1000.0
    mib_max: float = 4096.0


_NAMES = {
    "alike": "alike_min", "telling": "telling_min", "apart": "apart_max", "ms": "latency_ms_max", "mib": "mib_max",
}  # fmt: skip


def limits_of(text: str) -> Limits:
    """Limits as they are typed: "alike=0.98,ms=20". What is not named is as by default. ConfigError."""
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().partition("=")
        try:
            found[_NAMES[name]] = int(number) if name == "telling" else float(number)
        except (KeyError, ValueError):
            raise ConfigError(f"{part!r} is no limit: give {', '.join(f'{one}=NUMBER' for one in _NAMES)}") from None
    return Limits(**found)


class Parity(msgspec.Struct, frozen=True):
    """A runtime on this device: the share of payloads that it answers as the plain one does, how far its scores are
    from that one's (95 of 100 are nearer), ms an answer (median), MiB of its process, and why it is refused ("": fit).
    """

    runtime: str
    alike: float
    apart: float
    latency_ms: float
    mib: float
    refused: str


def compared(
    config: LoopConfig, runtimes: Sequence[str], payloads: Sequence[Payload], limits: Limits, head: Head | None = None,
    bundle: bytes = b"",
) -> list[Parity]:  # fmt: skip
    """Each of `runtimes` against the plain one, which comes first. ModelError if that does not answer itself.

    With `head` (None: the one that the loop has learned, or begins with), on the backbone of `bundle` (b"": the start
    model's).
    """
    vertical = load_vertical(config)
    if not bundle and isinstance(vertical, Refreshable):
        bundle = vertical.bundle()
    head = head or learned(config, vertical) or telling(vertical)
    asked = Asked(config, bundle, pack_head(head), tuple(payloads))
    plain = _tried(asked, PLAIN)
    if plain.failure:
        raise ModelError(f"the plain runtime does not answer: {plain.failure}")
    found = [_judged(PLAIN, plain, plain, limits)]
    others = (runtime for runtime in runtimes if runtime != PLAIN)
    return found + [_judged(one, _tried(asked, one), plain, limits) for one in others]


def exported(
    config: LoopConfig, variants: Sequence[str], payloads: Sequence[Payload], limits: Limits, head: Head | None = None,
    of: Vertical | None = None,
) -> tuple[bytes, list[Parity]]:  # fmt: skip
    """The backbone of `of` (None: the start model's) with those other forms of it that pass, as a bundle; and what was
    found. ModelError if the plain one does not answer.
    """
    vertical = of or load_vertical(config)
    if not isinstance(vertical, Exportable):
        raise ModelError(f"the vertical {config.vertical!r} has no network to export")
    forms, failed = {}, []
    for variant in variants:
        try:
            forms[variant] = vertical.converted(variant, payloads)
        except ModelError as error:
            failed.append(Parity(variant, 0.0, 0.0, 0.0, 0.0, str(error)))
    found = compared(config, list(forms), payloads, limits, head, vertical.carrying(forms))
    passed = {one.runtime for one in found if not one.refused}
    kept = {variant: data for variant, data in forms.items() if variant in passed}
    return vertical.carrying(kept), [*found, *failed]


def learned(config: LoopConfig, vertical: Vertical) -> Head | None:
    """The newest head of the loop's registry, if there is one here and it was learned on this backbone."""
    path = Path(config.store.folder) / "registry.sqlite"
    if not path.is_file():
        return None
    with closing(SqliteRegistry(path, config.rollout.retained_models)) as registry:
        version = registry.latest()
        model = registry.get(version) if version else None
    fits = model is not None and (model.backbone, model.recipe) == (vertical.backbone, vertical.recipe)
    return unpack_head(model.head) if fits and model is not None and model.head else None


def telling(vertical: Vertical) -> Head:
    """The head to begin with; where that says nothing (a cold start), one drawn at random: it shows differences of
    features all the same, and more of them than a learned one.
    """
    head = vertical.start()
    if head.weights.any():
        return head
    drawn = np.random.default_rng(0).standard_normal(head.weights.shape) / np.sqrt(len(head.weights))
    return Head(head.labels, drawn, head.thresholds)


def _tried(asked: Asked, runtime: str) -> Trial:
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    config = asked.config
    own = {**config.tables.get(config.vertical, {}), "runtimes": [runtime]}
    changed = msgspec.structs.replace(config, tables={**config.tables, config.vertical: own})
    trial = in_a_child(
        msgspec.structs.replace(asked, config=changed), 30.0 + len(asked.payloads), config.edge.probe_bytes_max
    )
    if trial.runtime.runtime == PLAIN != runtime and trial.runtime.passed_over:  # it fell back
        return Trial(failure="; ".join(trial.runtime.passed_over))
    return trial


def _judged(runtime: str, trial: Trial, plain: Trial, limits: Limits) -> Parity:
    if trial.failure:
        return Parity(runtime, 0.0, 0.0, 0.0, 0.0, trial.failure)
    pairs = list(zip(plain.answers, trial.answers, strict=True))
    telling = [pair for pair in pairs if pair[0] or pair[1]]  # a network that finds nothing agrees on what is good
    alike = min(sum(agree(*pair) for pair in some) / max(len(some), 1) for some in (pairs, telling))
    differences = [d for one, other in pairs if agree(one, other) for d in _apart(one, other)]
    apart = float(np.quantile(differences, _NEAR_SHARE)) if differences else 0.0
    latency_ms, mib = 1e3 * median(trial.seconds), trial.peak_bytes / 2**20
    refused = ""
    said = sum(bool(answer) for answer in plain.answers)
    if said < min(limits.telling_min, len(pairs)) or not said:
        refused = f"the pieces tell too little: something is found on {said} of {len(pairs)}, give at least "
        refused += f"{limits.telling_min} of which something is found"
    elif alike < limits.alike_min:
        refused = f"it answers {alike:.1%} as the plain one does; {limits.alike_min:.1%} is asked"
    elif apart > limits.apart_max:
        refused = f"its scores are up to {apart:.3f} from the plain one's; {limits.apart_max:g} is allowed"
    elif latency_ms > limits.latency_ms_max:
        refused = f"it takes {latency_ms:.1f} ms; {limits.latency_ms_max:g} ms are allowed"
    elif mib > limits.mib_max:
        refused = f"its process takes {mib:.0f} MiB; {limits.mib_max:g} are allowed"
    return Parity(runtime, alike, apart, latency_ms, mib, refused)


def _apart(one: Sequence[Output], other: Sequence[Output]) -> list[float]:
    """How far the scores of two answers that say the same labels are from each other."""
    ordered = (sorted((output.label, output.score) for output in answer) for answer in (one, other))
    return [abs(a[1] - b[1]) for a, b in zip(*ordered, strict=True)]
