"""The slower tiers at work: starts a training job when one is due, and looks again at what another backbone has seen.

A thread of its own beside the turn. The lines predict and the reflex learns while a child process trains; when it is
done, what was verified meanwhile is seen by the new backbone too, and a `Candidate` goes into the log. What follows
from it is the lineage's (gate, release). Also: verified pieces whose features are of another backbone than the one
that learns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from hotloop.errors import HotloopError, ModelError, NotFoundError, StoreError
from hotloop.job import Job, JobExample, Role, blob_path, read_job, told, write_job
from hotloop.learn.trigger import Counts, due
from hotloop.ports import Refreshable, Vertical
from hotloop.steps import held_out, joined, named
from hotloop.types import (
    UNREADABLE,
    Candidate,
    Command,
    Example,
    Notice,
    Payload,
    Prediction,
    Proposals,
    Rederivation,
    Rederived,
    digest,
)

if TYPE_CHECKING:
    from hotloop.engine import Engine

_LOOK_S = 0.5  # between two looks at the job and at what waits
_SEEN_MAX = 64  # predictions that another backbone looks at in one go
_LATE_MAX = 64  # verified meanwhile: with more, the new backbone looks once more before it goes to the gate
_STOP_S = 10.0
_COMPARED_MAX = 6  # unverified pieces that a former backbone answers in one look: some tenth of a core
_COMPARED_AMONG = 200
_COMPARED_KEPT = 1000
_BARE = Proposals(0, 0, b"")  # a trainer looks at the picture


class Refresher:
    """Owned by the engine. `start` makes it work by itself; `work` does one piece of it."""

    def __init__(self, engine: Engine) -> None:
        self.words = "no refresh was due yet"
        self._engine = engine
        self._ordered: Command | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0
        self._last_s = engine.clock.monotonic()
        self._last_whole_s = engine.clock.monotonic()
        self._compared: OrderedDict[str, None] = OrderedDict()  # newest that a former backbone has answered as well
        self._blind: set[str] = set()  # predictions whose bytes are not in the lake: nobody can look again
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def folder(self) -> Path:
        """Where the job lies."""
        return Path(self._engine.config.store.folder) / "job"

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._child is not None

    def order(self, command: Command) -> None:
        """Remember an order to train."""
        if command.order in ("refresh", "consolidate"):
            self._ordered = command

    def start(self) -> None:
        """Work until `close`; a job that a stop interrupted goes on."""
        self._thread = threading.Thread(target=self._run, name="hotloop-refresh", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. A child is ended; it goes on where it was at the next start."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_STOP_S)
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait()
            self._child = None

    def _run(self) -> None:
        if (self.folder / "job.msgpack").exists():
            self._spawn()
        while not self._closing.wait(_LOOK_S):
            try:
                self.work()
            except HotloopError as error:  # such as a full disk: it is tried again
                self.words = str(error)

    def work(self) -> None:
        """One look: at the job, at what calls for one, at what waits to be seen. StoreError if the disk fails it."""
        try:
            if self._child is not None:
                self._watch_child()
            elif (self.folder / "job.msgpack").exists() and told(self.folder).state == "done":
                self._hand_in()  # what the disk did not take before
            elif reason := self._due():
                self.begin(*reason)
            self.look_again()
            self.tell_apart()
        except OSError as error:
            raise StoreError(f"the training job in {self.folder} cannot go on: {error}") from error

    # a job

    def _due(self) -> tuple[str, Literal["refresh", "consolidate"]] | None:
        """What calls for a job now, and of which tier."""
        engine = self._engine
        now_s = engine.clock.monotonic()
        ordered, self._ordered = self._ordered, None
        counts = Counts(
            examples=engine.lineage.verified,
            seconds=now_s - self._last_s,
            whole_seconds=now_s - self._last_whole_s,
            stalled=engine.stalled(),
            drifted=engine.drifted,
            ordered="" if ordered is None else ordered.order,
            tainted=engine.lineage.tainted,
            running=self.running,
            frozen=engine.lineage.frozen,
        )
        return due(counts, engine.config.refresh)

    def begin(self, reason: str, tier: Literal["refresh", "consolidate"]) -> None:
        """Lay a job and start its child. Where there is nothing to train on, or no trainer, that is said."""
        engine = self._engine
        self._last_s = engine.clock.monotonic()
        if tier == "consolidate":
            self._last_whole_s = self._last_s
        vertical = engine.start_vertical if tier == "consolidate" else engine.vertical
        if not isinstance(vertical, Refreshable):
            self._say(f"{tier}: {reason}, but this vertical has no backbone that could be trained again")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        upto = engine.lineage.offset
        examples = self._examples(upto, None if tier == "consolidate" else engine.config.refresh.examples_max)
        if not any(one.role == "train" for one in examples):
            self._say(f"{tier}: {reason}, but no verified piece may be trained on yet")
            return
        refresh = engine.config.refresh
        job = Job(
            tier=tier,
            reason=reason,
            backbone=digest(vertical.bundle()),
            tables=engine.config.tables,
            base=engine.config.base,
            examples=tuple(self._laid(examples)),
            trained_to=upto,
            seed=engine.config.learn.seed,
            minutes_max=refresh.minutes_max,
            threads=refresh.threads,
        )
        write_job(self.folder, job, vertical.bundle())
        self._say(f"{tier} began on {len(job.examples)} verified pieces: {reason}")
        self._spawn()

    def _examples(self, upto: int, most: int | None) -> list[JobExample]:
        """What was verified up to an offset, as it may be learned, oldest first; `most` of it."""
        engine = self._engine
        found = []
        for name in named(engine.reach, 0, upto):
            example = joined(engine.reach, name, upto)
            if example is not None and (one := self._role(name, example)) is not None:
                found.append(one)
        return found if most is None else rehearsed(found, most)

    def _role(self, name: str, example: Example) -> JobExample | None:
        """An example and what it is for; None if it is for nothing."""
        engine = self._engine
        seen = example.prediction.observation
        with engine.turning:
            lessons = engine.lineage.now.lessons
            truth, held = lessons.truth(example), lessons.held(name, example)
            if held is not None and lessons.covered(held.prediction):
                held = None
        if truth:
            return JobExample(msgspec.structs.replace(example, feedback=truth), "golden")
        if held is None:
            return None
        role: Role = "judge" if held_out(seen.digest, engine.config.refresh.holdout_share) else "train"
        return JobExample(held, role)

    def _laid(self, examples: Iterable[JobExample]) -> Iterable[JobExample]:
        """The examples whose bytes are in the lake, once they are laid into the job's folder."""
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        for one in examples:
            seen = one.example.prediction.observation
            try:
                for name in (seen.digest, seen.reference):
                    if name is not None and not blob_path(self.folder, name).exists():
                        blob_path(self.folder, name).write_bytes(self._engine.lake.get(name))
            except NotFoundError:
                self._blind.add(one.example.prediction.id)
                continue
            bare = msgspec.structs.replace(one.example.prediction, proposals=_BARE)
            yield JobExample(msgspec.structs.replace(one.example, prediction=bare), one.role)

    def _spawn(self) -> None:
        """Start the child, or go on with one that was stopped."""
        vertical = self._engine.vertical
        if not isinstance(vertical, Refreshable):
            return
        self._began_s = self._engine.clock.monotonic()
        threads = str(self._engine.config.refresh.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-m", *vertical.trainer(), str(self.folder)]
        with (self.folder / "trainer.log").open("ab") as output:
            self._child = subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # noqa: S603

    def _watch_child(self) -> None:
        """Say how far the child is; take what it made when it is done."""
        assert self._child is not None
        progress = told(self.folder)
        self.words = f"{progress.share:.0%}: {progress.text}"
        if self._child.poll() is None:
            return
        ended, self._child = self._child.returncode, None
        if ended or progress.state != "done":
            log = self.folder / "trainer.log"
            said = progress.text if progress.state == "failed" else log.read_text(errors="replace")[-500:]
            self._drop(f"the training child ended with {ended}: {said}")
        else:
            self._hand_in()

    def _drop(self, words: str) -> None:
        """Say why a job came to nothing, and clear it away: another may begin."""
        self._say(words)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hand_in(self) -> None:
        """What the child made goes to the gate; what cannot be used is said. StoreError: it is tried again."""
        try:
            self._to_the_gate()
        except ModelError as error:
            self._drop(f"the training child is done, but what it made cannot be used: {error}")

    def _to_the_gate(self) -> None:
        """The new backbone, with what was verified meanwhile seen by it, as a candidate."""
        engine = self._engine
        job = read_job(self.folder)
        bundle = (self.folder / "result.bin").read_bytes()
        try:
            features = msgspec.msgpack.decode((self.folder / "features.msgpack").read_bytes(), type=Rederivation)
        except UNREADABLE as error:
            raise ModelError(f"what the training child wrote cannot be read: {error}") from error
        vertical = engine.vertical
        assert isinstance(vertical, Refreshable)
        proposals = dict(features.proposals)
        revived = vertical.revived(bundle)
        while len(late := self._late(proposals, job.trained_to)) > 0:
            proposals |= self._looked(late, revived)
            if len(late) <= _LATE_MAX:
                break
        blob = msgspec.msgpack.encode(Rederivation(revived.backbone, proposals))
        name, kept, _ = engine.lake.put([bundle, blob, vertical.bundle()])
        candidate = Candidate(
            tier=job.tier,
            backbone=name,
            features=kept,
            count=len(proposals),
            trained_to=job.trained_to,
            seconds=engine.clock.monotonic() - self._began_s,
            reason=job.reason,
            at=engine.clock.now(),
        )
        engine.note(candidate)
        self._say(f"{job.tier}: at the gate, trained in {candidate.seconds:.0f} s; {told(self.folder).text}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _late(self, proposals: dict[str, Proposals], after: int) -> list[Prediction]:
        """What was verified since the job was laid and was not looked at yet."""
        reach, upto = self._engine.reach, self._engine.log.last()
        names = [n for n in named(reach, after, upto) if n not in proposals and n not in self._blind]
        found = (joined(reach, name, upto) for name in names)
        return [example.prediction for example in found if example is not None]

    # what another backbone has seen

    def look_again(self) -> int:
        """Let the backbone that learns, and the one to go back to, see what they have to judge; how many they saw."""
        engine = self._engine
        with engine.turning:
            lessons, standby = engine.lineage.now.lessons, engine.lineage.standby
            here = [example.prediction for _, example in lessons.waiting.values()]
            there = [example.prediction for example in standby.examples]
            verticals = engine.lineage.vertical, standby.vertical
        count = 0
        for predictions, vertical in zip((here, there), verticals, strict=True):
            wanted = [p for p in predictions if p.id not in self._blind][:_SEEN_MAX]
            proposals = self._looked(wanted, vertical)
            if proposals:
                blob = msgspec.msgpack.encode(Rederivation(vertical.backbone, proposals))
                at = engine.clock.now()
                features = engine.lake.put([blob])[0]
                engine.note(Rederived(backbone=vertical.backbone, features=features, count=len(proposals), at=at))
                engine.caught_up(engine.log.last(), self._closing)
                count += len(proposals)
        return count

    def tell_apart(self) -> int:
        """While a former backbone is watched: let it answer the newest pieces that nobody has verified, and put those
        first in the review order on which it answers otherwise; how many it answered.

        Where both answer alike their losses are equal, whatever the truth, so that no verdict is needed to know the
        difference. Which pieces are looked at does not depend on what either says of them.
        """
        engine = self._engine
        with engine.turning:
            standby, backbone = engine.lineage.standby, engine.lineage.now.lessons.backbone
            if standby.backbone == backbone:
                engine.looking.settled()
                self._compared.clear()
                return 0
            # the oldest of the newest: bytes come a moment after what was predicted from them
            fresh = [p for p in engine.looking.newest(_COMPARED_AMONG) if p.id not in self._compared]
            wanted = [p for p in fresh if engine.lineage.now.lessons.backbone_of(p) == backbone][:_COMPARED_MAX]
        seen = ((p.id, self._proposed(p, standby.vertical)) for p in wanted)
        found = {name: proposals for name, proposals in seen if proposals is not None}
        differing = [p.id for p in wanted if p.id in found and not standby.says_as_much(p, found[p.id])]
        with engine.turning:
            for name in found:
                self._compared[name] = None
                if len(self._compared) > _COMPARED_KEPT:
                    self._compared.popitem(last=False)
            for name in differing:
                engine.looking.differs(name)
        return len(found)

    def _looked(self, predictions: Sequence[Prediction], vertical: Vertical) -> dict[str, Proposals]:
        """What a backbone proposes for predictions that another one made, from the bytes in the lake."""
        found = {}
        for prediction in predictions:
            proposals = self._proposed(prediction, vertical)
            if proposals is None:  # nobody can look at it again
                self._blind.add(prediction.id)
            else:
                found[prediction.id] = proposals
        return found

    def _proposed(self, prediction: Prediction, vertical: Vertical) -> Proposals | None:
        """What a backbone proposes for a prediction; None if its bytes are not kept (yet), or cannot be read."""
        seen, lake = prediction.observation, self._engine.lake
        try:
            reference = None if seen.reference is None else lake.get(seen.reference)
            return vertical.propose(Payload(lake.get(seen.digest), reference=reference))
        except HotloopError:
            return None

    def _say(self, text: str) -> None:
        """Tell the operator now, and the log for later."""
        self.words = text
        self._engine.note(Notice(subject="refresh", text=text, at=self._engine.clock.now()))


def rehearsed(examples: Sequence[JobExample], most: int) -> list[JobExample]:
    """At most `most` examples: the newer half of that as they come, and of the older ones a balanced memory.

    Balanced: the kinds that their reviewers name take turns, so that the rare ones are rehearsed as often as the
    common. Golden pieces and those that judge are always among them.
    """
    fixed = [one for one in examples if one.role != "train"]
    trained = [one for one in examples if one.role == "train"]
    if len(trained) <= most:
        return list(examples)
    newer, older = trained[-(most // 2) :], trained[: -(most // 2)]
    by_kind: dict[str, list[JobExample]] = {}
    for one in older:
        kinds = {claim.label or "" for word in one.example.feedback for claim in word.claims} or {""}
        by_kind.setdefault(min(kinds, key=lambda kind: (len(by_kind.get(kind, ())), kind)), []).append(one)
    kept: dict[str, JobExample] = {}
    while len(kept) < most - len(newer) and any(by_kind.values()):
        for group in by_kind.values():
            if group and len(kept) < most - len(newer):
                one = group.pop()
                kept[one.example.prediction.id] = one
    chosen = {one.example.prediction.id for one in (*fixed, *newer, *kept.values())}
    return [one for one in examples if one.example.prediction.id in chosen]
