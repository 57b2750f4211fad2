"""A line: it never waits for the hub, loses nothing but what it counts, and follows the newest model."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from hotloop import agent as agent_module
from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig
from hotloop.errors import (
    AccessError,
    DiskFullError,
    HubUnreachableError,
    InputError,
    KeyConflictError,
    NotFoundError,
    OverloadError,
    StoreError,
)
from hotloop.feedback import verdict
from hotloop.predict import pack_head
from hotloop.store.spool import DiskSpool, MemorySpool
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Claim, Event, Feedback, Head, Model, Notice, Payload, Spooled, digest
from hotloop.verticals.vectors import Vectors, VectorsConfig

LABELS = ("ok", "worn")
RECIPE = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0).recipe


class MemoryHub:
    """A hub in memory: `fails` are raised by the next sends (None lets one pass), `refuses` are ids it never takes."""

    def __init__(self):
        self.events, self.blobs, self.requests, self.lives, self.streams = {}, [], [], [], []
        self.fails, self.refuses = [], set()
        self.bundles, self.fetched = {}, []
        self.deaf = 0  # acknowledgements that are not heard
        self.sent = threading.Event()

    def send(self, events):
        """Durable, once a key; the answer may be lost after that."""
        self.requests.append([event.sequence for event in events])
        for event in events:
            if getattr(event.body, "id", None) in self.refuses:
                raise InputError(f"{event.body.id} is not what a prediction looks like")
        before, after = self.fails.pop(0) if self.fails else (None, None)
        if before:
            raise before
        for event in events:
            assert self.events.setdefault((event.device, event.sequence), event) == event
        self.sent.set()
        if after:
            raise after
        return list(range(1, len(events) + 1))

    def put_blobs(self, blobs):
        """Kept."""
        self.blobs += blobs
        return [digest(blob) for blob in blobs]

    def follow(self, line, after):
        """The next stream: models, or an error."""
        stream = self.streams.pop(0) if self.streams else []
        for model in stream:
            if isinstance(model, Exception):
                raise model
            yield model

    def get_blob(self, name):
        """A backbone's bundle."""
        self.fetched.append(name)
        if name not in self.bundles:
            raise NotFoundError(f"no bytes {name}")
        return self.bundles[name]

    def acknowledge(self, lives):
        """Heard, unless the hub is away."""
        if self.deaf:
            self.deaf -= 1
            raise HubUnreachableError("away")
        self.lives += [live.version for live in lives]


@pytest.fixture
def hub():
    return MemoryHub()


@pytest.fixture
def line(hub):
    vertical = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0)
    return Agent(Place("site-1", "line-1"), vertical, hub, SimulatedClock())


def model(version, rows=2):
    head = Head(LABELS, np.full((rows, 2), version / 10), (0.5, 0.5))
    parent, data = version - 1, pack_head(head)
    return Model(version=version, parent=parent, tier="reflex", backbone="", head=data, labels=LABELS, recipe=RECIPE)


def sensed(line, count, *, keep=False):
    found = [line.sense(Payload(f"[{k}.0]".encode()), keep=keep) for k in range(count)]
    line.settle()
    return found


def bodies(line):
    """What waits in the spool, as it was said."""
    return [msgspec.msgpack.decode(item.data, type=Event).body for item in line._spool.waiting("events", 1000)]


def test_a_piece_is_answered_before_anything_is_sent(line, hub):
    """The prediction is there at once, with its place and digest; the event waits."""
    found = line.sense(Payload(b"[2.0]"), keep=False)
    line.settle()
    assert (found.observation.site, found.observation.line) == ("site-1", "line-1")
    assert found.observation.digest == digest(b"[2.0]")
    assert found.observation.at == line._clock.now()
    assert (line.waiting, hub.requests) == (1, [])


def test_ids_rise_and_are_the_keys(line, hub):
    """The id is made of line and sequence, before the first send."""
    said = sensed(line, 3)
    assert line.send_once()
    numbers = [int(one.id.removeprefix("line-1:")) for one in said]
    assert numbers == sorted(set(numbers))
    assert [key for key in hub.events] == [("line-1", number) for number in numbers]
    assert line.waiting == 0


def test_ids_rise_over_a_restart(line, hub):
    """A later start numbers above an earlier one, though no counter was kept."""
    first = sensed(line, 50)[-1]
    clock = SimulatedClock(line._clock.now() + 0.001)
    again = Agent(line.place, line.predictor.vertical, hub, clock)
    assert int(sensed(again, 1)[0].id[7:]) > int(first.id[7:])


