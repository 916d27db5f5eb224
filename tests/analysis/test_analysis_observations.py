import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.observations import observations
from joulelab.errors import UsageError


def grouped(groups=6, members=4, seed=0):
    """Groups of repetitions that share an energy, of two networks that take the same on average."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "network": np.repeat(np.where(np.arange(groups) % 2, "b", "a"), members),
            "group": np.repeat(np.arange(groups), members),
            "seed": np.arange(groups * members),
            "energy_net_j": np.repeat(rng.normal(100, 5, groups), members),
            "accuracy": rng.uniform(0.8, 0.9, groups * members),
            "duration_s": 3.0,
        }
    )


def test_each_unit_becomes_one_row_with_the_means_of_its_members():
    runs = grouped()
    before = runs.copy()

    found = observations(runs, "group")

    by_group = runs.groupby("group")
    np.testing.assert_allclose(found.table["energy_net_j"], by_group["energy_net_j"].first())
    np.testing.assert_allclose(found.table["accuracy"], by_group["accuracy"].mean())
    assert found.table["members"].tolist() == [4] * 6
    assert found.table["network"].tolist() == list("ababab")
    assert list(found.table) == [*runs, "members"]
    assert (found.runs, found.dropped, found.unequal) == (24, 0, 0)
    assert str(found) == "24 runs became 6 observations"
    assert found.mixed == ("seed",)
    pd.testing.assert_frame_equal(runs, before)


def test_copies_of_a_measurement_no_longer_make_differences_significant():
    def p_values(collapse):
        for seed in range(30):
            runs = grouped(groups=8, members=8, seed=seed)
            yield kruskal(observations(runs, "group").table if collapse else runs, "network")["p"][
                0
            ]

    # The networks take the same: about 5 % of tests may say otherwise.
    assert np.mean(np.array(list(p_values(False))) < 0.05) > 0.3
    assert np.mean(np.array(list(p_values(True))) < 0.05) < 0.12


def test_runs_without_a_unit_are_dropped_and_missing_values_passed_over():
    runs = pd.DataFrame(
        {
            "round": [0, 0, 0, None, 1],
            "energy_net_j": [4.0, None, 4.0, 9.0, None],
            "accuracy": [0.5, 0.7, None, 0.1, 0.3],
            "note": [None, "hot", "hot", "x", None],
        }
    )

    found = observations(runs, ["round"])

    first, second = found.table.to_dict("records")
    assert (first["energy_net_j"], first["note"], first["members"]) == (4.0, "hot", 3)
    assert first["accuracy"] == pytest.approx(0.6)
    assert np.isnan(second["energy_net_j"])
    assert found.dropped == 1
    assert str(found) == "5 runs became 2 observations, 1 run left out"


def test_units_that_were_not_measured_as_one_are_counted():
    runs = pd.DataFrame({"group": [0, 0, 1, 1], "energy_net_j": [5.0, 5.0 + 1e-12, 5.0, 6.0]})

    assert observations(runs, "group").unequal == 1


def test_units_of_one_run_stay_as_they_are():
    runs = grouped(members=1)

    found = observations(runs, ["network", "group"])

    pd.testing.assert_frame_equal(found.table.drop(columns="members"), runs)
    assert found.mixed == ()


def test_other_measures_are_averaged_where_asked_and_there():
    runs = grouped(groups=1, members=2).assign(loss=[1.0, 3.0])

    assert observations(runs, "group", also=("loss", "absent")).table["loss"].tolist() == [2.0]
    assert observations(runs, "group").table["loss"].tolist() == [1.0]


@pytest.mark.parametrize("unit", [[], ["energy_net_j"], ["group", "accuracy"]])
def test_what_is_averaged_names_no_unit(unit):
    with pytest.raises(UsageError, match="measured unit"):
        observations(grouped(), unit)


def test_no_runs_become_no_observations():
    found = observations(grouped().iloc[:0], "group")

    assert found.table.empty
    assert str(found) == "0 runs became 0 observations"
