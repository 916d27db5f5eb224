"""The shift of paired differences, against brute force over every pattern of signs."""

import itertools
import math

import numpy as np
import pytest

from joulelab.analysis.two_samples import shift, wilcoxon_p


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
