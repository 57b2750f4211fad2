"""The pictures: they are drawn, whatever the report holds, and show what it says."""

import numpy as np
import pytest
from PIL import Image

from hotloop.measure import Measures, plots
from hotloop.types import Outcome

T = 1_700_000_000.0


def pixels(path):
    """A picture's pixels; it must be a whole PNG of the stated width."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width == 1500
        return np.asarray(image.convert("RGB"), dtype=float)


@pytest.fixture
def measures(story, example):
    """Thirty turns of a loop, one refresh among them, one reviewer's clock ahead."""
    measures = Measures()
    for i in range(30):
        name, at = f"p{i}", T + 10 * i
        measures.add(story.prediction(name, at=at, version=i + 1, observed=at - 0.5))
        told = story.feedback(name, at=at + 2, given=at + (100 if i == 5 else 1))
        measures.add(told)
        measures.judged(example(name, version=i + 1), (Outcome("hit" if i % 4 else "missed", "open"),), told)
        tier = "refresh" if i == 25 else "reflex"
        measures.add(story.release(i + 2, story.offset, at + 3, tier=tier))
        measures.add(story.live(i + 2, at=at + 4))
    return measures


@pytest.mark.parametrize("draw", [plots.learning_curve, plots.waterfall_chart])
def test_a_picture_is_drawn_and_is_not_that_of_nothing(tmp_path, measures, draw):
    """Figures change the picture."""
    draw(measures.report("boards"), tmp_path / "full.png")
    draw(Measures().report("boards"), tmp_path / "empty.png")
    full, empty = pixels(tmp_path / "full.png"), pixels(tmp_path / "empty.png")
    assert np.abs(full - empty).mean() > 1 if full.shape == empty.shape else full.size > 0
    assert full.min() < 60


def test_one_example_is_a_dot(tmp_path, story, example):
    """A line through one point would not be seen."""
    measures = Measures()
    told = story.feedback("p", at=T)
    measures.add(told)
    measures.judged(example("p"), (Outcome("hit", "open"),), told)
    plots.learning_curve(measures.report("x"), tmp_path / "one.png")
    assert pixels(tmp_path / "one.png").min() < 60


def test_the_picture_is_the_same_for_the_same_report(tmp_path, measures):
    """No clock and no chance in a picture."""
    report = measures.report("boards")
    for name in ("a.png", "b.png"):
        plots.waterfall_chart(report, tmp_path / name)
    assert (pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")).all()


def test_delays_side_by_side(tmp_path):
    """Each delay adds a line; without any the picture is empty but whole."""
    plots.what_if({}, tmp_path / "none.png")
    curve = ([0.0, 1.0, 2.0], [0.4, 0.7, 0.9], [0.3, 0.6, 0.8], [0.5, 0.8, 1.0])
    plots.what_if({"0 s": curve, "1 day": (curve[0], [0.4] * 3, [0.3] * 3, [0.5] * 3)}, tmp_path / "two.png")
    assert (pixels(tmp_path / "none.png") != pixels(tmp_path / "two.png")).any()
