"""Bayesian optimisation by probability of improvement, as Algorithm 1 of Yarally et al.

Notation, for round r with the observed rounds (x_i, y_i), i < r:

=========  =========================================================================================
x          codes of a point, (variables,), unscaled; see `joulelab.tuning.space`
y          score of a round, higher is better; rounds without a score are left out
f          Gaussian process with mean 0, covariance exp(-|x - x'|^2 / 2) and noise of variance 1e-10
mu, sigma  mean and standard deviation of f at x, given the observed rounds
y_best     max_i y_i
=========  =========================================================================================

::

    PI(x) = Phi((mu(x) - y_best) / (sigma(x) + 1e-9))                    (equation 1)

The proposal is the one of 10,000 uniform draws with the greatest PI, the first of them where
several share it. The first round, and any round before which nothing was scored, is a uniform draw.

Source: Yarally et al., "Uncovering energy-efficient practices in deep learning training", CAIN
2023, section III-B; PI after Kushner, "A new method of locating the maximum point of an arbitrary
multipeak curve in the presence of noise", J. Basic Engineering 86 (1964).

The process is what scikit-learn took by default when they wrote: a kernel of length 1, not fitted.
From release 1.9 its default fits the length, so the kernel is spelt out here. With the points
unscaled, all of ADAM's bounds lie within about one such length: mu is smooth, and a variable as
narrow as epsilon has no influence.

The linear algebra runs on one thread: its sums, and so the proposals, are then the same whatever
the number of cores. Another processor or BLAS may still round differently.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from threadpoolctl import threadpool_limits

from joulelab.tuning.space import SearchSpace, Value
from joulelab.tuning.strategy import Strategy

CANDIDATES = 10_000
"""Uniform draws among which the proposal is chosen."""

EPSILON = 1e-9
"""Keeps PI defined where sigma is 0, at points that were observed."""

LENGTH_SCALE = 1.0
"""Length of the kernel, in the units of the codes."""

NOISE = 1e-10
"""Variance added to the diagonal of the covariance of the observed points."""


class BayesianPI(Strategy):
    """Gaussian process, highest probability of improvement among uniform candidates.

    Args:
        space: what is searched.
        seed: of the candidates.
        rounds: how many there will be; without influence.
        candidates: uniform draws among which each proposal is chosen.
        epsilon: added to sigma.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        rounds: int,
        candidates: int = CANDIDATES,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__(space, seed, rounds)
        self.candidates = candidates
        self.epsilon = epsilon
        self._observed: dict[int, tuple[NDArray[np.float64], float]] = {}

    def propose(self, number: int) -> dict[str, Value]:
        """The candidate with the greatest PI, given the rounds before `number`."""
        # Later rounds are left out so that a repeated call gives the same answer.
        earlier = [self._observed[r] for r in sorted(self._observed) if r < number]
        generator = self.generator(number)
        if not earlier:
            return self.space.decode(self.space.sample(1, generator)[0])
        points = np.stack([point for point, _ in earlier])  # (observed, variables)
        scores = np.array([score for _, score in earlier])  # (observed,)
        candidates = self.space.sample(self.candidates, generator)  # (candidates, variables)
        mean, std = predict(points, scores, candidates)
        improvement = probability_of_improvement(mean, std, scores.max(), self.epsilon)
        return self.space.decode(candidates[np.argmax(improvement)])

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Keep the point and its score; a round without a (finite) score is left out."""
        if score is not None and math.isfinite(score):
            self._observed[number] = (self.space.encode(values), float(score))


def predict(
    points: NDArray[np.float64], scores: NDArray[np.float64], candidates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the Gaussian process at the candidates.

    Args:
        points: codes of what was observed, (observed, variables).
        scores: (observed,).
        candidates: codes, (candidates, variables).

    Returns:
        Both (candidates,).
    """
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        # Rounding makes the variance at an observed point -1e-17; scikit-learn sets it to 0.
        warnings.filterwarnings("ignore", "Predicted variances smaller than 0", UserWarning)
        process = GaussianProcessRegressor(RBF(LENGTH_SCALE), alpha=NOISE, optimizer=None)
        process.fit(points, scores)
        mean, std = process.predict(candidates, return_std=True)
    return mean, std


def probability_of_improvement(
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    best: float,
    epsilon: float = EPSILON,
) -> NDArray[np.float64]:
    """Probability that a point scores at least `best`, equation 1 of Yarally et al.

    Args:
        mean: predicted score, (candidates,).
        std: its standard deviation, (candidates,).
        best: the highest score so far.
        epsilon: added to `std`.

    Returns:
        Probabilities, (candidates,).

    >>> probability_of_improvement(np.array([0.8, 0.9]), np.array([0.1, 0.1]), 0.8).round(3)
    array([0.5  , 0.841])
    """
    probability: NDArray[np.float64] = ndtr((mean - best) / (std + epsilon))
    return probability
