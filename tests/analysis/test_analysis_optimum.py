import itertools

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.convergence import (
    ONE_REPETITION,
    SOME_ONE_REPETITION,
    convergence,
    optimum_uncertainty,
    score_rounds,
    winners,
)
from joulelab.errors import UsageError


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
