"""Normality and equal variances."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.assumptions import NOTE, equal_variances, normality, qq
from joulelab.errors import UsageError


def test_the_published_energies_are_not_normal_taken_together(architecture):
    found = normality(architecture).iloc[0]

    assert found["n"] == 3072
    assert found["w"] == pytest.approx(stats.shapiro(architecture["energy_net_j"]).statistic)
    assert found["p"] < 1e-10
    assert found["note"] == ""


def test_each_configuration_has_its_own_row(architecture):
    table = normality(architecture, ["conv_layers", "relu"])

    assert table["n"].tolist() == [768] * 4
    assert table[["conv_layers", "relu"]].to_numpy().tolist() == [
        [1, False],
        [1, True],
        [4, False],
        [4, True],
    ]


def test_the_weights_of_eleven_men_give_the_w_of_shapiro_and_wilk():
    weights = [148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236]

    assert normality(pd.DataFrame({"energy_net_j": weights}))["w"].iloc[0] == pytest.approx(
        0.79, abs=0.005
    )


def test_above_5000_values_the_limit_of_p_is_said():
    values = np.random.default_rng(0).normal(100, 5, 5001)
    runs = pd.DataFrame({"energy_net_j": values})

    assert normality(runs)["note"].tolist() == [NOTE]
    assert normality(runs.iloc[:5000])["note"].tolist() == [""]


@pytest.mark.parametrize(
    ("energies", "reason"),
    [([1.0, 2.0, np.nan], "fewer than 3 values"), ([4.0] * 5, "all values are the same")],
)
def test_an_undefined_test_has_a_reason(energies, reason):
    runs = pd.DataFrame({"energy_net_j": energies})
    row, plot = normality(runs).iloc[0], qq(runs)

    assert row["reason"] == plot.reason == reason
    assert np.isnan(row["w"])
    assert np.isnan(plot.slope)
    assert len(plot.points) == plot.n == row["n"]


def test_the_points_and_the_line_are_those_of_probplot(architecture):
    (quantiles, values), (slope, intercept, r) = stats.probplot(architecture["energy_net_j"])

    plot = qq(architecture)

    np.testing.assert_allclose(plot.points["quantile"], quantiles)
    np.testing.assert_allclose(plot.points["value"], values)
    assert (plot.slope, plot.intercept, plot.r) == pytest.approx((slope, intercept, r))


def test_normal_values_lie_on_a_line_of_their_mean_and_deviation():
    values = stats.norm.ppf((np.arange(500) + 0.5) / 500, loc=857, scale=9)

    plot = qq(pd.DataFrame({"energy_net_j": values}))

    assert plot.intercept == pytest.approx(857)
    assert plot.slope == pytest.approx(9, rel=0.01)
    assert plot.r > 0.999


def test_no_energy_at_all_gives_no_points():
    plot = qq(pd.DataFrame({"energy_net_j": [np.nan, np.nan]}))

    assert (plot.n, plot.dropped, plot.reason) == (0, 2, "no run has an energy")


def test_residuals_are_what_is_left_of_the_mean_of_each_configuration(architecture):
    by = ["linear_layers", "conv_layers", "relu"]
    few = architecture.iloc[::2]
    left = few["energy_net_j"] - few.groupby(by)["energy_net_j"].transform("mean")

    table = normality(few, by, residuals=True)

    expected = stats.shapiro(left)
    assert len(table) == 1
    assert table.loc[0, "n"] == len(few)
    assert table.loc[0, "w"] == pytest.approx(expected.statistic)
    assert table.loc[0, "p"] == pytest.approx(expected.pvalue)
    assert table.loc[0, "w"] > normality(few).loc[0, "w"]


def test_a_configuration_of_one_run_has_no_residual():
    runs = pd.DataFrame(
        {"c": ["a", "a", "b", None, None, "d"], "energy_net_j": [1.0, 2.0, 9.0, 5.0, 7.0, None]}
    )

    table = normality(runs, "c", residuals=True)

    assert table[["n", "dropped"]].to_numpy().tolist() == [[4, 2]]
    assert table.loc[0, "w"] == pytest.approx(stats.shapiro([-0.5, 0.5, -1, 1]).statistic)


def test_residuals_without_scatter_have_a_reason():
    runs = pd.DataFrame({"c": ["a"] * 3 + ["b"] * 3, "energy_net_j": [0.1] * 3 + [5.7] * 3})

    assert normality(runs, "c", residuals=True)["reason"].tolist() == ["all values are the same"]
    none = normality(runs.iloc[:0], "c", residuals=True)
    assert none["reason"].tolist() == ["fewer than 3 values"]


def runs(**groups):
    return pd.DataFrame(
        [(name, joules) for name, values in groups.items() for joules in values],
        columns=["configuration", "energy_net_j"],
    )


def test_it_is_an_analysis_of_variance_of_the_distances_from_the_median():
    random = np.random.default_rng(3)
    samples = [random.normal(100, spread, n) for spread, n in ((1, 8), (2, 5), (4, 11))]
    distances = [np.abs(sample - np.median(sample)) for sample in samples]
    expected = stats.f_oneway(*distances)
    found = equal_variances(runs(a=samples[0], b=samples[1], c=samples[2]))
    assert found.w == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    deviations = [sample.std(ddof=1) for sample in samples]
    assert found.ratio == pytest.approx(max(deviations) / min(deviations))
    assert (found.n, found.k, found.dropped) == (24, 3, 0)


def test_it_tells_a_wild_group_from_quiet_ones_and_leaves_equal_ones_alone():
    random = np.random.default_rng(1)
    quiet, wild = random.normal(100, 1, (2, 30)), random.normal(100, 9, 30)
    assert equal_variances(runs(a=quiet[0], b=quiet[1])).p > 0.05
    assert equal_variances(runs(a=quiet[0], b=wild)).p < 0.001


def test_runs_without_an_energy_or_in_small_groups_are_counted():
    found = equal_variances(
        runs(a=[1.0, 2.0, 4.0, np.nan], b=[1.0, 3.0, 5.0], c=[7.0], d=[2.0, 9.0])
    )
    assert (found.n, found.k, found.dropped) == (6, 2, 4)
    assert not found.reason


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"a": [1.0, 2.0, 4.0]}, "it needs two groups of three runs"),
        ({"a": [1.1, 2.0], "b": [3.0, 5.3]}, "it needs two groups of three runs"),
        ({}, "it needs two groups of three runs"),
        ({"a": [1.0] * 3, "b": [3.0] * 3}, "no energy differs from the others of its group"),
        (
            {"a": [0.1, 0.1, 0.3, 0.3], "b": [1.0, 1.0, 7.0, 7.0]},
            "in each group all energies are as far from the median",
        ),
    ],
    ids=["one group", "groups of two", "nothing", "constant", "equal distances"],
)
def test_what_cannot_be_tested_has_a_reason_and_no_number(groups, reason):
    found = equal_variances(runs(**groups))
    assert found.reason == reason
    assert np.isnan([found.w, found.p, found.ratio]).all()


def test_a_group_that_does_not_scatter_makes_the_ratio_infinite():
    assert equal_variances(runs(a=[1.0, 1.0, 1.0], b=[1.0, 2.0, 4.0])).ratio == np.inf


def test_a_column_that_is_not_there_is_wrong_usage():
    with pytest.raises(UsageError, match="network"):
        equal_variances(runs(a=[1.0]), "network")
