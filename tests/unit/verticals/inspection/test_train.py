"""Training a start model: patches, schedule, a whole small run. Needs torch (extra `train`)."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'hotloop[train]'")

from PIL import Image

from hotloop.errors import InputError, ModelError, TemplateError
from hotloop.verticals.inspection import detector, train
from hotloop.verticals.inspection.boards import KINDS
from hotloop.verticals.inspection.detector import load
from hotloop.verticals.inspection.export import detector_to_onnx
from hotloop.verticals.inspection.pieces import LabelSet, Piece, Truth
from hotloop.verticals.inspection.score import Boxes, truths_of
from hotloop.verticals.inspection.train import Patch, PieceSource, Recipe, cut, disturb, fit, rate_at, turn

SMALL = Recipe(steps=3, batch=2, patch_px=64, seed=4)


def spotted(seed, planes=2, side=96):
    """A white picture with a black spot, boxed; a second plane without it."""
    rng = np.random.default_rng(seed)
    picture = np.full((planes, side, side), 255, np.uint8)
    x, y = (int(v) for v in rng.integers(8, side - 28, 2))
    picture[0, y : y + 16, x : x + 16] = 0
    return Patch(picture, np.array([[x - 4, y - 4, x + 20, y + 20.0]]), np.array([seed % 2]))


def test_cut_moves_boxes_and_pads():
    """Boxes move with the cut; one whose centre is outside goes; beyond the border the border goes on."""
    patch = spotted(0)
    x1, y1, _, _ = patch.boxes[0].astype(int)
    near = cut(patch, x1, y1, 96)
    assert near.planes.shape == (2, 96, 96)
    assert near.boxes.tolist() == [[0, 0, 24, 24]]
    assert len(cut(patch, x1 + 20, y1, 32).boxes) == 0
    assert len(cut(patch, x1 + 20, y1, 32).classes) == 0


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_turned_boxes_stay_on_their_spots(quarters, mirror):
    """After any mirroring and turning the box is still 4 pixels around the black spot."""
    turned = turn(spotted(3), quarters, mirror=mirror)
    ys, xs = np.nonzero(turned.planes[0] == 0)
    assert turned.boxes.tolist() == [[xs.min() - 4, ys.min() - 4, xs.max() + 5, ys.max() + 5]]
    assert turned.planes.shape == (2, 96, 96)


def test_four_quarters_are_none():
    """Turned four times, or mirrored twice, a patch is what it was."""
    patch = spotted(5)
    assert np.array_equal(turn(patch, 4, mirror=False).planes, patch.planes)
    twice = turn(turn(patch, 0, mirror=True), 0, mirror=True)
    assert np.array_equal(twice.boxes, patch.boxes)


def test_disturbed_patches_keep_their_truths():
    """A disturbed patch has the same truths and shape, is still black and white, and the original is untouched."""
    patch = spotted(1)
    before = patch.planes.copy()
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(30):
        other = disturb(patch, rng)
        assert np.array_equal(other.boxes, patch.boxes)
        assert set(np.unique(other.planes)) <= {0, 255}
        changed += not np.array_equal(other.planes, before)
    assert np.array_equal(patch.planes, before)
    assert 4 <= changed <= 30


def test_aim_is_mostly_at_truths():
    """Most cuts of a large piece hold its one truth."""
    wide = Patch(np.zeros((1, 1000, 1000), np.uint8), np.array([[500, 500, 520, 520.0]]), np.array([0]))
    rng = np.random.default_rng(0)
    held = [len(train.aim(wide, rng, 64).boxes) for _ in range(100)]
    assert 65 <= sum(held) <= 95


def test_rate_rises_then_falls():
    """The learning rate rises to its peak in the first twentieth and ends at a hundredth of it."""
    recipe = Recipe(steps=200, rate=1.0)
    rates = [rate_at(step, recipe) for step in range(200)]
    assert max(rates) == pytest.approx(1.0)
    assert int(np.argmax(rates)) <= 10
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] == pytest.approx(0.01, abs=0.005)


def test_drawn_boards_are_a_source():
    """Patches of drawn boards: two planes of black and white, boxes inside, the same from the same seeds."""
    first, again = (train.BoardSource(7, kept=1, per_patch=0.5) for _ in range(2))
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(3):
        patch, same = first.patch(one, 128), again.patch(other, 128)
        assert np.array_equal(patch.planes, same.planes)
        assert patch.planes.shape == (2, 128, 128)
        assert set(np.unique(patch.planes)) <= {0, 255}
        assert (patch.boxes >= 0).all()
        assert (patch.boxes <= 128).all()
        assert len(patch.boxes) == len(patch.classes)
        assert (patch.classes < len(KINDS)).all()


def test_pieces_are_a_source():
    """Patches of one's own pieces: their planes, lighter or darker, and their truths."""
    source = PieceSource([spotted(i, planes=1) for i in range(3)], ("spot", "dot"))
    patch = source.patch(np.random.default_rng(0), 64)
    assert source.inputs == 1
    assert patch.planes.dtype == np.uint8
    assert patch.planes.shape == (1, 64, 64)


