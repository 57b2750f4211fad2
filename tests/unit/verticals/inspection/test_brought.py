"""Detectors that somebody else trained: fed as they were, decoded as they answer, with features for the reflex."""

from __future__ import annotations

import io
import warnings

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import ImageError, InputError, ModelError
from hotloop.learn import Reflex
from hotloop.predict.runtimes import Network
from hotloop.types import Change, Claim, Example, Feedback, Observation, Payload, Prediction, RunsOn
from hotloop.verticals.inspection import bring
from hotloop.verticals.inspection.bring import brought, with_features
from hotloop.verticals.inspection.brought import BroughtModel, fitted, open_model, split
from hotloop.verticals.inspection.bundle import BOXES, open_bundle
from hotloop.verticals.inspection.detector import Description, Feed
from hotloop.verticals.inspection.task import vertical

LABELS = ("scratch", "dent")
SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2  # of strides 8, 16, 32


def feed(layout, **more):
    return Feed(layout, (SIDE, SIDE), more.pop("fit", "stretch"), **more)


def description(layout, **more):
    return Description(LABELS, "colour", (0.5, 0.5), feed=feed(layout, **more))


# What a box at (8, 16, 24, 48) px with score 0.9 for "dent" is, in each layout: as its row's numbers
BOX = (8.0, 16.0, 24.0, 48.0)
DENT = (0.1, 0.9)


def yolox():
    """Row 2 * 8 + 1 is the cell (1, 2) of stride 8: its corner is at 8, 16 px."""
    rows = np.full((CELLS, 7), -20.0)
    rows[:, 4:] = 0.0
    rows[17] = ((16 / 8) - 1, (32 / 8) - 2, np.log(16 / 8), np.log(32 / 8), 1.0, *DENT)
    return [rows]


def decoded(objectness):
    rows = np.zeros((5, 4 + objectness + 2))
    rows[3] = (16.0, 32.0, 16.0, 32.0, *([1.0] * objectness), *DENT)
    return rows


def detr():
    boxes, scores = np.zeros((5, 4)), np.zeros((5, 2))
    boxes[3], scores[3] = (16 / SIDE, 32 / SIDE, 16 / SIDE, 32 / SIDE), DENT
    return boxes, scores


def logits(scores):
    p = scores.clip(1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


LAYOUTS = {
    "yolox": ("yolox", yolox()),
    "yolox-decoded": ("yolox-decoded", [decoded(1)]),
    "yolov5": ("yolov5", [decoded(1)]),
    "yolov8": ("yolov8", [decoded(0).T]),
    "rt-detr, logits and boxes": ("rt-detr", [logits(detr()[1]), detr()[0]]),
    "rt-detr, boxes and scores": ("rt-detr", [detr()[0], detr()[1]]),
    "rt-detr, in one": ("rt-detr", [np.concatenate(detr(), axis=1)]),
    "rt-detr, after its own post-processing": (
        "rt-detr",
        [np.array([0, 1]), np.array([(0, 0, 1, 1), BOX]), np.array([0.01, 0.9])],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_gives_the_same_box(name):
    """One dent, in pixels of what the network sees; a map behind it is a feature."""
    layout, outputs = LAYOUTS[name]
    found, features = split([*outputs, np.zeros((16, 8, 8))], feed(layout), 2)
    best = int(found.scores.max(1).argmax())
    np.testing.assert_allclose(found.regions[best], BOX, atol=1e-9)
    assert found.scores[best][1] == pytest.approx(0.9, abs=1e-5)
    assert found.scores[best].argmax() == 1
    assert (found.scores.max(1) > 0.5).sum() == 1
    assert [one.shape for one in features] == [(16, 8, 8)]


@pytest.mark.parametrize(
    ("layout", "outputs"),
    [
        ("yolox", [np.zeros((CELLS - 1, 7))]),
        ("yolox", [np.zeros((CELLS, 6))]),
        ("yolov8", [np.zeros((5, 6))]),
        ("yolov5", [np.zeros(7)]),
        ("yolov8", []),
        ("rt-detr", [np.zeros((5, 2))]),
        ("rt-detr", [np.zeros((5, 2)), np.zeros((4, 4))]),
        ("rt-detr", [np.array([0, 7]), np.zeros((2, 4)), np.zeros(2)]),
    ],
)
def test_outputs_of_another_layout_are_refused(layout, outputs):
    """With their shapes."""
    with pytest.raises(ModelError, match=f"not those of {layout} with 2 labels"):
        split(outputs, feed(layout), 2)


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 5])
def test_an_answer_that_is_no_number_is_refused(what, column):
    """It would be a silent "good"."""
    rows = decoded(1)
    rows[1, column] = what
    with pytest.raises(ModelError, match="no number"):
        split([rows], feed("yolov5"), 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--labels", "a,a"], "once"),
        (["--labels", "a,"], "once"),
        (["--threshold", "nan"], "a score is above 0"),
        (["--feed", "junk"], "--feed junk"),
        (["--feed", '{"speed": 1}'], "--feed"),
        (["--feed", '{"pad": 999}'], "--feed"),
        (["--out", "nowhere/x.bundle"], "cannot be written"),
    ],
)
def test_what_the_command_cannot_use_is_said(exported, tmp_path, words, told):
    """In a sentence."""
    (tmp_path / "mine.onnx").write_bytes(exported)
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    fine = {"--layout": "yolov8", "--labels": "a,b", "--images": str(tmp_path), "--out": str(tmp_path / "x.bundle")}
    given = fine | dict(zip(words[::2], words[1::2], strict=True))
    with pytest.raises(InputError, match=told):
        bring.main([str(tmp_path / "mine.onnx"), *(part for pair in given.items() for part in pair)])


