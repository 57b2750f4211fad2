"""The system as a whole, in memory: what is learned, refused, released; full disks, threads, and late truth."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, LearnConfig, TrustConfig
from hotloop.errors import (
    ConfigError,
    CorruptError,
    DiskFullError,
    InputError,
    KeyConflictError,
    NotFoundError,
    OverloadError,
)
from hotloop.feedback import verdict
from hotloop.predict import pack_head
from hotloop.recovery import records_of
from hotloop.types import (
    Claim,
    Event,
    Feedback,
    Judgement,
    Live,
    Notice,
    Observation,
    Payload,
    Prediction,
    Proposals,
    Release,
    digest,
)

FULL = DiskFullError("no room")
HARMFUL = (300.0, 300.0)  # told as "ok": a lever that would tear the border away


def feature(engine):
    """The head's bytes, as what it is compared by."""
    return pack_head(engine.lineage.champion)


# --- one verdict, one release -------------------------------------------------------------------


def test_the_first_start_releases_the_start_model(stand):
    """Version 1 is logged, kept and offered before anything came."""
    loop = stand()
    assert loop.engine.model.version == loop.registry.latest() == 1
    assert [release.tier for release in loop.releases] == ["start"]
    assert loop.engine.channel.follow("line-9", 0, 0.0) == loop.engine.model


def test_a_prediction_is_kept_with_its_bytes(stand):
    """Observation, prediction and payload belong together by digest; place and time are told."""
    loop = stand()
    found = loop.engine.observe(Payload(b"[1.0, 2.0]", reference=b"template"), "line-3")
    assert loop.lake.get(found.observation.digest) == b"[1.0, 2.0]"
    assert loop.lake.get(found.observation.reference) == b"template"
    assert (found.observation.line, found.observation.site, found.version) == ("line-3", loop.config.site, 1)
    assert loop.engine.trace(found.id)[0].event.body == found


def test_a_template_sent_before_is_named_by_its_digest(stand):
    """It is looked up in the lake; one that is not there is an error."""
    loop = stand()
    (template,) = loop.lake.put([b"template"])
    found = loop.engine.observe(Payload(b"[1.0, 2.0]"), "line-3", reference=template)
    assert found.observation.reference == template
    with pytest.raises(NotFoundError):
        loop.engine.observe(Payload(b"[1.0, 2.0]"), "line-3", reference="0" * 64)


def test_a_payload_that_cannot_be_read_leaves_nothing(stand):
    """Neither in the log nor in the lake."""
    loop = stand()
    before = loop.log.last()
    for payload, line in ((Payload(b"?"), "line-1"), (Payload(b"[1, 2]"), "a b")):
        with pytest.raises((InputError, ConfigError)):
            loop.engine.observe(payload, line)
    assert loop.log.last() == before
    assert loop.lake._blobs == {}


def test_a_verdict_is_learned_in_one_turn(stand):
    """Judgement and release stand in the log, the next prediction answers with the new version."""
    loop = stand()
    offset = loop.verified((1.0, 1.0))
    release = loop.engine.turn()
    assert release.version == 2
    assert release.learned_to == offset
    assert release.joined_at <= release.learned_at <= release.gated_at <= release.at
    assert loop.engine.turn() is None
    found, _ = loop.sense((1.0, 1.0))
    assert (found.version, found.outputs[0].label) == (2, "worn")


def test_the_model_gets_better(stand):
    """After 40 verdicts, 95 of 100 fresh vectors are right."""
    loop = stand()
    loop.taught(40, group=8)
    found = [loop.sense() for _ in range(100)]
    assert np.mean([prediction.outputs[0].label == truth for prediction, truth in found]) >= 0.95


def test_registry_channel_log_and_predictor_agree(stand):
    """One version everywhere, under one digest."""
    loop = stand()
    loop.taught(7)
    model = loop.engine.model
    assert loop.registry.get(model.version) == model
    assert loop.engine.channel.follow("x", 0, 0.0) == model
    assert loop.releases[-1].digest == digest(model.head) == digest(feature(loop.engine))
    assert loop.engine._predictor.version == model.version


