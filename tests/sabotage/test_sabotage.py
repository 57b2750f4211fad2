"""Each check of TRUST notices a break of what it checks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("sabotages", Path(__file__).with_name("sabotages.py"))
assert _spec is not None
assert _spec.loader is not None
sabotages = importlib.util.module_from_spec(_spec)
sys.modules["sabotages"] = sabotages
_spec.loader.exec_module(sabotages)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # of simulated faults


@pytest.mark.parametrize("sabotage", sabotages.SABOTAGES, ids=lambda one: f"row {one.row}: {one.name}")
def test_the_check_notices(sabotage, tmp_path: Path) -> None:
    """With the break in place the row's check fails."""
    with sabotage.patch(), pytest.raises(AssertionError):
        sabotage.check(tmp_path)


@pytest.mark.parametrize(
    "check", sorted({one.check for one in sabotages.SABOTAGES}, key=lambda one: one.__name__)
)
def test_the_check_passes_on_the_code_as_it_is(check, tmp_path: Path) -> None:
    """Without a break the same check passes: it fails for the break, and for nothing else."""
    check(tmp_path)


def test_every_row_that_is_sabotaged_is_in_the_readme() -> None:
    """The table names each sabotage."""
    table = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    for one in sabotages.SABOTAGES:
        assert f"| {one.row} | {one.name} |" in table


def test_an_edit_must_fit_the_code() -> None:
    """A sabotage whose line is no longer there says so, instead of breaking nothing."""
    with (
        pytest.raises(AssertionError, match="mend the sabotage"),
        sabotages.edited(sabotages, "power", "not there", ""),
    ):
        pass


def test_an_edit_is_undone() -> None:
    """Behind the `with` the function is the old one again."""
    before = sabotages.form.record
    with sabotages.edited(sabotages.form, "record", "one) != sealed", "one) is None"):
        assert sabotages.form.record is not before
    assert sabotages.form.record is before
