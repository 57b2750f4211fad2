"""Simulated robots of VDA 5050 at a real broker: each a client with its own last will. Their clock runs fast."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

from hotloop.adapters.mqtt import Connection, Identity, Said
from hotloop.config import MqttConfig
from hotloop.testing.vda5050_robot import SimulatedRobot

_TURN_S = 0.005
_BYTES_MAX = 2**20
_BEAT_S = 30.0  # a robot says its state at least so often, by its clock


class _Client:
    """A robot's side of the broker."""

    def __init__(self, robot: SimulatedRobot, mqtt: MqttConfig, now: float) -> None:
        self.robot, self.heard, self.fresh = robot, list[tuple[str, bytes]](), False
        self.topic = f"uagv/v2/{robot.manufacturer}/{robot.serial}"
        gone, left = robot.say_connection("CONNECTIONBROKEN", now), robot.say_connection("OFFLINE", now)
        robot.said.clear()
        who = Identity(
            f"{robot.manufacturer}-{robot.serial}", f"{self.topic}/connection", _BYTES_MAX,
            gone=json.dumps(gone).encode(), left=json.dumps(left).encode(),
        )  # fmt: skip
        self.connection = Connection(mqtt, who, self)
        self.beat_at = now + _BEAT_S

    def up(self) -> None:
        self.connection.subscribe([(f"{self.topic}/order", 1), (f"{self.topic}/instantActions", 1)])
        self.fresh = True

    def down(self) -> None:
        pass

    def put(self, failure: str) -> None:
        pass

    def came(self, said: Said) -> None:
        self.heard.append((said.topic.rpartition("/")[2], said.data))
        self.connection.taken(said)


class SimulatedFleet:
    """Robots with a thread that drives all of them; `speed`: seconds of theirs in one of ours."""

    def __init__(self, robots: Sequence[SimulatedRobot], mqtt: MqttConfig, speed: float = 50.0) -> None:
        self.robots, self._speed = list(robots), speed
        self._began_s, self._zero = time.monotonic(), time.time()
        self._clients = [_Client(robot, mqtt, self._zero) for robot in robots]
        self._closing = False
        self.lock = threading.Lock()
        self.states = 0
        self.sent_s: dict[tuple[str, int], float] = {}  # when (order, last sequence) was first said, monotonic
        self._thread = threading.Thread(target=self._run, name="simulated-robots", daemon=True)

    def now(self) -> float:
        """By the robots' clock."""
        return self._zero + (time.monotonic() - self._began_s) * self._speed

    def start(self) -> SimulatedFleet:
        """Begin to connect, and to drive."""
        for client in self._clients:
            client.connection.start()
        self._thread.start()
        return self

    def still(self) -> None:
        """Let no time pass any more: what was said still goes out."""
        self._closing = True
        self._thread.join(5)

    def close(self) -> None:
        """Leave in good order."""
        self.still()
        for client in self._clients:
            client.connection.close()

    def _run(self) -> None:
        while not self._closing:
            with self.lock:
                for client in self._clients:
                    self._turn(client)
            time.sleep(_TURN_S)

    def _turn(self, client: _Client) -> None:
        robot, now = client.robot, self.now()
        robot.advance(now)
        if client.fresh:
            client.fresh = False
            robot.say_connection("ONLINE", now)
            robot.beat(now)
        while client.heard:
            what, data = client.heard.pop(0)
            robot.hear(what, json.loads(data), now)
        if now >= client.beat_at and not any(what == "state" for what, _ in robot.said):
            robot.beat(now)
        if any(what == "state" for what, _ in robot.said):
            client.beat_at = now + _BEAT_S
        for what, message in robot.said:
            if what == "state":
                self.states += 1
                self.sent_s.setdefault((message["orderId"], message["lastNodeSequenceId"]), time.monotonic())
            client.connection.publish(f"{client.topic}/{what}", json.dumps(message).encode(), keep=what == "connection")
        robot.said.clear()
