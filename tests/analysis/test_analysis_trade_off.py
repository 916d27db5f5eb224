"""The Pareto front, and the clusters of low and high energy."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulelab.analysis.front import undominated
from joulelab.analysis.trade_off import clusters, pareto
from joulelab.errors import UsageError

FACTORS = ["linear_layers", "conv_layers", "relu"]


def table(points):
    return pd.DataFrame(points, columns=["configuration", "energy_net_j", "accuracy"])


def front(points):
    found = pareto(table(points))
    return found.loc[found["on_front"], "configuration"].tolist()


def test_what_another_beats_in_one_and_equals_in_the_other_is_not_on_the_front():
    assert front([("a", 1, 0.8), ("b", 1, 0.7), ("c", 2, 0.8), ("d", 3, 0.9)]) == ["a", "d"]


def test_of_equal_configurations_all_are_on_the_front():
    assert front([("a", 1, 0.8), ("b", 1, 0.8)]) == ["a", "b"]


def test_means_are_over_complete_runs_and_the_others_are_counted():
    found = pareto(
        table([("a", 10, 0.8), ("a", 20, 0.6), ("a", 99, None), ("b", None, 0.9)])
    ).set_index("configuration")

    assert found.loc["a", ["energy_mean_j", "n", "dropped"]].tolist() == [15.0, 2, 1]
    assert found.loc["a", "accuracy_mean"] == pytest.approx(0.7)
    assert found.loc["b", ["n", "dropped", "on_front"]].tolist() == [0, 1, False]


def test_the_published_front_goes_from_the_least_energy_to_the_best_accuracy(architecture):
    found = pareto(architecture, FACTORS)
    on_front = found[found["on_front"]]

    assert len(found) == 8
    assert found["on_front"].iloc[0]
    assert on_front["accuracy_mean"].is_monotonic_increasing
    assert on_front["accuracy_mean"].max() == found["accuracy_mean"].max()


VALUES = st.one_of(st.integers(0, 4).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))


def by_all_pairs(energy_j, accuracy):
    """The definition, pair by pair."""
    no_worse = (energy_j[:, None] <= energy_j) & (accuracy[:, None] >= accuracy)
    better = (energy_j[:, None] < energy_j) | (accuracy[:, None] > accuracy)
    known = ~(np.isnan(energy_j) | np.isnan(accuracy))
    return known & ~(no_worse & better).any(axis=0)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=20))
def test_a_point_is_off_the_front_exactly_if_some_other_beats_it(points):
    energy_j, accuracy = np.array(points, dtype=float).reshape(-1, 2).T
    expected = by_all_pairs(energy_j, accuracy)
    assert undominated(energy_j, accuracy).tolist() == expected.tolist()


def test_a_hundred_thousand_points_take_memory_by_their_number():
    random = np.random.default_rng(0)
    energy_j, accuracy = random.normal(size=(2, 100_000))
    tracemalloc.start()
    found = undominated(energy_j, accuracy)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200 * len(found)  # bytes a point; all pairs would take two of each pair
    assert found[energy_j.argmin()]
    assert found[accuracy.argmax()]


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