def test_no_pieces_and_mixed_pieces_are_refused():
    """Nothing to train on, and pieces of which some have a template, are named."""
    with pytest.raises(InputError, match="no labelled piece"):
        PieceSource([], ("a",))
    with pytest.raises(InputError, match="one kind"):
        PieceSource([spotted(0, planes=1), spotted(1, planes=2)], ("a", "b"))


def test_a_run_is_its_seed():
    """The same recipe and source give the same weights; another seed others. Progress is reported a step."""
    pieces = [spotted(i) for i in range(4)]
    steps = []

    def weights(recipe):
        trained = fit(PieceSource(pieces, ("spot", "dot")), recipe, report=lambda step, loss: steps.append(loss))
        return torch.cat([value.float().flatten() for value in trained.state_dict().values()])

    first, again = weights(SMALL), weights(SMALL)
    assert len(steps) == 2 * SMALL.steps
    assert np.isfinite(steps).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, weights(Recipe(steps=3, batch=2, patch_px=64, seed=5)))


def test_a_trained_model_is_written_and_served(tmp_path, monkeypatch):
    """From pieces to files to candidates: the pair of files loads, and has the statistics of its features."""
    monkeypatch.setattr(train, "COLD_SCORE_MIN", 0.0)  # three steps are too few to say anything aloud
    pieces = [spotted(i) for i in range(4)]
    source = PieceSource(pieces, ("spot", "dot"))
    onnx = detector_to_onnx(fit(source, SMALL), source.inputs)
    description = train.describe(onnx, source, SMALL, pieces)
    train.save(onnx, description, tmp_path / "new" / "spots")
    model = load((tmp_path / "new/spots.onnx").read_bytes(), (tmp_path / "new/spots.json").read_bytes())
    assert model.description == description
    assert model.description.planes == "grey+template"
    assert json.loads(description.recipe)["steps"] == 3
    seen = model.candidates(pieces[0].planes[0], pieces[0].planes[1])
    assert seen.features.shape[1] == len(description.mean) == len(description.spread)
    assert min(description.spread) > 0


def test_training_begins_at_an_exported_model():
    """Weights that fit are taken over; a class head of other labels begins anew; another backbone is refused."""
    source = PieceSource([spotted(i) for i in range(2)], ("spot", "dot"))
    first = fit(source, SMALL)
    onnx = detector_to_onnx(first, 2)
    same = train.begun(source, SMALL, onnx).state_dict()
    state = {k: v for k, v in first.state_dict().items() if "num_batches" not in k}
    assert all(torch.equal(same[key], value) for key, value in state.items())
    other = train.begun(PieceSource([spotted(0)], ("a", "b", "c")), SMALL, onnx).state_dict()
    assert other["class_head.weight"].shape[0] == 3
    assert torch.equal(other["backbone.stem.0.0.weight"], state["backbone.stem.0.0.weight"])
    with pytest.raises(ModelError, match="no ONNX"):
        train.begun(source, SMALL, b"\xff\xff\xff")


