"""The commands of the line's side and of the keys: what they need, and what they say."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from hotloop.cli import app
from hotloop.edge import run as edge
from hotloop.errors import AccessError, ConfigError, HubUnreachableError
from hotloop.store.clock import SystemClock
from hotloop.store.signing import first_root, make_keys
from hotloop.types import digest


@pytest.fixture
def settings(tmp_path):
    """A loop of vectors."""
    path = tmp_path / "loop.toml"
    path.write_text('vertical = "vectors"\n[vectors]\nlabels = ["ok", "worn"]\ncolumns = 2\n')
    return path


def run(*words, env=None):
    """A command; what it printed, or the error it ended in."""
    result = CliRunner().invoke(app, [str(word) for word in words], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_keys_are_made_shown_and_exchanged(settings, tmp_path):
    """The root key goes where it is told to; the digest is that of the first root, also after a rotation."""
    stick = tmp_path / "stick"
    said = run("keys", "init", settings, "--root-folder", stick)
    assert str(stick / "root.pem") in said
    trust = tmp_path / "hotloop-data/trust"
    assert not (trust / "root.pem").exists()
    shown = run("keys", "show", settings).strip()
    assert shown == digest(first_root(trust))
    assert "root 2 is written" in run("keys", "rotate", settings, "--root-key", stick / "root.pem")
    assert run("keys", "show", settings).strip() == shown
    with pytest.raises(ConfigError, match="give the new root key another folder"):
        run("keys", "rotate", settings, "--root-key", stick / "root.pem", "--root-folder", stick)
    assert "root 3 is written" in run(
        "keys", "rotate", settings, "--root-key", stick / "root.pem", "--root-folder", tmp_path / "another"
    )
    with pytest.raises(ConfigError, match="keys already"):
        run("keys", "init", settings)


def test_keys_that_are_not_there_are_said(settings):
    """With the command that makes them."""
    with pytest.raises(ConfigError, match="hotloop keys init"):
        run("keys", "show", settings)
    with pytest.raises(ConfigError, match="hotloop keys init"):
        run("keys", "rotate", settings, "--root-key", "nowhere.pem")


@pytest.mark.parametrize(
    ("words", "env", "message"),
    [
        ((), {}, "--hub http"),
        (("--hub", "http://h"), {}, "--line line-1"),
        (("--hub", "http://h", "--line", "a b"), {}, "no name"),
        (("--hub", "http://h", "--line", "l"), {"HOTLOOP_TOKEN": " "}, "no token"),
        (("--hub", "http://h", "--line", "l", "--token-file", "nowhere"), {}, "cannot be read"),
    ],
)
def test_what_an_edge_needs_is_said(settings, words, env, message):
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=message):
        run("edge", settings, *words, env=env)


class Client:
    """A hub that has a root, after it was away for a while."""

    def __init__(self, root, away=0):
        self.root, self.away = root, away

    def release_file(self, name):
        if self.away:
            self.away -= 1
            raise HubUnreachableError("away")
        return self.root

    def enrol(self):
        return "token", self.root

    def close(self):
        pass


@pytest.fixture
def root(tmp_path):
    """A hub's first root."""
    make_keys(tmp_path / "trust", SystemClock())
    return first_root(tmp_path / "trust")


def test_the_root_is_kept_from_the_first_start_on(root, tmp_path):
    """Another one that the hub shows later is not looked at."""
    post = edge.Post("http://h", "l", "t", tmp_path / "edge")
    assert edge.trusted_root(post, Client(root)) == root
    assert edge.trusted_root(post, Client(b"another")) == root


def test_a_code_names_the_root_that_is_to_be_trusted(root, tmp_path, monkeypatch):
    """A hub that shows another one is not enrolled with: nothing is kept."""
    monkeypatch.setattr(edge, "HubClient", lambda hub, code: Client(root))
    with pytest.raises(AccessError, match="Nothing was kept"):
        edge.enrolled("http://h", "code." + digest(b"told"), tmp_path / "edge")
    assert not (tmp_path / "edge").exists()
    edge.enrolled("http://h", "code." + digest(root), tmp_path / "edge")
    assert edge.own_token(tmp_path / "edge") == "token"
    assert edge.own_token(tmp_path / "other") == ""
    assert (tmp_path / "edge/token").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(edge, "HubClient", lambda hub, code: pytest.fail("a code is good once"))
    edge.enrolled("http://h", "code." + digest(root), tmp_path / "edge")
    told = []
    monkeypatch.setattr(edge, "HubClient", lambda hub, code: told.append(code) or Client(root))
    edge.enrolled("http://h", "another." + digest(root), tmp_path / "edge")
    assert told == ["another"], "a device that was told off enrols again with a new code"
    (tmp_path / "edge/token").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        edge.own_token(tmp_path / "edge")


def test_a_folder_that_cannot_be_written_is_said(root, tmp_path):
    """With the flag that gives another."""
    (tmp_path / "edge").write_text("a file")
    with pytest.raises(ConfigError, match="--state"):
        edge.trusted_root(edge.Post("http://h", "l", "t", tmp_path / "edge"), Client(root))


def test_the_first_start_waits_for_the_hub(root, tmp_path, caplog):
    """Until it is told to stop."""
    stop = threading.Event()
    stop.wait = lambda seconds: False
    post = edge.Post("http://h", "l", "t", tmp_path / "edge")
    assert edge._root(post, Client(root, away=3), stop) == root
    assert caplog.text.count("needs the hub") == 3
    stop.wait = lambda seconds: True
    with pytest.raises(HubUnreachableError):
        edge._root(edge.Post("http://h", "l", "t", tmp_path / "new"), Client(root, away=3), stop)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        edge._root(edge.Post("http://h", "l", "t", tmp_path / "file"), Client(root), stop)


LIGHT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prometheus_client", "matplotlib", "pyarrow", "lance", "uvicorn", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def lightly(code):
    """Run code where the hub's packages are not installed."""
    return subprocess.run([sys.executable, "-c", LIGHT + code], capture_output=True, text=True, check=False, timeout=60)


def test_a_device_needs_neither_a_lake_nor_a_server_nor_torch():
    """`hotloop[edge]` is enough to load a line's vertical and its agent."""
    code = "import hotloop.edge.run\nfrom hotloop.config import LoopConfig\nfrom hotloop.loading import load_vertical\n"
    done = lightly(code + "print(load_vertical(LoopConfig()).start().labels)")
    assert "open" in done.stdout, done.stderr


def test_a_command_that_needs_more_says_what_to_install(settings):
    """In one sentence, without a traceback."""
    done = lightly(f"sys.argv = ['hotloop', 'report', {str(settings)!r}]\nfrom hotloop.cli import main\nmain()")
    assert done.returncode == 1
    assert "is not installed: pip install 'hotloop[hub]'" in done.stderr
    assert "Traceback" not in done.stderr
