"""Which runtimes of this device answer as the plain one does, and how fast: each in a process of its own.

The plain one is the CPU in float32. A runtime is fit if it answers as many payloads alike as is asked, within the
time that is given; else it is refused, with the numbers. A vertical offers runtimes by a key `providers` in its table.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hotloop.config import LoopConfig
from hotloop.edge.health import Trial, agree, median
from hotloop.edge.probe import Asked, in_a_child
from hotloop.errors import ConfigError, ModelError
from hotloop.loading import load_vertical
from hotloop.ports import Refreshable
from hotloop.predict import pack_head
from hotloop.predict.runtimes import RUNTIMES, passed_over
from hotloop.types import Payload

_PLAIN = "cpu"


class Parity(msgspec.Struct, frozen=True):
    """A runtime on this device: the share of payloads that it answers as the plain one does, ms an answer (median), and
    why it is refused ("": it is fit).
    """

    runtime: str
    alike: float
    latency_ms: float
    refused: str


def compared(
    config: LoopConfig, runtimes: Sequence[str], payloads: Sequence[Payload], alike_min: float, latency_ms_max: float
) -> list[Parity]:
    """Each of `runtimes` against the plain one, which comes first. ModelError if that does not answer itself."""
    plain = _tried(config, _PLAIN, payloads)
    if plain.failure:
        raise ModelError(f"the plain runtime does not answer: {plain.failure}")
    found = [_judged(_PLAIN, plain, plain, alike_min, latency_ms_max)]
    others = (runtime for runtime in runtimes if runtime != _PLAIN)
    return found + [_judged(one, _tried(config, one, payloads), plain, alike_min, latency_ms_max) for one in others]


def _tried(config: LoopConfig, runtime: str, payloads: Sequence[Payload]) -> Trial:
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    if passed_over([runtime]):
        return Trial(failure="it is not on this device: this ONNX Runtime was built without it")
    own = {**config.tables.get(config.vertical, {}), "providers": [runtime]}
    changed = msgspec.structs.replace(config, tables={**config.tables, config.vertical: own})
    vertical = load_vertical(config)
    bundle = vertical.bundle() if isinstance(vertical, Refreshable) else b""
    asked = Asked(changed, bundle, pack_head(vertical.start()), tuple(payloads))
    return in_a_child(asked, 30.0 + len(payloads), config.edge.probe_bytes_max)


def _judged(runtime: str, trial: Trial, plain: Trial, alike_min: float, latency_ms_max: float) -> Parity:
    if trial.failure:
        return Parity(runtime, 0.0, 0.0, trial.failure)
    alike = sum(map(agree, plain.answers, trial.answers)) / max(len(plain.answers), 1)
    latency_ms = 1e3 * median(trial.seconds)
    refused = ""
    if alike < alike_min:
        refused = f"it answers {alike:.1%} as the plain one does; {alike_min:.1%} is asked"
    elif latency_ms > latency_ms_max:
        refused = f"it takes {latency_ms:.1f} ms; {latency_ms_max:g} ms are allowed"
    return Parity(runtime, alike, latency_ms, refused)
