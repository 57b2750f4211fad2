"""Master control and simulated robots at a real broker: nothing is lost, not over its restart; what is said fits the
published schemas.
"""

from __future__ import annotations

import json
import signal
import threading
import time

import paho.mqtt.client as paho
import pytest

from hotloop.adapters.mqtt import Said
from hotloop.config import MqttConfig
from hotloop.errors import ConfigError, DiskFullError, InputError
from hotloop.store.records import DiskRecords
from hotloop.testing.vda5050_robot import SimulatedRobot
from hotloop.verticals.warehouse.robots.messages import Action, Robot
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.robots.route import route
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

R0 = Robot("sim", "r000")


@pytest.fixture
def lasting(tmp_path, brokers):
    """A broker that keeps its sessions when it is stopped in good order, as a plant's does."""
    (tmp_path / "kept").mkdir()
    found = brokers("persistence true", f"persistence_location {tmp_path}/kept/", "max_queued_messages 100000")
    found.start()
    return found


class Anybody:
    """Hears all that is said at a broker, and says what a test tells it to."""

    def __init__(self, port, will=None):
        self.heard, self.changed = [], threading.Condition()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = self._came
        subscribed = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        if will:
            self.client.will_set(*will, qos=1, retain=True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(5)

    def _came(self, _client, _data, said):
        with self.changed:
            self.heard.append((said.topic, bytes(said.payload)))
            self.changed.notify_all()

    def say(self, topic, data, **more):
        self.client.publish(topic, data, qos=1, **more).wait_for_publish(5)

    def until(self, found, limit_s=5.0):
        with self.changed:
            assert self.changed.wait_for(lambda: found(self.heard), limit_s), self.heard[-5:]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def anybody(broker):
    found = Anybody(broker.port)
    yield found
    found.close()


def whole(plant, state):
    """Nothing that was said is missing, each leg was measured once, and rightly."""
    truth, (found, times) = plant.truth(), plant.heard()
    assert (state.states, sum(robot.missing for robot in state.robots)) == (plant.fleet.states, 0)
    assert (state.refused, state.dropped, state.waiting) == ({}, {}, 0)
    assert set(times.values()) == {1}
    assert found == pytest.approx(truth, abs=0.0021)
    claims = [(one.prediction, claim.output) for one in plant.feedback.values() for claim in one.claims]
    assert len(claims) == len(set(claims)) == len(truth)


def over_a_restart(plant, broker):
    """Keep all robots busy; stop the broker in the middle, for half a second."""
    at = len(plant.robots) * plant.tours // 3
    stopped_s = []

    def during():
        if not stopped_s and len(plant.feedback) >= at:
            stopped_s.append(time.monotonic())
            broker.stop()
            time.sleep(0.5)
            broker.start()

    plant.dispatch(120.0, during)
    assert stopped_s
    return plant.settled()


def test_twenty_robots_over_a_restart_of_the_broker(lasting, plants):
    """No state is lost, no leg is missing, doubled or wrong."""
    plant = plants(lasting.url, count=20, tours=2, speed=100.0)
    whole(plant, over_a_restart(plant, lasting))


@pytest.mark.full
def test_a_hundred_robots_over_a_restart_of_the_broker(lasting, plants, capsys):
    """The same with a fleet as large as a plant's, with its figures."""
    plant = plants(lasting.url, count=100, tours=5, speed=50.0)
    began_s = time.monotonic()
    state = over_a_restart(plant, lasting)
    whole(plant, state)
    seconds, waits = time.monotonic() - began_s, sorted(plant.latency_s)
    with capsys.disabled():
        print(f"\n100 robots: {state.states} states in {seconds:.1f} s, 0 lost; state -> measured leg: median "
              f"{1e3 * waits[len(waits) // 2]:.1f} ms, 99 of 100 within {1e3 * waits[int(0.99 * len(waits))]:.1f} ms")


def test_a_broker_that_was_killed_and_forgot_everything_stops_no_tour(broker, plants):
    """Sessions and states may be gone: tours end all the same, and what is measured is right and told once."""
    plant = plants(broker.url, count=10, tours=2, speed=100.0, again_s=0.2)
    killed = []

    def during():
        if not killed and len(plant.feedback) >= 5:
            killed.append(True)
            broker.stop(signal.SIGKILL)
            broker.start()

    plant.dispatch(60.0, during)
    assert killed
    truth, (found, times) = plant.truth(), plant.heard()
    first = {key: seconds for key, seconds in truth.items() if key in found}
    assert found == pytest.approx(first, abs=0.0021)
    assert set(times.values()) == {1}
    assert len(found) >= 0.8 * len(truth)


def test_all_that_is_said_fits_the_published_schemas(broker, anybody, plants, schemas):
    """Orders, updates, instant actions, states, connections: every message on the wire, both ways."""
    plant = plants(broker.url, count=2, tours=2, speed=100.0)
    plant.dispatch(30.0)
    plant.control.give(R0, "r000:9", plant_tour(), {2: [Action("pick-9", "pick")]})
    plant.until(lambda state: state.robots[0].leg == 3)
    plant.control.act(R0, "startPause")
    plant.control.cancel(R0)
    plant.until(lambda state: state.robots[0].tour == "")
    plant.fleet.close()
    anybody.until(lambda heard: sum(b"OFFLINE" in data for _, data in heard) == 2)
    kinds = {}
    for topic, data in anybody.heard:
        if topic.startswith("uagv/"):
            kind = topic.rpartition("/")[2]
            schemas[kind].validate(json.loads(data))
            asked = b"stateRequest" in data and kind == "instantActions"  # a robot that was there before the control
            kinds[kind] = kinds.get(kind, 0) + (not asked)
    assert kinds["order"] >= 8
    assert kinds["state"] >= 60
    assert (kinds["instantActions"], kinds["connection"]) == (2, 4)


def plant_tour():
    """Up the first aisle and back."""
    return [(0, 1.0), (1, 1.0), (2, 1.0), (2, 1.0), (1, 1.0), (0, 1.0)]


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("order", {"orderUpdateId": "0"}), ("order", {"nodes": [{"nodeId": "a"}]}), ("state", {"operatingMode": "?"}),
        ("state", {"timestamp": "now"}), ("connection", {"connectionState": "AWAY"}),
        ("instantActions", {"actions": [{}]}),
    ],
)  # fmt: skip
def test_the_schemas_can_refuse(worlds, schemas, what, spoil):
    """What is checked above could fail: a spoiled message does."""
    world = worlds()
    world.control.act(Robot("sim", "r0"), "stateRequest", world.now)
    world.control.give(Robot("sim", "r0"), "p:1", plant_tour(), world.now)
    world.robot.say_connection("ONLINE", world.now)
    world.pass_on()
    sent = {topic.rpartition("/")[2]: message for topic, message in world.sent} | dict(world.said)
    assert schemas[what].is_valid(sent[what])
    assert not schemas[what].is_valid(sent[what] | spoil)


