"""The whole circle: a prediction is a tour, a robot goes it by VDA 5050, its states teach, the next one knows."""

from __future__ import annotations

import json

import pytest

from hotloop.config import LoopConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.store.embedded import open_embedded
from hotloop.types import Payload
from hotloop.verticals.warehouse import vertical
from hotloop.verticals.warehouse.robots.messages import Robot

R0 = Robot("sim", "r000")


@pytest.fixture
def engine(tmp_path):
    """A loop for the small warehouse, on this disk."""
    table = {"layout": {"aisles": 4, "parts": 3}}
    config = LoopConfig(
        vertical="warehouse", tables={"warehouse": table}, store=StoreConfig(folder=str(tmp_path / "loop"))
    )
    found = Engine(config, vertical(config), open_embedded(config))
    yield found
    found.close()


def test_a_slow_aisle_is_known_after_a_robot_went_through_it(engine, broker, plants, layout):
    """The second aisle's stretches take four times as long as planned: so says the next answer, and only of them."""
    plant = plants(broker.url, count=1, speed=200.0)
    slow = lambda edge, now: edge["length"] / 1.5 * (4.0 if edge["edgeId"].startswith("A2/") else 1.0)
    plant.robots[R0].pace = slow
    plant.control._taught = lambda feedback: plant.taught(feedback) or engine.feedback(feedback)
    request = json.dumps({"picks": [[1, 15.0], [2, 25.0]], "at": 1_790_000_000.0}).encode()

    def answer():
        found = engine.observe(Payload(request), "floor")
        legs = [(int(one.region[0]), one.region[1]) for one in found.outputs]
        names = [layout.name(stretch) for stretch, _ in legs]
        return found, legs, dict(zip(names, [one.label for one in found.outputs], strict=True))

    prediction, legs, said = answer()
    assert set(said.values()) == {"as planned"}
    plant.until(lambda _: plant.control.idle())
    plant.control.give(R0, prediction.id, legs)
    plant.until(lambda state: plant.feedback and state.waiting == 0)
    while engine.turn() is not None or engine.behind:
        pass
    _, _, said = answer()
    slow_ones = {name for name, label in said.items() if label == "slow"}
    assert slow_ones == {layout.name(stretch) for stretch, _ in legs if layout.name(stretch).startswith("A2/")}
    assert "A2/2" in slow_ones
