"""The vertical for drives: what is mined, how verdicts move the queue at once, regions, and replays."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

import hotloop
from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.learn import Reflex
from hotloop.offline import rebuild
from hotloop.ports import Refreshable
from hotloop.types import (
    Asked,
    Change,
    Claim,
    Example,
    Feedback,
    Observation,
    Outcome,
    Output,
    Payload,
    Prediction,
    Proposals,
)
from hotloop.types import rederived as seen_anew
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.planted import plant
from hotloop.verticals.driving.rows import proposals_of
from hotloop.verticals.driving.segment import pack
from hotloop.verticals.driving.task import vertical
from hotloop.verticals.driving.tracks import Actor, Tracks
from hotloop.verticals.driving.traffic import highway

SEEN = Observation(id="o", site="s", line="l", at=0.0, digest="d")


def loop_config(**table):
    """Settings of a loop on drives."""
    return LoopConfig(vertical="driving", tables={"driving": table} if table else {})


@pytest.fixture(scope="module")
def task():
    return vertical(loop_config())


@pytest.fixture(scope="module")
def segment():
    """A segment with cases in it."""
    return plant(highway(1, 30, 30.0), 1, {"hard braking": 2, "cut-in": 1})[0]


def finding(case, severity, first=10, actors=(1, 2)):
    return Finding(case, severity, 0.5, "s", actors, first, first + 4, first + 8, "w")


SOME = proposals_of(
    [finding("jerk", 0.8), finding("cut-in", 0.6, 50), finding("jerk", 0.7, 90), finding("near miss", 0.3, 120)], 0.1
)


def said(task, head=None, proposals=SOME, name="p"):
    """A prediction by a head."""
    outputs = task.answer(proposals, head or task.start())
    return Prediction(id=name, observation=SEEN, version=1, outputs=outputs, confidence=1.0, proposals=proposals)


def word(*claims, reviewer="expert", complete=False):
    return Feedback(prediction="p", reviewer=reviewer, claims=claims, complete=complete)


def learned(task, *feedback, count=1, prediction=None):
    """The head after these words, on as many such predictions."""
    reflex = Reflex(task.teach, task.start(), LearnConfig())
    for number in range(count):
        reflex.learn([Change(number, None, Example(prediction or said(task), feedback))])
    return reflex.head()


def test_it_says_what_mining_found(task, segment):
    """One row and one output a finding; the brakes that were planted are among them; it is the worst that are kept."""
    payload = Payload(pack(segment))
    proposals = task.propose(payload)
    outputs = task.answer(proposals, task.start())
    assert len(outputs) == proposals.rows == len(proposals.regions) > 0
    assert [o.score for o in outputs] == sorted((o.score for o in outputs), reverse=True)
    assert "hard braking" in {output.label for output in outputs}
    few = vertical(loop_config(findings_max=1)).propose(payload)
    severities = [region[6] for region in proposals.regions]
    assert few.rows == 1
    assert few.regions[0][6] == max(severities)


def test_the_same_segment_gives_the_same_bytes(task, segment):
    """From another instance, too."""
    payload = Payload(pack(segment))
    again = vertical(loop_config()).propose(Payload(pack(segment)))
    assert msgspec.msgpack.encode(task.propose(payload)) == msgspec.msgpack.encode(again)


def test_the_queue_begins_by_severity(task):
    """Before anybody said anything."""
    assert [(o.label, o.score) for o in task.answer(SOME, task.start())] == [
        ("jerk", 0.8), ("jerk", 0.7), ("cut-in", 0.6), ("near miss", 0.3),
    ]  # fmt: skip


def test_not_interesting_moves_its_kind_at_once(task):
    """One verdict, and both jerks are behind the cut-in, which is where it was."""
    head = learned(task, word(Claim(output=0)))
    outputs = task.answer(SOME, head)
    assert outputs[0].label == "cut-in"
    assert outputs[0].score == pytest.approx(0.6)
    after = {o.proposal: o.score for o in outputs}
    assert after[0] < 0.5
    assert after[2] < 0.7


def test_worse_than_you_think_raises_it_at_once(task):
    """A value, with the label or without: the near miss climbs past the cut-in and what it was."""
    for claim in (Claim(output=3, value=1.0), Claim(output=3, label="near miss", value=1.0)):
        scores = {o.label: o.score for o in task.answer(SOME, learned(task, word(claim)))}
        assert scores["near miss"] > 0.65
        assert scores["cut-in"] == pytest.approx(0.6)
    lower = task.answer(SOME, learned(task, word(Claim(output=1, value=0.0)), prediction=said(task)))
    assert {o.label: o.score for o in lower}["jerk"] < 0.8


def test_another_label_is_learned(task):
    """What mining calls a jerk may be hard braking to who looks."""
    head = learned(task, word(Claim(output=0, label="hard braking"), Claim(output=1, label="hard braking")), count=5)
    outputs = {o.proposal: o.label for o in task.answer(SOME, head)}
    assert outputs[0] == outputs[2] == "hard braking"
    assert outputs[1] == "cut-in"


def test_complete_says_that_the_rest_is_nothing(task):
    """As everywhere in hotloop: what a complete word does not mention is not there."""
    partial, whole = (Example(said(task), (word(Claim(output=2, label="cut-in"), complete=c),)) for c in (False, True))
    assert len(task.teach(partial).w) == 1
    rows = task.teach(whole)
    assert len(rows.w) == 4
    assert rows.y.sum() == 1.0


def test_reviewers_who_differ_are_averaged(task):
    """By how much each one's word counts."""
    words = (word(Claim(output=0), reviewer="a"), word(Claim(output=0, label="jerk"), reviewer="b"))
    rows = task.teach(Example(said(task), words, weights=(0.25, 0.75)))
    assert rows.y[0, CASES.index("jerk")] == pytest.approx(0.75)
    assert rows.w.tolist() == [0.75]


