"""A factor tested with the others held fixed, against other implementations and simulated data."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.stratified import level_pairs, stratified

NIACIN = [
    *(7.58, 7.87, 7.71, 8.00, 8.27, 8.00, 7.60, 7.30, 7.82, 8.03, 7.35, 7.66),
    *(11.63, 11.87, 11.40, 12.20, 11.70, 11.80, 11.04, 11.50, 11.49, 11.50, 10.10, 11.70),
    *(15.00, 15.92, 15.58, 16.60, 16.40, 15.90, 15.87, 15.91, 16.28, 15.10, 14.80, 15.70),
]
"""Bran flakes of three enrichments, four laboratories, three samples each."""


def table(**columns):
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def drowned(random, effect, runs=4, spread=100.0):
    """A factor of that effect within networks that lie far apart; noise of 1."""
    rows = [
        (relu, network, network * spread + effect * relu + random.normal())
        for relu, network, _ in itertools.product((0, 1), range(5), range(runs))
    ]
    return pd.DataFrame(rows, columns=["relu", "network", "energy_net_j"])


def test_without_other_factors_it_is_kruskal_wallis_with_ties():
    random = np.random.default_rng(0)
    runs = table(level=random.integers(0, 3, 60), energy_net_j=random.integers(0, 9, 60))
    found, alone = stratified(runs, "level").iloc[0], kruskal(runs, "level").iloc[0]
    for name, other in (("q", "h"), ("p", "p"), ("eta_squared", "eta_squared"), ("df", "df")):
        assert found[name] == pytest.approx(alone[other], rel=1e-12)
    assert found["strata"] == 1


def test_with_one_run_in_each_cell_it_is_friedmans_test_with_ties():
    values = np.random.default_rng(1).integers(0, 5, (9, 4)).astype(float)
    rows = [(b, t, values[b, t]) for b in range(9) for t in range(4)]
    runs = pd.DataFrame(rows, columns=["block", "treatment", "energy_net_j"])
    found = stratified(runs, ["treatment", "block"]).iloc[0]
    expected = stats.friedmanchisquare(*values.T)
    assert (found["q"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_alike_strata_give_the_published_statistic_of_mack_and_skillings():
    runs = table(
        laboratory=np.tile(np.repeat(range(4), 3), 3),
        enrichment=np.repeat(range(3), 12),
        energy_net_j=NIACIN,
    )
    # Hollander and Wolfe, Nonparametric Statistical Methods, example 7.9, without ties: 12.93.
    ranks = runs.groupby("enrichment")["energy_net_j"].rank()
    sums = ranks.groupby(runs["laboratory"]).sum() / 3
    untied = 12 / (4 * (36 + 3)) * (sums**2).sum() - 3 * (36 + 3)
    assert untied == pytest.approx(12.93, abs=0.005)
    within = ((ranks - 6.5) ** 2).sum() / (3 * (12**3 - 12) / 12)  # what ties leave of the variance
    found = stratified(runs, ["laboratory", "enrichment"]).iloc[0]
    assert found["q"] == pytest.approx(untied / within, rel=1e-12)
    assert found["df"] == 3


def test_the_covariance_is_that_of_all_ways_to_deal_the_levels_in_unequal_strata():
    energies = [np.array([1.0, 2.0, 2.0, 5.0]), np.array([9.0, 7.0, 8.0])]
    levels = [["a", "a", "b", "c"], ["a", "b", "b"]]
    sums = []  # of every way, by level, weighted as van Elteren has it
    for dealt in itertools.product(*(set(itertools.permutations(one)) for one in levels)):
        t = dict.fromkeys("abc", 0.0)
        for values, one in zip(energies, dealt, strict=True):
            for rank, level in zip(stats.rankdata(values), one, strict=True):
                t[level] += (rank - (len(values) + 1) / 2) / (len(values) + 1)
        # All ways of a stratum are as likely, and none is left out: multisets weigh alike.
        sums.append(list(t.values()))
    t = np.array(sums)
    assert np.abs(t.mean(axis=0)).max() < 1e-12
    found = stratified(
        table(
            level=[*levels[0], *levels[1]],
            energy_net_j=np.concatenate(energies),
            s=[0] * 4 + [1] * 3,
        ),
        ["level", "s"],
    ).iloc[0]
    ours = np.zeros(3)
    for values, one in zip(energies, levels, strict=True):
        for rank, level in zip(stats.rankdata(values), one, strict=True):
            ours["abc".index(level)] += (rank - (len(values) + 1) / 2) / (len(values) + 1)
    covariance = np.cov(t.T, bias=True)
    assert found["q"] == pytest.approx(float(ours @ np.linalg.pinv(covariance) @ ours), rel=1e-9)


def test_an_effect_that_drowns_among_all_runs_is_found_where_the_others_are_held_fixed():
    runs = drowned(np.random.default_rng(3), effect=2.0)
    alone = kruskal(runs, "relu").iloc[0]
    found = stratified(runs, ["relu", "network"]).iloc[0]
    assert alone["p"] > 0.2
    assert alone["magnitude"] == "negligible"
    assert found["p"] < 0.001
    assert found["magnitude"] == "large"


def test_its_size_is_alpha_and_its_power_exceeds_that_of_the_marginal_test():
    random = np.random.default_rng(4)
    rejected = {"size": 0, "power": 0, "marginal": 0}
    for _ in range(100):
        nothing, something = drowned(random, effect=0.0), drowned(random, effect=1.0)
        rejected["size"] += stratified(nothing, ["relu", "network"])["p"][0] < 0.05
        rejected["power"] += stratified(something, ["relu", "network"])["p"][0] < 0.05
        rejected["marginal"] += kruskal(something, "relu")["p"][0] < 0.05
    assert 1 <= rejected["size"] <= 11  # 99 % of binomials of .05
    assert rejected["marginal"] <= 1, "the networks' spread counts as its noise"
    assert rejected["power"] >= 70


def test_strata_may_scatter_as_they_like():
    random = np.random.default_rng(5)
    rejected = 0
    for _ in range(100):
        runs = drowned(random, effect=0.0)
        runs["energy_net_j"] = np.exp(runs["network"] * 2 + random.normal(0, 1, len(runs)))
        rejected += stratified(runs, ["relu", "network"])["p"][0] < 0.05
    assert 1 <= rejected <= 11


def test_gaps_in_the_design_are_left_out_and_counted():
    runs = table(
        relu=[0, 0, 1, 1, 0, 0, 1],
        network=["s", "s", "s", "s", "m", "m", "l"],
        energy_net_j=[1.0, 2.0, 3.0, None, 5.0, 6.0, 9.0],
    )
    found = stratified(runs, ["relu", "network"]).iloc[0]
    assert found[["n", "strata", "alone", "dropped"]].tolist() == [3, 1, 3, 1]
    apart = runs[runs["network"] != "s"]
    assert stratified(apart, ["relu", "network"])["reason"][0] == (
        "no two levels share the levels of the other factors"
    )
    flat = runs.assign(energy_net_j=[0.1 + 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    assert stratified(flat, "relu")["reason"][0] == "all values are the same"
    assert stratified(runs[:0], "relu")["reason"][0] == "no run has an energy and a level"


def test_levels_that_do_not_overlap_have_no_interval_and_that_is_said():
    runs = drowned(np.random.default_rng(6), effect=50.0)
    apart, near = stratified(runs, ["network", "relu"], resamples=50), runs.copy()
    assert apart["separate"].tolist() == [True, True]
    assert apart[["eta_low", "eta_high"]].isna().all(axis=None)
    near["energy_net_j"] = np.random.default_rng(7).normal(near["relu"], 1.0)
    found = stratified(near, ["relu", "network"], resamples=400).iloc[0]
    assert not found["separate"]
    assert found["eta_low"] < found["eta_squared"] < found["eta_high"]
    # A tie between two levels is an overlap.
    tied = table(level=[0, 0, 1, 1], energy_net_j=[1.0, 2.0, 2.0, 3.0])
    assert not stratified(tied, "level")["separate"][0]


def test_a_resample_is_tested_as_the_data_are():
    runs = drowned(np.random.default_rng(8), effect=1.0, runs=3, spread=1.0)
    found = stratified(runs, ["relu", "network"], resamples=600).iloc[0]
    random, cells, plain = np.random.default_rng(9), runs.groupby(["relu", "network"]), []
    for _ in range(100):
        drawn = cells.sample(frac=1, replace=True, random_state=random)
        plain.append(stratified(drawn, ["relu", "network"])["eta_squared"][0])
    expected = np.quantile(plain, [0.025, 0.975])
    assert [found["eta_low"], found["eta_high"]] == pytest.approx(expected, abs=0.1)


def test_pairs_of_levels_are_tested_within_the_others_and_adjusted_for_each_factor():
    random = np.random.default_rng(10)
    rows = [
        (batch, network, 100 * network + {1: 4.0, 2: 0.0, 4: 0.0}[batch] + random.normal())
        for batch, network, _ in itertools.product((1, 2, 4), range(4), range(5))
    ]
    runs = pd.DataFrame(rows, columns=["batch", "network", "energy_net_j"])
    found = level_pairs(runs, ["batch", "network"])
    of_batch = found[found["factor"] == "batch"].set_index(["first", "second"])
    assert list(of_batch.index) == [(1, 2), (1, 4), (2, 4)]
    assert (of_batch["p_adjusted"] < 0.001).tolist() == [True, True, False]
    pair = runs[runs["batch"] != 4]
    assert of_batch.loc[(1, 2), "p"] == stratified(pair, ["batch", "network"])["p"][0]
    assert len(found[found["factor"] == "network"]) == 6


@pytest.mark.parametrize("sizes", [(3, 3), (2, 4), (5, 4)])
def test_a_counted_p_is_that_of_mann_and_whitney(sizes):
    rng = np.random.default_rng(7)
    values = [rng.normal(shift, 1, size) for shift, size in zip((0, 1), sizes, strict=True)]
    runs = pd.DataFrame(
        {"a": np.repeat([0, 1], sizes), "energy_net_j": 10 + np.concatenate(values)}
    )
    wanted = stats.mannwhitneyu(*values, method="exact").pvalue
    (row,) = stratified(runs, "a", exact=True).to_dict("records")
    assert row["p"] == pytest.approx(wanted)
    assert level_pairs(runs, "a", exact=True)["p"][0] == pytest.approx(wanted)
    assert row["least_p"] == pytest.approx(2 / math.comb(sum(sizes), sizes[0]))


def test_a_counted_p_is_right_with_strata_ties_and_three_levels():
    runs = pd.DataFrame(
        {
            "a": [0, 1, 2, 2] * 2,
            "b": [0] * 4 + [1] * 4,
            "energy_net_j": [1.0, 2, 2, 3, 7, 9, 9, 8],
        }
    )
    found = stratified(runs, ["a", "b"], exact=True).iloc[0]
    orders = set(itertools.permutations([0, 1, 2, 2]))
    all_q = [
        stratified(runs.assign(a=[*one, *other]), ["a", "b"])["q"][0]
        for one in orders
        for other in orders
    ]
    assert len(all_q) == 144
    assert found["p"] == pytest.approx(np.mean(np.array(all_q) >= found["q"] - 1e-9))
