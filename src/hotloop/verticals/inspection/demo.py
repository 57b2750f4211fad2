"""`hotloop demo`: a hub, simulated lines and their verifiers as processes, and a window on what they do.

Nothing is shown that was not measured: the table is the hub's own report, asked every second; the last word is on
boards that no line ever showed, answered by the first head and by the last.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hotloop.adapters.hub_client import HubClient
from hotloop.config import LoopConfig
from hotloop.demos import fresh_run, write_report
from hotloop.errors import ServiceError
from hotloop.launch import RunningHub, start_hub
from hotloop.loading import load_vertical
from hotloop.measure import Report, plots, render
from hotloop.measure.quality import RECENT_EXAMPLES, Band, QualitySummary, Score
from hotloop.predict import unpack_head
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.lines import UNSEEN
from hotloop.verticals.inspection.pictures import before_after, compare, counts
from hotloop.verticals.inspection.plant import Sensed, plant_boards, sensed

SITE_SEED = 5
FIRST_UNSEEN = 1_000_000  # seeds from here on are never shown by a line
_SETTINGS = 'name = "demo"\nsite = "plant-{site}"\n[hub]\nport = 0\n[store]\nfolder = "data"\n'

out = Console()


def demo(*, data: Path | None, seconds: float, lines: int, folder: Path) -> None:
    """Run it for `seconds` of boards; then print the report and where its pictures are."""
    run = fresh_run(folder, _SETTINGS.format(site=SITE_SEED))
    unseen = _unseen(data)  # first of all: a folder in no known layout is said before anything starts
    out.print("starting the hub ...", style="dim")
    hub = start_hub(run / "loop.toml")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        place = escape(str(run / "data"))
        out.print(f"hub at [cyan]{hub.url}[/], its data in {place}; {lines} lines start", style="dim")
        processes = [_line(hub, number, lines, seconds, data) for number in range(lines)]
        _watch(hub, processes, seconds)
        report = _report(hub)
        newest = HubClient(hub.url, hub.tokens["line"]).get_model(report.overall.version)
    finally:
        for process in processes:
            process.terminate()
        hub.stop()
    _conclude(report, newest.head, unseen, folder)


def _line(
    hub: RunningHub, number: int, lines: int, seconds: float, data: Path | None
) -> subprocess.Popen[bytes]:
    """Start one line's process."""
    command = [sys.executable, "-m", "hotloop.verticals.inspection.lines", "--url", hub.url]
    command += ["--number", str(number), "--lines", str(lines), "--seconds", str(seconds)]
    command += ["--site-seed", str(SITE_SEED)]
    command += [] if data is None else ["--data", str(data.resolve())]
    secrets = {"HOTLOOP_LINE_TOKEN": hub.tokens["line"], "HOTLOOP_OPERATOR_TOKEN": hub.tokens["operator"]}
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env={**os.environ, **threads, **secrets})  # noqa: S603


