"""`hotloop edge` beside `hotloop up` as two processes: signed releases, a hub that goes away, a line that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
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
[sense]
folder = "in"
poll_s = 0.05
[edge]
port = {edge}
keep_s = 0.0
"""


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Plant:
    """A hub and an edge in one folder, each of which can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.edge_port, self.clients = folder, free_port(), []
        (folder / "in").mkdir()
        (folder / "loop.toml").write_text(SETTINGS.format(hub=free_port(), edge=self.edge_port))
        (folder / "hub.toml").write_text((folder / "loop.toml").read_text().replace('folder = "in"', 'folder = ""'))
        self.hub_on()
        token = folder / "token"
        token.write_text(self.hub.tokens["line"] + "\n")
        self.edge = None
        self.edge_on()

    def hub_on(self):
        self.hub = start_hub(self.folder / "hub.toml")
        headers = {"authorization": f"Bearer {self.hub.tokens['admin']}"}
        self.ask = httpx.Client(base_url=self.hub.url, headers=headers, trust_env=False, timeout=20)
        self.clients.append(self.ask)

    def edge_on(self, *more):
        command = [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", self.hub.url, "--line", "line-1"]
        command += ["--token-file", "token", *more]
        with (self.folder / "edge.log").open("ab") as log:
            self.edge = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.local = httpx.Client(base_url=f"http://127.0.0.1:{self.edge_port}", trust_env=False, timeout=20)
        self.clients.append(self.local)
        return self.until(self.health)

    def edge_off(self, how=signal.SIGTERM):
        self.edge.send_signal(how)
        return self.edge.wait(20)

    def health(self):
        with suppress(httpx.TransportError):
            return self.local.get("/healthz").json()
        assert self.edge.poll() is None, (self.folder / "edge.log").read_text()
        return None

    def until(self, found, limit_s=30.0):
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
        answer = self.ask.post("/v1/feedback", json=body)
        assert answer.is_success, answer.text

    def close(self):
        if self.edge.poll() is None:
            self.edge_off()
        self.hub.stop()
        for client in self.clients:
            client.close()


@pytest.fixture
def plant(tmp_path):
    found = Plant(tmp_path)
    yield found
    found.close()


def test_a_line_learns_goes_on_alone_and_loses_nothing(plant):
    """Release, hub away, verdict at the line, kill -9 of the edge, hub back: everything arrives, each once."""
    first = plant.predicted([1.0, -1.0])
    assert first["outputs"][0]["label"] == "ok"
    plant.told(first["prediction"], "worn")
    plant.until(lambda: plant.predicted([1.0, -1.0])["outputs"][0]["label"] == "worn")
    version = plant.health()["version"]
    plant.until(lambda: plant.ask.get("/v1/lines").json()["lines"] == {"line-1": version})
    plant.until(lambda: plant.health()["waiting_events"] == 0)

    plant.hub.stop()
    alone = [plant.predicted([1.0, -1.0 - k / 10]) for k in range(20)]
    assert {said["outputs"][0]["label"] for said in alone} == {"worn"}
    word = {"prediction": alone[3]["prediction"], "reviewer": "line-1", "claims": [{"label": "ok"}]}
    assert plant.local.post("/feedback", json=word).json() == {"taken": True}
    (plant.folder / "in/piece.json").write_text("[1.0, -1.0]")
    beside = plant.folder / "in/piece.json.hotloop.json"
    plant.until(beside.exists)
    assert json.loads(beside.read_text())["outputs"][0]["label"] == "worn"
    plant.until(lambda: plant.health()["waiting_events"] == 22)

    plant.edge_off(signal.SIGKILL)
    assert plant.edge_on()["version"] == version
    plant.hub_on()
    plant.until(lambda: plant.health()["waiting_events"] == 0)
    plant.until(lambda: plant.health()["version"] > version)
    for said in alone:
        answer = plant.ask.get(f"/v1/predictions/{said['prediction']}")
        assert answer.status_code == 200, answer.text
        bodies = [record["body"]["type"] for record in answer.json()["records"]]
        assert bodies == ["prediction", *(["feedback"] if said is alone[3] else [])]
    assert plant.health()["dropped"] == {}
    assert plant.edge_off() == 0


def test_a_hub_with_other_keys_is_not_believed(plant):
    """Somebody in the hub's place: the line says so, and answers with what it has."""
    said = plant.predicted([1.0, -1.0])
    plant.told(said["prediction"], "worn")
    version = plant.until(lambda: plant.health()["version"] > 1 and plant.health()["version"])
    plant.hub.stop()
    for path in (plant.folder / "hotloop-data/trust").iterdir():
        path.unlink()
    plant.hub_on()
    plant.told(plant.predicted([1.0, -2.0])["prediction"], "ok")
    refused = plant.until(lambda: plant.health()["refused"])
    assert any("not signed by the keys" in words for words in refused)
    assert plant.health()["version"] == version


