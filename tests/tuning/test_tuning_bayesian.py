import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from joulelab.tuning.bayesian import (
    BayesianPI,
    predict,
    probability_of_improvement,
)
from joulelab.tuning.space import Choice, Float, SearchSpace
from joulelab.tuning.strategy import Random


def observed(strategy, rounds, score):
    for number in range(rounds):
        values = strategy.propose(number)
        strategy.observe(number, values, score(values))
    return strategy


def test_the_prediction_is_that_of_the_formulas_of_gaussian_process_regression():
    generator = np.random.default_rng(0)
    points, candidates = generator.random((6, 2)) * 3, generator.random((40, 2)) * 3
    scores = generator.random(6)

    mean, std = predict(points, scores, candidates)

    def covariance(a, b):
        return np.exp(-0.5 * ((a[:, None] - b) ** 2).sum(axis=2))

    inverse = np.linalg.inv(covariance(points, points) + 1e-10 * np.eye(6))
    across = covariance(candidates, points)
    np.testing.assert_allclose(mean, across @ inverse @ scores, atol=1e-7)
    variance = 1 - np.einsum("ij,jk,ik->i", across, inverse, across)
    np.testing.assert_allclose(std, np.sqrt(variance), atol=1e-6)


def test_probability_of_improvement_is_equation_1():
    mean, std = np.array([0.7, 0.8, 0.9]), np.array([0.1, 0.2, 0.05])

    np.testing.assert_allclose(
        probability_of_improvement(mean, std, 0.85), stats.norm.cdf((mean - 0.85) / (std + 1e-9))
    )


def test_without_uncertainty_it_is_decided_by_the_sign_of_the_improvement():
    probability = probability_of_improvement(np.array([0.8, 0.85, 0.9]), np.zeros(3), 0.85)

    assert probability.tolist() == [0.0, 0.5, 1.0]


def test_the_proposal_is_the_candidate_with_the_greatest_probability(adam):
    strategy = BayesianPI(adam, 8, 10, candidates=1000)
    observed(strategy, 9, lambda values: values["beta1"])
    candidates = adam.sample(1000, strategy.generator(9))
    points = np.array([adam.encode(strategy.propose(r)) for r in range(9)])

    mean, std = predict(points, points[:, 1], candidates)
    chances = [  # Algorithm 1, one candidate at a time
        stats.norm.cdf((m - points[:, 1].max()) / (s + 1e-9))
        for m, s in zip(mean, std, strict=True)
    ]
    assert strategy.propose(9) == adam.decode(candidates[int(np.argmax(chances))])


def test_of_equal_candidates_the_first_is_proposed():
    space = SearchSpace({"x": Choice(("a", "b"))})
    strategy = BayesianPI(space, 1, 4)
    strategy.observe(0, {"x": "a"}, 0.9)
    strategy.observe(1, {"x": "b"}, 0.2)

    # Only two different points: among the candidates each occurs thousands of times.
    assert strategy.propose(2) in ({"x": "a"}, {"x": "b"})


@pytest.mark.parametrize("scores", [[], [None], [None, float("nan"), None]])
def test_without_a_score_the_proposal_is_a_uniform_draw(adam, scores):
    strategy = BayesianPI(adam, 5, 10)
    for number, score in enumerate(scores):
        strategy.observe(number, strategy.propose(number), score)

    assert strategy.propose(len(scores)) == Random(adam, 5, 10).propose(len(scores))


def test_rounds_that_failed_are_left_out(adam):
    whole, gappy = BayesianPI(adam, 5, 10), BayesianPI(adam, 5, 10)
    points = [Random(adam, 99, 10).propose(r) for r in range(4)]
    for number, score in ((0, 0.3), (2, 0.8)):
        whole.observe(number, points[number], score)
    for number, score in ((0, 0.3), (1, None), (2, 0.8), (3, float("nan"))):
        gappy.observe(number, points[number], score)

    assert gappy.propose(4) == whole.propose(4)


def test_it_finds_an_optimum_that_random_search_misses():
    # A square of a few kernel lengths: on a much larger one, PI stays near the first good point.
    space = SearchSpace({"x": Float(0.0, 4.0), "y": Float(0.0, 4.0)})

    def score(values):
        return np.exp(-((values["x"] - 2.9) ** 2 + (values["y"] - 0.8) ** 2) / 2)

    def best(strategy):
        scores = []
        observed(strategy, 30, lambda values: scores.append(score(values)) or scores[-1])
        return max(scores)

    wins = [
        best(BayesianPI(space, s, 30, candidates=1000)) > best(Random(space, s, 30))
        for s in range(5)
    ]
    assert sum(wins) >= 4


def test_repeated_points_and_many_rounds_do_not_break_the_process(adam):
    strategy = BayesianPI(adam, 0, 400)
    values = Random(adam, 0, 1).propose(0)
    for number in range(400):
        strategy.observe(number, values, 0.1 + 0.001 * number)

    assert adam.contains(strategy.propose(400))


@pytest.mark.long
def test_the_proposals_do_not_depend_on_the_number_of_threads():
    code = """
from joulelab.tuning.bayesian import BayesianPI
from joulelab.tuning.conformance import SPACES
strategy = BayesianPI(SPACES["continuous"], 3, 12)
for number in range(12):
    values = strategy.propose(number)
    strategy.observe(number, values, values["beta1"] * values["beta2"])
print(values)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(found) == 1
