"""Time of a Bayesian proposal: candidates predicted in one call, against one by one.

    python benchmarks/proposal.py [--observations 64] [--variables 5] [--pairs 5]

Both ways are timed in turn, in one process, on the same observations, so that whatever else the
machine does meets both; the ratio is taken within each pair. The loop is Algorithm 1 of Yarally et
al. (CAIN 2023) as printed: the process is fitted once and asked for one candidate at a time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import sklearn
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from threadpoolctl import threadpool_limits

from joulelab.tuning.bayesian import (
    CANDIDATES,
    LENGTH_SCALE,
    NOISE,
    BayesianPI,
    probability_of_improvement,
)
from joulelab.tuning.space import Float, SearchSpace

ADAM = SearchSpace(
    {
        "learning_rate": Float(1e-5, 1e-1),
        "beta1": Float(0.1, 1.0, high_exclusive=True),
        "beta2": Float(0.8, 1.0, high_exclusive=True),
        "epsilon": Float(1e-9, 1e-7),
        "weight_decay": Float(0.0, 0.1),
    }
)
WARM_UP_CALLS = 3
CALLS_A_PAIR = 10


def main() -> None:
    """Time both ways and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=64)
    parser.add_argument("--variables", type=int, default=5, choices=range(1, 6))
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()

    space = ADAM.first(args.variables)
    strategy = BayesianPI(space, seed=1, rounds=args.observations + 1)
    generator = np.random.default_rng(1)
    points = space.sample(args.observations, generator)  # (observations, variables)
    scores = generator.random(args.observations)
    for number, (point, score) in enumerate(zip(points, scores, strict=True)):
        strategy.observe(number, space.decode(point), float(score))

    def one_by_one() -> None:
        best_of_loop(points, scores, space.sample(CANDIDATES, strategy.generator(len(points))))

    for _ in range(WARM_UP_CALLS):
        strategy.propose(args.observations)
    calls, loops = [], []
    for _ in range(args.pairs):
        calls.append(seconds(lambda: strategy.propose(args.observations), CALLS_A_PAIR))
        loops.append(seconds(one_by_one, 1))
    ratios = [loop / call for call, loop in zip(calls, loops, strict=True)]

    print(
        f"{platform.machine()}, Python {platform.python_version()}, sklearn {sklearn.__version__}"
    )
    print(
        f"{args.observations} observations, {args.variables} variables, {CANDIDATES} candidates, "
        f"one BLAS thread, {args.pairs} pairs; median (least to greatest)"
    )
    print(f"one call    {spread([1e3 * s for s in calls], 'ms')}")
    print(f"one by one  {spread([1e3 * s for s in loops], 'ms')}")
    print(f"ratio       {spread(ratios, 'times')}")


def best_of_loop(points: np.ndarray, scores: np.ndarray, candidates: np.ndarray) -> int:
    """Algorithm 1 as printed: index of the best candidate, one prediction for each."""
    best, best_improvement = 0, -1.0
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Predicted variances smaller than 0", UserWarning)
        process = GaussianProcessRegressor(RBF(LENGTH_SCALE), alpha=NOISE, optimizer=None)
        process.fit(points, scores)
        for index, candidate in enumerate(candidates):
            mean, std = process.predict(candidate[np.newaxis], return_std=True)
            improvement = float(probability_of_improvement(mean, std, scores.max())[0])
            if improvement > best_improvement:
                best, best_improvement = index, improvement
    return best


def seconds(action: Callable[[], object], calls: int) -> float:
    """Mean duration of a call."""
    started = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - started) / calls


def spread(values: list[float], unit: str) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.1f} {unit} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
