"""What a record is made of on disk: entries, seals, the chain."""

from __future__ import annotations

import math

import msgspec
import pytest

from hotloop.errors import InputError
from hotloop.store import format as form
from hotloop.testing.checks.log import feedback, notice, prediction
from hotloop.types import Event, Live, Notice


def test_an_entry_knows_what_it_is_about() -> None:
    """A prediction is about itself, feedback about its prediction, all else about none."""
    bodies = (prediction("p"), feedback("q"), Live(line="l", version=1), Notice(subject="s", text="t"))
    assert [form.entry(Event("d", 1, body)).about for body in bodies] == ["p", "q", None, None]


@pytest.mark.parametrize("sequence", [2**63, -(2**63), 2**200])
def test_a_sequence_must_fit(sequence: int) -> None:
    """What SQLite cannot keep exactly is refused, with advice."""
    with pytest.raises(InputError, match="64 bits"):
        form.entry(notice(sequence))


@pytest.mark.parametrize("event", [notice(1, device="\ud800"), notice(1, "\ud800"), Event("d", 1, feedback("\udfff"))])
def test_text_must_be_text(event: Event) -> None:
    """Half a surrogate pair cannot be written, wherever it stands."""
    with pytest.raises(InputError, match="cannot be written"):
        form.entry(event)


def test_a_seal_depends_on_everything() -> None:
    """No two different records have one seal; lengths keep the fields apart."""
    one = form.Entry("device", 1, None, b"body")
    seals = {
        form.seal(1, 2.0, one),
        form.seal(2, 2.0, one),
        form.seal(1, 3.0, one),
        form.seal(1, 2.0, form.Entry("devic", 1, None, b"ebody")),
        form.seal(1, 2.0, form.Entry("device", 2, None, b"body")),
        form.seal(1, 2.0, form.Entry("device", 1, None, b"bodz")),
    }
    assert len(seals) == 6
    assert all(len(seal) == 32 for seal in seals)


def test_the_chain_depends_on_all_before() -> None:
    """Another order is another chain."""
    a, b = b"a" * 32, b"b" * 32
    assert form.link(form.link(form.START, a), b) != form.link(form.link(form.START, b), a)


def test_a_body_of_another_version_is_the_same_if_it_says_the_same() -> None:
    """A later hotloop may leave a default out or write a field we do not know: that is no conflict."""
    sent = form.entry(notice(1, "text")).body
    fields = msgspec.msgpack.decode(sent)
    assert form.same_body(msgspec.msgpack.encode({**fields, "unknown": 1}), sent)
    assert not form.same_body(msgspec.msgpack.encode({**fields, "text": "other"}), sent)


def test_a_row_comes_back_as_a_record_or_not_at_all() -> None:
    """Any column of another type or value makes it rotten; none of that raises."""
    event = Event("d", 3, prediction("p"))
    one = form.entry(event)
    row = (5, 1.5, b"d", 3, b"p", one.body, form.seal(5, 1.5, one))
    record = form.record(row)
    assert record is not None
    assert (record.offset, record.received_at, record.event) == (5, 1.5, event)
    for column, value in enumerate((6, 1.25, b"e", 4, b"q", b"\xc1", bytes(32))):
        for wrong in (value, None, "text", 7.25, b"\xff", math.nan, 2**62):
            assert form.record((*row[:column], wrong, *row[column + 1 :])) is None
