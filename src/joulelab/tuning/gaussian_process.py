"""A Gaussian process with fitted lengths, for scores and for logarithms of costs.

Notation, for points x in [0, 1]^k and values y standardised to mean 0 and variance 1:

=========  =========================================================================================
l_j        length of variable j
r          sqrt(sum_j (x_j - x'_j)^2 / l_j^2)
d          Euclidean distance |x - x'|
s^2, n^2   variances of the signal and of what the signal leaves unexplained
rho        share of n^2 that belongs to the point; the rest differs between two evaluations of it
=========  =========================================================================================

::

    k(x, x') = s^2 (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)
               + n^2 (rho exp(-d / 0.3) + (1 - rho) [x is x'])                     (equation 1)

The first term is the Matérn covariance of order 5/2 (Rasmussen and Williams, "Gaussian processes
for machine learning", 2006, equation 4.17). The second says that a point may be better than its
surroundings predict, and its close neighbours too: without it a search that has explained its
noise away keeps to one corner.

Scores during a training have a column u more, from 0 after the first epoch to 1 after the last, on
which r does not depend, and s^2 is::

    s^2 + t^2 (1 - u)^p (1 - u')^p                                             (equation 2)

What sets a training apart is its final score, and a part that fades: where d is large for u = 0 and
fades, a training begins slowly or quickly and ends like others. It is as smooth over the values as
the final score is, so the curves of a few trainings tell what to expect of those near them.

Lengths and variances maximise the likelihood times a lognormal prior (ibid., section 5.4.1), by
L-BFGS with the exact gradient. A fit starts from the prior, so it depends on the data alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

NEIGHBOURHOOD = 0.3
"""Distance over which what is unexplained is alike."""

JITTER = 1e-8
"""Added to the diagonal, so that equal points do not make the covariance singular."""

STEPS = 20
"""Steps of a fit at most; half as many where there are `MANY` observations."""

MANY = 64

POWER_SPREAD = 0.25
"""Standard deviation of the logarithm of p."""

LOWEST = -50.0
"""Instead of the logarithm of 0."""

OTHERS = 4
"""Parameters after the lengths: p, t^2, s^2, n^2."""

_SQRT5 = math.sqrt(5.0)
_REACH = 4.0
"""Bound on a parameter, in standard deviations of its prior."""


@dataclass(frozen=True)
class Prior:
    """Medians of the lognormal priors, each with the standard deviation of its logarithm.

    Attributes:
        length: of every variable, in units of its range.
        length_spread: its standard deviation.
        noise: of n^2.
        noise_spread: its standard deviation.
        local: the share rho.
        fading: of t^2.
        power: of p, in `POWER_SPREAD`.
    """

    length: float = 0.5
    length_spread: float = 1.0
    noise: float = math.exp(-4.0)
    noise_spread: float = 2.0
    local: float = 0.8
    fading: float = 2.0
    power: float = 1.5


class _Compared(NamedTuple):
    """Points compared with each other.

    Attributes:
        squares: squared differences by variable, (variables, points, points).
        distances: (points, points).
        remaining: log((1 - u) (1 - u')), (points, points).
    """

    squares: Array
    distances: Array
    remaining: Array


class GaussianProcess:
    """Mean 0, covariance of equation 1.

    Args:
        groups: for each column of the points, the variable whose length it has; (columns,), from
            0 to the number of variables - 1. Points may have a column u more, of equation 2.
        prior: of the lengths and variances.
    """

    def __init__(self, groups: NDArray[np.intp], prior: Prior) -> None:
        self.groups = groups
        self.prior = prior
        variables = int(groups.max()) + 1
        # Logarithms of the lengths, and of the others.
        self._centre = np.log(
            [prior.length] * variables + [prior.power, prior.fading, 1.0, prior.noise],
            dtype=np.float64,
        )
        self._spread = np.array(
            [prior.length_spread] * variables + [POWER_SPREAD, 1.0, 1.0, prior.noise_spread]
        )
        self.parameters = self._centre

    def fit(self, points: Array, values: Array) -> float:
        """Choose lengths and variances.

        Args:
            points: (observed, columns).
            values: (observed,), standardised.

        Returns:
            The logarithm of the likelihood times the prior, up to a constant.
        """
        reach = _REACH * self._spread
        found = minimize(
            self._objective,
            self._centre,
            args=(self._compared(points), values),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(self._centre - reach, self._centre + reach, strict=True)),
            options={"maxiter": STEPS if len(values) <= MANY else STEPS // 2},
        )
        self.parameters = found.x
        return -float(found.fun)

    def condition(self, points: Array, values: Array) -> None:
        """Take in observations, with the lengths and variances as they are; arguments as `fit`."""
        self._points = points
        covariance = self._covariance(points, points)
        covariance[np.diag_indices(len(points))] += self._repeat_variance
        self._root = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._root, True), values)

    def lookahead(self, targets: Array, observed: Array) -> tuple[Array, Array]:
        """What an observation at one point would tell about another.

        Args:
            targets: points of interest, (candidates, columns).
            observed: for each the point that would be observed, (candidates, columns).

        Returns:
            The mean at the target, and the standard deviation of the mean that it will have after
            the observation; both (candidates,). The latter is cov(f, y) / sqrt(var(y)), of the
            process f at the target and the observation y.
        """
        of_target = solve_triangular(
            self._root, (k := self._covariance(targets, self._points)).T, lower=True
        )
        of_observed = solve_triangular(
            self._root, self._covariance(observed, self._points).T, lower=True
        )
        shared = self._covariance_of_pairs(targets, observed)
        shared -= np.einsum("ij,ij->j", of_target, of_observed)
        variance = self._prior_variance(observed)
        variance -= np.einsum("ij,ij->j", of_observed, of_observed)
        variance = np.maximum(variance, 0.0) + self._repeat_variance
        return k @ self._weights, np.maximum(np.abs(shared) / np.sqrt(variance), 1e-9)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the process at points not observed.

        Args:
            points: (candidates, columns).

        Returns:
            Both (candidates,).
        """
        covariance = self._covariance(points, self._points)  # (candidates, observed)
        explained = solve_triangular(self._root, covariance.T, lower=True)
        variance = self._prior_variance(points) - np.einsum("ij,ij->j", explained, explained)
        return covariance @ self._weights, np.sqrt(np.maximum(variance, 1e-10))

    @property
    def _repeat_variance(self) -> float:
        return (1 - self.prior.local) * math.exp(self.parameters[-1]) + JITTER

    def _prior_variance(self, points: Array) -> Array:
        """Of the process at points, (points,)."""
        fading, signal, rest = np.exp(self.parameters[-3:])
        variance: Array = signal + fading * self._fade(points) ** 2 + self.prior.local * rest
        return variance

    def _fade(self, points: Array) -> Array:
        """(1 - u)^p; 0 for points without u."""
        return np.exp(math.exp(self.parameters[-OTHERS]) * self._remaining(points))

    def _remaining(self, points: Array) -> Array:
        """log(1 - u), bounded; very low for points without u."""
        columns = len(self.groups)
        if points.shape[1] == columns:
            return np.full(len(points), LOWEST)
        return np.log(np.maximum(1 - points[:, columns], math.exp(LOWEST)))

    def _scaled(self, points: Array) -> Array:
        """Points without u, in units of the lengths."""
        return points[:, : len(self.groups)] * np.exp(-self.parameters[self.groups])

    def _compared(self, points: Array) -> _Compared:
        """What the covariance of some points depends on beside the parameters."""
        columns = points[:, : len(self.groups)].T
        squares = (columns[:, :, None] - columns[:, None, :]) ** 2
        variables = len(self._centre) - OTHERS
        if len(self.groups) > variables:
            squares = np.stack([squares[self.groups == v].sum(axis=0) for v in range(variables)])
        remaining = self._remaining(points)
        return _Compared(squares, _distances(points, points), remaining[:, None] + remaining)

    def _covariance(self, left: Array, right: Array) -> Array:
        """Equation 1 without its last term, (left, right)."""
        fading, signal, rest = np.exp(self.parameters[-3:])
        amount = signal + fading * self._fade(left)[:, None] * self._fade(right)
        covariance: Array = amount * _matern(_distances(self._scaled(left), self._scaled(right)))
        if self.prior.local:
            local = np.exp(-_distances(left, right) / NEIGHBOURHOOD)
            covariance += self.prior.local * rest * local
        return covariance

    def _covariance_of_pairs(self, left: Array, right: Array) -> Array:
        """The same of row i with row i, (rows,)."""
        fading, signal, rest = np.exp(self.parameters[-3:])
        amount = signal + fading * self._fade(left) * self._fade(right)
        scaled = self._scaled(left) - self._scaled(right)
        local = np.exp(-np.sqrt(((left - right) ** 2).sum(axis=1)) / NEIGHBOURHOOD)
        covariance: Array = amount * _matern(np.sqrt((scaled**2).sum(axis=1)))
        covariance += self.prior.local * rest * local
        return covariance

    def _objective(self, parameters: Array, about: _Compared, values: Array) -> tuple[float, Array]:
        """Negative logarithm of likelihood times prior, and its gradient."""
        variables = len(parameters) - OTHERS
        power, fading, signal, rest = np.exp(parameters[-OTHERS:])
        faded = np.exp(power * about.remaining)
        scaled = about.squares * np.exp(-2 * parameters[:variables])[:, None, None]
        r = np.sqrt(scaled.sum(axis=0))
        smooth = _matern(r)
        amount = signal + fading * faded
        identity = np.eye(len(values))
        local = self.prior.local
        unexplained = local * np.exp(-about.distances / NEIGHBOURHOOD) + (1 - local) * identity
        try:
            root = cholesky(amount * smooth + rest * unexplained + JITTER * identity, lower=True)
        except LinAlgError:
            return 1e10, np.zeros_like(parameters)
        weights = cho_solve((root, True), values)
        deviation = (parameters - self._centre) / self._spread
        value = values @ weights / 2 + np.log(np.diag(root)).sum() + deviation @ deviation / 2
        # d value / d theta = trace(inner dK / d theta) / 2
        inner = cho_solve((root, True), identity) - np.outer(weights, weights)
        by_length = inner * (amount * 5 / 3 * (1 + _SQRT5 * r) * np.exp(-_SQRT5 * r))
        gradient = np.empty_like(parameters)
        gradient[:variables] = np.einsum("ij,vij->v", by_length, scaled) / 2
        of_fading = fading * inner * faded * smooth
        gradient[-4] = power * np.sum(of_fading * about.remaining) / 2
        gradient[-3] = np.sum(of_fading) / 2
        gradient[-2] = signal * np.sum(inner * smooth) / 2
        gradient[-1] = rest * np.sum(inner * unexplained) / 2
        return float(value), gradient + deviation / self._spread


def _matern(r: Array) -> Array:
    covariance: Array = (1 + _SQRT5 * r + 5 / 3 * r * r) * np.exp(-_SQRT5 * r)
    return covariance


def _distances(left: Array, right: Array) -> Array:
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1) - 2 * left @ right.T
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances
