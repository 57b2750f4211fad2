"""Where a network runs, by short names: execution providers of ONNX Runtime, other engines, other precisions.

A network is a plain callable on arrays. It comes as files of some forms: "onnx", and "int8" (the same, statically
quantised) or "litert" (a .tflite file) where somebody exported them; or "python", the name of a callable that somebody
installed. The first wanted runtime that this machine and
these files have is used; the CPU is the last resort, also for single operators that a provider does not know. What is
passed over is said. https://onnxruntime.ai/docs/execution-providers/
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from hotloop.errors import ModelError
from hotloop.types import RunsOn

Array: TypeAlias = NDArray[Any]
Call: TypeAlias = Callable[[Array], Sequence[Array]]
Runtime: TypeAlias = Literal["tensorrt", "cuda", "cann", "openvino", "coreml", "xnnpack", "litert", "int8", "cpu"]
Variant: TypeAlias = Literal["int8", "litert"]
RUNTIMES: Final[tuple[Runtime, ...]] = get_args(Runtime)
NETWORKS: Final = "hotloop.networks"  # entry points: each is called without arguments and gives a `Call`
MODEL_BYTES_MAX: Final = 256 * 2**20
_PROVIDERS: Final[dict[str, str]] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cann": "CANNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "int8": "CPUExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_ENGINES: Final = {"litert": "ai_edge_litert", "openvino": "openvino"}  # packages of their own
_GUARD: Final = b"\n\x08location"  # the key that every reference to external data carries (onnx.proto, external_data)
# what engines and callables raise; onnxruntime's classes share no base but Exception
REFUSALS: Final = (
    RuntimeError, ValueError, TypeError, LookupError, OSError, AssertionError, AttributeError, ArithmeticError,
    state.EPFail, state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoModel,
    state.NotImplemented, state.RuntimeException,
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """An open network. Several threads may call it.

    `size`: height and width if it takes no others, else None. `passed_over`: why what was wanted first is not used.
    """

    call: Call
    runtime: str
    size: tuple[int, int] | None = None
    passed_over: tuple[str, ...] = ()

    def __call__(self, image: NDArray[np.float32]) -> list[Array]:
        """(1, planes, h, w) -> the outputs, each with the axis of the batch. ModelError if it cannot."""
        try:
            return [np.asarray(output) for output in self.call(image)]
        except REFUSALS as error:
            raise ModelError(f"The network cannot be run on {image.shape}: {str(error)[:300]}") from error

    @property
    def runs_on(self) -> RunsOn:
        """Where it runs, and why not where it was wanted."""
        return RunsOn(self.runtime, self.passed_over)


def open_network(files: Mapping[str, bytes], wanted: Sequence[str] = ("cpu",)) -> Network:
    """A network on one thread, on the first of these runtimes that there is. ModelError if the bytes are none, are too
    many, or refer to other files.
    """
    for form, data in files.items():
        if len(data) > MODEL_BYTES_MAX:
            raise ModelError(f"The model ({form}) has {len(data)} bytes, more than {MODEL_BYTES_MAX}.")
    if "python" in files:
        return Network(_installed(files["python"].decode(errors="replace")), "python")
    left = []
    for runtime in (*wanted, "cpu"):
        if why := lacking(runtime, files):
            left.append(why)
            continue
        try:
            opened = _open(runtime, files)
        except ModelError as error:
            if runtime == "cpu":
                raise
            left.append(f"{runtime}: {error}")
            continue
        return Network(opened.call, runtime, opened.size, tuple(left))
    raise ModelError("there is no network in these files")


def lacking(runtime: str, files: Mapping[str, bytes]) -> str:
    """Why a runtime cannot be used with these files on this machine, or ""."""
    form = runtime if runtime in ("litert", "int8") else "onnx"
    if form not in files:
        return f"{runtime}: nobody has exported it (hotloop export --variant {runtime})"
    if runtime == "cpu" or _PROVIDERS.get(runtime) in onnxruntime.get_available_providers():
        return ""
    if runtime in _ENGINES:
        return "" if is_here(_ENGINES[runtime]) else f"{runtime}: not on this device (pip install hotloop[{runtime}])"
    return f"{runtime}: not on this device, its ONNX Runtime was built without it"


@dataclass(frozen=True)
class _Opened:
    call: Call
    size: tuple[int, int] | None


def _open(runtime: str, files: Mapping[str, bytes]) -> _Opened:
    try:
        if runtime == "litert":
            return _litert(files["litert"])
        onnx = files["int8" if runtime == "int8" else "onnx"]
        if _GUARD in onnx:
            raise ModelError("The model keeps weights in another file: export it as one file.")
        if runtime == "openvino" and _PROVIDERS[runtime] not in onnxruntime.get_available_providers():
            return _openvino(onnx)
        return _onnx(onnx, _PROVIDERS[runtime])
    except REFUSALS as error:
        raise ModelError(f"The model cannot be loaded: {str(error)[:300]}") from error


def _onnx(onnx: bytes, provider: str) -> _Opened:
    """ONNX Runtime. A detector that asks for the size of the original picture as well is told the network's own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(onnx, options, providers=list(dict.fromkeys((provider, _PROVIDERS["cpu"]))))
    if provider not in session.get_providers()[:1]:  # its libraries are not here: ONNX Runtime falls back by itself
        raise ModelError(f"{provider} does not start on this device")
    image, *others = session.get_inputs()

    def call(planes: Array) -> Sequence[Array]:
        size = np.array([[planes.shape[3], planes.shape[2]]], np.int64)
        return cast("Sequence[Array]", session.run(None, {image.name: planes, **{one.name: size for one in others}}))

    return _Opened(call, _size_of(image.shape))


