"""Means and ratios with confidence intervals, against scipy, by hand and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from joulelab.analysis.comparison import (
    difference_interval,
    mean_interval,
    ratio_interval,
    ratio_of_means,
    repetitions_to_tell,
)

JOULES = (412.5, 398.1, 405.0, 421.7, 409.9)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_of_a_mean_is_that_of_students_t_test(confidence):
    ours = mean_interval(JOULES, confidence)
    theirs = stats.ttest_1samp(JOULES, 0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.value == pytest.approx(np.mean(JOULES))
    assert ours.std == pytest.approx(np.std(JOULES, ddof=1))
    assert (ours.n, ours.confidence) == (5, confidence)
    assert ours.half_width == pytest.approx((theirs.high - theirs.low) / 2)


def test_the_interval_of_a_mean_by_hand():
    # 1, 2, 3: s = 1, t(2) at 95 % = 4.3027, s / sqrt(3) = 0.57735
    interval = mean_interval([1, 2, 3])
    assert interval.value == 2
    assert interval.half_width == pytest.approx(4.3027 * 0.57735, rel=1e-4)


def test_one_value_has_a_mean_and_no_interval():
    interval = mean_interval([7.5])
    assert (interval.value, interval.n) == (7.5, 1)
    assert all(math.isnan(each) for each in (interval.low, interval.high, interval.std))
    assert math.isnan(interval.half_width)


def test_one_pair_has_a_ratio_and_no_interval():
    interval = ratio_interval([30], [20])
    assert interval.value == pytest.approx(1.5)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_values_that_do_not_scatter_have_an_interval_of_no_width():
    interval = mean_interval([4.0] * 6)
    assert (interval.low, interval.value, interval.high) == (4, 4, 4)


def test_a_small_scatter_upon_a_large_value_is_not_lost():
    interval = mean_interval([1e9 + 1, 1e9 + 2, 1e9 + 3])
    assert interval.std == pytest.approx(1)


def test_the_ratio_of_pairs_by_hand():
    # ratios 2, 2, 4: logarithms 1, 1, 2 in units of ln 2; mean 4/3, s 0.57735, s / sqrt(3) = 1/3
    interval = ratio_interval([20, 4, 12], [10, 2, 3])
    assert interval.value == pytest.approx(2 ** (4 / 3))
    assert interval.std == pytest.approx(math.sqrt(1 / 3) * math.log(2))
    assert interval.low == pytest.approx(2 ** (4 / 3 - 4.302653 / 3))
    assert interval.high == pytest.approx(2 ** (4 / 3 + 4.302653 / 3))
    assert interval.n == 3


def test_the_ratio_the_other_way_round_is_the_inverse():
    first, second = (220, 231, 219, 240), (110, 100, 108, 130)
    ours, inverse = ratio_interval(first, second, 0.9), ratio_interval(second, first, 0.9)
    assert inverse.value == pytest.approx(1 / ours.value)
    assert inverse.low == pytest.approx(1 / ours.high)
    assert inverse.high == pytest.approx(1 / ours.low)
    assert inverse.std == pytest.approx(ours.std)


def test_what_a_block_shares_does_not_widen_the_interval():
    warmer = np.array([1.0, 1.3, 0.8, 1.1])
    interval = ratio_interval(200 * warmer, 100 * warmer)
    assert (interval.low, interval.high) == pytest.approx((2, 2))


def test_values_of_very_different_size_have_a_ratio():
    assert ratio_interval([1e-150], [1e150]).value == pytest.approx(1e-300)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 2], [1], "2 and 1 values cannot be paired"),
        ([], [], "no value"),
        ([1, 0], [1, 1], "positive"),
        ([1, 1], [1, -3], "positive"),
        ([1, math.nan], [1, 1], "positive"),
        ([1, 1], [1, math.inf], "positive"),
    ],
)
def test_what_has_no_ratio_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(first, second)


@pytest.mark.parametrize("values", [[1, math.nan], [math.inf, 1]])
def test_a_mean_of_what_is_unknown_is_refused(values):
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no value"):
        mean_interval([])


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_a_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval(JOULES, confidence)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    chance = np.random.default_rng(20230321)
    trials, truth = 2000, 1.25
    drift = chance.normal(0, 0.2, (trials, 5))
    second = np.exp(4 + drift + chance.normal(0, 0.05, (trials, 5)))
    first = truth * np.exp(4 + drift + chance.normal(0, 0.05, (trials, 5)))
    intervals = [ratio_interval(a, b) for a, b in zip(first, second, strict=True)]
    ratios = np.mean([one.low <= truth <= one.high for one in intervals])
    means = np.mean(
        [one.low <= 4 <= one.high for one in map(mean_interval, chance.normal(4, 3, (trials, 4)))]
    )
    # Of 2,000 trials, 95 % within four standard errors: 0.95 +- 0.0195.
    assert ratios == pytest.approx(0.95, abs=0.0195)
    assert means == pytest.approx(0.95, abs=0.0195)


OTHERS = (380.2, 391.0, 402.4)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_unpaired_difference_is_that_of_welchs_test(confidence):
    ours = difference_interval(JOULES, OTHERS, confidence)
    test = stats.ttest_ind(JOULES, OTHERS, equal_var=False)
    theirs = test.confidence_interval(confidence)

    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert (ours.df, ours.p) == pytest.approx((test.df, test.pvalue))
    assert ours.value == pytest.approx(np.mean(JOULES) - np.mean(OTHERS))
    assert (ours.n_first, ours.n_second, ours.confidence) == (5, 3, confidence)
    assert ours.half_width == pytest.approx((ours.high - ours.low) / 2)
    turned = difference_interval(OTHERS, JOULES, confidence)
    assert (turned.low, turned.high) == pytest.approx((-ours.high, -ours.low))


def test_the_sleep_data_give_the_interval_that_r_prints():
    # Student (1908); R: t.test(extra ~ group, data = sleep): -3.3654832 to 0.2054832, p 0.07939.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

    found = difference_interval(first, second)

    assert (found.low, found.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-7)
    assert (found.p, found.df) == pytest.approx((0.07939, 17.776), abs=1e-3)


def test_a_ratio_of_means_is_welch_on_logarithms_and_turns_over():
    ours = ratio_of_means(JOULES, OTHERS)
    theirs = stats.ttest_ind(np.log(JOULES), np.log(OTHERS), equal_var=False)

    assert math.log(ours.low) == pytest.approx(theirs.confidence_interval().low)
    assert ours.value == pytest.approx(stats.gmean(JOULES) / stats.gmean(OTHERS))
    turned = ratio_of_means(OTHERS, JOULES)
    assert (turned.low, turned.high) == pytest.approx((1 / ours.high, 1 / ours.low))
    assert turned.p == pytest.approx(ours.p)


def test_unpaired_samples_without_scatter_or_of_one_value_have_no_test():
    same, single = difference_interval([5.0, 5.0], [3.0, 3.0]), difference_interval([5.0], [1, 2])

    assert (same.value, same.low, same.high) == (2, 2, 2)
    assert np.isnan([same.p, same.df]).all()
    assert single.value == 3.5
    assert np.isnan([single.low, single.high, single.p]).all()


def test_tiny_variances_have_degrees_of_freedom():
    # Their squares are below the smallest float.
    small = difference_interval([1e-100, 2e-100, 3e-100], [5e-100, 7e-100])
    large = difference_interval([1.0, 2.0, 3.0], [5.0, 7.0])

    assert (small.df, small.p) == pytest.approx((large.df, large.p))


def test_a_ratio_of_wild_values_has_an_end_at_infinity():
    assert ratio_of_means([1e-300, 1e300], [1.0, 2.0]).high == math.inf
    assert ratio_interval([1e-300, 1e300], [1.0, 1.0]).high == math.inf


@pytest.mark.parametrize("values", [[1.0, 0.0], [1.0, -2.0], [math.nan, 1.0]])
def test_a_ratio_of_means_needs_positive_values(values):
    with pytest.raises(ValueError, match="positive"):
        ratio_of_means(values, [1.0, 2.0])


def test_so_many_repetitions_tell_a_difference_four_times_in_five():
    random = np.random.default_rng(7)
    base = np.array([-1.0, 0.0, 1.0])
    needed = repetitions_to_tell(np.exp(0.05 * base), np.exp(0.04 + 0.05 * base))
    told = 0
    for _ in range(400):
        first, second = np.exp(random.normal([[0.0], [0.04]], 0.05, (2, needed)))
        ratio = ratio_of_means(list(second), list(first))
        told += ratio.low > 1
    assert 0.74 < told / 400 < 0.86
    assert repetitions_to_tell([1.0], [2.0, 3.0]) is None
    assert repetitions_to_tell([1.0, 2.0], [2.0, 1.0]) is None
