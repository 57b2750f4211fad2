"""The command line: each command on a small loop, and errors that end in one sentence and exit code 1."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import hotloop
from hotloop import cli
from hotloop.cli import app
from hotloop.config import HubConfig, LoopConfig, SenseConfig, StoreConfig, load
from hotloop.errors import ConfigError, DiskFullError, NotFoundError
from hotloop.predict import unpack_head

SETTINGS = """
vertical = "vectors"
name = "tiny"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
port = 0
[store]
free_bytes_min = 1
"""
VERDICTS = 25


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The settings of a loop with some verdicts, closed."""
    path = tmp_path_factory.mktemp("loop") / "loop.toml"
    path.write_text(SETTINGS)
    rng = np.random.default_rng(0)
    with hotloop.open(path) as loop:
        for x in rng.normal(size=(VERDICTS, 2)):
            loop.feedback(loop.predict(x), "worn" if x.sum() > 0 else "ok", reviewer="ann")
    return path


def run(*words):
    """A command's result. What it raises is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def main(monkeypatch, capsys, *words):
    """Run as a user does: (exit code, what stood on stderr)."""
    monkeypatch.setattr(sys, "argv", ["hotloop", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


def flat(text):
    """Text without the line breaks that a narrow terminal puts."""
    return " ".join(text.split())


class TestErrors:
    """How a command ends that cannot be done."""

    @pytest.mark.parametrize(
        "words",
        [("doctor-who",), ("report", "--out"), ("replay", "--to", "x"), ("up", "--port", "3"), ("init", "a", "b")],
        ids=" ".join,
    )
    def test_words_that_are_no_command_are_a_usage_error(self, monkeypatch, capsys, words):
        """Exit code 2, with what was not understood."""
        code, said = main(monkeypatch, capsys, *words)
        assert code == 2
        assert "Traceback" not in said

    @pytest.mark.parametrize("command", ["up", "report", "replay", "verify"])
    def test_a_missing_file_is_one_sentence(self, monkeypatch, capsys, tmp_path, command):
        """The kind of error, the path whole, and what to do; exit code 1, no traceback."""
        path = tmp_path / "nowhere" / "loop.toml"
        code, said = main(monkeypatch, capsys, command, path)
        assert code == 1
        assert said == f"ConfigError: {path} is not there. Write one with: hotloop init {path}\n"

    def test_brackets_survive(self, monkeypatch, capsys, tmp_path):
        """A table's name in brackets is not taken for markup."""
        path = tmp_path / "loop.toml"
        path.write_text('vertical = "vectors"\n[vectors]\nlabels = ["ok"]\n')
        code, said = main(monkeypatch, capsys, "report", path)
        assert code == 1
        assert said.startswith('ConfigError: [vectors] labels: name at least two different labels, such as ["ok", ')

    @pytest.mark.parametrize("command", ["report", "replay", "verify"])
    def test_a_loop_that_never_ran_is_said(self, monkeypatch, capsys, tmp_path, command):
        """There is no log yet; nothing is made in its place."""
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "loop.toml"
        path.write_text(SETTINGS)
        code, said = main(monkeypatch, capsys, command, path)
        assert code == 1
        assert "log.sqlite" in said
        assert not (tmp_path / "hotloop-data").exists()

    @pytest.mark.parametrize("command", ["report", "replay"])
    def test_a_folder_that_cannot_be_made_is_said(self, monkeypatch, capsys, made, tmp_path, command):
        """--out is a file."""
        (tmp_path / "file").write_text("")
        code, said = main(monkeypatch, capsys, command, made, "--out", tmp_path / "file")
        assert (code, "--out" in said, said.count("\n")) == (1, True, 1)

    def test_a_bug_is_not_dressed_up(self, monkeypatch):
        """What hotloop does not raise on purpose comes through with its traceback."""
        monkeypatch.setattr(cli, "app", lambda: {}["bug"])
        with pytest.raises(KeyError):
            cli.main()

    def test_a_demo_that_there_is_not_names_those_there_are(self):
        """With the name that was asked for."""
        with pytest.raises(ConfigError, match=r"'warp'; there are: .*inspection"):
            run("demo", "warp")


class TestInit:
    """`hotloop init`."""

    def test_what_it_writes_can_be_loaded(self, tmp_path):
        """A loop.toml with every default as it is, and the next command to type."""
        path = tmp_path / "loop.toml"
        result = run("init", path)
        assert f"hotloop doctor {path} && hotloop up {path}" in result.output
        assert load(path).hub == HubConfig()
        assert load(path).gate == LoopConfig().gate

    def test_every_setting_of_the_core_is_in_it(self, tmp_path):
        """By its name: what init does not show, nobody finds."""
        path = tmp_path / "loop.toml"
        run("init", path)
        text = path.read_text()
        for table in ("sense", "join", "learn", "gate", "rollout", "hub", "store"):
            assert f"[{table}]" in text
            for field in msgspec.structs.fields(getattr(LoopConfig(), table)):
                assert f"{field.name} =" in text, f"{table}.{field.name}"

    def test_a_file_that_is_there_is_not_touched(self, tmp_path):
        """Another name is asked for."""
        path = tmp_path / "loop.toml"
        path.write_text("mine")
        with pytest.raises(ConfigError, match="not touched"):
            run("init", path)
        assert path.read_text() == "mine"

    def test_a_folder_that_is_not_there_is_said(self, tmp_path):
        """With the path."""
        with pytest.raises(ConfigError, match="cannot be written"):
            run("init", tmp_path / "none" / "loop.toml")

    def test_a_name_in_brackets_is_shown_whole(self, tmp_path):
        """It is there to be copied."""
        path = tmp_path / "[line].toml"
        assert f"hotloop up {path}" in run("init", path).output


