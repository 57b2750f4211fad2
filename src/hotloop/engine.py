"""The system on one page: sense -> predict -> feedback -> join -> learn -> gate -> rollout -> (predict).

Everything that happens goes through one log. `observe`, `feedback` and `record` write to it and may be called
from many threads; `turn` reads on from where it was, and is the only one that changes a model.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import msgspec

from hotloop.config import LoopConfig, check_name
from hotloop.embedding import Embedder
from hotloop.errors import CorruptError, HotloopError, InputError, ModelError, NotFoundError, StoreError
from hotloop.feedback import check_feedback, drawn
from hotloop.fleet import Fleet
from hotloop.learn.drift import DriftTest
from hotloop.learned import LearnedState, Reach
from hotloop.lineage import Lineage
from hotloop.loading import load_federated
from hotloop.looking import Looking
from hotloop.measure import Measures, Metrics, Report, count
from hotloop.ports import Ports, Refreshable, Vertical
from hotloop.predict import Predictor, pack_head
from hotloop.recovery import last_sequence, past, records_of, recover
from hotloop.refresher import Refresher
from hotloop.rollout import Stage, as_release, next_release, standing, wait_s
from hotloop.steps import Update, affected, selected
from hotloop.store.devices import Devices
from hotloop.store.signing import Signer, open_signer
from hotloop.types import (
    Asked,
    Body,
    Candidate,
    Change,
    Command,
    Declined,
    Event,
    Example,
    Feedback,
    Judgement,
    Live,
    Model,
    Notice,
    Observation,
    Outcome,
    Payload,
    Prediction,
    Proposals,
    Record,
    Rederived,
    Release,
    Selection,
    Staged,
)

_READ_MAX = 1000  # records a turn reads at once
_RETRY_S = 0.5  # how long the turn waits after the disk failed it
_HUB = "hub"  # the device as which the hub itself writes
_REPORT_S = 1.0
_LOCAL_LINES_MAX = 1000
_FORMS_MAX = 100
_NEWEST_MAX = 10_000  # predictions known without a look-up: a minute of a plant
_SENSING_MAX = 8  # payloads looked at at once: one of 100 KB may take hundreds of MB when it is decoded
_SNAPSHOT_EVERY = 500  # updates between two snapshots: what a restart has to learn again at most


class Receipt(msgspec.Struct, frozen=True):
    """A feedback is durable at `offset`. `known` is False while its prediction is not: it waits for it."""

    offset: int
    known: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the loop stands. `behind`: records not taken yet; `held`: verdicts that the gate holds back;
    `untaught`: since the start, those that taught nothing (nothing was proposed where they say that something is).
    """

    loop: str
    site: str
    version: int
    labels: tuple[str, ...]
    offset: int
    behind: int
    held: int
    untaught: int
    trouble: str
    frozen: bool
    seconds: int  # verdicts that wait for a second opinion
    elsewhere: int  # verified pieces that wait to be seen by the backbone that answers now
    refresh: str  # what the slower tiers do
    lines: dict[str, int]


@dataclass(frozen=True)
class _Conclusion:
    """The events that say what an update came to, with their keys, and the release they are about."""

    events: tuple[Event, ...]
    release: Release | None = None
    model: Model | None = None


