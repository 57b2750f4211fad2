"""Orders and actions by HTTP: what is taken, what is refused and why, what a robot answered."""

from __future__ import annotations

import json

import httpx
import pytest

from hotloop.config import MqttConfig
from hotloop.errors import DiskFullError, InputError
from hotloop.store.records import DiskRecords
from hotloop.verticals.warehouse.robots.desk import Desk, Wanted
from hotloop.verticals.warehouse.robots.local_http import RobotsHealth, RobotsHttp, wanted_of
from hotloop.verticals.warehouse.robots.messages import Robot
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

R0 = Robot("sim", "r000")
ORDER = {"order": "A-17", "picks": [[3, 12.5], [1, 7.0]]}
ACTIONS = "/robots/sim/r000/actions"


class Counter:
    """Robots at a broker, a desk, and the server."""

    def __init__(self, plant, fleet, records, layout, **settings):
        config = RobotsConfig(**{"port": 0, **settings})
        self.plant, self.fleet, self.desk, self.records = plant, fleet, Desk(config, layout), records
        self.server = RobotsHttp(config, self.fleet, self.desk, self.health)
        self.client = httpx.Client(base_url=self.server.url, trust_env=False, timeout=20)

    def health(self):
        return RobotsHealth("floor", 3, self.desk.counts(), self.fleet.state(), 0, {}, ("the hub is away",))

    def order(self, *orders, **more):
        return self.client.post("/orders", content="\n".join(json.dumps(one) for one in orders), **more)

    def act(self, path=ACTIONS, **body):
        return self.client.post(path, content=json.dumps(body))


@pytest.fixture
def counters(broker, plants, layout, tmp_path):
    """Makes counters with one robot, and closes them."""
    made = []

    def make(**settings):
        records = DiskRecords(tmp_path / "records.sqlite")
        plant = plants(broker.url, count=1, speed=20.0, records=records)
        made.append(Counter(plant, plant.control, records, layout, **settings))
        plant.until(lambda _: plant.control.floor().free)
        return made[-1]

    yield make
    for one in made:
        one.client.close()
        one.server.close()
        one.fleet.close()
        one.records.close()


@pytest.fixture
def counter(counters):
    return counters()


@pytest.fixture(scope="module")
def bare(layout, tmp_path_factory):
    """A counter without a broker: the robot sim/r000 is known, and nothing reaches it."""
    records = DiskRecords(tmp_path_factory.mktemp("bare") / "records.sqlite")
    config = RobotsConfig(names=("sim/r000",))
    fleet = RobotFleet(config, MqttConfig(url="mqtt://127.0.0.1:1"), layout, lambda _: None, records=records)
    found = Counter(None, fleet, records, layout)
    yield found
    found.client.close()
    found.server.close()
    fleet.close()
    fleet._connection._client._reset_sockets()
    records.close()


def test_an_order_is_durable_when_it_is_acknowledged(counter):
    """And counts once, however often it is sent; how it stands can be asked."""
    assert counter.order(ORDER, {"order": "A-18", "picks": [[0, 1]]}).json() == {"taken": 2, "new": 2}
    assert set(counter.records.read()) >= {"order/A-17", "order/A-18"}
    assert counter.order(ORDER).json() == {"taken": 1, "new": 0}
    assert counter.client.get("/orders/A-17").json() == {
        "order": "A-17", "status": "waiting", "picks": ORDER["picks"], "picked": [], "failed": [], "tour": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "there is no order"),
        (b"\n \n", 422, "there is no order"),
        (b"{", 422, "line 1: an order is JSON on one line"),
        (b'{"order":"a","picks":[[1,2.0]]}\n{"order":"b"}', 422, "line 2"),
        (b'{"order":"a","picks":[[9,2.0]]}', 422, "no place 2 m into aisle 10"),
        (b'{"order":"a","picks":[[1,1e400]]}', 422, "line 1"),
        (b'{"order":"a","picks":[[-1,2.0]]}', 422, "no place"),
        (b"\xff", 422, "line 1"),
        (b"[" * 100_000, 422, "line 1"),
        (b'{"order":"A-17","picks":[[1,2.0]]}', 409, "an order A-17 with other picks"),
        (b"x" * (4 * 2**20 + 1), 413, "at most"),
    ],
)
def test_what_is_no_order_is_refused_whole(bare, body, status, words):
    """With the line, and why; the next request is answered, and nothing was taken."""
    bare.order(ORDER)
    found = bare.client.post("/orders", content=body)
    assert (found.status_code, words in found.json()["detail"]) == (status, True), found.json()
    assert bare.client.get("/healthz").json()["orders"]["waiting"] == 1


def test_too_many_orders_come_back_later(counters):
    """None of them was taken."""
    counter = counters(orders_max=1)
    assert counter.order(ORDER, {"order": "b", "picks": [[1, 2.0]]}).status_code == 503
    assert counter.order(ORDER).status_code == 200


def test_a_disk_that_is_full_acknowledges_nothing(counter, monkeypatch):
    """The order has to be sent again; then it counts once."""
    def full():
        raise DiskFullError("full")

    with monkeypatch.context() as patched:
        patched.setattr(counter.records, "commit", full)
        assert counter.order(ORDER).status_code == 503
    assert counter.order(ORDER).json() == {"taken": 1, "new": 0}
    assert "order/A-17" in counter.records.read()


