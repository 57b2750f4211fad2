"""Anytime-valid statistics: coverage at every look, known values, power, and hostile input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.evidence import (
    BETS,
    BLOCK_VALUES,
    RunningDifference,
    RunningInterval,
    WorseTest,
    confidence_sequence,
    difference_interval,
    difference_sequence,
    e_value_worse,
    e_value_worse_peak,
    share_difference,
    share_interval,
    share_intervals,
)

quick = settings(max_examples=40, deadline=None)

ALPHA = 0.05
differences = st.lists(st.floats(-1, 1), max_size=60)


def losses(rng, worse, better, count):
    """Paired differences of two 0/1 losses: +1 with chance `worse`, -1 with chance `better`."""
    return (rng.random(count) < worse) * 1.0 - (rng.random(count) < better) * 1.0


# --- WorseTest --------------------------------------------------------------------------------------


def test_no_difference_seen_is_no_evidence():
    """Before the first verdict the e-value is 1, neither for nor against."""
    assert e_value_worse([], 0.02) == 1.0
    assert e_value_worse_peak([], 0.02) == 1.0
    assert WorseTest(0.02).e_value == 1.0


def test_one_difference_gives_the_value_worked_out_by_hand():
    """After one +1 the mean capital is the mean of 1 + bet x (1 - tolerance) over the bets."""
    bets = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9]) / 1.5
    assert e_value_worse([1.0], 0.5) == pytest.approx((1 + bets * 0.5).mean())


@quick
@given(differences, st.floats(0, 1))
def test_stream_and_batch_agree(values, tolerance):
    """Fed one by one, WorseTest ends where the vectorised function does, with the same peak."""
    test = WorseTest(tolerance)
    for value in values:
        test.update(value)
    assert test.count == len(values)
    assert test.e_value == pytest.approx(e_value_worse(values, tolerance), rel=1e-9)
    assert test.peak == pytest.approx(e_value_worse_peak(values, tolerance), rel=1e-9)


@quick
@given(st.lists(st.floats(-1, 1), max_size=20), st.floats(0, 1))
def test_the_capital_is_what_a_gambler_would_have(values, tolerance):
    """Played out bet by bet with plain multiplication, the mean of the purses is the e-value."""
    purses = [1.0] * len(BETS)
    for value in values:
        purses = [
            purse * (1 + float(bet) / (1 + tolerance) * (value - tolerance))
            for purse, bet in zip(purses, BETS, strict=True)
        ]
        assert min(purses) > 0  # nobody can lose more than all
    assert e_value_worse(values, tolerance) == pytest.approx(sum(purses) / len(purses), rel=1e-9)


@quick
@given(differences, st.randoms(use_true_random=False))
def test_the_order_of_the_verdicts_does_not_matter(values, random):
    """The e-value at the end is the same in any order, so that nobody gains by choosing it."""
    shuffled = list(values)
    random.shuffle(shuffled)
    assert e_value_worse(shuffled, 0.02) == pytest.approx(e_value_worse(values, 0.02), rel=1e-9)


@quick
@given(differences, st.floats(0, 1), st.floats(0, 1))
def test_more_tolerance_is_never_more_evidence(values, one, other):
    """What is worse than a large tolerance is at least as clearly worse than a small one."""
    small, large = sorted((one, other))
    assert e_value_worse(values, large) <= e_value_worse(values, small) * (1 + 1e-9)


def test_a_candidate_at_the_tolerance_is_refused_at_most_alpha_of_the_time():
    """At the edge of H0 the peak over 300 looks reaches 20 in at most 5 % of 800 runs, with slack."""
    rng = np.random.default_rng(1)
    refused = sum(e_value_worse_peak(losses(rng, 0.07, 0.05, 300), 0.02) >= 1 / ALPHA for _ in range(800))
    assert refused / 800 <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / 800)


def test_the_mean_e_value_under_the_null_is_at_most_one():
    """An e-value is one because its expectation is: here where each example has its own mean."""
    rng = np.random.default_rng(2)
    chances = np.linspace(0.0, 0.04, 40)  # their average is the tolerance
    values = [e_value_worse((rng.random(40) < chances) * 1.0, 0.02) for _ in range(4000)]
    assert np.mean(values) <= 1.0 + 3 * np.std(values) / math.sqrt(len(values))


@pytest.mark.parametrize(("worse", "within"), [(0.2, 150), (0.3, 60), (0.6, 25), (1.0, 9)])
def test_a_worse_candidate_is_found_within_the_stated_number_of_verdicts(worse, within):
    """With 2 % of them better by luck, 9 of 10 runs show e >= 20 within this many verdicts."""
    rng = np.random.default_rng(3)
    found = sum(e_value_worse_peak(losses(rng, worse, 0.02, within), 0.02) >= 1 / ALPHA for _ in range(200))
    assert found >= 180


def test_a_better_candidate_never_looks_worse():
    """A candidate that only ever improves has an e-value below 1 and falling."""
    test = WorseTest(0.02)
    path = [test.update(-0.5) for _ in range(50)]
    assert path == sorted(path, reverse=True)
    assert path[-1] < 0.5


def test_endless_evidence_does_not_overflow():
    """A hundred thousand verdicts of the worst kind give a large finite number."""
    assert math.isfinite(e_value_worse(np.ones(100_000), 0.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.0001, -2.0])
def test_differences_out_of_bounds_are_refused(bad):
    """A NaN or an unscaled loss must raise: as a quiet number it would let anything pass."""
    with pytest.raises(InputError, match=r"differences\[1\]"):
        e_value_worse([0.0, bad], 0.02)
    with pytest.raises(InputError, match="difference"):
        WorseTest(0.02).update(bad)


@pytest.mark.parametrize("tolerance", [-0.1, 1.5, math.nan])
def test_a_tolerance_out_of_bounds_is_refused(tolerance):
    """Tolerances are shares of the loss."""
    with pytest.raises(InputError, match="tolerance"):
        WorseTest(tolerance)
    with pytest.raises(InputError, match="tolerance"):
        e_value_worse([0.0], tolerance)


# --- means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, n: (rng.random(n) < 0.1) * 1.0, 0.1),
        (lambda rng, n: rng.random(n), 0.5),
        (lambda rng, n: rng.beta(10, 1, n), 10 / 11),
    ],
    ids=["rare", "uniform", "high"],
)
def test_the_band_misses_the_mean_at_any_time_at_most_alpha(draw, mean):
    """Of 150 runs of 120 values, the true mean is ever outside in at most 5 %, with Monte Carlo slack."""
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(150):
        lower, upper = confidence_sequence(draw(rng, 120), ALPHA)
        missed += bool(((lower > mean) | (upper < mean)).any())
    assert missed / 150 <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / 150)


def test_the_band_is_tight_enough_to_be_of_use():
    """Uniform values: the band is at most 0.36, 0.19 and 0.08 wide after 30, 100 and 1000."""
    lower, upper = confidence_sequence(np.random.default_rng(5).random(1000), ALPHA)
    width = upper - lower
    assert width[29] <= 0.36
    assert width[99] <= 0.19
    assert width[999] <= 0.08


def test_values_that_hardly_vary_are_known_sooner():
    """The bets adapt to the spread: values within 0.02 of 0.3 have a band a quarter as wide as coin flips."""
    rng = np.random.default_rng(6)
    calm = confidence_sequence(0.29 + 0.02 * rng.random(200), ALPHA)
    coins = confidence_sequence((rng.random(200) < 0.3) * 1.0, ALPHA)
    assert calm[1][-1] - calm[0][-1] < (coins[1][-1] - coins[0][-1]) / 4


def test_running_and_whole_sequences_are_one():
    """A RunningInterval fed value by value shows the bounds of the sequence at every look, across blocks."""
    values = np.random.default_rng(7).random(BLOCK_VALUES + 3)
    lower, upper = confidence_sequence(values, ALPHA)
    running = RunningInterval(ALPHA)
    for i, value in enumerate(values):
        running.add(float(value))
        if i % 100 == 0:
            assert running.interval() == pytest.approx((lower[i], upper[i]), abs=0.0021)
    assert running.interval() == pytest.approx((lower[-1], upper[-1]), abs=0.0021)
    assert running.count == len(values)
    assert running.mean == pytest.approx(values.mean())


def test_nothing_seen_is_everything_possible():
    """Without a value the band is [0, 1] and a sequence has no entries."""
    running = RunningInterval(ALPHA)
    assert running.interval() == (0.0, 1.0)
    assert (running.count, running.mean) == (0, 0.5)
    assert [len(part) for part in confidence_sequence([], ALPHA)] == [0, 0]


@quick
@given(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=200))
def test_bounds_are_ordered_and_hold_the_mean(values):
    """Whatever comes, 0 <= lower <= upper <= 1, and the mean of identical values is inside."""
    lower, upper = confidence_sequence(values, ALPHA)
    assert (lower >= 0).all()
    assert (lower <= upper).all()
    assert (upper <= 1).all()
    if len(set(values)) == 1:
        assert lower[-1] - 1e-9 <= values[0] <= upper[-1] + 1e-9


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_values_out_of_bounds_are_refused(bad):
    """Values have to be scaled to [0, 1] by who knows their range."""
    with pytest.raises(InputError, match=r"values\[0\]"):
        confidence_sequence([bad], ALPHA)
    with pytest.raises(InputError, match="value"):
        RunningInterval(ALPHA).add(bad)
    with pytest.raises(InputError, match="before"):
        difference_sequence([bad], [0.5], ALPHA)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_an_alpha_that_is_no_chance_is_refused(alpha):
    """Never wrong and always wrong are no statements."""
    shares = (1, 2), (1, 2)
    for use in (RunningInterval, lambda a: share_interval(1, 2, a), lambda a: share_difference(*shares, a)):
        with pytest.raises(InputError, match="alpha"):
            use(alpha)


# --- differences ------------------------------------------------------------------------------------


def test_a_difference_is_covered_at_any_time():
    """Of 100 runs the true difference is ever outside in at most 5 %, with Monte Carlo slack."""
    rng = np.random.default_rng(8)
    missed = 0
    for _ in range(100):
        before, after = rng.random(40), rng.beta(3, 1, 40)
        lower, upper = difference_sequence(before, after, ALPHA)
        missed += bool(((lower > 0.25) | (upper < 0.25)).any())
    assert missed / 100 <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / 100)


def test_a_rise_is_proven_and_no_rise_is_not():
    """0.5 to 0.8 excludes 0 within 200 values; 0.5 to 0.5 does not in 1000."""
    rng = np.random.default_rng(9)
    before = (rng.random(300) < 0.5) * 1.0
    lower, _ = difference_sequence(before, (rng.random(200) < 0.8) * 1.0, ALPHA)
    assert lower[-1] > 0
    lower, upper = difference_sequence(before, (rng.random(1000) < 0.5) * 1.0, ALPHA)
    assert lower[-1] < 0 < upper[-1]


def test_a_difference_is_narrower_than_two_bands_apart():
    """Betting on both means at once beats the difference of two bands at half of alpha each."""
    rng = np.random.default_rng(10)
    before, after = rng.random(300), rng.random(300)
    lower, upper = difference_sequence(before, after, ALPHA)
    apart = [confidence_sequence(values, ALPHA / 2) for values in (before, after)]
    wide = sum(band[1][-1] - band[0][-1] for band in apart)
    assert upper[-1] - lower[-1] < 0.95 * wide


def test_values_without_spread_do_not_empty_the_difference():
    """Thousands of equal values leave a thin interval around their difference, not none."""
    lower, upper = difference_sequence(np.full(3000, 0.301), np.full(3000, 0.701), ALPHA)
    assert lower[-1] <= 0.4 <= upper[-1]
    assert upper[-1] - lower[-1] < 0.02


def test_the_interval_is_the_end_of_the_sequence_and_parts_make_the_whole():
    """One look at the end, one pass over all and values fed in parts give the same bounds."""
    rng = np.random.default_rng(13)
    before, after = rng.random(50), rng.random(BLOCK_VALUES + 30)
    lower, upper = difference_sequence(before, after, ALPHA)
    assert difference_interval(before, after, ALPHA) == pytest.approx((lower[-1], upper[-1]), abs=0.0041)
    running = RunningDifference(before, ALPHA)
    parts = [running.take(after[:7]), running.take(after[7:])]
    assert np.concatenate([part[0] for part in parts]) == pytest.approx(lower, abs=0.0041)
    assert np.concatenate([part[1] for part in parts]) == pytest.approx(upper, abs=0.0041)


def test_the_first_proof_is_where_the_sequence_first_excludes_zero():
    """Looking at blocks finds the very value that looking at each would, once a block ends in a proof."""
    rng = np.random.default_rng(14)
    before, after = (rng.random(200) < 0.4) * 1.0, (rng.random(160) < 0.9) * 1.0
    lower, upper = difference_sequence(before, after, ALPHA)
    each = int(np.flatnonzero((lower > 0) | (upper < 0))[0])
    running, found = RunningDifference(before, ALPHA), None
    for start in range(0, 160, 16):
        proof = running.first_proof(after[start : start + 16])
        if proof is not None:
            found = start + proof
            break
    assert found == each
    assert running.interval()[0] > 0


def test_no_values_prove_nothing():
    """An empty block has no first proof and leaves the interval as it was."""
    running = RunningDifference([0.5] * 20, ALPHA)
    before = running.interval()
    assert running.first_proof([]) is None
    assert running.interval() == before


def test_a_coarser_grid_is_wider_never_narrower():
    """Fewer candidate means cost less time and round further outwards."""
    rng = np.random.default_rng(15)
    before, after = rng.random(100), rng.random(100)
    fine, coarse = (difference_interval(before, after, ALPHA, points) for points in (499, 99))
    assert coarse[0] <= fine[0]
    assert fine[1] <= coarse[1]
    assert coarse[1] - coarse[0] <= fine[1] - fine[0] + 0.045


def test_a_difference_to_nothing_is_open():
    """With no value before, only what one band allows is known; with none after, there is no entry."""
    lower, upper = difference_sequence([], [0.5] * 50, ALPHA)
    assert lower[-1] < -0.3
    assert upper[-1] > 0.3
    assert len(difference_sequence([0.5], [], ALPHA)[0]) == 0


# --- shares -----------------------------------------------------------------------------------------


def test_the_share_band_is_where_the_mixture_meets_one_over_alpha():
    """Both ends of a band solve Beta(s + 1/2, f + 1/2) / Beta(1/2, 1/2) = p^s (1 - p)^f / alpha."""
    for p in share_interval(90, 100, ALPHA):
        log_m = math.lgamma(90.5) + math.lgamma(10.5) - math.lgamma(101) - math.log(math.pi)
        log_m -= 90 * math.log(p) + 10 * math.log1p(-p)
        assert log_m == pytest.approx(math.log(1 / ALPHA), abs=1e-6)


def test_known_share_bands():
    """Values that any change of the formula would move."""
    assert share_interval(0, 0, ALPHA) == (0.0, 1.0)
    assert share_interval(0, 1, ALPHA) == pytest.approx((0.0, 0.975), abs=1e-6)
    assert share_interval(1, 1, ALPHA) == pytest.approx((0.025, 1.0), abs=1e-6)
    assert share_interval(90, 100, ALPHA) == pytest.approx((0.7725, 0.9709), abs=1e-4)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_share_is_covered_at_any_time(share):
    """Of 300 runs of 30 looks, the true share is ever outside in at most 5 %, with slack."""
    rng = np.random.default_rng(11)
    hits = np.cumsum(rng.random((300, 300)) < share, axis=1)[:, 9::10]
    totals = np.broadcast_to(np.arange(10, 301, 10), hits.shape)
    lower, upper = share_intervals(hits.ravel(), totals.ravel(), ALPHA)
    outside = ((lower > share) | (upper < share)).reshape(hits.shape)
    assert outside.any(axis=1).mean() <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / 300)


def test_many_bands_at_once_are_the_single_ones():
    """A table's bands are those of its rows, with rows of nothing among them."""
    hits, totals = [0, 0, 5, 5, 90], [0, 3, 5, 9, 100]
    lower, upper = share_intervals(hits, totals, ALPHA)
    single = [share_interval(h, n, ALPHA) for h, n in zip(hits, totals, strict=True)]
    assert np.stack([lower, upper], axis=1) == pytest.approx(np.array(single))
    assert [len(part) for part in share_intervals([], [], ALPHA)] == [0, 0]


