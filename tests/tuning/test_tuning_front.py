"""Two goals: the front, its hypervolume, what a point may add, and searches for it."""

import math

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.tuning.front import Front, count_goals, knee, on_front
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Float, Int, SearchSpace
from joulelab.tuning.tuner import Tuner

SPACE = SearchSpace({"rate": Float(1e-5, 1.0, log=True), "width": Int(4, 512, log=True)})


def score(values):
    """Best at a rate of 0.003; wide is better, and ever less so."""
    return 1 - 0.05 * math.log10(values["rate"] / 0.003) ** 2 - 1.5 / values["width"]


def hypervolume(pairs):
    """Of pairs of cost and score, up to a cost of 512 and from a score of 0.7."""
    log_cost, scores = np.log([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    return Front.of(log_cost, scores, math.log(512), 0.7).hypervolume


def test_the_hypervolume_is_the_area_under_the_front():
    x, y = np.array([1.0, 2.0, 2.0, 3.0, 9.0]), np.array([0.5, 0.8, 0.7, 0.6, 0.9])
    front = Front.of(x, y, end=5.0, least=0.2)
    # From 1 to 2 at 0.5, from 2 to 5 at 0.8; the third and fourth are beaten, the last is beyond.
    assert front.hypervolume == pytest.approx(1 * 0.3 + 3 * 0.6)
    assert front.members.tolist() == [0, 1]
    assert on_front(x, y).tolist() == [0, 1, 4]


def test_the_expected_improvement_is_what_draws_gain():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 4, 12), rng.normal(size=12)
    front = Front.of(x, y, end=5.0, least=-0.5)
    at, mean, std = np.array([0.1, 1.5, 3.9, 6.0]), np.array([-0.4, 1.0, 2.0, 3.0]), np.full(4, 0.6)
    expected = np.exp(front.log_gain(at, mean, std))
    for c in range(3):
        draws = rng.normal(mean[c], std[c], 20_000)
        widths = np.diff(np.append(np.maximum(front.edges, at[c]), front.end)).clip(min=0)
        gains = np.maximum(draws[:, None] - front.levels, 0) @ widths
        assert expected[c] == pytest.approx(gains.mean(), abs=5 * gains.std() / 140)
        grown = Front.of(np.append(x, at[c]), np.append(y, draws[0]), 5.0, -0.5)
        assert grown.hypervolume - front.hypervolume == pytest.approx(gains[0])
    assert expected[3] == 0  # beyond the reference


def test_a_point_that_exists_changes_the_hypervolume_by_what_it_becomes():
    rng = np.random.default_rng(1)
    front = Front.of(np.array([1.0, 2.0]), np.array([0.5, 0.9]), end=4.0, least=0.0)
    (change,) = np.exp(front.log_change(np.array([1.2]), np.array([0.7]), np.array([0.3])))
    after = rng.normal(0.7, 0.3, 100_000)
    parts = [(0.8, 0.5), (2.0, 0.9)]
    gained = sum(w * (np.maximum(after, level).mean() - max(0.7, level)) for w, level in parts)
    assert change == pytest.approx(gained, rel=0.03)


def test_the_knee_is_furthest_above_the_chord():
    energy = np.array([10.0, 1.0, 2.0, 4.0, 3.0])
    scores = np.array([0.92, 0.3, 0.85, 0.90, 0.1])
    assert knee(energy, scores) == 2
    assert knee(energy[:2], scores[:2]) is None
    # Below the chord: nothing is saved.
    assert knee(np.array([1.0, 5.0, 10.0]), np.array([0.1, 0.2, 0.9])) is None


def test_other_goals_are_refused():
    assert count_goals(["score"]) == 1
    assert count_goals(["energy", "score"]) == 2
    for wrong in (["energy"], ["score", "time"], ["score", "energy", "cost"], []):
        with pytest.raises(UsageError, match="goals"):
            count_goals(wrong)


def spent_until(strategy, seed, share, goals=("score", "cost")):
    """Cost until the front of what was tried has a share of the best hypervolume."""
    best = hypervolume([(w, score({"rate": 0.003, "width": w})) for w in range(4, 513)])
    tuner = Tuner(SPACE, strategy, seed=seed, goals=goals)
    spent = 0.0
    for _ in range(60):
        trial = tuner.ask()
        cost = float(trial.values["width"])
        tuner.tell(trial, score(trial.values), cost=cost)
        spent += cost
        pairs = [(one.second, one.score) for one in tuner.front]
        if hypervolume(pairs) >= share * best:
            return spent
    return math.inf


def test_green_finds_the_front_for_less_than_random_search():
    green = [spent_until("green", seed, 0.9) for seed in range(3)]
    random = [spent_until("random", seed, 0.9) for seed in range(9)]
    assert max(green) < math.inf
    assert np.median(green) < np.median(random) / 3


def test_the_second_goal_may_be_another_than_the_cost():
    tuner = Tuner(SPACE, seed=0, goals=("score", "cost"))
    for _ in range(20):
        trial = tuner.ask()
        width = trial.values["width"]
        # Every training costs the same; the second goal is what a trained model takes.
        tuner.tell(trial, score(trial.values), cost=1.0, second=width / 100)
    assert tuner.front[0].second < tuner.front[-1].second
    assert tuner.front[-1] is tuner.best
    assert tuner.knee in tuner.front


def test_a_second_goal_needs_two_goals():
    tuner = Tuner(SPACE)
    with pytest.raises(UsageError, match="one goal"):
        tuner.tell(tuner.ask(), 1.0, second=2.0)
    with pytest.raises(UsageError, match="two goals"):
        _ = tuner.front
    tuner = Tuner(SPACE, goals=("score", "cost"))
    with pytest.raises(UsageError, match="second is 0"):
        tuner.tell(tuner.ask(), 1.0, second=0)


def trained(name, goals, budget, seed=0):
    """Run a search over epochs on made-up curves until a budget is spent; the search."""
    search = make_search(name, SPACE, seed, epochs=9, goals=goals)
    spent = 0.0
    while spent < budget:
        (step,) = search.next(1)
        rng = np.random.default_rng((step.trial, step.repetition))
        noise = 0.003 * rng.standard_normal()
        scores = [
            score(step.values) - 0.3 / epoch + noise
            for epoch in range(step.start + 1, step.end + 1)
        ]
        each = float(step.values["width"])
        search.observe(step, scores, each * len(scores), 9 * each)
        spent += each * len(scores)
    return search


def test_green_over_epochs_trains_along_the_front_to_the_end():
    found = {}
    for name, goals in (("green", 2), ("green", 1), ("asha", 2), ("random", 2)):
        search = trained(name, goals, budget=2000)
        whole = [one for one in search.trials if one.score(9) is not None]
        found[name, goals] = hypervolume([(one.second / 9, one.score(9)) for one in whole])
    best = found.pop(("green", 2))
    assert best > 1.3 * max(found.values())
