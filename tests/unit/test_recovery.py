"""Restarts: with a snapshot, without one, without a registry, in the middle; always the same state."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import JoinConfig, LearnConfig
from hotloop.errors import CorruptError, DiskFullError, ModelError, NewerFormatError
from hotloop.feedback import verdict
from hotloop.predict import pack_head
from hotloop.recovery import last_sequence, records_of
from hotloop.testing.memory_log import MemoryLog
from hotloop.testing.memory_registry import MemoryRegistry
from hotloop.types import Claim, Event, Feedback, Judgement, Live, Notice, digest

HARMFUL = (300.0, 300.0)


def state_of(engine):
    """All that decides what comes next."""
    lineage = engine.lineage
    return (
        pack_head(lineage.champion),
        lineage.version,
        lineage.held,
        lineage.now.held.state(),
        lineage.now.recent.names(),
        lineage.now.reflex.head().weights.tobytes(),
        engine.model.head,
    )


def busy(loop, seed=0):
    """Forty verdicts, then good, harmful, corrected, empty and early ones, alone and in groups."""
    loop.rng = np.random.default_rng(seed)
    loop.taught(40, group=8)
    loop.verified(HARMFUL, "ok")
    loop.settle()
    for _ in range(4):
        loop.verified()
    prediction, _ = loop.sense(HARMFUL)
    loop.say(prediction, "ok")
    loop.verified()
    loop.settle()
    silent, truth = loop.sense()
    loop.engine.feedback(Feedback(prediction=silent.id, reviewer="ann", claims=(Claim(output=0),)))
    loop.settle()
    loop.verified(HARMFUL, "ok")
    loop.settle()
    loop.say(prediction, "worn")
    loop.settle()
    loop.say(silent, truth)
    loop.engine.feedback(verdict("line-9:1", [("ok", None)], "bob"))
    return loop.settle()


def test_live_run_and_replay_give_the_same_heads(stand):
    """Bit for bit, release by release, with refused groups, corrections and empty feedback in it."""
    loop = stand()
    version = busy(loop)
    assert any(judgement.refused for judgement in loop.judgements)
    assert any(judgement.singly for judgement in loop.judgements)
    lineage = loop.rebuilt()
    assert lineage.version == version
    assert pack_head(lineage.champion) == loop.engine.model.head
    assert lineage.held == loop.engine.held > 0


def test_empty_feedback_before_a_refused_group_changes_no_version(stand):
    """What teaches nothing is no part of a group: the replay, which meets it in the next one, must not miscount."""
    loop = stand()
    loop.taught(40, group=8)
    silent, _ = loop.sense()
    loop.engine.feedback(Feedback(prediction=silent.id, reviewer="ann", claims=(Claim(output=0),)))
    loop.settle()
    loop.verified(HARMFUL, "ok")
    version = loop.settle()
    assert loop.rebuilt().version == version


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_equals_no_restart(stand, seed):
    """Closed and started again with its snapshot, the loop stands where it stood, and goes on alike."""
    loop, other = stand(), stand()
    for one in (loop, other):
        busy(one, seed)
    loop.engine.close()
    assert loop.snapshots.state is not None
    loop.start()
    assert state_of(loop.engine) == state_of(other.engine)
    for one in (loop, other):
        one.rng = np.random.default_rng(99)
        one.taught(12, group=3)
        one.verified(HARMFUL, "ok")
        one.settle()
    assert [j.decision for j in loop.judgements] == [j.decision for j in other.judgements]
    assert state_of(loop.engine)[0] == state_of(other.engine)[0]
    loop.rebuilt()


@pytest.mark.parametrize("losing", ["snapshot", "registry", "both", "damaged snapshot"])
def test_what_is_lost_follows_from_the_log(stand, losing):
    """Without snapshot or registry the state is the same, to the last bit."""
    loop = stand()
    busy(loop)
    before, models = state_of(loop.engine), loop.engine.model
    loop.engine.close()
    if losing in ("snapshot", "both"):
        loop.snapshots.state = None
    if losing == "damaged snapshot":
        loop.snapshots.state = loop.snapshots.state[:-200]
    if losing in ("registry", "both"):
        loop.registry = MemoryRegistry()
    loop.start()
    assert state_of(loop.engine) == before
    assert loop.registry.latest() == models.version
    assert loop.registry.get(models.version).head == models.head
    loop.verified()
    assert loop.settle() == models.version + 1


def test_every_cut_of_the_log_leads_on(stand):
    """A crash after any append: the start brings the loop to where the log says, and it learns the rest."""
    loop = stand()
    loop.taught(5)
    loop.verified()
    loop.verified()
    loop.settle()
    records = list(records_of(loop.log, 0))
    for length in range(1, len(records), 2):
        again = stand()
        again.log = type(loop.log)(again.clock)
        again.log.append([record.event for record in records[:length]])
        again.registry = MemoryRegistry()
        again.start()
        again.settle()
        assert not again.engine.behind
        again.rebuilt()


def test_a_snapshot_at_any_time_leads_to_the_same(stand, monkeypatch):
    """One is kept after each update, refused ones too; a start from any of them ends the same."""
    monkeypatch.setattr("hotloop.engine._SNAPSHOT_EVERY", 1)
    loop = stand()
    kept = []
    loop.snapshots.save = kept.append
    busy(loop)
    wanted = state_of(loop.engine)
    for state in kept[::5] + kept[-2:]:
        loop.snapshots.state = state
        loop.start()
        loop.settle()
        assert state_of(loop.engine) == wanted


def test_a_judgement_behind_its_snapshot_is_not_taken_twice(stand, refusing, monkeypatch):
    """Eight are held when the snapshot is made: the judgement that held the last of them must not free the first."""
    monkeypatch.setattr("hotloop.engine._SNAPSHOT_EVERY", 1)
    loop = stand()
    version = loop.taught(8, group=8)
    refusing.on = True
    for count in (5, 3):
        for _ in range(count):
            loop.verified()
        assert loop.engine.turn() is None
    assert loop.engine.held == 8
    loop.start()
    assert (loop.engine.model.version, loop.engine.held) == (version, 8)
    assert (loop.settle(), loop.engine.held) == (version, 8)
    assert len(loop.judgements[-1].refused) == 8


def test_a_joiner_with_little_memory_learns_the_same(stand):
    """Late verdicts are looked up in the log; the heads are those of a loop that remembers all."""
    small, large = stand(join=JoinConfig(entries_max=2)), stand()
    for loop in (small, large):
        said = [loop.sense() for _ in range(12)]
        for prediction, truth in said:
            loop.say(prediction, truth)
            loop.settle()
    assert small.engine.model.head == large.engine.model.head
    small.rebuilt()


def test_another_recipe_learns_all_of_it_again(stand):
    """A snapshot of other settings is not taken over; the log is."""
    loop = stand()
    loop.taught(5)
    loop.engine.close()
    loop.config = msgspec.structs.replace(loop.config, learn=LearnConfig(ridge=7.0))
    loop.registry = MemoryRegistry()
    loop.start()
    assert loop.engine.model.version == 6
    assert loop.engine.lineage.now.reflex.count == 5


def test_a_snapshot_ahead_of_the_log_is_not_taken(stand):
    """A log that was set back (another disk): what it holds is learned."""
    loop = stand()
    loop.taught(5)
    loop.engine.close()
    events = [record.event for record in records_of(loop.log, 0)][:8]
    loop.log = type(loop.log)(loop.clock)
    loop.log.append(events)
    loop.registry = MemoryRegistry()
    loop.start()
    assert loop.engine.model.version < 6
    loop.rebuilt()


def changed(state, **parts):
    """A snapshot with other parts, under a right digest."""
    data = msgspec.msgpack.encode(msgspec.msgpack.decode(state[64:]) | parts)
    return digest(data).encode() + data


def test_a_snapshot_of_a_newer_hotloop_is_an_error(stand):
    """Going back a version must be said, not guessed."""
    loop = stand()
    loop.taught(2)
    loop.engine.close()
    loop.snapshots.state = changed(loop.snapshots.state, format=99)
    with pytest.raises(NewerFormatError):
        loop.start()


def test_a_snapshot_whose_champion_is_damaged_leaves_nothing_behind(stand):
    """Half of it must not be taken over: everything would be learned twice."""
    loop = stand()
    loop.taught(6)
    head = loop.engine.model.head
    loop.engine.close()
    loop.snapshots.state = changed(loop.snapshots.state, champion=b"?")
    loop.start()
    assert loop.engine.lineage.now.reflex.count == 6
    assert loop.engine.model.head == head


def test_a_registry_ahead_of_the_log_is_of_another_loop(stand):
    """It says which file to move away."""
    loop = stand()
    loop.taught(3)
    loop.log = type(loop.log)(loop.clock)
    with pytest.raises(ModelError, match="two different loops"):
        loop.start()


def test_verdicts_after_the_last_judgement_are_learned_at_the_next_turn(stand):
    """What was acknowledged before a crash, and not yet learned."""
    loop = stand()
    loop.taught(3)
    loop.verified()
    loop.start()
    assert loop.engine.model.version == 4
    assert loop.engine.behind
    assert loop.settle() == 5


def test_a_restart_counts_the_same(stand):
    """Charts do not begin anew: the measures are shown what the snapshot already holds."""
    loop = stand()
    loop.taught(9)
    before = loop.engine.report()
    loop.engine.close()
    loop.start()
    loop.settle()
    after = loop.engine.report()
    assert after.quality.examples == before.quality.examples == 9
    assert after.overall == before.overall
    assert after.cadence == before.cadence


def test_keys_rise_over_a_restart_even_after_failed_appends(stand):
    """A full disk uses numbers without offsets: the next start must not use one of them again."""
    loop = stand()
    loop.taught(2)
    loop.log.fails = [DiskFullError("full")] * 30
    for _ in range(30):
        with pytest.raises(DiskFullError):
            loop.sense()
    loop.verified()
    loop.settle()
    used = {record.event.sequence for record in records_of(loop.log, 0)}
    assert max(used) > loop.log.last() + 20
    loop.start()
    version = loop.taught(60)
    assert version == loop.releases[-1].version
    records = list(records_of(loop.log, 0))
    assert len({record.event.sequence for record in records}) == len(records)


def noted(device, sequence):
    return Event(device, sequence, Notice(subject="s", text=f"{device} {sequence}"))


def test_the_last_sequence_is_sought_from_the_end():
    """Exact where all of the log was seen; with room for threads where only its end was; 0 where there is none."""
    log = MemoryLog()
    assert last_sequence(log, "hub") == 0
    log.append([noted("hub", 5), noted("hub", 9), noted("line", 400)])
    assert last_sequence(log, "hub") == 9
    log.append([noted("line", 1000 + k) for k in range(2500)])
    assert last_sequence(log, "hub") == 9
    assert last_sequence(log, "nobody") == 0
    log.append([noted("hub", 7000)])
    assert 7000 <= last_sequence(log, "hub") <= 8000


class RottenLog(MemoryLog):
    """A log of which some offsets cannot be read."""

    rotten = (3, 4)

    def read(self, after, limit):
        """Stops short before a rotten record, and raises when it is the first."""
        records = super().read(after, limit)
        whole = [r for r in records if r.offset < min((o for o in self.rotten if o > after), default=10**9)]
        if records and not whole:
            bad = tuple(o for o in self.rotten if o > after)
            raise CorruptError(f"offsets {bad}", offsets=bad)
        return whole


def test_rotten_records_are_told_and_passed_over():
    """All others come, in order."""
    log, told = RottenLog(), []
    log.append([noted("hub", k) for k in range(1, 8)])
    assert [r.offset for r in records_of(log, 0, told.append)] == [1, 2, 5, 6, 7]
    assert [error.offsets for error in told] == [(3, 4)]
    assert [r.offset for r in records_of(log, 5)] == [6, 7]
    assert list(records_of(log, 7)) == []


def test_numbers_leave_room_for_what_has_rotted():
    """The highest number may stand in a record that cannot be read any more: it is not used again."""
    log = RottenLog()
    log.append([noted("hub", k) for k in (1, 2, 3, 9)])  # the last two are rotten
    assert last_sequence(log, "hub") > 9


def test_a_rotten_judgement_costs_no_version(stand):
    """Its group is learned with the next one, and the log still leads to the registry's version."""
    loop = stand()
    version = loop.taught(6)
    judged = [r.offset for r in records_of(loop.log, 0) if isinstance(r.event.body, Judgement)]
    loop.engine.close()
    loop.snapshots.state = None
    whole, loop.log = loop.log, RottenLog()
    loop.log._records, loop.log._keys, loop.log._about = whole._records, whole._keys, whole._about
    loop.log.rotten = (judged[2],)
    loop.start()
    assert loop.engine.model.version == version
    loop.verified()
    assert loop.settle() == version + 1


