import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.variation import summarise_variation, variation
from joulelab.errors import UsageError

FACTORS = ["linear_layers", "conv_layers", "relu"]


def test_over_all_runs_the_published_energies_hardly_vary(architecture):
    table = variation(architecture, FACTORS)
    summary = summarise_variation(table)

    assert table["n"].tolist() == [384] * 8
    assert (summary.n, summary.dropped) == (8, 0)
    assert summary.mean == pytest.approx(0.0073, abs=5e-5)
    assert summary.maximum == pytest.approx(0.0121, abs=5e-5)


@pytest.mark.parametrize("rounds", ["round", ["learning_rate", "beta1", "beta2"]])
def test_over_round_means_they_vary_less(architecture, rounds):
    table = variation(architecture, FACTORS, over="rounds", rounds=rounds)
    summary = summarise_variation(table)

    assert table["n"].tolist() == [16] * 8
    assert summary.mean == pytest.approx(0.0055, abs=5e-5)
    assert summary.maximum == pytest.approx(0.0113, abs=5e-5)


def test_it_is_scipys_sample_variation(architecture):
    table = variation(architecture)

    for configuration, cv in zip(table["configuration"], table["cv"], strict=True):
        energies = architecture.loc[architecture["configuration"] == configuration, "energy_net_j"]
        assert cv == pytest.approx(stats.variation(energies, ddof=1))


def test_missing_energies_are_dropped_and_counted():
    runs = pd.DataFrame({"configuration": "a", "energy_net_j": [98.0, None, 100.0, 102.0]})

    found = variation(runs).iloc[0]

    assert (found["n"], found["dropped"], found["cv"]) == (3, 1, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("energies", "reason"),
    [
        ([None, None], "fewer than two values"),
        ([5.0, None], "fewer than two values"),
        ([-3.0, 1.0], "the mean energy is not positive"),
    ],
)
def test_an_undefined_variation_has_a_reason(energies, reason):
    runs = pd.DataFrame({"configuration": "a", "energy_net_j": energies}, dtype=object)
    table = variation(runs)

    assert table["reason"].tolist() == [reason]
    assert np.isnan(table["cv"].iloc[0])
    assert summarise_variation(table).dropped == 1


def test_variation_over_anything_else_is_refused():
    with pytest.raises(UsageError, match="days"):
        variation(pd.DataFrame({"configuration": [], "energy_net_j": []}), over="days")
