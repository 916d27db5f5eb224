import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from joulelab.analysis.ranking import (
    DRAWN,
    EXACT,
    block_ranks,
    chi_square,
    critical_difference,
    iman_davenport,
    permutation_p,
    rank_treatments,
    resampled_w,
    spread,
)
from joulelab.errors import UsageError

# Demsar (JMLR 7, 2006), Table 6: AUC of C4.5 and three variants of it over 14 data sets.
# He ranks the third of "voting" before the fourth, which his three digits show as equal.
VARIANTS = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
AUC = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]


def long(values, treatments):
    return pd.DataFrame(
        [
            (block, treatment, value)
            for block, row in enumerate(values)
            for treatment, value in zip(treatments, row, strict=True)
        ],
        columns=["block", "treatment", "value"],
    )


@pytest.fixture(scope="module")
def demsar():
    return rank_treatments(long(AUC, VARIANTS), "treatment", "block", "value")


def test_the_example_of_demsar_has_his_mean_ranks_and_statistics(demsar):
    ranks = demsar.treatments.set_index("treatment")["mean_rank"]

    assert ranks[VARIANTS].round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    assert demsar.treatments["treatment"].iloc[0] == "C4.5+m+cf"
    assert (demsar.blocks, demsar.dropped, demsar.df) == (14, 0, 3)
    # He prints 9.28 and 3.69, without the correction for ties.
    plain = 12 * 14 / 20 * ((ranks**2).sum() - 25)
    assert plain == pytest.approx(9.28, abs=0.01)
    # With it Matlab and R give:
    assert (demsar.chi2, demsar.p) == pytest.approx((10.2283464566929, 0.0167215803284414))
    assert demsar.critical_difference == pytest.approx(1.25, abs=0.005)


def test_the_statistics_are_those_of_scipy_and_scikit_posthocs(demsar):
    import scikit_posthocs

    expected = stats.friedmanchisquare(*np.transpose(AUC))
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(np.array(AUC))
    pairs = demsar.pairs.set_index(["first", "second"])

    assert (demsar.chi2, demsar.p) == pytest.approx((expected.statistic, expected.pvalue))
    f = 13 * demsar.chi2 / (14 * 3 - demsar.chi2)
    assert (demsar.f, demsar.p_f) == pytest.approx((f, stats.f.sf(f, 3, 39)))
    assert demsar.kendalls_w == pytest.approx(demsar.chi2 / 42)
    assert demsar.w_low < demsar.kendalls_w < demsar.w_high
    assert demsar.p_method == EXACT
    assert demsar.p_exact == pytest.approx(demsar.p, abs=0.01)
    for (a, b), row in pairs.iterrows():
        i, j = VARIANTS.index(a), VARIANTS.index(b)
        first, second = np.array(AUC)[:, i], np.array(AUC)[:, j]
        assert row["nemenyi_p"] == pytest.approx(nemenyi.iloc[i, j], abs=1e-6)
        assert row["wins_first"] == (first > second).sum()
        assert row["wins_second"] == (first < second).sum()
        assert row["ties"] == (first == second).sum()
    # Demsar: C4.5 against C4.5+m+cf differ by 1.18, less than the critical difference of 1.25.
    assert abs(pairs.loc[("C4.5", "C4.5+m+cf"), "mean_rank_difference"]) == pytest.approx(
        1.18, abs=0.005
    )


def test_the_signs_say_that_the_first_is_better():
    frame = long([[1.0, 2.0], [1.0, 3.0], [1.0, 1.5]], ["low", "high"])

    more = rank_treatments(frame, "treatment", "block", "value")
    less = rank_treatments(frame, "treatment", "block", "value", higher_is_better=False)

    (up,), (down,) = more.pairs.to_dict("records"), less.pairs.to_dict("records")
    assert (up["first"], up["mean_rank_difference"], up["effect"]) == ("high", -1.0, 1.0)
    assert (down["first"], down["mean_rank_difference"], down["effect"]) == ("high", 1.0, -1.0)
    assert (up["wins_first"], down["wins_second"], up["wilcoxon_p"]) == (3, 3, 0.25)
    assert more.treatments["treatment"].tolist() == ["high", "low"]
    assert less.treatments["treatment"].tolist() == ["low", "high"]


def test_blocks_that_lack_a_treatment_are_dropped_and_counted():
    frame = long([[1.0, 2.0, 3.0]] * 3 + [[1.0, np.nan, 3.0], [np.nan] * 3], list("abc"))

    found = rank_treatments(frame, "treatment", "block", "value")

    assert (found.blocks, found.dropped) == (3, 2)
    assert found.treatments.set_index("treatment")["n"].to_dict() == {"a": 4, "b": 3, "c": 4}
    assert (found.chi2, found.kendalls_w, found.f, found.p_f) == (6, 1, np.inf, 0)
    assert found.p_exact == pytest.approx(6 / 6**3)