class TestDoctor:
    """`hotloop doctor`."""

    def test_the_machine_alone(self):
        """Without a file it looks at the machine."""
        result = run("doctor")
        assert result.exit_code == 0
        assert "SQLite" in result.output

    def test_a_loop_that_is_fit(self, made):
        """Exit code 0."""
        result = run("doctor", made)
        assert result.exit_code == 0
        assert "BAD" not in result.output

    def test_what_is_wrong_is_marked_with_its_table(self, tmp_path):
        """Exit code 1, BAD, and brackets as they are."""
        path = tmp_path / "loop.toml"
        path.write_text('vertical = "vectors"\n[vectors]\nlabels = ["ok"]\n')
        result = run("doctor", path)
        assert result.exit_code == 1
        assert "BAD" in result.output
        assert "[vectors]" in result.output


class TestReport:
    """`hotloop report`."""

    def test_words_plots_and_json(self, made, tmp_path):
        """Printed, drawn, and written to the folder that is named."""
        out = tmp_path / "deep" / "[out]"
        result = run("report", made, "--out", out)
        assert result.exit_code == 0
        assert "tiny" in result.output
        assert f"plots and JSON: {out}" in result.output
        assert {path.name for path in out.iterdir()} == {"report.json", "learning_curve.png", "waterfall.png"}
        assert json.loads((out / "report.json").read_bytes())["overall"]["verdicts"] == VERDICTS
        for plot in out.glob("*.png"):
            assert plot.read_bytes().startswith(b"\x89PNG")

    def test_json_on_standard_output_is_json_alone(self, made, tmp_path):
        """So that it can be piped; the same as in the file."""
        result = run("report", made, "--out", tmp_path, "--json")
        assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_bytes())


class TestVerify:
    """`hotloop verify`."""

    def test_a_sound_loop(self, made):
        """Log, lake and registry, each ok."""
        result = run("verify", made)
        assert result.exit_code == 0
        assert [line.split()[:2] for line in result.output.splitlines()] == [
            ["ok", "log:"],
            ["ok", "lake:"],
            ["ok", "registry:"],
        ]

    def test_a_spoilt_head_is_said(self, tmp_path):
        """One byte changed on the disk: BAD, where, and exit code 1."""
        path = tmp_path / "[loop].toml"
        path.write_text(SETTINGS)
        with hotloop.open(path) as loop:
            loop.feedback(loop.predict([1.0, 1.0]), "worn")
        store = tmp_path / "hotloop-data" / "registry.sqlite"
        data = sqlite3.connect(store)
        data.execute("UPDATE models SET head = CAST(x'00' || substr(head, 2) AS BLOB) WHERE length(head) > 1")
        data.commit()
        data.close()
        result = run("verify", path)
        assert result.exit_code == 1
        assert "BAD registry" in flat(result.output)


