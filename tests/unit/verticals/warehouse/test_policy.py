"""A policy as a record: its bytes, its digest, and what it makes of a head."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError, ModelError
from hotloop.types import Payload, digest
from hotloop.verticals.warehouse.classic import CLASSIC
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.policy import DEAR_MAX, Routing, place_of, routing_of, steered
from hotloop.verticals.warehouse.task import FACTORS, vertical

from .test_task import TABLE, payload, taught

PLACES = 8  # six aisles, two cross-aisles


@pytest.fixture
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))


def made(**routing):
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE | {"routing": routing}}))


def test_what_is_built_in_has_no_digest_and_the_same_recipe_as_ever(task):
    """So that logs of before there were policies are replayed as they are."""
    assert task.backbone == ""
    layout = '{"aisles":6,"blocks":1,"block_m":30.0,"parts":3,"apart_m":4.0,"speed_m_s":1.5,"depot":0}'
    assert task.recipe == f'warehouse {{"layout":{layout},"draws":6,"spread":0.3}}, seed 0'
    other = made(router="return")
    assert other.backbone == digest(other.bundle())
    assert other.recipe == task.recipe, "what is learned does not depend on the policy"


def test_a_policy_survives_its_bundle(task):
    """And is known by its digest, be it what is built in or not."""
    for routing in (Routing(), Routing(router="combined", explores=0.5, congestion=(0.25,) * PLACES)):
        again = task.revived(routing.bundle())
        assert again.routing == routing
        assert again.backbone == digest(again.bundle()) == digest(routing.bundle())
        assert again.recipe == task.recipe
        assert again.labels == task.labels


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        (b"", "no bytes"),
        (b"junk", "no policy of a warehouse"),
        (b"\xff\xfe", "no policy of a warehouse"),
        (b'{"router": "teleport"}', "no policy of a warehouse"),
        (b'{"unheard": 1}', "no policy of a warehouse"),
        (b'{"explores": -1}', "no policy of a warehouse"),
        (b"[" * 5000, "no policy of a warehouse"),
        (b" " * 200_000, "at most 100000 bytes"),
        (Routing(congestion=(0.1,)).bundle(), "8 places"),
        (Routing(congestion=(-0.1,) * PLACES).bundle(), "0 to 3 times"),
        (Routing(congestion=(DEAR_MAX + 1,) * PLACES).bundle(), "0 to 3 times"),
        (b'{"congestion": [1e999,0,0,0,0,0,0,0]}', "no policy|0 to 3 times"),
    ],
)
def test_bytes_that_are_no_policy_are_refused(task, bundle, words):
    """By name, whatever they are."""
    with pytest.raises(ModelError, match=words):
        task.revived(bundle)


def test_settings_that_do_not_fit_are_refused_at_the_start():
    """A value of congestion of another layout."""
    with pytest.raises(ConfigError, match="8 places"):
        made(congestion=[0.1, 0.1])


def test_places_are_aisles_and_then_cross_aisles():
    """Every stretch is in one of them."""
    layout = Layout(LayoutConfig(aisles=4, blocks=2, parts=2))
    places = place_of(layout)
    assert len(places) == layout.stretches
    assert places[layout.part(2, 3)] == 2
    assert [places[layout.cross(k, 1)] for k in range(3)] == [4, 5, 6]
    assert np.bincount(places).tolist() == [4, 4, 4, 4, 3, 3, 3]


def test_exploring_draws_samples_to_the_mean(task):
    """0 makes them all the mean of the classes, 1 leaves them; classes are never touched."""
    head = taught(task, lambda stretch: 1.0 + stretch % 3, 20).head()
    centres = np.array(list(FACTORS.values()))
    args = (task.layout, centres, 1e-3)
    assert steered(head, Routing(), *args) is head
    spreads = []
    for explores in (0.0, 0.5, 1.0, 2.0):
        found = steered(head, Routing(explores=explores, congestion=(0.0,) * PLACES), *args)
        np.testing.assert_array_equal(found.weights[:, : len(FACTORS)], head.weights[:, : len(FACTORS)])
        mean = head.weights[:, : len(FACTORS)] @ centres * 1e-3
        spreads.append(np.abs(found.weights[:, len(FACTORS) :] - mean[:, None]).sum())
    np.testing.assert_allclose(spreads, np.array([0.0, 0.5, 1.0, 2.0]) * spreads[2], atol=1e-12)


def test_a_dear_place_is_gone_round(task):
    """Where robots are in each other's way a tour goes elsewhere, though it takes longer by itself."""
    proposals = task.propose(payload([1, 28.0], [4, 28.0]))
    head = task.start()
    back = task.layout.config.blocks
    across = {task.layout.cross(back, aisle) for aisle in range(5)}
    plain = {stretch for tour in task.chosen(proposals, head)[0] for stretch, _ in tour}
    assert plain & across
    dear = task.revived(Routing(congestion=(0.0,) * 7 + (DEAR_MAX,)).bundle())
    gone = [{stretch for stretch, _ in tour} & across for tour in dear.chosen(proposals, head)[0]]
    assert sum(map(len, gone)) < sum(len({s for s, _ in tour} & across) for tour in task.chosen(proposals, head)[0])


@pytest.mark.parametrize("router", list(CLASSIC))
def test_a_classic_router_goes_its_way_whatever_is_learned(task, router):
    """By a chance of 1."""
    fixed = task.revived(Routing(router=router).bundle())
    head = taught(task, lambda stretch: 1.0 + stretch % 3, 5).head()
    picks = [(1, 10.0), (3, 20.0), (4, 5.0)]
    proposals = fixed.propose(payload(*picks))
    outputs = fixed.answer(proposals, head)
    legs = [(int(o.region[0]), o.region[1]) for o in outputs]
    expected = CLASSIC[router](fixed.layout, picks, fixed.layout.planned_s)
    assert legs == [(stretch, pytest.approx(share, abs=1e-5)) for stretch, share in expected]
    assert fixed.propensity(outputs) == 1.0


def test_a_policy_is_small():
    """It goes to robots over a radio."""
    assert len(Routing(congestion=(0.1234,) * 211).bundle()) < 2000
    layout = Layout(LayoutConfig(aisles=200, blocks=10))
    assert len(routing_of(Routing(congestion=(1.2345,) * 211).bundle(), layout).congestion) == 211


def test_a_classic_policy_answers_from_elsewhere_with_the_shortest_tour():
    """Classic routes begin at the depot; the floor's state of such a request is read as of any other."""
    task, exact = made(router="s-shape"), made()
    asked = b'{"picks": [[1, 4.0], [3, 12.0]], "busy": {"2": 3}, "start": [2, 7.5]}'
    proposals = task.propose(Payload(asked))
    assert task.chosen(proposals, task.start())[0] == exact.tours(proposals, exact.start())[0]
    robots, _ = task.state_of(proposals)
    assert robots.shape == (task.layout.stretches,)
    assert (robots[2], robots.sum()) == (3.0, 3.0)
