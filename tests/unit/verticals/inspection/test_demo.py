"""The demo's folder: an earlier demo may go, anything else stays."""

from __future__ import annotations

import pytest

from hotloop.errors import ConfigError
from hotloop.verticals.inspection.demo import demo


@pytest.mark.parametrize("name", ["notes.txt", "loop.toml"])
def test_a_folder_that_is_no_demo_is_not_touched(tmp_path, name):
    """`run` below --out may be somebody's: it is named, and what is in it stays."""
    kept = tmp_path / "run" / name
    kept.parent.mkdir()
    kept.write_text('name = "press-3"\n')
    with pytest.raises(ConfigError, match="not touched"):
        demo(data=None, seconds=1.0, lines=1, folder=tmp_path)
    assert kept.read_text() == 'name = "press-3"\n'
