"""What a loop's stores tell without its hub: report, rebuild, what-if, and a check of every byte."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hotloop
from hotloop import offline
from hotloop.api import settled
from hotloop.errors import NotFoundError
from hotloop.offline import log_path, rebuild, report_of, verify_all, what_if
from hotloop.predict import unpack_head
from hotloop.store.log import SqliteLog
from hotloop.store.registry import SqliteRegistry
from hotloop.types import Claim, Event, Feedback, Proposals

VECTORS = {"vertical": "vectors", "labels": ["ok", "worn"], "columns": 2, "store": {"free_bytes_min": 1}}


def tracked(records, what, count):
    """Shows no progress, but checks that there would be some to show."""
    assert what
    assert count > 0
    return records


@pytest.fixture
def folder(tmp_path):
    """A loop of 12 verdicts, one of which was corrected, closed."""
    rng = np.random.default_rng(0)
    with hotloop.open(tmp_path, **VECTORS) as loop:
        for x in rng.normal(size=(12, 2)):
            loop.feedback(loop.predict(x), "worn" if x.sum() > 0 else "ok", reviewer="ann")
        loop.feedback(loop.predict([5.0, 5.0]), "ok")
    return tmp_path


@pytest.fixture
def config(folder):
    return settled(folder, VECTORS)


def test_the_report_is_the_hubs_own(folder, config):
    """From the log alone, the same numbers as the running loop tells."""
    found = report_of(config)
    with hotloop.open(folder, **VECTORS) as loop:
        loop.learn()
        own = loop.report()
        assert found.quality.overall == own.quality.overall
        assert found.overall.predictions == own.overall.predictions == 13
        assert report_of(config).offset == own.offset  # also while it runs


def test_a_prediction_of_other_features_does_not_stop_the_report(folder, config):
    """One from before the settings were changed: it is passed over."""
    with hotloop.open(folder, **VECTORS) as loop:
        said = loop.predict([1.0, 1.0])
        strange = hotloop.api.msgspec.structs.replace(
            said, id="line-2:1", proposals=Proposals(1, 3, bytes(12), kind="f4")
        )
        loop.engine.log.append([Event("line-2", 1, strange)])
        loop.feedback("line-2:1", "ok")
    assert report_of(config).quality.examples == 13
    assert rebuild(config, tracked).releases == 13


def test_a_rebuild_leads_to_the_same_releases(config):
    """Each digest is as logged, and the newest head is the registry's, to the last bit."""
    found = rebuild(config, tracked)
    assert (found.releases, found.same, found.difference) == (13, 13, 0.0)
    assert found.records > 39
    assert found.head is None


@pytest.mark.parametrize("version", [1, 2, 7, 14])
def test_a_rebuild_gives_out_any_version(config, version):
    """The head of a release, made anew, is the registry's."""
    head = rebuild(config, tracked, to=version).head
    registry = SqliteRegistry(log_path(config).with_name("registry.sqlite"), 256)
    assert head == registry.get(version).head
    registry.close()
    assert unpack_head(head).labels == ("ok", "worn")


def test_a_version_that_there_is_not_is_none(config):
    """The caller says so."""
    assert rebuild(config, tracked, to=99).head is None


@pytest.mark.parametrize("ask", [report_of, lambda config: rebuild(config, tracked)])
def test_a_loop_that_never_ran_says_so(tmp_path, ask):
    """With the command that starts it."""
    with pytest.raises(NotFoundError, match="hotloop up"):
        ask(settled(tmp_path, VECTORS))


def test_a_rebuild_without_a_registry_says_what_fills_it(config):
    """The next start does."""
    for path in log_path(config).parent.glob("registry.sqlite*"):
        path.unlink()
    with pytest.raises(NotFoundError, match="filled up"):
        rebuild(config, tracked)


def test_feedback_that_comes_later_costs_quality(folder, config, monkeypatch):
    """The same log with no delay and with a week of it: the curve is better where feedback is at once."""
    monkeypatch.setattr(offline.plots, "what_if", lambda curves, path: path.write_text(json.dumps(list(curves))))
    soon, late = what_if(config, [0.0, 604_800.0], folder)
    assert (soon.delay_s, late.delay_s) == (0.0, 604_800.0)
    assert soon.f_score > late.f_score
    assert json.loads((folder / "what_if.png").read_text()) == ["0 s", "604800 s"]


def test_a_what_if_of_an_empty_log_is_empty(tmp_path, monkeypatch):
    """Nothing was verified: no curve, and no error."""
    monkeypatch.setattr(offline.plots, "what_if", lambda curves, path: None)
    with hotloop.open(tmp_path, **VECTORS):
        pass
    (found,) = what_if(settled(tmp_path, VECTORS), [0.0], tmp_path)
    assert (found.minutes, found.scores) == ((), ())


def test_late_truth_of_what_was_forgotten_is_learned_in_a_what_if(folder, monkeypatch):
    """With a small memory the predictions are looked up in what was replayed."""
    monkeypatch.setattr(offline.plots, "what_if", lambda curves, path: None)
    scores = [
        what_if(settled(folder, VECTORS | {"join": {"entries_max": size}}), [1e-3, 604_800.0], folder)
        for size in (1, 100_000)
    ]
    assert scores[0] == scores[1]


def test_whole_stores_are_found_whole(config):
    """Log, lake and registry, each with what was looked at."""
    found = list(verify_all(config))
    assert [finding.what for finding in found] == ["log", "lake", "registry"]
    assert all(finding.good for finding in found), found


def test_a_missing_store_is_a_finding(config):
    """And the others are looked at all the same."""
    for path in log_path(config).parent.glob("registry.sqlite*"):
        path.unlink()
    assert [finding.good for finding in verify_all(config)] == [True, True, False]


def test_older_heads_are_said_to_be_rebuildable(folder):
    """Only the newest are kept whole; the others are counted, not missed."""
    config = settled(folder, VECTORS | {"rollout": {"retained_models": 3}})
    with hotloop.open(folder, **VECTORS | {"rollout": {"retained_models": 3}}) as loop:
        loop.feedback(loop.predict([1.0, 2.0]), "worn")
    registry = list(verify_all(config))[-1]
    assert registry.good
    assert "to be rebuilt from the log" in registry.text


def test_records_after_the_last_judgement_do_not_disturb_a_rebuild(config):
    """What was acknowledged but not learned yet is left for the next turn."""
    log = SqliteLog(log_path(config), config.store)
    given = Feedback(prediction="line-9:1", reviewer="ann", claims=(Claim(label="ok"),))
    log.append([Event("tablet", 1, given)])
    log.close()
    assert rebuild(config, tracked).same == 13
