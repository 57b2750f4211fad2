"""`hotloop up` as a user runs it: a process, a folder, HTTP, and the next answer after a verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from hotloop.launch import RunningHub, start_hub
from hotloop.verticals.inspection.plant import plant_boards

VECTORS = """
name = "bearings"
vertical = "vectors"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
port = 0
"""
FOLDER = """
name = "boards"
[sense]
folder = "in"
poll_s = 0.05
[hub]
port = 0
"""


def client(hub: RunningHub, role: str) -> httpx.Client:
    """A client with a role's token."""
    headers = {"authorization": f"Bearer {hub.tokens[role]}"}
    return httpx.Client(base_url=hub.url, headers=headers, trust_env=False, timeout=20)


def until(found, limit_s: float = 20.0):
    """The first true answer of `found`."""
    deadline = time.monotonic() + limit_s
    while not (answer := found()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)
    return answer


def test_a_verdict_by_http_changes_the_next_answer(tmp_path: Path) -> None:
    """A vector is answered, corrected, and the next like it is answered right, by a newer version."""
    settings = tmp_path / "loop.toml"
    settings.write_text(VECTORS)
    hub = start_hub(settings)
    try:
        with client(hub, "operator") as operator:
            said = operator.post("/v1/observations?line=l1", json=[1.0, -1.0]).json()
            assert said["outputs"][0]["label"] == "ok"
            truth = {"prediction": said["id"], "reviewer": "ann", "claims": [{"label": "worn"}]}
            receipt = operator.post("/v1/feedback", json=truth)
            assert receipt.is_success, receipt.text
            assert receipt.json()["known"] is True

            def next_answer():
                answer = operator.post("/v1/observations?line=l1", json=[1.0, -1.0]).json()
                return answer if answer["version"] > said["version"] else None

            assert until(next_answer)["outputs"][0]["label"] == "worn"
    finally:
        hub.stop()
    assert hub.process.returncode == 0


def test_an_image_in_the_folder_is_answered_beside_it(tmp_path: Path) -> None:
    """A board with its template gets outputs, one without gets the reason; neither is moved or repeated."""
    (tmp_path / "in").mkdir()
    (tmp_path / "loop.toml").write_text(FOLDER)
    board = next(plant_boards(3, 0, size_px=320))
    hub = start_hub(tmp_path / "loop.toml")
    try:
        (tmp_path / "in/a_temp.png").write_bytes(board.payload.reference)
        (tmp_path / "in/a_test.png").write_bytes(board.payload.data)
        (tmp_path / "in/b.png").write_bytes(board.payload.data)
        answers = [tmp_path / f"in/{name}.hotloop.json" for name in ("a_test.png", "b.png")]
        until(lambda: all(path.exists() for path in answers))
        good, bad = (json.loads(path.read_text()) for path in answers)
        assert good["version"] == 1
        assert {"label", "score", "region"} <= set(good["outputs"][0])
        assert bad["error"] == "TemplateError"
        assert "b_temp.png" in bad["detail"]
        with client(hub, "engineer") as engineer:
            report = engineer.get("/v1/report").json()
            assert report["overall"]["predictions"] == 1
            assert "hotloop_predictions_total" in engineer.get("/metrics").text
    finally:
        hub.stop()


@pytest.mark.parametrize("what", ["report", "verify", "replay"])
def test_what_ran_can_be_examined_after(tmp_path: Path, what: str) -> None:
    """After a hub has stopped, its log is reported, verified and replayed by the command line."""
    settings = tmp_path / "loop.toml"
    settings.write_text(VECTORS)
    hub = start_hub(settings)
    try:
        with client(hub, "operator") as operator:
            for k in range(6):
                said = operator.post("/v1/observations?line=l1", json=[1.0, k / 3]).json()
                truth = {"prediction": said["id"], "reviewer": "ann", "claims": [{"label": "worn"}]}
                assert operator.post("/v1/feedback", json=truth).is_success
        with client(hub, "engineer") as engineer:
            until(lambda: engineer.get("/v1/status").json()["behind"] == 0)
    finally:
        hub.stop()
    folder = [] if what == "verify" else ["--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "hotloop.cli", what, str(settings), *folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {"report": "6 predictions, 6 verified", "verify": "all as written", "replay": "0 not"}
    assert told[what] in done.stdout


def test_the_demo_learns_in_front_of_a_stranger(tmp_path: Path) -> None:
    """A short demo ends with a report, its pictures, and a model that is newer than the one it began with."""
    command = [sys.executable, "-m", "hotloop.cli", "demo", "--seconds", "8", "--lines", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("before_after.png", "learning_curve.png", "waterfall.png", "report.json", "report.txt"):
        assert (tmp_path / name).stat().st_size > 100
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["overall"]["version"] > 1
    assert report["overall"]["verdicts"] >= 5
    assert report["waterfall"]["verdict_to_live"]["count"] >= 5
