"""How much a reviewer's word counts: earned, lost by evidence alone, and the same after a restart."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import TrustConfig
from hotloop.feedback import trust as module
from hotloop.feedback.trust import GOLD_REFERENCE, REVIEWERS_MAX, WINDOW, Trust, TrustState
from hotloop.types import Outcome

LABELS = ("open", "short", "spur")
CREW = [f"r{k}" for k in range(10)]


def compared(rng, share, label=None, lie=None):
    """One comparison: agrees with this chance; `lie`: a label on which it never does."""
    label = label or str(rng.choice(LABELS))
    agrees = label != lie and rng.random() < share
    return [Outcome("hit" if agrees else "missed", label)]


def fed(trust, rng, words, shares, lies=None, kind="gold"):
    """So many words of each reviewer, in turns, with their chances of agreement."""
    for _ in range(words):
        for name, share in shares.items():
            trust.saw(name, kind, compared(rng, share, lie=(lies or {}).get(name)))
    return trust


def test_a_lone_reviewer_counts_in_full():
    """There is nobody to be compared with, and a champion alone is no judge."""
    trust = Trust(TrustConfig())
    assert trust.standing("ann").weight == 1.0
    for _ in range(500):
        trust.saw("ann", "champion", [Outcome("missed", "open")])
    standing = trust.standing("ann")
    assert (standing.weight, standing.distrusted) == (1.0, False)
    assert "nobody" in standing.reason


def test_a_new_reviewer_among_others_counts_half():
    """Until a few comparisons have been made."""
    trust = fed(Trust(TrustConfig()), np.random.default_rng(0), 20, dict.fromkeys(CREW[:3], 1.0))
    trust.saw("new", "gold", [Outcome("hit", "open")])
    assert trust.standing("new").weight == 0.5
    assert "new" in trust.standing("new").reason
    assert trust.standing("stranger").weight == 1.0


def test_weight_follows_the_distance_from_the_others():
    """Like the others 1, a little below them a half, further below a quarter."""
    shares = dict.fromkeys(CREW[:6], 0.97) | {"a": 0.95, "b": 0.86, "c": 0.72}
    config = TrustConfig(margin=0.15, alpha=1e-12)
    trust = fed(Trust(config), np.random.default_rng(1), 400, shares)
    assert [trust.standing(name).weight for name in "abc"] == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("seed", range(4))
def test_three_random_liars_of_ten_are_found_and_nobody_else(seed):
    """Within some dozen gold questions each."""
    shares = dict.fromkeys(CREW[:3], 0.3) | dict.fromkeys(CREW[3:], 0.96)
    trust = fed(Trust(TrustConfig()), np.random.default_rng(seed), 40, shares)
    assert set(trust.newly_distrusted()) == set(CREW[:3])
    assert trust.newly_distrusted() == ()
    assert trust.standing("r0").weight == 0.0
    assert "agrees less than the others do" in trust.standing("r0").reason
    assert trust.standing("r5").weight == 1.0


def test_a_lie_about_one_kind_shows_in_that_kind():
    """Overall it is within the margin of the others; on the kind it is never right."""
    shares = dict.fromkeys(CREW, 0.97)
    config = TrustConfig(margin=0.3)
    trust = fed(Trust(config), np.random.default_rng(2), 60, shares, lies={"r0": "short"})
    assert trust.newly_distrusted() == ("r0",)
    assert "'short'" in trust.standing("r0").reason


@pytest.mark.parametrize("kind", ["gold", "peer"])
def test_honest_reviewers_keep_their_trust(kind):
    """Twenty crews of ten who err alike: with alpha 0.01 a false accusation is rare."""
    wrong = 0
    for seed in range(20):
        trust = fed(Trust(TrustConfig()), np.random.default_rng(seed), 80, dict.fromkeys(CREW, 0.93), kind=kind)
        wrong += len(trust.newly_distrusted())
    assert wrong <= 2


def test_who_is_shown_beside_a_liar_keeps_their_trust():
    """Two words on a board of six defects that disagree do so in all six: that is one piece of evidence, not six."""
    wrong = found = 0
    for seed in range(20):
        trust, rng = Trust(TrustConfig()), np.random.default_rng(seed)
        for _ in range(200):
            one, other = (str(name) for name in rng.choice(CREW, 2, replace=False))
            share = 0.1 if {one, other} & set(CREW[:2]) else 0.95
            outcomes = [Outcome("hit" if rng.random() < share else "missed", str(rng.choice(LABELS))) for _ in range(6)]
            trust.saw(one, "peer", outcomes)
            trust.saw(other, "peer", outcomes)
        told = trust.newly_distrusted()
        wrong += len(set(told) - set(CREW[:2]))
        found += len(set(told) & set(CREW[:2]))
    assert wrong <= 2
    assert found >= 38


def test_without_others_a_gold_question_has_a_standard_of_its_own():
    """Two reviewers, and only one of them was asked: truth is truth."""
    trust = Trust(TrustConfig())
    trust.saw("ann", "peer", [Outcome("hit", "open")])
    for _ in range(30):
        trust.saw("bob", "gold", [Outcome("missed", "open")])
    assert trust.newly_distrusted() == ("bob",)
    assert 0.5 < GOLD_REFERENCE < 1


def test_liars_do_not_set_the_standard():
    """Whoever is distrusted is no part of what the others do; the median bears three of ten."""
    shares = dict.fromkeys(CREW[:3], 0.1) | dict.fromkeys(CREW[3:], 0.95)
    trust = fed(Trust(TrustConfig(alpha=1e-300)), np.random.default_rng(3), 30, shares)
    assert trust._median("r9", "gold/*") > 0.85


def test_outcomes_without_a_label_count_over_all():
    """A good piece called good is an agreement, of no kind in particular."""
    trust = fed(Trust(TrustConfig()), np.random.default_rng(0), 10, dict.fromkeys(CREW[:3], 1.0))
    trust.saw("r0", "gold", [Outcome("right", "")])
    assert trust._records["r0"].seen["gold/*"][0] == 11
    assert "gold/" not in trust._records["r0"].seen


def test_labels_beyond_the_limit_are_tested_together_alone(monkeypatch):
    """A flood of kinds does not grow the record of stakes."""
    monkeypatch.setattr(module, "LABELS_MAX", 3)
    trust = fed(Trust(TrustConfig()), np.random.default_rng(0), 10, dict.fromkeys(CREW[:3], 1.0))
    for number in range(10):
        trust.saw("r0", "gold", [Outcome("hit", f"kind-{number}")])
    assert len(trust._records["r0"].stakes) <= 3


def test_a_standard_below_the_margin_tests_nobody():
    """Where the others hardly ever agree, nobody can lie below them."""
    trust = fed(Trust(TrustConfig(margin=0.2)), np.random.default_rng(0), 30, dict.fromkeys(CREW, 0.1), kind="peer")
    assert trust.newly_distrusted() == ()


def test_the_longest_silent_is_forgotten(monkeypatch):
    """So many are remembered, no more."""
    monkeypatch.setattr(module, "REVIEWERS_MAX", 5)
    trust = Trust(TrustConfig())
    for name in CREW:
        trust.saw(name, "gold", [Outcome("hit", "open")])
    assert trust.reviewers() == tuple(CREW[5:])
    assert REVIEWERS_MAX == 1000
    trust.reinstate("r9")
    assert "r9" not in trust.reviewers()


def test_one_reviewer_is_at_most_a_fifth_of_what_is_learned():
    """Once eight are at work; what is beyond it waits, words of several are always taken."""
    trust = Trust(TrustConfig())
    rng = np.random.default_rng(0)
    taken = {name: 0 for name in CREW}
    for _ in range(400):
        name = "r0" if rng.random() < 0.7 else str(rng.choice(CREW[1:]))
        if trust.admits([name])[0]:
            taken[name] += 1
    assert list(trust._window).count("r0") <= 0.2 * WINDOW
    assert taken["r0"] < 0.3 * sum(taken.values())
    assert trust.admits([""]) == [True]


def test_a_small_crew_has_no_quota():
    """Two reviewers share the work as they like."""
    trust = Trust(TrustConfig())
    assert all(all(trust.admits(["ann"])) for _ in range(200))


def test_a_rebuild_takes_the_quota_as_it_was():
    """The words that an earlier run admitted fill the same window."""
    one, two = Trust(TrustConfig()), Trust(TrustConfig())
    names = [CREW[k % 10] for k in range(80)]
    admitted = [name for name in names if one.admits([name])[0]]
    two.admitted(admitted)
    assert one._window == two._window


def test_a_second_opinion_is_asked_for_where_one_voice_contradicts():
    """Not in a crew of two, not from whom gold has proven, not where another has said so too, not if it is off."""
    trust = Trust(TrustConfig())
    assert trust.needs_second("ann", "open", 3)
    assert not trust.needs_second("ann", "open", 2)
    trust.clashed("ann", "open")
    assert trust.needs_second("ann", "open", 3)
    assert not trust.needs_second("bob", "open", 3)
    assert trust.needs_second("bob", "short", 3)
    for _ in range(5):
        trust.saw("bob", "gold", [Outcome("hit", "short")])
    assert not trust.needs_second("bob", "short", 3)
    assert not Trust(TrustConfig(second_opinion=False)).needs_second("ann", "open", 9)


def test_it_goes_on_after_a_restart():
    """Its state survives being written, and leads to the same standings."""
    shares = dict.fromkeys(CREW[:2], 0.4) | dict.fromkeys(CREW[2:], 0.95)
    one = fed(Trust(TrustConfig()), np.random.default_rng(5), 12, shares)
    one.admits(CREW)
    one.clashed("r1", "open")
    two = Trust(TrustConfig())
    two.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.state()), type=TrustState))
    for trust in (one, two):
        fed(trust, np.random.default_rng(6), 20, shares)
    assert one.state() == two.state()
    assert set(one.newly_distrusted()) == {"r0", "r1"}
