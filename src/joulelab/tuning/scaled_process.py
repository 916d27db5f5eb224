"""Gaussian processes of values that are scaled first, with lengths fitted now and then.

A score is compressed, a cost is seen as its logarithm; both are standardised. Lengths are fitted
to the observations up to a checkpoint, so that what is predicted from the same observations is the
same, whether or not the search was interrupted in between. Where there are two scales, the fit also
chooses the one on which the observations are likelier (Snelson, Rasmussen and Ghahramani, "Warped
Gaussian processes", NIPS 2003, equation 6).
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

CLEAR = 5.0
"""Logarithm of how much likelier values must be on another scale: "very strong" evidence (Kass and
Raftery, Journal of the American Statistical Association 90, 1995)."""

_EIGHTH = 8


class Scaled(NamedTuple):
    """Standardised values.

    Attributes:
        values: mean 0, standard deviation 1.
        centre: the mean that was taken out.
        unit: what a difference of 1 is in the original unit; of scores, near the best one.
        log_slope: sum of the logarithms of the derivatives of the values by the original ones: with
            it, likelihoods on several scales can be compared.
    """

    values: Array
    centre: float
    unit: float
    log_slope: float


Scale = Callable[[Array], Scaled | None]
"""Standardises values, (observed,); None where they cannot be on this scale."""


class ScaledProcess:
    """Makes processes from observations; remembers the lengths of the latest checkpoints.

    Args:
        groups: for each column of the points, the variable whose length it has; (columns,).
        prior: of lengths and variances.
        usual: the scale of the values.
        other: one that is taken instead where values are likelier on it.
    """

    def __init__(
        self,
        groups: NDArray[np.intp],
        prior: Prior,
        usual: Callable[[Array], Scaled],
        other: Scale | None = None,
    ) -> None:
        self._about = groups, prior
        self._usual = usual
        self._other = other
        self._fitted: dict[bytes, tuple[Array, bool]] = {}

    def given(self, points: Array, values: Array) -> tuple[GaussianProcess, Scaled]:
        """The process after some observations, and their scaled values.

        Args:
            points: (observed, columns), in the order in which they were observed.
            values: (observed,), before they are scaled; NaN as the scales have it.
        """
        process = GaussianProcess(*self._about)
        count = checkpoint(len(values))
        head, key = values[:count], points[:count].tobytes() + values[:count].tobytes()
        if key not in self._fitted:
            self._fitted[key] = self._fit(process, points[:count], head)
        process.parameters, on_other = self._fitted[key]
        scaled = self._other(values) if self._other is not None and on_other else None
        scaled = scaled or self._usual(values)
        process.condition(points, scaled.values)
        return process, scaled

    def _fit(self, process: GaussianProcess, points: Array, values: Array) -> tuple[Array, bool]:
        """Lengths and variances, and whether they are those on the other scale."""
        if np.isfinite(values).sum() < FEWEST_FITTED:
            return process.parameters, False
        usual, other = self._usual(values), None if self._other is None else self._other(values)
        likelihood = process.fit(points, usual.values) + usual.log_slope
        on_usual = process.parameters
        if other is None:
            return on_usual, False
        gain = process.fit(points, other.values) + other.log_slope - likelihood
        return (process.parameters, True) if gain > CLEAR else (on_usual, False)


def standardised(values: Array, least: float = 1e-12) -> Scaled:
    """Values with mean 0 and variance 1; a standard deviation below `least` counts as that."""
    centre, unit = float(values.mean()), max(float(values.std()), least)
    return Scaled((values - centre) / unit, centre, unit, -len(values) * math.log(unit))


def standard_scores(scores: Array, share: float = 0.5) -> Scaled:
    """Scores with the gap to the best on a logarithmic scale, standardised.

    So a failed training, far below all others, does not decide on the scale of all. A failure, NaN,
    is as bad as the worst score.

    Args:
        scores: (observed,).
        share: gaps are in units of that which so many are below.
    """
    gaps, _ = _gaps(scores)
    return _logarithmic(gaps, _usual_gap(gaps, share))


def standard_losses(scores: Array, share: float = 0.5) -> Scaled | None:
    """Losses, which are scores below 0, on a logarithmic scale, standardised.

    They may span decades: then a gap that is small beside the usual one is still large beside the
    best loss. None where the usual gap is not larger than that.

    Args:
        scores: (observed,); a failure, NaN, is as bad as the worst score.
        share: so many gaps are below the usual one.
    """
    gaps, best = _gaps(scores)
    return _logarithmic(gaps, -best) if 0 < -best < _usual_gap(gaps, share) else None


def _gaps(scores: Array) -> tuple[Array, float]:
    """Of each score to the best, and that."""
    known = np.where(np.isnan(scores), np.nanmin(scores), scores)
    best = float(known.max())
    return best - known, best


def _usual_gap(gaps: Array, share: float) -> float:
    return float(np.quantile(gaps, share)) or float(gaps.max()) or 1.0


def _logarithmic(gaps: Array, offset: float) -> Scaled:
    """-log(1 + gap / offset), standardised."""
    logs = np.log1p(gaps / offset)
    values, centre, unit, log_slope = standardised(-logs)
    log_slope -= float(logs.sum()) + len(logs) * math.log(offset)
    return Scaled(values, centre, unit * offset, log_slope)


def checkpoint(count: int) -> int:
    """The last number of observations, up to `count`, at which lengths are fitted.

    All up to 8, then every eighth part more: a fit costs more than a proposal.
    """
    at = min(count, _EIGHTH)
    while at >= _EIGHTH and at + at // _EIGHTH <= count:
        at += at // _EIGHTH
    return at
