"""What a device starts with: the newest release that is whole and lets the process live."""

from __future__ import annotations

import apsw
import pytest

from hotloop.errors import DiskFullError, NewerFormatError, StoreBusyError, StoreError
from hotloop.store.slots import Slots
from hotloop.types import Model, digest


def model(version, bundle=b""):
    backbone = digest(bundle) if bundle else ""
    return Model(
        version=version, parent=version - 1, tier="reflex", backbone=backbone, head=b"h", labels=("ok",), recipe="r"
    )


@pytest.fixture
def slots(tmp_path):
    found = Slots(tmp_path / "slots.sqlite")
    yield found
    found.close()


def again(slots, tmp_path):
    """The process starts again; what it answers with."""
    slots.close()
    slots.__init__(tmp_path / "slots.sqlite")
    found = slots.start()
    return None if found is None else found.model.version


def test_a_new_device_has_none(slots):
    """The start model answers, and there is nothing to go back to."""
    assert slots.start() is None
    assert slots.back() is None


def test_the_newest_answers_and_the_one_before_is_at_hand(slots, tmp_path):
    """With its own backbone; backbones that neither needs are let go."""
    for version, bundle in ((1, b"one"), (2, b"two"), (3, b"two")):
        slots.install(model(version, bundle), bundle, proven=True)
    assert again(slots, tmp_path) == 3
    assert slots.start().bundle == b"two"
    assert slots.back().model == model(2, b"two")
    assert again(slots, tmp_path) == 2
    kept = slots._run("SELECT digest FROM backbone").fetchall()
    assert kept == [(digest(b"two"),)]


def test_what_takes_the_process_down_is_started_twice_at_most(slots, tmp_path):
    """Then the one before it answers."""
    slots.install(model(1), b"", proven=True)
    slots.install(model(2), b"", proven=False)
    assert [again(slots, tmp_path) for _ in range(4)] == [2, 2, 1, 1]


def test_what_takes_the_process_down_is_not_tried_again_where_nothing_was_before_it(slots, tmp_path):
    """The start model answers from then on."""
    slots.install(model(1), b"", proven=False)
    assert [again(slots, tmp_path) for _ in range(5)] == [1, 1, None, None, None]


def test_a_full_disk_does_not_keep_back_what_answered(slots):
    """Reading takes no room: the line answers as before, though the start cannot be counted."""
    slots.install(model(1), b"", proven=True)
    run = slots._run

    def full(statement, *values):
        if statement.startswith("UPDATE"):
            raise apsw.FullError("full")
        return run(statement, *values)

    slots._run = full
    assert slots.start().model == model(1)


def test_what_was_given_up_does_not_come_back(slots, tmp_path):
    """Not even where nothing answered before it."""
    slots.install(model(1), b"", proven=False)
    assert slots.back() is None
    assert again(slots, tmp_path) is None


def test_what_has_proven_itself_may_be_started_as_often_as_need_be(slots, tmp_path):
    """A plant that switches off each night is no crash."""
    slots.install(model(1), b"", proven=True)
    slots.install(model(2), b"", proven=False)
    slots.proven()
    assert [again(slots, tmp_path) for _ in range(5)] == [2] * 5


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE slot SET model = x'00' WHERE place = (SELECT place FROM state)",
        "UPDATE slot SET digest = 'x' WHERE place = (SELECT place FROM state)",
        "UPDATE backbone SET data = x'00' WHERE digest = (SELECT backbone FROM slot JOIN state USING (place))",
        "DELETE FROM backbone WHERE digest = (SELECT backbone FROM slot JOIN state USING (place))",
        "DELETE FROM slot WHERE place = (SELECT place FROM state)",
    ],
)
def test_what_is_not_as_it_was_written_does_not_answer(slots, tmp_path, damage):
    """The other one does."""
    for version, bundle in ((1, b"one"), (2, b"two")):
        slots.install(model(version, bundle), bundle, proven=True)
    slots._run(damage)
    assert again(slots, tmp_path) == 1


def test_bytes_that_are_no_model_do_not_answer(slots, tmp_path):
    """Though their digest is right."""
    slots.install(model(1), b"", proven=True)
    slots.install(model(2), b"", proven=True)
    slots._run("UPDATE slot SET model = x'00', digest = ? WHERE place = (SELECT place FROM state)", digest(b"\0"))
    assert again(slots, tmp_path) == 1


def test_another_process_is_kept_out(slots, tmp_path):
    """One agent a line."""
    slots.install(model(1), b"", proven=True)
    with pytest.raises(StoreBusyError, match="Stop the other one"):
        Slots(tmp_path / "slots.sqlite")


def test_a_newer_format_is_left_alone(slots, tmp_path):
    """It says what to do."""
    slots._connection.pragma("user_version", 99)
    slots.close()
    with pytest.raises(NewerFormatError, match="update it"):
        Slots(tmp_path / "slots.sqlite")
    slots.__init__(tmp_path / "other.sqlite")


def test_a_folder_that_cannot_be_made(tmp_path):
    """Is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Slots(tmp_path / "file/slots.sqlite")


@pytest.mark.parametrize(("error", "ours"), [(apsw.FullError, DiskFullError), (apsw.IOError, StoreError)])
def test_a_disk_that_fails_leaves_what_answers(slots, tmp_path, error, ours):
    """Each step says so in our words."""
    slots.install(model(1), b"", proven=True)

    class Failing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def execute(self, *_):
            raise error("no")

    connection, slots._connection = slots._connection, Failing()
    for step in (lambda: slots.install(model(2), b"", proven=True), slots.start, slots.proven, slots.back):
        with pytest.raises(ours):
            step()
    slots._connection = connection
    assert slots.start().model.version == 1
