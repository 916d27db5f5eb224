import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from joulelab.analysis.kruskal import eta_squared, kruskal, magnitude, resampled_h
from joulelab.analysis.resampling import draw_counts
from joulelab.errors import UsageError

FACTORS = ["linear_layers", "conv_layers", "relu"]


def h_of_resamples(samples, resamples, rng):
    codes = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    return resampled_h(np.concatenate(samples), [codes], codes, resamples, rng)[:, 0]


def test_the_published_energies_give_table_iv_with_the_right_k(architecture):
    table = kruskal(architecture, FACTORS)

    assert table["factor"].tolist() == FACTORS
    assert table["h"].tolist() == pytest.approx([481.799, 2303.250, 176.545], abs=5e-4)
    assert table["eta_squared"].round(3).tolist() == [0.157, 0.750, 0.057]
    assert table["magnitude"].tolist() == ["large", "large", "small"]
    assert (table["df"] == 1).all()
    assert (table["n"] == 3072).all()
    assert (table["p"] < 0.001).all()


def test_with_the_k_of_the_paper_they_give_its_effect_sizes(architecture):
    right, printed = kruskal(architecture, FACTORS), kruskal(architecture, FACTORS, eta_k=8)

    assert printed["eta_squared"].round(3).tolist() == [0.155, 0.749, 0.055]
    assert printed["eta_k"].tolist() == [8, 8, 8]
    columns = ["h", "df", "p", "k"]
    pd.testing.assert_frame_equal(printed[columns], right[columns])


def test_h_with_ties_is_that_of_the_formula():
    # Ranks: a 1, 2.5, 2.5; b 4.5, 4.5; c 6, 7. R = 6, 9, 13; two ties of two, so
    # C = 1 - 12 / 336 and H = (12 / 56 * (12 + 40.5 + 84.5) - 24) / C = 5.55556.
    runs = pd.DataFrame({"factor": list("aaabbcc"), "energy_net_j": [1, 2, 2, 3, 3, 4, 5]})

    found = kruskal(runs, "factor").iloc[0]

    assert found["h"] == pytest.approx((12 / 56 * 137 - 24) / (1 - 12 / 336))
    assert (found["df"], found["k"], found["n"]) == (2, 3, 7)
    assert found["p"] == pytest.approx(stats.chi2.sf(found["h"], 2))
    assert found["eta_squared"] == pytest.approx((found["h"] - 2) / 4)


def test_runs_without_energy_or_level_are_dropped_and_counted():
    runs = pd.DataFrame(
        {"relu": ["off", "off", "on", "on", None], "energy_net_j": [1.0, 2.0, 3.0, np.nan, 5.0]}
    )

    found = kruskal(runs, "relu").iloc[0]

    assert (found["n"], found["dropped"]) == (3, 2)
    assert found["h"] == pytest.approx(stats.kruskal([1, 2], [3]).statistic)


@pytest.mark.parametrize(
    ("levels", "energies", "reason"),
    [
        ([1, 1, 1], [1.0, 2.0, 3.0], "the factor has a single level"),
        ([1, 1, 2], [5.0, 5.0, 5.0], "all values are the same"),
        ([1, 2, 2], [np.nan] * 3, "no run has an energy and a level"),
    ],
)
def test_an_undefined_test_has_a_row_with_the_reason(levels, energies, reason):
    table = kruskal(pd.DataFrame({"factor": levels, "energy_net_j": energies}), ["factor"])
    row = table.iloc[0]

    assert row["reason"] == reason
    assert row[["h", "p", "eta_squared", "df"]].isna().all()
    assert row["magnitude"] == ""


def test_eta_squared_needs_more_runs_than_levels():
    row = kruskal(pd.DataFrame({"factor": [1, 2, 3], "energy_net_j": [1.0, 2.0, 3.0]}), "factor")

    assert row["h"].notna().all()
    assert row["reason"].tolist() == ["eta squared needs more than 3 runs"]
    assert np.isnan(eta_squared(2.0, n=3, k=3))


@pytest.mark.parametrize(
    ("effect", "word"),
    [(0.0099, "negligible"), (0.01, "small"), (0.06, "medium"), (0.14, "large"), (np.nan, "")],
)
def test_magnitudes_begin_at_their_thresholds(effect, word):
    assert magnitude(effect) == word


def test_an_absent_factor_is_an_error():
    with pytest.raises(UsageError, match="conv_layers"):
        kruskal(pd.DataFrame({"energy_net_j": [1.0]}), "conv_layers")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6), min_size=2, max_size=4).filter(
        lambda samples: len({value for sample in samples for value in sample}) > 1
    )
)
def test_h_and_p_are_scipys_and_do_not_depend_on_the_order_of_runs(samples):
    runs = pd.DataFrame(
        [(level, float(value)) for level, sample in enumerate(samples) for value in sample],
        columns=["factor", "energy_net_j"],
    ).sample(frac=1, random_state=1)
    expected = stats.kruskal(*samples)

    found = kruskal(runs, "factor").iloc[0]

    assert found["h"] == pytest.approx(expected.statistic, abs=1e-9)
    assert found["p"] == pytest.approx(expected.pvalue)


