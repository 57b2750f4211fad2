"""`hotloop demo driving`: drives come in, their corner cases are found and ranked, an expert says which are of use, and
a planner is tuned on the first of the queue and judged on drives that nobody ever mined for it.

The drives are synthetic traffic with cases planted by a seed. The expert is simulated: he looks at the first of each
segment, wants some kinds of cases and calls the others not interesting. hotloop is the whole of it: log, gate,
releases; each verdict is learned before the next segment comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hotloop.config import GateConfig, LoopConfig, resolve
from hotloop.demos import fresh_run, write_report
from hotloop.engine import Engine
from hotloop.errors import ConfigError, InputError
from hotloop.loading import load_vertical
from hotloop.measure import render
from hotloop.store.embedded import open_embedded
from hotloop.types import Claim, Feedback, Head, Output, Payload, Prediction, Proposals
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.pictures import Queued, Shown, planner_chart, queue_chart, top_findings
from hotloop.verticals.driving.planner import PlannerConfig
from hotloop.verticals.driving.planted import PLANTABLE, plant
from hotloop.verticals.driving.regression import interventions
from hotloop.verticals.driving.rows import finding_of
from hotloop.verticals.driving.scenario import Scenario, from_moment
from hotloop.verticals.driving.scenario_xml import to_xml
from hotloop.verticals.driving.segment import MEDIA_TYPE, pack
from hotloop.verticals.driving.settings import settings_of
from hotloop.verticals.driving.task import Driving
from hotloop.verticals.driving.tracks import Tracks
from hotloop.verticals.driving.traffic import highway, street
from hotloop.verticals.driving.tuning import Effort, trial, tuned

WANTED: Final = frozenset({"cut-in", "hard braking", "pedestrian crossing"})  # by this expert
WORSE: Final = frozenset({"pedestrian crossing"})  # than a machine thinks
TOP: Final = 20  # places of the queue that are compared
SEGMENT_S: Final = 30.0
_LOOKED = 6  # findings of a segment that the expert looks at
_SEGMENTS_A_S = 0.4  # of the time allowed
_UNSEEN, _UNSEEN_SEED = 8, 1000
_SCENES_MAX, _COMMON_MAX = 18, 20
_EFFORT: Final = Effort(rounds=2, candidates=10)

_BUDGET_S: Final = 240.0
_SETTINGS = f'name = "demo"\nvertical = "driving"\n[driving.rank]\nbudget = {_BUDGET_S}\n'
_TABLES: Final = {"driving": {"rank": {"budget": _BUDGET_S}}}

out = Console()


@dataclass(frozen=True)
class Mined:
    """A segment, and what was said of it."""

    tracks: Tracks
    prediction: Prediction


def demo(*, data: Path | None, seconds: float, lines: int, folder: Path) -> None:
    """Run it for about `seconds`; then print the tables and where the pictures are."""
    if data is not None:
        raise ConfigError("this demo drives its own traffic: leave --data out")
    place = fresh_run(folder, _SETTINGS)
    config = resolve(LoopConfig(name="driving-demo", vertical="driving", tables=_TABLES), place)
    count = max(8, min(40, int(_SEGMENTS_A_S * seconds)))
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        task = engine.vertical
        assert isinstance(task, Driving), "the vertical of this demo"
        mined = [_heard(engine, number, lines) for number in track(range(count), "drives come in", console=out)]
        report, head = engine.report(), engine.lineage.champion
        queues = _queues(task, head)
        shown = _shown(task, mined, head)
    before, after, words = _tuned(shown, folder, settings_of(config).planner)
    write_report(report, folder)
    pictured = [Shown(one.tracks, _worded(task, one), one.interest) for one in _varied(shown)]
    top_findings(pictured, folder / "findings.png")
    queue_chart(*queues, folder / "queue.png")
    planner_chart(_shares(before), _shares(after), folder / "planner.png")
    out.print(render(report), highlight=False, markup=False, soft_wrap=True)
    out.print(_queue_table(queues))
    out.print(_planner_table(before, after))
    out.print(words, highlight=False, markup=False, soft_wrap=True)
    for name in ("findings.png", "queue.png", "planner.png", "waterfall.png", "report.json", "scenarios"):
        out.print(f"  {folder / name}", highlight=False, markup=False, soft_wrap=True)


def drive(seed: int) -> Tracks:
    """A segment with cases in it: a highway and a street by turns."""
    plain = (highway if seed % 2 else street)(seed, seconds=SEGMENT_S)
    return plant(plain, seed, dict.fromkeys(PLANTABLE, 1))[0]


def _heard(engine: Engine, number: int, lines: int) -> Mined:
    """A segment arrives; the expert looks at the first of its findings; what he says is learned."""
    tracks = drive(number)
    said = engine.observe(Payload(pack(tracks), MEDIA_TYPE), f"car-{number % max(1, lines) + 1}")
    claims = tuple(_claim(index, output) for index, output in enumerate(said.outputs[:_LOOKED]))
    if claims:
        engine.feedback(Feedback(prediction=said.id, reviewer="expert", claims=claims, complete=False))
        engine.catch_up()
    return Mined(tracks, said)


def _claim(index: int, output: Output) -> Claim:
    """What the expert says of a finding."""
    if output.label not in WANTED:
        return Claim(output=index)
    return Claim(output=index, label=output.label, value=1.0 if output.label in WORSE else None)


def _queues(task: Driving, head: Head) -> tuple[list[Queued], list[Queued]]:
    """The first places of the queue over segments that nobody looked at: as it began, and as it is now."""
    unseen = [task.propose(Payload(pack(drive(_UNSEEN_SEED + k)))) for k in range(_UNSEEN)]
    return _queue(task, unseen, task.start()), _queue(task, unseen, head)


def _queue(task: Driving, segments: Sequence[Proposals], head: Head) -> list[Queued]:
    outputs = [output for proposals in segments for output in task.answer(proposals, head)]
    first = sorted(outputs, key=lambda one: -one.score)[:TOP]
    return [Queued(one.label, one.score, one.label in WANTED) for one in first]


@dataclass(frozen=True)
class Chosen:
    """A finding that was worth its cost, with its log and its place."""

    tracks: Tracks
    output: Output
    proposals: Proposals

    @property
    def interest(self) -> float:
        """What the loop thinks of it."""
        return self.output.score

    @property
    def finding(self) -> Finding:
        """As the log has it."""
        assert self.output.region is not None, "findings have places"
        return finding_of(self.output.region, [one.name for one in self.tracks.actors])


def _shown(task: Driving, mined: Sequence[Mined], head: Head) -> list[Chosen]:
    """What the budget is spent on, best first; what is drawn for the audit is left to who looks at it."""
    segments = [(one.tracks.source, one.prediction.proposals) for one in mined]
    ranked = [(index, output) for index, output, choice in task.ranked(segments, head) if not choice.audit]
    return [Chosen(mined[index].tracks, output, mined[index].prediction.proposals) for index, output in ranked]


def _varied(shown: Sequence[Chosen]) -> list[Chosen]:
    """At most two of a case first, then the others; in the order of the queue."""
    seen: list[str] = []
    places = []
    for index, one in enumerate(shown):
        places.append((seen.count(one.output.label) > 1, index))
        seen.append(one.output.label)
    return [shown[index] for _, index in sorted(places)]


def _worded(task: Driving, one: Chosen) -> Finding:
    """The finding in mining's own words, made again from the segment."""
    findings = task.findings(one.tracks)
    return findings[one.output.proposal] if one.output.proposal < len(findings) else one.finding


