"""A hub as a process of its own: what says that it is up, and what is said when it does not come up.

A small script stands in for Python: no hub is started here (`tests/system/test_up.py` starts a real one).
"""

from __future__ import annotations

import signal
import subprocess

import msgspec
import pytest

from hotloop import launch
from hotloop.errors import ServiceError
from hotloop.hub.auth import open_credentials
from hotloop.launch import Ready, RunningHub, say_ready, start_hub


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a shell script in Python's place; it gets the arguments that `hotloop up` would."""

    def put(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(launch.sys, "executable", str(path))
        return tmp_path / "loop.toml"

    return put


class Process:
    """A process that ends when it is asked to, or not."""

    def __init__(self, *, stubborn):
        self.stubborn = stubborn
        self.told = []

    def send_signal(self, number):
        self.told.append(number)

    def wait(self, timeout=None):
        self.told.append(f"wait {timeout}")
        if self.stubborn and timeout is not None:
            raise subprocess.TimeoutExpired("hub", timeout)

    def kill(self):
        self.told.append("kill")


def test_ready_is_written_whole(tmp_path):
    """In one step, so that who waits for the file never reads half of it; an older one is replaced."""
    path = tmp_path / "hub.ready"
    for port in (1, 2):
        say_ready(path, f"http://127.0.0.1:{port}", "/data")
        assert msgspec.json.decode(path.read_bytes(), type=Ready) == Ready(f"http://127.0.0.1:{port}", "/data")
        assert [found.name for found in tmp_path.iterdir()] == ["hub.ready"]


def test_a_hub_that_ends_is_a_service_error_with_what_it_said(stand_in):
    """Its last words, from both outputs, are in the error and in hub.log."""
    settings = stand_in("echo 'loop.toml: [hub] port is odd'; echo 'and no disk' >&2; exit 1")
    with pytest.raises(ServiceError, match=r"(?s)\[hub\] port is odd.*and no disk"):
        start_hub(settings)
    assert "and no disk" in settings.with_name("hub.log").read_text()


def test_long_last_words_are_cut_at_their_beginning(stand_in):
    """The end is what tells, and bytes that are no text do no harm."""
    settings = stand_in("head -c 5000 /dev/zero | tr '\\0' x; printf '\\377 the end'; exit 3")
    with pytest.raises(ServiceError) as caught:
        start_hub(settings)
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 2100


def test_a_hub_that_does_not_come_up_is_ended(stand_in, monkeypatch):
    """When its time is over it is killed and the error says so; nothing is left running."""
    made = []
    popen = subprocess.Popen

    def kept(*args, **named):
        made.append(popen(*args, **named))
        return made[0]

    monkeypatch.setattr(launch.subprocess, "Popen", kept)
    monkeypatch.setattr(launch, "_UP_S_MAX", 0.0)
    with pytest.raises(ServiceError, match="did not come up"):
        start_hub(stand_in("exec sleep 600"))
    assert made[0].returncode == -signal.SIGKILL


def test_a_hub_that_says_ready_is_running(stand_in, tmp_path):
    """Its address is what it said, its tokens are those of its folder, by role; an old ready file is not believed."""
    settings = stand_in(f"""test "$1 $2 $3" = "-m hotloop.cli up" && test "$5" = --ready && test ! -e "$6" || exit 9
printf '{{"url": "http://127.0.0.1:99", "folder": "{tmp_path}/data"}}' > "$6.part" && mv "$6.part" "$6"
exec sleep 600""")
    settings.with_name("hub.ready").write_text("from last time")
    hub = start_hub(settings)
    try:
        assert hub.url == "http://127.0.0.1:99"
        assert hub.tokens == {c.role: c.token for c in open_credentials(tmp_path / "data")}
        assert {"line", "operator", "engineer"} <= set(hub.tokens)
    finally:
        hub.process.kill()
        hub.process.wait()


def test_the_hub_computes_on_one_thread_unless_told_otherwise(stand_in, monkeypatch):
    """Its neighbours need the processors; a setting of the user's own goes first."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(ServiceError, match="threads 1 7"):
        start_hub(stand_in('echo "threads $OPENBLAS_NUM_THREADS $OMP_NUM_THREADS"; exit 1'))


@pytest.mark.parametrize(("stubborn", "more"), [(False, []), (True, ["kill", "wait None"])])
def test_stopping_asks_first(stubborn, more):
    """An interrupt, time to end, and only then the end; it is waited for, so that no zombie stays."""
    process = Process(stubborn=stubborn)
    RunningHub(process, "http://127.0.0.1:99", {}).stop()
    assert process.told == [signal.SIGINT, "wait 30.0", *more]
