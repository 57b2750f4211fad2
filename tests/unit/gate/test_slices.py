"""Parts of the verified examples, and what the gate makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse, e_values_worse
from hotloop.gate import judge
from hotloop.gate.slices import NO_PARTS, Parts, parts_of, with_labels

CONFIG = GateConfig()


def test_parts_are_labels_lines_sites_and_what_is_given():
    """One line or one site is no part of its own; an empty one is none."""
    labels = [{"open"}, {"open", "short"}, set(), {"short"}]
    golden = np.array([False, False, True, True])
    parts = parts_of(labels, ["a", "b", "b", "b"], ["s"] * 4, {"golden": golden, "none": np.zeros(4, bool)})
    assert parts.names == ("label:open", "label:short", "line:a", "line:b", "golden")
    np.testing.assert_array_equal(parts.masks[1], [False, True, False, True])
    np.testing.assert_array_equal(parts.masks[4], golden)


def test_nothing_to_tell_apart_is_no_part():
    """Good pieces of one line."""
    assert parts_of([set(), set()], ["a", "a"], ["s", "s"], {}) is NO_PARTS


def test_the_evidence_of_parts_is_that_of_each_alone():
    """All at once, as if each had been asked on its own."""
    rng = np.random.default_rng(0)
    d = rng.choice([-0.5, 0.0, 0.0, 1.0], 300)
    masks = rng.random((7, 300)) < 0.3
    found = e_values_worse(d, masks, 0.05)
    np.testing.assert_allclose(found, [e_value_worse(d[mask], 0.05) for mask in masks], rtol=1e-9)


def losses(count=200):
    """A champion that errs on a twentieth."""
    return (np.random.default_rng(1).random(count) < 0.05).astype(float)


def one_part(name, count, of=200):
    """The first `count` examples as a part."""
    return Parts((name,), (np.arange(of) < count)[None])


def test_an_aimed_attack_is_refused_though_the_mean_is_better():
    """Thirty pieces of one kind get worse, all others better: the part tells."""
    champion = losses()
    candidate = np.where(np.arange(200) < 30, 1.0, 0.0)
    champion[30:] = 1.0 * (np.arange(170) < 60)
    found = judge(champion, candidate, CONFIG, one_part("label:short", 30))
    assert found.difference < 0
    assert found.decision == "refuse"
    assert "label 'short' worse" in found.reason
    assert "on 30 pieces" in found.reason
    assert found.slices[0].name == "label:short"


def test_a_part_with_few_examples_is_not_judged():
    """Nine are no evidence by themselves."""
    candidate = np.where(np.arange(200) < CONFIG.slice_least_examples - 1, 1.0, 0.0)
    found = judge(np.zeros(200), candidate, GateConfig(tolerance=0.5), one_part("label:short", 9))
    assert (found.decision, found.slices) == ("promote", ())


def test_a_critical_part_may_not_get_worse_at_all():
    """What the tolerance would let pass elsewhere."""
    d = np.where(np.arange(400) % 25 == 0, 1.0, 0.0)
    part = one_part("label:short", 400, 400)
    wide = GateConfig(tolerance=0.3)
    assert judge(np.zeros(400), d, wide, part).decision == "promote"
    strict = GateConfig(tolerance=0.3, critical=("label:short",))
    assert judge(np.zeros(400), d, strict, part).decision == "refuse"


def test_many_parts_need_more_evidence_each():
    """Any of them may refuse, so that chance would; the level is shared among them."""
    refused = {1: 0, 20: 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        champion, candidate = (rng.random(200) < 0.1).astype(float), (rng.random(200) < 0.1).astype(float)
        for count in refused:
            masks = rng.random((count, 200)) < 0.15
            names = tuple(f"label:{k}" for k in range(count))
            refused[count] += judge(champion, candidate, CONFIG, Parts(names, masks)).decision == "refuse"
    assert refused[20] <= 3
    assert refused[1] <= 3


def test_a_slower_tier_has_to_show_that_it_is_no_worse():
    """Too few pieces, or a mean that is worse without proof: held, with what is missing. Better: promoted. Harm:
    refused.
    """
    assert judge(np.zeros(5), np.zeros(5), CONFIG, slow=True).decision == "hold"
    worse = np.where(np.arange(200) < 2, 1.0, 0.0)
    found = judge(np.zeros(200), worse, CONFIG, slow=True)
    assert found.decision == "hold"
    assert "more verified pieces may show it" in found.reason
    assert judge(worse, np.zeros(200), CONFIG, slow=True).decision == "promote"
    assert judge(np.zeros(200), np.ones(200), CONFIG, slow=True).decision == "refuse"


@pytest.mark.parametrize(("name", "words"), [("golden", "the golden pieces"), ("line:l-1", "the line 'l-1'")])
def test_a_part_is_named_in_words(name, words):
    """The set by its name, others by what they are."""
    candidate = np.where(np.arange(200) < 40, 1.0, 0.0)
    assert words in judge(np.zeros(200), candidate, GateConfig(tolerance=0.5), one_part(name, 40)).reason


def test_a_label_is_judged_on_its_own_rows():
    """Pieces with many things on them dilute what one kind has lost; its own rows do not."""
    before = np.zeros((2, 40))
    after = np.vstack([np.ones(40), np.zeros(40)])
    after[1, :35] = before[1, :35] = np.nan  # the second label is on five pieces only
    parts = with_labels(parts_of([()] * 40, ["a", "b"] * 20, ["s"] * 40, {}), ("open", "short"), before, after)
    assert parts.names == ("label:open", "label:short", "line:a", "line:b")
    found = judge(np.zeros(40), np.full(40, 0.02), CONFIG, parts)
    assert found.decision == "refuse"
    assert "label 'open'" in found.reason
    assert {one.name for one in found.slices} == {"label:open", "line:a", "line:b"}


def test_a_label_that_nobody_says_is_no_part():
    """Neither there nor said."""
    nothing = np.full((1, 12), np.nan)
    parts = with_labels(parts_of([()] * 12, ["a"] * 12, ["s"] * 12, {}), ("open",), nothing, nothing)
    assert parts.names == ()
    assert judge(np.zeros(12), np.zeros(12), GateConfig(least_examples=5), parts).slices == ()
