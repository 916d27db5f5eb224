import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.factor_increase import factor_increase
from joulelab.errors import UsageError


def test_the_published_energies_give_the_increases_of_the_paper(architecture):
    table = factor_increase(architecture, ["relu", "linear_layers", "conv_layers"])

    assert table["increase_percent"].round(1).tolist() == [2.7, 4.9, 95.3]
    assert table["low"].tolist() == [False, 3, 1]
    assert table["high"].tolist() == [True, 7, 4]
    assert table["n_low"].tolist() == table["n_high"].tolist() == [1536] * 3


def test_of_several_levels_the_lowest_and_the_highest_or_the_named_ones_are_compared():
    runs = pd.DataFrame({"batch": [16, 32, 128], "energy_net_j": [400.0, 200.0, 100.0]})

    by_default = factor_increase(runs, "batch").iloc[0]
    named = factor_increase(runs, "batch", between={"batch": (128, 32)}).iloc[0]

    assert (by_default["low"], by_default["high"]) == (16, 128)
    assert by_default["increase_percent"] == pytest.approx(-75)
    assert named["increase_percent"] == pytest.approx(100)


def test_names_are_ordered_by_their_mean_energy():
    runs = pd.DataFrame({"network": ["alpha", "beta"], "energy_net_j": [30.0, 20.0]})

    found = factor_increase(runs, "network").iloc[0]

    assert (found["low"], found["high"]) == ("beta", "alpha")
    assert found["increase_percent"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("levels", "energies", "between", "reason"),
    [
        ([1, 1], [1.0, 2.0], {}, "the factor has a single level"),
        ([1, 4], [np.nan, np.nan], {}, "no run has an energy and a level"),
        ([1, 4], [1.0, 2.0], {"factor": (1, 7)}, "no run with an energy at level 7"),
        ([1, 4], [-1.0, 2.0], {}, "the mean energy of the lower level is not positive"),
    ],
)
def test_an_undefined_increase_has_a_reason(levels, energies, between, reason):
    runs = pd.DataFrame({"factor": levels, "energy_net_j": energies})

    row = factor_increase(runs, "factor", between=between).iloc[0]

    assert row["reason"] == reason
    assert np.isnan(row["increase_percent"])


def test_missing_energies_are_dropped_and_counted():
    runs = pd.DataFrame({"relu": [0, 0, 1, None], "energy_net_j": [10.0, None, 11.0, 50.0]})

    found = factor_increase(runs, "relu").iloc[0]

    assert (found["increase_percent"], found["dropped"]) == (pytest.approx(10), 2)


def test_another_energy_column_can_be_named():
    runs = pd.DataFrame({"relu": [0, 1], "energy_gross_j": [10.0, 12.0]})

    assert factor_increase(runs, "relu", "energy_gross_j")["increase_percent"].tolist() == [
        pytest.approx(20)
    ]
    with pytest.raises(UsageError, match="energy_net_j"):
        factor_increase(runs, "relu")
