import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from joulelab.analysis.ranking import (
    DRAWN,
    EXACT,
    block_ranks,
    chi_square,
    iman_davenport,
    permutation_p,
    resampled_w,
    spread,
)

# Conover, "Practical Nonparametric Statistics" (1999), 5.8: 12 homeowners rank 4 grasses.
GRASSES = [
    [4, 3, 2, 1], [4, 2, 3, 1], [3, 1.5, 1.5, 4], [3, 1, 2, 4], [4, 2, 1, 3], [2, 2, 2, 4],
    [1, 3, 2, 4], [2, 4, 1, 3], [3.5, 1, 2, 3.5], [4, 1, 3, 2], [4, 2, 3, 1], [3.5, 1, 2, 3.5],
]  # fmt: skip


def test_the_grasses_of_conover_give_his_statistics():
    chi2 = float(chi_square(np.array(GRASSES))[0])
    f, p = iman_davenport(chi2, 12, 4)

    assert chi2 == pytest.approx(8.097, abs=5e-4)  # he prints 8.097 and 3.19
    assert f == pytest.approx(3.19, abs=5e-3)
    assert p == pytest.approx(0.0362, abs=5e-4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=4))
def test_the_exact_p_is_that_of_every_order_of_every_block(rows):
    ranks = block_ranks(np.array(rows, float))
    orders = [np.array(list(itertools.permutations(row))) for row in ranks]
    sums = [
        sum(block[i] for block, i in zip(orders, choice, strict=True))
        for choice in itertools.product(range(6), repeat=len(orders))
    ]
    distances = ((np.array(sums) - np.mean(sums[0])) ** 2).sum(axis=1)
    found = ((ranks.sum(axis=0) - np.mean(sums[0])) ** 2).sum()

    p, method = permutation_p(ranks)

    assert p == pytest.approx(np.mean(distances >= found - 1e-9))
    assert method == EXACT


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=2, max_size=8).filter(
        lambda rows: any(len(set(row)) > 1 for row in rows)
    )
)
def test_the_statistic_with_ties_is_scipys(rows):
    values = np.array(rows, float)

    expected = stats.friedmanchisquare(*values.T).statistic
    assert chi_square(block_ranks(values))[0] == pytest.approx(expected)


def test_too_many_orders_are_drawn_and_come_near_the_exact_p(monkeypatch):
    ranks = block_ranks(np.random.default_rng(4).normal([0, 0.3, 0.6], 1, (10, 3)))
    exact, _ = permutation_p(ranks)

    monkeypatch.setattr("joulelab.analysis.ranking.MOST_SUMS", 1)
    drawn, method = permutation_p(ranks, seed=7)

    assert method == DRAWN
    assert drawn == pytest.approx(exact, abs=0.012)
    assert permutation_p(ranks, seed=7)[0] == drawn


def test_seven_treatments_are_drawn():
    ranks = np.tile(np.arange(1.0, 8.0), (8, 1))

    assert permutation_p(ranks) == (1 / 20_001, DRAWN)


def test_ties_are_those_on_paper_and_best_is_rank_1():
    values = np.array([[0.1 + 0.2, 0.3, 0.5]])

    assert block_ranks(values).tolist() == [[2.5, 2.5, 1.0]]
    assert block_ranks(values, higher_is_better=False).tolist() == [[1.5, 1.5, 3.0]]


def test_counts_stand_for_blocks_that_are_there_several_times():
    ranks = np.array(GRASSES)
    counts = np.random.default_rng(0).integers(0, 3, size=(5, 12))

    expected = [chi_square(np.repeat(ranks, row, axis=0))[0] for row in counts]

    np.testing.assert_allclose(chi_square(ranks, counts.astype(float)), expected)


def test_resamples_of_blocks_that_agree_have_a_w_of_1_and_tied_ones_none():
    rng = np.random.default_rng(0)

    np.testing.assert_allclose(resampled_w(np.tile([1.0, 2, 3], (4, 1)), 20, rng), 1)
    assert np.isnan(resampled_w(np.full((4, 3), 2.0), 5, rng)).all()
    assert len(resampled_w(np.array(GRASSES), 0, rng)) == 0


def test_f_is_undefined_with_a_single_block_and_infinite_where_all_agree():
    assert np.isnan(iman_davenport(2.0, 1, 3)).all()
    assert iman_davenport(12.0, 6, 3) == (np.inf, 0.0)


def test_the_spread_of_sums_is_k_times_their_squared_distances():
    sums = np.array([[3, 5, 10], [6, 6, 6]])

    assert spread(sums).tolist() == [3 * (9 + 1 + 16), 0]


def test_of_hundreds_of_blocks_orders_are_drawn():
    ranks = block_ranks(np.random.default_rng(0).normal(size=(800, 3)))

    p, method = permutation_p(ranks)

    assert method == DRAWN
    assert p == pytest.approx(stats.chi2.sf(chi_square(ranks)[0], 2), abs=0.02)
