"""Unit tests of driving.rank: the budget, no scene twice, and an audit that is not biased."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.limits import RankConfig
from hotloop.verticals.driving.rank import Candidate, Looked, cost, rank, recall, value
from hotloop.verticals.driving.scene import SCENE


def case(seed, severity=None, log=None, **more):
    """A candidate with a scene of its own."""
    rng = np.random.default_rng(seed)
    features = dict(zip(SCENE, rng.uniform(-1, 1, len(SCENE)).tolist(), strict=True))
    severity = float(rng.uniform(0.1, 1)) if severity is None else severity
    found = Finding(
        more.pop("case", CASES[seed % len(CASES)]), severity, 1.0, "s", more.pop("actors", (seed, seed + 1)),
        more.pop("first", 10), 12, more.pop("last", 20), "words", features=more.pop("features", features), **more,
    )  # fmt: skip
    return Candidate(found, f"log-{seed}" if log is None else log)


LIMITS = RankConfig(budget=100.0, audit_share=0.0)


def test_the_budget_is_kept_and_used():
    """What is chosen costs no more than allowed, and nothing that fits is left."""
    all_ = [case(k) for k in range(60)]
    chosen = rank(all_, LIMITS)
    spent = sum(choice.cost for choice in chosen)
    assert 100.0 - max(cost(one, LIMITS) for one in all_) < spent <= 100.0
    assert len({choice.index for choice in chosen}) == len(chosen)


def test_the_best_for_its_cost_comes_first():
    """Of equal costs the most severe; of equal severity the shortest."""
    severe = rank([case(1, 0.3), case(2, 0.9), case(3, 0.6)], LIMITS)
    assert [choice.index for choice in severe] == [1, 2, 0]
    short = rank([case(1, 0.5, last=90), case(2, 0.5, last=20)], LIMITS)
    assert [choice.index for choice in short] == [1, 0]


def test_what_is_new_rare_or_surprising_is_worth_more():
    """Each of them raises the value; so does a human's word, and at once."""
    plain = value(case(1, 0.5))
    assert plain == pytest.approx(0.125)
    for more in ({"novelty": 1.0}, {"surprise": 1.0}, {"rarity": 1.0}):
        assert value(case(1, 0.5, **more)) == pytest.approx(2 * plain)
    dull, bad = (Candidate(case(1, 0.5).finding, "", 0.1, interest) for interest in (-1.0, 1.0))
    assert (value(dull), value(bad)) == pytest.approx((plain / 4, plain * 4))
    assert value(Candidate(case(1, 0.5).finding, "", 0.1, 50.0)) == value(bad)


def test_a_verdict_changes_the_order_at_once():
    """Worse than you think comes to the front; dull goes to the back."""
    cases = [case(k, 0.5) for k in range(4)]
    told = [Candidate(one.finding, one.log, 0.1, (-1.0, 0.0, 0.0, 1.0)[k]) for k, one in enumerate(cases)]
    order = [choice.index for choice in rank(told, LIMITS)]
    assert (order[0], order[-1]) == (3, 0)


def test_scenes_that_are_alike_are_taken_once():
    """Of twenty copies of one scene and five others, the others come before the second copy."""
    same = case(1, 0.9)
    copies = [Candidate(same.finding, f"other-{k}") for k in range(20)]
    others = [case(k, 0.4) for k in range(2, 7)]
    order = [choice.index for choice in rank(copies + others, RankConfig(budget=500.0, audit_share=0.0))]
    assert order[0] == 0
    assert sorted(order[1:6]) == [20, 21, 22, 23, 24]


def test_several_cases_of_one_moment_are_taken_once():
    """A braking and a short headway of the same two in the same seconds are one scene, however they look."""
    first, second, third = (case(k, 0.9 - 0.1 * k, log="a", actors=(1, 2)) for k in range(3))
    later = case(9, 0.2, log="a", actors=(1, 2), first=300, last=310)
    assert [c.index for c in rank([first, second, third, later], LIMITS)][:2] == [0, 3]


def test_the_order_of_the_candidates_does_not_matter():
    """Shuffled in, the same cases come out."""
    all_ = [case(k, round(0.1 * (k % 7 + 1), 1)) for k in range(40)]
    keys = [all_[choice.index].key for choice in rank(all_, LIMITS)]
    for seed in range(3):
        mixed = [all_[k] for k in np.random.default_rng(seed).permutation(40)]
        assert [mixed[choice.index].key for choice in rank(mixed, LIMITS)] == keys


