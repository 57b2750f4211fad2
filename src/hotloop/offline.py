"""What can be asked of a loop's stores without its hub: a report, a rebuild, a what-if, a check of every byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import CorruptError, HotloopError, InputError, ModelError, NotFoundError
from hotloop.join import subject
from hotloop.lineage import Lineage
from hotloop.loading import load_vertical
from hotloop.measure import Measures, Report, Tally, count, delayed, plots
from hotloop.ports import Registry, Vertical
from hotloop.predict import pack_head, unpack_head
from hotloop.recovery import replay
from hotloop.store.lake_report import verify_lake
from hotloop.store.reader import LogReader
from hotloop.store.registry import SqliteRegistry
from hotloop.store.verify import verify_log
from hotloop.types import Change, Example, Feedback, Prediction, Record, digest

Tracked = Callable[[Any, str, int], Any]


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
    """Quality of a replay with feedback delayed: over all verified predictions, and as it went."""

    delay_s: float
    precision: float
    recall: float
    f_score: float
    minutes: tuple[float, ...]
    scores: tuple[float, ...]


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
        joiner = Lineage(vertical, config, log.about)
        for record in log.records():
            measures.add(record)
            change = joiner.take(record)
            if change is not None and change.after is not None:
                with suppress(ModelError, InputError):  # of another backbone: nobody can say how it turned out
                    outcomes = vertical.outcomes(change.after.prediction.outputs, change.after)
                    measures.judged(change.after, outcomes, record)
            joiner.forget()
    return measures.report(config.name)


def rebuild(config: LoopConfig, tracked: Tracked, to: int = 0) -> Rebuilt:
    """Learn the whole log again, and compare each release with what was logged. `to`: the version to give out."""
    began = time.perf_counter()
    vertical = load_vertical(config)
    with closing(LogReader(log_path(config))) as log:
        last = log.last()
        lineage = Lineage(vertical, config, log.about)
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


def what_if(config: LoopConfig, delays_s: Sequence[float], folder: Path) -> list[Delayed]:
    """The same log with feedback that much later: what a slower loop would have cost. Plots into `folder`."""
    vertical = load_vertical(config)
    with closing(LogReader(log_path(config))) as log:
        records = [r for r in log.records() if isinstance(r.event.body, Prediction | Feedback)]
        truths = _examples(records, vertical, config, log)
        curves = [_delayed(config, vertical, records, truths, delay) for delay in delays_s]
    plots.what_if({f"{c.delay_s:g} s": (c.minutes, c.scores) for c in curves}, folder / "what_if.png")
    return curves


def _examples(records: Iterable[Record], vertical: Vertical, config: LoopConfig, log: LogReader) -> dict[str, Example]:
    """Each verified prediction with the last word on it."""
    lineage = Lineage(vertical, config, log.about)
    examples = {}
    for record in records:
        change = lineage.take(record)
        if change is not None and change.after is not None:
            examples[change.after.prediction.id] = change.after
        lineage.forget()
    return examples


def _delayed(
    config: LoopConfig,
    vertical: Vertical,
    records: Sequence[Record],
    truths: dict[str, Example],
    delay_s: float,
) -> Delayed:
    """Predict and learn anew from records whose feedback is late; judged by the truth as it is known now."""
    past: dict[str, list[Record]] = {}
    lineage = Lineage(vertical, config, lambda prediction: past.get(prediction, []))
    total, window, minutes, scores = Tally(), Tally(), [], []
    began = records[0].received_at if records else 0.0
    for record in delayed(records, delay_s):
        body = record.event.body
        past.setdefault(subject(record) or "", []).append(record)
        lineage.take(record)
        if isinstance(body, Feedback):
            lineage.update()
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
            scores.append(window.f1)
            window = Tally()
    return Delayed(delay_s, total.precision, total.recall, total.f1, tuple(minutes), tuple(scores))


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