@quick
@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_band_holds_the_share_and_mirrors(hits, misses):
    """The band holds the share itself, and that of the misses is its mirror image."""
    total = hits + misses
    lower, upper = share_interval(hits, total, ALPHA)
    assert 0 <= lower <= (hits / total if total else 0.5) <= upper <= 1
    assert share_interval(misses, total, ALPHA) == pytest.approx((1 - upper, 1 - lower), abs=1e-6)


def test_ten_times_the_verdicts_give_a_narrower_band():
    """Bands shrink as verdicts come, at one and the same share."""
    bands = [share_interval(9 * n, 10 * n, ALPHA) for n in (1, 10, 100, 1000)]
    widths = [upper - lower for lower, upper in bands]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.025


def test_a_difference_of_shares_is_covered_and_proven():
    """80 of 100 to 196 of 200 is a rise; 80 of 100 to 83 of 100 is none that one may claim."""
    lower, upper = share_difference((80, 100), (196, 200), ALPHA)
    assert 0 < lower < 0.18 < upper
    lower, upper = share_difference((80, 100), (83, 100), ALPHA)
    assert lower < 0 < upper


def test_a_difference_of_shares_covers_the_truth():
    """Of 100 runs, 0.7 to 0.9 is outside the band at any of three looks in at most 5 %, with slack."""
    rng = np.random.default_rng(12)
    missed = 0
    for _ in range(100):
        before, after = np.cumsum(rng.random(200) < 0.7), np.cumsum(rng.random(200) < 0.9)
        looks = [share_difference((int(before[n]), n + 1), (int(after[n]), n + 1), ALPHA) for n in (20, 80, 199)]
        missed += not all(lower <= 0.2 <= upper for lower, upper in looks)
    assert missed / 100 <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / 100)


