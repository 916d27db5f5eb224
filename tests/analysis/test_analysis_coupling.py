import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.correlation import rank_correlation
from joulelab.analysis.coupling import coupling, inversions, logarithms
from joulelab.analysis.kruskal import kruskal
from joulelab.errors import UsageError


def measured(durations, powers, n=12, seed=0, scatter=0.02):
    """Runs of one configuration a (duration, power), which scatter by some percent."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, (seconds, watts) in enumerate(zip(durations, powers, strict=True)):
        time_s = seconds * np.exp(rng.normal(0, scatter, n))
        energy = watts * np.exp(rng.normal(0, scatter, n)) * time_s
        parts.append(pd.DataFrame({"c": f"c{i}", "duration_s": time_s, "energy_net_j": energy}))
    return pd.concat(parts, ignore_index=True)


def test_equal_power_makes_time_stand_for_energy():
    found = coupling(measured([10, 20, 40, 80, 160], [200] * 5), "c")

    assert found.spearman == 1
    assert found.slope_low < 1 < found.slope_high
    assert found.slope == pytest.approx(1, abs=0.02)
    assert found.inversions.empty
    assert found.pairs == 10
    assert found.power_p > 0.01
    table = found.table
    assert ((table["power_ratio_low"] < 1) & (table["power_ratio_high"] > 1)).all()
    assert table["rank_duration"].tolist() == table["rank_energy"].tolist() == [1, 2, 3, 4, 5]


def test_a_configuration_that_draws_more_is_an_inversion():
    from statsmodels.stats.multitest import multipletests

    runs = measured([10, 20, 40, 9], [100, 100, 100, 300])

    found = coupling(runs, "c")

    means = runs.groupby("c")[["duration_s", "energy_net_j"]].mean()
    assert found.spearman == pytest.approx(
        stats.spearmanr(means["duration_s"], means["energy_net_j"]).statistic
    )
    assert found.inversions[["faster", "slower"]].to_numpy().tolist() == [
        ["c3", "c0"],
        ["c3", "c1"],
    ]
    logs = {c: np.log(part) for c, part in runs.drop(columns="c").groupby(runs["c"])}
    first = found.inversions.iloc[0]
    assert first["duration_ratio"] == pytest.approx(
        np.exp(logs["c3"]["duration_s"].mean() - logs["c0"]["duration_s"].mean())
    )
    assert first["energy_ratio"] == pytest.approx(2.7, rel=0.05)
    assert (first["n_faster"], first["n_slower"]) == (12, 12)
    for measure in ("duration", "energy"):
        column = {"duration": "duration_s", "energy": "energy_net_j"}[measure]
        p = [
            stats.ttest_ind(logs[a][column], logs[b][column], equal_var=False).pvalue
            for a, b in itertools.combinations(logs, 2)
        ]
        assert first[f"{measure}_p_holm"] == pytest.approx(multipletests(p, method="holm")[1][2])
    assert found.power_p < 1e-3


def test_power_is_tested_by_kruskal_wallis():
    runs = measured([10, 20, 40], [100, 103, 98])
    power = runs.assign(power_w=runs["energy_net_j"] / runs["duration_s"])

    found = coupling(runs, "c")

    expected = kruskal(power, "c", "power_w").iloc[0]
    assert (found.power_p, found.power_eta_squared) == (expected["p"], expected["eta_squared"])


def test_the_slope_and_its_interval_are_those_of_least_squares():
    runs = measured([10, 20, 40, 80], [100, 110, 140, 150])
    means = np.log(runs.groupby("c")[["duration_s", "energy_net_j"]].mean().to_numpy())
    slope = np.polyfit(means[:, 0], means[:, 1], 1)[0]

    found = coupling(runs, "c")

    assert found.slope == pytest.approx(slope)
    assert found.slope > 1
    line = stats.linregress(*means.T)
    reach = stats.t.ppf(0.975, 2) * line.stderr
    assert (found.slope_low, found.slope_high) == pytest.approx((slope - reach, slope + reach))


def test_two_configurations_have_the_ratio_of_welch_on_half_their_difference():
    # Against the mean of both, each is off by half the difference, and so is its interval.
    runs = measured([10, 20], [100, 120], n=7)
    power = np.log(runs["energy_net_j"] / runs["duration_s"]).groupby(runs["c"])
    parts = [part for _, part in power]
    test = stats.ttest_ind(*parts, equal_var=False).confidence_interval()

    found = coupling(runs, "c")

    low, high = np.log(found.table.loc[0, ["power_ratio_low", "power_ratio_high"]].astype(float))
    assert (low, high) == pytest.approx((test.low / 2, test.high / 2))
    assert found.reason == "fewer than 3 configurations"
    assert np.isnan([found.spearman, found.slope, found.spearman_low]).all()
    assert found.power_p < 0.05


def test_the_interval_of_a_power_ratio_holds_the_truth_as_often_as_it_says():
    powers = np.array([100.0, 110.0, 130.0])
    true = powers / stats.gmean(powers)

    def held(seed):
        runs = measured([10, 20, 30], powers, n=6, seed=seed, scatter=0.05)
        table = coupling(runs, "c").table
        return (table["power_ratio_low"] <= true) & (true <= table["power_ratio_high"])

    assert np.mean([held(seed) for seed in range(60)]) == pytest.approx(0.95, abs=0.03)


def test_the_interval_of_rho_is_that_of_other_rank_correlations():
    rng = np.random.default_rng(5)
    runs = measured(rng.uniform(5, 50, 12), rng.uniform(50, 200, 12), n=3)
    means = runs.groupby("c", as_index=False)[["duration_s", "energy_net_j"]].mean()
    known = rank_correlation(means, "duration_s", "energy_net_j")
    found = coupling(runs, "c")
    assert (found.spearman, found.spearman_low, found.spearman_high) == pytest.approx(
        (known.rho, known.low, known.high)
    )
    assert found.spearman_low < found.spearman < found.spearman_high


def test_few_configurations_have_a_rho_without_an_interval():
    found = coupling(measured([10, 20, 15, 40], [200, 100, 150, 180]), "c")
    assert np.isfinite(found.spearman)
    assert np.isnan([found.spearman_low, found.spearman_high]).all()


def test_runs_without_time_or_energy_are_dropped_and_counted():
    runs = measured([10, 20, 30], [100, 100, 100], n=4)
    runs["busy"] = 0.5
    runs.loc[0, "duration_s"] = np.nan
    runs.loc[1, "energy_net_j"] = -3.0
    runs.loc[2, "duration_s"] = 0.0
    runs.loc[5, "busy"] = np.nan
    before = runs.copy()

    found = coupling(runs, "c", utilisation="busy")

    assert found.dropped == 3
    assert found.table["n"].tolist() == [1, 4, 4]
    assert found.table["mean_utilisation"].tolist() == [0.5] * 3
    # The scatter of a single run is unknown, and with it that of the mean of all.
    assert found.table["power_ratio_low"].isna().all()
    assert found.table["power_ratio"].notna().all()
    assert found.table.loc[1, "mean_power_w"] == pytest.approx(
        runs.loc[4:7, "energy_net_j"].sum() / runs.loc[4:7, "duration_s"].sum()
    )
    pd.testing.assert_frame_equal(runs, before)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (measured([10, 10, 10], [1, 2, 3], scatter=0), "all configurations take the same time"),
        (measured([10, 20, 40], [4, 2, 1], scatter=0), "all configurations take the same energy"),
        (measured([10], [100]), "fewer than 3 configurations"),
        (measured([10], [100]).iloc[:0], "fewer than 3 configurations"),
    ],
)
def test_what_is_not_defined_has_a_reason(runs, reason):
    found = coupling(runs, "c")

    assert found.reason == reason
    assert np.isnan([found.spearman, found.slope, found.slope_low]).all()
    assert found.inversions.empty


def test_several_columns_make_a_configuration():
    runs = measured([10, 9, 30], [100, 300, 100]).assign(relu=True)

    found = coupling(runs, ["c", "relu"])

    assert found.inversions[["faster", "slower"]].to_numpy().tolist() == [
        ["c=c1, relu=True", "c=c0, relu=True"]
    ]
    assert found.table["relu"].all()
    with pytest.raises(UsageError, match="minutes"):
        coupling(runs, "c", duration="minutes")


def test_every_pair_of_fifty_configurations_is_compared():
    rng = np.random.default_rng(0)
    runs = measured(rng.uniform(5, 50, 54), rng.uniform(50, 200, 54), n=450)

    found = coupling(runs, "c")

    assert found.pairs == 54 * 53 / 2


def measured_inversion(durations, powers, n=12, seed=0, scatter=0.02):
    """Runs of one configuration a (duration, power), which scatter by some percent."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, (seconds, watts) in enumerate(zip(durations, powers, strict=True)):
        time_s = seconds * np.exp(rng.normal(0, scatter, n))
        energy = watts * np.exp(rng.normal(0, scatter, n)) * time_s
        parts.append(pd.DataFrame({"c": f"c{i}", "duration_s": time_s, "energy_net_j": energy}))
    return pd.concat(parts, ignore_index=True)