def seat_of(finding: Finding) -> int:
    """Who has to cope: the one that was cut in on, else the subject."""
    return finding.actors[1] if finding.case == "cut-in" and len(finding.actors) > 1 else finding.actors[0]


def scenes_of(found: Sequence[tuple[Tracks, Finding]], most: int) -> list[Scenario]:
    """Scenes with the planner in the seat of who has to cope; what is too short to drive is left out."""
    scenes: list[Scenario] = []
    for tracks, finding in found:
        if len(scenes) == most or not finding.actors:
            continue
        try:
            scenes.append(from_moment(tracks, seat_of(finding), finding.peak, finding.case))
        except InputError:
            continue
    return scenes


def common_of(drives: Sequence[Tracks], most: int) -> list[Scenario]:
    """Scenes of common driving: cars before their drive's first planted case could touch them."""
    scenes: list[Scenario] = []
    for number in range(most * 4):
        tracks = drives[number % len(drives)]
        cars = [k for k, one in enumerate(tracks.actors) if one.kind in ("car", "truck")]
        try:
            scenes.append(from_moment(tracks, cars[(7 * number) % len(cars)], int(SEGMENT_S / 2 / tracks.step_s)))
        except InputError:
            continue
        if len(scenes) == most:
            break
    return scenes


Counted = Mapping[str, tuple[int, int]]