def kept(line):
    """Deliver all bytes that wait."""
    line.settle()
    while line._spool.state().payloads:
        assert line._keep_once()


def test_the_bytes_go_their_own_way(line, hub):
    """Reference and payload go to the lake; nothing if they are not to be kept."""
    line.sense(Payload(b"[1.0]", reference=b"template"))
    line.sense(Payload(b"[2.0]"))
    line.sense(Payload(b"[3.0]"), keep=False)
    assert line.waiting == 3 + 3
    kept(line)
    assert hub.blobs == [b"template", b"[1.0]", b"[2.0]"]
    assert line.waiting == 3


def test_bytes_that_were_delivered_are_not_sent_again(line, hub, monkeypatch):
    """A template goes once, as long as it is remembered."""
    monkeypatch.setattr(agent_module, "_SENT_MAX", 2)
    for number in (1, 2, 1, 3, 1):
        line.sense(Payload(f"[{number}]".encode(), reference=b"template"))
        kept(line)
    assert hub.blobs.count(b"template") == 3  # pushed out of so small a memory twice
    assert len(line._sent) == 2
    monkeypatch.setattr(agent_module, "_SENT_MAX", 100)
    hub.blobs.clear()
    for number in (7, 8, 7, 8):
        line.sense(Payload(f"[{number}]".encode(), reference=b"other"))
    kept(line)
    assert sorted(hub.blobs) == [b"[7]", b"[8]", b"other"]


def test_bytes_are_delivered_again_after_an_error(line, hub):
    """The hub is away: they wait. It refuses them: that is told, and blocks nothing."""
    errors = [HubUnreachableError("away"), InputError("too large")]
    put = hub.put_blobs

    def failing(blobs):
        if errors:
            raise errors.pop(0)
        return put(blobs)

    hub.put_blobs = failing
    line.sense(Payload(b"[1.0]"))
    line.sense(Payload(b"[2.0]"))
    line.settle()
    assert not line._keep_once()
    kept(line)
    assert hub.blobs == [b"[2.0]"]
    assert list(line.refused) == ["too large"]


def spooled(size_bytes, hub, age_s=1e9):
    """A line whose spool holds so much."""
    vertical, clock = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0), SimulatedClock()
    spool = MemorySpool(EdgeConfig(spool_bytes_max=size_bytes, spool_age_s_max=age_s), clock)
    return Agent(Place("site-1", "line-1"), vertical, hub, clock, spool)


def test_bytes_that_are_dropped_while_they_are_under_way_take_nothing_else(hub):
    """The spool overflows during a request: what came meanwhile still goes."""
    line = spooled(600, hub)
    put = hub.put_blobs

    def overflowing(blobs):
        hub.put_blobs = put
        for number in range(8):
            line.sense(Payload(f"[{number}.0]".encode()))
        line.settle()
        return put(blobs)

    hub.put_blobs = overflowing
    line.sense(Payload(b"[9.0]"))
    kept(line)
    assert hub.blobs[0] == b"[9.0]"
    assert line.state().dropped["flagged payload: full"] > 0
    assert line.state().payloads == 0


def test_proposals_made_elsewhere_are_answered_too(line, hub):
    """A simulated line gives features: the answer is the same, without bytes."""
    own = line.predictor.vertical
    found = line.answer(own.propose(Payload(b"[4.0]")), Payload(b"[4.0]"))
    assert found.outputs == line.sense(Payload(b"[4.0]"), keep=False).outputs
    assert line.send_once()
    assert hub.blobs == []


def test_a_piece_that_cannot_be_read_is_not_spooled(line):
    """The caller is told."""
    with pytest.raises(InputError):
        line.sense(Payload(b"?"))
    assert line.waiting == 0


def test_what_could_not_be_delivered_is_sent_again_as_it_was(line, hub):
    """The same events under the same keys, also where only the answer was lost; none is lost or doubled."""
    said = sensed(line, 3)
    away = HubUnreachableError("away")
    hub.fails = [(away, None), (None, away), (OverloadError("busy"), None)]
    assert [line.send_once() for _ in range(4)] == [False, False, False, True]
    assert hub.requests[0] == hub.requests[1] == hub.requests[2] == hub.requests[3]
    assert [event.body for event in hub.events.values()] == said
    assert line.waiting == 0


