"""The networks in each form and on each runtime of this machine: speed, memory, and whether they answer alike.

    python -m bench.runtimes --data DIR [--repeats 60]

DIR holds deeppcb/ and magnetic-tile/ (or $HOTLOOP_DATA). MobileNetV3-Small (weights drawn at random: for its speed) and
EfficientNet-Lite0 (ImageNet) see magnetic tiles at 224 px, pooled; a head is learned on the features of half of them in
float32, and answers the other half from each form's features. The detector sees boards of 640 px, with the shipped
head: `hotloop bench-edge`. Times are interleaved on one thread; ratios are of medians within this run. What is not
installed (ai-edge-litert, litert-torch, openvino) is said and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from hotloop.errors import ModelError
from hotloop.predict.runtimes import Network, open_network
from hotloop.verticals.inspection.bundle import BOXES, make_bundle, open_bundle
from hotloop.verticals.inspection.classifier import squeezed
from hotloop.verticals.inspection.detector import boards_files, boards_model
from hotloop.verticals.inspection.export import Pooled, classifier_to_onnx, to_onnx
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.nets.efficientnet import EfficientNetLite0, imagenet_weights
from hotloop.verticals.inspection.nets.mobilenet import mobilenet_v3_small
from hotloop.verticals.inspection.variants import int8, litert, network_of

SIDE_PX = 224
CALIBRATED = 60
RIDGE = 1e-3  # of standardised features


def forms(onnx: bytes, module: torch.nn.Module, inputs: list[np.ndarray]) -> dict[str, bytes]:
    """The network in each form that can be made here."""
    found = {"onnx": onnx, "int8": int8(onnx, inputs[:CALIBRATED])}
    try:
        found["litert"] = litert(module, inputs[0].shape[2:])
    except ModelError as error:
        print(f"litert is left out: {error}")
    return found


def opened(files: dict[str, bytes]) -> dict[str, Network]:
    """Each runtime that answers with these files here."""
    tried = {name: open_network(files, (name,)) for name in ("cpu", "int8", "litert", "openvino")}
    for name, network in tried.items():
        if network.runtime != name:
            print(f"{name} is left out: {'; '.join(network.passed_over)}")
    return {name: network for name, network in tried.items() if network.runtime == name}


def timed(networks: dict[str, Network], inputs: list[np.ndarray], repeats: int) -> dict[str, float]:
    """The median ms a call of each, interleaved."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for number in track(range(repeats + 3), "timing"):
        for name, network in networks.items():
            began_s = time.perf_counter()
            network(inputs[number % len(inputs)])
            times[name].append(time.perf_counter() - began_s)
    return {name: 1e3 * float(np.median(found[3:])) for name, found in times.items()}


def kinds_alike(networks: dict[str, Network], inputs: list[np.ndarray], kinds: np.ndarray) -> dict[str, tuple[float, float]]:
    """Share of pieces that a head learned in float32 answers alike from each form's features; and its accuracy."""
    features = {name: np.stack([network(one)[0][0] for one in inputs]) for name, network in networks.items()}
    plain = features["cpu"]
    mean, spread = plain[::2].mean(0), plain[::2].std(0) + 1e-3
    x = (plain[::2] - mean) / spread
    y = np.eye(kinds.max() + 1)[kinds[::2]]
    head = x.T @ np.linalg.solve(x @ x.T + RIDGE * len(x) * np.eye(len(x)), y)
    said = {name: (((found[1::2] - mean) / spread) @ head).argmax(1) for name, found in features.items()}
    return {name: (float((one == said["cpu"]).mean()), float((one == kinds[1::2]).mean())) for name, one in said.items()}


def tiles(data: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Magnetic tiles as networks see them, and their kinds."""
    labels = read_labels(data / "magnetic-tile")
    names = ("good", *labels.labels)
    images = [squeezed(np.asarray(Image.open(piece.image).convert("RGB")), SIDE_PX, "RGB") for piece in labels.pieces]
    inputs = [image.transpose(2, 0, 1)[None].astype(np.float32) for image in images]
    return inputs, np.array([names.index(p.truths[0].label if p.truths else "good") for p in labels.pieces])


def classifier_rows(data: Path, repeats: int) -> list[dict[str, object]]:
    """Both backbones for whole images."""
    inputs, kinds = tiles(data)
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, kinds = [inputs[index] for index in order], kinds[order]
    lite0 = EfficientNetLite0()
    lite0.load_state_dict(imagenet_weights())
    torch.manual_seed(0)
    small = Pooled(mobilenet_v3_small(3)).eval()
    rows: list[dict[str, object]] = []
    for name, onnx, module in (
        ("MobileNetV3-S", to_onnx(small, (1, 3, SIDE_PX, SIDE_PX), ("features",)), small),
        ("EfficientNet-Lite0", classifier_to_onnx(), Pooled(lite0).eval()),
    ):
        files = forms(onnx, module, inputs)
        networks = opened(files)
        took, alike = timed(networks, inputs, repeats), kinds_alike(networks, inputs, kinds)
        rows += [row(name, runtime, files, took, alike[runtime]) for runtime in networks]
    return rows


def detector_rows(data: Path, repeats: int) -> list[dict[str, object]]:
    """The detector's network alone; whether it answers alike is `hotloop export`'s to say."""
    model = boards_model()
    pieces = read_labels(data / "deeppcb").pieces[-CALIBRATED:]
    opens = ([np.asarray(Image.open(p).convert("L")) for p in (one.image, one.template) if p] for one in pieces)
    inputs = [model.inputs(*pair) for pair in opens]
    onnx, description = boards_files()
    files = forms(onnx, network_of(open_bundle(make_bundle(BOXES, onnx, description), BOXES)), inputs)
    networks = opened(files)
    took = timed(networks, inputs, repeats)
    return [row("detector, 640 px", runtime, files, took, None) for runtime in networks]


def row(
    name: str, runtime: str, files: dict[str, bytes], took: dict[str, float], alike: tuple[float, float] | None
) -> dict[str, object]:
    """One line of the table, printed."""
    size = len(files.get(runtime, files["onnx"])) / 2**20
    found = {"network": name, "runtime": runtime, "ms": round(took[runtime], 2), "ratio": round(took[runtime] / took["cpu"], 2),
             "mib": round(size, 2), "alike": alike and alike[0], "accuracy": alike and alike[1]}  # fmt: skip
    said = "" if alike is None else f"  answers alike {alike[0]:6.1%}  accuracy {alike[1]:6.1%}"
    print(f"{name:20s} {runtime:9s} {took[runtime]:7.2f} ms  x{found['ratio']:.2f}  {size:6.2f} MiB{said}", flush=True)
    return found


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) if home else None, required=not home)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("out"))
    given = parser.parse_args()
    rows = [*classifier_rows(given.data, given.repeats), *detector_rows(given.data, given.repeats)]
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "runtimes.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