def _openvino(onnx: bytes) -> _Opened:
    """OpenVINO's own runtime, where ONNX Runtime was built without it: fp32, as the network was trained."""
    import openvino  # noqa: PLC0415 - an engine of its own, present on few devices

    core = openvino.Core()
    model = core.read_model(onnx)
    wanted = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", wanted)
    shape = model.inputs[0].partial_shape
    lock, request = threading.Lock(), compiled.create_infer_request()

    def call(planes: Array) -> Sequence[Array]:
        with lock:
            found = request.infer({0: planes})
            return [np.array(found[output]) for output in compiled.outputs]

    return _Opened(call, _size_of([one.get_length() if one.is_static else None for one in shape]))


def _litert(flatbuffer: bytes) -> _Opened:
    """LiteRT on one thread. Its outputs are in the order of their numbers."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - an engine of its own, present on few devices

    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    runner = interpreter.get_signature_runner()
    ((name, given),) = runner.get_input_details().items()
    order = sorted(runner.get_output_details(), key=lambda output: (len(output), output))
    lock = threading.Lock()  # an interpreter answers one at a time

    shape = tuple(int(side) for side in given["shape"])

    def call(planes: Array) -> Sequence[Array]:
        if planes.shape != shape:  # the interpreter would take it, resize itself, and answer something
            raise ModelError(f"The network cannot be run on {planes.shape}: it was exported for {shape}")
        with lock:
            found = runner(**{name: planes})
            return [np.array(found[output]) for output in order]

    return _Opened(call, _size_of(shape))


def is_here(package: str) -> bool:
    """Whether a package can be imported on this machine."""
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def _installed(name: str) -> Call:
    """A plain callable that somebody installed: a release names it, and can name nothing else."""
    found = entry_points(group=NETWORKS, name=name)
    if not found:
        names = ", ".join(sorted(point.name for point in entry_points(group=NETWORKS))) or "none"
        raise ModelError(f"no network {name!r} is installed (entry point {NETWORKS}); there are: {names}")
    try:
        return cast("Call", next(iter(found)).load()())
    except (*REFUSALS, ImportError) as error:
        raise ModelError(f"the network {name!r} cannot be made: {type(error).__name__}: {error}") from error


def _size_of(shape: Sequence[Any]) -> tuple[int, int] | None:
    """Height and width of an input (n, planes, h, w) whose both are fixed."""
    sides = tuple(shape[2:4])
    if len(sides) == 2 and all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        return int(sides[0]), int(sides[1])
    return None
