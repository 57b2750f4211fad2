"""Findings as rows of numbers that the log keeps, and back: what is shown of a finding follows from the log alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from hotloop.errors import ModelError
from hotloop.types import Floats, Proposals, Region
from hotloop.verticals.driving.finding import CASES, Case, Finding
from hotloop.verticals.driving.scene import NAMES, vector

ROWS_MAX: Final = 256  # of one segment: the gate keeps the rows of its recent past in memory
_ACTORS_MAX = 6
_PLAIN = 10  # numbers of a region before its actors
UNITS: Final[dict[Case, str]] = {
    "collision": "m/s", "near miss": "m", "short time to collision": "s", "short headway": "s", "hard braking": "m/s2",
    "jerk": "m/s3", "cut-in": "s", "crossing": "s", "pedestrian crossing": "s", "take-over": "", "surprise": "",
    "novel": "",
}  # fmt: skip


def _row(finding: Finding) -> list[float]:
    """Which case, how severe, and the features of its scene."""
    case = [1.0 if finding.case == one else 0.0 for one in CASES]
    return [*case, finding.severity, *vector(finding)[len(CASES) + 1 :].tolist()]


_COLUMNS: Final = len(_row(Finding("jerk", 0.0, 0.0, "", (), 0, 0, 0, "")))


def region_of(finding: Finding, step_s: float) -> Region:
    """(case, first, peak, last, step in s, value, severity, novelty, surprise, rarity, actors...)."""
    numbers = (finding.value, finding.severity, finding.novelty, finding.surprise, finding.rarity)
    return (
        float(CASES.index(finding.case)), float(finding.first), float(finding.peak), float(finding.last), step_s,
        *(round(float(one), 4) for one in numbers), *(float(one) for one in finding.actors[:_ACTORS_MAX]),
    )  # fmt: skip


def finding_of(region: Region, names: Sequence[str] = (), row: Floats | None = None) -> Finding:
    """The finding of a region; `names`: of the log's actors, for the words; `row`: its features, for its scene.

    ModelError if it is no such region.
    """
    whole = [int(one) for one in (*region[:4], *region[_PLAIN:]) if np.isfinite(one) and one == int(one) and one >= 0]
    if len(whole) != len(region) - _PLAIN + 4 or len(region) < _PLAIN or whole[0] >= len(CASES):
        raise ModelError(f"a region of {len(region)} numbers is no finding: case, frames, measures, actors are wanted")
    (case, first, peak, last), actors = whole[:4], tuple(whole[4:])
    _, value, severity, novelty, surprise, rarity = region[4:_PLAIN]
    kind = CASES[case]
    who = ", ".join(names[one] if one < len(names) else f"actor {one}" for one in actors)
    words = f"{kind}, {value:g} {UNITS[kind]}".rstrip() + (f": {who}" if who else "")
    features = {} if row is None else dict(zip(NAMES[len(CASES) :], row[len(CASES) :].tolist(), strict=True))
    plain = kind, severity, value, UNITS[kind], actors, first, peak, last, words
    return Finding(*plain, novelty, surprise, rarity, features)


def proposals_of(findings: Sequence[Finding], step_s: float) -> Proposals:
    """The findings as the log keeps them."""
    data = np.array([_row(one) for one in findings], "<f4").reshape(len(findings), _COLUMNS)
    regions = tuple(region_of(one, step_s) for one in findings)
    return Proposals(len(findings), _COLUMNS, np.ascontiguousarray(data, "<f4").tobytes(), regions, kind="f4")


def expanded(proposals: Proposals) -> tuple[Floats, list[int]]:
    """What is learned from, x (n, d): a constant and the features, apart for each case; and the cases. ModelError.

    Apart, so that what is said of one kind of case changes nothing about the others.
    """
    if proposals.rows > ROWS_MAX or len(proposals.regions) not in (0, proposals.rows):
        raise ModelError(f"{proposals.rows} findings, {len(proposals.regions)} regions: at most {ROWS_MAX}, one each")
    rows = proposals.array()
    if rows.shape[1] != _COLUMNS:
        raise ModelError(f"a finding here has {_COLUMNS} features, not {rows.shape[1]}: it is of another version")
    cases = rows[:, : len(CASES)].argmax(axis=1).tolist()
    return _apart(rows, cases), cases


def _apart(rows: Floats, cases: Sequence[int]) -> Floats:
    own = np.concatenate((np.ones((len(rows), 1)), rows[:, len(CASES) :]), axis=1)
    x = np.zeros((len(rows), len(CASES), own.shape[1]))
    x[np.arange(len(rows)), list(cases)] = own
    return x.reshape(len(rows), len(CASES) * own.shape[1])


def prior() -> Floats:
    """Weights (d, cases) to begin with: each case is as interesting as it is severe."""
    weights = np.zeros((len(CASES), _COLUMNS - len(CASES) + 1, len(CASES)))
    for case in range(len(CASES)):
        weights[case, 1, case] = 1.0
    return weights.reshape(-1, len(CASES))