def test_the_pairs_are_those_that_welch_and_holm_find_one_by_one():
    rng = np.random.default_rng(3)
    runs = measured_inversion(rng.uniform(10, 20, 8), rng.uniform(80, 240, 8), n=6, scatter=0.04)
    logs = {c: np.log(part) for c, part in runs.drop(columns="c").groupby(runs["c"])}
    pairs = list(itertools.combinations(logs, 2))
    tests = {
        column: [
            stats.ttest_ind(logs[a][column], logs[b][column], equal_var=False) for a, b in pairs
        ]
        for column in ("duration_s", "energy_net_j")
    }
    m = len(pairs)
    expected = set()
    rejected = {}
    for column, found in tests.items():
        order = np.argsort([test.pvalue for test in found])
        steps = np.maximum.accumulate([found[i].pvalue * (m - j) for j, i in enumerate(order)])
        rejected[column] = {int(i) for i, p in zip(order, steps, strict=True) if p < 0.05}
    for i in rejected["duration_s"] & rejected["energy_net_j"]:
        longer, more = (tests[column][i].statistic > 0 for column in tests)
        if longer != more:
            expected.add(pairs[i] if more else pairs[i][::-1])

    found = inversions(runs, "c")

    assert 0 < len(expected) < m / 2
    assert set(zip(found["faster"], found["slower"], strict=True)) == expected
    assert (found["duration_ratio"] < 1).all()
    assert (found["energy_ratio"] > 1).all()