def test_versions_rise_by_one_and_name_their_parent(stand):
    """The lineage has no gaps."""
    loop = stand()
    loop.taught(10)
    assert [(r.version, r.parent) for r in loop.releases] == [(k, k - 1) for k in range(1, 12)]


def test_verdicts_that_come_meanwhile_share_a_release(stand):
    """Up to the batch; what is beyond it goes into the next."""
    loop = stand(learn=LearnConfig(batch_examples_max=4))
    for _ in range(10):
        loop.verified()
    loop.settle()
    assert len(loop.releases) == 1 + 3


def test_one_by_one_or_together_the_head_is_the_same(stand):
    """Groups decide when a release goes out, not what is learned."""
    one, other = stand(), stand()
    one.taught(12)
    other.taught(12, group=6)
    np.testing.assert_allclose(
        one.engine.lineage.champion.weights, other.engine.lineage.champion.weights, rtol=1e-5, atol=1e-7
    )


def test_feedback_that_teaches_nothing_makes_no_release(stand):
    """It is kept in the log and answered; that is all."""
    loop = stand()
    prediction, _ = loop.sense()
    receipt = loop.engine.feedback(Feedback(prediction=prediction.id, reviewer="ann", claims=(Claim(output=0),)))
    assert receipt.known
    assert loop.settle() == 1
    assert loop.judgements == []


# --- early, late, twice, contradicting --------------------------------------------------------------


def later(loop, name, x=(2.0, 2.0)):
    """A prediction as a line would send it, under a given id."""
    seen = Observation(id=name, site="s", line="line-2", at=0.0, digest="d" * 64)
    return Prediction(
        id=name, observation=seen, version=1, outputs=(), confidence=1.0,
        proposals=loop.vertical.propose(Payload(msgspec.json.encode(list(x)))),
    )  # fmt: skip


def test_feedback_may_come_before_its_prediction(stand):
    """It waits, said so in the receipt, and teaches when the prediction comes."""
    loop = stand()
    receipt = loop.engine.feedback(verdict("line-2:7", [("worn", None)], "ann"))
    assert not receipt.known
    assert loop.settle() == 1
    loop.engine.record([Event("line-2", 7, later(loop, "line-2:7"))])
    assert loop.settle() == 2
    assert loop.sense((2.0, 2.0))[0].outputs[0].label == "worn"


def test_feedback_about_nothing_we_know_is_kept(stand):
    """It can be traced, and does no harm."""
    loop = stand()
    loop.engine.feedback(verdict("nobody:1", [("worn", None)], "ann"))
    loop.settle()
    assert len(loop.engine.trace("nobody:1")) == 1
    assert loop.engine.model.version == 1


def test_the_last_word_replaces_the_first(stand):
    """A corrected verdict unlearns the one before: as if only the correction had been said."""
    loop, other = stand(), stand()
    prediction, _ = loop.sense((1.0, 0.5))
    loop.say(prediction, "ok")
    loop.settle()
    loop.say(prediction, "worn")
    loop.settle()
    other.verified((1.0, 0.5), "worn")
    other.settle()
    np.testing.assert_allclose(loop.engine.lineage.champion.weights, other.engine.lineage.champion.weights, atol=1e-7)
    assert loop.engine.lineage.now.reflex.count == 1


def test_the_same_verdict_twice_counts_once(stand):
    """Sent again under its key it is the same offset; said again it changes nothing."""
    loop = stand()
    prediction, truth = loop.sense()
    given = verdict(prediction.id, [(truth, None)], "ann", 1.0)
    first = loop.engine.feedback(given, "tablet", 5)
    assert loop.engine.feedback(given, "tablet", 5) == first
    loop.settle()
    loop.engine.feedback(verdict(prediction.id, [(truth, None)], "ann", 2.0))
    assert loop.settle() == 2
    with pytest.raises(KeyConflictError):
        loop.engine.feedback(verdict(prediction.id, [], "ann"), "tablet", 5)


