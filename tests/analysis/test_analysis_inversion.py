import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.coupling import inversions, logarithms


def measured(durations, powers, n=12, seed=0, scatter=0.02):
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
    runs = measured(rng.uniform(10, 20, 8), rng.uniform(80, 240, 8), n=6, scatter=0.04)
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
    runs = measured([10.0, 10.01, 30.0], [130, 100, 100], scatter=0.03)

    assert inversions(runs, "c").empty


def test_a_single_run_and_runs_without_scatter_have_no_test():
    single = measured([10, 5], [100, 900], n=1)
    same = measured([10, 5], [100, 900], n=5, scatter=0)

    assert inversions(single, "c").empty
    assert inversions(same, "c").empty


def test_runs_without_energy_are_left_out():
    runs = measured([10, 5, 7], [100, 900, 100], n=5)
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
