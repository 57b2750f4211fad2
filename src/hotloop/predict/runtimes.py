"""Where a network runs: execution providers of ONNX Runtime, by their short names, best first.

What is not on this machine is passed over (`passed_over` says so); the CPU is always the last resort, also for single
operators that a provider does not know. https://onnxruntime.ai/docs/execution-providers/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import onnxruntime

Runtime: TypeAlias = Literal["tensorrt", "cuda", "cann", "openvino", "coreml", "xnnpack", "cpu"]
RUNTIMES: Final[tuple[Runtime, ...]] = get_args(Runtime)
_PROVIDERS: Final[dict[str, str]] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cann": "CANNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


def providers(wanted: Sequence[Runtime]) -> list[str]:
    """The providers that a session is given, in order."""
    here = onnxruntime.get_available_providers()
    found = [_PROVIDERS[name] for name in dict.fromkeys((*wanted, "cpu")) if _PROVIDERS[name] in here]
    return found or [_PROVIDERS["cpu"]]


def passed_over(wanted: Sequence[str]) -> list[str]:
    """Those that are wanted and not on this machine."""
    here = onnxruntime.get_available_providers()
    return [name for name in wanted if _PROVIDERS[name] not in here]