def test_feedback_that_could_not_teach_is_refused_at_the_door(stand):
    """A typo in a label leaves nothing in the log, of the whole batch."""
    loop = stand()
    prediction, truth = loop.sense()
    before = loop.log.last()
    events = [Event("t", k, verdict(prediction.id, [(label, None)], "ann")) for k, label in enumerate((truth, "wron"))]
    with pytest.raises(InputError, match="wron"):
        loop.engine.record(events)
    assert loop.log.last() == before


@pytest.mark.parametrize(
    "proposals",
    [Proposals(1, 3, bytes(12), kind="f4"), Proposals(2, 2, bytes(16), kind="f4"), Proposals(1, 2, bytes(3))],
)
def test_a_prediction_that_does_not_fit_is_refused_at_the_door(stand, proposals):
    """A line with another loop's settings cannot poison the log."""
    loop = stand()
    strange = msgspec.structs.replace(later(loop, "line-2:1"), proposals=proposals)
    with pytest.raises(InputError, match="does not fit"):
        loop.engine.record([Event("line-2", 1, strange)])
    assert loop.settle() == 1


def test_a_prediction_that_does_not_fit_any_more_does_not_stop_the_loop(stand):
    """One that is in the log from before, under other settings: it teaches nothing, all others do."""
    loop = stand()
    strange = msgspec.structs.replace(later(loop, "line-2:1"), proposals=Proposals(1, 3, bytes(12), kind="f4"))
    loop.log.append([Event("line-2", 1, strange)])
    loop.engine.feedback(verdict("line-2:1", [("worn", None)], "ann"))
    loop.verified()
    assert loop.settle() == 2
    loop.rebuilt()


# --- the gate -----------------------------------------------------------------------------------


def test_a_harmful_verdict_is_refused_named_and_not_released(stand):
    """The judgement in the log names its offset; the lines keep their model; the verdict is kept aside."""
    loop = stand()
    loop.taught(40, group=8)
    champion = loop.engine.model
    offset = loop.verified(HARMFUL, "ok")
    assert loop.settle() == champion.version
    judgement = loop.judgements[-1]
    assert (judgement.decision, judgement.refused, judgement.singly) == ("refuse", (offset,), False)
    assert (judgement.champion, judgement.candidate) == (champion.version, champion.version + 1)
    assert judgement.e_value >= 20
    assert loop.engine.model == champion
    assert loop.engine.held == loop.engine.snapshot().held == 1
    assert loop.releases[-1].version == champion.version


def test_one_harmful_verdict_does_not_take_its_group_with_it(stand):
    """Tried verdict by verdict, the others are learned and released."""
    loop = stand()
    loop.taught(40, group=8)
    version = loop.engine.model.version
    for _ in range(3):
        loop.verified()
    offset = loop.verified(HARMFUL, "ok")
    loop.verified()
    assert loop.settle() == version + 1
    judgement = loop.judgements[-1]
    assert (judgement.decision, judgement.refused, judgement.singly) == ("promote", (offset,), True)


def test_after_a_refusal_the_loop_goes_on_learning(stand):
    """What was refused left no trace in the head but rounding."""
    loop, other = stand(), stand()
    for one in (loop, other):
        one.taught(40, group=8)
    loop.verified(HARMFUL, "ok")
    loop.settle()
    for one in (loop, other):
        one.rng = np.random.default_rng(9)
        one.taught(10)
    np.testing.assert_allclose(loop.engine.lineage.champion.weights, other.engine.lineage.champion.weights, atol=1e-6)


def test_a_refused_verdict_that_is_corrected_is_learned(stand, refusing):
    """The reviewer corrects it: the truth is learned, and nothing has to be unlearned."""
    loop = stand()
    loop.taught(8, group=8)
    refusing.on = True
    prediction, truth = loop.sense()
    loop.say(prediction, "ok" if truth == "worn" else "worn")
    loop.settle()
    assert loop.engine.held == 1
    refusing.on = False
    version = loop.engine.model.version
    loop.say(prediction, truth)
    assert loop.settle() == version + 1
    assert loop.engine.held == 0
    assert loop.engine.lineage.now.reflex.count == 9
    loop.rebuilt()


