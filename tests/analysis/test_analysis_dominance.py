import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from joulelab.analysis.two_samples import cliffs_delta, dominance, magnitude, separated_bound
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
