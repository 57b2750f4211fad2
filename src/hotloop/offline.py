"""What can be asked of a loop's stores without its hub: a report, a rebuild, a what-if, a check of every byte."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError, CorruptError, HotloopError, InputError, ModelError, NotFoundError
from hotloop.evidence import share_interval
from hotloop.generalise import by_site
from hotloop.join import Joiner, subject
from hotloop.learn.federation import export
from hotloop.lineage import Lineage
from hotloop.loading import load_federated, load_vertical
from hotloop.measure import Measures, Report, Tally, count, delayed, plots
from hotloop.ports import Registry, Vertical
from hotloop.predict import pack_head, unpack_head
from hotloop.recovery import past, replay
from hotloop.site_heads import Choice, choose
from hotloop.store.lake import LanceLake
from hotloop.store.lake_report import verify_lake
from hotloop.store.reader import LogReader
from hotloop.store.registry import SqliteRegistry
from hotloop.store.verify import verify_log
from hotloop.types import Change, Example, Feedback, Prediction, Record, digest

Tracked = Callable[[Any, str, int], Any]

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_ALPHA = 0.05  # of a band


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild came to. `difference`: of the newest head's weights, relative to the registry's."""

    records: int
    releases: int
    same: int
    difference: float
    seconds: float
    head: bytes | None


@dataclass(frozen=True)
class Delayed:
    """Quality of a replay with feedback delayed: over all verified predictions, and as it went.

    `lower`, `upper`: the band of each score (anytime-valid, outcomes taken as independent).
    """

    name: str
    delay_s: float
    precision: float
    recall: float
    f_score: float
    minutes: tuple[float, ...]
    scores: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True)
class Finding:
    """One store, and whether all of it is as it was written."""

    what: str
    good: bool
    text: str


def log_path(config: LoopConfig) -> Path:
    """Where the loop's log is."""
    return Path(config.store.folder) / "log.sqlite"


def report_of(config: LoopConfig) -> Report:
    """The report of the whole log. The hub may be running."""
    vertical = load_vertical(config)
    measures = Measures()
    with closing(LogReader(log_path(config))) as log:
        joiner = Joiner(config.join, log.about)
        for record in log.records():
            measures.add(record)
            change = joiner.add(record)
            if change is not None and change.after is not None:
                with suppress(ModelError, InputError):  # of another backbone: nobody can say how it turned out
                    outcomes = vertical.outcomes(change.after.prediction.outputs, change.after)
                    measures.judged(change.after, outcomes, record)
    return measures.report(config.name)


class _Blobs:
    """The lake, opened when a blob of it is needed: only logs with refreshes need it, and one process may have it
    open.
    """

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._lake: LanceLake | None = None

    def get(self, name: str) -> bytes:
        """The bytes of a digest. StoreBusyError while the hub has the lake open."""
        if self._lake is None:
            self._lake = LanceLake(Path(self._config.store.folder) / "lake", self._config.store)
        return self._lake.get(name)

    def close(self) -> None:
        """Release it."""
        if self._lake is not None:
            self._lake.close()


def _lineage(vertical: Vertical, config: LoopConfig, log: LogReader, blobs: _Blobs) -> Lineage:
    """A fresh lineage that can look up what a refresh, a rollback or an unlearning needs."""

    def between(after: int, upto: int) -> list[Record]:
        return list(takewhile(lambda r: r.offset <= upto, dropwhile(lambda r: r.offset <= after, log.records())))

    lineage = Lineage(vertical, config, log.about, records=between, fetch=blobs.get)
    lineage.begin_with(load_federated(config, vertical))
    again = partial(_lineage, vertical, config, log, blobs)
    lineage.reach = replace(lineage.reach, past=lambda version: past(again, log.records, version))
    return lineage


def rebuild(config: LoopConfig, tracked: Tracked, to: int = 0) -> Rebuilt:
    """Learn the whole log again, and compare each release with what was logged. `to`: the version to give out."""
    began = time.perf_counter()
    vertical = load_vertical(config)
    with closing(LogReader(log_path(config))) as log, closing(_Blobs(config)) as blobs:
        last = log.last()
        lineage = _lineage(vertical, config, log, blobs)
        records = tracked(log.records(), "learning the log again", last)
        releases = same = 0
        wanted = pack_head(lineage.champion) if to == 1 else None
        for step in replay(records, lineage, _unseen):
            head = pack_head(step.head)
            releases += 1
            same += digest(head) == step.release.digest
            wanted = head if step.release.version == to else wanted
    difference = _difference(config, lineage)
    return Rebuilt(last, releases, same, difference, time.perf_counter() - began, wanted)