def test_a_broken_export_does_not_overflow():
    """A side of e^1000 cells is a number all the same."""
    rows = yolox()[0]
    rows[17, 2] = 1000.0
    found, _ = split([rows], feed("yolox"), 2)
    assert np.isfinite(found.regions).all()


@pytest.mark.parametrize("fit", ["corner", "centre", "stretch"])
def test_a_box_comes_back_to_where_it_was(fit):
    """Whatever the picture was fitted like: the red square of a 100 x 40 picture is found at its place."""
    image = np.zeros((40, 100, 3), np.uint8)
    image[10:30, 20:60, 0] = 255
    planes, placed = fitted(image, feed("yolov8", fit=fit))
    assert planes.shape == (3, SIDE, SIDE)
    y, x = np.nonzero((planes[0] > 0.9) & (planes[1] < 0.1))
    seen = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], float)
    np.testing.assert_allclose(placed.back(seen, (40, 100)), [[20, 10, 60, 30]], atol=2.0)


def test_pixels_are_fed_as_the_family_does():
    """The order of colours, the divisor, mean and spread, what fills up."""
    image = np.full((10, 20, 3), (255, 0, 51), np.uint8)
    planes, _ = fitted(image, feed("yolox", fit="corner", divisor=1.0, bgr=True))
    assert planes[:, 0, 0].tolist() == [51.0, 0.0, 255.0]
    assert planes[:, -1, -1].tolist() == [114.0] * 3, "below the picture"
    planes, placed = fitted(image, feed("yolov8", fit="centre", mean=(0.5, 0.5, 0.5), spread=(0.5, 0.5, 0.25)))
    assert placed.top == 16
    np.testing.assert_allclose(planes[:, 32, 0], [1.0, -1.0, -1.2], atol=1e-6)
    with pytest.raises(ImageError, match="colour image"):
        fitted(image[:, :, 0], feed("yolox"))


class Small(nn.Module):
    """A detector with a neck of 16 channels at stride 8 from which two heads branch: bright spots are dents."""

    def __init__(self):
        super().__init__()
        self.neck = nn.Conv2d(3, 16, 8, 8)
        self.box, self.kind = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 2, 1)
        torch.manual_seed(0)
        with torch.no_grad():
            self.neck.weight[0], self.neck.bias[0] = 1 / (3 * 64), 0.0
            self.box.weight.zero_()
            self.box.bias[:] = torch.tensor([0.5, 0.5, 0.0, 0.0])
            self.kind.weight.zero_()
            self.kind.weight[1, 0], self.kind.bias[:] = 20.0, torch.tensor([-6.0, -10.0])

    def forward(self, x):
        seen = torch.relu(self.neck(x))
        offsets, kinds = self.box(seen), self.kind(seen).sigmoid()
        n = 64
        y, x_ = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        centres = (torch.stack((x_, y))[None] + offsets[:, :2]) * 8
        return torch.cat((centres, offsets[:, 2:].exp() * 8, kinds), 1).reshape(1, 6, n)


