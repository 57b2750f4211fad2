"""The folder of a demo: its run begins anew, and deletes nothing that no demo made; its report is laid beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from hotloop.errors import ConfigError
from hotloop.measure import Report, plots, render

_MARK = 'name = "demo"'  # what the settings of each demo begin with


def fresh_run(folder: Path, settings: str) -> Path:
    """An empty `run` in a demo's folder, `settings` its loop.toml. ConfigError if what is there is of no demo."""
    assert settings.startswith(_MARK), "else the next demo would not know it"
    run = folder / "run"
    if run.exists() and any(run.iterdir()) and not _is_demo(run / "loop.toml"):
        raise ConfigError(f"{run} is there and of no demo: it was not touched. Give another folder: --out FOLDER")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    (run / "loop.toml").write_text(settings, encoding="utf-8")
    return run


def write_report(report: Report, folder: Path) -> None:
    """report.json, report.txt and waterfall.png of a run that is over."""
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    (folder / "report.txt").write_text(render(report), encoding="utf-8")
    plots.waterfall_chart(report, folder / "waterfall.png")


def _is_demo(settings: Path) -> bool:
    """Whether an earlier demo wrote these settings: then all beside them may go."""
    return settings.is_file() and settings.read_text(encoding="utf-8").startswith(_MARK)