def test_a_verdict_on_a_rotten_prediction_does_not_stop_the_loop(stand, monkeypatch):
    """The join cannot look it up: it teaches nothing, what comes after it does."""
    loop = stand(join=JoinConfig(entries_max=1))
    prediction, truth = loop.sense()
    loop.taught(3)
    known = loop.log.about

    def about(name):
        if name == prediction.id:
            raise CorruptError(f"a record about {name}", offsets=(3,))
        return known(name)

    monkeypatch.setattr(loop.log, "about", about)
    loop.log.append([Event("tablet", 1, verdict(prediction.id, [(truth, None)], "ann"))])
    version = loop.engine.model.version
    loop.verified()
    assert loop.settle() == version + 1
    assert not loop.engine.behind


def test_the_lines_answer_with_what_they_acknowledged_before(stand):
    """After a restart the channel knows their versions again, from before and from after the last judgement."""
    loop = stand()
    loop.engine.acknowledge(Live(line="line-7", version=1))
    loop.taught(2)
    loop.engine.record([Event("line-8", 1, Live(line="line-8", version=3))])
    before = dict(loop.engine.channel.lines())
    assert before == {"line-1": 3, "line-7": 1, "line-8": 3}
    loop.engine.close()
    loop.start()
    assert dict(loop.engine.channel.lines()) == before


def test_what_an_earlier_run_left_is_learned_without_being_asked(stand):
    """A verdict that was acknowledged just before a crash is live soon after the start."""
    loop = stand()
    loop.verified()
    engine = loop.start()
    engine.start()
    found = engine.channel.follow("line-1", 1, 10.0)
    engine.close()
    assert found is not None
    assert found.version == 2
