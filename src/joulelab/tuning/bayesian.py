"""Bayesian optimisation by probability of improvement, as Algorithm 1 of Yarally et al.

Notation, for round r with the observed rounds (x_i, y_i), i < r:

=========  =========================================================================================
x          codes of a point, (variables,), unscaled; see `joulelab.tuning.space`
y          score of a round, higher is better; rounds without a score are ignored
f          Gaussian process with mean 0, covariance exp(-|x - x'|^2 / 2) and noise of variance 1e-10
mu, sigma  mean and standard deviation of f at x, given the observed rounds
y_best     max_i y_i
=========  =========================================================================================

::

    PI(x) = Phi((mu(x) - y_best) / (sigma(x) + 1e-9))                    (equation 1)

The proposal is the one of 10,000 uniform draws with the highest PI, the first one in a tie. The
first round, and any round without earlier scores, is a uniform draw.

Source: Yarally et al., "Uncovering energy-efficient practices in deep learning training", CAIN
2023, section III-B; PI after Kushner, "A new method of locating the maximum point of an arbitrary
multipeak curve in the presence of noise", J. Basic Engineering 86 (1964).

The process is scikit-learn's default at the time of the paper: a kernel of length 1, not fitted.
Since release 1.9 the default fits the length, so the kernel is explicit here. With unscaled points,
all of Adam's bounds are within about one length: mu is smooth, and a variable as narrow as epsilon
has no influence.

The linear algebra runs on one thread: so sums and proposals do not depend on the number of cores.
Another processor or BLAS may still round differently.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from joulelab.optional import optional, require
from joulelab.tuning import blas
from joulelab.tuning.space import SearchSpace, Value
from joulelab.tuning.strategy import Strategy

CANDIDATES = 10_000
"""Number of uniform candidates of a proposal."""

EPSILON = 1e-9
"""Keeps PI defined at observed points, where sigma is 0."""

LENGTH_SCALE = 1.0
"""Length of the kernel, in the units of the codes."""

NOISE = 1e-10
"""Variance added to the diagonal of the covariance of the observed points."""

USER = "the strategy 'bayesian-pi'"


class BayesianPI(Strategy):
    """Gaussian process, highest probability of improvement among uniform candidates.

    Args:
        space: what is searched.
        seed: of the candidates.
        rounds: number of rounds; not used.
        candidates: number of uniform candidates of each proposal.
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
        require("sklearn", user=USER)
        super().__init__(space, seed, rounds)
        self.candidates = candidates
        self.epsilon = epsilon
        self._observed: dict[int, tuple[NDArray[np.float64], float]] = {}

    def propose(self, number: int) -> dict[str, Value]:
        """The candidate with the highest PI, given the rounds before `number`."""
        # Ignore later rounds, so that a repeated call returns the same.
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
        """Store the point and its score; a round without a finite score is ignored."""
        if score is not None and math.isfinite(score):
            self._observed[number] = (self.space.encode(values), float(score))


def predict(
    points: NDArray[np.float64], scores: NDArray[np.float64], candidates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the Gaussian process at the candidates.

    Args:
        points: codes of the observed points, (observed, variables).
        scores: (observed,).
        candidates: codes, (candidates, variables).

    Returns:
        Both (candidates,).
    """
    with blas.one_thread(), warnings.catch_warnings():
        # Rounding makes the variance at an observed point -1e-17; scikit-learn sets it to 0.
        warnings.filterwarnings("ignore", "Predicted variances smaller than 0", UserWarning)
        library = optional("sklearn.gaussian_process", USER)
        kernel = library.kernels.RBF(LENGTH_SCALE)
        process = library.GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None)
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