@pytest.mark.parametrize("path", ["/", "/orders/none", "/robots", "/robots/sim/r000/actions/none", "/health"])
def test_what_is_not_there_is_said(bare, path):
    """With what there is."""
    found = bare.client.get(path)
    assert found.status_code in (404, 422)
    assert found.json()["detail"]


def test_a_robot_does_what_it_is_told_and_answers(counter):
    """With parameters; the answer can be asked for again."""
    given = [{"key": "times", "value": 3}, {"key": "how", "value": "loud"}]
    found = counter.act(actionType="beep", actionParameters=given, blockingType="NONE").json()
    assert (found["kind"], found["status"], found["words"]) == ("beep", "FINISHED", "")
    assert counter.client.get(f"{ACTIONS}/{found['action']}").json() == found
    said = counter.plant.robots[R0].actions[found["action"]]
    assert said["actionParameters"] == [{"key": "times", "value": 3.0}, {"key": "how", "value": "loud"}]
    assert said["blockingType"] == "NONE"


def test_a_robot_can_be_paused_and_go_on(counter, tours):
    """By VDA 5050's own words."""
    counter.fleet.give(R0, "p:1", tours(1))
    assert counter.act(actionType="startPause").json()["status"] == "FINISHED"
    assert counter.plant.robots[R0].paused
    assert counter.act(actionType="stopPause").json()["status"] == "FINISHED"
    assert not counter.plant.robots[R0].paused


def test_a_tour_is_taken_from_a_robot_in_good_order(counter, tours):
    """A cancellation is the control's own: it says it until the robot has stopped."""
    counter.fleet.give(R0, "p:1", tours(1))
    counter.plant.until(lambda state: state.robots[0].leg > 0)
    assert counter.act(actionType="cancelOrder").json()["status"] == "FINISHED"
    counter.plant.until(lambda state: not state.robots[0].tour)


def test_why_a_robot_did_not_is_told(counter):
    """There is nothing to cancel: in its own words."""
    found = counter.act(actionType="cancelOrder").json()
    assert found["status"] == "FAILED"


def test_a_robot_that_says_nothing_is_not_waited_for_for_ever(counter):
    """It was said; what comes of it can be asked later."""
    counter.plant.fleet.still()
    found = counter.act(actionType="beep", waitS=0.1).json()
    assert found["status"] == "said"
    assert counter.client.get(f"{ACTIONS}/{found['action']}").json()["status"] == "said"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "an action is JSON"),
        (b"{}", "actionType"),
        (b'{"actionType": ""}', "actionType"),
        (b'{"actionType": "a b"}', "actionType"),
        (b'{"actionType": "beep", "blockingType": "SOMETIMES"}', "SOMETIMES"),
        (b'{"actionType": "beep", "actionParameters": [{"key": ""}]}', "key"),
        (b'{"actionType": "beep", "actionParameters": [{"key": "a", "value": [1]}]}', "array"),
        (b'{"actionType": "beep", "actionParameters": [{"key": "a", "value": 1}, {"key": "a", "value": 2}]}', "twice"),
        (b'{"actionType": "beep", "waitS": 1000}', "waitS"),
        (b'{"actionType": "beep", "often": true}', "often"),
    ],
)
def test_what_is_no_action_is_told_to_nobody(bare, body, words):
    """It is said what is wrong with it."""
    found = bare.client.post(ACTIONS, content=body)
    assert (found.status_code, words in found.json()["detail"]) == (422, True), found.json()
    assert list(bare.fleet._control.outbox) == []


def test_who_is_not_there_cannot_be_told(counter):
    """A stranger; a robot that is away: what is to be done at once is not done later."""
    assert counter.act("/robots/sim/none/actions", actionType="beep").status_code == 422
    assert counter.act("/robots/sim/none/actions", actionType="cancelOrder").status_code == 422
    counter.plant.fleet.close()
    counter.plant.until(lambda state: state.robots[0].connection == "OFFLINE")
    found = counter.act(actionType="beep")
    assert (found.status_code, "it is OFFLINE" in found.json()["detail"]) == (503, True)


def test_a_broker_that_is_away_is_said(counter, broker):
    """Nothing is told to anybody."""
    broker.stop()
    counter.plant.until(lambda state: state.trouble)
    found = counter.act(actionType="beep")
    assert (found.status_code, "cannot be told anything now" in found.json()["detail"]) == (503, True)


def test_how_it_all_is(counter):
    """Orders, robots with their places, what was refused, what is troubling."""
    counter.order(ORDER)
    found = counter.client.get("/healthz").json()
    (robot,) = found["fleet"]["robots"]
    assert (robot["robot"], robot["connection"], robot["place"]) == ("sim/r000", "ONLINE", "a1-0.00")
    assert found["orders"] == {"waiting": 1, "on tour": 0, "picked": 0, "failed": 0}
    assert (found["line"], found["version"], found["trouble"]) == ("floor", 3, ["the hub is away"])
    assert found["fleet"]["refused"] == {}


def test_orders_are_lines():
    """Empty ones count for nothing."""
    line = b'{"order": "a", "picks": [[3, 12.5]]}'
    assert wanted_of(line + b"\r\n\n" + line.replace(b'"a"', b'"b"') + b"\n") == [
        Wanted("a", ((3, 12.5),)), Wanted("b", ((3, 12.5),))
    ]  # fmt: skip
    with pytest.raises(InputError, match="line 3"):
        wanted_of(line + b"\n\nno")