@pytest.mark.parametrize(
    "claim",
    [
        Claim(output=99), Claim(label="jerk"), Claim(label="no", region=SOME.regions[0]), Claim(output=0, label="no"),
        Claim(label="jerk", region=(0.0, 0.0, 9.0, 9.0)), Claim(),
    ],
)  # fmt: skip
def test_a_claim_about_nothing_teaches_nothing(task, claim):
    """An output that was not said, a case without a place, a box of pixels."""
    assert len(task.teach(Example(said(task), (word(claim),))).w) == 0


def test_a_claim_by_place_finds_its_finding(task):
    """A region stands for an output; one in other frames does not."""
    claim = Claim(label="jerk", region=SOME.regions[2], value=0.9)
    rows = task.teach(Example(said(task), (word(claim),)))
    assert rows.y.max() == pytest.approx(0.9)
    elsewhere = proposals_of([finding("jerk", 0.7, 9000)], 0.1).regions[0]
    assert len(task.teach(Example(said(task), (word(Claim(label="jerk", region=elsewhere)),))).w) == 0


def test_what_was_said_before_a_refresh_is_still_of_its_finding(task):
    """Another backbone's proposals come in another order: outputs are found again by case, actors and time."""
    turned = proposals_of([finding("cut-in", 0.5, 52), finding("jerk", 0.9)], 0.1)
    moved = seen_anew(said(task), turned)
    rows = task.teach(Example(moved, (word(Claim(output=2, label="cut-in"), Claim(output=0)),)))
    assert rows.y[0, CASES.index("cut-in")] == 1.0
    assert rows.y[1].sum() == 0.0
    assert len(rows.w) == 2


def test_how_findings_turned_out(task):
    """Flagged and worth it, flagged and not, worth it and not flagged; nothing of the rest."""
    prediction = said(task)
    example = Example(
        prediction, (word(Claim(output=0), Claim(output=2, label="cut-in"), Claim(output=3, label="near miss")),)
    )
    assert set(task.outcomes(prediction.outputs, example)) == {
        Outcome("false alarm", "jerk"), Outcome("hit", "cut-in"), Outcome("missed", "near miss"),
    }  # fmt: skip
    dull = Example(prediction, (word(Claim(output=3)),))
    assert task.outcomes(prediction.outputs, dull) == (Outcome("right", ""),)
    assert task.outcomes(prediction.outputs, Example(prediction, (word(),))) == ()
    other = Example(prediction, (word(Claim(output=2, label="crossing")),))
    found = task.outcomes(prediction.outputs, other)
    assert set(found) == {Outcome("false alarm", "cut-in"), Outcome("missed", "crossing")}


def test_what_is_learned_can_be_taken_back(task):
    """To the head as it was."""
    example = Example(said(task), (word(Claim(output=0), Claim(output=2, value=0.9)),))
    reflex = Reflex(task.teach, task.start(), LearnConfig())
    reflex.learn([Change(1, None, example)])
    assert not np.allclose(reflex.head().weights, task.start().weights)
    reflex.unlearn([example])
    np.testing.assert_allclose(reflex.head().weights, task.start().weights, atol=1e-9)


