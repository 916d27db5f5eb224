"""Slopes over the years against statsmodels and R's outlierTest, and what batching saves."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.batching import best_batch
from joulelab.analysis.correlation import rank_correlation
from joulelab.analysis.trend import accuracy_records, growth, trend, yearly
from joulelab.errors import UsageError

YEARS = [2012, 2014, 2014, 2015, 2015, 2016, 2016, 2018, 2018, 2019, 2020, 2020, 2021, 2022]


def networks(rise=0.1, scatter=0.3, seed=1, years=YEARS):
    rng = np.random.default_rng(seed)
    n = len(years)
    apart = np.array(years) - 2012
    return pd.DataFrame(
        {
            "model": [f"net{i}" for i in range(n)],
            "year": years,
            "energy_j": 10 ** (rise * apart + rng.normal(0, scatter, n)),
            "accuracy": np.clip(0.57 + 0.025 * apart + rng.normal(0, 0.02, n), 0, 1),
        }
    )


@pytest.mark.parametrize(("value", "logarithm"), [("energy_j", True), ("accuracy", False)])
def test_slope_interval_and_band_are_those_of_statsmodels(value, logarithm):
    import statsmodels.api as sm

    points = networks()
    found = trend(points, value, logarithm=logarithm)
    y = np.log10(points[value]) if logarithm else points[value]
    fit = sm.OLS(y, sm.add_constant(points["year"] - points["year"].mean())).fit(
        cov_type="HC3", use_t=True
    )
    low, high = fit.conf_int().loc["year"]
    assert found.slope == pytest.approx(fit.params["year"])
    assert (found.slope_low, found.slope_high) == pytest.approx((low, high))
    assert found.p == pytest.approx(fit.pvalues["year"])
    asked = np.array([2013.0, 2017.5, 2024.0])
    wanted = fit.get_prediction(sm.add_constant(asked - points["year"].mean()))
    line, lower, upper = found.at(asked)
    assert line == pytest.approx(wanted.predicted_mean)
    assert np.stack([lower, upper], axis=1) == pytest.approx(wanted.conf_int())


def test_residuals_and_their_p_are_those_of_statsmodels():
    import statsmodels.api as sm

    points = networks()
    points.loc[8, "energy_j"] /= 100
    fit = sm.OLS(np.log10(points["energy_j"]), sm.add_constant(points["year"])).fit()
    wanted = fit.outlier_test(method="bonf")
    found = trend(points, "energy_j", logarithm=True).residuals
    assert found["studentised"].to_numpy() == pytest.approx(wanted["student_resid"].to_numpy())
    assert found["p_adjusted"].to_numpy() == pytest.approx(wanted["bonf(p)"].to_numpy())
    assert found.loc[found["outlier"], "model"].to_list() == ["net8"]
    assert found["residual"].sum() == pytest.approx(0)


def test_scatter_alone_makes_no_outlier():
    outlying = sum(
        trend(networks(seed=seed), "energy_j", logarithm=True).residuals["outlier"].any()
        for seed in range(60)
    )
    assert outlying <= 9  # 5 % of 60 are 3


def test_the_interval_holds_the_slope_where_years_scatter_unequally():
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        points = networks(rise=0.1, scatter=0, seed=seed)
        wild = np.where(points["year"] > 2017, 0.9, 0.1)
        points["energy_j"] *= 10 ** rng.normal(0, wild)
        found = trend(points, "energy_j", logarithm=True)
        held += found.slope_low <= 0.1 <= found.slope_high
    assert 180 <= held <= 200


def test_points_on_a_line_have_no_outlier_and_no_width():
    found = trend(networks(scatter=0), "energy_j", logarithm=True)
    assert found.slope == pytest.approx(0.1)
    assert found.slope_high - found.slope_low == pytest.approx(0, abs=1e-9)
    assert not found.residuals["outlier"].any()


def test_one_point_off_an_exact_line_is_an_outlier_on_its_side():
    points = networks(scatter=0)
    points.loc[3, "energy_j"] /= 10
    found = trend(points, "energy_j", logarithm=True).residuals
    assert found.loc[found["outlier"], "model"].to_list() == ["net3"]
    assert found.loc[3, "studentised"] < -1e3


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (networks().head(7), "7 networks"),
        (networks(years=[2012] * 4 + [2014] * 4 + [2016] * 4), "3 different years"),
        (networks().assign(energy_j=2.0), "same value"),
        (networks().assign(energy_j=np.nan), "0 networks"),
    ],
)
def test_few_networks_have_no_trend_and_it_is_said(points, words):
    found = trend(points, "energy_j", logarithm=True)
    assert words in found.reason
    assert math.isnan(found.slope)
    assert all(np.isnan(one).all() for one in found.at([2015.0]))
    test = growth(points)
    assert words in test.reason
    assert math.isnan(test.p)
    assert math.isnan(test.energy.value)


def test_what_is_unknown_or_not_above_zero_is_left_out_and_counted():
    points = networks()
    points.loc[0, "energy_j"] = np.nan
    points.loc[1, "energy_j"] = 0.0
    points.loc[2, "energy_j"] = -1.0
    points.loc[3, "year"] = np.nan
    found = trend(points, "energy_j", logarithm=True)
    assert (found.n, found.dropped) == (len(YEARS) - 4, 4)
    assert found.slope == pytest.approx(
        trend(points.drop(index=range(4)), "energy_j", logarithm=True).slope
    )


def test_a_column_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="energy_j"):
        trend(networks(), "energy")


def test_the_test_of_growth_is_a_regression_of_the_ratio():
    import statsmodels.api as sm

    points = networks()
    found = growth(points)
    y = np.log(points["energy_j"] / points["accuracy"])
    fit = sm.OLS(y, sm.add_constant(points["year"] - 2017)).fit(cov_type="HC3", use_t=True)
    assert found.p == pytest.approx(stats.t.sf(fit.tvalues["year"], len(points) - 2))
    energy = trend(points, "energy_j", logarithm=True)
    assert found.energy == yearly(energy)
    assert found.energy.value == pytest.approx(10**energy.slope - 1)
    assert found.p < 0.01


def test_energy_that_falls_does_not_outgrow_accuracy():
    assert growth(networks(rise=-0.1)).p > 0.9


def test_networks_without_an_accuracy_are_in_neither_slope_of_the_test():
    points = networks()
    points.loc[2, "accuracy"] = np.nan
    found = growth(points)
    assert found.n == len(YEARS) - 1
    assert found.energy == yearly(trend(points.drop(index=2), "energy_j", logarithm=True))


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(3)
    points = pd.DataFrame({"a": rng.normal(size=30), "b": rng.integers(0, 5, 30)})
    points["b"] += 3 * points["a"]
    found = rank_correlation(points, "a", "b")
    assert found.rho == pytest.approx(stats.spearmanr(points["a"], points["b"]).statistic)
    assert found.low < found.rho < found.high < 1


def test_its_interval_holds_the_correlation():
    # Of normal values with Pearson's r, Spearman's rho is 6 / pi * asin(r / 2).
    r, held = 0.9, 0
    rho = 6 / math.pi * math.asin(r / 2)
    for seed in range(300):
        pair = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, r], [r, 1]], 30)
        found = rank_correlation(pd.DataFrame(pair, columns=["a", "b"]), "a", "b")
        held += found.low <= rho <= found.high
    assert 273 <= held <= 297


def test_orders_that_agree_entirely_have_no_interval():
    points = pd.DataFrame({"a": range(9), "b": [2**i for i in range(9)]})
    found = rank_correlation(points, "a", "b")
    assert found.rho == 1
    assert math.isnan(found.low)


def test_too_few_networks_have_no_correlation():
    points = pd.DataFrame({"a": range(7), "b": range(7)})
    assert "7 networks" in rank_correlation(points, "a", "b").reason
    assert "same" in rank_correlation(networks().assign(a=1), "a", "energy_j").reason


def runs(energies):
    rows = [(1 if size == "1" else int(size), value) for size, v in energies.items() for value in v]
    return pd.DataFrame(rows, columns=["batch_size", "energy_per_image_j"]).assign(model="a")


def test_the_best_batch_has_the_least_mean_energy():
    found = best_batch(runs({"1": [4, 4.4], "32": [1.0, 1.2], "64": [1.3, 1.1]})).iloc[0]
    assert (found["best_size"], found["sizes"], found["n"]) == (32, 3, 6)
    assert found["best_j"] == pytest.approx(1.1)
    t = stats.t.ppf(0.975, 1) * np.std([4, 4.4], ddof=1) / math.sqrt(2)
    assert found["single_high_j"] == pytest.approx(4.2 + t)
    assert found["saving"] == pytest.approx(1 - math.sqrt(1.2 / (4 * 4.4)))
    assert found["saving_low"] < found["saving"] < found["saving_high"] < 1


def test_one_repetition_has_no_interval():
    found = best_batch(runs({"1": [4], "32": [1.0]})).iloc[0]
    assert found["saving"] == pytest.approx(0.75)
    assert found[["single_low_j", "best_high_j", "saving_low"]].isna().all()


def test_without_batch_1_there_is_no_saving():
    found = best_batch(runs({"8": [4], "32": [1.0]})).iloc[0]
    assert found["best_size"] == 32
    assert found[["single_j", "saving"]].isna().all()


def test_a_network_that_is_best_alone_saves_nothing():
    found = best_batch(runs({"1": [1.0, 1.1], "32": [2.0, 2.1]})).iloc[0]
    assert (found["best_size"], found["saving"]) == (1, 0)
    assert np.isnan(found["saving_low"])


def test_a_network_without_any_energy_is_still_there():
    table = best_batch(runs({"1": [np.nan, -1.0]}))
    found = table.iloc[0]
    assert (found["n"], found["dropped"]) == (0, 2)
    assert table["best_size"].isna().all()


def test_records_beat_all_years_before_and_a_tie_goes_to_the_frugal_one():
    points = pd.DataFrame(
        {
            "model": list("abcdefg"),
            "year": [2014, 2012, 2014, 2015, 2016, 2017, 2018],
            "accuracy": [0.7, 0.5, 0.7, 0.69, 0.8, 0.8, np.nan],
            "energy_j": [3.0, 1.0, 2.0, 1.0, 4.0, 1.0, 9.0],
        }
    )
    assert accuracy_records(points)["model"].to_list() == ["b", "c", "e"]
    assert accuracy_records(points.head(0)).empty
