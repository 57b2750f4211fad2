"""Labels to start from: read a piece at a time, with labels that the loop knows."""

from __future__ import annotations

import pytest

from hotloop.errors import ConfigError, ImageError, LayoutError
from hotloop.types import Claim
from hotloop.verticals.inspection.boards import KINDS, draw_board
from hotloop.verticals.inspection.labels import save_deeppcb
from hotloop.verticals.inspection.start_labels import labelled_payloads


@pytest.fixture(scope="module")
def drawn():
    """Three small boards."""
    return [draw_board(seed, size_px=128) for seed in range(3)]


@pytest.fixture
def folder(tmp_path, drawn):
    """The boards in DeepPCB's layout."""
    save_deeppcb(tmp_path, drawn)
    return tmp_path


def test_no_folder_has_no_pieces():
    """The setting is empty by default."""
    assert labelled_payloads("", KINDS) == []


def test_each_piece_is_its_bytes_and_its_claims(folder, drawn):
    """Image and template as they lie there, and a claim with label and region for each truth."""
    pieces = labelled_payloads(str(folder), KINDS)
    assert len(pieces) == len(drawn)
    for number, (read, board) in enumerate(zip(pieces, drawn, strict=True)):
        payload, claims = read()
        place = next(folder.rglob(f"*{number:04d}_test.jpg"))
        assert payload.data == place.read_bytes()
        assert payload.reference == place.with_name(place.name.replace("_test", "_temp")).read_bytes()
        assert claims == tuple(Claim(label=d.kind, region=d.box) for d in board.defects)


def test_labels_that_the_loop_has_not_are_named(folder, drawn):
    """Before a single piece is read: which ones, and which the loop has."""
    used = {defect.kind for board in drawn for defect in board.defects}
    missing = min(used)
    with pytest.raises(ConfigError, match=rf"has not: {missing}\. .*scratch"):
        labelled_payloads(str(folder), ["scratch", *sorted(used - {missing})])


def test_more_labels_than_the_folder_uses_are_fine(folder):
    """A loop may know kinds that no piece shows."""
    assert len(labelled_payloads(str(folder), (*KINDS, "scratch"))) == 3


def test_a_file_that_goes_away_is_said_when_it_is_read(folder):
    """Pieces are read one by one: the others still can be."""
    pieces = labelled_payloads(str(folder), KINDS)
    gone = next(folder.rglob("*0001_temp.jpg"))
    gone.unlink()
    pieces[0]()
    with pytest.raises(ImageError, match="0001_test"):
        pieces[1]()
    pieces[2]()


def test_a_folder_in_no_known_layout_is_named(tmp_path):
    """With what was looked for."""
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(LayoutError, match="DeepPCB"):
        labelled_payloads(str(tmp_path), KINDS)
    with pytest.raises(LayoutError, match="nothing there"):
        labelled_payloads(str(tmp_path / "none"), KINDS)