def test_several_columns_make_a_block_and_several_rows_are_averaged():
    frame = pd.DataFrame(
        {
            "network": list("uuuvvvuv") * 2,
            "data": [1] * 8 + [2] * 8,
            "strategy": list("abcabcaa") * 2,
            "accuracy": [0.1, 0.5, 0.6, 0.1, 0.5, 0.6, 1.1, 0.7] * 2,
        }
    )
    before = frame.copy()

    found = rank_treatments(frame, "strategy", ["network", "data"], "accuracy")

    assert found.blocks == 4
    # "a" is 0.6 in block u, as good as "c", and 0.4 in block v.
    assert found.treatments.set_index("treatment")["mean_rank"].to_dict() == {
        "c": 1.25,
        "a": 2.25,
        "b": 2.5,
    }
    assert found.treatments["wins"].tolist() == [4, 2, 0]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("values", "treatments", "reason"),
    [
        ([[1.0], [2.0]], ["a"], "fewer than 2 treatments"),
        ([[1.0, 2.0]], ["a", "b"], "a single block has a value of every treatment"),
        ([[1.0, np.nan], [np.nan, 2.0]], ["a", "b"], "no block has a value of every treatment"),
        ([[1.0, 1.0], [2.0, 2.0]], ["a", "b"], "all treatments are tied in every block"),
    ],
)
def test_what_cannot_be_tested_has_a_reason(values, treatments, reason):
    found = rank_treatments(long(values, treatments), "treatment", "block", "value")

    assert found.reason == reason
    assert np.isnan([found.chi2, found.p, found.p_exact, found.kendalls_w, found.f]).all()
    assert found.df is None
    assert sorted(found.treatments["treatment"]) == treatments


def test_an_empty_frame_has_no_treatments():
    found = rank_treatments(long([], ["a", "b"]), "treatment", "block", "value")

    assert found.treatments.empty
    assert found.pairs.empty
    assert found.blocks == found.dropped == 0


def test_the_seed_decides_the_interval_and_nothing_else_does():
    values = np.random.default_rng(2).normal(size=(12, 5)) + np.arange(5) * 0.3
    frame = long(values, list("abcde"))
    one, same = (rank_treatments(frame, "treatment", "block", "value") for _ in range(2))
    other = rank_treatments(frame, "treatment", "block", "value", seed=1)

    assert (one.w_low, one.p_exact) == (same.w_low, same.p_exact)
    assert one.w_low != other.w_low
    assert one.p_exact == pytest.approx(other.p_exact, abs=0.01)
    none = rank_treatments(frame, "treatment", "block", "value", resamples=0)
    assert np.isnan(none.w_low)
    assert none.kendalls_w == one.kendalls_w


def test_a_treatment_cannot_be_its_own_block():
    with pytest.raises(UsageError, match="'treatment' cannot be compared"):
        rank_treatments(long([[1.0]], ["a"]), "treatment", ["treatment"], "value")


def test_the_critical_differences_are_those_of_demsars_table():
    q = [critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) for k in range(2, 7)]

    assert np.round(q, 3).tolist() == [1.960, 2.344, 2.569, 2.728, 2.850]
    assert critical_difference(2, 6, 0.9) == pytest.approx(1.645 * np.sqrt(1 / 6), abs=1e-3)


def test_the_strategies_of_the_paper_rank_as_their_accuracies_do(tuning):
    best = tuning.groupby(["network", "strategy", "hyperparameters"], as_index=False)[
        "accuracy"
    ].max()

    found = rank_treatments(best, "strategy", ["network", "hyperparameters"], "accuracy")

    assert found.treatments["treatment"].tolist() == ["bayesian", "random", "grid"]
    assert found.blocks == 6
    wide = best.pivot(index=["network", "hyperparameters"], columns="strategy", values="accuracy")
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*wide.to_numpy().T).statistic)
    pair = found.pairs.set_index(["first", "second"]).loc[("bayesian", "grid")]
    assert (pair["wins_first"], pair["wilcoxon_p"]) == (6, 2 / 2**6)


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


def test_of_hundreds_of_blocks_orders_are_drawn(monkeypatch):
    monkeypatch.setattr("joulelab.analysis.ranking.MOST_SUMS", 20_000)
    ranks = block_ranks(np.random.default_rng(0).normal(size=(200, 3)))

    p, method = permutation_p(ranks)

    assert method == DRAWN
    assert p == pytest.approx(stats.chi2.sf(chi_square(ranks)[0], 2), abs=0.02)