def test_a_refused_verdict_that_is_withdrawn_is_forgotten(stand):
    """It is neither held any more, nor learned, nor part of the recent past."""
    loop = stand()
    version = loop.taught(40, group=8)
    prediction, _ = loop.sense(HARMFUL)
    loop.say(prediction, "ok")
    loop.settle()
    assert prediction.id in loop.engine.lineage.now.recent.names()
    loop.engine.feedback(Feedback(prediction=prediction.id, reviewer="ann", claims=()))
    assert loop.settle() == version
    assert (loop.engine.held, loop.engine.lineage.now.reflex.count) == (0, 40)
    assert prediction.id not in loop.engine.lineage.now.recent.names()


def test_eight_refused_verdicts_are_tried_again_once(stand, refusing):
    """And not for ever: if they are refused again, the loop comes to rest."""
    loop = stand()
    loop.taught(8, group=8)
    refusing.on = True
    for _ in range(8):
        loop.verified()
        loop.settle()
    assert [len(judgement.refused) for judgement in loop.judgements[1:]] == [1] * 8 + [8]
    assert not loop.engine.behind
    assert loop.engine.turn() is None
    assert loop.engine.held == 8


def test_held_verdicts_are_learned_when_the_gate_lets_them(stand, refusing):
    """Eight voices that agree are heard together."""
    loop = stand()
    loop.taught(8, group=8)
    refusing.on = True
    for _ in range(7):
        loop.verified()
        loop.settle()
    loop.verified()
    assert loop.engine.turn() is None
    refusing.on = False
    version = loop.engine.model.version
    assert loop.settle() == version + 1
    assert (loop.engine.held, loop.engine.lineage.now.reflex.count) == (0, 16)
    loop.rebuilt()


def test_too_few_examples_to_judge_are_promoted(stand):
    """A young loop learns whatever it is told, and says so."""
    loop = stand(gate=GateConfig(least_examples=20))
    loop.taught(3)
    assert all("too few" in judgement.reason for judgement in loop.judgements)
    assert loop.engine.model.version == 4


# --- disks, rot -----------------------------------------------------------------------------------


def events_once(loop):
    """Each key once in the log, and each version released once."""
    records = list(records_of(loop.log, 0))
    keys = [(record.event.device, record.event.sequence) for record in records]
    versions = [release.version for release in loop.releases]
    return len(keys) == len(set(keys)) and versions == list(range(1, len(versions) + 1))


def test_a_full_disk_holds_the_release_back_and_loses_nothing(stand):
    """The judgement cannot be written: nothing is released; with room again, the next turn says the same."""
    loop = stand()
    loop.verified()
    loop.log.fails = [FULL]
    with pytest.raises(DiskFullError):
        loop.engine.turn()
    assert loop.engine.model.version == loop.registry.latest() == 1
    assert loop.engine.channel.follow("x", 0, 0.0).version == 1
    release = loop.engine.turn()
    assert (release.version, loop.engine.model.version, loop.registry.latest()) == (2, 2, 2)
    assert events_once(loop)
    loop.rebuilt()


def test_a_disk_that_fills_after_the_release_is_logged_loses_and_doubles_nothing(stand):
    """Only the hub's word that its own lines answer with it is missing: it is said at the next turn."""
    loop = stand()
    loop.verified()
    loop.log.fails = [None, FULL]
    with pytest.raises(DiskFullError):
        loop.engine.turn()
    assert loop.engine.model.version == 2
    assert loop.engine.turn().version == 2
    assert loop.engine.channel.lines() == {"line-1": 2}
    assert [live.version for live in loop.bodies(Live)] == [1, 2]
    assert events_once(loop)
    loop.verified()
    assert loop.settle() == 3