@pytest.mark.parametrize("data", [b"", b"junk", b"ARROW1\0\0" + bytes(64), pack(highway(1, 3, 2.0))[:3000]])
def test_bytes_that_are_no_segment_are_refused(task, data):
    """By name."""
    with pytest.raises(InputError):
        task.propose(Payload(data))


def test_a_segment_has_a_limit_in_bytes(segment):
    """Before any of it is read."""
    with pytest.raises(InputError, match="at most 2000 are taken"):
        vertical(loop_config(bytes_max=2000)).propose(Payload(pack(segment)))


def test_a_drive_of_another_region_is_refused(segment):
    """It is of its own region or of any; a loop without a region takes all."""
    here, there, anywhere = (Payload(pack(replace(segment, region=one))) for one in ("eu", "us", ""))
    mine = vertical(loop_config(region="eu"))
    assert mine.propose(here) == mine.propose(anywhere)
    with pytest.raises(InputError, match=r"'us' alone, and this loop is in 'eu'"):
        mine.propose(there)
    assert vertical(loop_config()).propose(there).rows == mine.propose(here).rows


def test_knowledge_is_its_backbone(tmp_path, task):
    """It begins with a file, is named by its digest, and bytes that are none are refused."""
    bundle = Knows.start().to_bytes()
    (tmp_path / "known.bin").write_bytes(bundle)
    config = msgspec.structs.replace(loop_config(start="known.bin"), base=str(tmp_path))
    assert isinstance(task, Refreshable)
    assert vertical(config).backbone == task.backbone == hotloop.types.digest(bundle)
    assert task.revived(bundle).bundle() == bundle
    assert task.trainer() == ("hotloop.verticals.driving.refresh",)
    with pytest.raises(ModelError):
        task.revived(b"junk")
    with pytest.raises(ConfigError, match="cannot be read"):
        vertical(loop_config(start=str(tmp_path / "none")))


@pytest.mark.parametrize("table", [{"region": 3}, {"regions": "eu"}, {"findings_max": 0}, {"mine": {"reach_m": -1.0}}])
def test_settings_that_cannot_be_are_refused(table):
    """With their key."""
    with pytest.raises(ConfigError, match="driving"):
        vertical(loop_config(**table))


def test_a_head_of_no_numbers_is_refused(task):
    """A score that is none would be sorted anywhere."""
    head = task.start()
    head.weights[:] = np.nan
    with pytest.raises(ModelError, match="no finite number"):
        task.answer(SOME, head)


def test_what_is_spent_is_chosen_over_segments(task):
    """The queue of several segments: interesting ones first, what the expert finds dull behind, within the budget."""
    config = loop_config(rank={"budget": 20.0, "audit_share": 0.0})
    small = vertical(config)
    other = proposals_of([finding("cut-in", 0.9), finding("jerk", 0.9, 50)], 0.1)
    chosen = small.ranked([("a", SOME), ("b", other)], learned(task, word(Claim(output=0)), count=8))
    assert chosen[0][0] == 1
    assert chosen[0][1].label == "cut-in"
    assert sum(choice.cost for _, _, choice in chosen) <= 20.0
    assert "jerk" not in {output.label for _, output, _ in chosen[:2]}


def test_proposals_without_regions_are_not_ranked(task):
    """Nobody could show or simulate them; they are answered all the same."""
    bare = Proposals(SOME.rows, SOME.columns, SOME.data, kind="f4")
    assert task.ranked([("a", bare)], task.start()) == []
    assert [o.region for o in task.answer(bare, task.start())] == [None] * 4
    assert task.answer(proposals_of([], 0.1), task.start()) == ()


def test_an_output_without_a_place_is_of_nothing(task):
    """From another backbone, without a region: no row is meant."""
    example = Example(
        msgspec.structs.replace(said(task), outputs=(Output("jerk", 0.9, None, -1), Output("jerk", 0.9, (1.0,), -1))),
        (word(Claim(output=0), Claim(output=1)),),
    )
    assert len(task.teach(example).w) == 0


