"""Spearman's correlation of two figures of networks, with an interval.

::

    rho     Pearson's correlation of the ranks, ties with their mean rank
    z       atanh(rho) +- 1.96 sqrt((1 + rho^2 / 2) / (n - 3)),  the interval is tanh of it

Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman
correlations", Psychometrika 65 (2000). A percentile bootstrap draws some of a few dozen networks
twice, and such ties pull strong correlations down. Where both orders agree entirely the formula has
no end and there is no interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.special import ndtri

from joulelab.analysis.missing import complete
from joulelab.analysis.resampling import CONFIDENCE
from joulelab.analysis.rounding import constant, without_noise

FEWEST = 8
NAN = math.nan


@dataclass(frozen=True)
class RankCorrelation:
    """How far two figures put networks into the same order.

    Attributes:
        rho: from -1 to 1; NaN where `reason` says why.
        low: lower end of its 95 % interval; NaN also where rho is 1 or -1.
        high: upper end.
        n: networks with both figures.
        reason: why there is no correlation; empty where there is one.
    """

    rho: float
    low: float
    high: float
    n: int
    reason: str


def rank_correlation(points: pd.DataFrame, first: str, second: str) -> RankCorrelation:
    """Spearman's rho of two columns over the rows that have both.

    Args:
        points: a row a network.
        first: a column of numbers.
        second: another one.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> points = pd.DataFrame({"flops": range(10), "energy_j": [1, 0, 2, 3, 5, 4, 6, 7, 9, 8]})
    >>> found = rank_correlation(points, "flops", "energy_j")
    >>> round(found.rho, 3), round(found.low, 2), round(found.high, 2)
    (0.964, 0.8, 0.99)
    """
    rows = complete(points, [first, second]).rows
    n = len(rows)
    if n < FEWEST:
        return RankCorrelation(NAN, NAN, NAN, n, f"{n} networks; a correlation needs {FEWEST}")
    one, other = (rows[name].to_numpy(float) for name in (first, second))
    if constant(one) or constant(other):
        return RankCorrelation(NAN, NAN, NAN, n, "all networks have the same value")
    rho = spearman(one, other)
    return RankCorrelation(rho, *rank_interval(rho, n), n, "")


def spearman(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Spearman's rho; exactly 1 or -1 where the orders are the same or opposite.

    Args:
        first: (n,), not all the same.
        second: (n,), likewise.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([0.0, 5.0, 4.0]))
    0.5
    """
    one, other = (stats.rankdata(without_noise(values)) for values in (first, second))
    rho = float(np.corrcoef(one, other)[0, 1])
    return math.copysign(1.0, rho) if math.isclose(abs(rho), 1.0) else rho


def rank_interval(rho: float, n: int) -> tuple[float, float]:
    """The 95 % interval of Spearman's rho of n pairs (Bonett and Wright 2000).

    Args:
        rho: from -1 to 1.
        n: pairs.

    Returns:
        Low and high; NaN for fewer than eight pairs, and where rho is 1 or -1 or NaN.

    >>> [round(end, 2) for end in rank_interval(0.964, 10)]
    [0.8, 0.99]
    """
    if n < FEWEST or not abs(rho) < 1:
        return NAN, NAN
    reach = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    z = math.atanh(rho)
    return math.tanh(z - reach), math.tanh(z + reach)
