"""Brown and Forsythe's test, against its formula and against data made alike or not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.assumptions import equal_variances
from joulelab.errors import UsageError


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
