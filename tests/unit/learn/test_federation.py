"""Sites share sums: the union is learned exactly, in any order, and can be taken apart; what does not fit is named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hotloop.errors import ModelError
from hotloop.learn import Moments, Sums
from hotloop.learn.federation import clipped, export, merged, noised, read
from hotloop.types import Rows

COLUMNS, TARGETS = 12, 3
OF = {"backbone": "b" * 64, "recipe": "r", "labels": ("x", "y", "z")}


def rows(seed, count=40):
    """Rows of one site."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, COLUMNS)) + 0.3 * seed
    return Rows(x, np.eye(TARGETS)[rng.integers(0, TARGETS, count)], np.ones(count))


def sums(seed, count=40):
    """What they add up to."""
    found = Sums(COLUMNS, TARGETS)
    found.add(rows(seed, count))
    return found


def given(seed, **other):
    """A site's export, read again."""
    return read(export(sums(seed), site=f"site-{seed}", **(OF | other)))


def weights(total):
    """The head that follows from sums."""
    moments = Moments(COLUMNS, TARGETS, 1.0)
    moments.merge(total)
    return moments.weights()


def test_merging_equals_learning_everything_in_one_place():
    """To 1e-8, in any order."""
    together = Moments(COLUMNS, TARGETS, 1.0)
    for seed in range(3):
        together.learn(rows(seed))
    for order in itertools.permutations(range(3)):
        found = weights(merged([given(seed) for seed in order]))
        assert np.abs(found - together.weights()).max() <= 1e-8 * np.abs(together.weights()).max()


def test_a_site_can_be_taken_out_again():
    """What is left is what the others learned."""
    whole = merged([given(seed) for seed in range(3)])
    whole.merge(sums(1), -1)
    wanted = weights(merged([given(0), given(2)]))
    assert np.abs(weights(whole) - wanted).max() <= 1e-8 * np.abs(wanted).max()


@pytest.mark.parametrize("other", [{"backbone": "c" * 64}, {"recipe": "q"}, {"labels": ("x", "y", "w")}])
def test_what_is_of_another_model_is_refused(other):
    """By name: features of two models cannot be added."""
    with pytest.raises(ModelError, match="site-1"):
        merged([given(0), given(1, **other)])


def test_a_site_counts_once_and_nothing_is_no_merge():
    """Twice would be double weight."""
    with pytest.raises(ModelError, match="twice"):
        merged([given(0), given(0)])
    with pytest.raises(ModelError, match="no export"):
        merged([])


def test_too_few_rows_are_not_given_away():
    """From fewer rows than columns the rows themselves could be solved for."""
    with pytest.raises(ModelError, match="reconstructed"):
        export(sums(0, COLUMNS - 1), site="s", **OF)


@pytest.mark.parametrize("damage", ["flip", "cut", "none", "format"])
def test_damaged_exports_are_refused(damage):
    """To the last bit; of another format by its number."""
    import msgspec

    from hotloop.types import digest

    data = export(sums(0), site="s", **OF)
    if damage == "flip":
        data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    elif damage == "cut":
        data = data[:-1]
    elif damage == "none":
        data = digest(b"x").encode() + b"x"
    else:
        body = msgspec.msgpack.encode(msgspec.structs.replace(read(data), format=9))
        data = digest(body).encode() + body
    with pytest.raises(ModelError):
        read(data)


def test_the_difference_of_two_exports_shows_what_came_between():
    """One verdict more: its row is there to the last digit. This is why exports are not made often."""
    before, after = sums(0), sums(0)
    one = rows(9, 1)
    after.add(one)
    leak = after.xx - before.xx
    leak = leak + np.tril(leak, -1).T
    values, vectors = np.linalg.eigh(leak)
    found = vectors[:, -1] * np.sqrt(values[-1])
    assert np.abs(np.abs(found) - np.abs(one.x[0])).max() < 1e-8


def test_class_means_are_in_the_sums():
    """X'Y is the class's mean times its count: what a class looks like on average is given away."""
    data = rows(2)
    found = sums(2)
    for kind in range(TARGETS):
        mine = data.y[:, kind] == 1
        np.testing.assert_allclose(found.xy[:, kind] / mine.sum(), data.x[mine].mean(0), rtol=1e-9)


def test_noise_hides_a_row_and_keeps_the_sums_usable():
    """The row between two exports is drowned; A stays positive definite; bounds that are none are refused."""
    data = clipped(rows(1, 4000), 2.0)
    assert np.linalg.norm(data.x, axis=1).max() <= 2.0 + 1e-9
    total = Sums(COLUMNS, TARGETS)
    total.add(data)
    private = noised(total, 2.0, 1.0, 1e-5, seed=3)
    assert np.abs(private.xx - total.xx)[np.tril_indices(COLUMNS)].std() > 4.0
    found, wanted = weights(private), weights(total)
    assert np.abs(found - wanted).max() < 0.5 * np.abs(wanted).max()
    for epsilon, delta in ((0.0, 1e-5), (3.0, 1e-5), (1.0, 0.0)):
        with pytest.raises(ModelError, match="epsilon"):
            noised(total, 2.0, epsilon, delta, seed=0)
