"""Cliff's delta, Wilcoxon's test and the shift: published examples, R, and simulation."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from joulelab.analysis.posthoc import holm
from joulelab.analysis.rounding import without_noise
from joulelab.analysis.two_samples import (
    EXACT_TO,
    cliffs_delta,
    dominance,
    magnitude,
    rank_biserial,
    separated_bound,
    shift,
    wilcoxon_p,
)
from joulelab.errors import UsageError

# Hogarty and Kromrey (1999), the example of R's effsize.
TREATED = [10, 10, 20, 20, 20, 30, 30, 30, 40, 50]
CONTROL = [10, 20, 30, 40, 40, 50]


def pair_by_pair(x, y, variance):
    """Delta and its interval from the whole matrix of dominance."""
    d = np.sign(np.subtract.outer(y, x).T.astype(float))
    n, m = d.shape
    delta = d.mean()
    rows = ((d.mean(axis=1) - delta) ** 2).sum()
    columns = ((d.mean(axis=0) - delta) ** 2).sum()
    cells = ((d - delta) ** 2).sum()
    squared = variance(n, m, rows, columns, cells)
    t = stats.t.ppf(0.975, n + m - 2)
    reach = t * np.sqrt(squared) * np.sqrt((1 - delta**2) ** 2 + t**2 * squared)
    ends = [(delta - delta**3 + sign * reach) / (1 - delta**2 + t**2 * squared) for sign in (-1, 1)]
    return delta, ends


def unbiased(n, m, rows, columns, cells):
    return (m**2 * rows + n**2 * columns - cells) / (n * m * (n - 1) * (m - 1))


def consistent(n, m, rows, columns, cells):
    return (
        (m - 1) * rows / (n - 1) + (n - 1) * columns / (m - 1) + cells / ((n - 1) * (m - 1))
    ) / (n * m)


def test_the_published_example_has_its_delta_and_interval():
    # effsize 0.8.1: delta -0.25, interval -0.7265846 to 0.3890062, with the samples the other way.
    delta, ends = pair_by_pair(TREATED, CONTROL, unbiased)
    assert (delta, *ends) == pytest.approx((0.25, -0.3890062, 0.7265846), abs=1e-7)

    # The variance that is always positive differs a little, the rest is the same.
    found = cliffs_delta(TREATED, CONTROL)
    _, ends = pair_by_pair(TREATED, CONTROL, consistent)
    assert found.value == 0.25
    assert (found.low, found.high) == pytest.approx(ends)
    assert (found.low, found.high) == pytest.approx((-0.3890062, 0.7265846), abs=0.02)
    assert (found.n_first, found.n_second, found.magnitude) == (10, 6, "small")


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=12),
    st.lists(st.integers(0, 9), min_size=2, max_size=12),
)
def test_sorting_gives_what_comparing_pair_by_pair_gives(x, y):
    found = cliffs_delta(x, y)
    turned = cliffs_delta(y, x)

    assert found.value == pytest.approx(
        2 * stats.mannwhitneyu(y, x).statistic / (len(x) * len(y)) - 1
    )
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    if abs(found.value) < 1:
        delta, ends = pair_by_pair(x, y, consistent)
        assert (found.value, found.low, found.high) == pytest.approx((delta, *ends))


def test_samples_that_do_not_overlap_are_not_taken_to_be_certain():
    few, many = cliffs_delta([1, 2, 3, 4], range(10, 30)), cliffs_delta(range(40), range(50, 99))

    assert (few.value, few.high) == (1.0, 1.0)
    assert few.low == pytest.approx((4 - 1.959964**2) / (4 + 1.959964**2))
    assert few.low < many.low < 1
    down = cliffs_delta(range(10, 30), [1, 2, 3, 4])
    assert (down.low, down.high) == (-1.0, -few.low)
    # Wilson's lower bound of 4 of 4, from shares to the scale of -1 to 1.
    wilson = stats.binomtest(4, 4).proportion_ci(method="wilson").low
    assert separated_bound(4) == pytest.approx(2 * wilson - 1)


def test_equal_samples_have_a_delta_of_0_that_is_sure_to_be_so():
    found = cliffs_delta([5.0] * 4, [5.0] * 3)

    assert (found.value, found.low, found.high, found.magnitude) == (0, 0, 0, "negligible")


def test_the_interval_holds_delta_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = 2 * stats.norm.cdf(0.5 / np.sqrt(2)) - 1  # P(y > x) - P(y < x), y shifted by 0.5
    found = [cliffs_delta(rng.normal(size=20), rng.normal(0.5, size=15)) for _ in range(1500)]

    held = np.mean([one.low <= true <= one.high for one in found])

    assert 0.95 <= held < 0.985


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [([], [1.0], "a sample has no value"), ([2.0], [1.0, 3.0], "a sample has fewer than 2 values")],
)
def test_samples_too_small_for_an_interval_say_so(first, second, reason):
    found = cliffs_delta(first, second)

    assert found.reason == reason
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(found.value) == (not first)


def test_values_that_are_missing_are_refused():
    with pytest.raises(UsageError, match="finite"):
        cliffs_delta([1.0, np.nan], [1.0, 2.0])


@pytest.mark.parametrize(
    ("delta", "word"),
    [(0.1469, "negligible"), (0.147, "small"), (-0.33, "medium"), (0.474, "large"), (np.nan, "")],
)
def test_magnitudes_begin_at_their_thresholds(delta, word):
    assert magnitude(delta) == word


def test_every_pair_of_levels_has_a_row_and_missing_runs_are_counted():
    runs = pd.DataFrame(
        {
            "layers": [7, 3, 5, 3, 5, 7, None, 3],
            "energy_net_j": [9.0, 1.0, 4.0, 2.0, 1.5, 8.0, 5.0, None],
        }
    )

    table = dominance(runs, "layers")

    assert table[["first", "second"]].to_numpy().tolist() == [[3, 5], [3, 7], [5, 7]]
    assert table["delta"].tolist() == [0.5, 1.0, 1.0]
    assert table["n_first"].tolist() == [2, 2, 2]
    assert (table["dropped"] == 2).all()
    assert dominance(runs.assign(layers=3), "layers").empty


def test_four_convolutions_always_take_more_than_one(architecture):
    conv = dominance(architecture, "conv_layers").iloc[0]
    relu = dominance(architecture, "relu").iloc[0]

    assert (conv["first"], conv["second"], conv["delta"]) == (1, 4, 1.0)
    assert 0.99 < conv["low"] < conv["high"] == 1
    u = stats.mannwhitneyu(
        *(architecture.loc[architecture["relu"] == on, "energy_net_j"] for on in (True, False))
    )
    assert relu["delta"] == pytest.approx(2 * u.statistic / 1536**2 - 1)
    assert relu["magnitude"] == "small"


def test_thousands_of_runs_hold_the_true_delta():
    rng = np.random.default_rng(0)

    found = cliffs_delta(rng.normal(size=12_288), rng.normal(0.1, size=12_288))

    assert found.low < 2 * stats.norm.cdf(0.1 / np.sqrt(2)) - 1 < found.high


# Hollander and Wolfe (1973), 29f: depression of nine patients at two visits, as in R's wilcox.test.
FIRST = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_the_depression_data_give_the_p_of_r_and_the_effect_of_effectsize():
    # R: V = 40, one-sided p = 0.01953. effectsize: r = 0.78.
    assert wilcoxon_p(FIRST - SECOND) == pytest.approx(2 * 0.01953, abs=1e-5)
    assert rank_biserial(FIRST - SECOND)[0] == pytest.approx(0.78, abs=0.005)


def test_the_interval_is_that_of_the_signs_of_all_pairs_with_ties():
    differences = np.array([-1.0, 1.0, 2.0, 2.0, -3.0, 4.0, 5.5, 7.0])
    signs = np.sign(differences[:, None] + differences)
    value, low, high = rank_biserial(differences)
    assert value == pytest.approx(signs[np.triu_indices(8)].mean())
    t_squared = stats.t.ppf(0.975, 7) ** 2 * 4 * signs.mean(axis=1).var(ddof=1) / 8
    reach = np.sqrt(t_squared * ((1 - value**2) ** 2 + t_squared))
    ends = (value - value**3 + np.array([-reach, reach])) / (1 - value**2 + t_squared)
    assert (low, high) == pytest.approx(tuple(ends))


@pytest.mark.parametrize(("n", "shift"), [(8, 0.0), (20, 1.0)])
def test_the_interval_holds_the_truth_as_often_as_it_says(n, shift):
    random, truth = np.random.default_rng(n), 2 * stats.norm.cdf(np.sqrt(2) * shift) - 1
    held = 0
    for _ in range(300):
        _, low, high = rank_biserial(random.normal(shift, 1.0, n))
        held += low <= truth <= high
    assert held / 300 > 0.90


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
def test_the_p_is_that_of_all_patterns_of_signs_with_ties_and_zeros(differences):
    values = np.array([d for d in differences if d], float)
    found = wilcoxon_p(np.array(differences, float))

    if not len(values):
        assert found == 1
        return
    ranks = stats.rankdata(np.abs(values))
    patterns = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
    sums = np.abs(patterns @ ranks)
    assert found == pytest.approx(np.mean(sums >= abs((ranks * np.sign(values)).sum()) - 1e-9))


@pytest.mark.parametrize("n", [40, EXACT_TO])
def test_many_differences_have_scipys_exact_p(n):
    differences = np.random.default_rng(n).normal(0.15, 1, n)

    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert wilcoxon_p(differences) == pytest.approx(expected)


def test_more_than_that_have_the_normal_approximation():
    differences = np.random.default_rng(0).normal(0.1, 1, EXACT_TO + 1)

    assert wilcoxon_p(differences) == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue, abs=0.002
    )


def test_differences_of_one_sign_are_not_taken_to_be_certain():
    value, low, high = rank_biserial(np.arange(1.0, 19.0))

    assert (value, high) == (1, 1)
    assert low == pytest.approx((18 - 1.959964**2) / (18 + 1.959964**2))
    assert rank_biserial(-np.arange(1.0, 19.0)) == (-1, -1, -low)
    assert np.isnan(rank_biserial(np.zeros(5))).all()


def test_differences_that_are_equal_but_for_rounding_are_tied():
    assert wilcoxon_p(np.array([0.1 + 0.2 - 0.3, 1.0, 1.0, 1.0])) == 0.25
    assert len(np.unique(without_noise(np.array([0.1 + 0.2, 0.3, 1500.0])))) == 2
    np.testing.assert_array_equal(without_noise(np.array([1000.5, 1000.25])), [1000.5, 1000.25])
    np.testing.assert_array_equal(without_noise(np.zeros(2)), [0, 0])


def test_holms_adjustment_is_that_of_statsmodels_and_passes_over_what_is_missing():
    from statsmodels.stats.multitest import multipletests

    p = np.array([0.02, np.nan, 0.001, 0.3, 0.04, 0.9])
    known = ~np.isnan(p)

    adjusted = holm(p)

    np.testing.assert_allclose(adjusted[known], multipletests(p[known], method="holm")[1])
    assert np.isnan(adjusted[1])
    assert len(holm(np.array([]))) == 0


def accepted(differences, confidence):
    """Ends of the shifts that a signed-rank test over all 2^n patterns does not reject."""
    n = len(differences)
    sums = [
        sum(rank for rank, sign in zip(range(1, n + 1), signs, strict=True) if sign)
        for signs in itertools.product([0, 1], repeat=n)
    ]
    walsh = sorted((a + b) / 2 for i, a in enumerate(differences) for b in differences[i:])
    kept = []
    # The sum of ranks steps only at Walsh averages: look on both sides of each.
    for at in walsh:
        for moved in (at - 1e-7, at + 1e-7):
            left = differences - moved
            ranks = np.argsort(np.argsort(np.abs(left))) + 1
            w = int(ranks[left > 0].sum())
            p = min(1.0, 2 * min(np.mean(np.array(sums) <= w), np.mean(np.array(sums) >= w)))
            if p > 1 - confidence + 1e-9:
                kept.append(moved)
    return min(kept), max(kept)


@pytest.mark.parametrize("n", [6, 7, 9, 10])
def test_the_interval_is_the_shifts_that_the_test_does_not_reject(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    found = shift(differences)
    low, high = accepted(differences, 0.95)
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)


def test_the_estimate_is_the_median_of_all_walsh_averages():
    differences = np.array([0.3, -0.2, 1.0, 0.7, 0.1])
    walsh = [
        (a + b) / 2 for a, b in itertools.combinations_with_replacement(differences.tolist(), 2)
    ]
    assert shift(differences).value == pytest.approx(np.median(walsh))


@pytest.mark.parametrize("seed", range(8))
def test_the_bounds_leave_out_0_exactly_where_the_test_rejects_it(seed):
    differences = np.random.default_rng(seed).normal(0.6, 1, 10)
    found = shift(differences)
    assert (found.low > 0 or found.high < 0) == (wilcoxon_p(differences) < 0.05)


def test_five_differences_are_too_few_for_an_interval_and_six_are_not():
    five = shift(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert five.value == 3
    assert math.isnan(five.low)
    assert math.isnan(five.high)
    six = shift(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert (six.low, six.high) == (1, 6)


def test_one_difference_is_its_own_shift():
    found = shift(np.array([0.25]))
    assert (found.value, found.n) == (0.25, 1)
    assert math.isnan(found.std)


def test_no_difference_is_an_error():
    with pytest.raises(ValueError, match="no difference"):
        shift(np.array([]))
