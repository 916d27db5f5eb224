"""Scores of rounds, the optimum of a search, and how sure it is."""

import itertools

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.convergence import (
    ONE_REPETITION,
    SOME_ONE_REPETITION,
    convergence,
    optimum_uncertainty,
    running_best,
    score_rounds,
    winners,
)
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


def search(accuracies, **columns):
    """A row a run from the accuracies of each round."""
    rows = [(number, value) for number, values in enumerate(accuracies) for value in values]
    return pd.DataFrame(rows, columns=["round", "accuracy"]).assign(configuration="a", **columns)


@pytest.mark.parametrize("score", ["mean", "max"])
def test_the_shares_are_those_of_all_resamples_there_are(score):
    rounds = [[0.80, 0.83], [0.70, 0.84, 0.86], [0.81, 0.85]]
    statistic = np.mean if score == "mean" else np.max
    optima = [
        1 + int(np.argmax(np.round([statistic(values) for values in choice], 9)))
        for choice in itertools.product(
            *([list(itertools.product(values, repeat=len(values))) for values in rounds])
        )
    ]

    found = optimum_uncertainty(search(rounds), score=score, within=1, resamples=20_000).iloc[0]

    assert found["share_within"] == pytest.approx(np.mean(np.array(optima) == 1), abs=0.015)
    assert found["round_low"] == np.quantile(optima, 0.025)
    assert found["round_high"] == np.quantile(optima, 0.975)
    assert found["repetitions"] == 2


def test_the_optimum_is_that_of_convergence(architecture):
    by = ["linear_layers", "conv_layers", "relu"]
    runs = architecture.iloc[::3]
    for score, tolerance in (("mean", 0.0), ("max", 0.0), ("mean", 0.005)):
        expected = convergence(score_rounds(runs, by, score), by, tolerance)

        found = optimum_uncertainty(runs, by, score, tolerance, resamples=10)

        np.testing.assert_allclose(found["optimum_accuracy"], expected["optimum_accuracy"])
        assert found["optimum_round"].tolist() == expected["optimum_round"].tolist()


def test_the_interval_of_the_accuracy_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    rounds = rng.normal(0.8, 0.01, (6, 8))
    finals = [max(rng.choice(values, len(values)).mean() for values in rounds) for _ in range(4000)]

    found = optimum_uncertainty(search(rounds), resamples=4000).iloc[0]

    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(
        np.quantile(finals, [0.025, 0.975]), abs=5e-4
    )


def test_a_clear_optimum_is_sure_and_its_number_survives_lost_rounds():
    runs = search([[0.1, 0.2], [np.nan, np.nan], [0.3, 0.31, np.nan], [0.9, 0.91], [0.2, 0.1]])
    before = runs.copy()

    found = optimum_uncertainty(runs, within=4).iloc[0]

    assert found[["optimum_round", "round_low", "round_median", "round_high"]].tolist() == [4] * 4
    assert (found["share_within"], found["dropped"], found["reason"]) == (1.0, 3, "")
    pd.testing.assert_frame_equal(runs, before)


def test_ties_go_to_the_first_round_and_a_tolerance_moves_it_forward():
    assert optimum_uncertainty(search([[0.5, 0.5]] * 3))["round_high"].tolist() == [1]
    runs = search([[0.80, 0.80], [0.84, 0.84], [0.85, 0.85]])
    assert optimum_uncertainty(runs)["round_low"].tolist() == [3]
    assert optimum_uncertainty(runs, tolerance=0.01)["round_high"].tolist() == [2]


def test_single_repetitions_are_said():
    single = optimum_uncertainty(search([[0.5], [0.6]]), within=2).iloc[0]
    some = optimum_uncertainty(search([[0.5], [0.6, 0.7]]), within=2).iloc[0]
    none = optimum_uncertainty(search([[np.nan]])).iloc[0]

    assert (single["reason"], single["repetitions"]) == (ONE_REPETITION, 1)
    assert (single["optimum_round"], single["optimum_accuracy"]) == (2, 0.6)
    assert single[["round_low", "accuracy_high", "share_within"]].isna().all()
    assert (some["reason"], some["round_high"]) == (SOME_ONE_REPETITION, 2)
    assert (none["reason"], none["dropped"]) == ("no run has an accuracy", 1)
    assert none[["optimum_round", "optimum_accuracy"]].isna().all()