def test_a_last_will_is_seen_and_a_tour_waits_for_the_robot(broker, plants):
    """A robot whose power fails: the broker says so."""
    plant = plants(broker.url, count=2)
    plant.until(lambda state: [robot.connection for robot in state.robots] == ["ONLINE"] * 2)
    client = plant.fleet._clients[0].connection._client
    client._sock_close()
    plant.until(lambda state: state.robots[0].connection == "CONNECTIONBROKEN")
    assert plant.control.state().robots[1].connection == "ONLINE"
    plant.dispatch(20.0)
    assert plant.control.state().robots[0].connection == "ONLINE", "it came back by itself"


def test_nonsense_on_the_wire_is_counted_and_robots_go_on(broker, anybody, plants):
    """Malformed, too large, of a stranger, of another version, kept by the broker."""
    plant = plants(broker.url, count=2, tours=2, speed=100.0)
    plant.until(lambda state: len(plant.control.idle()) == 2)
    anybody.say("uagv/v2/sim/r000/state", b"{")
    anybody.say("uagv/v2/sim/r000/state", b"x" * 530_000)
    anybody.say("uagv/v2/evil/r666/connection", connection(manufacturer="evil", serialNumber="r666"))
    anybody.say("uagv/v2/sim/r000/connection", connection(version="1.1.0"))
    plant.until(lambda state: sum(state.refused.values()) == 4)
    plant.dispatch(30.0)
    state = plant.settled()
    assert state.refused == {"malformed": 1, "oversized": 1, "stranger": 1, "version": 1}
    assert len(state.refusals) == 4
    assert len(plant.heard()[0]) == len(plant.truth())


def connection(**changed):
    """A robot is there."""
    said = {"headerId": 0, "timestamp": "2026-01-01T00:00:00.00Z", "version": "2.1.0", "manufacturer": "sim",
            "serialNumber": "r000", "connectionState": "ONLINE"}  # fmt: skip
    return json.dumps(said | changed).encode()


