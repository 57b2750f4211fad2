"""The reflex on a detector that was brought: the shipped network as a YOLOv8-style export, against the shipped way.

    python -m bench.brought --data DIR [--boards 25 100 400]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). The network is exported as somebody else would: one output
(1, 4 + c, n), a colour picture 0 to 1 (red: the board, green: its template). `bring.py` finds its features by itself.
Same boards, same split and same measures as bench/deeppcb_reflex.py, which is the peer in the same run.
"""

from __future__ import annotations

import argparse
import io
import os
import warnings
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import torch
from PIL import Image

from bench.deeppcb_reflex import TEST_BOARDS, look, run
from hotloop.types import digest
from hotloop.verticals.inspection.bring import brought
from hotloop.verticals.inspection.brought import open_model
from hotloop.verticals.inspection.bundle import BOXES, open_bundle
from hotloop.verticals.inspection.detector import (
    Candidates,
    Description,
    Feed,
    Pixels,
    boards_files,
    boards_model,
    load,
)
from hotloop.verticals.inspection.labels import LabelSet, read_labels
from hotloop.verticals.inspection.variants import network_of

SIDE_PX = 640
MEASURED = 100  # pictures on which the scales of the features are measured


class AsYolo(torch.nn.Module):
    """The shipped network behind the answers of a YOLOv8-style export."""

    def __init__(self, served: torch.nn.Module) -> None:
        super().__init__()
        self.served = served

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) in 0 to 1 -> (1, 4 + c, n)."""
        scores, sides, *_ = self.served(x[:, :2] * 2 - 1)
        rows, columns = scores.shape[2:]
        y, x_ = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        left, top, right, bottom = sides[0].unbind(0)
        centre_x, centre_y = (x_ + 0.5) * 8 + (right - left) / 2, (y + 0.5) * 8 + (bottom - top) / 2
        boxes = torch.stack((centre_x, centre_y, left + right, top + bottom)).reshape(1, 4, -1)
        return torch.cat((boxes, scores.reshape(1, scores.shape[1], -1)), 1)


def as_yolo() -> bytes:
    """The export."""
    from hotloop.verticals.inspection.bundle import make_bundle

    served = network_of(open_bundle(make_bundle(BOXES, *boards_files()), BOXES))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            AsYolo(served).eval(), (torch.zeros(1, 3, SIDE_PX, SIDE_PX),), buffer, dynamo=False, opset_version=17,
            input_names=["images"], output_names=["output0"],
        )  # fmt: skip
    return buffer.getvalue()


class Stacked:
    """Asks a brought detector with a board and its template as the colours of one picture."""

    def __init__(self, model: object) -> None:
        self.model = model
        self.description = model.description  # type: ignore[attr-defined]

    def candidates(self, image: Pixels, template: Pixels) -> Candidates:
        """As StartModel's."""
        return self.model.candidates(stacked(image, template))  # type: ignore[attr-defined,no-any-return]


def stacked(image: Pixels, template: Pixels) -> Pixels:
    """(h, w), (h, w) -> (h, w, 3)."""
    return np.stack((image, template, template), axis=2)


def pictures(labels: LabelSet) -> list[Pixels]:
    """Some boards, as colours."""
    opened = [[np.asarray(Image.open(p).convert("L")) for p in (one.image, one.template)] for one in labels.pieces[:MEASURED]]
    return [stacked(*pair) for pair in opened]


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--boards", type=int, nargs="+", default=[25, 100, 400])
    given = parser.parse_args()
    given.seed, given.ridge = 0, 1.0
    labels = read_labels(given.data)
    shipped = boards_model().description
    feed = Feed("yolov8", (SIDE_PX, SIDE_PX), "centre")
    bundle = brought(as_yolo(), Description(shipped.labels, "colour", shipped.thresholds, feed=feed), pictures(labels))
    found = open_bundle(bundle, BOXES)
    for name, model in (
        ("brought", Stacked(open_model(found.files, found.description))),
        ("shipped", load(*boards_files())),
    ):
        key = digest(bundle if name == "brought" else b"".join(boards_files()))[:16]
        boards = look(labels, model, Path(gettempdir()) / f"hotloop-brought-{key}.npz")  # type: ignore[arg-type]
        print(f"{name}: {len(model.description.mean)} features a box")
        run(boards[:-TEST_BOARDS], boards[-TEST_BOARDS:], model, given)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
