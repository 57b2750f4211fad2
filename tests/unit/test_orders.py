"""Orders from the command line: on the stores where no hub runs, through the hub where one does."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from typer.testing import CliRunner

import hotloop
from hotloop import orders
from hotloop.cli import app
from hotloop.config import load
from hotloop.errors import ConfigError, StoreBusyError
from hotloop.launch import start_hub
from hotloop.offline import report_of
from hotloop.types import Command, Feedback, Judgement

SETTINGS = """
vertical = "vectors"
name = "tiny"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
port = {port}
[store]
free_bytes_min = 1
"""


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def settings(tmp_path):
    """The settings of a loop with some verdicts, bob's among them, closed."""
    path = tmp_path / "loop.toml"
    path.write_text(SETTINGS.format(port=free_port()))
    rng = np.random.default_rng(0)
    with hotloop.open(path) as loop:
        for number, x in enumerate(rng.normal(size=(14, 2))):
            truth = "worn" if x.sum() > 0 else "ok"
            loop.feedback(loop.predict(x), truth, reviewer="bob" if number % 5 == 4 else "ann")
    return path


def run(*words):
    """A command's words. What it raises is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_what_bob_taught_is_taken_out(settings):
    """It says how much, which releases had learned it, and which version answers now; the log replays to it."""
    said = run("unlearn", settings, "--reviewer", "bob", "--reason", "he guessed")
    assert "2 verdicts on 2 pieces; 10 releases had learned them: versions 6 to 15" in said
    assert "version 16 answers now (before: 15)" in said
    assert "0 not" in run("replay", settings, "--out", settings.parent / "replay")
    assert "nothing in the log is meant by it" in run("unlearn", settings, "--reviewer", "nobody")


def test_since_and_verdict_select(settings):
    """A time in the future means nothing; an offset means one."""
    assert "nothing in the log" in run("unlearn", settings, "--since", "2100-01-01 00:00:00")
    with hotloop.open(settings) as loop:
        records = loop.engine._between(0, 10**9)
        offset = next(r.offset for r in records if isinstance(r.event.body, Feedback))
    assert "1 verdicts on 1 pieces" in run("unlearn", settings, "--verdict", offset)
    assert "on 14 pieces" in run("unlearn", settings, "--site", "site-1")


def test_an_order_that_selects_nothing_is_refused(settings):
    """Before anything is opened."""
    with pytest.raises(ConfigError, match="--reviewer"):
        run("unlearn", settings)


def test_a_line_is_pinned_and_unpinned(settings):
    """Without a hub, on the stores; a line has to have a name."""
    assert "version 15 answers now" in run("pin", settings, "--line", "line-7", "--reason", "an audit")
    with hotloop.open(settings) as loop:
        assert loop.engine.fleet.pinned() == {"line-7"}
    run("unpin", settings, "--line", "line-7")
    with hotloop.open(settings) as loop:
        assert loop.engine.fleet.pinned() == frozenset()
    with pytest.raises(ConfigError, match=r"--line '\.\./x' is no name"):
        run("pin", settings, "--line", "../x")


def test_freeze_thaw_rollback_promote(settings):
    """Each is carried out when the command returns, and says which version answers."""
    assert "version 15 answers now" in run("freeze", settings)
    with hotloop.open(settings) as loop:
        loop.feedback(loop.predict([1.0, 1.0]), "worn")
        assert loop.engine.model.version == 15
    assert "version 16 answers now" in run("thaw", settings)
    assert "version 17 answers now" in run("rollback", settings, "--to", "3")
    assert "version 17 answers now" in run("promote", settings)
    assert "version 17 answers now" in run("refresh", settings)
    report = report_of(load(settings))
    assert sum(report.cadence.releases.values()) >= 17


def test_where_a_hub_runs_the_order_goes_through_it(settings):
    """The same command; the hub's own log has it, with the role that gave it."""
    hub = start_hub(settings)
    try:
        assert "carried out by the next turn" in run("freeze", settings, "--reason", "audit")
        assert "versions 6 to 15" in run("unlearn", settings, "--reviewer", "bob")
    finally:
        hub.stop()
    with hotloop.open(settings) as loop:
        given = [r.event.body for r in loop.engine._between(0, 10**9) if isinstance(r.event.body, Command)]
        assert [(one.order, one.by) for one in given] == [("freeze", "engineer"), ("unlearn", "engineer")]
        assert given[0].reason == "audit"


def test_another_loops_hub_on_the_port_is_not_asked(settings, tmp_path):
    """Its tokens are others: that is said, and nothing is ordered."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "loop.toml").write_text(settings.read_text())
    mine = start_hub(settings)
    mine.stop()  # it has made its tokens
    hub = start_hub(other / "loop.toml")
    try:
        with pytest.raises(StoreBusyError, match="not this loop's"):
            run("freeze", settings)
    finally:
        hub.stop()


def test_without_an_engineers_token_it_says_who_can(settings):
    """The file names roles; one that is missing cannot order."""
    hub = start_hub(settings)
    hub.stop()
    tokens = settings.parent / "hotloop-data" / "tokens.json"
    text = tokens.read_text().replace('"engineer"', '"auditor"')
    tokens.write_text(text)
    with pytest.raises(ConfigError, match="engineer"):
        orders.give(load(settings), Command(order="freeze", by="me"), print)


def test_golden_pieces_come_from_a_labelled_folder(tmp_path):
    """Each is sealed once; what cannot be read by labels says so."""
    from hotloop.sense.images import encode_png
    from hotloop.verticals.inspection.boards import draw_board

    folder = tmp_path / "gold" / "PCBData"
    (folder / "a").mkdir(parents=True)
    lines = []
    for seed in range(2):
        board = draw_board(seed, size_px=192)
        (folder / f"a/{seed}_test.png").write_bytes(encode_png(board.test))
        (folder / f"a/{seed}_temp.png").write_bytes(encode_png(board.template))
        boxes = [f"{' '.join(str(v) for v in d.box)} 1" for d in board.defects]
        (folder / f"a/{seed}.txt").write_text("\n".join(boxes))
        lines.append(f"a/{seed}.png a/{seed}.txt")
    (folder / "trainval.txt").write_text("\n".join(lines))
    path = tmp_path / "loop.toml"
    path.write_text("[store]\nfree_bytes_min = 1\n[hub]\nport = 0\n")
    assert "2 golden pieces sealed" in run("golden", folder.parent, "--loop", path)
    assert "0 golden pieces sealed" in run("golden", folder.parent, "--loop", path)
    with hotloop.open(path) as loop:
        assert len(loop.engine.lineage.now.lessons.sealed) == 2
    vectors = tmp_path / "vectors.toml"
    vectors.write_text(SETTINGS.format(port=0))
    with pytest.raises(ConfigError, match="by HTTP"):
        run("golden", folder.parent, "--loop", vectors)


def test_a_reviewer_is_reinstated_by_name(settings):
    """Nobody is distrusted here: that is said in the log, and no model changes."""
    assert "version 15 answers now (before: 15)" in run("reinstate", settings, "--reviewer", "bob")
    with hotloop.open(settings) as loop:
        judged = [r.event.body for r in loop.engine._between(0, 10**9) if isinstance(r.event.body, Judgement)]
    assert "'bob' is not distrusted" in judged[-1].reason