def test_while_the_hub_is_away_the_line_goes_on(line, hub):
    """It predicts and spools; what came meanwhile goes with the next request."""
    hub.fails = [(HubUnreachableError("away"), None)]
    sensed(line, 2)
    assert not line.send_once()
    sensed(line, 2)
    assert line.send_once()
    assert len(hub.events) == 4


def test_a_request_is_bounded(line, hub, monkeypatch):
    """A long spool goes out in several requests, in order."""
    monkeypatch.setattr(agent_module, "_SEND_MAX", 4)
    said = sensed(line, 10)
    while line.waiting:
        assert line.send_once()
    assert [len(request) for request in hub.requests] == [4, 4, 2]
    assert [event.body for event in hub.events.values()] == said


def test_a_refused_event_does_not_block_or_take_others_with_it(line, hub):
    """It is told in the hub's words; all others arrive."""
    said = sensed(line, 5)
    hub.refuses = {said[1].id, said[3].id}
    assert line.send_once()
    assert [event.body.id for event in hub.events.values()] == [said[k].id for k in (0, 2, 4)]
    assert [text.split()[0] for text in line.refused] == [said[1].id, said[3].id]
    assert line.waiting == 0


class Barred(MemoryHub):
    """A hub that knows the token, and lets nobody speak as these reviewers; `known` False: it does not know it."""

    def __init__(self, *reviewers, known=True):
        super().__init__()
        self.reviewers, self.known, self.all = set(reviewers), known, False

    def send(self, events):
        """As above."""
        if self.all or any(getattr(event.body, "reviewer", None) in self.reviewers for event in events):
            self.requests.append([event.sequence for event in events])
            raise AccessError("this token speaks for line-1 alone", known=self.known)
        return super().send(events)


def test_a_verdict_in_anothers_name_does_not_block_the_line(line):
    """The hub will never take it: it is told and counted, and all else arrives. Alone it is given up once the hub takes
    a word of this line: then it is not the token.
    """
    hub = line._hub = Barred("bob")
    said = sensed(line, 1)[0]
    assert line.send_once()
    line.say(verdict(said.id, [], "bob"))
    line.say(verdict(said.id, [], "line-1"))
    sensed(line, 2)
    assert line.send_once()
    assert line.waiting == 0
    assert len(hub.events) == 4
    assert line.state().dropped == {"verdict: not this line's to say": 1}
    assert "line-1 alone" in line.refused[-1]


@pytest.mark.parametrize("known", [True, False])
def test_a_token_that_may_say_nothing_loses_nothing(line, known):
    """A role that was changed, a device that was revoked: all of it waits for another token."""
    hub = line._hub = Barred(known=known)
    hub.all = True
    sensed(line, 3)
    assert not line.send_once()
    assert line.waiting == 3
    assert line.state().dropped == {}
    assert "line-1 alone" in line.trouble
    assert len(hub.requests) == (5 if known else 1), "one that is not known is not asked again at once"


def test_a_spool_full_of_verdicts_in_anothers_name_is_worked_off(line):
    """However many there are: the hub is told, and what is behind them arrives."""
    hub = line._hub = Barred("bob")
    said = sensed(line, 1)[0]
    assert line.send_once()
    for _ in range(450):
        line.say(verdict(said.id, [], "bob"))
    sensed(line, 2)
    while line.waiting:
        assert line.send_once()
    assert line.state().dropped == {"verdict: not this line's to say": 450}
    notices = [event.body for event in hub.events.values() if isinstance(event.body, Notice)]
    assert len(notices) == 2
    assert "gave up 200 events" in notices[0].text
    assert line._hub.fails == []


def test_a_verdict_at_the_line_is_the_lines_word(line):
    """`ann` is `line-1.ann` to the hub; whoever speaks as the line does so."""
    for given, told in (("ann", "line-1.ann"), ("line-1", "line-1"), ("line-1.bob", "line-1.bob")):
        assert line.in_its_name(verdict("p", [], given)).reviewer == told


def test_a_hub_that_goes_away_between_two_that_are_barred_is_tried_again(line):
    """Nothing is given up before all was tried."""
    hub = line._hub = Barred("bob")
    said = sensed(line, 1)[0]
    line.say(verdict(said.id, [], "bob"))
    sensed(line, 1)
    hub.fails = [(None, None), (HubUnreachableError("away"), None)]
    assert not line.send_once()
    assert line.state().dropped == {}
    assert line.send_once()
    assert line.state().dropped == {"verdict: not this line's to say": 1}