def test_the_audit_is_drawn_from_what_was_not_chosen_with_a_known_chance():
    """No audited one was chosen; the chance is that which spends the audit's share, on average."""
    all_ = [case(k) for k in range(400)]
    limits = RankConfig(budget=200.0, audit_share=0.25)
    spent, draws = [], []
    for seed in range(30):
        choices = rank(all_, RankConfig(budget=200.0, audit_share=0.25, seed=seed))
        audit = [choice for choice in choices if choice.audit]
        taken = {choice.index for choice in choices if not choice.audit}
        assert not taken & {choice.index for choice in audit}
        assert len({choice.propensity for choice in audit}) <= 1
        spent.append(sum(choice.cost for choice in audit))
        draws.append({choice.index for choice in audit})
    assert np.mean(spent) == pytest.approx(limits.budget * 0.25, rel=0.2)
    assert len(set.union(*draws)) > 100


def test_recall_is_estimated_without_bias():
    """Over many seeds the estimate's misses are those that there are, whatever the ranking passed over."""
    all_ = [case(k) for k in range(300)]
    real = {k for k in range(300) if all_[k].finding.severity > 0.5}
    misses = []
    for seed in range(60):
        choices = rank(all_, RankConfig(budget=400.0, audit_share=0.25, seed=seed))
        looked = [Looked(choice, choice.index in real) for choice in choices]
        hits = sum(one.hit and not one.choice.audit for one in looked)
        estimate = recall(looked)
        misses.append(hits / estimate - hits)
    truth = len(real) - hits
    assert truth > 50
    assert np.mean(misses) == pytest.approx(truth, rel=0.1)


def test_recall_of_nothing_is_not_known():
    """Without a hit there is no estimate; with hits among the chosen alone it is 1."""
    choices = rank([case(1)], LIMITS)
    assert recall([Looked(choices[0], hit=False)]) is None
    assert recall([Looked(choices[0], hit=True)]) == 1.0


def test_only_so_many_candidates_are_looked_at():
    """The least valuable beyond the limit are not chosen; the audit can still draw them."""
    all_ = [case(k, 0.1 + 0.01 * k) for k in range(50)]
    chosen = rank(all_, RankConfig(budget=1000.0, audit_share=0.5, candidates_max=5))
    assert {c.index for c in chosen if not c.audit} == set(range(45, 50))
    assert any(c.audit for c in chosen)


def test_a_value_that_is_no_number_is_refused():
    """NaN would sort anywhere."""
    with pytest.raises(InputError, match="log-1"):
        rank([case(1, float("nan"))], LIMITS)


def test_nothing_to_rank():
    """No candidates, no choices."""
    assert rank([], LIMITS) == []


def test_a_scene_costs_its_seconds_and_what_is_around_it():
    """Eleven frames of a log in fifths of a second, 3 s before, 4 s after, and a fixed part."""
    one = Candidate(case(1, 0.5, first=10, last=20).finding, "log", 0.2)
    assert cost(one, RankConfig(fixed_cost=1.5, before_s=3.0, after_s=4.0)) == pytest.approx(1.5 + 3.0 + 2.2 + 4.0)


def test_the_chance_of_the_audit_is_its_share_of_what_is_left():
    """Spent on average is what the audit may spend; each is drawn at most once."""
    all_ = [case(k) for k in range(200)]
    limits = RankConfig(budget=100.0, audit_share=0.3)
    chosen = rank(all_, limits)
    left = {k for k in range(200)} - {one.index for one in chosen if not one.audit}
    expected = 0.3 * 100.0 / sum(cost(all_[k], limits) for k in left)
    drawn = [one for one in chosen if one.audit]
    assert drawn
    assert [one.propensity for one in drawn] == pytest.approx([expected] * len(drawn))
    assert {one.propensity for one in chosen if not one.audit} == {1.0}
    assert sum(one.cost for one in chosen if not one.audit) <= 70.0
    few = rank(all_[:12], RankConfig(budget=1000.0, audit_share=0.99))
    assert [one.propensity for one in few if one.audit] == [1.0] * sum(one.audit for one in few)
    assert sorted(one.index for one in few) == list(range(12))


def test_another_seed_draws_others_for_the_audit_and_chooses_the_same():
    """Only the draw depends on it."""
    all_ = [case(k) for k in range(300)]
    parts = [rank(all_, RankConfig(budget=200.0, audit_share=0.5, seed=seed)) for seed in (0, 1)]
    chosen, drawn = ([{one.index for one in part if one.audit is audit} for part in parts] for audit in (False, True))
    assert chosen[0] == chosen[1]
    assert drawn[0] != drawn[1]


def test_more_budget_never_takes_less():
    """What is chosen of equal costs with less is chosen with more, in the same order."""
    all_ = [case(k, actors=(k, 500 + k)) for k in range(50)]
    small, large = ([one.index for one in rank(all_, RankConfig(budget=b, audit_share=0.0))] for b in (50.0, 200.0))
    assert large[: len(small)] == small
    assert len(large) > len(small)


def test_nothing_is_spent_on_what_is_worth_nothing():
    """A finding of severity 0 is only ever drawn for the audit."""
    chosen = rank([case(1, 0.0), case(2, 0.5)], RankConfig(budget=1000.0, audit_share=0.0))
    assert [one.index for one in chosen] == [1]