def _unseen(record: Record, change: Change | None) -> None:
    """Nobody watches a rebuild."""


def _difference(config: LoopConfig, lineage: Lineage) -> float:
    """How far the rebuilt head is from the registry's of the same version."""
    path = Path(config.store.folder) / "registry.sqlite"
    with closing(_registry(path, config)) as registry:
        kept = unpack_head(registry.get(lineage.version).head).weights
    made = lineage.champion.weights
    return float(np.abs(made - kept).max() / max(float(np.abs(kept).max()), 1e-30))


def _registry(path: Path, config: LoopConfig) -> Registry:
    if not path.is_file():
        raise NotFoundError(f"{path} is not there: it is filled up from the log at the next `hotloop up`")
    return SqliteRegistry(path, config.rollout.retained_models)


def seconds(text: str) -> float:
    """A time such as "0s", "30m", "12h" or "7d", or plain seconds. ConfigError says what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d|w)?", text.strip())
    if found is None:
        raise ConfigError(f"{text[:40]!r} is no time: give a number and s, m, h, d or w, such as 30m or 7d")
    return float(found[1]) * _UNITS_S[found[2] or "s"]


def exported(config: LoopConfig, tracked: Tracked) -> bytes:
    """What this loop's site has learned, sealed, for other sites: learned again from the log. ModelError if it is too
    little.

    Only what was learned on the backbone that the loop began with: other sites have no other.
    """
    vertical = load_vertical(config)
    with closing(LogReader(log_path(config))) as log, closing(_Blobs(config)) as blobs:
        lineage = _lineage(vertical, config, log, blobs)
        for _ in replay(tracked(log.records(), "learning the log again", log.last()), lineage, _unseen):
            pass
    if lineage.vertical.backbone != vertical.backbone:
        raise ModelError("this loop has refreshed its backbone: its sums are of features that no other site has")
    return export(
        lineage.now.reflex.sums_of(config.site),
        site=config.site,
        backbone=vertical.backbone,
        recipe=vertical.recipe,
        labels=vertical.start().labels,
    )


def tried(config: LoopConfig, files: Sequence[Path], tracked: Tracked) -> Choice:
    """Which share of other sites' exports serves this site best, by its own recent pieces: local, shared or a blend."""
    vertical = load_vertical(config)
    others = msgspec.structs.replace(
        config.learn, federated=tuple(str(path.resolve()) for path in files), federated_weight=1.0
    )
    sums = load_federated(msgspec.structs.replace(config, learn=others), vertical)
    if sums is None:
        raise ConfigError("name at least one export of another site")
    alone = msgspec.structs.replace(config, learn=msgspec.structs.replace(config.learn, federated=()))
    with closing(LogReader(log_path(config))) as log, closing(_Blobs(config)) as blobs:
        lineage = _lineage(vertical, alone, log, blobs)
        for _ in replay(tracked(log.records(), "learning the log again", log.last()), lineage, _unseen):
            pass
    learned = lineage.now
    pieces = by_site(learned).get(config.site, [])
    if len(pieces) < config.gate.least_examples:
        raise InputError(f"{len(pieces)} verified pieces of {config.site} are too few to choose by: verify more first")
    return choose(learned.reflex.moments, sums, pieces, learned.champion, config.gate.alpha)


def what_if(
    config: LoopConfig, delays_s: Sequence[float], folder: Path, against: Mapping[str, LoopConfig] | None = None
) -> list[Delayed]:
    """The same log with feedback that much later, and with other settings (recipe, thresholds, trust): by their names.

    What a slower loop, or another rule, would have cost. Plots the curves into `folder`.
    """
    with closing(LogReader(log_path(config))) as log:
        own = _own_versions(config)
        records = [r for r in log.records() if _replayable(r, own)]
        truths = _examples(records, config, log)
        curves = [
            _delayed(name, other, records, truths, delay)
            for name, other in {"": config, **(against or {})}.items()
            for delay in delays_s
        ]
    plots.what_if(
        {curve.name: (curve.minutes, curve.scores, curve.lower, curve.upper) for curve in curves},
        folder / "what_if.png",
    )
    return curves


