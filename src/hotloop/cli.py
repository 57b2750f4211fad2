"""The command line: what a plant engineer types. Each command is one function; errors end in one sentence."""

from __future__ import annotations

import getpass
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import typer.core
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from hotloop.config import LoopConfig, check_name, load
from hotloop.edge.options import Code, Hub, TokenFile, stopped_by_signals
from hotloop.errors import ConfigError, HotloopError, NotFoundError
from hotloop.types import Command, Selection, digest


class _Commands(typer.core.TyperGroup):
    """Our commands, and those that a vertical brings (entry point group `hotloop.commands`): functions as ours, loaded
    when they are asked for. None takes the place of one of ours.
    """

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer's own context
        """The names of all."""
        own = super().list_commands(ctx)
        return [*own, *sorted({point.name for point in entry_points(group=_GROUP)} - set(own))]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """One, by its name; None if there is none."""
        found = super().get_command(ctx, cmd_name)
        brought = None if found else next(iter(entry_points(group=_GROUP, name=cmd_name)), None)
        if brought is None:
            return found
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(cmd_name)(brought.load())
        return typer.main.get_command(alone)


_GROUP = "hotloop.commands"
app = typer.Typer(
    cls=_Commands,
    help="The high-density feedback loop: a model on the line gets better from each verdict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

LoopFile = Annotated[Path, typer.Argument(help="The loop's settings.", metavar="LOOP.TOML")]
OutFolder = Annotated[Path, typer.Option("--out", help="Where pictures and JSON go.")]


def main() -> None:
    """Run a command. What hotloop raises on purpose ends in one sentence and exit code 1."""
    try:
        app()
    except HotloopError as error:
        said = escape(str(error))  # it may name a table of loop.toml in brackets, which are markup to rich
        err.print(f"[bold red]{type(error).__name__}[/]: {said}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "hotloop":
            raise
        said = f"{package} is not installed: pip install 'hotloop\\[hub]' for a hub, 'hotloop\\[train]' to train"
        err.print(f"[bold red]ConfigError[/]: {said}", highlight=False, soft_wrap=True)
        sys.exit(1)


@app.command()
def init(path: Annotated[Path, typer.Argument(metavar="LOOP.TOML")] = Path("loop.toml")) -> None:
    """Write a commented loop.toml with every setting."""
    text = resources.files("hotloop").joinpath("loop.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is already there; it was not touched. Give another name.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error
    out.print(
        escape(f"{path} written. Set what is yours, then: hotloop doctor {path} && hotloop up {path}"),
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def up(
    path: LoopFile = Path("loop.toml"),
    ready: Annotated[Path | None, typer.Option("--ready", help="A file to write once the hub answers.")] = None,
) -> None:
    """Start the hub, and the watched folder if there is one. Ctrl-C stops it; nothing is lost."""
    from hotloop.adapters.folder import WatchedFolder
    from hotloop.engine import Engine
    from hotloop.hub.server import serve
    from hotloop.launch import say_ready
    from hotloop.loading import load_vertical
    from hotloop.starting import import_labels
    from hotloop.store.embedded import open_embedded

    # The turn gives up the interpreter at each matrix product: with Python's 5 ms it waited more than it worked.
    sys.setswitchinterval(0.001)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = load(path)
    if config.sense.folder and not Path(config.sense.folder).is_dir():
        raise ConfigError(f"the watched folder {config.sense.folder} is not there: make it, or set [sense] folder")
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        import_labels(engine, _tracked)
        engine.start()
        stop = threading.Event()
        if config.sense.folder:
            watched = WatchedFolder(config.sense, engine.observe)
            threading.Thread(target=_watch, args=(watched, config.sense.poll_s, stop), daemon=True).start()

        def answers(url: str) -> None:
            _say_up(url, config)
            if ready is not None:
                say_ready(ready, url, config.store.folder)

        serve(engine, config, answers)
        stop.set()


def _watch(watched: Any, poll_s: float, stop: threading.Event) -> None:
    """Poll until stopped. A disk that fails is said, and tried again."""
    while not stop.wait(poll_s):
        try:
            watched.poll()
        except HotloopError as error:
            logging.getLogger("hotloop").warning("watched folder: %s", error)
            stop.wait(2.0)


def _say_up(address: str, config: LoopConfig) -> None:
    tokens = Path(config.store.folder) / "tokens.json"
    address = escape(address)  # an IPv6 address stands in brackets
    sent = config.sense.folder or "no folder: images come by POST /v1/observations"
    lines = (
        f"[bold]hotloop[/] {config.name} is up at [cyan]{address}[/]",
        f"  tokens   {escape(str(tokens))}  (send one as: Authorization: Bearer ...)",
        f"  watching {escape(sent)}",
        f"  verdicts POST {address}/v1/feedback     metrics {address}/metrics     API {address}/openapi.json",
    )
    for line in lines:  # not wrapped: an address or a path is there to be copied
        out.print(line, highlight=False, soft_wrap=True)


@app.command()
def edge(
    path: LoopFile = Path("loop.toml"),
    hub: Hub = "",
    line: Annotated[str, typer.Option("--line", help="Which line this is.")] = "",
    token_file: TokenFile = None,
    code: Code = "",
    state: Annotated[Path, typer.Option("--state", help="This device's own folder: spool and releases.")] = Path(
        "hotloop-edge"
    ),
) -> None:
    """A line: predict at once with or without the hub, send what was seen, answer with each release that does well."""
    from hotloop.edge.run import posted, run

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    config = load(path)
    post = posted(hub, line, token_file, code, state)
    stop = stopped_by_signals()
    run(config, post, stop, lambda words: out.print(words, highlight=False, markup=False, soft_wrap=True))


Pieces = Annotated[Path, typer.Option("--images", help="A folder of pieces, as the line sees them.")]
Asks = Annotated[
    str,
    typer.Option("--ask", help="Least share alike, by how much scores may differ, longest answer, largest process."),
]


@app.command("bench-edge")
def bench_edge(
    images: Pieces,
    path: LoopFile = Path("loop.toml"),
    runtime: Annotated[
        list[str] | None,
        typer.Option("--runtime", help="Which to try: tensorrt, openvino, litert, int8, ... Several times; none: all."),
    ] = None,
    ask: Asks = "alike=0.99,telling=5,apart=0.1,ms=1000,mib=4096",
) -> None:
    """Which runtimes of this device answer as the CPU does, and how fast. Exit code 1 if one that you name is
    refused.
    """
    from hotloop.adapters.folder import payloads_of
    from hotloop.edge.parity import compared, limits_of
    from hotloop.predict.runtimes import RUNTIMES

    config = load(path)
    found = compared(config, runtime or RUNTIMES, payloads_of(config.sense, images), limits_of(ask))
    _say_parities("hotloop bench-edge", found)
    if runtime and any(one.refused for one in found):
        raise typer.Exit(1)


@app.command()
def export(
    images: Pieces,
    target: Annotated[Path, typer.Option("--out", help="The bundle to write: [inspection] start = that file.")],
    variant: Annotated[list[str], typer.Option("--variant", help="int8 or litert. Several times.")],
    path: LoopFile = Path("loop.toml"),
    ask: Asks = "alike=0.99,telling=5,apart=0.1,ms=1000,mib=4096",
) -> None:
    """Write the start model with other forms of its network, for devices on which they do better. A form that does not
    answer as the network does is refused, with the numbers, and left out. Exit code 1 if one is. Needs hotloop[train].
    """
    from hotloop.adapters.folder import payloads_of
    from hotloop.edge.parity import exported, limits_of

    config = load(path)
    pieces = payloads_of(config.sense, images)
    bundle, found = exported(config, variant, pieces, limits_of(ask))
    _say_parities("hotloop export", found)
    passed = [one.runtime for one in found if one.runtime in variant and not one.refused]
    if passed:
        target.write_bytes(bundle)
        words = f"{target}: {len(bundle)} bytes with {', '.join(passed)}. Set start to it in the vertical's table, and"
        out.print(f"{words} runtimes to {msgspec.json.encode(passed).decode()}", markup=False, soft_wrap=True)
    if len(passed) < len(variant):
        raise typer.Exit(1)


def _say_parities(title: str, found: Sequence[Any]) -> None:
    """What was found of runtimes: those that answered as a table, then why the others are refused."""
    names = ("runtime", "answers alike", "scores apart", "an answer", "times the CPU's", "process", "")
    table = Table(*names, title=title)
    for one in found:
        if one.mib:
            ratio = one.latency_ms / max(found[0].latency_ms, 1e-9)
            near = (f"{one.alike:.1%}", f"{one.apart:.3f}", f"{one.latency_ms:.1f} ms", f"{ratio:.2f}")
            said = "[red]refused[/]" if one.refused else "[green]fit[/]"
            table.add_row(one.runtime, *near, f"{one.mib:.0f} MiB", said)
    out.print(table)
    for one in found:
        if one.refused:
            said = one.refused.removeprefix(f"{one.runtime}: ")
            out.print(f"[red]{one.runtime} refused[/]: {escape(said)}", highlight=False, soft_wrap=True)


@app.command()
def enrol(
    path: LoopFile = Path("loop.toml"),
    line: Annotated[str, typer.Option("--line", help="The line whose computer it is.")] = "",
    hours: Annotated[float, typer.Option("--hours", help="How long the code is good.", min=0.0)] = 24.0,
) -> None:
    """Make a code with which a line's computer gets a token of its own, once. An older code is good no more."""
    from hotloop.store.signing import first_root, open_signer

    config, devices = _devices(path)
    with closing(devices):
        code = devices.invite(check_name(line, "--line"), hours)
    trust = Path(config.store.folder) / "trust"
    open_signer(trust, config.rollout, devices.clock, lambda _: b"")
    command = f"hotloop edge --hub URL --line {line} --enrol {code}.{digest(first_root(trust))}"
    out.print(f"on the device, within {hours:g} hours:\n  {command}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def fleet(path: LoopFile = Path("loop.toml")) -> None:
    """The lines as they are: versions, ages, spools, trouble; and how far a release has got. The hub must run."""
    from hotloop.orders import hub_of

    found = hub_of(load(path))
    with closing(found) as hub:
        view = hub.fleet()
    table = Table("line", "site", "version", "heard", "waits", "spool", "dropped", "answer", "trouble")
    for one in view.lines:
        said = one.report
        cells = (str(said.waiting), f"{said.spool_bytes / 2**20:.1f} MiB", str(sum(said.dropped.values())),
                 f"{said.latency_ms:.1f} ms", said.trouble) if said else ("", "", "", "", "")  # fmt: skip
        trouble = one.declined or ("pinned" if one.pinned else cells[-1])
        shown = (one.line, one.site, str(one.version), f"{one.silent_s:.0f} s ago", *cells[:-1], trouble)
        table.add_row(*(escape(text) for text in shown))
    out.print(table)
    out.print(
        f"{len(view.lines)} lines; version {view.newest} goes out, {view.settled} is for all. {view.rollout}",
        highlight=False,
        markup=False,
    )


@app.command()
def revoke(
    line: Annotated[str, typer.Option("--line", help="The line whose computer is lost.")],
    path: LoopFile = Path("loop.toml"),
) -> None:
    """A lost device is a stranger from the next request on. Its line enrols another with a new code."""
    with closing(_devices(path)[1]) as devices:
        devices.revoke(line)
    out.print(f"the device of {line} is a stranger now", highlight=False, markup=False, soft_wrap=True)


def _devices(path: Path) -> tuple[LoopConfig, Any]:
    """A loop's settings and its devices."""
    from hotloop.store.clock import SystemClock
    from hotloop.store.devices import Devices

    config = load(path)
    return config, Devices(Path(config.store.folder), SystemClock())


keys = typer.Typer(help="The keys that sign releases.", no_args_is_help=True, add_completion=False)
app.add_typer(keys, name="keys")
RootFolder = Annotated[Path | None, typer.Option("--root-folder", help="Where the root key goes: a stick.")]


@keys.command("init")
def keys_init(path: LoopFile = Path("loop.toml"), root_folder: RootFolder = None) -> None:
    """Make a root key and an online key, before the hub's first start."""
    from hotloop.store.clock import SystemClock
    from hotloop.store.signing import make_keys

    where = make_keys(_trust(path), SystemClock(), root_folder)
    out.print(f"the root key is {where}: keep it where the hub is not", highlight=False, markup=False, soft_wrap=True)


@keys.command("show")
def keys_show(path: LoopFile = Path("loop.toml")) -> None:
    """Say the digest of the first root: it is in each code of `hotloop enrol`."""
    from hotloop.store.signing import first_root

    out.print(digest(first_root(_trust(path))), highlight=False, markup=False, soft_wrap=True)


@keys.command("rotate")
def keys_rotate(
    root_key: Annotated[Path, typer.Option("--root-key", help="The root key's file.")],
    path: LoopFile = Path("loop.toml"),
    root_folder: RootFolder = None,
) -> None:
    """Exchange the online key; and the root key too, if a folder for a new one is given."""
    from hotloop.store.clock import SystemClock
    from hotloop.store.signing import rotate

    version = rotate(_trust(path), SystemClock(), root_key, new_root_folder=root_folder)
    words = f"root {version} is written: restart the hub; lines follow by themselves, and refuse what the old key signs"
    out.print(words, highlight=False, markup=False, soft_wrap=True)


def _trust(path: Path) -> Path:
    """Where a loop's keys are."""
    return Path(load(path).store.folder) / "trust"


@app.command()
def demo(
    vertical: Annotated[str, typer.Argument(help="Which demo.")] = "inspection",
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder in DeepPCB layout instead of drawn boards.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long the lines run.")] = 100.0,
    lines: Annotated[int, typer.Option("--lines", help="Simulated lines.")] = 2,
    folder: OutFolder = Path("out/demo"),
) -> None:
    """Simulated lines, a hub and a verifier: watch the model get better."""
    found = entry_points(group="hotloop.demos", name=vertical)
    if not found:
        names = ", ".join(sorted(p.name for p in entry_points(group="hotloop.demos"))) or "none"
        raise ConfigError(f"there is no demo {vertical!r}; there are: {names}")
    run: Callable[..., None] = next(iter(found)).load()
    run(data=data, seconds=seconds, lines=lines, folder=folder)


@app.command()
def report(
    path: LoopFile = Path("loop.toml"),
    folder: OutFolder = Path("out/report"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """How the loop is doing, from its log: precision, recall, waterfall, TTI, with plots. The hub may be running."""
    from hotloop.measure import plots, render
    from hotloop.offline import report_of

    made = report_of(load(path))
    _make(folder)
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    plots.learning_curve(made, folder / "learning_curve.png")
    plots.waterfall_chart(made, folder / "waterfall.png")
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
    else:
        out.print(render(made), highlight=False, markup=False, soft_wrap=True)
        out.print(f"plots and JSON: {folder}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def replay(
    path: LoopFile = Path("loop.toml"),
    delay: Annotated[
        list[str] | None,
        typer.Option("--delay", help="What if feedback came so much later: 0s, 30m, 7d. Several times."),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="Also with the settings of this file. Several times.")
    ] = None,
    delays: Annotated[str, typer.Option("--delays", help="As --delay: seconds, with commas.")] = "",
    to: Annotated[int, typer.Option("--to", help="Write the head of this version again, to --out.")] = 0,
    folder: OutFolder = Path("out/replay"),
) -> None:
    """Learn the whole log again and compare each release; or replay it with feedback delayed, or other settings."""
    from hotloop.offline import rebuild, seconds, what_if

    config = load(path)
    _make(folder)
    wanted = [*(_numbers(delays) if delays else []), *(seconds(text) for text in delay or [])]
    if wanted or against:
        others = {other.stem: _beside(config, other) for other in against or []}
        table = Table("what if", "precision", "recall", "F", title="the same log, predicted and learned anew")
        for curve in what_if(config, wanted or [0.0], folder, others):
            table.add_row(escape(curve.name), *(f"{x:.3f}" for x in (curve.precision, curve.recall, curve.f_score)))
        out.print(table)
        out.print(f"curves: {folder / 'what_if.png'}", highlight=False, markup=False, soft_wrap=True)
        return
    rebuilt = rebuild(config, _tracked, to)
    if to and rebuilt.head is None:
        raise NotFoundError(f"the log has no release of version {to}; it goes up to {rebuilt.releases + 1}")
    if rebuilt.head is not None:
        target = folder / f"head-{to}.msgpack"
        target.write_bytes(rebuilt.head)
        out.print(f"version {to}: {target}", highlight=False, markup=False, soft_wrap=True)
    out.print(
        f"{rebuilt.records} records, {rebuilt.releases} releases made again in {rebuilt.seconds:.1f} s; "
        f"{rebuilt.same} with the same digest, {rebuilt.releases - rebuilt.same} not "
        f"(largest relative difference to the registry's {rebuilt.difference:.1e})",
        highlight=False,
        soft_wrap=True,
    )
    if rebuilt.difference > 1e-6:
        raise typer.Exit(1)


@app.command()
def verify(path: LoopFile = Path("loop.toml")) -> None:
    """Read every stored byte and say what is not as it was written. Exit code 1 if anything is not."""
    from hotloop.offline import verify_all

    good = True
    for finding in verify_all(load(path)):  # each is said as soon as it is known
        mark = "[green]ok[/] " if finding.good else "[red]BAD[/]"
        out.print(f"{mark} {finding.what}: {escape(finding.text)}", highlight=False, soft_wrap=True)
        good = good and finding.good
    if not good:
        raise typer.Exit(1)


@app.command()
def doctor(path: Annotated[Path | None, typer.Argument(metavar="LOOP.TOML")] = None) -> None:
    """Check this machine, and a loop's settings if one is given. Says how to mend what is wrong."""
    from hotloop.doctor import examine

    table = Table("", "what", "found", "what to do", title="hotloop doctor")
    marks = {"good": "[green]ok[/]", "warning": "[yellow]look[/]", "bad": "[red]BAD[/]"}
    findings = list(examine(path))
    for finding in findings:
        said = (escape(text) for text in (finding.what, finding.found, finding.mend))
        table.add_row(marks[finding.state], *said)
    out.print(table)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


Why = Annotated[str, typer.Option("--reason", help="Why: it is kept in the log.")]


def _order(path: Path, command: Command) -> None:
    from hotloop.orders import give

    with out.status(f"{command.order} ...") as shown:
        words = give(load(path), command, lambda text: shown.update(escape(text)))
    out.print(words, highlight=False, markup=False, soft_wrap=True)


def _who() -> str:
    """Who gives the order, for the log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


@app.command()
def refresh(
    path: LoopFile = Path("loop.toml"),
    whole: Annotated[
        bool, typer.Option("--whole", help="From the start model and the whole log: consolidate.")
    ] = False,
    reason: Why = "",
) -> None:
    """Train the backbone again on what was verified, now. It goes out if the gate lets it."""
    _order(path, Command(order="consolidate" if whole else "refresh", by=_who(), reason=reason))


@app.command()
def promote(path: LoopFile = Path("loop.toml"), reason: Why = "") -> None:
    """Release the candidate that the gate held for want of evidence."""
    _order(path, Command(order="promote", by=_who(), reason=reason))


@app.command()
def rollback(
    path: LoopFile = Path("loop.toml"),
    to: Annotated[int, typer.Option("--to", help="The version to go back to; 0 is the last checkpoint.")] = 0,
    reason: Why = "",
) -> None:
    """Go back to the exact state of a former version, under a new one. Nothing that was said is lost."""
    _order(path, Command(order="rollback", by=_who(), version=to, reason=reason))


@app.command()
def freeze(path: LoopFile = Path("loop.toml"), reason: Why = "") -> None:
    """No model changes from now on, until `hotloop thaw`. Verdicts are taken and wait."""
    _order(path, Command(order="freeze", by=_who(), reason=reason))


@app.command()
def thaw(path: LoopFile = Path("loop.toml"), reason: Why = "") -> None:
    """Learn again, beginning with what waited."""
    _order(path, Command(order="thaw", by=_who(), reason=reason))


@app.command()
def pin(
    line: Annotated[str, typer.Option("--line", help="The line.")],
    path: LoopFile = Path("loop.toml"),
    reason: Why = "",
) -> None:
    """A line stays with what it has, until `hotloop unpin`. No rollout waits for it."""
    _order(path, Command(order="pin", by=_who(), line=check_name(line, "--line"), reason=reason))


@app.command()
def unpin(
    line: Annotated[str, typer.Option("--line", help="The line.")],
    path: LoopFile = Path("loop.toml"),
    reason: Why = "",
) -> None:
    """A line takes releases again: the newest that it may have, in one step."""
    _order(path, Command(order="unpin", by=_who(), line=check_name(line, "--line"), reason=reason))


@app.command()
def unlearn(
    path: LoopFile = Path("loop.toml"),
    verdict: Annotated[int | None, typer.Option("--verdict", help="One verdict, by its offset in the log.")] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="All that this reviewer said.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="All that was said of this site's pieces.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Only what came since then, by this machine's time.")
    ] = None,
    reason: Why = "",
) -> None:
    """Take out what some verdicts taught, as if they had never been given. Several choices must hold together."""
    at = None if since is None else since.timestamp()
    chosen = Selection(verdict=verdict, reviewer=reviewer, site=site, since=at)
    if chosen == Selection():
        raise ConfigError("say what to unlearn: --verdict, --reviewer, --site or --since")
    _order(path, Command(order="unlearn", by=_who(), selection=chosen, reason=reason))


@app.command()
def reinstate(
    reviewer: Annotated[str, typer.Option("--reviewer", help="Who is to be trusted again.")],
    path: LoopFile = Path("loop.toml"),
    reason: Why = "",
) -> None:
    """Trust a reviewer again who was distrusted: they start anew, and their verdicts are tried again by the gate."""
    _order(path, Command(order="reinstate", by=_who(), selection=Selection(reviewer=reviewer), reason=reason))


@app.command()
def golden(
    folder: Annotated[Path, typer.Argument(help="Labelled pieces: COCO, YOLO, masks or DeepPCB layout.")],
    path: Annotated[Path, typer.Option("--loop", help="The loop's settings.")] = Path("loop.toml"),
) -> None:
    """Seal labelled pieces: they are never learned, and judge models and reviewers. The hub must not be running."""
    from hotloop.starting import import_golden

    count = import_golden(load(path), folder, _tracked)
    out.print(f"{count} golden pieces sealed", highlight=False)


federate = typer.Typer(help="Sites share what they have learned, and no pictures.", no_args_is_help=True)
app.add_typer(federate, name="federate")


@federate.command("export")
def federate_export(
    path: LoopFile = Path("loop.toml"),
    target: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("site.sums"),
) -> None:
    """Write what this site has learned as sums, for other sites."""
    from hotloop.offline import exported

    config = load(path)
    data = exported(config, _tracked)
    target.write_bytes(data)
    said = (
        f"{target}: what {config.site} has learned, {len(data)} bytes; what it reveals: docs/reference/gram-matrix.md"
    )
    out.print(said, highlight=False, markup=False, soft_wrap=True)


@federate.command("try")
def federate_try(
    files: Annotated[list[Path], typer.Argument(help="Exports of other sites.")],
    path: Annotated[Path, typer.Option("--loop", help="The loop's settings.")] = Path("loop.toml"),
) -> None:
    """Which share of other sites' learning serves this one best, by its own recent pieces."""
    from hotloop.offline import tried

    choice = tried(load(path), files, _tracked)
    table = Table("weight of the others", "error on this site's pieces", title="each piece by a head that never saw it")
    for share, loss in choice.losses.items():
        table.add_row(f"{share:g}", f"{loss:.3f}")
    out.print(table)
    out.print(f"federated_weight = {choice.share:g}   # {choice.reason}", highlight=False, markup=False, soft_wrap=True)


def _make(folder: Path) -> None:
    """Make the folder that results go to. ConfigError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made ({error.strerror}): give --out another folder") from error


def _beside(config: LoopConfig, path: Path) -> LoopConfig:
    """The settings of another file, on the stores of this loop."""
    return msgspec.structs.replace(load(path), store=config.store)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--delays takes seconds with commas between, such as 0,1800,86400; not {text!r}") from None
    if any(not 0 <= number < 1e9 for number in numbers):
        raise ConfigError("--delays takes seconds from 0 on")
    return numbers


def _tracked(items: Any, what: str, total: int) -> Any:
    """A progress bar around an iterator."""
    return track(items, description=what, total=total, console=err, transient=True)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
