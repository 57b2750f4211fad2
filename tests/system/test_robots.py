"""`hotloop up`, `hotloop robots`, a real broker and robots that are not there; the robots' process is killed again and
again: no order is lost or picked twice, no leg is lost or measured twice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import httpx
import numpy as np
import pytest

from hotloop.config import MqttConfig
from hotloop.launch import start_hub
from hotloop.testing.vda5050_fleet import SimulatedFleet
from hotloop.testing.vda5050_robot import SimulatedRobot

SETTINGS = """
name = "hall-3"
vertical = "warehouse"
[warehouse.layout]
aisles = 4
[warehouse.robots]
port = {port}
capacity = 6
again_s = 0.5
[hub]
port = {hub}
[edge]
report_s = 0.2
[mqtt]
url = "{broker}"
"""


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Hall:
    """A hub, robots at a broker, and master control as a process, in one folder."""

    def __init__(self, folder, broker, robots, speed):
        self.folder, self.process, self.port = folder, None, free_port()
        (folder / "loop.toml").write_text(SETTINGS.format(port=self.port, hub=free_port(), broker=broker.url))
        self.hub = start_hub(folder / "loop.toml")
        headers = {"authorization": f"Bearer {self.hub.tokens['admin']}"}
        self.ask = httpx.Client(base_url=self.hub.url, headers=headers, trust_env=False, timeout=20)
        self.local = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20)
        (folder / "token").write_text(self.hub.tokens["line"])
        rng = np.random.default_rng(1)
        pace = lambda edge, now: round(edge["length"] / 1.5 * float(rng.uniform(0.8, 2.0)) + 0.5, 3)
        self.robots = [SimulatedRobot("sim", f"r{number}", pace) for number in range(robots)]
        self.fleet = SimulatedFleet(self.robots, MqttConfig(url=broker.url), speed)

    def on(self):
        command = [sys.executable, "-m", "hotloop", "robots", "loop.toml", "--hub", self.hub.url, "--line", "floor"]
        command += ["--token-file", "token"]
        with (self.folder / "robots.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        return self.until(lambda: (self.health() or {}).get("fleet", {}).get("connected"))

    def off(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(20)

    def health(self):
        with suppress(httpx.TransportError):
            return self.local.get("/healthz").json()
        assert self.process.poll() is None, (self.folder / "robots.log").read_text()
        return None

    def until(self, found, limit_s=20.0):
        """The first true answer of `found`."""
        deadline = time.monotonic() + limit_s
        while not (answer := found()):
            if time.monotonic() > deadline:
                log = (self.folder / "robots.log").read_text()[-2000:]
                pytest.fail(f"{log}\nrobots said {self.fleet.states} states; {json.dumps(self.health(), indent=1)}")
            time.sleep(0.02)
        return answer

    def settled(self):
        """How it is when robots have nothing to do, all that they said was heard, and the hub has it."""
        def quiet(now):
            fleet = now["fleet"]
            idle = not any(robot["tour"] for robot in fleet["robots"])
            heard = fleet["states"] >= self.fleet.states and fleet["waiting"] == 0
            return idle and heard and now["waiting_events"] == 0 and now
        self.until(lambda: not any(robot["tour"] for robot in self.health()["fleet"]["robots"]))
        self.fleet.still()
        return self.until(lambda: quiet(self.health()))

    def order(self, *orders):
        return self.local.post("/orders", content="\n".join(json.dumps(one) for one in orders))

    def bodies(self, kind):
        """What the hub's log holds of one kind."""
        found, after = [], 0
        while True:
            page = self.ask.get("/v1/log", params={"after": after}).json()
            found += [one["body"] for one in page["records"]]
            if page["end"]:
                return [one for one in found if one["type"] == kind]
            after = page["next"]

    def close(self):
        if self.fleet._thread.ident is not None:
            self.fleet.close()
        if self.process is not None and self.process.poll() is None:
            self.off()
        self.hub.stop()
        self.ask.close()
        self.local.close()


@pytest.fixture
def halls(tmp_path, broker):
    made = []

    def make(robots=3, speed=60.0):
        made.append(Hall(tmp_path, broker, robots, speed))
        return made[-1]

    yield make
    for one in made:
        one.close()


def drawn(count, seed=3):
    """Orders of one to three picks."""
    rng = np.random.default_rng(seed)
    places = lambda: [[int(rng.integers(4)), round(float(rng.uniform(0, 30)), 2)] for _ in range(rng.integers(1, 4))]
    return [{"order": f"A-{number}", "picks": places()} for number in range(count)]


def picked_once(hall, orders):
    """Each order is picked; no robot did anything twice."""
    assert {hall.local.get(f"/orders/{one['order']}").json()["status"] for one in orders} == {"picked"}
    worked = [action for robot in hall.robots for action in robot.worked]
    assert set(Counter(worked).values()) == {1}
    places = {(tuple(place), one["order"]) for one in orders for place in one["picks"]}
    assert len(worked) <= len(places), "what lies at one place is one stop"


