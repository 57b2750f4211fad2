"""Each finding says what was found and what to do about it; nothing ends in a traceback."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest

from hotloop import doctor
from hotloop.doctor import examine


@pytest.fixture
def loop(tmp_path):
    """Writes a loop.toml and gives its path."""

    def write(more="", port=0):
        path = tmp_path / "loop.toml"
        path.write_text(f"vertical = 'vectors'\n[vectors]\nlabels = ['a', 'b']\n[hub]\nport = {port}\n{more}")
        return path

    return write


def found(path, what):
    return next(finding for finding in examine(path) if finding.what == what)


def test_a_fit_machine_is_good_throughout(loop, monkeypatch):
    """Every line is good, and the machine's come first."""
    monkeypatch.setattr(doctor, "_sync_s", lambda folder: 0.001)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**40))
    path = loop()
    findings = list(examine(path))
    assert [finding.state for finding in findings] == ["good"] * len(findings)
    assert [finding.what for finding in findings] == [
        "Python", "SQLite", "ONNX Runtime", "clock", str(path), "store", "disk", "disk speed", "port",
        "watched folder", "camera", "broker", "vectors",
    ]  # fmt: skip


def test_without_a_loop_the_machine_is_looked_at():
    """No file is needed."""
    assert [finding.what for finding in examine(None)] == ["Python", "SQLite", "ONNX Runtime", "clock"]


@pytest.mark.parametrize("text", [None, "nmae = 'x'", "= ="])
def test_a_loop_toml_that_is_wrong_is_a_finding(tmp_path, text):
    """Missing, misspelt or no TOML: told in its own words, and nothing further is looked at."""
    path = tmp_path / "loop.toml"
    if text is not None:
        path.write_text(text)
    last = list(examine(path))[-1]
    assert (last.state, last.what) == ("bad", str(path))
    assert last.mend


def test_an_old_sqlite_is_bad(monkeypatch):
    """It can corrupt what it keeps; numbers are compared as numbers."""
    for version, state in (("3.40.1", "bad"), ("3.9.99", "bad"), ("3.51.3", "good"), ("3.100.0", "good")):
        monkeypatch.setattr(doctor.apsw, "sqlite_lib_version", lambda version=version: version)
        assert found(None, "SQLite").state == state


def test_a_clock_that_was_never_set_is_told(monkeypatch):
    """Reports would be of 1970."""
    monkeypatch.setattr(doctor.time, "time", lambda: 12.0)
    assert found(None, "clock").state == "warning"
    assert "1970-01-01" in found(None, "clock").found


def test_a_store_that_cannot_be_written_is_bad_and_the_rest_is_looked_at(loop, tmp_path):
    """A file where the folder should be."""
    (tmp_path / "data").write_bytes(b"")
    path = loop("[store]\nfolder = 'data/deep'")
    assert found(path, "store").state == "bad"
    assert found(path, "port").state == "good"


def test_a_disk_that_cannot_sync_is_a_finding(loop, monkeypatch):
    """No traceback where the folder above is not ours either."""

    def failing(number):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "fsync", failing)
    finding = found(loop(), "disk speed")
    assert finding.state == "bad"
    assert "Permission denied" in finding.found


@pytest.mark.parametrize(("free", "state"), [(2**25, "bad"), (2**28, "warning"), (2**40, "good")])
def test_room_on_the_disk(loop, monkeypatch, free, state):
    """Below the limit images are refused; a little above it is a warning."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert found(loop(), "disk").state == state


@pytest.mark.parametrize(("seconds", "state"), [(0.002, "good"), (0.2, "warning")])
def test_how_long_a_sync_takes(loop, monkeypatch, seconds, state):
    """Shown in milliseconds; slow disks delay every verdict."""
    monkeypatch.setattr(doctor, "_sync_s", lambda folder: seconds)
    finding = found(loop(), "disk speed")
    assert (finding.state, finding.found) == (state, f"{1000 * seconds:.1f} ms a sync")


def test_a_port_that_is_taken_is_bad(loop):
    """With the place and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finding = found(loop(port=taken.getsockname()[1]), "port")
    assert finding.state == "bad"
    assert "[hub] port" in finding.mend


def test_a_host_that_is_not_of_this_machine_is_bad(loop):
    """An address of somebody else's."""
    assert found(loop("host = '203.0.113.7'"), "port").state == "bad"


def test_the_watched_folder(loop, tmp_path):
    """There, or not."""
    path = loop("[sense]\nfolder = 'in'")
    assert found(path, "watched folder").state == "bad"
    (tmp_path / "in").mkdir()
    assert found(path, "watched folder").state == "good"


def test_a_vertical_that_cannot_be_loaded_is_bad(tmp_path):
    """In its own words."""
    path = tmp_path / "loop.toml"
    path.write_text("vertical = 'vectors'")
    assert found(path, "vectors").state == "bad"
    assert "labels" in found(path, "vectors").found


def test_every_problem_comes_with_what_to_do(loop, monkeypatch):
    """Nothing that is not good leaves one alone with it."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    monkeypatch.setattr(doctor, "_sync_s", lambda folder: 9.9)
    monkeypatch.setattr(doctor.time, "time", lambda: 0.0)
    troubled = [finding for finding in examine(loop("[sense]\nfolder = 'in'")) if finding.state != "good"]
    assert len(troubled) >= 4
    assert all(finding.mend for finding in troubled)


def test_a_camera_is_looked_at_as_far_as_that_goes_here(loop):
    """A file that is not there is bad; whether a camera gives frames is seen at the line."""
    assert found(loop("[sense]\ncamera = 'none.avi'"), "camera").state == "bad"
    good = found(loop("[sense]\ncamera = 'rtsp://ann:secret@cam/1'"), "camera")
    assert (good.state, "rtsp://cam/1" in good.found, "secret" in good.found) == ("good", True, False)


def test_a_broker_is_called(loop):
    """One that does not answer is a warning, for all goes on without it; an address that is none is bad."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert found(loop(f"[mqtt]\nurl = 'mqtt://127.0.0.1:{port}'"), "broker").state == "good"
    away = found(loop(f"[mqtt]\nurl = 'mqtt://127.0.0.1:{port}'"), "broker")
    assert (away.state, "follow the hub" in away.mend) == ("warning", True)
    assert found(loop("[mqtt]\nurl = 'http://b'"), "broker").state == "bad"


def test_a_runtime_that_is_wanted_and_not_here_is_a_warning(tmp_path):
    """With what is used instead; one that is here is good."""
    path = tmp_path / "loop.toml"
    path.write_text('[inspection]\nruntimes = ["cann", "cpu"]\n[hub]\nport = 0\n')
    seen = found(path, "inspection")
    assert seen.state == "warning"
    assert "on cpu (cann: not on this device" in seen.found
    path.write_text("[hub]\nport = 0\n")
    seen = found(path, "inspection")
    assert (seen.state, seen.found.endswith("on cpu")) == ("good", True)
