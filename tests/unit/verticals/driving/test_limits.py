"""Unit tests of driving.limits: the settings are checked, and documented."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hotloop.verticals.driving.limits import MineConfig, RankConfig

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(("kind", "table"), [(MineConfig, "mine"), (RankConfig, "rank")])
def test_each_setting_is_documented_with_its_default(kind, table):
    """docs/reference/settings.md has a row of each, with the default that the code has."""
    text = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    for field in msgspec.structs.fields(kind):
        row = next((line for line in text.splitlines() if f"`driving.{table}.{field.name}`" in line), "")
        assert f"| `{field.default}` |" in row, field.name


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(MineConfig, {"reach_m": 0}), (MineConfig, {"release": 0.9}), (MineConfig, {"surprise_min": 1.1}),
     (MineConfig, {"pairs_chunk": 0}), (RankConfig, {"budget": -1.0}), (RankConfig, {"audit_share": 2.0}),
     (RankConfig, {"unknown": 1})],
)  # fmt: skip
def test_impossible_settings_are_refused(kind, wrong):
    """What cannot be is no setting."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, kind)
