"""`hotloop ingest`: logs go in once, what is broken is named, what is asked wrongly is refused before that."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hotloop.errors import ConfigError
from hotloop.verticals.driving.command import coarser, ingest
from hotloop.verticals.driving.lake import TrackLake
from hotloop.verticals.driving.privacy import Privacy

CSV = "id,x,y,step\n{0},3,0,0\n{0},4,0,0.1\n{0},5,0,0.2\n"
FRAMES = "id,x,y,frame\nf,0,0,0\nf,1,0,1\nf,2,0,2\n"


@pytest.fixture
def run():
    """The command as `hotloop` runs it."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("ingest")(ingest)

    def called(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)

    return called


@pytest.fixture
def drives(tmp_path):
    """Two logs in a folder."""
    folder = tmp_path / "drives"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text(CSV.format(name))
    return folder


def test_it_is_brought_by_an_entry_point():
    """What pyproject.toml names is the command."""
    text = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    named = tomllib.loads(text)["project"]["entry-points"]["hotloop.commands"]["ingest"]
    assert EntryPoint("ingest", named, "hotloop.commands").load() is ingest


def test_logs_go_in_once(run, drives, tmp_path):
    """Twice changes nothing, and each time it is said what became of each."""
    first = run(drives, "--table", tmp_path / "t", "--region", "eu")
    again = run(drives / "a.csv", drives / "b.csv", "--table", tmp_path / "t", "--region", "eu")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "2 logs ingested (6 rows" in first.output
    assert "0 logs ingested" in again.output
    assert again.output.count("known already") == 3  # each, and the sum
    lake = TrackLake(tmp_path / "t", "eu")
    assert len(lake.known()) == 2
    assert {lake.read(one).region for one in lake.known()} == {"eu"}
    assert (tmp_path / "t" / "tracks.lance").exists()


def test_a_broken_log_is_named_and_the_rest_goes_in(run, drives, tmp_path):
    """With the exit code 1."""
    (drives / "c.csv").write_text("id,x\n1,2\n")
    done = run(drives, "--table", tmp_path / "t")
    assert done.exit_code == 1
    assert "refused" in done.output
    assert "c.csv" in done.output
    assert len(TrackLake(tmp_path / "t").known()) == 2


def test_a_log_of_another_region_is_refused(run, drives, tmp_path):
    """A table of one region takes none that may be kept in another one only."""
    run(drives / "a.csv", "--table", tmp_path / "t", "--region", "eu")
    with pytest.raises(ConfigError, match="eu"):
        run(drives / "b.csv", "--table", tmp_path / "t", "--region", "us")
    assert len(TrackLake(tmp_path / "t", "eu").known()) == 1


def test_what_is_made_coarser_is_not_in_the_table(run, drives, tmp_path):
    """Names are gone, the first place lies on the grid, distances stay."""
    run(drives / "a.csv", "--table", tmp_path / "t", "--privacy", "grid_m=100,drop_names=1")
    lake = TrackLake(tmp_path / "t")
    (kept,) = (lake.read(one) for one in lake.known())
    assert [one.name for one in kept.actors] == ["1"]
    assert "a.csv" not in kept.source
    assert kept.x.tolist() == [0.0, 1.0, 2.0]


def test_units_and_steps_are_of_files_that_do_not_say_so(run, tmp_path):
    """Frames of half a second, a place in feet."""
    (tmp_path / "f.csv").write_text(FRAMES)
    run(tmp_path / "f.csv", "--table", tmp_path / "t", "--step-s", "0.5", "--units", "ft")
    lake = TrackLake(tmp_path / "t")
    (kept,) = (lake.read(one) for one in lake.known())
    assert kept.step_s == 0.5
    assert kept.x[-1] - kept.x[0] == pytest.approx(2 * 0.3048)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--units", "miles"), "auto, m, ft"), (("--step-s", "0"), "0.001 to 10"), (("--step-s", "nan"), "0.001 to 10"),
        (("--privacy", "grid=5"), "grid_m=METRES"), (("--privacy", "cut_s=-1"), "cut_s"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused_before_anything_is_read(run, drives, tmp_path, more, words):
    """No table is made."""
    with pytest.raises(ConfigError, match=words):
        run(drives, "--table", tmp_path / "t", *more)
    assert not (tmp_path / "t").exists()


def test_a_path_that_is_not_there_is_named(run, drives, tmp_path):
    """A typing error is no empty folder, and the others are not taken either."""
    with pytest.raises(ConfigError, match="drivs: there is nothing"):
        run(drives, tmp_path / "drivs", "--table", tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("", Privacy()), ("grid_m=500", Privacy(grid_m=500.0)), ("drop_names=0,cut_s=2.5", Privacy(cut_s=2.5)),
        ("cut_s=60,drop_names=1,grid_m=1e3", Privacy(1000.0, True, 60.0)),
    ],
)  # fmt: skip
def test_what_is_made_coarser_is_read(text, made):
    """What is not named stays as it is."""
    assert coarser(text) == made


@pytest.mark.parametrize("text", ["grid_m", "cut_s=x", "cut_s=1,cut_s=2", "drop_names=2", "grid_m=nan", "cut_s=1e9"])
def test_what_cannot_be_made_coarser_is_refused(text):
    """By its key."""
    with pytest.raises(ConfigError, match=text.partition("=")[0]):
        coarser(text)
