"""Train a start model: `python -m hotloop.verticals.inspection.train` makes the one for boards that hotloop ships.

It sees nothing but the project's own drawn boards (`boards.py`), drawn while it trains. `train_on_pieces` does the same
on labelled pieces of one's own. The result is ONNX bytes and a JSON description; who serves it needs no torch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hotloop.errors import HotloopError, InputError, ModelError, TemplateError
from hotloop.predict.runtimes import open_network
from hotloop.sense.images import decode_image
from hotloop.types import Floats
from hotloop.verticals.inspection.boards import KINDS, draw_board
from hotloop.verticals.inspection.candidates import decide
from hotloop.verticals.inspection.defects import add_defects
from hotloop.verticals.inspection.detector import COLD_SCORE_MIN, Description, StartModel, measured
from hotloop.verticals.inspection.export import detector_to_onnx, weights_of
from hotloop.verticals.inspection.labels import LabelSet, read_labels
from hotloop.verticals.inspection.layout import draw_layout
from hotloop.verticals.inspection.nets import BACKBONES, Detector, Truths, build, detection_loss
from hotloop.verticals.inspection.scan import RIM_PX, scan_pair
from hotloop.verticals.inspection.score import Boxes, measure, truths_of
from hotloop.verticals.inspection.style import Style

Pixels = np.ndarray
_CHECKS = 60  # drawn boards on which thresholds and feature statistics are measured
_CHECK_SEED = 1_000_000  # their seeds are far from those of training
_PLATEAU = 0.005  # of F
REFUTED = -1  # the class of a box that is nothing


@dataclass(frozen=True)
class Recipe:
    """All that a training run depends on, besides its source of patches."""

    backbone: str = "compact"
    steps: int = 4000
    batch: int = 16
    patch_px: int = 320
    rate: float = 3e-3  # of AdamW at its highest
    decay: float = 0.02
    memory: float = 0.998  # of the running mean of the weights, which is what is kept
    seed: int = 0


@dataclass(frozen=True)
class Patch:
    """What one training step sees: planes uint8 (c, h, w), boxes (n, 4) px, class indices (n,).

    A box of the class REFUTED is known to be nothing. `complete`: there is nothing but the boxes; if not, nothing is
    known of the rest.
    """

    planes: Pixels
    boxes: Floats
    classes: np.ndarray
    complete: bool = True


class Source(Protocol):
    """Where patches come from."""

    labels: tuple[str, ...]
    inputs: int

    def patch(self, rng: np.random.Generator, side_px: int) -> Patch:
        """One patch of side_px by side_px, drawn with `rng`."""
        ...


# --- patches ------------------------------------------------------------------------------------------------------


def cut(patch: Patch, x: int, y: int, side_px: int) -> Patch:
    """The part of a patch from (x, y), padded with its own border where it ends; boxes whose centre is in it stay."""
    window = patch.planes[:, y : y + side_px, x : x + side_px]
    lack = [(0, 0), *((0, side_px - n) for n in window.shape[1:])]
    planes = np.pad(window, lack, mode="edge")
    boxes = patch.boxes - np.array([x, y, x, y], float)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres > 0) & (centres < side_px)).all(1)
    return Patch(planes, boxes[inside].clip(0, side_px), patch.classes[inside], patch.complete)


def turn(patch: Patch, quarters: int, *, mirror: bool) -> Patch:
    """A square patch mirrored left to right (or not), then turned left by quarters."""
    side = patch.planes.shape[2]
    planes, boxes = patch.planes, patch.boxes
    if mirror:
        planes = planes[:, :, ::-1]
        boxes = np.stack((side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]), 1)
    for _ in range(quarters % 4):
        boxes = np.stack((boxes[:, 1], side - boxes[:, 2], boxes[:, 3], side - boxes[:, 0]), 1)
    return replace(patch, planes=np.ascontiguousarray(np.rot90(planes, quarters % 4, (1, 2))), boxes=boxes)


def aim(patch: Patch, rng: np.random.Generator, side_px: int) -> Patch:
    """A random cut; four of five are near a truth, so that steps are not spent on empty ground."""
    height, width = patch.planes.shape[1:]
    limit_x, limit_y = max(width - side_px, 0), max(height - side_px, 0)
    x, y = int(rng.integers(0, limit_x + 1)), int(rng.integers(0, limit_y + 1))
    if len(patch.boxes) and rng.random() < 0.8:
        box = patch.boxes[rng.integers(len(patch.boxes))]
        off = rng.uniform(0.1, 0.9, 2) * side_px
        x = int(np.clip((box[0] + box[2]) / 2 - off[0], 0, limit_x))
        y = int(np.clip((box[1] + box[3]) / 2 - off[1], 0, limit_y))
    return cut(patch, x, y, side_px)


def _neighbours(plane: Pixels, pick: Callable[..., Pixels]) -> Pixels:
    """Each pixel's largest or smallest in its 3 x 3 neighbourhood or, one time in two axes, a thinner one."""
    padded = np.pad(plane, 1, mode="edge")
    rows = pick(pick(padded[:-2], padded[1:-1]), padded[2:])
    return pick(pick(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def disturb(patch: Patch, rng: np.random.Generator) -> Patch:
    """What differs between two scans of one thing: a shift, a thicker or thinner print, specks. Truths stay."""
    planes = patch.planes.copy()
    if len(planes) > 1 and rng.random() < 0.5:
        planes[1] = np.roll(planes[1], tuple(rng.integers(-2, 3, 2)), (0, 1))
    for index in range(len(planes)):
        if rng.random() < 0.12:
            planes[index] = _neighbours(planes[index], np.maximum if rng.random() < 0.5 else np.minimum)
    if rng.random() < 0.2:
        count = int(rng.integers(1, 40))
        y, x = rng.integers(0, planes.shape[1], count), rng.integers(0, planes.shape[2], count)
        planes[0, y, x] = 255 - planes[0, y, x]
    return replace(patch, planes=planes)


# --- sources ------------------------------------------------------------------------------------------------------


class BoardSource:
    """Drawn boards, test and template: a few hundred are kept, one is drawn anew for each batch."""

    labels: tuple[str, ...] = KINDS
    inputs = 2

    def __init__(self, seed: int, kept: int = 160, defects_max: int = 26, per_patch: float = 1 / 16) -> None:
        self._rng = np.random.default_rng((seed, 1))
        self._defects_max = defects_max
        self._per_patch = per_patch
        self._due = 0.0
        self._oldest = 0
        self._boards = [self._draw() for _ in range(kept)]

    def _draw(self) -> Patch:
        """A board with more defects than a real one has: each is a lesson, and drawing the board is the cost."""
        rng = self._rng
        style = Style.of(int(rng.integers(2**31)))
        test, template, _ = scan_pair(draw_layout(rng, style, 640 + 2 * RIM_PX), rng, style)
        defects = add_defects(test, rng, int(rng.integers(4, self._defects_max)))
        planes = np.where(np.stack((test, template)), np.uint8(0), np.uint8(255))
        boxes = np.array([d.box for d in defects], float).reshape(-1, 4)
        return Patch(planes, boxes, np.array([KINDS.index(d.kind) for d in defects], int))

    def patch(self, rng: np.random.Generator, side_px: int) -> Patch:
        """A patch of a random board; the oldest board makes room for a new one as often as was asked for."""
        self._due += self._per_patch
        if self._due >= 1:
            self._due -= 1
            self._boards[self._oldest] = self._draw()
            self._oldest = (self._oldest + 1) % len(self._boards)
        board = self._boards[rng.integers(len(self._boards))]
        return disturb(shuffled(aim(board, rng, side_px), rng), rng)


class PieceSource:
    """Labelled pieces of one's own; patches are cut, mirrored, turned, and made lighter or darker."""

    def __init__(self, pieces: Sequence[Patch], labels: tuple[str, ...]) -> None:
        if not pieces:
            raise InputError("There is no labelled piece to train on: give a folder with at least one.")
        self.labels = labels
        self.inputs = len(pieces[0].planes)
        if any(len(piece.planes) != self.inputs for piece in pieces):
            raise InputError("Some pieces have a template or colours and some have not: train on one kind at a time.")
        self._pieces = list(pieces)

    def patch(self, rng: np.random.Generator, side_px: int) -> Patch:
        """A patch of a random piece."""
        patch = shuffled(aim(self._pieces[rng.integers(len(self._pieces))], rng, side_px), rng)
        gain, lift = rng.uniform(0.85, 1.15), rng.uniform(-16, 16)
        planes = (patch.planes.astype(np.float32) - 127) * gain + 127 + lift
        return replace(patch, planes=planes.clip(0, 255).astype(np.uint8))


def shuffled(patch: Patch, rng: np.random.Generator) -> Patch:
    """The patch mirrored or not, and turned by some quarters."""
    return turn(patch, int(rng.integers(4)), mirror=bool(rng.random() < 0.5))


# --- training -----------------------------------------------------------------------------------------------------


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate: up over the first twentieth, then down along a cosine to a hundredth."""
    warm = max(1, recipe.steps // 20)
    if step < warm:
        return recipe.rate * (step + 1) / warm
    share = (step - warm) / max(1, recipe.steps - warm)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def normalise(planes: torch.Tensor) -> torch.Tensor:
    """uint8 planes -> float in -1 to 1, as the served model's description says."""
    return planes.float() / 127.5 - 1.0


def _batch(source: Source, rng: np.random.Generator, recipe: Recipe, device: str) -> tuple[torch.Tensor, list[Truths]]:
    """Patches and their truths, on the device."""
    patches = [source.patch(rng, recipe.patch_px) for _ in range(recipe.batch)]
    planes = torch.from_numpy(np.stack([p.planes for p in patches])).to(device)
    return normalise(planes).contiguous(memory_format=torch.channels_last), [_truths(p, device) for p in patches]


def _truths(patch: Patch, device: str) -> Truths:
    """What is known of a patch, on the device."""
    boxes, classes = torch.from_numpy(patch.boxes).float().to(device), torch.from_numpy(patch.classes).to(device)
    there = classes != REFUTED
    return Truths(boxes[there], classes[there], patch.complete, boxes[~there])


def _blend(kept: dict[str, torch.Tensor], detector: Detector, share: float) -> None:
    """Move the kept weights towards the detector's by 1 - share; counters are copied."""
    for key, value in detector.state_dict().items():
        if value.dtype.is_floating_point:
            kept[key].lerp_(value, 1 - share)
        else:
            kept[key].copy_(value)


class Tuning:
    """A training run between two steps: the detector, its optimiser, and the running mean of its weights, which is
    kept.
    """

    def __init__(self, detector: Detector, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.detector = detector.to(self.device, memory_format=torch.channels_last).train()
        self.optimiser = torch.optim.AdamW(self.detector.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        self.kept = {key: value.detach().clone() for key, value in self.detector.state_dict().items()}

    def step(self, number: int, source: Source, rng: np.random.Generator) -> float:
        """One step on a batch of `source`; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(number, self.recipe)
        planes, truths = _batch(source, rng, self.recipe, self.device)
        logits, sides, *_ = self.detector(planes)
        loss = detection_loss(logits, sides, truths)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.detector.parameters(), 10.0)
        self.optimiser.step()
        _blend(self.kept, self.detector, min(self.recipe.memory, (1 + number) / (10 + number)))
        return float(loss.detach())

    def done(self) -> Detector:
        """The detector with the running mean of its weights, to be served."""
        self.detector.load_state_dict(self.kept)
        trained: Detector = self.detector.cpu().eval()
        return trained

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on, by name."""
        tensors = {f"now.{key}": value for key, value in self.detector.state_dict().items()}
        tensors |= {f"kept.{key}": value for key, value in self.kept.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from `state`."""
        self.detector.load_state_dict({key[4:]: value for key, value in state.items() if key.startswith("now.")})
        for key, value in self.kept.items():
            value.copy_(state[f"kept.{key}"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = value
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": moments})


def fit(
    source: Source,
    recipe: Recipe,
    *,
    detector: Detector | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Detector:
    """Train a detector (a fresh one unless one is given) and return it with the running mean of its weights.

    `report` is called after each step with the step's number and its loss.
    """
    torch.manual_seed(recipe.seed)
    tuning = Tuning(detector or build(recipe.backbone, source.inputs, len(source.labels)), recipe)
    rng = np.random.default_rng((recipe.seed, 2))
    for step in range(recipe.steps):
        loss = tuning.step(step, source, rng)
        if report is not None:
            report(step, loss)
    return tuning.done()


def begun(source: Source, recipe: Recipe, onnx: bytes) -> Detector:
    """A detector that begins at an exported one's weights, where they fit: other labels or planes begin anew."""
    detector = build(recipe.backbone, source.inputs, len(source.labels))
    own = detector.state_dict()
    fitting = {k: v for k, v in weights_of(onnx).items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise ModelError(f"None of its weights fits a detector with the backbone {recipe.backbone!r}.")
    detector.load_state_dict(own | fitting)
    return detector


def fit_shown(source: Source, recipe: Recipe, detector: Detector | None = None) -> Detector:
    """`fit` with a progress bar: steps, time left, the recent loss."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("loss {task.fields[loss]:.3f}")) as progress:
        task = progress.add_task(f"training {recipe.backbone}", total=recipe.steps, loss=math.nan)
        recent: list[float] = []

        def report(step: int, loss: float) -> None:
            recent.append(loss)
            progress.update(task, completed=step + 1, loss=sum(recent[-50:]) / len(recent[-50:]))

        return fit(source, recipe, detector=detector, report=report)


# --- what is written ----------------------------------------------------------------------------------------------


def describe(onnx: bytes, source: Source, recipe: Recipe, checks: Sequence[Patch]) -> Description:
    """The description of an exported detector, measured on `checks`.

    Scores are shifted, all alike, so that F is best at one half: the reflex pulls them to 0 and 1, about one half.
    """
    planes: Literal["grey", "grey+template", "colour", "colour+template"]
    planes = {1: "grey", 2: "grey+template", 3: "colour", 6: "colour+template"}[source.inputs]  # type: ignore[assignment]
    labels = len(source.labels)
    bare = Description(source.labels, planes, (0.5,) * labels, recipe=json.dumps(asdict(recipe)), seed=recipe.seed)
    answers, _ = _asked(onnx, bare, checks)
    shifted = msgspec.structs.replace(bare, shift=round(math.log(1 / best_threshold(answers, labels) - 1), 3))
    _, rows = _asked(onnx, shifted, checks)
    return measured(shifted, rows)


def _asked(onnx: bytes, description: Description, checks: Sequence[Patch]) -> tuple[list[tuple[Boxes, Boxes]], Floats]:
    """What the model says of each check, with its truths; and the features of all candidates (n, f)."""
    model = StartModel(open_network({"onnx": onnx}), description)
    answers, features = [], []
    for patch in checks:
        found = model.candidates(*_pictures(patch.planes), COLD_SCORE_MIN)
        features.append(found.features.astype(np.float64))
        _, said = decide(found.regions, found.scores, (0.05,) * len(description.labels))
        answers.append((said, truths_of(patch.boxes, patch.classes)))
    return answers, np.concatenate(features)


def best_threshold(answers: Sequence[tuple[Boxes, Boxes]], labels: int) -> float:
    """The middle of the thresholds, one for all labels, with nearly the highest F; 0.5 if there is no truth."""
    if not any(len(truths.labels) for _, truths in answers):
        return 0.5
    steps = np.arange(0.1, 0.9, 0.02)
    fs = np.array([measure(answers, (float(step),) * labels).f for step in steps])
    # the middle of the plateau: at its edges one more board would tip it
    return round(float(steps[fs >= fs.max() - _PLATEAU].mean()), 2)


def _pictures(planes: Pixels) -> tuple[Pixels, Pixels | None]:
    """Planes as the image and the template they were made of."""
    if len(planes) < 3:
        return planes[0], planes[1] if len(planes) == 2 else None
    image = planes[:3].transpose(1, 2, 0)
    return image, planes[3:].transpose(1, 2, 0) if len(planes) == 6 else None


def board_checks(seed: int, count: int) -> list[Patch]:
    """Drawn boards as they come (3 to 12 defects), of seeds that no training run draws."""
    checks = []
    for index in range(count):
        board = draw_board(seed + _CHECK_SEED + index)
        boxes = np.array([d.box for d in board.defects], float).reshape(-1, 4)
        classes = np.array([KINDS.index(d.kind) for d in board.defects], int)
        checks.append(Patch(np.stack((board.test, board.template)), boxes, classes))
    return checks


def piece_patches(labels: LabelSet, *, colour: bool = False) -> list[Patch]:
    """Labelled pieces as patches. InputError if a truth has no box or a template is of another size."""
    patches = []
    for piece in labels.pieces:
        files = [piece.image, *([piece.template] if piece.template else [])]
        pictures = [_opened(path, colour=colour) for path in files]
        if len({picture.shape for picture in pictures}) != 1:
            raise TemplateError(f"{piece.template} is not of the size of {piece.image}: they must be equal.")
        if any(truth.region is None for truth in piece.truths):
            raise InputError(f"{piece.image}: a detector is trained on boxes, and this piece has a kind without one.")
        boxes = np.array([truth.region for truth in piece.truths], float).reshape(-1, 4)
        classes = np.array([labels.labels.index(truth.label) for truth in piece.truths], int)
        patches.append(Patch(np.concatenate(pictures), boxes, classes))
    return patches


def _opened(path: Path, *, colour: bool) -> Pixels:
    """An image file as planes (1 or 3, h, w)."""
    pixels = decode_image(path.read_bytes())
    picture = Image.fromarray(pixels).convert("RGB" if colour else "L")
    return np.asarray(picture).transpose(2, 0, 1) if colour else np.asarray(picture)[None]


def save_description(description: Description) -> bytes:
    """A description as the JSON that lies beside a start model."""
    return msgspec.json.encode(description)


def save(onnx: bytes, description: Description, out: Path) -> None:
    """Write OUT.onnx and, beside it, OUT.json."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".onnx").write_bytes(onnx)
    out.with_suffix(".json").write_bytes(save_description(description))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, export, describe, write."""
    parser = argparse.ArgumentParser(prog="python -m hotloop.verticals.inspection.train", description=__doc__)
    parser.add_argument("out", type=Path, help="OUT.onnx and OUT.json are written")
    parser.add_argument("--pieces", type=Path, help="a folder of labelled pieces; without it, drawn boards")
    parser.add_argument("--colour", action="store_true", help="train on three channels")
    parser.add_argument("--begin", type=Path, help="an exported model whose weights to begin at")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--backbone", choices=list(BACKBONES), default=Recipe.backbone)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    given = parser.parse_args(arguments)
    recipe = Recipe(backbone=given.backbone, steps=given.steps, rate=given.rate, seed=given.seed)
    if given.pieces is None:
        source: Source = BoardSource(recipe.seed)
        checks = board_checks(recipe.seed, _CHECKS)
    else:
        labels = read_labels(given.pieces)
        patches = piece_patches(labels, colour=given.colour)
        # every fifth piece is kept from training: thresholds measured on what was learned would be too high
        checks = patches[::5]
        source = PieceSource([p for i, p in enumerate(patches) if i % 5 or len(patches) < 5], labels.labels)
    detector = begun(source, recipe, given.begin.read_bytes()) if given.begin else None
    detector = fit_shown(source, recipe, detector)
    onnx = detector_to_onnx(detector, source.inputs)
    save(onnx, describe(onnx, source, recipe, checks), given.out)
    print(f"{given.out.with_suffix('.onnx')}: {len(onnx)} bytes")  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except HotloopError as error:
        sys.exit(f"{type(error).__name__}: {error}")
