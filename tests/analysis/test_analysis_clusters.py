import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.trade_off import clusters
from joulelab.errors import UsageError


@pytest.mark.parametrize("factors", ["conv_layers", ["linear_layers", "conv_layers", "relu"]])
def test_the_published_runs_give_table_v(architecture, factors):
    found = clusters(architecture, factors)
    low, high = (row for _, row in found.table.iterrows())

    assert (found.factor, found.low, found.high) == ("conv_layers", 1, 4)
    assert (low["cluster"], high["cluster"]) == ("E-", "E+")
    assert [round(row["energy_mean_j"]) for row in (high, low)] == [1674, 857]
    assert [round(row["accuracy_mean"], 3) for row in (high, low)] == [0.872, 0.864]
    assert [round(row["accuracy_max"], 3) for row in (high, low)] == [0.889, 0.887]
    assert [round(row["accuracy_std"], 3) for row in (high, low)] == [0.011, 0.010]
    assert found.members["cluster"].value_counts().to_dict() == {"E-": 1536, "E+": 1536}


@pytest.fixture
def runs():
    return pd.DataFrame(
        {
            "batch": [16, 16, 32, 128, 128, 128, None],
            "energy_net_j": [400.0, 420.0, 300.0, 100.0, 120.0, np.nan, 90.0],
            "accuracy": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
        }
    )


def test_the_low_cluster_is_the_one_with_less_energy_whatever_its_level(runs):
    found = clusters(runs, "batch")

    assert (found.low, found.high) == (128, 16)
    assert found.table["energy_mean_j"].tolist() == [110.0, 410.0]


def test_runs_left_out_are_counted_by_cause(runs):
    found = clusters(runs, "batch")

    assert (found.between, found.dropped) == (1, 2)
    assert found.table["n"].tolist() == [2, 2]


def test_the_levels_can_be_named(runs):
    found = clusters(runs, "batch", levels=(32, 16))

    assert found.table["level"].tolist() == [32, 16]
    assert np.isnan(found.table["accuracy_std"].iloc[0])


def test_levels_for_several_factors_are_refused(runs):
    with pytest.raises(UsageError, match="several factors"):
        clusters(runs, ["batch", "accuracy"], levels=(1, 2))


@pytest.mark.parametrize(
    ("factors", "levels", "reason"),
    [
        ("batch", (16, 64), "no complete run at level 64 of batch"),
        ("same", None, "the factor same has a single level"),
        (["same", "same"], None, "no factor has an effect on energy that can be computed"),
        ("nothing", None, "no run has an energy, an accuracy and a level"),
    ],
)
def test_where_there_are_no_clusters_the_reason_is_said(runs, factors, levels, reason):
    found = clusters(runs.assign(same=1, nothing=None), factors, levels)

    assert found.reason == reason
    assert found.factor is None
    assert found.table.empty