def test_a_verdict_that_no_hub_could_read_is_refused_at_once(line):
    """A number that does not fit 64 bits; text that is none. Nothing of it is put into the spool."""
    for claim in (Claim(output=10**30, label="ok"), Claim(label="\ud800")):
        with pytest.raises(InputError, match="no hub could read"):
            line.say(Feedback(prediction="line-1:1", reviewer="ann", claims=(claim,)))
    assert line.waiting == 0


def test_a_key_that_was_used_for_another_event_does_not_block(line, hub):
    """After a clock that was set far back, say: it is told, the rest goes on."""
    hub.fails = [(KeyConflictError("used before"), None)] * 2
    sensed(line, 1)
    assert line.send_once()
    assert list(line.refused) == ["used before"]
    sensed(line, 1)
    assert line.send_once()
    assert len(hub.events) == 1


def test_a_hub_that_goes_away_while_events_are_tried_singly_is_tried_again(line, hub):
    """Nothing that was not delivered is taken for refused."""
    said = sensed(line, 3)
    hub.refuses = {said[0].id}
    hub.fails = [(None, None), (HubUnreachableError("away"), None)]
    assert not line.send_once()
    assert bodies(line) == said[2:]
    assert line.send_once()
    assert [event.body for event in hub.events.values()] == said[1:]
    assert len(line.refused) == 1


def test_what_was_refused_is_remembered_within_bounds(line, hub):
    """A line that is refused for a day does not fill its memory with reasons."""
    said = sensed(line, 150)
    hub.refuses = {one.id for one in said}
    while line.waiting:
        assert line.send_once()
    assert len(line.refused) == 100
    assert line.refused[-1].startswith(said[-1].id)


def test_a_full_spool_drops_the_oldest_and_counts_them(hub):
    """What is missing at the hub is exactly what was counted."""
    line = spooled(1500, hub)
    said = sensed(line, 12)
    dropped = line.state().dropped["flagged: full"]
    assert 0 < line.waiting < 12
    assert dropped == 12 - line.waiting
    while line.waiting:
        assert line.send_once()
    assert [event.body for event in hub.events.values()] == said[dropped:]


def test_what_is_dropped_while_it_is_under_way_takes_nothing_else(hub):
    """The spool overflows during a request: what came meanwhile still goes out."""
    line = spooled(1500, hub)
    sensed(line, 3)
    late = []
    send = hub.send

    def overflowing(events):
        hub.send = send
        late.extend(sensed(line, 6))
        return send(events)

    hub.send = overflowing
    assert line.send_once()
    assert line.state().dropped["flagged: full"] > 0
    while line.waiting:
        assert line.send_once()
    came = [event.body for event in hub.events.values()][3:]
    assert 0 < len(came) < 6
    assert came == late[-len(came) :]


def test_a_verdict_at_the_line_goes_the_same_way(line, hub):
    """In order behind what it is about, under a key of the line's; durable when `say` returns."""
    piece = line.sense(Payload(b"[1.0]"), keep=False)
    word = verdict(piece.id, [("worn", None)], "line-1")
    line.say(word)
    assert line._spool.state().events == 2
    assert line.send_once()
    assert [event.body for event in hub.events.values()] == [piece, word]


class FullSpool(MemorySpool):
    """A spool on a disk that is full while `full` is set."""

    full = True

    def put(self, items, lost):
        if self.full:
            raise DiskFullError("the disk is full: make room")
        super().put(items, lost)


def test_a_full_disk_stops_no_prediction_and_what_it_costs_is_counted(hub, monkeypatch):
    """Memory is bounded by the same rule; a verdict is refused at once, and a line that is closed loses no more."""
    vertical, clock = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0), SimulatedClock()
    line = Agent(Place("site-1", "line-1"), vertical, hub, clock, FullSpool(EdgeConfig(), clock))
    monkeypatch.setattr(agent_module, "_FRESH_BYTES_MAX", 1000)
    said = [line.sense(Payload(f"[{number}.0]".encode())) for number in range(9)]
    with pytest.raises(DiskFullError, match="make room"):
        line.say(verdict(said[-1].id, [("worn", None)], "line-1"))
    with pytest.raises(DiskFullError):
        line.settle()
    dropped = line.state().dropped
    assert set(dropped) == {f"{kind}: the disk is full or too slow" for kind in ("flagged payload", "flagged")}
    line._spool.full = False
    line.settle()
    assert line.state().dropped == line._spool.state().dropped == dropped
    while line._spool.state().events:
        assert line.send_once()
    assert [event.body for event in hub.events.values()] == said[dropped["flagged: the disk is full or too slow"] :]


