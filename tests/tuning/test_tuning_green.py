"""The green strategy."""

import numpy as np
import pytest

from joulelab.tuning.features import Features
from joulelab.tuning.space import Float, Int, SearchSpace
from joulelab.tuning.tuner import Tuner

SPACE = {"rate": Float(1e-5, 1.0, log=True), "width": Int(8, 512, log=True)}


@pytest.mark.parametrize("cost", [None, lambda values: values["width"]])
def test_a_search_leaves_a_centre_where_everything_fails(cost):
    tuner = Tuner(SPACE, "green", seed=1, cost=cost)
    for _ in range(40):
        trial = tuner.ask()
        tuner.tell(trial, 0.5 if trial.values["rate"] < 1e-4 else None, cost=1.0)
    assert tuner.best is not None


def test_rounds_asked_for_together_spread_over_the_space():
    tuner = Tuner(SPACE, "green", seed=1)
    rates = [tuner.ask().values["rate"] for _ in range(8)]
    assert max(rates) > 100 * min(rates)


@pytest.mark.parametrize("seed", range(3))
def test_no_evaluation_costs_much_more_than_all_before_it(seed):
    """Scores say nothing, and costs span five decades."""
    tuner = Tuner({"width": Int(1, 100_000, log=True)}, "green", seed=seed)
    scores = np.random.default_rng(seed).normal(0.8, 0.05, 60)
    costs = []
    for score in scores:
        trial = tuner.ask()
        costs.append(float(trial.values["width"]))
        tuner.tell(trial, score, cost=costs[-1])
    for number in range(5, len(costs)):  # costs are known well from a few on
        assert costs[number] < 1.5 * sum(costs[:number])
    assert max(costs) > costs[0]


def test_a_share_of_memory_is_seen_by_the_steps_that_it_remembers():
    share = Float(0.0, 1.0, high_exclusive=True)
    features = Features(SearchSpace({"beta": share}))
    codes = np.array([[0.0], [0.9], [0.99], [share.attained_bounds()[1]]])
    assert features(codes)[:, 0] == pytest.approx([0.0, 0.33, 0.65, 1.0], abs=0.01)
    drawn = features.draw(2000, np.random.default_rng(0))[:, 0]
    assert np.mean(drawn > 0.9) == pytest.approx(2 / 3, abs=0.05)
    assert all(share.contains(float(one)) for one in drawn)
    # A rate up to 1 is not a memory.
    plain = Features(SearchSpace({"dropout": Float(0.0, 1.0)}))
    assert plain(np.array([[0.9]]))[0, 0] == pytest.approx(0.9)


def test_a_number_from_0_on_is_seen_on_two_axes():
    number = Float(0.0, 0.1)
    features = Features(SearchSpace({"weight_decay": number}))
    seen = features(np.array([[0.0], [0.001], [0.01], [0.1]]))
    assert seen[:, 0] == pytest.approx([0.0, 0.01, 0.1, 1.0])
    assert seen[:, 1] == pytest.approx([0.0, 0.35, 0.67, 1.0], abs=0.01)
    assert list(features.groups) == [0, 1]  # each with its own length
    drawn = features.draw(2000, np.random.default_rng(0))[:, 0]
    assert np.mean(drawn < 0.001) == pytest.approx(0.5 * 0.35 + 0.5 * 0.01, abs=0.03)
    assert np.mean(drawn > 0.05) == pytest.approx(0.5 * 0.5 + 0.5 * 0.1, abs=0.03)
    assert all(number.contains(float(one)) for one in drawn)


def test_a_search_begins_with_a_small_penalty_but_with_a_share_in_the_middle():
    space = SearchSpace({"weight_decay": Float(0.0, 0.1), "dropout": Float(0.0, 0.8)})
    begun = Features(space).central(200, np.random.default_rng(0))
    assert np.median(begun[:, 0]) < 0.01
    assert 0.3 < np.median(begun[:, 1]) < 0.5


@pytest.mark.parametrize(
    "off",
    [
        pytest.param(lambda x: abs(np.log10(x + 1e-5) + 3.5), id="penalty"),
        pytest.param(lambda x: abs(x - 0.06) * 25, id="share"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_a_number_from_0_on_is_found_soon_on_either_axis(off, seed):
    tuner = Tuner({"amount": Float(0.0, 0.1), "other": Float(0.5, 1.0)}, "green", seed=seed)
    for _ in range(16):
        trial = tuner.ask()
        tuner.tell(trial, -off(trial.values["amount"]), cost=1.0)

    assert off(tuner.best.values["amount"]) < 0.1
