"""What a line answers with: one whole version at a time, and never an older or a misfitting one."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from hotloop.errors import InputError, ModelError
from hotloop.predict import Predictor, pack_head
from hotloop.predict.predictor import confidence
from hotloop.types import Head, Model, Observation, Output, Payload
from hotloop.verticals.vectors import Vectors, VectorsConfig

SEEN = Observation(id="o", site="s", line="l", at=1.0, digest="d")
LABELS = ("ok", "worn")
RECIPE = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0).recipe


@pytest.fixture
def vertical():
    return Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0)


def model(version, bias, rows=2):
    """A model that says "worn" for x > bias (weights: constant, x)."""
    weights = np.zeros((rows, 2))
    weights[:2, 1] = (0.5 - bias, 1.0)
    weights[0, 0] = 0.5
    return Model(
        version=version,
        parent=version - 1,
        tier="reflex",
        backbone="",
        head=pack_head(Head(LABELS, weights, (0.5, 0.5))),
        labels=LABELS,
        recipe=RECIPE,
    )


def test_it_begins_with_the_start_model(vertical):
    """Before any release it answers with version 0, the vertical's own head."""
    found = Predictor(vertical).predict("k", SEEN, Payload(b"[3.0]"), now=lambda: 5.0)
    assert (found.id, found.version, found.observation, found.at) == ("k", 0, SEEN, 5.0)
    assert found.outputs == (Output("ok", 0.0),)


def test_an_installed_model_answers(vertical):
    """From the next piece on, its version is on each prediction, with the features to learn from."""
    predictor = Predictor(vertical)
    assert predictor.install(model(1, bias=2.0))
    found = predictor.predict("k", SEEN, Payload(b"[3.0]"), now=lambda: 5.0)
    assert found.version == predictor.version == 1
    assert found.outputs[0].label == "worn"
    assert found.confidence == found.outputs[0].score
    np.testing.assert_array_equal(found.proposals.array(), [[3.0]])


@pytest.mark.parametrize("version", [0, 1, 2])
def test_an_older_model_is_not_installed(vertical, version):
    """A late message does not take the line back."""
    predictor = Predictor(vertical)
    predictor.install(model(2, bias=2.0))
    assert not predictor.install(model(version, bias=9.0))
    assert predictor.predict("k", SEEN, Payload(b"[3.0]"), now=lambda: 0).outputs[0].label == "worn"


def test_a_model_of_another_backbone_is_refused(vertical):
    """As many features are not the same features."""
    predictor = Predictor(vertical)
    with pytest.raises(ModelError, match="same start model"):
        predictor.install(msgspec.structs.replace(model(2, bias=2.0), backbone="b" * 64))
    assert predictor.version == 0


def test_a_head_for_other_features_is_refused_and_the_line_goes_on(vertical):
    """A model of another backbone leaves the version that answers."""
    predictor = Predictor(vertical)
    predictor.install(model(1, bias=2.0))
    with pytest.raises(ModelError, match="stays at version 1"):
        predictor.install(model(2, bias=2.0, rows=5))
    assert predictor.version == 1


def test_bytes_that_are_no_head_are_refused_and_the_line_goes_on(vertical):
    """A damaged model leaves the version that answers."""
    predictor = Predictor(vertical)
    broken = Model(version=1, parent=0, tier="reflex", backbone="", head=b"?", labels=LABELS, recipe=RECIPE)
    with pytest.raises(ModelError):
        predictor.install(broken)
    assert predictor.version == 0


def test_a_payload_that_cannot_be_read_is_an_error(vertical):
    """The sender is told; nothing is made up."""
    with pytest.raises(InputError):
        Predictor(vertical).predict("k", SEEN, Payload(b"[1.0, 2.0]"), now=lambda: 0)


def test_predicting_does_not_learn(vertical):
    """The same piece twice gives the same answer."""
    predictor = Predictor(vertical)
    predictor.install(model(1, bias=2.0))
    first, second = (predictor.predict("k", SEEN, Payload(b"[2.5]"), now=lambda: 0) for _ in range(2))
    assert first == second


def test_no_prediction_mixes_two_versions(vertical):
    """While another thread installs, version and answer always belong together."""
    predictor = Predictor(vertical)
    models = [model(k, bias=2.0 if k % 2 else 4.0) for k in range(1, 200)]
    predictor.install(models[0])
    thread = threading.Thread(target=lambda: [predictor.install(m) for m in models[1:]])
    thread.start()
    while predictor.version < 199:
        found = predictor.predict("k", SEEN, Payload(b"[3.0]"), now=lambda: 0)
        assert found.outputs[0].label == ("worn" if found.version % 2 else "ok")
    thread.join()


def test_a_piece_is_as_sure_as_its_least_sure_output():
    """The minimum; 1 if nothing was said."""
    assert confidence((Output("a", 0.9), Output("b", 0.3))) == 0.3
    assert confidence(()) == 1.0


def test_a_model_of_another_recipe_is_refused(vertical):
    """With another seed or scale the same weights mean something else: the line says so and stays."""
    predictor = Predictor(vertical)
    strange = msgspec.structs.replace(model(1, 0.0), recipe="vectors 1+0, scaled by ?, seed 9")
    with pytest.raises(ModelError, match="seed 9"):
        predictor.install(strange)
    assert predictor.version == 0