def test_the_first_start_waits_for_the_hub_and_a_wrong_token_is_said(plant):
    """It says what it waits for; a token that the hub does not take ends it."""
    plant.edge_off()
    (plant.folder / "token").write_text("x" * 40)
    command = [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", plant.hub.url, "--line", "line-3"]
    done = subprocess.run(
        [*command, "--state", "s"], cwd=plant.folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HOTLOOP_TOKEN": "x" * 40},
    )  # fmt: skip
    assert done.returncode == 1
    assert "AccessError" in done.stderr


def test_a_device_enrols_once_and_is_a_stranger_when_it_is_lost(plant):
    """A code from the command line, a token of its own, and an end."""
    plant.edge_off()
    run = {"cwd": plant.folder, "capture_output": True, "text": True, "timeout": 60, "check": True}
    said = subprocess.run([sys.executable, "-m", "hotloop", "enrol", "hub.toml", "--line", "line-9"], **run).stdout
    words = said.split()
    code = words[words.index("--enrol") + 1]
    command = [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", plant.hub.url, "--line", "line-9"]
    with (plant.folder / "edge.log").open("ab") as log:
        plant.edge = subprocess.Popen(
            [*command, "--state", "nine", "--enrol", code], cwd=plant.folder, stdout=log, stderr=log
        )
    plant.until(plant.health)
    plant.told(plant.predicted([1.0, -1.0])["prediction"], "worn")
    version = plant.until(lambda: plant.health()["version"] > 1 and plant.health()["version"])
    assert (plant.folder / "nine/token").stat().st_mode & 0o077 == 0
    second = subprocess.run([*command, "--state", "ten", "--enrol", code], **run | {"check": False})
    assert second.returncode == 1
    assert "AccessError" in second.stderr
    subprocess.run([sys.executable, "-m", "hotloop", "revoke", "hub.toml", "--line", "line-9"], **run)
    name = plant.predicted([1.0, -2.0])["prediction"]
    plant.until(lambda: "Bearer" in plant.health()["trouble"])
    assert plant.ask.get(f"/v1/predictions/{name}").status_code == 404
    assert plant.health()["version"] == version


def test_a_pinned_line_stays_over_a_restart_of_the_hub(plant):
    """By the command line; the table says so; unpinned, it takes the newest in one step."""
    first = plant.predicted([1.0, -1.0])
    plant.told(first["prediction"], "worn")
    plant.until(lambda: plant.predicted([1.0, -1.0])["outputs"][0]["label"] == "worn")
    version = plant.until(lambda: plant.health()["version"])

    def commanded(*words):
        done = subprocess.run(
            [sys.executable, "-m", "hotloop", *words], cwd=plant.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    commanded("pin", "loop.toml", "--line", "line-1", "--reason", "an audit")
    plant.hub.stop()
    plant.hub_on()
    seen = plant.ask.post("/v1/observations?line=line-2", content=b"[2.0, 1.0]").json()
    plant.told(seen["id"], "worn")
    newest = plant.until(lambda: (found := plant.ask.get("/v1/fleet").json()["newest"]) > version and found)
    plant.until(lambda: any(one["pinned"] for one in plant.ask.get("/v1/fleet").json()["lines"]))
    time.sleep(1.0)
    assert plant.health()["version"] == version
    assert "pinned" in commanded("fleet", "loop.toml")
    commanded("unpin", "loop.toml", "--line", "line-1")
    plant.until(lambda: plant.health()["version"] == newest)


def test_the_fleet_is_shown(plant):
    """A line, its version, what waits."""
    plant.until(lambda: plant.ask.get("/v1/fleet").json()["lines"])
    found = subprocess.run(
        [sys.executable, "-m", "hotloop", "fleet", "hub.toml"],
        cwd=plant.folder, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert "line-1" in found.stdout
    assert "1 lines; version 1 goes out, 1 is for all" in found.stdout