@pytest.mark.parametrize("place", range(4))
def test_verdicts_during_a_full_disk_are_learned_afterwards(stand, place):
    """Whichever append fails, the heads are those of the log, and each verdict counts once."""
    loop = stand()
    loop.taught(3)
    loop.verified()
    loop.verified()
    loop.log.fails = [None] * place + [FULL]
    for _ in range(4):
        try:
            loop.settle()
            loop.verified()
        except DiskFullError:
            continue
    loop.log.fails = []
    loop.settle()
    assert events_once(loop)
    verdicts = len({body.prediction for body in loop.bodies(Feedback)})
    assert loop.engine.lineage.now.reflex.count == verdicts
    loop.rebuilt()


def test_an_observation_that_could_not_be_logged_is_an_error(stand):
    """And nobody can give feedback on it; the next one is taken under a new key."""
    loop = stand()
    loop.sense()
    loop.log.fails = [FULL]
    with pytest.raises(DiskFullError):
        loop.sense()
    loop.verified()
    assert loop.settle() == 2
    assert events_once(loop)


def test_a_rotten_record_is_named_and_passed_over(stand, monkeypatch):
    """The notice names its offset; what comes after it is learned."""
    loop = stand()
    rotten = loop.verified()
    loop.verified()
    read = loop.log.read

    def rotting(after, limit):
        if after < rotten:
            records = [record for record in read(after, limit) if record.offset < rotten]
            if not records:
                raise CorruptError(f"offset {rotten} is not as it was written", offsets=(rotten,))
            return records
        return read(after, limit)

    monkeypatch.setattr(loop.log, "read", rotting)
    assert loop.settle() == 2
    monkeypatch.undo()
    assert [str(rotten) in notice.text for notice in loop.bodies(Notice)] == [True]
    assert loop.engine.lineage.now.reflex.count == 1


def test_a_look_up_that_fails_takes_the_record_again(stand, monkeypatch):
    """The log cannot be asked just now: the verdict is learned at the next turn, not lost."""
    loop = stand()
    loop.verified()
    add = loop.engine.lineage._joiner.add
    errors = [FULL]

    def failing(record):
        if isinstance(record.event.body, Feedback) and errors:
            raise errors.pop()
        return add(record)

    monkeypatch.setattr(loop.engine.lineage._joiner, "add", failing)
    with pytest.raises(DiskFullError):
        loop.engine.turn()
    assert loop.settle() == 2


# --- by itself --------------------------------------------------------------------------------------


def run_until(loop, done):
    """Let the engine's own thread turn until `done` of each release, or fail after some seconds."""
    reached = threading.Event()
    publish = loop.engine.channel.publish

    def told(release, model):
        publish(release, model)
        if done(release):
            reached.set()

    loop.engine.channel.publish = told
    loop.engine.start()
    return reached


def test_started_it_turns_by_itself(stand):
    """A verdict is answered by a release without being asked; closed, it ends with a snapshot."""
    loop = stand()
    reached = run_until(loop, lambda release: release.version == 2)
    loop.verified()
    assert reached.wait(5.0)
    loop.engine.close()
    assert not loop.engine._thread.is_alive()
    assert loop.snapshots.state is not None


@pytest.mark.parametrize("error", [FULL, OverloadError("too much at once")])
def test_trouble_is_told_and_the_loop_goes_on(stand, monkeypatch, error):
    """A full or overloaded log does not end the turning; the status says what it is."""
    monkeypatch.setattr("hotloop.engine._RETRY_S", 0.0)
    loop = stand()
    loop.verified()
    troubles = []
    turn = loop.engine.turn

    def watched():
        troubles.append(loop.engine.snapshot().trouble)
        return turn()

    loop.engine.turn = watched
    loop.log.fails = [error]
    reached = run_until(loop, lambda release: release.version == 2)
    assert reached.wait(5.0)
    loop.engine.close()
    assert str(error) in troubles
    assert loop.engine.trouble == ""


