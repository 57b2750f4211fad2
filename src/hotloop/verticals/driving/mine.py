"""Tracks -> findings: each case once, how bad, when, who, and why. Pure, and the same to the byte each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import msgspec
import numpy as np

from hotloop.types import Floats, Rows
from hotloop.verticals.driving import cases, motion, scene
from hotloop.verticals.driving.cases import Found
from hotloop.verticals.driving.crossing import crossings
from hotloop.verticals.driving.episodes import Episode, episodes
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.knows import Knows, Lesson
from hotloop.verticals.driving.limits import MineConfig, RankConfig
from hotloop.verticals.driving.measures import along_s, headway_s
from hotloop.verticals.driving.pairs import Pairs, pairs_of
from hotloop.verticals.driving.table import Doubts, Table, believed
from hotloop.verticals.driving.tracks import Ints, Tracks
from hotloop.verticals.driving.words import Said, name, words

__all__ = ["MineConfig", "Mined", "RankConfig", "encode", "frame_scores", "lesson", "mine", "mined"]

DIGITS: Final = 6  # of each number in a finding
SCENE_S: Final = 1.0  # so often is the scene of an actor looked at for novelty, and learned
WINDOW_S: Final = 10.0  # rarity is counted over windows of so long
AROUND: Final = 0.4  # what a frame of a case is worth beside its peak
LOOK_S: Final = 2.0
TAKE_OVER: Final = 0.6


@dataclass(frozen=True)
class Mined:
    """Findings, what was not believed, how many pairs were looked at, and findings dropped beyond `findings_max`."""

    findings: list[Finding]
    doubts: Doubts
    pairs: int
    dropped: int


@dataclass(frozen=True)
class _Seen:
    """All that was worked out of a log."""

    tracks: Tracks
    table: Table
    pairs: Pairs
    limits: MineConfig
    surprise: Floats  # (rows,)


def mine(tracks: Tracks, knows: Knows | None, limits: MineConfig) -> list[Finding]:
    """The cases of a log, by first frame, case and actors. `knows` None: no surprise, novelty or rarity."""
    return mined(tracks, knows, limits).findings


def mined(tracks: Tracks, knows: Knows | None, limits: MineConfig) -> Mined:
    """As `mine`, with what was not believed. InputError for a frame too crowded to be one."""
    table = believed(tracks, limits)
    pairs = pairs_of(table, limits)
    surprise = _surprise(table, pairs, knows)
    seen = _Seen(tracks, table, pairs, limits, surprise)
    found, overlapping = cases.of_pairs(table, pairs, limits)
    found += cases.of_one(table, limits) + cases.of_crossings(table, crossings(table, limits), limits)
    if knows is not None:
        found += _strange(seen, knows)
    join = max(1, round(limits.join_s / tracks.step_s))
    hits = [(one, episode) for one in found for episode in episodes(one.hits, join)]
    findings = _numbered(seen, hits, knows) + _told(tracks)
    order = sorted(findings, key=lambda one: (-one.severity, one.first, CASES.index(one.case), one.actors))
    kept = sorted(order[: limits.findings_max], key=lambda one: (one.first, CASES.index(one.case), one.actors))
    doubts = replace(table.doubts, overlapping=overlapping)
    return Mined(kept, doubts, pairs.looked_at, len(order) - len(kept))


def _surprise(table: Table, pairs: Pairs, knows: Knows | None) -> Floats:
    if knows is None or not knows.calibrated or not len(table):
        return np.zeros(len(table))
    error = motion.errors(knows.motion, motion.features(table, pairs), motion.residuals(table))
    return motion.quantile(knows.calm, error, table.box.v)


def _strange(seen: _Seen, knows: Knows) -> list[Found]:
    """Surprises and novel scenes."""
    out, limits = [], seen.limits
    if knows.calibrated:
        rows = np.flatnonzero(seen.surprise >= limits.surprise_min)
        value = seen.surprise[rows]
        beyond = (value - limits.surprise_min) / max(1 - limits.surprise_min, 1e-9)
        out.append(cases.of_rows(seen.table, "surprise", rows, (0.2 + 0.15 * beyond, value)))
    if knows.acquainted:
        rows = _sampled(seen.table)
        value = scene.novelty(knows.scenes, scene.scenes(seen.table, rows))
        new = value >= limits.novelty_min
        out.append(cases.of_rows(seen.table, "novel", rows[new], (0.35 * value[new], value[new])))
    return out


def _sampled(table: Table) -> Ints:
    """Rows once in `SCENE_S`."""
    return np.flatnonzero(table.frame % max(1, round(SCENE_S / table.step_s)) == 0)


def _numbered(seen: _Seen, hits: list[tuple[Found, Episode]], knows: Knows | None) -> list[Finding]:
    """Findings of episodes, with the scene at their peak."""
    rows = np.array([int(one.hits.row[episode.worst]) for one, episode in hits], np.int64)
    around = scene.scenes(seen.table, rows)
    new = np.zeros(len(hits))
    if knows is not None and knows.acquainted and len(hits):
        new = scene.novelty(knows.scenes, around)
    rarity = dict(zip(CASES, (np.zeros(len(CASES)) if knows is None else knows.rarity()).tolist(), strict=True))
    context = _Context(seen)
    out = []
    for k, (one, episode) in enumerate(hits):
        numbers = {
            "severity": round(float(one.hits.severity[episode.worst]), DIGITS),
            "novelty": round(float(new[k]), DIGITS),
            "surprise": round(float(seen.surprise[rows[k]]), DIGITS),
            "rarity": round(rarity[one.case], DIGITS),
        }
        features = numbers | dict(zip(scene.SCENE, np.round(around[k], DIGITS).tolist(), strict=True))
        out.append(context.finding(one, episode, numbers, features))
    return out


class _Context:
    """Makes findings, with who was ahead at the peak."""

    def __init__(self, seen: _Seen) -> None:
        follow, self._seen = seen.pairs.follow, seen
        keep = np.flatnonzero(follow.inside & (follow.gap >= 0))
        keep = keep[np.lexsort((follow.gap[keep], follow.i[keep]))]
        self._row, first = np.unique(follow.i[keep], return_index=True)
        self._pair = keep[first]

    def ahead(self, row: int) -> str:
        """Who was ahead of a row's actor, how far, in words; "" for nobody within 3 s."""
        place = int(np.searchsorted(self._row, row))
        if place == len(self._row) or self._row[place] != row:
            return ""
        follow, pair, table = self._seen.pairs.follow, int(self._pair[place]), self._seen.table
        one = slice(pair, pair + 1)
        headway = float(headway_s(follow.gap[one], table.box.v[row : row + 1])[0])
        if not headway <= 3.0:
            return ""
        ttc = float(along_s(follow.gap[one], follow.closing[one])[0])
        who = name(self._seen.tracks, int(table.actor[follow.j[pair]]))
        return f"{headway:.1f} s behind {who}" + (f" (time to collision {ttc:.1f} s)" if ttc <= 10 else "")

    def finding(
        self, one: Found, episode: Episode, numbers: dict[str, float], features: dict[str, float]
    ) -> Finding:
        """The finding of an episode."""
        hits, worst, tracks = one.hits, episode.worst, self._seen.tracks
        row, partner = int(hits.row[worst]), int(hits.partner[worst])
        subject, value = int(hits.subject[worst]), round(float(hits.value[worst]), DIGITS)
        context = self.ahead(row) if one.case in ("hard braking", "jerk", "surprise", "short time to collision") else ""
        said = Said(
            name(tracks, subject), name(tracks, partner) if partner >= 0 else "", value, episode.peak * tracks.step_s,
            float(self._seen.table.box.v[row]), context,
        )  # fmt: skip
        return Finding(
            one.case, numbers["severity"], value, one.unit, (subject,) if partner < 0 else (subject, partner),
            episode.first, episode.peak, episode.last, words(one.case, said), numbers["novelty"],
            numbers["surprise"], numbers["rarity"], features,
        )  # fmt: skip