def _own_versions(config: LoopConfig) -> Callable[[int], bool]:
    """Whether a version answered on the backbone that the loop starts with: a replay can only predict on that one."""
    path = Path(config.store.folder) / "registry.sqlite"
    if not path.is_file():
        return lambda _: True
    with closing(SqliteRegistry(path, config.rollout.retained_models)) as registry:
        others = {
            m.version for m in registry.history(registry.latest()) if m.backbone != load_vertical(config).backbone
        }
    return lambda version: version not in others


def _replayable(record: Record, own: Callable[[int], bool]) -> bool:
    body = record.event.body
    return isinstance(body, Feedback) or (isinstance(body, Prediction) and own(body.version))


def _examples(records: Iterable[Record], config: LoopConfig, log: LogReader) -> dict[str, Example]:
    """Each verified prediction with the last word on it."""
    joiner, examples = Joiner(config.join, log.about), {}
    for record in records:
        change = joiner.add(record)
        if change is not None and change.after is not None:
            examples[change.after.prediction.id] = change.after
    return examples


def _delayed(
    name: str,
    config: LoopConfig,
    records: Sequence[Record],
    truths: dict[str, Example],
    delay_s: float,
) -> Delayed:
    """Predict and learn anew from records whose feedback is late; judged by the truth as it is known now."""
    about: dict[str, list[Record]] = {}
    kept: list[Record] = []
    vertical = load_vertical(config)
    lineage = Lineage(
        vertical, config, lambda prediction: about.get(prediction, []), records=lambda after, upto: kept[after:upto]
    )
    total, window, minutes, windows = Tally(), Tally(), [], []
    began = records[0].received_at if records else 0.0
    for record in delayed(records, delay_s):
        body = record.event.body
        about.setdefault(subject(record) or "", []).append(record)
        kept.append(record)
        lineage.take(record)
        if isinstance(body, Feedback):
            while lineage.update() is not None and lineage.due:
                pass
            continue
        assert isinstance(body, Prediction), "nothing else comes out of `delayed`"
        if body.id not in truths:
            continue
        try:
            outcomes = vertical.outcomes(vertical.answer(body.proposals, lineage.champion), truths[body.id])
        except (ModelError, InputError):
            continue  # of another backbone: it cannot be said how it would have turned out
        total.add(count(outcomes))
        window.add(count(outcomes))
        if window.hits + window.false_alarms + window.missed >= 100:
            minutes.append((record.received_at - began) / 60)
            windows.append(window)
            window = Tally()
    bands = [share_interval(w.hits, w.hits + w.false_alarms + w.missed, _ALPHA) for w in windows]
    lower, upper = (tuple(2 * band[side] / (1 + band[side]) for band in bands) for side in (0, 1))
    named = " ".join(part for part in (name, f"{delay_s:g} s") if part)
    scores = tuple(w.f1 for w in windows)
    return Delayed(named, delay_s, total.precision, total.recall, total.f1, tuple(minutes), scores, lower, upper)


def verify_all(config: LoopConfig) -> Iterator[Finding]:
    """Read the log, the lake and the registry in full."""
    folder = Path(config.store.folder)
    report = verify_log(log_path(config))
    yield Finding("log", report.ok, str(report))
    yield _checked("lake", lambda: verify_lake(folder / "lake"))
    yield _checked("registry", lambda: _verify_registry(folder / "registry.sqlite", config))


def _checked(what: str, check: Callable[[], Any]) -> Finding:
    try:
        report = check()
    except HotloopError as error:
        return Finding(what, good=False, text=str(error))
    return Finding(what, bool(report.ok), str(report))


@dataclass(frozen=True)
class _Read:
    ok: bool
    text: str

    def __str__(self) -> str:
        return self.text


def _verify_registry(path: Path, config: LoopConfig) -> _Read:
    """Read every head that is kept whole: `get` checks its digest."""
    whole, rebuildable, rotten = 0, 0, []
    with closing(_registry(path, config)) as registry:
        for version in range(registry.latest(), 0, -1):
            try:
                registry.get(version)
            except NotFoundError:
                rebuildable += 1
            except CorruptError as error:
                rotten.append(str(error))
            else:
                whole += 1
    text = f"{path}: {whole} heads as written, {rebuildable} older ones to be rebuilt from the log"
    return _Read(not rotten, "; ".join([text, *rotten[:20]]))