def test_what_the_hub_refuses_is_counted(line, hub):
    """With the rest of what did not arrive."""
    said = sensed(line, 2)
    hub.refuses = {said[0].id}
    assert line.send_once()
    assert line.state().dropped == {"flagged: refused by the hub": 1}


def test_what_is_damaged_in_the_spool_is_given_up_and_counted(line, hub):
    """It blocks nothing."""
    line._spool.put([Spooled("flagged", "x", line._clock.now(), b"rot")], {})
    said = sensed(line, 1)
    assert line.send_once()
    assert [event.body for event in hub.events.values()] == said
    assert line.state().dropped == {"flagged: damaged on the disk": 1}
    assert "damaged" in line.refused[-1]


def test_a_restart_delivers_what_an_earlier_run_left(hub, tmp_path):
    """In order, before what is new; nothing twice."""
    vertical, clock = Vectors(VectorsConfig(labels=LABELS, columns=1), seed=0), SimulatedClock()
    said = []
    for _ in range(3):
        spool = DiskSpool(tmp_path / "spool.sqlite", EdgeConfig(), clock)
        line = Agent(Place("site-1", "line-1"), vertical, hub, clock, spool)
        said += sensed(line, 4)
        clock.advance(1.0)
        spool.close()
    spool = DiskSpool(tmp_path / "spool.sqlite", EdgeConfig(), clock)
    line = Agent(Place("site-1", "line-1"), vertical, hub, clock, spool)
    while line.waiting:
        assert line.send_once()
    assert [event.body for event in hub.events.values()] == said
    spool.close()


def test_an_acknowledgement_that_was_not_heard_is_said_again(line, hub):
    """The hub was away in that moment: the line says what answers before it asks for something newer."""
    hub.streams, hub.deaf = [[model(1)]], 1
    line._follow_once()
    assert (line.predictor.version, hub.lives) == (1, [])
    line._follow_once()
    line._follow_once()
    assert hub.lives == [1]


def test_a_follower_answers_with_the_newest_and_says_so(line, hub):
    """Each newer model is installed and acknowledged; an older one is passed over."""
    hub.streams = [[model(2), model(5), model(3)]]
    line._follow_once()
    assert line.predictor.version == 5
    assert hub.lives == [2, 5]
    assert line.sense(Payload(b"[1.0]")).version == 5


def test_a_model_that_does_not_fit_leaves_the_line_as_it_was(line, hub):
    """It is told, not acknowledged, and the next one that fits is taken."""
    broken = Model(version=3, parent=2, tier="reflex", backbone="", head=b"", labels=LABELS, recipe=RECIPE)
    hub.streams = [[model(1), model(2, rows=9), broken, model(4)]]
    line._follow_once()
    assert line.predictor.version == 4
    assert hub.lives == [1, 4]
    assert len(line.refused) == 2


def test_a_broken_stream_is_followed_again_from_where_it_was(line, hub):
    """An error in the middle keeps what was installed."""
    hub.streams = [[model(1), HubUnreachableError("away")], [model(2)]]
    line._follow_once()
    assert line.predictor.version == 1
    line._follow_once()
    assert line.predictor.version == 2


def test_an_acknowledgement_that_is_lost_does_not_take_the_model_back(line, hub):
    """The line answers with it all the same."""

    def away(lives):
        raise HubUnreachableError("away")

    hub.acknowledge = away
    hub.streams = [[model(1), model(2)]]
    line._follow_once()
    assert line.predictor.version == 1


def test_closed_while_following_it_stops_at_the_next_model(line, hub):
    """No model after that is taken."""
    hub.streams = [[model(1), model(2)]]
    line._closing.set()
    line._follow_once()
    assert line.predictor.version == 1


def test_its_threads_send_and_end(line, hub, monkeypatch):
    """Started, it delivers by itself; closed, its sender ends."""
    monkeypatch.setattr(agent_module, "_LINGER_S", 0.0)
    line.start()
    said = sensed(line, 3, keep=True)
    assert hub.sent.wait(5.0)
    line.close()
    assert line.waiting == 0
    assert (len(hub.events), len(hub.blobs)) == (len(said), 3)
    assert not any(thread.is_alive() for thread in line._threads[:3])


def test_an_agent_that_was_never_started_can_be_closed(line):
    """As a context that fails early does."""
    line.close(timeout_s=0.0)
    assert line._closing.is_set()


