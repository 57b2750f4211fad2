"""Tracks -> findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import msgspec
import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig, RankConfig
from hotloop.verticals.driving.tracks import Tracks, as_grid

__all__ = ["MineConfig", "RankConfig", "encode", "frame_scores", "mine"]


def mine(tracks: Tracks, knows: Knows | None, limits: MineConfig) -> list[Finding]:
    """The cases of a log, by frame, case and actors. `knows` None: no surprise, novelty or rarity."""
    if not len(tracks):
        return []
    grid, out = as_grid(tracks), []
    for actor in range(len(tracks.actors)):
        a = grid.a[actor]
        if np.isnan(a).all() or np.nanmin(a) > -limits.braking_m_s2_min:
            continue
        peak = int(np.nanargmin(a))
        hit = np.flatnonzero(a <= -limits.braking_m_s2_min)
        braking, severity = float(-a[peak]), min(1.0, float(-a[peak]) / 14.0)
        words = f"{tracks.actors[actor].kind} {tracks.actors[actor].name} braked with {braking:.1f} m/s2"
        frames = (grid.first + int(hit[0]), grid.first + peak, grid.first + int(hit[-1]))
        out.append(Finding("hard braking", severity, braking, "m/s2", (actor,), *frames, words))
    return sorted(out, key=lambda one: (one.first, one.case, one.actors))


def encode(findings: Sequence[Finding]) -> bytes:
    """Findings as canonical bytes: equal findings, equal bytes."""
    return msgspec.json.encode([asdict(one) for one in findings], order="sorted")


def frame_scores(findings: Sequence[Finding], tracks: Tracks) -> Floats:
    """(frames,) How much a frame deserves a look: the severity at each case's peak, less than half of it around it."""
    first = int(tracks.frame.min()) if len(tracks) else 0
    out = np.zeros(tracks.frames)
    for one in findings:
        low, high = one.first - first, one.last - first
        out[low : high + 1] = np.maximum(out[low : high + 1], 0.4 * one.severity)
        out[one.peak - first] = max(out[one.peak - first], one.severity)
    return out
