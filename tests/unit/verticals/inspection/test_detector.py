"""The start model on a line: candidates from images, and what is refused."""

import threading

import msgspec
import numpy as np
import pytest

from hotloop.errors import ImageError, ModelError, TemplateError
from hotloop.predict import runtimes
from hotloop.predict.runtimes import open_network
from hotloop.verticals.inspection import detector
from hotloop.verticals.inspection.boards import draw_board
from hotloop.verticals.inspection.detector import (
    Description,
    Reduction,
    StartModel,
    boards_files,
    boards_model,
    distinct,
    load,
)
from hotloop.verticals.inspection.score import overlaps


@pytest.fixture(scope="module")
def model():
    """The shipped start model."""
    return boards_model()


@pytest.fixture(scope="module")
def board():
    """A drawn board with defects."""
    return next(b for b in map(lambda s: draw_board(s, size_px=320), range(50, 70)) if len(b.defects) >= 2)


def test_drawn_defects_are_among_the_candidates(model):
    """On drawn boards nearly every defect has a candidate on it: what has none can never be answered."""
    found = there = 0
    for seed in range(2_000_000, 2_000_006):
        drawn = draw_board(seed, size_px=320)
        seen = model.candidates(drawn.test, drawn.template)
        truths = np.array([d.box for d in drawn.defects], float).reshape(-1, 4)
        if len(truths):
            found += int((overlaps(truths, seen.regions).max(1, initial=0) > 0.33).sum())
            there += len(truths)
    assert there >= 6
    assert found >= 0.85 * there


def test_candidates_have_their_form(model, board):
    """At most 64; regions inside the image, with area; scores best first; features float16 that begin with them."""
    seen = model.candidates(board.test, board.template)
    count = len(seen.regions)
    assert 1 <= count <= detector.CANDIDATES_MAX
    assert seen.scores.shape == (count, 6)
    assert seen.features.shape == (count, model.columns)
    assert seen.features.dtype == np.float16
    assert (np.diff(seen.scores.max(1)) <= 0).all()
    assert (seen.regions >= 0).all()
    assert (seen.regions <= 320).all()
    assert (seen.regions[:, 2:] > seen.regions[:, :2]).all()
    assert np.array_equal(seen.features[:, :6], seen.scores.astype(np.float16))


def test_candidates_overlap_loosely_at_most(model, board):
    """No two candidates share more than half."""
    seen = model.candidates(board.test, board.template)
    shares = overlaps(seen.regions, seen.regions) - np.eye(len(seen.regions))
    assert shares.max() <= detector.OVERLAP_MAX


def test_the_same_image_gives_the_same_bits(model, board):
    """Asked twice, or by two threads at once, the answer is the same to the last bit."""
    first = model.candidates(board.test, board.template)
    others = []

    def ask():
        others.append(model.candidates(board.test, board.template))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(others) == 2
    for other in others:
        assert np.array_equal(first.features, other.features)
        assert np.array_equal(first.regions, other.regions)


@pytest.mark.parametrize("shape", [(33, 65), (1, 1), (31, 320), (64, 32)])
def test_any_size_is_taken(model, shape):
    """Sides need not be multiples of the stride; regions stay inside the image."""
    rng = np.random.default_rng(0)
    image = np.where(rng.random(shape) < 0.5, 0, 255).astype(np.uint8)
    seen = model.candidates(image, np.full(shape, 255, np.uint8))
    assert (seen.regions <= np.array([shape[1], shape[0], shape[1], shape[0]])).all()


def test_a_flawless_piece_has_no_strong_candidate(model):
    """An image that equals its template is good: nothing reaches its threshold."""
    plain = np.full((128, 128), 255, np.uint8)
    plain[40:60] = 0
    seen = model.candidates(plain, plain)
    assert (seen.scores < np.array(model.description.thresholds)).all()


def test_padding_is_no_difference(model, board):
    """Cut to a size that is no multiple of the stride, the same defects are found."""
    whole = model.candidates(board.test, board.template)
    cut = model.candidates(board.test[:310, :315], board.template[:310, :315])
    sure = whole.regions[(whole.scores.max(1) > 0.5) & (whole.regions[:, 2:] < 270).all(1)]
    assert not len(sure) or (overlaps(sure, cut.regions).max(1) > 0.5).all()


def test_template_is_needed_and_must_fit(model, board):
    """Without its template, or with one of another size, the image is refused by name."""
    with pytest.raises(TemplateError, match="there is none"):
        model.candidates(board.test)
    with pytest.raises(TemplateError, match="must be equal"):
        model.candidates(board.test, board.template[:-1])