@quick
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_swapping_before_and_after_turns_the_sign(a, b, c, d):
    """The band of the other direction is the mirror image, and holds the difference seen."""
    before, after = (a, a + b), (c, c + d)
    lower, upper = share_difference(before, after, ALPHA)
    assert share_difference(after, before, ALPHA) == pytest.approx((-upper, -lower), abs=0.01)
    if before[1] and after[1]:
        assert lower - 1e-9 <= c / after[1] - a / before[1] <= upper + 1e-9


@pytest.mark.parametrize(("before", "after"), [((8, 10), (19, 20)), ((0, 5), (5, 5)), ((30, 60), (20, 60))])
def test_a_difference_of_shares_is_the_widest_of_all_pairs(before, after):
    """Against every pair of shares on a fine grid whose joint evidence is below 1/alpha."""

    def against(share, p):
        hits, misses = share[0], share[1] - share[0]
        log_m = math.lgamma(hits + 0.5) + math.lgamma(misses + 0.5) - math.lgamma(share[1] + 1)
        return log_m - math.log(math.pi) - hits * np.log(p) - misses * np.log1p(-p)

    p = np.linspace(0.0005, 0.9995, 1000)
    possible = against(before, p)[:, None] + against(after, p)[None, :] < -math.log(ALPHA)
    apart = (p[None, :] - p[:, None])[possible]
    lower, upper = share_difference(before, after, ALPHA)
    assert lower == pytest.approx(apart.min(), abs=0.008)
    assert upper == pytest.approx(apart.max(), abs=0.008)
    assert lower <= apart.min()
    assert upper >= apart.max()


def test_nothing_before_and_after_leaves_every_difference_possible():
    """Without a verdict on either side the band is [-1, 1]."""
    assert share_difference((0, 0), (0, 0), ALPHA) == (-1.0, 1.0)


@pytest.mark.parametrize("share", [(-1, 2), (3, 2)])
def test_shares_that_cannot_be_are_refused(share):
    """More hits than trials is a fault of the caller that must not become a band."""
    with pytest.raises(InputError, match="hits"):
        share_interval(*share, ALPHA)
    with pytest.raises(InputError, match="hits"):
        share_difference((1, 2), share, ALPHA)