def test_a_state_that_the_broker_keeps_is_refused(broker, anybody, plants):
    """It would come again with each connection."""
    robot = SimulatedRobot("sim", "r000", lambda edge, now: 1.0)
    robot.beat(1_790_000_000.0)
    anybody.say("uagv/v2/sim/r000/state", robot.take()[0][1], retain=True)
    plant = plants(broker.url, count=1)
    state = plant.until(lambda state: sum(state.refused.values()) == 1)
    assert state.refused == {"kept": 1}


def test_a_control_that_was_cut_off_hears_everything_afterwards(broker, plants):
    """The broker keeps for its session what robots said meanwhile."""
    plant = plants(broker.url, count=5, tours=2, speed=50.0)
    client = plant.control._connection._client
    client.reconnect_delay_set(1, 2)
    cut = []

    def during():
        if not cut and len(plant.measured) > 10:
            cut.append(plant.control.state().states)
            client._sock_close()

    plant.dispatch(60.0, during)
    state = plant.settled()
    assert cut
    whole(plant, state)


def test_nothing_is_said_to_a_broker_that_is_away(broker, plants):
    """It would come later, and be old by then: when the broker is back each robot is told what it is to have."""
    plant = plants(broker.url, count=1, again_s=0.05)
    plant.until(lambda _: plant.control.idle())
    connection = plant.control._connection
    said, publish = [], connection.publish
    connection.publish = lambda topic, *rest, **more: (said.append((topic, connection.connected)),
                                                       publish(topic, *rest, **more))[1]  # fmt: skip
    broker.stop()
    plant.until(lambda state: not state.connected)
    plant.control._control.mobiles[R0].connection = "ONLINE"  # if its last will came just before
    plant.control.give(R0, "r000:1", plant_tour())
    time.sleep(0.5)
    broker.start()
    plant.until(lambda _: plant.feedback)
    assert {connected for topic, connected in said if topic.endswith("/order")} == {True}


def test_measured_times_wait_for_a_loop_that_cannot_take_them(broker, plants):
    """A full disk: they are handed on again until they are taken, in their order, once."""
    plant = plants(broker.url, count=2, tours=1, speed=200.0)
    fails = [DiskFullError("make room")] * 2
    taken = []

    def taught(feedback):
        if fails:
            raise fails.pop()
        taken.append(feedback.prediction)
        plant.taught(feedback)

    plant.control._taught = taught
    plant.dispatch(20.0)
    assert sorted(taken) == ["r000:1", "r001:1"]
    assert fails == []


def test_what_waits_for_the_loop_is_bounded_and_counted(broker, plants, monkeypatch):
    """The oldest goes."""
    monkeypatch.setattr("hotloop.verticals.warehouse.robots.mqtt._FEEDBACK_MAX", 0)
    plant = plants(broker.url, count=1, speed=200.0)

    def full(_):
        raise DiskFullError("make room")

    plant.control._taught = full
    plant.until(lambda _: plant.control.idle())
    plant.control.give(R0, "r000:1", plant_tour())
    state = plant.until(lambda state: state.dropped)
    assert state.dropped == {"feedback: the loop does not take it": 1}


def test_a_flood_is_bounded(broker, plants, monkeypatch):
    """What a robot sends so that nobody acknowledges it goes first, and is counted; the rest stays."""
    monkeypatch.setattr("hotloop.verticals.warehouse.robots.mqtt._INBOX_MAX", 10)
    plant = plants(broker.url, count=1)
    control = plant.control
    with control._more:  # the control's thread cannot take anything
        for number in range(200):
            control.came(Said("uagv/v2/sim/r000/state", b"{", number=0 if number % 2 else 10_000 + number))
        waiting = list(control._inbox)
    assert len(waiting) == 10 + 64
    assert sum(bool(said.number) for said in waiting) == 74
    state = plant.until(lambda state: state.refused.get("malformed", 0) >= 74)
    assert list(state.dropped) == ["too many at once"]
    assert 126 <= state.dropped["too many at once"] <= 130, "the robot speaks, too"


def test_an_order_that_the_broker_does_not_let_pass_is_counted(tmp_path, brokers, plants):
    """The reason is shown; it is tried again."""
    (tmp_path / "acl").write_text("topic read #\ntopic write uagv/v2/+/+/state\ntopic write uagv/v2/+/+/connection\n")
    strict = brokers(f"acl_file {tmp_path}/acl")
    strict.start()
    plant = plants(strict.url, count=1, again_s=0.1)
    plant.until(lambda _: plant.control.idle())
    plant.control.give(R0, "p:1", plant_tour())
    state = plant.until(lambda state: sum(state.dropped.values()) >= 3)  # its own state, and the order twice
    assert list(state.dropped) == ["refused by the broker: Not authorized"]
    assert (state.connected, state.robots[0].status) == (True, "waiting")


