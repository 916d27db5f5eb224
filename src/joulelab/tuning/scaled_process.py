"""Gaussian processes of values that are scaled first, with lengths fitted now and then.

A score is compressed, a cost is seen as its logarithm; both are standardised. Lengths are fitted
to the observations up to a checkpoint, so that what is predicted from the same observations is the
same, whether or not the search was interrupted in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from joulelab.tuning.gaussian_process import GaussianProcess, Prior

Array = NDArray[np.float64]

FEWEST_FITTED = 3
"""With fewer observations the lengths are those of the prior."""

_EIGHTH = 8


class Scaled(NamedTuple):
    """Standardised values.

    Attributes:
        values: mean 0, standard deviation 1.
        centre: the mean that was taken out.
        unit: what a difference of 1 is in the original unit; of scores, near the best one.
    """

    values: Array
    centre: float
    unit: float


class ScaledProcess:
    """Makes processes from observations; remembers the lengths of the latest checkpoints.

    Args:
        groups: for each column of the points, the variable whose length it has; (columns,).
        prior: of lengths and variances.
        scale: standardises values.
    """

    def __init__(
        self,
        groups: NDArray[np.intp],
        prior: Prior,
        scale: Callable[[Array], Scaled],
    ) -> None:
        self._about = groups, prior
        self._scale = scale
        self._parameters: dict[bytes, Array] = {}

    def given(self, points: Array, values: Array) -> tuple[GaussianProcess, Scaled]:
        """The process after some observations, and their scaled values.

        Args:
            points: (observed, columns), in the order in which they were observed.
            values: (observed,), before they are scaled; NaN as `scale` has it.
        """
        process = GaussianProcess(*self._about)
        count = checkpoint(len(values))
        head, key = values[:count], points[:count].tobytes() + values[:count].tobytes()
        if key not in self._parameters:
            if np.isfinite(head).sum() >= FEWEST_FITTED:
                process.fit(points[:count], self._scale(head).values)
            self._parameters[key] = process.parameters
        process.parameters = self._parameters[key]
        scaled = self._scale(values)
        process.condition(points, scaled.values)
        return process, scaled


def standardised(values: Array, least: float = 1e-12) -> Scaled:
    """Values with mean 0 and variance 1; a standard deviation below `least` counts as that."""
    centre, unit = float(values.mean()), max(float(values.std()), least)
    return Scaled((values - centre) / unit, centre, unit)


def standard_scores(scores: Array, share: float = 0.5) -> Scaled:
    """Scores with the gap to the best on a logarithmic scale, standardised.

    So a failed training, far below all others, does not decide on the scale of all. A failure, NaN,
    is as bad as the worst score.

    Scores below 0 are losses, and these may span decades: then a gap that is small beside the usual
    one is still large beside the best loss. If losses are closer to a normal distribution on a
    logarithmic scale than their gaps are, by the likelihood of Box and Cox (Journal of the Royal
    Statistical Society B 26, 1964, equation 8), they are seen on that.

    Args:
        scores: (observed,).
        share: gaps are in units of that which so many are below.
    """
    known = np.where(np.isnan(scores), np.nanmin(scores), scores)
    gaps = known.max() - known
    usual = float(np.quantile(gaps, share)) or float(gaps.max()) or 1.0
    offset, least_loss = usual, -float(known.max())
    if 0 < least_loss < usual:
        rest = np.delete(gaps, gaps.argmin())  # a gap of 0 says nothing about the scale of gaps
        if _log_likelihood(rest, least_loss) > _log_likelihood(rest, usual):
            offset = least_loss
    values, centre, unit = standardised(-np.log1p(gaps / offset))
    return Scaled(values, centre, unit * offset)


def _log_likelihood(gaps: Array, offset: float) -> float:
    """Of a normal distribution of log(gaps + offset), up to a constant."""
    logs = np.log(gaps + offset)
    variance = float(logs.var()) if len(logs) else 0.0
    return -math.inf if variance <= 0 else -len(logs) / 2 * math.log(variance) - float(logs.sum())


def checkpoint(count: int) -> int:
    """The last number of observations, up to `count`, at which lengths are fitted.

    All up to 8, then every eighth part more: a fit costs more than a proposal.
    """
    at = min(count, _EIGHTH)
    while at >= _EIGHTH and at + at // _EIGHTH <= count:
        at += at // _EIGHTH
    return at