@pytest.fixture(scope="module")
def exported():
    """The small detector as a YOLOv8-style export."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Small().eval(), (torch.zeros(1, 3, SIDE, SIDE),), buffer, dynamo=False, opset_version=17,
            input_names=["images"], output_names=["output0"],
        )  # fmt: skip
    return buffer.getvalue()


def picture(spots, seed=0):
    """Dark, with bright cells of 8 px at (column, row)."""
    pixels = np.random.default_rng(seed).integers(0, 40, (SIDE, SIDE, 3)).astype(np.uint8)
    for column, row in spots:
        pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 230
    return pixels


PICTURES = [picture([(k % 8, k // 8), (7 - k % 8, 5)], k) for k in range(12)]


def test_what_the_heads_branch_from_becomes_an_output(exported):
    """Sixteen channels under a box and around it; scores; the sides."""
    widened = with_features(exported, feed("yolov8"))
    found = open_model({"onnx": widened}, msgspec.json.encode(description("yolov8")))
    assert found.candidates(PICTURES[0]).features.shape[1] == 2 + 2 + 2 * 16
    plain = open_model({"onnx": exported}, msgspec.json.encode(description("yolov8")))
    assert plain.candidates(PICTURES[0]).features.shape[1] == 2 + 2


def test_a_file_that_is_another_is_refused(exported):
    """Another size, no model, no feed."""
    with pytest.raises(ModelError, match=r"not \(1, 3, 96, 96\)"):
        with_features(exported, Feed("yolov8", (96, 96), "centre"))
    with pytest.raises(ModelError, match="no ONNX model"):
        with_features(b"junk", feed("yolov8"))
    with pytest.raises(ModelError, match="needs a feed"):
        brought(exported, Description(LABELS, "colour", (0.5, 0.5)), PICTURES)
    with pytest.raises(InputError, match="finds nothing"):
        brought(exported, description("yolov8"), [np.zeros((SIDE, SIDE, 3), np.uint8)])


def nothing(planes):
    return [np.zeros((1, 6, 64))]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"feed": None}, "has a feed"),
        ({"planes": "grey"}, "has a feed"),
        ({"thresholds": (0.5,)}, "one threshold a label"),
        ({"mean": (0.0,) * 9, "spread": (1.0,) * 9}, "4 features, its description 9"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(changed, words):
    """Each way."""
    wrong = msgspec.structs.replace(description("yolov8"), **changed)
    with pytest.raises(ModelError, match=words):
        BroughtModel(Network(nothing, "cpu"), wrong)
    with pytest.raises(ModelError, match="its description says"):
        BroughtModel(Network(nothing, "cpu", (32, 32)), description("yolov8"))


@pytest.fixture
def loop(exported, tmp_path):
    """A vertical on the brought detector."""
    path = tmp_path / "mine.bundle"
    path.write_bytes(brought(exported, description("yolov8"), PICTURES))
    return vertical(LoopConfig(tables={"inspection": {"start": str(path)}}))


def payload(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Payload(buffer.getvalue(), "image/png")


def seen(loop, pixels, name, head):
    """A prediction on a picture."""
    proposals = loop.propose(payload(pixels))
    observation = Observation(id=name, site="s", line="l", at=0.0, digest="d" * 64)
    outputs = loop.answer(proposals, head)
    more = {"confidence": 1.0, "proposals": proposals, "at": 0.0}
    return Prediction(id=name, observation=observation, version=0, outputs=outputs, **more)


def test_it_answers_as_itself_before_any_verdict(loop):
    """Spots are dents, at their places; the runtime is said."""
    outputs = loop.answer(loop.propose(payload(picture([(2, 3)]))), loop.start())
    assert [output.label for output in outputs] == ["dent"]
    np.testing.assert_allclose(outputs[0].region, (16, 24, 24, 32), atol=0.1)
    assert loop.runtime == RunsOn("cpu")
    assert loop.planes == "colour"


def test_the_reflex_works_on_top_of_it(loop):
    """Reviewers say that spots are scratches: after eight pictures, those never seen are answered so."""
    reflex = Reflex(loop.teach, loop.start(), LearnConfig())
    for number, pixels in enumerate(PICTURES[:8]):
        said = seen(loop, pixels, f"l:{number}", loop.start())
        claims = tuple(Claim(label="scratch", region=output.region) for output in said.outputs)
        word = Feedback(prediction=said.id, reviewer="ann", claims=claims, complete=True)
        reflex.learn([Change(0, None, Example(said, (word,)))])
    before = seen(loop, PICTURES[10], "l:10", loop.start())
    after = seen(loop, PICTURES[10], "l:10", reflex.head())
    assert {output.label for output in before.outputs} == {"dent"}
    assert {output.label for output in after.outputs} == {"scratch"}
    assert {o.region for o in after.outputs} == {o.region for o in before.outputs}


def test_the_command_brings_a_file(exported, tmp_path, capsys):
    """As it is in the README: a file, a folder of pictures, a bundle."""
    (tmp_path / "mine.onnx").write_bytes(exported)
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    out = tmp_path / "mine.bundle"
    words = [tmp_path / "mine.onnx", "--layout", "yolov8", "--labels", "scratch,dent", "--images", tmp_path]
    words += ["--out", out]
    bring.main([str(word) for word in words])
    assert "Set [inspection] start" in capsys.readouterr().out
    found = open_bundle(out.read_bytes(), BOXES)
    written = msgspec.json.decode(found.description, type=Description)
    assert written.feed == Feed("yolov8", (SIDE, SIDE), "centre")
    assert written.reduction is not None
    with pytest.raises(ModelError, match="cannot be read"):
        bring.main(["nowhere.onnx", *[str(word) for word in words[1:]]])
    (tmp_path / "mine.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError, match="no ONNX model"):
        bring.main([str(word) for word in words])


def test_queries_give_rows_of_features():
    """RT-DETR: the row of a box, not a cell."""
    boxes, scores = detr()
    rows = np.arange(5 * 8, dtype=float).reshape(5, 8)
    network = Network(lambda planes: [scores[None], boxes[None], rows[None]], "cpu")
    found = BroughtModel(network, description("rt-detr")).candidates(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert found.features.shape == (1, 2 + 2 + 8)
    np.testing.assert_array_equal(found.features[0, 4:], rows[3])
