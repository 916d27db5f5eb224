import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from joulelab.analysis.posthoc import holm
from joulelab.analysis.rounding import without_noise
from joulelab.analysis.two_samples import EXACT_TO, rank_biserial, wilcoxon_p

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
    p = np.array([0.02, np.nan, 0.001, 0.3, 0.04, 0.9])
    known = ~np.isnan(p)

    adjusted = holm(p)

    np.testing.assert_allclose(adjusted[known], multipletests(p[known], method="holm")[1])
    assert np.isnan(adjusted[1])
    assert len(holm(np.array([]))) == 0