def test_an_order_that_is_larger_than_the_broker_takes_is_counted(brokers, plants):
    """It does not end the connection."""
    small = brokers(packet_bytes_max=2500)
    small.start()
    plant = plants(small.url, count=1, base=30)
    plant.until(lambda _: plant.control.idle())
    plant.control.give(R0, "p:1", plant_tour() * 4)
    state = plant.until(lambda state: state.dropped)
    assert set(state.dropped) == {"larger than the broker takes"}
    assert state.connected


def test_a_broker_that_is_away_makes_nobody_wait(broker, plants):
    """Tours can be given; they go out when it is there."""
    broker.stop()
    plant = plants(broker.url, count=1, speed=100.0)
    began_s = time.monotonic()
    plant.control.give(R0, "r000:1", plant_tour())
    assert time.monotonic() - began_s < 0.5
    state = plant.until(lambda state: state.trouble)
    assert (state.connected, state.robots[0].connection, state.robots[0].status) == (False, "never seen", "waiting")
    broker.start()
    plant.until(lambda _: plant.feedback)
    legs = {claim.output for claim in plant.feedback["r000:1"].claims}
    assert legs >= {1, 2, 3, 4, 5}, "who listens late may miss the start"


def test_it_says_at_the_broker_that_it_is_there(broker, anybody, plants):
    """And that it has gone."""
    plant = plants(broker.url, count=1)
    anybody.until(lambda heard: ("hotloop/robots/state", b"online") in heard)
    plant.control.close()
    anybody.until(lambda heard: ("hotloop/robots/state", b"offline") in heard)


def test_what_cannot_be_is_said_to_whoever_asks(layout):
    """Settings at the start; tours and robots when they are given."""
    with pytest.raises(ConfigError):
        RobotFleet(RobotsConfig(names=("no robot",)), MqttConfig(url="mqtt://127.0.0.1:1"), layout, lambda _: None)
    fleet = RobotFleet(RobotsConfig(names=("a/1",)), MqttConfig(url="mqtt://127.0.0.1:1"), layout, lambda _: None)
    for wrong in (
        lambda: fleet.give(R0, "p:1", plant_tour()), lambda: fleet.give(Robot("a", "1"), "p:1", [(5, 1.0)]),
        lambda: fleet.cancel(R0), lambda: fleet.act(R0, "startPause"),
    ):  # fmt: skip
        with pytest.raises(InputError):
            wrong()
    fleet.close()


class Recorded:
    """A plant whose control keeps what it must know again, and may die."""

    def __init__(self, plants, url, path, **settings):
        self.path, self.records = path, DiskRecords(path)
        self.plant = plants(url, records=self.records, **settings)

    def die(self):
        """Nothing more is acknowledged, said or written by this process."""
        fleet = self.plant.control
        self.records.commit()  # else whoever gave a tour must give it again: no robot has heard of it
        with fleet._more:
            fleet._closing = True
            fleet._connection.taken = fleet._connection.publish = lambda *_, **__: None
            fleet._more.notify_all()
        fleet._thread.join(5)
        fleet._connection._client._sock_close()  # as a process that is gone: no word of farewell
        fleet._connection._closing = True
        fleet._connection._client.disconnect()
        fleet._connection._client.loop_stop()
        fleet._connection._client._reset_sockets()
        self.records.close()

    def live(self, mqtt, layout):
        """Another process."""
        plant, self.records = self.plant, DiskRecords(self.path)
        plant.control = RobotFleet(plant.control._control.config, mqtt, layout, plant.taught, plant.told, self.records)
        plant.control.start()


def test_another_control_goes_on_where_the_first_one_died(broker, plants, layout, tmp_path):
    """No state is lost, no leg missing, doubled or wrong; the robots saw nothing of it."""
    kept = Recorded(plants, broker.url, tmp_path / "robots.sqlite", count=5, tours=3, speed=60.0)
    plant, died = kept.plant, []

    def during():
        if len(died) < 3 and len(plant.measured) > 40 * (len(died) + 1):
            died.append(True)
            kept.die()
            time.sleep(0.1)
            kept.live(MqttConfig(url=broker.url), layout)

    plant.dispatch(60.0, during)
    whole(plant, plant.settled())
    assert len(died) == 3
    assert {robot.refused for robot in plant.robots.values()} == {0}