def _told(tracks: Tracks) -> list[Finding]:
    """What the log itself says."""
    ego = tuple(k for k, one in enumerate(tracks.actors) if one.ego)[:1]
    out = []
    for one in sorted(set(tracks.moments), key=lambda one: (one.frame, one.what)):
        text = words("take-over", Said("", "", 1.0, one.frame * tracks.step_s, 0.0, one.what))
        at, numbers = (one.frame, one.frame, one.frame), {"severity": TAKE_OVER}
        out.append(Finding("take-over", TAKE_OVER, 1.0, "", ego, *at, text, features=numbers))
    return out


def lesson(tracks: Tracks, findings: Sequence[Finding], knows: Knows, limits: MineConfig) -> Lesson:
    """What a log teaches. Errors are those of `knows` as it is now, before the log is learned: they are honest; and of
    calm moments alone: not of who is in a finding, from 3 s before it to its end.
    """
    table = believed(tracks, limits)
    pairs = pairs_of(table, limits)
    x, y = motion.features(table, pairs), motion.residuals(table)
    known = np.isfinite(y).all(axis=1)
    calm = np.where(_calm(table, findings), motion.errors(knows.motion, x, y), np.nan)
    around = scene.with_one(scene.scenes(table, _sampled(table)))
    width = max(1, round(WINDOW_S / tracks.step_s))
    held = {(one.case, one.peak // width) for one in findings}
    counts = np.array([len([1 for case, _ in held if case == each]) for each in CASES], np.int64)
    return Lesson(
        Rows(x[known], np.clip(y[known], -50.0, 50.0), np.ones(int(known.sum()))),
        Rows(around, np.zeros((len(around), 1)), np.ones(len(around))),
        motion.counted(calm, table.box.v), counts, len(np.unique(tracks.frame // width)),
    )  # fmt: skip


def _calm(table: Table, findings: Sequence[Finding]) -> np.ndarray:
    out = np.ones(len(table), bool)
    before = round(motion.AHEAD_S[-1] / table.step_s)
    for one in findings:
        if one.case in ("novel", "surprise"):
            continue  # else what is rare would never be calm, and the calibration would feed on itself
        for actor in one.actors:
            low, high = np.searchsorted(table.actor, (actor, actor + 1))
            span = slice(int(low), int(high))
            out[span] &= (table.frame[span] < one.first - before) | (table.frame[span] > one.last)
    return out


def encode(findings: Sequence[Finding]) -> bytes:
    """Findings as canonical bytes: equal findings, equal bytes."""
    return msgspec.json.encode([asdict(one) for one in findings], order="sorted")


def frame_scores(findings: Sequence[Finding], tracks: Tracks) -> Floats:
    """(frames,) How much a frame deserves a look: the severity at each case's peak, less than half of it around it.

    The peak alone stands for the case, so that one long case does not use up all that may be looked at; for the same
    reason a peak counts less within `LOOK_S` of a worse one of the same actors: one look shows both.
    """
    first = int(tracks.frame.min()) if len(tracks) else 0
    out = np.zeros(tracks.frames)
    for one in findings:
        low, high = max(one.first - first, 0), one.last - first
        out[low : high + 1] = np.maximum(out[low : high + 1], AROUND * one.severity)
    look, shown = LOOK_S / tracks.step_s, list[tuple[int, frozenset[int]]]()
    for one in sorted(findings, key=lambda one: (-one.severity, one.peak, CASES.index(one.case), one.actors)):
        who = frozenset(one.actors)
        seen = any(abs(one.peak - peak) <= look and (who <= others or who >= others) for peak, others in shown)
        if not seen and 0 <= one.peak - first < len(out):
            out[one.peak - first] = max(out[one.peak - first], one.severity)
            shown.append((one.peak, who))
    return out
