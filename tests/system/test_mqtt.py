"""`hotloop edge` and `hotloop up` as processes, with a real broker between them, and a camera at the line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress

import cv2
import httpx
import numpy as np
import paho.mqtt.client as mqtt
import pytest

from hotloop.launch import start_hub

SETTINGS = """
name = "bearings"
vertical = "vectors"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
port = {hub}
[edge]
port = {edge}
keep_s = 0.0
report_s = 0.2
[mqtt]
url = "{broker}"
topic = "plant/bearings"
"""
HERE = "plant/bearings/site-1/line-1"


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Station:
    """Whoever else is at the broker: hears all, and says what a test tells it to."""

    def __init__(self, port):
        self.heard = defaultdict(list)
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe("plant/#", qos=1)
        self.client.on_message = lambda _client, _data, said: self.heard[said.topic].append(bytes(said.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def say(self, topic, data, **more):
        self.client.publish(topic, data, qos=1, **more).wait_for_publish(5)

    def json(self, topic):
        return [json.loads(data) for data in self.heard[topic]]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Plant:
    """A hub, an edge and a broker in one folder."""

    def __init__(self, folder, broker, settings=SETTINGS):
        self.folder, self.broker, self.edge_port, self.edge = folder, broker, free_port(), None
        given = settings.format(hub=free_port(), edge=self.edge_port, broker=broker.url)
        (folder / "loop.toml").write_text(given)
        self.station = Station(broker.port)
        self.hub = start_hub(folder / "loop.toml")
        headers = {"authorization": f"Bearer {self.hub.tokens['admin']}"}
        self.ask = httpx.Client(base_url=self.hub.url, headers=headers, trust_env=False, timeout=20)
        self.local = httpx.Client(base_url=f"http://127.0.0.1:{self.edge_port}", trust_env=False, timeout=20)
        (folder / "token").write_text(self.hub.tokens["line"] + "\n")
        self.edge_on()

    def edge_on(self):
        command = [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", self.hub.url, "--line", "line-1"]
        with (self.folder / "edge.log").open("ab") as log:
            self.edge = subprocess.Popen([*command, "--token-file", "token"], cwd=self.folder, stdout=log, stderr=log)
        self.until(lambda: (self.health() or {}).get("mqtt", {}).get("connected"))

    def edge_off(self, how=signal.SIGTERM):
        self.edge.send_signal(how)
        return self.edge.wait(20)

    def health(self):
        with suppress(httpx.TransportError):
            return self.local.get("/healthz").json()
        assert self.edge.poll() is None, (self.folder / "edge.log").read_text()
        return None

    def until(self, found, limit_s=20.0):
        """The first true answer of `found`."""
        deadline = time.monotonic() + limit_s
        while not (answer := found()):
            assert time.monotonic() < deadline, (self.folder / "edge.log").read_text()
            time.sleep(0.02)
        return answer

    def predicted(self, x):
        return self.local.post("/predict", content=json.dumps(x)).json()

    def told(self, name, label):
        body = {"prediction": name, "reviewer": "ann", "claims": [{"label": label}]}
        assert self.ask.post("/v1/feedback", json=body).is_success

    def taught(self, x, label):
        """Verify a piece at the hub; the line answers with what that taught."""
        before = self.health()["version"]
        self.told(self.predicted(x)["prediction"], label)
        self.until(lambda: self.health()["version"] > before)

    def newest(self):
        return self.ask.get("/v1/fleet").json()["newest"]

    def close(self):
        if self.edge.poll() is None:
            self.edge_off()
        self.station.close()
        self.hub.stop()
        self.ask.close()
        self.local.close()


@pytest.fixture
def plant(tmp_path, broker):
    found = Plant(tmp_path, broker)
    yield found
    found.close()


def test_answers_verdicts_and_releases_go_by_the_broker(plant):
    """An answer is published, a verdict on it is learned at the hub, the release comes back by the broker alone."""
    station = plant.station
    plant.until(lambda: station.heard[f"{HERE}/state"] == [b"online"])
    plant.until(lambda: station.heard["plant/bearings/releases/state"][-1:] == [b"online"])
    plant.broker.heeds("line:plant/bearings:site-1:line-1")
    station.say(f"{HERE}/payload", b"[1.0, -1.0]")
    said = plant.until(lambda: station.json(f"{HERE}/answer"))[0]
    assert (said["outputs"][0]["label"], said["good"]) == ("ok", False)
    word = {"prediction": said["prediction"], "reviewer": "ann", "claims": [{"label": "worn"}]}
    station.say(f"{HERE}/feedback", json.dumps(word).encode())
    plant.until(lambda: plant.predicted([1.0, -1.0])["outputs"][0]["label"] == "worn")
    health = plant.health()
    assert health["mqtt"]["verdicts"] == 1
    assert "stream" not in health["mqtt"]["releases"]
    assert health["mqtt"]["releases"]["mqtt"] >= 1
    plant.until(lambda: plant.ask.get("/v1/lines").json()["lines"] == {"line-1": health["version"]})
    records = plant.ask.get(f"/v1/predictions/{said['prediction']}").json()["records"]
    assert [record["body"].get("reviewer") for record in records] == [None, "line-1.ann"]
    plant.edge_off(signal.SIGKILL)
    plant.until(lambda: station.heard[f"{HERE}/state"][-1] == b"offline")


def test_a_broker_that_is_killed_costs_no_prediction_and_no_event(plant):
    """Releases go on by the stream, what is predicted arrives; when the broker is back, so are the releases."""
    plant.taught([1.0, -1.0], "worn")
    plant.broker.stop(signal.SIGKILL)
    plant.until(lambda: not plant.health()["mqtt"]["connected"])
    plant.taught([-1.0, 1.0], "worn")
    away = plant.health()
    assert away["mqtt"]["releases"]["stream"] >= 1
    assert "broker" in away["mqtt"]["trouble"]
    assert away["mqtt"]["waiting"] >= 1
    plant.until(lambda: "broker" in plant.ask.get("/v1/fleet").json()["lines"][0]["report"]["trouble"])
    plant.station.heard.pop("plant/bearings/releases/state")
    plant.broker.start()
    plant.until(lambda: plant.health()["mqtt"]["connected"])
    plant.until(lambda: plant.station.heard["plant/bearings/releases/state"][-1:] == [b"online"])
    before = plant.health()["mqtt"]["releases"]
    for number in range(3):
        plant.taught([3.0 + number, 3.0], "worn")
    after = plant.health()["mqtt"]["releases"]
    assert after["mqtt"] > before.get("mqtt", 0)
    assert after["stream"] <= before["stream"] + 1, "one may have been on its way"
    plant.until(lambda: plant.health()["waiting_events"] == 0)
    health = plant.health()
    assert (health["dropped"], health["refused"], health["mqtt"]["dropped"]) == ({}, [], {})
    plant.until(lambda: plant.health()["mqtt"]["waiting"] == 0)
    said = {one["prediction"] for one in plant.station.json(f"{HERE}/answer")}
    assert len(said) >= 5
    assert [name for name in said if plant.ask.get(f"/v1/predictions/{name}").status_code != 200] == []


def test_a_line_that_was_away_takes_one_step(plant):
    """However many releases it missed."""
    plant.taught([1.0, -1.0], "worn")
    plant.edge_off()
    for number in range(4):
        before = plant.newest()
        seen = plant.ask.post("/v1/observations?line=line-2", content=b"[2.0, %d.0]" % number)
        plant.told(seen.json()["id"], "worn")
        plant.until(lambda before=before: plant.newest() > before)
    newest = plant.newest()
    plant.edge_on()
    plant.until(lambda: plant.health()["version"] == newest)
    assert plant.health()["mqtt"]["releases"] == {"mqtt": 1}


def order(plant, name):
    """An engineer's order about the line."""
    body = {"order": name, "line": "line-1", "reason": "an audit"}
    assert plant.ask.post("/v1/commands", json=body).is_success


