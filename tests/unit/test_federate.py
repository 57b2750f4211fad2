"""Federation as a site uses it: export, try, begin with what others know."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import hotloop
from hotloop.cli import app
from hotloop.config import load
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.loading import load_federated, load_vertical
from hotloop.offline import tried

SETTINGS = """
vertical = "vectors"
site = "{site}"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
port = 0
[store]
free_bytes_min = 1
"""


def run(*words):
    """A command's words. What it raises is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def grown(folder, site, count, *, odd=False, more=""):
    """A loop of a site with so many verdicts, closed; its settings. `odd`: its truth is the other way round."""
    folder.mkdir()
    path = folder / "loop.toml"
    path.write_text(SETTINGS.format(site=site) + more)
    rng = np.random.default_rng(len(site))
    with hotloop.open(path) as loop:
        for x in rng.normal(size=(count, 2)):
            loop.feedback(loop.predict(x), "worn" if (x.sum() > 0) != odd else "ok")
    return path


def test_a_site_begins_with_what_another_knows(tmp_path):
    """After one verdict of its own it answers as the other learned to; the log replays to it."""
    north = grown(tmp_path / "north", "north", 40)
    target = tmp_path / "north.sums"
    assert "what north has learned" in run("federate", "export", north, "--to", target)
    south = grown(tmp_path / "south", "south", 1, more=f'[learn]\nfederated = ["{target}"]\n')
    with hotloop.open(south) as loop:
        assert [loop.predict(x).outputs[0].label for x in ([2.0, 1.0], [-2.0, -1.0])] == ["worn", "ok"]
        assert "(federation)" in loop.engine.lineage.now.reflex.sites
    assert "0 not" in run("replay", south, "--out", tmp_path / "out")


def test_what_serves_a_site_is_said(tmp_path):
    """Its own head where the others' truth is another, the shared one where it is the same."""
    target = tmp_path / "north.sums"
    run("federate", "export", grown(tmp_path / "north", "north", 200), "--to", target)
    alike = grown(tmp_path / "alike", "alike", 60)
    odd = grown(tmp_path / "odd", "odd", 60, odd=True)
    assert "federated_weight = 1 " in run("federate", "try", target, "--loop", alike)
    said = run("federate", "try", target, "--loop", odd)
    assert "federated_weight = 1 " not in said
    assert "e-value" in said
    few = grown(tmp_path / "few", "few", 5)
    with pytest.raises(InputError, match="too few"):
        run("federate", "try", target, "--loop", few)
    with pytest.raises(ConfigError, match="at least one"):
        tried(load(alike), [], lambda items, *_: items)


def test_what_cannot_be_added_is_refused_at_the_start(tmp_path):
    """A file that is not there, one that is none, one of another model; and too little to give away."""
    path = grown(tmp_path / "north", "north", 40)
    config = load(path)
    vertical = load_vertical(config)

    def given(name):
        return msgspec.structs.replace(config, learn=msgspec.structs.replace(config.learn, federated=(str(name),)))

    assert load_federated(config, vertical) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        load_federated(given(tmp_path / "gone"), vertical)
    (tmp_path / "none").write_bytes(b"x" * 200)
    with pytest.raises(ModelError, match="not as it was written"):
        load_federated(given(tmp_path / "none"), vertical)
    run("federate", "export", path, "--to", tmp_path / "north.sums")
    other = load_vertical(msgspec.structs.replace(config, tables={"vectors": dict(labels=["a", "b"], columns=2)}))
    with pytest.raises(ModelError, match="cannot be added"):
        load_federated(given(tmp_path / "north.sums"), other)
    with pytest.raises(ModelError, match="reconstructed"):
        run("federate", "export", grown(tmp_path / "new", "new", 1), "--to", tmp_path / "new.sums")
