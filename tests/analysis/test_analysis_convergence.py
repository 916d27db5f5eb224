import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.convergence import convergence, running_best
from joulelab.errors import UsageError

BY = ["network", "strategy", "hyperparameters"]

# Table III of Yarally et al. (CAIN 2023), Fashion-MNIST: accuracy as printed, and optimum round,
# with five and with three hyperparameters.
TABLE_III = {
    ("DensePolyNN", "random"): [("0.826", 56), ("0.83", 27)],
    ("DensePolyNN", "grid"): [("0.81", 40), ("0.81", 19)],
    ("DensePolyNN", "bayesian"): [("0.833", 29), ("0.85", 46)],
    ("DenseLinearNN", "random"): [("0.81", 52), ("0.84", 23)],
    ("DenseLinearNN", "grid"): [("0.81", 30), ("0.81", 54)],
    ("DenseLinearNN", "bayesian"): [("0.84", 18), ("0.85", 47)],
    ("SimpleCNN", "random"): [("0.8879", 29), ("0.879", 39)],
    ("SimpleCNN", "grid"): [("0.86", 14), ("0.875", 20)],
    ("SimpleCNN", "bayesian"): [("0.8876", 20), ("0.884", 36)],
}
CELLS = {
    (network, strategy, hyperparameters): cell
    for (network, strategy), cells in TABLE_III.items()
    for hyperparameters, cell in zip((5, 3), cells, strict=True)
}
# The two cells in which the published data and the printed round differ.
ROUND_IN_THE_DATA = {("DenseLinearNN", "grid", 3): 52, ("DenseLinearNN", "bayesian", 3): 48}


@pytest.fixture(scope="module")
def published(tuning):
    return convergence(tuning, BY, score="accuracy", energy="energy_j").set_index(BY)


@pytest.mark.parametrize("cell", CELLS)
def test_the_published_rounds_give_table_iii(published, cell):
    printed_accuracy, printed_round = CELLS[cell]
    step = 10.0 ** -len(printed_accuracy.split(".")[1])
    found = published.loc[cell]

    # The table rounds some cells and cuts others, hence a whole step of its last digit.
    assert abs(found["optimum_accuracy"] - float(printed_accuracy)) < step
    assert found["optimum_round"] == ROUND_IN_THE_DATA.get(cell, printed_round)


def test_the_running_best_is_the_best_accuracy_that_the_authors_logged(tuning):
    shuffled = tuning.sample(frac=1, random_state=0)

    best = running_best(shuffled, BY, score="accuracy")

    np.testing.assert_allclose(best["running_best"], best["best_accuracy"])
    assert (
        best.groupby(BY)["round_number"].agg(["min", "max"]).to_numpy().tolist() == [[1, 64]] * 18
    )


def test_energy_to_the_optimum_is_the_sum_of_its_rounds(tuning, published):
    cell = ("SimpleCNN", "grid", 5)
    rows = tuning[tuning[BY].apply(tuple, axis=1) == cell].sort_values("round")

    assert published.loc[cell, "energy_to_optimum_j"] == pytest.approx(
        rows["energy_j"].iloc[:14].sum()
    )
    assert published.loc[cell, "energy_total_j"] == pytest.approx(rows["energy_j"].sum())


def rounds(scores, energies=None):
    return pd.DataFrame(
        {
            "configuration": "a",
            "round": range(len(scores)),
            "score": scores,
            "energy_mean_j": energies or [1.0] * len(scores),
        }
    )


def test_a_tolerance_moves_the_optimum_forward_but_not_the_optimum_accuracy():
    found = convergence(rounds([0.70, 0.84, 0.80, 0.85]), tolerance=0.01).iloc[0]

    assert (found["optimum_accuracy"], found["optimum_round"]) == (0.85, 2)
    assert found["accuracy_at_optimum"] == 0.84


def test_the_first_of_equal_scores_is_the_optimum():
    assert convergence(rounds([0.7, 0.9, 0.8, 0.9]))["optimum_round"].tolist() == [2]


def test_failed_rounds_are_passed_over_and_counted():
    found = convergence(rounds([np.nan, 0.7, np.nan, 0.8, np.nan], [np.nan, 1, 2, 4, 8])).iloc[0]

    assert (found["optimum_round"], found["rounds"], found["dropped"]) == (4, 5, 3)
    assert (found["energy_to_optimum_j"], found["energy_dropped"]) == (7.0, 1)


def test_a_search_in_which_all_failed_has_no_optimum_and_says_why():
    failed = rounds([np.nan, np.nan], [np.nan, np.nan])
    both = pd.concat([failed, rounds([0.5]).assign(configuration="b")])

    table = convergence(both).set_index("configuration")

    assert table.loc["a", "reason"] == "no round has a score"
    assert table.loc["a", "optimum_round"] is pd.NA
    assert np.isnan(table.loc["a", "energy_total_j"])
    assert table.loc["b", "optimum_round"] == 1


def test_no_rounds_give_an_empty_table():
    assert convergence(rounds([0.5]).iloc[:0]).empty


def test_repetitions_in_place_of_rounds_are_refused():
    with pytest.raises(UsageError, match="occurs twice"):
        running_best(pd.concat([rounds([0.5]), rounds([0.6])]))


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_an_impossible_tolerance_is_refused(tolerance):
    with pytest.raises(UsageError, match="tolerance"):
        convergence(rounds([0.5]), tolerance=tolerance)