def whole(hall, state):
    """Each leg that a robot went is in the hub's log, once, with its true time; nothing that was said is missing."""
    fleet = state["fleet"]
    assert (fleet["states"], sum(robot["missing"] for robot in fleet["robots"])) == (hall.fleet.states, 0)
    assert (fleet["refused"], fleet["dropped"], state["dropped"], state["trouble"]) == ({}, {}, {}, [])
    truth = Counter()
    for robot in hall.robots:
        for order, _, began, ended in robot.gone:
            truth[order] += ended - began
    words = {}
    for body in hall.bodies("feedback"):
        assert body["reviewer"] == "floor.robots"
        words.setdefault(body["prediction"], []).append([(one["output"], one["value"]) for one in body["claims"]])
    outputs = {body["id"]: len(body["outputs"]) for body in hall.bodies("prediction")}
    assert words.keys() == truth.keys(), "each tour was measured"
    for order, said in words.items():
        assert all(one == said[-1] for one in said), "said again, it is the same word"
        assert [output for output, _ in said[-1]] == list(range(outputs[order]))
        assert sum(value for _, value in said[-1]) == pytest.approx(truth[order], abs=0.001 * outputs[order] + 0.01)


def killed(hall, orders, times):
    """Orders come while the process dies again and again, each time in the middle of tours; how it is at the end."""
    hall.on()
    hall.fleet.start()
    share = len(orders) // (times + 1)
    assert hall.order(*orders[:share]).json() == {"taken": share, "new": share}
    for number in range(1, times + 1):
        gone = sum(len(robot.gone) for robot in hall.robots)
        hall.until(lambda: sum(len(robot.gone) for robot in hall.robots) > gone + 12)
        hall.off(signal.SIGKILL)
        time.sleep(0.2)
        hall.on()
        assert hall.order(*orders[: share * (number + 1)]).json()["new"] == share
    busy = lambda: (counts := hall.health()["orders"])["waiting"] + counts["on tour"]
    hall.until(lambda: busy() == 0, limit_s=60.0)
    return hall.settled()


def test_killed_again_and_again_nothing_is_lost_or_done_twice(halls):
    """Orders, tours, legs: each once, whenever the process dies."""
    hall, orders = halls(), drawn(24)
    state = killed(hall, orders, times=3)
    picked_once(hall, orders)
    whole(hall, state)
    shown = {line["line"]: line for line in hall.ask.get("/v1/fleet").json()["lines"]}
    assert shown["floor"]["report"]["trouble"] == ""


@pytest.mark.full
def test_killed_thirty_times_nothing_is_lost_or_done_twice(halls, capsys):
    """The same for minutes, with its figures."""
    hall, orders = halls(robots=6, speed=40.0), drawn(310)
    state = killed(hall, orders, times=30)
    picked_once(hall, orders)
    whole(hall, state)
    with capsys.disabled():
        legs = sum(len(robot.gone) for robot in hall.robots)
        print(f"\n30 x kill -9: {len(orders)} orders picked once, {legs} legs measured once, "
              f"{state['fleet']['states']} states, 0 lost")


def test_without_the_hub_robots_go_on_and_an_operator_has_the_last_word(halls):
    """The hub is gone: orders are picked on what is known. A robot that was told to stop stands where it is; its
    next tour begins there, and what it had not picked is picked by it.
    """
    hall, orders = halls(robots=1, speed=40.0), drawn(3)
    hall.on()
    hall.fleet.start()
    hall.hub.stop()
    hall.order(*orders)
    hall.until(lambda: len(hall.robots[0].gone) >= 3)
    said = hall.local.post("/robots/sim/r0/actions", json={"actionType": "cancelOrder"}).json()
    assert said["status"] == "FINISHED", said
    hall.until(lambda: hall.health()["orders"]["picked"] == 3)
    picked_once(hall, orders)
    paused = hall.local.post("/robots/sim/r0/actions", json={
        "actionType": "startPause", "actionParameters": [{"key": "why", "value": "lunch"}],
    }).json()  # fmt: skip
    assert (paused["status"], hall.robots[0].paused) == ("FINISHED", True)
    assert hall.health()["waiting_events"] > 0, "measured times wait for the hub"


def test_what_it_needs_is_said(tmp_path):
    """In one sentence, with exit code 1."""
    text = SETTINGS.format(port=0, hub=0, broker="")
    for settings, words in ((text, "set [mqtt] url"), (text.replace('"warehouse"', '"vectors"'), "need a warehouse")):
        (tmp_path / "loop.toml").write_text(settings)
        command = [sys.executable, "-m", "hotloop", "robots", "loop.toml", "--hub", "http://127.0.0.1:1", "--line", "f"]
        own = {**os.environ, "HOTLOOP_TOKEN": "x"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=own)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