def test_a_loop_learns_from_verdicts_and_replays_to_the_byte(tmp_path, segment):
    """Through the whole of hotloop: after a verdict the queue is another, after a restart the same; the log replayed
    gives the same findings and model.
    """
    folder = tmp_path / "loop"
    with hotloop.open(folder, vertical="driving") as loop:
        engine, config = loop.engine, loop.config
        first = engine.observe(Payload(pack(segment)), "car-1")
        worst = first.outputs[0]
        engine.feedback(Feedback(prediction=first.id, reviewer="x", claims=(Claim(output=0),), complete=False))
        while engine.turn() is not None or engine.behind:
            pass
        after = engine.vertical.answer(first.proposals, engine.lineage.champion)
        assert {o.proposal: o.score for o in after}[worst.proposal] < worst.score
        head = engine.lineage.champion
        weights = head.weights.copy()
    with hotloop.open(folder, vertical="driving") as loop:
        np.testing.assert_array_equal(loop.engine.lineage.champion.weights, weights)
        again = loop.engine.vertical.propose(Payload(loop.engine.lake.get(first.observation.digest)))
        assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(first.proposals)
    found = rebuild(config, lambda records, _words, _count: records)
    assert found.releases == found.same >= 1


def test_what_a_scene_costs_is_in_seconds_of_its_own_log(task):
    """Nine frames in tenths of a second and in halves: the slower log's scene costs 3.6 s more."""
    some = [finding("jerk", 0.8)]
    fast, slow = (proposals_of(some, step) for step in (0.1, 0.5))
    costs = {index: choice.cost for index, _, choice in task.ranked([("a", fast), ("b", slow)], task.start())}
    assert costs[1] - costs[0] == pytest.approx(9 * 0.4)


def test_one_finding_is_chosen_of_its_own_segment(task):
    """The index is the segment's, the output the segment's own, whatever comes before it in the list."""
    none = proposals_of([], 0.1)
    other = proposals_of([finding("cut-in", 0.9), finding("crossing", 0.4, 70)], 0.1)
    chosen = task.ranked([("empty", none), ("a", SOME), ("b", other)], task.start())
    for index, output, _ in chosen:
        proposals = (none, SOME, other)[index]
        assert output.region == proposals.regions[output.proposal]
    assert {index for index, _, _ in chosen} == {1, 2}
    assert next(one.label for index, one, _ in chosen if index == 2) == "cut-in"


def test_segments_without_a_finding_are_audited_with_a_chance_that_is_logged(tmp_path, segment):
    """The core draws them, however calm they are; what has findings says all of them, with probability 1."""
    calm = Tracks(
        (Actor("a", "car", 4.5, 1.8),), np.zeros(30, np.int64), np.arange(30), np.arange(30.0), np.zeros(30),
        np.zeros(30), np.full(30, 10.0), np.zeros(30), 0.1, "calm",
    )  # fmt: skip
    calm_ones = [pack(replace(calm, source=f"calm {k}", y=calm.y + k)) for k in range(24)]
    with hotloop.open(tmp_path / "loop", vertical="driving", review={"audit_share": 0.5}) as loop:
        found = loop.engine.observe(Payload(pack(segment)), "car-1")
        quiet = [loop.engine.observe(Payload(data), "car-1") for data in calm_ones]
        loop.learn()
        bodies = [record.event.body for record in loop.engine.log.read(0, 1000)]
    assert found.outputs
    assert not any(one.outputs for one in quiet)
    assert {one.propensity for one in bodies if isinstance(one, Prediction)} == {1.0}
    asked = [one for one in bodies if isinstance(one, Asked)]
    assert 3 <= len(asked) <= 21  # of 24 by a fair coin: outside of it once in 10,000 times
    assert {one.propensity for one in asked} == {0.5}
    assert {one.prediction for one in asked} <= {one.id for one in quiet}


@pytest.mark.parametrize("column", [0, 5, 11])
def test_one_number_that_is_none_is_enough_to_refuse_a_head(task, column):
    """Whichever case it is of: a score that is none would be passed over in silence."""
    head = task.start()
    head.weights[:, column] = np.nan
    with pytest.raises(ModelError, match="no finite number"):
        task.answer(SOME, head)


def test_interest_is_a_share_whatever_the_head_says(task):
    """Scores beyond 0 and 1 are told as 0 and 1, so that the queue, the gate and reports can compare them."""
    head = task.start()
    head.weights[:] *= 40.0
    assert {output.score for output in task.answer(SOME, head)} == {1.0}
    head.weights[:] *= -1.0
    assert {output.score for output in task.answer(SOME, head)} == {0.0}
