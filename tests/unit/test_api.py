"""hotloop without a server: open, predict, tell; what is wrong is said at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import hotloop
from hotloop.api import as_bytes, settled
from hotloop.config import own_table
from hotloop.errors import ConfigError, InputError, ModelError, NotFoundError
from hotloop.loading import load_vertical
from hotloop.verticals.vectors import VectorsConfig

VECTORS = {"vertical": "vectors", "labels": ["ok", "worn"], "columns": 2, "store": {"free_bytes_min": 1}}


@pytest.fixture
def loop(tmp_path):
    with hotloop.open(tmp_path / "loop", **VECTORS) as found:
        yield found


def test_the_next_prediction_has_learned_it(loop):
    """The example of the package's docstring."""
    prediction = loop.predict([3.0, 1.0])
    receipt = loop.feedback(prediction.id, "worn", reviewer="ann")
    assert receipt.known
    found = loop.predict([3.0, 1.0])
    assert (found.outputs[0].label, found.version) == ("worn", 2)


@pytest.mark.parametrize("truth", ["worn", [("worn", None)], (("worn", None),)])
def test_a_truth_may_be_a_label_or_a_list(loop, truth):
    """One label is short for a list of one."""
    loop.feedback(loop.predict([3.0, 1.0]), truth)
    assert loop.predict([3.0, 1.0]).outputs[0].label == "worn"


def test_right_and_wrong_are_words_too(loop):
    """True teaches what was said; False that nothing of it is there; by prediction or by its id."""
    prediction = loop.predict([3.0, 1.0])
    loop.feedback(prediction, truth=True)
    assert loop.predict([3.0, 1.0]).outputs[0].score > 0
    loop.feedback(prediction.id, truth=True, reviewer="bob")
    assert loop.feedback(prediction.id, truth=False, reviewer="cleo").known


def test_right_of_what_is_not_known_cannot_be_learned(loop):
    """There is no prediction to agree with."""
    with pytest.raises(NotFoundError):
        loop.feedback("nobody:1", truth=True)
    loop.feedback("nobody:2", "ok")
    with pytest.raises(InputError, match="give the truth itself"):
        loop.feedback("nobody:2", truth=True)


def test_feedback_that_cannot_be_is_said_at_once(loop):
    """An unknown label, a reviewer without a name."""
    prediction = loop.predict([3.0, 1.0])
    with pytest.raises(InputError, match="ok, worn"):
        loop.feedback(prediction, "wron")
    with pytest.raises(ConfigError, match="reviewer"):
        loop.feedback(prediction, "worn", reviewer="")
    assert loop.learn() == 1


def test_a_loop_is_kept(tmp_path):
    """Opened again, it goes on where it was."""
    for version in (1, 2, 3):
        with hotloop.open(tmp_path / "loop", **VECTORS) as loop:
            prediction = loop.predict([3.0, 1.0])
            assert prediction.version == version
            loop.feedback(prediction, "worn" if version % 2 else "ok")


def test_the_report_counts(loop):
    """Each verified prediction."""
    for x in ([1.0, 2.0], [3.0, 4.0]):
        loop.feedback(loop.predict(x), "ok")
    assert loop.report().quality.examples == 2


def test_a_loop_toml_says_it_all(tmp_path):
    """By its path, or beside the data; and then without further settings."""
    path = tmp_path / "loop.toml"
    path.write_text("vertical = 'vectors'\n[vectors]\nlabels = ['a', 'b']\ncolumns = 1\n[store]\nfree_bytes_min = 1")
    for where in (path, tmp_path):
        with hotloop.open(where) as loop:
            assert loop.predict([1.0]).outputs[0].label == "a"
            assert loop.config.store.folder == str(tmp_path / "hotloop-data")
    with pytest.raises(ConfigError, match="without further settings"):
        hotloop.open(path, columns=3)
    with pytest.raises(ConfigError, match="without further settings"):
        hotloop.open(tmp_path, columns=3)


def test_a_loop_that_could_not_be_opened_is_let_go_of(tmp_path):
    """The stores are free again: mended, the same process opens them."""
    for folder in ("one", "two"):
        with hotloop.open(tmp_path / folder, **VECTORS) as loop:
            loop.feedback(loop.predict([3.0, 1.0]), "worn")
    registry = tmp_path / "one" / "registry.sqlite"
    log = tmp_path / "one" / "log.sqlite"
    kept = {path: path.read_bytes() for path in (tmp_path / "one").iterdir() if path.name.startswith("log.sqlite")}
    for path in kept:
        path.unlink()
    assert registry.exists()
    with pytest.raises(ModelError, match="two different loops"):
        hotloop.open(tmp_path / "one", **VECTORS)
    for path in (tmp_path / "one").iterdir():
        if path.name.startswith("log.sqlite"):
            path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    assert log.exists()
    with hotloop.open(tmp_path / "one", **VECTORS) as loop:
        assert loop.learn() == 2


def test_settings_are_those_of_loop_toml(tmp_path):
    """Top-level keys, whole tables, and the vertical's own keys for short; the stores are in the folder."""
    config = settled(tmp_path, {**VECTORS, "site": "plant-2", "gate": {"alpha": 0.01}, "vectors": {"projected": 8}})
    assert (config.site, config.gate.alpha) == ("plant-2", 0.01)
    own = own_table(config, "vectors", VectorsConfig)
    assert (own.labels, own.columns, own.projected) == (("ok", "worn"), 2, 8)
    assert (config.store.folder, config.store.free_bytes_min) == (str(tmp_path), 1)


def test_keys_that_the_core_has_not_are_the_verticals(tmp_path):
    """They go to its own table."""
    assert settled(tmp_path, {"vertical": "robots", "speed": 3}).tables == {"robots": {"speed": 3}}


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"colour": 3}, "colour"), ({"task": 7}, "inspection.task"), ({"gate": {"alpha": 2}}, "gate.alpha")],
)
def test_a_setting_that_there_is_not_is_named(tmp_path, settings, named):
    """As in loop.toml."""
    with pytest.raises(ConfigError, match=named):
        load_vertical(settled(tmp_path, settings))


def test_what_a_sensor_gives_becomes_bytes(tmp_path):
    """Bytes as they are, files by path, vectors as JSON, arrays as PNG."""
    path = tmp_path / "a.png"
    path.write_bytes(b"file")
    assert as_bytes(b"raw") == b"raw"
    assert as_bytes(path) == as_bytes(str(path)) == b"file"
    assert as_bytes([1, 2.5]) == as_bytes(np.array([1, 2.5])) == b"[1.0,2.5]"
    for shape in ((4, 5), (4, 5, 3)):
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(as_bytes(array)))), array)


@pytest.mark.parametrize(
    "sensed",
    [np.zeros((2, 2)), np.zeros((1, 2, 3, 4), np.uint8), np.uint8(3), ["a", "b"], [[1, 2], [3]], [None], "gone.png",
     object()],
)  # fmt: skip
def test_what_is_no_sensor_data_is_an_input_error(sensed):
    """Named by type and shape, or by path."""
    with pytest.raises(InputError):
        as_bytes(sensed)