def test_nothing_is_said_or_acknowledged_before_it_is_durable(broker, plants, tmp_path, monkeypatch):
    """A disk that is full: robots hear nothing new; afterwards all goes on, and nothing was lost."""
    kept = Recorded(plants, broker.url, tmp_path / "robots.sqlite", count=1, speed=100.0)
    plant = kept.plant
    plant.until(lambda _: plant.control.floor().free)
    with monkeypatch.context() as full:
        def commit():
            raise DiskFullError("full")

        full.setattr(kept.records, "commit", commit)
        plant.control.give(R0, "r000:1", plant_tour())
        time.sleep(0.8)
        assert plant.robots[R0].order == ""
    plant.until(lambda _: plant.feedback)
    whole(plant, plant.settled())


def test_feedback_that_the_loop_did_not_take_outlives_the_process(broker, plants, layout, tmp_path):
    """It is said by the next one, and then it is kept no more."""
    kept = Recorded(plants, broker.url, tmp_path / "robots.sqlite", count=1, speed=100.0)
    plant = kept.plant

    def full(_):
        raise DiskFullError("full")

    plant.control._taught = full
    plant.until(lambda _: plant.control.floor().free)
    plant.control.give(R0, "r000:1", plant_tour())
    plant.until(lambda state: state.waiting == 1 and not state.robots[0].tour)
    kept.die()
    assert plant.feedback == {}
    kept.live(MqttConfig(url=broker.url), layout)
    plant.until(lambda _: plant.feedback)
    whole(plant, plant.settled())
    plant.until(lambda _: not any(name.startswith("feedback/") for name in kept.records.read()))


def test_what_is_changed_beside_the_fleet_is_kept_with_it(layout, tmp_path):
    """At once where it is asked for; in one step with a tour; with what follows from its end."""
    records = DiskRecords(tmp_path / "robots.sqlite")
    config = RobotsConfig(names=("a/1",))
    fleet = RobotFleet(config, MqttConfig(url="mqtt://127.0.0.1:1"), layout, lambda _: None, records=records)
    assert fleet.change(lambda: (7, {"order/a": b"1"})) == 7
    assert records.read()["order/a"] == b"1"
    one = Robot("a", "1")
    fleet.send(one, "p:1", route(layout, plant_tour()), lambda: {"order/a": b"2"})
    with pytest.raises(InputError):
        fleet.send(one, "p:2", route(layout, plant_tour()), lambda: {"order/a": b"3"})
    records.commit()
    found = records.read()
    assert (found["order/a"], "tour/a/1/p:1" in found, "robot/a/1" in found) == (b"2", True, True)
    fleet.over = lambda tour: {"order/a": tour.status.encode()}
    assert (fleet.cancel(one), fleet.has_tour(one), fleet.tours()) == ("", False, set())
    fleet._note({})
    records.commit()
    assert records.read()["order/a"] == b"cancelled"
    fleet.close()
    records.close()


def test_who_is_free_and_where(broker, plants, layout):
    """A robot that is paused, on a tour, on somebody else's, or at a place that is none here, gets nothing."""
    plant = plants(broker.url, count=1, speed=20.0)
    robot = plant.robots[R0]
    plant.until(lambda _: plant.control.floor().free == ((R0, (0, 0.0)),))

    def changed(**fields):
        with plant.fleet.lock:
            for name, value in fields.items():
                setattr(robot, name, value)
            robot.beat(plant.fleet.now())

    for away, back in (
        ({"paused": True}, {"paused": False}), ({"last": "dock-7"}, {"last": "a1-0.00"}),
        ({"nodes": [{"nodeId": "x", "sequenceId": 2, "released": True}]}, {"nodes": []}),
    ):  # fmt: skip
        changed(**away)
        plant.until(lambda _: plant.control.floor().free == ())
        changed(**back)
        plant.until(lambda _: plant.control.floor().free)
    changed(last="a3-12.50")
    plant.until(lambda _: plant.control.floor().free == ((R0, (2, 12.5)),))
    changed(last="")
    plant.until(lambda _: plant.control.floor().free == ((R0, (0, 0.0)),))
    changed(last="a1-0.00")
    plant.control.give(R0, "p:1", plant_tour())
    plant.until(lambda _: plant.control.floor().busy)
    assert (plant.control.floor().free, sum(plant.control.floor().busy.values())) == ((), 1)