def learned_elsewhere(plant):
    """Another line's verdict: a newer release than line-1 has."""
    before = plant.newest()
    seen = plant.ask.post("/v1/observations?line=line-2", content=b"[2.0, %d.0]" % before)
    plant.told(seen.json()["id"], "worn")
    plant.until(lambda: plant.newest() > before)


def test_a_pinned_line_takes_nothing_from_the_broker_either(plant):
    """What every line may take lies there all the same; unpinned, it takes the newest in one step."""
    plant.taught([1.0, -1.0], "worn")
    version = plant.health()["version"]
    order(plant, "pin")
    topic = "plant/bearings/releases/line/line-1"
    plant.until(lambda: plant.station.heard[topic])
    for _ in range(3):
        learned_elsewhere(plant)
    settled = "plant/bearings/releases/settled"
    plant.until(lambda: json.loads(plant.station.heard[settled][-1])["version"] == plant.newest())
    time.sleep(0.5)
    assert plant.health()["version"] == version
    assert plant.ask.get("/v1/fleet").json()["lines"][0]["pinned"] is True
    order(plant, "unpin")
    plant.until(lambda: plant.health()["version"] == plant.newest())


def test_a_forged_release_at_the_broker_is_refused_by_name(plant):
    """The line predicts on, and the next true release is installed all the same."""
    plant.taught([1.0, -1.0], "worn")
    version = plant.health()["version"]
    topic = "plant/bearings/releases/settled"
    forged = json.loads(plant.station.heard[topic][-1]) | {"version": version + 1000}
    plant.station.say(topic, json.dumps(forged).encode(), retain=True)
    plant.until(lambda: any("holds version" in words for words in plant.health()["refused"]))
    assert plant.predicted([1.0, -1.0])["version"] < version + 1000  # a true one may have come meanwhile
    plant.taught([-1.0, 1.0], "worn")
    plant.until(lambda: "untrusted release" in str(plant.ask.get("/v1/log?after=0&limit=1000").json()))


def test_a_video_is_answered(tmp_path, broker):
    """The frames of a file are pieces, answered at the broker and known to the hub; the line outlives the file."""
    writer = cv2.VideoWriter(str(tmp_path / "belt.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(6):
        writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    writer.release()
    images = '[sense]\ncamera = "belt.avi"\ncamera_s = 0.0\n[inspection]\nreference = false\n'
    plant = Plant(tmp_path, broker, SETTINGS.replace('vertical = "vectors"', 'vertical = "inspection"') + images)
    try:
        state = plant.until(lambda: (plant.health()["camera"] or {}).get("ended") and plant.health()["camera"])
        assert (state["frames"], state["refused"], state["trouble"]) == (6, 0, "")
        plant.until(lambda: sum(plant.health()["camera"][key] for key in ("pieces", "passed_over")) == 6)
        for said in plant.until(lambda: plant.station.json(f"{HERE}/answer")):
            name = said["prediction"]
            plant.until(lambda name=name: plant.ask.get(f"/v1/predictions/{name}").status_code == 200)
            assert plant.ask.get(f"/v1/blobs/{said['payload']}").content[:4] == b"\x89PNG"
    finally:
        plant.close()
