"""Unit tests of driving.knows: what is learned adds up, can be taken out, and stays the same as bytes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hotloop.errors import ModelError, NewerFormatError
from hotloop.testing.drives import traffic
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import lesson, mine

LIMITS = MineConfig()


def taught_by(seed):
    """The lesson of a log, by one who knows nothing."""
    tracks = traffic(seed, 10, 80)
    return lesson(tracks, mine(tracks, None, LIMITS), Knows.start(), LIMITS)


def test_bytes_hold_all_that_is_known():
    """There and back is the same, byte for byte; equal lessons give equal bytes."""
    one, two = Knows.start(), Knows.start()
    for knows in (one, two):
        knows.learn(taught_by(1))
    assert one.to_bytes() == two.to_bytes() == Knows.from_bytes(one.to_bytes()).to_bytes()
    assert one.to_bytes() != Knows.start().to_bytes()


def test_what_was_learned_can_be_taken_out():
    """Learned and unlearned leaves what was before: counts exactly, weights to rounding."""
    knows = Knows.start()
    knows.learn(taught_by(1))
    before = Knows.from_bytes(knows.to_bytes())
    knows.learn(taught_by(2))
    assert not np.allclose(knows.motion.weights(), before.motion.weights(), atol=1e-9)
    knows.unlearn(taught_by(2))
    np.testing.assert_allclose(knows.motion.weights(), before.motion.weights(), atol=1e-8)
    assert (knows.calm == before.calm).all()
    assert (knows.windows, knows.scenes.count) == (before.windows, before.scenes.count)


def test_two_sites_know_together_what_one_would():
    """Merged is what one learns that sees both."""
    both, one, two = Knows.start(), Knows.start(), Knows.start()
    for seed, alone in ((1, one), (2, two)):
        both.learn(taught_by(seed))
        alone.learn(taught_by(seed))
    one.merge(two)
    np.testing.assert_allclose(one.motion.weights(), both.motion.weights(), atol=1e-9)
    assert (one.calm == both.calm).all()
    assert (one.cases == both.cases).all()
    assert one.windows == both.windows


def test_what_was_never_learned_cannot_be_taken_out():
    """Refused, and nothing is changed."""
    knows = Knows.start()
    with pytest.raises(ModelError, match="never learned"):
        knows.unlearn(taught_by(1))
    assert knows.to_bytes() == Knows.start().to_bytes()


def test_damaged_bytes_are_refused():
    """Any byte that is flipped, cut or missing is noticed."""
    knows = Knows.start()
    knows.learn(taught_by(1))
    data = knows.to_bytes()
    for place in range(0, len(data), len(data) // 40):
        wrong = bytearray(data)
        wrong[place] ^= 1
        with pytest.raises((ModelError, NewerFormatError)):
            Knows.from_bytes(bytes(wrong))
    for short in (b"", data[:-1], b"\xc1"):
        with pytest.raises(ModelError):
            Knows.from_bytes(short)


def test_a_newer_format_is_named():
    """What a later hotloop wrote is refused as such."""
    fields = msgspec.msgpack.decode(Knows.start().to_bytes())
    with pytest.raises(NewerFormatError, match="format 2"):
        Knows.from_bytes(msgspec.msgpack.encode(fields | {"format": 2}))


def test_little_knowledge_calls_nothing_strange():
    """Before some thousands of moments it is not calibrated; after them it is."""
    knows = Knows.start()
    assert not knows.calibrated
    assert not knows.acquainted
    assert (knows.rarity() == 0).all()
    for seed in range(8):
        knows.learn(taught_by(seed))
    assert knows.calibrated
    assert knows.acquainted
    assert (knows.rarity() == 1).all()


def test_lessons_add_up_in_any_order():
    """Counts exactly, weights to rounding: who was heard first does not matter."""
    lessons = [taught_by(seed) for seed in (1, 2, 3)]
    one, other = Knows.start(), Knows.start()
    for k in range(3):
        one.learn(lessons[k])
        other.learn(lessons[2 - k])
    assert (one.calm == other.calm).all()
    assert (one.cases == other.cases).all()
    assert one.windows == other.windows == sum(lesson.windows for lesson in lessons)
    np.testing.assert_allclose(one.motion.weights(), other.motion.weights(), atol=1e-9)
    np.testing.assert_allclose(one.rarity(), other.rarity())


def test_rarity_is_the_share_of_windows_without_the_case():
    """Never seen is 1, in every window is 0; before anything was learned nothing is rare."""
    knows = Knows.start()
    assert not knows.rarity().any()
    told = replace(taught_by(1), windows=8, cases=np.array([8, 2] + [0] * 9 + [20]))
    knows.learn(told)
    assert knows.rarity().tolist() == pytest.approx([0.0, 0.75] + [1.0] * 9 + [0.0])


def test_a_lesson_of_another_form_changes_nothing():
    """Other bins of errors, another number of cases: refused before any of it is learned."""
    knows = Knows.start()
    knows.learn(taught_by(1))
    before = knows.to_bytes()
    lesson_ = taught_by(2)
    for wrong in (replace(lesson_, calm=lesson_.calm[:-1]), replace(lesson_, cases=lesson_.cases[:-1])):
        with pytest.raises(ModelError, match="make it anew"):
            knows.learn(wrong)
    assert knows.to_bytes() == before
    with pytest.raises(ModelError, match="never learned"):
        knows.unlearn(replace(taught_by(1), windows=10**6))
    assert knows.to_bytes() == before