def test_many_threads_observe_verify_and_turn(stand):
    """Nothing is lost, doubled or out of step; the log rebuilds to the same heads."""
    loop = stand(trust=TrustConfig(second_opinion=False))
    rng = np.random.default_rng(3)
    points = rng.normal(size=(4, 10, 2)).tolist()
    failures = []

    def work(mine, number):
        try:
            for x in mine:
                prediction = loop.engine.observe(Payload(msgspec.json.encode(x)), f"line-{number}")
                label = "worn" if sum(x) > 0 else "ok"
                assert loop.engine.feedback(verdict(prediction.id, [(label, None)], f"r{number}")).known
                loop.engine.turn()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(mine, number)) for number, mine in enumerate(points)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    loop.settle()
    assert events_once(loop)
    assert loop.engine.lineage.now.reflex.count == 40
    assert set(loop.engine.channel.lines().values()) == {loop.engine.model.version}
    loop.rebuilt()


# --- asked ------------------------------------------------------------------------------------------


def test_lines_of_their_own_acknowledge(stand):
    """A line's own word is in the channel and in the log."""
    loop = stand()
    loop.engine.acknowledge(Live(line="line-7", version=1, at=5.0))
    assert loop.engine.channel.lines() == {"line-7": 1}
    assert loop.bodies(Live)[-1].line == "line-7"


def test_the_status_says_how_it_stands(stand):
    """Version, labels, offset, what waits and which line answers with what."""
    loop = stand()
    loop.verified()
    found = loop.engine.snapshot()
    assert (found.version, found.labels, found.offset, found.held) == (1, ("ok", "worn"), loop.log.last(), 0)
    assert found.behind == found.offset - loop.engine.lineage.offset > 0
    loop.settle()
    found = loop.engine.snapshot()
    assert (found.behind, found.lines, found.trouble) == (0, {"line-1": 2}, "")
    assert msgspec.json.decode(msgspec.json.encode(found))["loop"] == "loop"


def test_report_and_metrics_count_what_happened(stand):
    """Predictions, verdicts and releases, in the report and in the exposition."""
    loop = stand()
    loop.taught(5)
    report = loop.engine.report()
    assert report.offset == loop.log.last()
    assert report.quality.examples == 5
    assert "hotloop_" in loop.engine.metrics_text()


def test_what_is_not_known_cannot_be_traced(stand):
    """The name is cut in the message: it may be anything."""
    with pytest.raises(NotFoundError) as caught:
        stand().engine.trace("x" * 10_000)
    assert len(str(caught.value)) < 300


# --- the end ----------------------------------------------------------------------------------------


def test_close_keeps_a_snapshot_of_what_the_log_leads_to(stand):
    """But none while something of it could not be logged: the next start learns that anew."""
    loop = stand()
    loop.verified()
    loop.log.fails = [FULL]
    with pytest.raises(DiskFullError):
        loop.engine.turn()
    loop.engine.close()
    assert loop.snapshots.state is None
    loop.start()
    assert loop.settle() == 2
    assert loop.rebuilt().version == 2


def test_a_snapshot_that_cannot_be_written_stops_nothing(stand, monkeypatch):
    """The release is out, the ports are closed; only the next start takes longer."""
    monkeypatch.setattr("hotloop.engine._SNAPSHOT_EVERY", 1)
    loop = stand()
    loop.snapshots.fails = FULL
    loop.verified()
    assert loop.engine.turn().version == 2
    assert loop.engine.trouble == "no room"
    loop.engine.close()
    assert loop.engine.channel.follow("x", 0, 60.0) is None


def test_the_kinds_of_records_a_loop_writes(stand):
    """Everything that happened is in the one log, in the order in which it happened."""
    loop = stand()
    loop.verified()
    loop.settle()
    kinds = [type(record.event.body) for record in records_of(loop.log, 0)]
    assert kinds == [Release, Live, Prediction, Feedback, Judgement, Release, Live]