def test_without_within_or_resamples_there_is_no_share():
    found = optimum_uncertainty(search([[0.5, 0.6]])).iloc[0]
    none = optimum_uncertainty(search([[0.5, 0.6]]), resamples=0, within=1).iloc[0]

    assert np.isnan(found["share_within"])
    assert none[["round_low", "share_within"]].isna().all()
    assert none["optimum_round"] == 1


@pytest.mark.parametrize(
    "wrong", [{"score": "median"}, {"tolerance": -1}, {"within": 0}, {"resamples": -2}]
)
def test_what_is_not_possible_is_refused(wrong):
    with pytest.raises(UsageError):
        optimum_uncertainty(search([[0.5]]), **wrong)


def test_the_shares_of_the_winners_are_those_of_all_resamples():
    grid, random = [[0.80, 0.84], [0.79, 0.85]], [[0.82, 0.83]]
    runs = pd.concat(
        [search(grid, strategy="grid", network="n"), search(random, strategy="random", network="n")]
    )

    def optima(rounds):
        return [
            max(np.mean(values) for values in choice)
            for choice in itertools.product(
                *(list(itertools.product(values, repeat=2)) for values in rounds)
            )
        ]

    share = np.mean([a > b + 1e-9 for a in optima(grid) for b in optima(random)])
    tied = np.mean([abs(a - b) < 1e-9 for a in optima(grid) for b in optima(random)])

    found = winners(runs, "strategy", "network", resamples=20_000).set_index("strategy")

    assert found.loc["grid", "share_best"] == pytest.approx(share + tied / 2, abs=0.015)
    assert found["share_best"].sum() == pytest.approx(1)
    assert found["wins"].to_dict() == {"grid": False, "random": True}


def test_equal_treatments_share_the_win_and_each_block_is_its_own():
    runs = pd.concat(
        [
            search([[a, a]], network=network, strategy=strategy)
            for network, strategy, a in (
                ("u", "grid", 0.8),
                ("u", "random", 0.8),
                ("v", "grid", 0.7),
                ("v", "random", 0.9),
            )
        ]
    )

    found = winners(runs, "strategy", ["network"]).set_index(["network", "strategy"])

    assert found["share_best"].tolist() == [0.5, 0.5, 0.0, 1.0]
    assert found["wins"].tolist() == [True, True, False, True]


def test_a_block_without_repetitions_or_without_a_treatment_has_no_shares():
    single = pd.concat([search([[0.5]], t="x"), search([[0.6]], t="y")])
    lost = pd.concat([search([[0.5, 0.5]], t="x"), search([[np.nan]], t="y")])

    found = winners(single, "t", "configuration")
    assert found["share_best"].isna().all()
    assert set(found["reason"]) == {ONE_REPETITION}
    assert found["wins"].tolist() == [False, True]
    found = winners(lost, "t", "configuration")
    assert found["share_best"].isna().all()
    assert set(found["reason"]) == {"a treatment of the block has no accuracy"}
    assert found["wins"].tolist() == [True, False]


def test_a_seed_gives_the_same_again_whatever_else_is_asked_for():
    rng = np.random.default_rng(0)
    rounds, repetitions, configurations = 64, 8, 18
    runs = pd.DataFrame(
        {
            "configuration": np.repeat(np.arange(configurations), rounds * repetitions),
            "round": np.tile(np.repeat(np.arange(rounds), repetitions), configurations),
            "accuracy": rng.normal(0.8, 0.01, configurations * rounds * repetitions),
        }
    )

    one = optimum_uncertainty(runs)

    few = runs[runs["configuration"] < 2]
    pd.testing.assert_frame_equal(one.iloc[:2], optimum_uncertainty(few))
    assert not optimum_uncertainty(few, seed=1).equals(one.iloc[:2])


def test_a_block_without_any_accuracy_has_no_winner_and_disturbs_no_other():
    runs = pd.DataFrame(
        {
            "network": ["a"] * 4 + ["b"] * 4,
            "strategy": ["grid", "grid", "random", "random"] * 2,
            "round": 0,
            "accuracy": [0.8, 0.84, 0.81, 0.82] + [np.nan] * 4,
        }
    )

    found = winners(runs, "strategy", "network").set_index(["network", "strategy"])

    assert found.loc["b", "wins"].tolist() == [False, False]
    assert found.loc["b", "share_best"].isna().all()
    assert found.loc["a", "share_best"].sum() == pytest.approx(1.0)