class TestReplay:
    """`hotloop replay`."""

    def test_every_release_is_made_again(self, made, tmp_path):
        """The counts, and that nothing differs."""
        result = run("replay", made, "--out", tmp_path)
        assert result.exit_code == 0
        assert f"{VERDICTS} releases made again" in result.output
        assert f"{VERDICTS} with the same digest, 0 not" in result.output

    def test_a_version_is_given_out(self, made, tmp_path):
        """Its head as a file that can be read."""
        out = tmp_path / "[heads]"
        result = run("replay", made, "--to", "3", "--out", out)
        assert f"version 3: {out / 'head-3.msgpack'}" in result.output
        assert unpack_head((out / "head-3.msgpack").read_bytes()).labels == ("ok", "worn")

    @pytest.mark.parametrize("version", ["99", "-1"])
    def test_a_version_that_there_is_not_is_said(self, made, tmp_path, version):
        """With how far they go."""
        with pytest.raises(NotFoundError, match=rf"version {version}; it goes up to {VERDICTS + 1}"):
            run("replay", made, "--to", version, "--out", tmp_path)

    def test_what_if_feedback_came_later(self, made, tmp_path):
        """A row for each delay, and the curves."""
        out = tmp_path / "[later]"
        result = run("replay", made, "--delays", "0,3600", "--out", out)
        assert result.exit_code == 0
        assert "3600 s" in result.output
        assert f"curves: {out / 'what_if.png'}" in result.output
        assert (out / "what_if.png").read_bytes().startswith(b"\x89PNG")

    def test_what_if_by_time_and_by_other_settings(self, made, tmp_path):
        """Delays in words, and another file's rule on the same log: a row each."""
        other = tmp_path / "strict.toml"
        other.write_text(SETTINGS + "[gate]\ntolerance = 0.0\n")
        result = run("replay", made, "--delay", "0s", "--delay", "7d", "--against", other, "--out", tmp_path)
        assert result.exit_code == 0
        for row in ("0 s", "604800 s", "strict 0 s", "strict 604800 s"):
            assert row in flat(result.output)

    @pytest.mark.parametrize("text", ["soon", "3x", "-1d", ""])
    def test_a_time_that_is_none_is_refused(self, made, tmp_path, text):
        """With what it should be."""
        with pytest.raises(ConfigError, match="is no time"):
            run("replay", made, f"--delay={text}", "--out", tmp_path)

    @pytest.mark.parametrize("text", ["soon", "1,,2", "-1", "nan", "inf", "1e9", "0;1"])
    def test_delays_that_are_none_are_refused(self, made, tmp_path, text):
        """With what they should be."""
        with pytest.raises(ConfigError, match="--delays takes seconds"):
            run("replay", made, f"--delays={text}", "--out", tmp_path)

    def test_a_registry_that_differs_ends_in_code_1(self, made, tmp_path, monkeypatch):
        """Heads that are not what the log leads to are an alarm, not a footnote."""
        from hotloop import offline

        rebuilt = offline.Rebuilt(9, 3, 2, 0.5, 1.0, None)
        monkeypatch.setattr(offline, "rebuild", lambda config, tracked, to: rebuilt)
        result = run("replay", made, "--out", tmp_path)
        assert result.exit_code == 1
        assert "2 with the same digest, 1 not" in result.output


class TestUp:
    """What `hotloop up` says and does around the hub; the hub itself is not started here."""

    def test_it_says_where_everything_is(self, capsys):
        """Addresses and paths whole, on lines of their own, even with brackets in them."""
        config = LoopConfig(name="tiny", sense=SenseConfig(folder="/in/[line]"), store=StoreConfig(folder="/data/[a]"))
        cli._say_up("http://[fe80::1]:8420", config)
        said = capsys.readouterr().out
        assert "tiny is up at http://[fe80::1]:8420\n" in said
        assert "/data/[a]/tokens.json" in said
        assert "watching /in/[line]\n" in said
        assert "POST http://[fe80::1]:8420/v1/feedback" in said

    def test_without_a_folder_it_says_how_images_come(self, capsys):
        """By HTTP."""
        cli._say_up("http://127.0.0.1:1", LoopConfig())
        assert "images come by POST /v1/observations" in capsys.readouterr().out

    def test_watching_goes_on_after_a_failing_disk(self, caplog):
        """Each failure is said; it ends when it is stopped."""
        stop = threading.Event()
        polls = iter([DiskFullError("the disk is full"), None, None])

        def poll():
            error = next(polls, stop)
            if error is stop:
                stop.set()
            elif error is not None:
                raise error

        waited = []
        patient = SimpleNamespace(wait=lambda seconds: waited.append(seconds) or stop.is_set())
        with caplog.at_level(logging.WARNING, logger="hotloop"):
            cli._watch(SimpleNamespace(poll=poll), 0.2, patient)
        assert [record.getMessage() for record in caplog.records] == ["watched folder: the disk is full"]
        assert waited == [0.2, 2.0, 0.2, 0.2, 0.2, 0.2]


def brought(monkeypatch, found):
    """Let verticals bring these commands: functions by name."""
    points = [SimpleNamespace(name=name, load=lambda made=made: made) for name, made in found.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group, name=None: [
        one for one in points if group == "hotloop.commands" and name in (None, one.name)
    ])  # fmt: skip


def test_a_vertical_brings_a_command(monkeypatch):
    """It stands in the help, takes its own arguments, and its errors end as ours do."""

    def lift(floor: int) -> None:
        """Go up."""
        if floor > 9:
            raise ConfigError("there are 9 floors")
        cli.out.print(f"floor {floor}")

    brought(monkeypatch, {"lift": lift})
    said = run("--help").output
    assert ("lift" in said, "Go up." in said) == (True, True)
    assert "floor 3" in run("lift", "3").output
    assert run("lift", "x").exit_code == 2
    with pytest.raises(ConfigError, match="9 floors"):
        run("lift", "10")


def test_a_brought_command_takes_the_place_of_none_of_ours(monkeypatch):
    """And one that nobody brings is not there."""

    def other() -> None:
        """Something else."""
        raise AssertionError

    brought(monkeypatch, {"doctor": other})
    assert "Something else." not in run("--help").output
    assert run("doctor").exit_code in (0, 1)
    assert run("lift").exit_code == 2