def test_reduction_keeps_the_main_directions():
    """Rows that vary along two directions are told apart by two numbers, as long as their own ones."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 12)) + 5
    reduction = detector.reduction(rows, 2)
    short = reduction.apply(rows)
    plain = (rows - rows.mean(0)) / rows.std(0)
    assert short.shape == (200, 2)
    assert np.allclose(np.linalg.norm(short, axis=1), np.linalg.norm(plain, axis=1), rtol=0.01)
    assert detector.reduction(rows, 99).columns == 12


def test_a_model_that_finds_nothing_is_not_described(monkeypatch):
    """A model without a single candidate on the pieces it is checked on is refused, not shipped."""
    monkeypatch.setattr(train, "COLD_SCORE_MIN", 1.0)
    source = PieceSource([spotted(0)], ("spot", "dot"))
    onnx = detector_to_onnx(fit(source, SMALL), 2)
    with pytest.raises(InputError, match="finds nothing"):
        train.describe(onnx, source, SMALL, [spotted(1)])


def test_threshold_separates_right_from_wrong():
    """Right answers score 0.62, wrong ones 0.38: the threshold is the middle; without truths it is 0.5."""
    truth = truths_of([(0, 0, 10, 10)], [0])
    found = Boxes(np.array([[0, 0, 10, 10], [30, 30, 40, 40.0]]), np.array([0, 0]), np.array([0.62, 0.38]))
    assert train.best_threshold([(found, truth)] * 4, 2) == pytest.approx(0.5, abs=0.02)
    assert train.best_threshold([(found, truths_of([], []))], 2) == 0.5


def written(folder, name, shape, mode="L"):
    path = folder / name
    Image.new(mode, shape, 200 if mode == "L" else (200, 10, 10)).save(path)
    return path


def test_labelled_pieces_become_patches(tmp_path):
    """Image and template as planes, truths as boxes and classes; in colour three planes each."""
    image, template = written(tmp_path, "a.png", (40, 30)), written(tmp_path, "b.png", (40, 30), "RGB")
    piece = Piece(image, template, (Truth("dent", (1, 2, 9, 8)),))
    (patch,) = train.piece_patches(LabelSet(("crack", "dent"), (piece,)))
    assert patch.planes.shape == (2, 30, 40)
    assert patch.boxes.tolist() == [[1, 2, 9, 8]]
    assert patch.classes.tolist() == [1]
    (colour,) = train.piece_patches(LabelSet(("crack", "dent"), (piece,)), colour=True)
    assert colour.planes.shape == (6, 30, 40)
    assert colour.planes[3:, 0, 0].tolist() == [200, 10, 10]


def test_pieces_that_cannot_train_a_detector_are_refused(tmp_path):
    """A kind without a box, and a template of another size."""
    image, small = written(tmp_path, "a.png", (40, 30)), written(tmp_path, "b.png", (20, 30))
    with pytest.raises(InputError, match="trained on boxes"):
        train.piece_patches(LabelSet(("crack",), (Piece(image, None, (Truth("crack"),)),)))
    with pytest.raises(TemplateError, match="must be equal"):
        train.piece_patches(LabelSet(("crack",), (Piece(image, small),)))


def test_the_command_trains_on_a_folder(tmp_path, monkeypatch, capsys):
    """`train OUT --pieces FOLDER` reads labels, trains, writes the two files and says so."""
    folder = tmp_path / "pieces"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(3):
        patch = spotted(number, planes=1)
        Image.fromarray(patch.planes[0]).save(folder / "images" / f"{number}.png")
        x1, y1, x2, y2 = patch.boxes[0] / 96
        (folder / "labels" / f"{number}.txt").write_text(f"0 {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n")
    (folder / "data.yaml").write_text("names: [spot]\n")
    monkeypatch.setattr(train, "Recipe", SmallRecipe)
    monkeypatch.setattr(train, "COLD_SCORE_MIN", 0.0)
    train.main([str(tmp_path / "own"), "--pieces", str(folder), "--steps", "2"])
    assert "own.onnx" in capsys.readouterr().out
    model = load((tmp_path / "own.onnx").read_bytes(), (tmp_path / "own.json").read_bytes())
    assert model.description.labels == ("spot",)
    assert model.description.planes == "grey"


class SmallRecipe(Recipe):
    """A recipe of small patches and batches whatever the command says."""

    def __init__(self, backbone="compact", steps=2, rate=1e-3, seed=0):
        super().__init__(backbone=backbone, steps=steps, rate=rate, seed=seed, batch=2, patch_px=64)