def test_epsilon_squared_is_h_over_n_minus_one(architecture):
    found = kruskal(architecture, FACTORS)

    np.testing.assert_allclose(found["epsilon_squared"], found["h"] / 3071)
    assert found["epsilon_squared"].round(3).tolist() == [0.157, 0.750, 0.057]


def test_without_resamples_there_are_no_intervals():
    runs = pd.DataFrame({"relu": [0, 0, 1, 1], "energy_net_j": [1.0, 2.0, 3.0, 4.0]})

    found = kruskal(runs, "relu")

    assert found[["eta_low", "eta_high", "epsilon_low", "epsilon_high"]].isna().all(axis=None)
    assert found["reason"].tolist() == [""]


def test_h_of_a_resample_is_scipys_of_the_values_drawn_with_the_ties_that_drawing_makes():
    samples = [np.array([5.0, 1.0, 2.0, 2.0]), np.array([2.0, 7.0]), np.array([3.0, 1.0, 9.0])]
    rng, again = np.random.default_rng(3), np.random.default_rng(3)

    found = h_of_resamples(samples, 50, rng)

    # The same draws by hand: counts are of the places of the values among all, sorted.
    places = np.split(np.argsort(np.argsort(np.concatenate(samples), kind="stable")), [4, 6])
    expected = []
    for row in draw_counts(again, 50, places, 9).astype(int):
        drawn = [np.repeat(s, row[p]) for s, p in zip(samples, places, strict=True)]
        expected.append(stats.kruskal(*drawn).statistic)
    np.testing.assert_allclose(found, expected)


def test_a_resample_in_which_all_values_are_the_same_has_no_statistic():
    h = h_of_resamples([np.array([1.0, 2.0]), np.array([1.0, 2.0])], 200, np.random.default_rng(0))
    assert 0 < np.isnan(h).sum() < 100  # one in eight


def test_the_interval_is_that_of_a_plain_bootstrap_and_repeats_with_its_seed(architecture):
    few = architecture.iloc[::16]
    rng = np.random.default_rng(1)
    samples = [few.loc[few["relu"] == on, "energy_net_j"].to_numpy() for on in (False, True)]
    plain = [
        eta_squared(stats.kruskal(*(rng.choice(s, len(s)) for s in samples)).statistic, len(few), 2)
        for _ in range(800)
    ]

    found = kruskal(few, "relu", resamples=2000).iloc[0]

    assert [found["eta_low"], found["eta_high"]] == pytest.approx(
        np.quantile(plain, [0.025, 0.975]), abs=0.02
    )
    assert found["eta_low"] < found["eta_squared"] < found["eta_high"]
    columns = ["linear_layers", "relu"]
    again = kruskal(few, columns, resamples=2000).iloc[1]
    assert (again["eta_low"], again["eta_high"]) == (found["eta_low"], found["eta_high"])
    other = kruskal(few, "relu", resamples=2000, seed=1).iloc[0]
    assert other["eta_low"] != found["eta_low"]


def test_levels_that_do_not_overlap_have_no_interval_and_are_said_to_be_separate(architecture):
    found = kruskal(architecture, ["conv_layers", "relu"], resamples=50)
    assert found["separate"].tolist() == [True, False]
    assert found["eta_low"].isna().tolist() == [True, False]
    few = pd.DataFrame({"conv": [1] * 2 + [4] * 2, "energy_net_j": [1.0, 2.0, 2.0, 3.0]})
    assert not kruskal(few, "conv")["separate"][0], "they touch"


def test_many_levels_take_memory_by_their_number_and_not_by_its_square():
    def peak(n):
        runs = pd.DataFrame({"round": np.arange(n) // 2, "energy_net_j": np.arange(n) % 97.0})
        tracemalloc.start()
        kruskal(runs, "round", resamples=20)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4_000) < 6 * peak(1_000)


def test_negative_resamples_are_refused():
    with pytest.raises(UsageError, match="-1 resamples"):
        kruskal(pd.DataFrame({"relu": [0, 1], "energy_net_j": [1.0, 2.0]}), "relu", resamples=-1)


def test_resamples_of_a_factor_that_does_nothing_lie_as_much_too_high_as_the_docstring_says():
    rng = np.random.default_rng(0)
    n, k, above = 200, 4, []
    for _ in range(40):
        samples = list(rng.normal(size=(k, n // k)))
        h = stats.kruskal(*samples).statistic
        above.append((h_of_resamples(samples, 200, rng).mean() - h) / (n - k))

    assert np.mean(above) == pytest.approx((k - 1) / (n - k), rel=0.1)