def _tuned(shown: Sequence[Chosen], folder: Path, planner: PlannerConfig) -> tuple[Counted, Counted, str]:
    """Interventions by slice before and after tuning on what was chosen, on drives never mined; the gate's word."""
    mined = scenes_of([(one.tracks, one.finding) for one in _varied(shown)], _SCENES_MAX)
    if not mined:
        return {}, {}, "no scene could be made of what was found: the planner stays as it is"
    (folder / "scenarios").mkdir(exist_ok=True)
    for number, scene in enumerate(mined):
        (folder / "scenarios" / f"{number + 1:02d}.xml").write_bytes(to_xml(scene))
    out.print(f"a planner is tuned on {len(mined)} scenes", highlight=False)
    common = common_of([one.tracks for one in shown], _COMMON_MAX)
    found = tuned([*mined, *common], Replay(), planner, _EFFORT)
    held = _never_mined()
    said = trial(held, Replay(), (planner, found.config), GateConfig())
    words = f"the gate says {said.finding.decision}: {said.finding.reason}"
    return interventions(held, said.champion), interventions(held, said.candidate), words


def _never_mined() -> list[Scenario]:
    """Scenes of other drives, by what was planted in them, and common ones."""
    held: list[Scenario] = []
    plain = []
    for seed in range(2 * _UNSEEN_SEED, 2 * _UNSEEN_SEED + _UNSEEN):
        calm = (highway if seed % 2 else street)(seed, seconds=SEGMENT_S)
        tracks, truth = plant(calm, seed, dict.fromkeys(PLANTABLE, 2))
        held += scenes_of([(tracks, _of_truth(one.case, one.actors, one.peak)) for one in truth], len(truth))
        plain.append(calm)
    return held + common_of(plain, 2 * _COMMON_MAX)


def _of_truth(case: str, actors: tuple[int, ...], peak: int) -> Finding:
    """A planted case as a finding whose subject has to cope: the one it is done to."""
    named = next(one for one in PLANTABLE if one == case)
    whose = actors if case == "cut-in" else actors[::-1]
    return Finding(named, 1.0, 0.0, "", whose, peak, peak, peak, case)


def _shares(counted: Counted) -> dict[str, float]:
    return {case: bad / total for case, (bad, total) in sorted(counted.items()) if total}


def _queue_table(queues: tuple[list[Queued], list[Queued]]) -> Table:
    """How much of the head of the queue was of use."""
    table = Table("", *(f"first {count}" for count in (5, 10, TOP)), title="share of the queue that is of use")
    for name, queue in zip(("by severity alone", "after the verdicts"), queues, strict=True):
        shares = (sum(one.worth for one in queue[:count]) / max(1, len(queue[:count])) for count in (5, 10, TOP))
        table.add_row(name, *(f"{share:.0%}" for share in shares))
    return table


def _planner_table(before: Counted, after: Counted) -> Table:
    """Interventions, of scenes that were never mined."""
    title = "interventions (collision, or harder than 6 m/s2) on drives never mined"
    table = Table("scenes", "of", "before", "after", title=title)
    for case, (bad, total) in sorted(before.items()):
        table.add_row(case, str(total), str(bad), str(after.get(case, (0, 0))[0]))
    sums = [sum(bad for bad, _ in counted.values()) for counted in (before, after)]
    table.add_row("all", str(sum(total for _, total in before.values())), *(str(one) for one in sums), style="bold")
    return table