@pytest.mark.parametrize("shape", [(20, 20, 3), (20,), (0, 20), (2, 2, 2, 2)])
def test_arrays_that_are_no_grey_image_are_refused(model, shape):
    """Colour, lines and nothing are not what the model sees."""
    with pytest.raises(ImageError, match="grey image"):
        model.candidates(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_bytes_that_are_no_model_are_refused():
    """Noise, nothing, and a model cut short raise a named error."""
    onnx, description = boards_files()
    for data in (b"", b"\x00" * 64, b"hello", onnx[: len(onnx) // 2], onnx[:-3]):
        with pytest.raises(ModelError):
            load(data, description)


def test_a_model_that_is_too_large_is_not_opened(monkeypatch):
    """The size is checked before anything is parsed."""
    monkeypatch.setattr(runtimes, "MODEL_BYTES_MAX", 10)
    with pytest.raises(ModelError, match="more than 10"):
        load(*boards_files())


def test_external_data_is_not_followed():
    """Bytes that refer to weights in another file are refused, wherever the reference is."""
    with pytest.raises(ModelError, match="another file"):
        load(boards_files()[0] + b"j\x0e\n\x08location\x12\x02..", boards_files()[1])


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"labels": []}', b"\xff", b'{"labels": ["a"], "planes": "infra"}']
)
def test_a_description_that_is_none_is_refused(data):
    """Wrong JSON, wrong keys, wrong values."""
    with pytest.raises(ModelError, match="description"):
        load(boards_files()[0], data)


def changed(**fields):
    return msgspec.structs.replace(boards_model().description, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": ("a", "b")},
        {"mean": (0.0,) * 5},
        {"spread": (1.0,) * 7},
        {"thresholds": (0.5,)},
        {"reduction": Reduction((0.0,) * 4, (1.0,) * 4, 2, b"\0" * 16)},
        {"planes": "grey"},
        {"planes": "colour"},
    ],
)
def test_files_that_are_no_pair_are_refused(fields):
    """A description of other labels, features or planes than the model has does not load."""
    with pytest.raises(ModelError):
        StartModel(open_network({"onnx": boards_files()[0]}), changed(**fields))


def test_description_survives_json():
    """Written and read again it is the same; an unknown key is refused."""
    description = changed()
    data = msgspec.json.encode(description)
    assert msgspec.json.decode(data, type=Description) == description
    with pytest.raises(ModelError, match="description"):
        load(boards_files()[0], data[:-1] + b',"colour":1}')


def test_reduction_is_a_projection_of_bounded_rows():
    """(row - mean) / spread, held within the limit, times the basis; a row of another length is refused."""
    basis = np.array([[1, 0], [0, 2], [0, 0]], "<f2")
    reduction = Reduction((1.0, 0.0, 0.0), (2.0, 1.0, 1.0), 2, basis.tobytes())
    assert reduction.apply(np.array([[5.0, 1.0, 9.0], [1e9, -1e9, 0.0]])).tolist() == [[2, 2], [6, -12]]
    with pytest.raises(ModelError, match="expects 3"):
        reduction.apply(np.zeros((1, 4)))


def test_distinct_keeps_the_better_of_two():
    """The first of two that overlap stays; boxes without area never do; no more than asked for."""
    regions = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [5, 5, 5, 9], [20, 20, 30, 30], [40, 40, 50, 50.0]])
    assert distinct(regions, 0.5, 9).tolist() == [0, 3, 4]
    assert distinct(regions, 0.5, 2).tolist() == [0, 3]
    assert distinct(regions, 0.95, 9).tolist() == [0, 1, 3, 4]
    assert distinct(np.zeros((0, 4)), 0.5, 9).tolist() == []


def test_read_equals_a_plain_loop():
    """Pooled features around a location, at the border too, are what a loop over cells gives."""
    rng = np.random.default_rng(0)
    scores = rng.random((2, 5, 6)).astype(np.float32)
    maps = [rng.random((3, 5, 6)).astype(np.float32) for _ in range(3)]
    rows, columns = np.array([0, 4, 2]), np.array([0, 5, 3])
    named = {"scores": scores, "classes": maps[0], "boxes": maps[1], "context": maps[2]}
    wanted = []
    for row, column in zip(rows, columns, strict=True):
        parts = []
        for name, reach, how in detector.READ:
            cells = [
                named[name][:, min(max(row + dy, 0), 4), min(max(column + dx, 0), 5)]
                for dy in range(-reach, reach + 1)
                for dx in range(-reach, reach + 1)
            ]
            parts.append(np.mean(cells, 0) if how == "mean" else np.max(cells, 0))
        wanted.append(np.concatenate(parts))
    assert np.allclose(detector.read(scores, maps, rows, columns), np.array(wanted), atol=1e-6)


def test_pooled_features_tell_images_apart(model):
    """The whole image's features have one length whatever its size, and differ between images."""
    plain = np.full((64, 96), 255, np.uint8)
    flat = model.pooled(plain, plain)
    lines = np.full((128, 64), 255, np.uint8)
    lines[::9] = 0
    busy = model.pooled(lines, np.full((128, 64), 255, np.uint8))
    assert flat.shape == busy.shape
    assert np.abs(flat - busy).max() > 0.1