class Engine:
    """One loop. Give it its settings, its vertical and its ports; `start` lets it turn by itself."""

    def __init__(self, config: LoopConfig, vertical: Vertical, ports: Ports) -> None:
        self.config = config
        self.vertical = vertical
        self.ports = ports
        self.log, self.lake, self.registry, self.channel = (
            ports.log,
            ports.lake,
            ports.registry,
            ports.channel,
        )
        self.clock = ports.clock
        self.fleet = Fleet(config.rollout, self.clock)
        self.measures = Measures()
        self.metrics = Metrics()
        self.measuring = threading.Lock()  # Measures and Metrics have no lock of their own
        self._laps: dict[str, float] = {}
        self.lineage = Lineage(vertical, config, self._about, self._lap, records=self._between, fetch=self.lake.get)
        self.lineage.reach = replace(self.lineage.reach, past=self._past)
        self.start_vertical = vertical
        self._given = load_federated(config, vertical)
        self.lineage.begin_with(self._given)
        self._numbering = threading.Lock()
        self.turning = threading.Lock()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._local: set[str] = set()  # lines that the hub itself predicts for
        self._serving = threading.Lock()  # no such line may miss the release that goes out meanwhile
        self._sensing = threading.BoundedSemaphore(_SENSING_MAX)
        self._staging = threading.Lock()
        self._unstaged: tuple[Event, ...] = ()  # of a rollout, that the disk did not take yet
        self._unsaid: _Conclusion | None = None  # what the disk did not take yet
        self._newest: OrderedDict[str, None] = OrderedDict()
        self._forms: set[tuple[object, ...]] = set()  # of proposals that are known to fit
        self._updates = 0
        self.looking = Looking(config.review)
        self._drift = DriftTest(config.refresh.drift_alpha)
        self.drifted = False  # the verified error has changed since the last refresh
        self._reported: Report | None = None
        self._reported_s = 0.0
        self._released_s = -1e9
        self._embedder: Embedder | None = None  # what recovery shows again was embedded before
        self.trouble = ""  # what keeps the loop from turning, if anything does
        self.model = recover(self.lineage, ports, vertical, self._seen_again)
        self.vertical = self.lineage.vertical
        stage = self.lineage.stage
        for record in records_of(self.log, self.lineage.offset):  # what the next turn takes
            self._heard(record.event)
            stage = stage.after(record.event.body)
        self._sequence = last_sequence(self.log, _HUB)
        self._predictor = Predictor(self.vertical, config.site)
        self._predictor.install(self.model)
        self.fleet.released(self.model)
        self._go_on_with_the_rollout(stage)
        self.channel.publish(as_release(self.model), self.model)
        self._embedder = Embedder(self.lake)
        self.refresher = Refresher(self)

    # sense -> predict

    def observe(
        self, payload: Payload, line: str, reference: str | None = None, key: tuple[str, int] | None = None
    ) -> Prediction:
        """Predict a payload here and now, and keep both.

        `reference` is the digest of a template sent before; `key` the sender's (device, sequence), if it has one.
        """
        check_name(line, "line")
        if reference is not None and payload.reference is None:
            payload = msgspec.structs.replace(payload, reference=self.lake.get(reference))
        sensed_at = self.clock.now()
        current = self._predictor.current
        with self._sensing:
            proposals = current.vertical.propose(payload)
        blobs = [payload.data] if payload.reference is None else [payload.data, payload.reference]
        digests = self.lake.put(blobs)
        device, sequence = key or (_HUB, self._next())
        observation = Observation(
            id=f"{device}:{sequence}",
            site=self.config.site,
            line=line,
            at=sensed_at,
            digest=digests[0],
            reference=None if payload.reference is None else digests[1],
        )
        self._serve(line)
        prediction = self._predictor.answer(observation.id, observation, proposals, self.clock.now(), current)
        self.log.append([Event(device, sequence, prediction)])
        self._awake.set()
        return prediction

    # feedback

    def record(self, events: Sequence[Event]) -> list[int]:
        """Make events of lines and reviewers durable; their offsets. Only then are they acknowledged.

        InputError, and none is taken, if one of them is nothing that this loop's model can learn from.
        """
        for event in events:
            if isinstance(event.body, Feedback):
                check_feedback(event.body, self.labels)
            elif isinstance(event.body, Prediction):
                self._check_fits(event.body)
        offsets = self.log.append(events)
        for event in events:
            self._heard(event)
        self._awake.set()
        return offsets

    def feedback(self, feedback: Feedback, device: str = _HUB, sequence: int | None = None) -> Receipt:
        """Take one feedback. With a device and sequence of the sender's it may be sent again safely."""
        number = self._next() if sequence is None else sequence
        offset = self.record([Event(device, number, feedback)])[0]
        return Receipt(offset, self._knows(feedback.prediction))

    def _knows(self, prediction: str) -> bool:
        """Whether a prediction is in the log: the newest are remembered, older ones are looked up."""
        if prediction in self._newest:
            return True
        return any(isinstance(r.event.body, Prediction) for r in self.log.about(prediction))

    def _check_fits(self, prediction: Prediction) -> None:
        """InputError if a prediction's features are not of this loop's backbone.

        The vertical is asked once a form (length and kind of a row, places or none): every line of a plant sends
        the same form a hundred times a second. What else may be wrong, joining and learning pass over.
        """
        proposals = prediction.proposals
        places = {len(region) for region in proposals.regions}
        form = (proposals.columns, proposals.kind, *sorted(places), len(proposals.regions) == proposals.rows)
        try:
            proposals.check_size()
            if form not in self._forms:
                self._answered(proposals)
        except ModelError as error:
            raise InputError(f"prediction {prediction.id} does not fit this loop: {error}") from error
        if proposals.rows and len(self._forms) < _FORMS_MAX:
            self._forms.add(form)

    def command(self, command: Command) -> Receipt:
        """Take an order; it is carried out by the next turns. InputError if it selects nothing, or names no version."""
        if command.order == "unlearn" and command.selection == Selection():
            raise InputError("nothing is selected to unlearn: name a verdict, a reviewer, a site or a time")
        if command.order == "reinstate" and not command.selection.reviewer:
            raise InputError("nobody is named to be reinstated: name a reviewer")
        if command.order in ("pin", "unpin") and not command.line:
            raise InputError(f"no line is named to {command.order}")
        if command.version > self.model.version:
            raise InputError(f"there is no version {command.version}: the newest is {self.model.version}")
        offset = self.log.append([self._event(msgspec.structs.replace(command, at=self.clock.now()))])[0]
        self.refresher.order(command)
        if command.order in ("pin", "unpin"):
            self.fleet.pin(command.line, pinned=command.order == "pin")
        self._awake.set()
        return Receipt(offset, known=True)

    def stage(self) -> None:
        """Go on with the rollout that is under way, if its time has come; what changes is logged, with its reason."""
        with self._staging:
            if not self._unstaged:
                step = self.fleet.tick("held: the loop is frozen (hotloop thaw)" if self.lineage.frozen else "")
                if step is None:
                    return
                self._unstaged = self._said_of(step)
            self.log.append(self._unstaged)  # both or none; what the disk does not take now is said again
            self._unstaged = ()
        self._awake.set()

    def _said_of(self, step: Staged) -> tuple[Event, ...]:
        """A step of a rollout, and the order to go back if that is what it is."""
        at = self.clock.now()
        staged = self._event(msgspec.structs.replace(step, at=at))
        if step.action != "roll back":
            return (staged,)
        settled = self.fleet.settled()  # not the last checkpoint: that may be on the new backbone already
        version = 0 if settled is None else settled.version
        back = Command(order="rollback", by="the lines", reason=step.reason, version=version, at=at)
        return (staged, self._event(back))

    def _go_on_with_the_rollout(self, stage: Stage) -> None:
        """Where a former run was, as the log has it."""
        backbones = self.lineage.now.lessons.backbones
        stand = standing(stage, backbones)
        settled = self._model_of(stand.settled) if stand.settled else None
        self.fleet.resume(backbones, settled, stand.step, stage.pinned)

    def _model_of(self, version: int) -> Model:
        """A former model; where its head is not kept any more, made again from the log."""
        try:
            return self.registry.get(version)
        except NotFoundError:
            offset, learned = self._past(version)
            backbone, head = learned.lessons.backbones[-1][1], learned.champion
            return msgspec.structs.replace(
                self.model, version=version, parent=version - 1, backbone=backbone, head=head, learned_to=offset
            )

    @functools.cached_property
    def signer(self) -> Signer:
        """What signs releases for the lines; keys are made at the first use. ConfigError if the keys do not fit."""
        if isinstance(self.start_vertical, Refreshable):  # a line may not have been built with it
            self.lake.put([self.start_vertical.bundle()])
        folder = Path(self.config.store.folder) / "trust"
        return open_signer(folder, self.config.rollout, self.clock, self.lake.get)

    @functools.cached_property
    def devices(self) -> Devices:
        """The lines' own computers, and their tokens."""
        return Devices(Path(self.config.store.folder), self.clock)

    def affected(self, selection: Selection) -> str:
        """Which releases learned what a selection means, in words."""
        words = selected(self.reach, selection, self.log.last())
        return affected(self.reach, words, self.log.last())

    def review(self, limit: int) -> tuple[list[tuple[str, float, str]], str]:
        """What a human should look at, best first: (prediction, value, reason); and what may pass, in words."""
        with self.turning:
            found = self.looking.next(limit, self.lineage.now)
            return [(one.prediction, one.value, one.reason) for one in found], self.looking.words()

    def note(self, body: Candidate | Rederived | Notice) -> int:
        """Log what the hub's own slower work came to; its offset."""
        offset = self.log.append([self._event(body)])[0]
        self._awake.set()
        return offset

    def _answered(self, proposals: Proposals) -> None:
        """ModelError if neither the backbone that answers now, nor the one that the loop began with, fits them: a line
        may be on either.
        """
        current = self._predictor.current
        try:
            current.vertical.answer(proposals, current.head)
        except ModelError:
            if self.start_vertical is current.vertical:
                raise
            self.start_vertical.answer(proposals, self.start_vertical.start())

    def acknowledge(self, *lives: Live) -> None:
        """Lines say which version they answer with."""
        self.record([self._event(live) for live in lives])

    def _heard(self, event: Event) -> None:
        """Tell the channel what a line has acknowledged; remember a prediction's id."""
        if isinstance(event.body, Live):
            self.channel.acknowledge(event.body)
            self.fleet.acknowledged(event.body)
        elif isinstance(event.body, Declined):
            self.fleet.declined(event.body)
            self.channel.acknowledge(Live(line=event.body.line, version=event.body.stays, at=event.body.at))
        elif isinstance(event.body, Prediction):
            self.fleet.seen(event.body.observation.line)
            self._newest[event.body.id] = None
            if len(self._newest) > _NEWEST_MAX:
                self._newest.popitem(last=False)

    # join -> learn -> gate -> rollout

    def turn(self) -> Release | None:
        """One turn of the loop: take what is new in the log, learn it, judge it, release it."""
        with self.turning:
            if self._unsaid is not None:
                return self._publish(self._unsaid)
            for record in [] if self.lineage.due else self._read():
                self._take(record)
                if self.lineage.due or self.lineage.waiting >= self.config.learn.batch_examples_max:
                    break
            self._laps = {"joined": self.clock.now()}
            update = self.lineage.update()
            return None if update is None else self._publish(self._concluded(update))

    def _read(self) -> list[Record]:
        """What the log has that this engine has not taken. A rotten record is named and passed over."""
        try:
            return self.log.read(self.lineage.offset, _READ_MAX)
        except CorruptError as error:
            self.log.append([self._event(Notice(subject="log", text=str(error), at=self.clock.now()))])
            self.lineage.offset = max(error.offsets, default=self.log.last())
            return []

    def _between(self, after: int, upto: int) -> list[Record]:
        """The readable records in (after, upto]."""
        return list(takewhile(lambda record: record.offset <= upto, records_of(self.log, after)))

    def _past(self, version: int) -> tuple[int, LearnedState]:
        """A former state, learned again from the log. NotFoundError if the log has no such release."""

        def fresh() -> Lineage:
            lineage = Lineage(self.start_vertical, self.config, self._about, records=self._between, fetch=self.lake.get)
            lineage.begin_with(self._given)
            return lineage

        return past(fresh, lambda: records_of(self.log, 0), version)

    def _about(self, prediction: str) -> list[Record]:
        """For the join. A prediction with a rotten record teaches nothing more; the others must go on."""
        try:
            return self.log.about(prediction)
        except CorruptError:
            return []

    def _take(self, record: Record) -> None:
        self._seen(record, self.lineage.take(record))
        body, share = record.event.body, self.config.review.audit_share
        if (
            isinstance(body, Prediction)
            and not body.outputs
            and share
            and drawn(body.id, self.config.learn.seed, share)
        ):
            asked = Asked(prediction=body.id, propensity=share, at=self.clock.now())
            self.log.append([Event("audit-draw", record.offset, asked)])  # the offset is the key: drawn once

    def _seen_again(self, record: Record, change: Change | None) -> None:
        """A record of before this start: the lines still answer with what they acknowledged then."""
        self._seen(record, change)
        self._heard(record.event)

    def _seen(self, record: Record, change: Change | None) -> None:
        """measure: count a record, and how the prediction turned out if the record says so."""
        body = record.event.body
        if isinstance(body, Prediction):
            self.looking.add(body)
        elif isinstance(body, Asked):
            self.looking.asked(body.prediction)
        with self.measuring:
            self.metrics.record(record, self.measures.add(record))
            if change is not None and change.after is not None:
                with suppress(ModelError, InputError):  # of another backbone: nobody can say how it turned out
                    outcomes = self.vertical.outcomes(change.after.prediction.outputs, change.after)
                    self.measures.judged(change.after, outcomes, record)
                    if change.before is None and outcomes:
                        self._first_verified(change.after, outcomes)
                if self._embedder is not None:
                    self._embedder.add(change.after)

    def _first_verified(self, example: Example, outcomes: Sequence[Outcome]) -> None:
        """What a piece that is verified for the first time says of drift, and of what may pass."""
        score, name = count(outcomes).score, example.prediction.id
        self.drifted = self._drift.add(1.0 - score) or self.drifted
        propensity = 1.0 if example.prediction.outputs else self.measures.audited.propensity(name)
        if propensity is not None:
            self.looking.verified(example.prediction, self.lineage.now, wrong=score < 1.0, propensity=propensity)
        self.looking.done(name)

    def _concluded(self, update: Update) -> _Conclusion:
        """What is said of an update: the judgement, and the release with its model if there is one."""
        now = self.clock.now()
        judgement = Judgement(
            candidate=self.lineage.version if update.head is not None else self.model.version + 1,
            champion=self.model.version,
            decision=update.decision,
            reason=update.finding.reason,
            count=update.finding.count,
            difference=update.finding.difference,
            e_value=update.finding.e_value,
            learned_to=self.lineage.offset,
            refused=update.refused,
            singly=update.singly,
            deferred=update.deferred,
            tier=update.tier,
            slices=update.finding.slices,
            at=now,
        )
        if update.head is None:
            return _Conclusion((self._event(judgement),))
        backbone = self.lineage.vertical.backbone
        known = self.model.alike if backbone == self.model.backbone else 0.0  # a line may come to it by a later head
        model = msgspec.structs.replace(
            self.model,
            version=self.lineage.version,
            parent=self.model.version,
            tier=update.tier,
            backbone=backbone,
            alike=update.alike or known,
            recipe=self.lineage.vertical.recipe,
            head=pack_head(update.head),
            learned_to=self.lineage.offset,
            at=now,
        )
        laps = {f"{stage}_at": at for stage, at in self._laps.items()}
        release = msgspec.structs.replace(next_release(model, judgement), **laps)
        said: tuple[Body, ...] = (judgement, release)
        if self.fleet.starts(model):
            said += (Staged(action="begin", first=model.version, backbone=backbone, reason="a new backbone", at=now),)
        elif model.tier == "rollback":
            words = "the way back is for all lines"
            said += (Staged(action="everywhere", first=model.version, backbone=backbone, reason=words, at=now),)
        return _Conclusion(tuple(map(self._event, said)), release, model)

    def _publish(self, said: _Conclusion) -> Release | None:
        """Log first, then tell. What the disk does not take is kept, and said again under the same keys."""
        self._unsaid = said
        self.log.append(said.events)
        if said.model is not None and said.release is not None:
            self._unsaid = said = self._offered(said.release, said.model)
            self.log.append(said.events)
        self._unsaid = None
        self._released_s = self.clock.monotonic()
        self._updates += 1
        if self._updates % _SNAPSHOT_EVERY == 0 and self.lineage.settled:
            self._keep_state()
        return said.release

    def _offered(self, release: Release, model: Model) -> _Conclusion:
        """Bring a logged release to the lines; what is left to say is that the hub's own ones answer with it."""
        if self.registry.latest() < model.version:
            self.registry.add(model)
        with self._serving:
            self.model = model
            self.vertical = self.lineage.vertical
            self._predictor.install(model, self.vertical)
            if model.tier != "reflex":
                self._drift, self.drifted = DriftTest(self.config.refresh.drift_alpha), False
            self.fleet.released(model)
            self.channel.publish(release, model)
            lives = [Live(line=line, version=model.version, at=self.clock.now()) for line in sorted(self._local)]
            for live in lives:
                self.channel.acknowledge(live)
        return _Conclusion(tuple(self._event(live) for live in lives), release)

    def _keep_state(self) -> None:
        """Save a snapshot. The loop goes on without one: it only shortens the next start."""
        try:
            self.ports.snapshots.save(self.lineage.state())
        except StoreError as error:
            self.trouble = str(error)

    # by itself

    def start(self) -> None:
        """Turn whenever there is something new, in a thread of its own, until `close`."""
        self._awake.set()  # the log may hold what an earlier run did not come to
        self._thread = threading.Thread(target=self._run, name="hotloop-turn", daemon=True)
        self._thread.start()
        self.refresher.start()

    def _run(self) -> None:
        try:
            self._turn_on()
        finally:  # where nobody foresaw the end, Python prints its traceback; here it is said to who asks
            if not self._closing.is_set():
                self.trouble = "the loop has stopped turning, by a defect of hotloop: what comes is kept; restart it"

    def _turn_on(self) -> None:
        while not self._closing.is_set():
            self._awake.wait()
            self._awake.clear()
            pause = wait_s(self._released_s, self.clock.monotonic(), self.config.rollout)
            if self._closing.wait(pause):
                return
            try:
                while self.turn() is not None or self.behind:
                    if self._closing.wait(wait_s(self._released_s, self.clock.monotonic(), self.config.rollout)):
                        return
            except HotloopError as error:  # such as a full disk: nothing acknowledged is lost; go on when it can
                self.trouble = str(error)
                self._closing.wait(_RETRY_S)
                self._awake.set()
            else:
                self.trouble = ""

    def close(self) -> None:
        """Finish the turn under way, keep a snapshot, release every port."""
        self._closing.set()
        self._awake.set()
        self.refresher.close()
        if self._thread is not None:
            self._thread.join()
        with self.turning:
            if self.lineage.settled and self._unsaid is None:  # no state that the log does not lead to
                self._keep_state()
            if self._embedder is not None:
                self._embedder.close()
            self.channel.close()
            self.lake.close()
            self.registry.close()
            self.log.close()

    # what can be asked

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that verdicts may use."""
        return self._predictor.head.labels

    @property
    def reach(self) -> Reach:
        """What can be looked up of the log and the lake."""
        return self.lineage.reach

    def stalled(self) -> str:
        """Why more verdicts of the same kind do not help any more, or ""."""
        with self.measuring:
            return self.measures.stalled(self.config.refresh.stalled_examples)

    def caught_up(self, offset: int, stop: threading.Event) -> None:
        """Wait until the loop has taken the log up to an offset; where nobody turns, turn."""
        while self.lineage.offset < offset and not stop.is_set():
            if self._thread is None:
                self.turn()
            else:
                stop.wait(0.02)

    @property
    def held(self) -> int:
        """Verdicts that the gate holds back."""
        return self.lineage.held

    def report(self) -> Report:
        """Every measure, as of now; where the loop turns by itself, at most `_REPORT_S` old, for a report is work."""
        age_s = self.clock.monotonic() - self._reported_s
        if self._reported is None or self._thread is None or age_s > _REPORT_S:
            with self.measuring:
                self._reported = self.measures.report(self.config.name)
            self._reported_s = self.clock.monotonic()
        return self._reported

    def snapshot(self) -> Status:
        """How the loop stands."""
        return Status(
            loop=self.config.name,
            site=self.config.site,
            version=self.model.version,
            labels=self.labels,
            offset=self.log.last(),
            behind=self.log.last() - self.lineage.offset,
            held=self.lineage.held,
            untaught=self.lineage.untaught,
            trouble=self.trouble,
            frozen=self.lineage.frozen,
            seconds=len(self.lineage.now.lessons.seconds),
            elsewhere=len(self.lineage.now.lessons.waiting),
            refresh=self.refresher.words,
            lines=dict(self.channel.lines()),
        )

    def metrics_text(self) -> str:
        """Prometheus exposition."""
        report = self.report()
        with self.measuring:
            self.metrics.refresh(report)
            return self.metrics.text().decode()

    def catch_up(self) -> None:
        """Turn until everything in the log is learned."""
        while self.turn() is not None or self.behind:
            pass

    @property
    def behind(self) -> bool:
        """Whether there is something that was not taken yet."""
        return self.lineage.due or self.log.last() > self.lineage.offset

    def trace(self, prediction: str) -> list[Record]:
        """Everything that is logged about a prediction. NotFoundError."""
        records = self.log.about(prediction)
        if not records:
            raise NotFoundError(f"no prediction {prediction[:100]!r} is known here, and no feedback on one")
        return records

    def _event(self, body: Body) -> Event:
        return Event(_HUB, self._next(), body)

    def _next(self) -> int:
        """The hub's next sequence number."""
        with self._numbering:
            self._sequence += 1
            return self._sequence

    def _serve(self, line: str) -> None:
        """Remember a line that the hub predicts for: the hub acknowledges releases in its place."""
        if line in self._local:
            return
        with self._serving:
            if line not in self._local and len(self._local) < _LOCAL_LINES_MAX:
                self.acknowledge(Live(line=line, version=self.model.version, at=self.clock.now()))
                self._local.add(line)

    def _lap(self, stage: str) -> None:
        self._laps[stage] = self.clock.now()
