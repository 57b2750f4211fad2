"""A broker for tests: found, fetched without root, or said to be missing."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hotloop.errors import NotFoundError, ServiceError
from hotloop.testing import mosquitto
from hotloop.testing.mosquitto import fetch, main, program


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without mosquitto."""
    monkeypatch.setattr(mosquitto, "_OWN", tmp_path / "own")
    monkeypatch.setattr(mosquitto, "_USUAL", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def executable(path):
    """A file that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_what_is_installed_comes_before_what_was_fetched(nowhere):
    """And without either, it is said what to do."""
    with pytest.raises(NotFoundError, match="apt install mosquitto"):
        program()
    own = executable(nowhere / "own/usr/sbin/mosquitto")
    assert program() == own
    installed = executable(nowhere / "mosquitto")
    assert program() == installed


@pytest.mark.parametrize("lists", ["there", "old", "gone"])
def test_it_is_fetched_with_what_it_lacks(nowhere, monkeypatch, lists):
    """Lists that are old are brought up to date, if that is allowed; else it is said what apt said."""
    asked = []

    def run(command, **_):
        asked.append(command[:2])
        failed = command[1] == "download" and (lists == "gone" or (lists == "old" and asked.count(command[:2]) == 1))
        if command[1] == "install":
            return subprocess.CompletedProcess(command, 0, "Inst libdlt2 (1)\nInst mosquitto (2)\n", "")
        if command[1] == "download":
            assert list(command[2:]) == ["libdlt2", "mosquitto"]
            if not failed:
                executable(nowhere / "own/usr/sbin/mosquitto")
        return subprocess.CompletedProcess(command, int(failed), "", "E: no such package\n" if failed else "")

    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "mosquitto" else f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda command, **more: run(list(command), **more))
    if lists == "gone":
        with pytest.raises(NotFoundError, match="no such package"):
            fetch()
    else:
        assert fetch() == nowhere / "own/usr/sbin/mosquitto"
    assert asked.count(["apt-get", "update"]) == (lists != "there")


def test_a_machine_without_apt_is_no_failure(nowhere, capsys):
    """`make test` goes on; the tests that need it are skipped, and say why."""
    main()
    assert "there is no apt here" in capsys.readouterr().out


def test_where_it_is_is_said(nowhere, capsys):
    """By the command."""
    found = executable(nowhere / "mosquitto")
    main()
    assert capsys.readouterr().out == f"{found}\n"


def test_one_that_does_not_start_says_why(brokers):
    """In its own words."""
    with pytest.raises(ServiceError, match="no_such_setting"):
        brokers("no_such_setting 1").start()


def test_a_client_that_never_asks_is_not_waited_for_for_ever(broker, monkeypatch):
    """It is said who it was."""
    monkeypatch.setattr(mosquitto, "_UP_S_MAX", 0.05)
    with pytest.raises(ServiceError, match="nobody never asked"):
        broker.heeds("nobody")
