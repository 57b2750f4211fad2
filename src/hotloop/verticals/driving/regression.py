"""The regression set: scenes that every later release must pass, and the judgement of a planner on them. Pure.

A scene joins when a planner first passes it, with what that planner was. A candidate is judged against the champion on
the same scenes, paired, by the gate that judges every other update: over all, and per slice (each kind of corner case,
common driving). Common driving is a critical slice whatever the settings say: evidence that it is worse at all refuses,
one intervention more than the champion has there, or too few scenes of it to see one, holds. Beyond the evidence, a
scene of the set that the champion passes and the candidate does not refuses it: that it was passed once is what the
set is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from hotloop.config import GateConfig
from hotloop.errors import CorruptError, InputError
from hotloop.gate.judge import Finding, judge
from hotloop.gate.slices import Parts
from hotloop.types import Floats
from hotloop.verticals.driving.engines import Limits, Run
from hotloop.verticals.driving.planner import PlannerConfig
from hotloop.verticals.driving.scenario import COMMON, Scenario

ENTRIES_MAX: Final = 100_000
_JERK = 6.0  # m/s3, root mean square: the discomfort that costs most
_TOLD = 5
COMMON_LEAST: Final = 30  # common scenes below which nothing is said of common driving: nobody is promoted
_Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scene that was passed: its digest, name, case, and by whom: planner, its parameters, its version."""

    digest: _Digest
    name: str
    case: str
    planner: str
    parameters: PlannerConfig
    version: int


@dataclass(frozen=True)
class Regression:
    """The set, in the order of joining. Canonical bytes: `pack`."""

    entries: tuple[Entry, ...] = ()

    @property
    def digests(self) -> frozenset[str]:
        """Of its scenes."""
        return frozenset(one.digest for one in self.entries)

    def joined(
        self, scenarios: Sequence[Scenario], runs: Sequence[Run], by: tuple[str, PlannerConfig, int],
        limits: Limits | None = None,
    ) -> Regression:  # fmt: skip
        """With the scenes that were passed and are not in it yet; `by`: planner, parameters, version."""
        known, added = set(self.digests), []
        for scene, run in zip(scenarios, runs, strict=True):
            if run.passed(limits) and scene.digest not in known:
                known.add(scene.digest)
                added.append(Entry(scene.digest, scene.name, scene.case, *by))
        if len(self.entries) + len(added) > ENTRIES_MAX:
            raise InputError(f"the regression set would hold {len(self.entries) + len(added)} of {ENTRIES_MAX} scenes")
        return replace(self, entries=self.entries + tuple(added))

    def pack(self) -> bytes:
        """JSON, one form."""
        return msgspec.json.encode(self.entries, order="deterministic")


def unpack(data: bytes) -> Regression:
    """What `pack` gave. CorruptError on anything else."""
    try:
        return Regression(tuple(msgspec.json.decode(data, type=list[Entry])))
    except msgspec.MsgspecError as error:
        raise CorruptError(f"the regression set cannot be read: {error}") from error


def loss(run: Run, limits: Limits | None = None) -> float:
    """0 (as good as can be) to 1 (an intervention); discomfort and lost progress cost up to 0.1 and 0.2."""
    limits = limits or Limits()
    if run.intervention(limits):
        return 1.0
    lost = min(max(1.0 - run.progress, 0.0), 1.0)
    return 0.1 * min(run.jerk / _JERK, 1.0) ** 2 + 0.2 * lost


def losses(runs: Sequence[Run], limits: Limits | None = None) -> Floats:
    """Of each run (n,)."""
    return np.array([loss(run, limits) for run in runs])


def slices(scenarios: Sequence[Scenario]) -> Parts:
    """Each kind of corner case, and common driving, as parts for the gate: "case:cut-in", "case:common"."""
    cases = [one.case for one in scenarios]
    names = sorted(set(cases))
    masks = np.array([[case == name for case in cases] for name in names], bool).reshape(len(names), len(cases))
    return Parts(tuple(f"case:{name}" for name in names), masks)


@dataclass(frozen=True)
class Played:
    """The same scenes under champion and candidate."""

    scenarios: tuple[Scenario, ...]
    champion: tuple[Run, ...]
    candidate: tuple[Run, ...]


def judge_planner(
    played: Played, config: GateConfig, regression: Regression | None = None, limits: Limits | None = None
) -> Finding:
    """May the candidate's planner replace the champion's? As a slower tier: it has to show that it is no worse.

    InputError if the runs are not of the scenes.
    """
    names = [one.name for one in played.scenarios]
    for runs in (played.champion, played.candidate):
        if [run.scenario for run in runs] != names:
            raise InputError("champion and candidate are judged on the same scenes, in one order; these runs are not")
    before, after = losses(played.champion, limits), losses(played.candidate, limits)
    critical = tuple(sorted({*config.critical, f"case:{COMMON}"}))
    config = msgspec.structs.replace(config, critical=critical)
    found = judge(before, after, config, slices(played.scenarios), slow=True)
    lost = _lost(played, regression or Regression(), limits)
    if lost and found.decision != "refuse":
        told = ", ".join(lost[:_TOLD]) + (", ..." if len(lost) > _TOLD else "")
        reason = f"it fails {len(lost)} scenes of the regression set that were passed before: {told}"
        return replace(found, decision="refuse", reason=reason)
    doubt = _common_doubt(played, limits) if found.decision == "promote" else ""
    return replace(found, decision="hold", reason=doubt) if doubt else found


def _common_doubt(played: Played, limits: Limits | None) -> str:
    """Why nobody is promoted for what common driving shows, or "": few interventions are a reason, not evidence."""
    before, total = interventions(played.scenarios, played.champion, limits).get(COMMON, (0, 0))
    after, _ = interventions(played.scenarios, played.candidate, limits).get(COMMON, (0, 0))
    if total < COMMON_LEAST:
        return f"{total} common scenes are too few to say that common driving is no worse; {COMMON_LEAST} are needed"
    if after > before:
        return f"it has {after} interventions on {total} common scenes where the champion has {before}"
    return ""


def _lost(played: Played, regression: Regression, limits: Limits | None) -> list[str]:
    """Scenes of the set that the champion passes and the candidate fails."""
    if not regression.entries:
        return []
    rows = zip(played.scenarios, played.champion, played.candidate, strict=True)
    known = regression.digests
    return [s.name for s, a, b in rows if a.passed(limits) and not b.passed(limits) and s.digest in known]


def interventions(
    scenarios: Sequence[Scenario], runs: Sequence[Run], limits: Limits | None = None
) -> Mapping[str, tuple[int, int]]:
    """By case: interventions, scenes."""
    counted: dict[str, tuple[int, int]] = {}
    for scene, run in zip(scenarios, runs, strict=True):
        bad, total = counted.get(scene.case, (0, 0))
        counted[scene.case] = (bad + run.intervention(limits), total + 1)
    return counted
