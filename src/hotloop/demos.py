"""The folder of a demo's run: a demo begins anew, and deletes nothing that no demo made."""

from __future__ import annotations

import shutil
from pathlib import Path

from hotloop.errors import ConfigError

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


def _is_demo(settings: Path) -> bool:
    """Whether an earlier demo wrote these settings: then all beside them may go."""
    return settings.is_file() and settings.read_text(encoding="utf-8").startswith(_MARK)