def test_a_difference_within_the_scatter_is_no_inversion():
    # The faster one takes more energy on average, but its time is not significantly shorter.
    runs = measured_inversion([10.0, 10.01, 30.0], [130, 100, 100], scatter=0.03)

    assert inversions(runs, "c").empty


def test_a_single_run_and_runs_without_scatter_have_no_test():
    single = measured_inversion([10, 5], [100, 900], n=1)
    same = measured_inversion([10, 5], [100, 900], n=5, scatter=0)

    assert inversions(single, "c").empty
    assert inversions(same, "c").empty


def test_runs_without_energy_are_left_out():
    runs = measured_inversion([10, 5, 7], [100, 900, 100], n=5)
    runs.loc[runs["c"] == "c1", "energy_net_j"] = np.nan
    before = runs.copy()

    assert inversions(runs, "c").empty
    assert inversions(runs.assign(energy_net_j=np.nan), "c").empty
    pd.testing.assert_frame_equal(runs, before)


def test_logarithms_have_the_variance_of_their_mean():
    values = [1.0, 2.0, 5.0]

    found = logarithms([pd.DataFrame({"j": values}), pd.DataFrame({"j": [3.0]})], "j")

    assert found.mean[0] == pytest.approx(np.log(stats.gmean(values)))
    assert found.variance[0] == pytest.approx(stats.sem(np.log(values)) ** 2)
    assert np.isnan(found.variance[1])
    assert found.n.tolist() == [3, 1]
