"""`[inspection]`: its defaults, its paths, and what is refused with its key."""

from __future__ import annotations

import pytest

from hotloop.config import LoopConfig, load, parse
from hotloop.errors import ConfigError
from hotloop.verticals.inspection.settings import InspectionConfig, settings_of


def given(text):
    return settings_of(parse(f"[inspection]\n{text}\n"))


def test_a_loop_without_the_table_has_the_defaults():
    """Boxes, the shipped start model, with references."""
    found = settings_of(LoopConfig())
    assert found == InspectionConfig()
    assert (found.task, found.start, found.reference, found.good) == ("boxes", "boards", True, "ok")


def test_every_key_can_be_set():
    """As TOML has them."""
    found = given(
        'task = "image"\nstart = "none"\nlabels = ["a", "b"]\ngood = "fine"\nreference = false\n'
        "[inspection.images]\npixels_max = 5"
    )
    assert (found.task, found.start, found.labels, found.good) == ("image", "none", ("a", "b"), "fine")
    assert not found.reference
    assert found.images.pixels_max == 5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('task = "sound"', "task"),
        ("labels = 3", "labels"),
        ('good = ""', "good"),
        ('reference = "yes"', "reference"),
        ("colour = 1", "colour"),
        ("images = {pixels_max = 0}", "pixels_max"),
        ('labels = ["dent", "crack", "dent"]', "labels"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(text, named):
    """An unknown key, another type, a value out of its limits, a label that stands twice."""
    with pytest.raises(ConfigError, match=rf"(?s)\[inspection\].*{named}"):
        given(text)


def test_paths_are_seen_from_the_settings_own_folder(tmp_path):
    """Relative ones become absolute; the names of what is shipped stay names."""
    path = tmp_path / "loop.toml"
    path.write_text('[inspection]\nstart = "own.onnx"\nlabelled = "pieces"\n')
    found = settings_of(load(path))
    assert found.start == str(tmp_path / "own.onnx")
    assert found.labelled == str(tmp_path / "pieces")
    path.write_text('[inspection]\nstart = "boards"\n')
    assert (settings_of(load(path)).start, settings_of(load(path)).labelled) == ("boards", "")


def test_absolute_paths_stay(tmp_path):
    """Wherever the settings are."""
    path = tmp_path / "loop.toml"
    path.write_text('[inspection]\nstart = "/models/own.onnx"\n')
    assert settings_of(load(path)).start == "/models/own.onnx"