def _watch(hub: RunningHub, processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Show the hub's report every second until every line has ended."""
    began = time.monotonic()
    with Live(console=out, refresh_per_second=4) as live:
        while any(process.poll() is None for process in processes):
            live.update(_window(_report(hub), time.monotonic() - began, seconds))
            time.sleep(1.0)
            if time.monotonic() - began > seconds + 60:
                raise ServiceError(
                    "a line did not end a minute after its time; see hub.log beside the settings"
                )
        live.update(_window(_report(hub), time.monotonic() - began, seconds))


def _report(hub: RunningHub) -> Report:
    """The hub's report now."""
    headers = {"authorization": f"Bearer {hub.tokens['engineer']}"}
    answer = httpx.get(f"{hub.url}/v1/report", headers=headers, timeout=30.0, trust_env=False)
    if not answer.is_success:
        raise ServiceError(f"the hub answered {answer.status_code} to a report: {answer.text[:300]}")
    return msgspec.json.decode(answer.content, type=Report)


def _window(report: Report, elapsed_s: float, seconds: float) -> Group:
    """What a person sees while it runs."""
    whole, quality, waterfall = report.overall, report.quality, report.waterfall
    rate = whole.predictions / elapsed_s if elapsed_s > 1 else 0.0
    heading = Text.assemble(
        (f"{min(elapsed_s, seconds):3.0f} of {seconds:.0f} s", "bold"),
        f"   {whole.predictions} boards ({rate:.1f}/s)   {whole.verdicts} verdicts   ",
        (f"model version {whole.version}", "bold cyan"),
        f"   {report.cadence.refused} updates refused",
    )
    table = Table("", "judged", "precision", "recall", "F1", "", expand=False)
    if quality.examples:
        rows: list[tuple[str, Score]] = [("at first", quality.first), ("now", quality.recent)]
        rows += [(f"  {score.key}", score) for score in quality.lines]
        for name, score in rows:
            shown = [_band(band) for band in (score.precision, score.recall, score.f1)]
            style = "bold green" if name == "now" else ""
            table.add_row(name, _pieces(name, quality), *shown, _bar(score.f1.value), style=style)
    spread = waterfall.verdict_to_live
    speed = Text("no verdict is live yet")
    if spread.count:
        speed = Text.assemble(
            "verdict to live on the line: ",
            (f"p50 {1000 * spread.p50_s:.0f} ms", "bold magenta"),
            f"   p95 {1000 * spread.p95_s:.0f} ms   p99 {1000 * spread.p99_s:.0f} ms   ({spread.count} verdicts)",
        )
    return Group(Panel(Group(heading, table, speed), title="hotloop demo: circuit boards", expand=False))


def _pieces(name: str, quality: QualitySummary) -> str:
    """How many examples a row of the window speaks of."""
    return str(min(quality.examples, RECENT_EXAMPLES)) if name == "now" else ""


def _band(band: Band) -> str:
    """A share with its band."""
    return "-" if band.value is None else f"{band.value:.1%} [dim]({100 * band.lower:.0f}-{100 * band.upper:.0f})[/]"


def _bar(value: float | None) -> str:
    """F1 as a bar."""
    return "" if value is None else "█" * round(10 * value)


def _unseen(data: Path | None) -> list[Sensed]:
    """Boards that no line shows."""
    if data is not None:
        return [sensed(piece) for piece in read_labels(data).pieces[-UNSEEN:]]
    boards = plant_boards(SITE_SEED, FIRST_UNSEEN)
    return [next(boards) for _ in range(UNSEEN)]


def _conclude(report: Report, head: bytes, unseen: list[Sensed], folder: Path) -> None:
    """The report, the plots, and the last word: boards that no line showed, before and after."""
    vertical = load_vertical(LoopConfig())
    compared = compare(vertical, unseen, vertical.start(), unpack_head(head))
    write_report(report, folder)
    plots.learning_curve(report, folder / "learning_curve.png")
    before_after(vertical, compared, folder / "before_after.png")
    out.print(render(report), highlight=False, markup=False, soft_wrap=True)
    before, after = (counts(vertical, compared, after=which) for which in (False, True))
    table = Table(
        "",
        "precision",
        "recall",
        "false alarms",
        "missed",
        title=f"{len(unseen)} boards that no line ever showed",
    )
    for name, count in (("the start model", before), (f"after {report.overall.verdicts} verdicts", after)):
        table.add_row(
            name, f"{count.precision:.1%}", f"{count.recall:.1%}", str(count.false_alarms), str(count.missed)
        )
    out.print(table)
    for name in ("before_after.png", "learning_curve.png", "waterfall.png", "report.json"):
        out.print(f"  {folder / name}", highlight=False, markup=False, soft_wrap=True)
    settings = folder / "run" / "loop.toml"
    again = f"Everything above can be made again from the log: hotloop replay {settings}"
    out.print(again, highlight=False, markup=False, soft_wrap=True)
