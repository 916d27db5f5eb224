import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.convergence import score_rounds
from joulelab.errors import UsageError


@pytest.fixture
def runs():
    return pd.DataFrame(
        {
            "network": ["a", "a", "a", "a", "b", "b"],
            "round": [1, 1, 0, 0, 0, 0],
            "accuracy": [0.5, 0.7, 0.8, np.nan, np.nan, np.nan],
            "energy_net_j": [10.0, np.nan, 20.0, 2.0, 3.0, np.nan],
        }
    )


def test_a_round_scores_the_mean_or_the_maximum_of_its_repetitions(runs):
    assert score_rounds(runs, "network")["score"].tolist()[:2] == pytest.approx([0.8, 0.6])
    assert score_rounds(runs, "network", "max")["score"].tolist()[:2] == pytest.approx([0.8, 0.7])


def test_failed_runs_count_as_dropped_and_their_energy_is_left_out(runs):
    table = score_rounds(runs, "network").set_index(["network", "round"])

    assert table.loc[("a", 0), ["energy_mean_j", "n", "dropped"]].tolist() == [20.0, 1, 1]
    assert table.loc[("a", 1), ["energy_mean_j", "n", "energy_n"]].tolist() == [10.0, 2, 1]


def test_a_round_that_failed_altogether_keeps_its_row(runs):
    last = score_rounds(runs, "network").iloc[-1]

    assert (last["network"], last["n"], last["dropped"]) == ("b", 0, 2)
    assert np.isnan(last["score"])
    assert np.isnan(last["energy_mean_j"])


def test_an_unknown_score_is_an_error(runs):
    with pytest.raises(UsageError, match="median"):
        score_rounds(runs, "network", "median")


def test_the_published_trainings_give_16_rounds_of_24_repetitions(architecture):
    table = score_rounds(architecture)

    assert len(table) == 8 * 16
    assert (table["n"] == 24).all()
    assert table["energy_mean_j"].mean() == pytest.approx(architecture["energy_net_j"].mean())