def test_close_gives_up_after_its_time(line, hub):
    """A hub that stays away does not hold the line's end."""
    sensed(line, 1)
    line.close(timeout_s=0.0)
    assert line.waiting == 1


class Lensed(Vectors):
    """Vectors seen through a lens that can be exchanged: the smallest vertical whose backbone is trained again."""

    def __init__(self, lens=b"clear"):
        super().__init__(VectorsConfig(labels=LABELS, columns=1), seed=0)
        self.lens, self.backbone = lens, digest(lens)

    def bundle(self):
        """The lens."""
        return self.lens

    def revived(self, bundle):
        """The same with another lens."""
        return Lensed(bundle)

    def trainer(self):
        """Nobody trains here."""
        return ()


def lensed(version, lens):
    """A model on a lens."""
    return msgspec.structs.replace(model(version), backbone=digest(lens))


def test_a_new_backbone_is_fetched_once_and_the_way_back_needs_no_network(hub):
    """The line predicts on while it comes; a rollback to what it had is at hand."""
    line = Agent(Place("site-1", "line-1"), Lensed(), hub, SimulatedClock())
    hub.bundles = {digest(b"sharp"): b"sharp"}
    hub.streams = [[lensed(2, b"sharp"), lensed(3, b"sharp"), lensed(4, b"clear")]]
    line._follow_once()
    assert line.predictor.version == 4
    assert line.predictor.vertical.backbone == digest(b"clear")
    assert hub.fetched == [digest(b"sharp")]
    assert hub.lives == [2, 3, 4]


def test_a_backbone_that_cannot_be_had_leaves_the_line_as_it_is(hub):
    """It answers with what it has, and takes the next model it can."""
    line = Agent(Place("site-1", "line-1"), Lensed(), hub, SimulatedClock())
    hub.streams = [[lensed(2, b"gone")], [lensed(3, b"clear")]]
    line._follow_once()
    assert line.predictor.version == 0
    line._follow_once()
    assert line.predictor.version == 3


def test_only_a_few_backbones_are_kept(hub):
    """The oldest is let go, and fetched again if it is needed."""
    line = Agent(Place("site-1", "line-1"), Lensed(), hub, SimulatedClock())
    lenses = [b"a", b"b", b"c", b"d"]
    hub.bundles = {digest(lens): lens for lens in lenses}
    hub.streams = [[lensed(k + 2, lens) for k, lens in enumerate(lenses)] + [lensed(9, b"a")]]
    line._follow_once()
    assert line.predictor.version == 9
    assert hub.fetched.count(digest(b"a")) == 2


def test_what_was_built_in_is_always_at_hand(hub):
    """It has no digest by which it could be fetched."""
    built_in, lenses = Lensed(), [b"a", b"b", b"c", b"d", b"e"]
    built_in.backbone = ""
    line = Agent(Place("site-1", "line-1"), built_in, hub, SimulatedClock())
    hub.bundles = {digest(lens): lens for lens in lenses}
    hub.streams = [[lensed(k + 2, lens) for k, lens in enumerate(lenses)] + [model(9)]]
    line._follow_once()
    assert (line.predictor.version, line.predictor.vertical) == (9, built_in)


def test_why_the_hub_takes_nothing_is_said_while_it_does_not(line, hub):
    """In its words; nothing once it does."""
    hub.fails = [(AccessError("send a token that I know"), None)]
    sensed(line, 1)
    assert not line.send_once()
    assert line.trouble == "send a token that I know"
    assert line.send_once()
    assert line.trouble == ""


def test_why_no_release_comes_is_said_once(line, hub):
    """But a hub that is only away is no news."""
    full = StoreError("no room for the metadata")
    hub.streams = [[HubUnreachableError("away")], [full], [full]]
    for _ in range(3):
        line._follow_once()
    assert list(line.refused) == ["no room for the metadata"]


def test_what_is_none_of_the_hubs_own_is_told_and_may_be_dropped(line, hub):
    """It counts as nothing: neither as declined, nor as dear."""
    line.distrust(7, "not signed")
    line.distrust(8, "not signed")
    line.settle()
    assert [item.kind for item in line._spool.waiting("events", 9)] == ["unflagged", "unflagged"]
    assert line.send_once()
    told = [event.body for event in hub.events.values()]
    assert [type(body).__name__ for body in told] == ["Notice", "Notice"]
    assert "version 7: not signed" in told[0].text
    assert list(line.refused) == ["not signed"]
