"""Fine-tuning the backbone for whole pieces: the features move the way the verdicts say, and nothing else changes
form.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hotloop.config import LoopConfig
from hotloop.errors import InputError, ModelError
from hotloop.feedback import verdict
from hotloop.sense.images import encode_png
from hotloop.types import Example, Observation, Payload, Prediction, Proposals, digest
from hotloop.verticals.inspection.bundle import LITE0, open_bundle
from hotloop.verticals.inspection.export import Pooled, to_onnx
from hotloop.verticals.inspection.nets.efficientnet import EfficientNetLite0
from hotloop.verticals.inspection.task import vertical
from hotloop.verticals.inspection.tune_whole import WholeRun, _varied


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The vertical on a network with random weights: no download, the same shapes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "lite0.onnx"
    path.write_bytes(to_onnx(Pooled(EfficientNetLite0()), (1, 3, 64, 64), ("features",)))
    return vertical(LoopConfig(tables={"inspection": dict(task="image", labels=["dent"], start=str(path))}))


def example(number, label=None):
    """A verified picture: dents are dark in the middle."""
    pixels = np.full((48, 48, 3), 180, np.uint8)
    pixels += np.random.default_rng(number).integers(0, 20, pixels.shape).astype(np.uint8)
    if label:
        pixels[16:32, 16:32] = 30
    data = encode_png(pixels)
    seen = Observation(id=f"p{number}", site="s", line="l", at=0.0, digest=digest(data))
    made = Prediction(
        id=seen.id, observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b"")
    )
    return Example(made, (verdict(seen.id, [(label, None)] if label else [], "ann"),)), Payload(data)


def test_a_step_depends_on_its_number_alone_and_the_state_goes_on(whole, monkeypatch):
    """Stopped after two steps and gone on, it is where an uninterrupted run is."""
    monkeypatch.setattr("hotloop.verticals.inspection.tune_whole._BATCH", 2)
    pairs = [example(k, "dent" if k % 2 else None) for k in range(4)]
    payloads = {e.prediction.id: p for e, p in pairs}
    made = [WholeRun(whole, [e for e, _ in pairs], lambda e: payloads[e.prediction.id], 0) for _ in range(2)]
    for run in made:
        run.restart(3)
    losses = [made[0].step(k) for k in range(3)]
    assert all(np.isfinite(losses))
    for k in range(2):
        made[1].step(k)
    again = WholeRun(whole, [e for e, _ in pairs], lambda e: payloads[e.prediction.id], 0)
    again.restart(3)
    again.restore(made[1].state())
    again.step(2)
    for key, value in made[0].state().items():
        torch.testing.assert_close(again.state()[key], value, rtol=0, atol=0)
    bundle = made[0].bundle()
    after = whole.revived(bundle)
    assert open_bundle(bundle, LITE0).kind == LITE0
    assert (after.labels, after.recipe) == (whole.labels, whole.recipe)
    moved = after.propose(payloads["p1"]).array() - whole.propose(payloads["p1"]).array()
    assert np.abs(moved).max() > 0


def test_words_without_weight_or_kind_teach_nothing(whole):
    """Then there is nothing to train on, which is said."""
    one, payload = example(0, "dent")
    with pytest.raises(InputError, match="no verified piece"):
        WholeRun(whole, [Example(one.prediction, one.feedback, (0.0,))], lambda _: payload, 0)


def test_the_shipped_maps_cannot_be_trained_as_a_whole():
    """They are a detector's: it is said which network can be."""
    shipped = vertical(LoopConfig(tables={"inspection": dict(task="image", labels=["dent"])}))
    one, payload = example(0, "dent")
    with pytest.raises(ModelError, match="lite0"):
        WholeRun(shipped, [one], lambda _: payload, 0)


def test_a_varied_picture_is_of_the_same_form():
    """Mirrored, shifted, lighter: still uint8 of the same size, and seldom the same."""
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    made = [_varied(picture, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in made)
    assert len({one.tobytes() for one in made}) == 8
