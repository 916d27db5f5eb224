"""Correlations with their intervals: Pearson, Lin, Spearman.

Lin's concordance: how close are the readings of two instruments to x = y?
--------------------------------------------------------------------------

With means m, variances v (divided by n), covariance c and Pearson's correlation r of n runs::

    rho_c = 2 c / (v_x + v_y + (m_x - m_y)^2)  =  r C_b
    C_b   = 2 / (w + 1 / w + u^2)             w = s_x / s_y,   u = (m_x - m_y) / sqrt(s_x s_y)
    z     = atanh(rho_c) +- 1.96 s_z,         the interval is tanh of it
    s_z^2 = 1 / (n - 2) * ( (1 - r^2) C_b^2 / (1 - rho_c^2)
                            + 2 rho_c^2 C_b (1 - rho_c) u^2 / (1 - rho_c^2)^2
                            - rho_c^2 C_b^2 u^4 / (2 (1 - rho_c^2)^2) )

r measures whether the readings are on some line, C_b whether that line is x = y: an instrument that
reads half of the energy in every run has r = 1 and rho_c near 0. Lin, "A concordance correlation
coefficient to evaluate reproducibility", Biometrics 45 (1989), with the correction of s_z in
Biometrics 56 (2000), written with C_b for rho_c / r, so that r may be 0. The interval of r is
Fisher's, atanh(r) +- 1.96 / sqrt(n - 3).

Spearman's correlation of two properties of networks
----------------------------------------------------

::

    rho     Pearson's correlation of the ranks, ties with their mean rank
    z       atanh(rho) +- 1.96 sqrt((1 + rho^2 / 2) / (n - 3)),  the interval is tanh of it

Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman
correlations", Psychometrika 65 (2000). A percentile bootstrap of a few dozen networks draws some
twice, and such ties reduce strong correlations. If both orders agree entirely the formula diverges
and there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from joulelab.analysis.comparison import z_quantile
from joulelab.analysis.frames import complete
from joulelab.analysis.line import too_few, unvaried
from joulelab.analysis.rounding import Values, constant, without_noise

FEWEST = 8
NAN = math.nan
FEWEST_RUNS = 3


@dataclass(frozen=True)
class Correlation:
    """A correlation with its interval.

    Attributes:
        value: from -1 to 1; NaN where `reason` says why.
        low: lower end of the interval; NaN with too few runs, or where the value is 1 or -1.
        high: upper end.
        n: number of runs.
        reason: why there is no correlation; otherwise empty.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str


def pearson(first: Sequence[float] | Values, second: Sequence[float] | Values) -> Correlation:
    """Pearson's correlation, with Fisher's interval from four runs on.

    Args:
        first: readings of one instrument, shape (n,).
        second: readings of the other on the same runs, shape (n,).

    >>> found = pearson([1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 1.9, 3.2, 3.8, 5.0])
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.995, 0.926, 1.0)
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    if reason := _undefined(x, y):
        return Correlation(NAN, NAN, NAN, len(x), reason)
    r = _correlation(x, y)
    error = 1 / math.sqrt(len(x) - 3) if len(x) > FEWEST_RUNS else NAN
    return Correlation(r, *_fisher(r, error), len(x), "")


def concordance(first: Sequence[float] | Values, second: Sequence[float] | Values) -> Correlation:
    """Lin's concordance correlation coefficient.

    Args:
        first: readings of one instrument, shape (n,).
        second: readings of the other on the same runs, in the same unit, shape (n,).

    Reading half of the energy in every run gives perfect correlation but no agreement:

    >>> round(concordance([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).value, 3)
    0.364
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    if reason := _undefined(x, y):
        return Correlation(NAN, NAN, NAN, len(x), reason)
    r = _correlation(x, y)
    s_x, s_y = float(x.std()), float(y.std())
    apart = float(x.mean() - y.mean())
    bias = 2 * s_x * s_y / (s_x**2 + s_y**2 + apart**2)
    error = _error(r, bias, apart**2 / (s_x * s_y), len(x))
    return Correlation(r * bias, *_fisher(r * bias, error), len(x), "")


def _error(r: float, bias: float, u2: float, n: int) -> float:
    """The standard error of atanh of r C_b; bias is C_b, and u2 the square of u."""
    value = r * bias
    rest = 1 - value**2
    if rest <= 0:
        return NAN
    variance = (
        (1 - r**2) * bias**2 / rest
        + 2 * value**2 * bias * (1 - value) * u2 / rest**2
        - value**2 * bias**2 * u2**2 / (2 * rest**2)
    ) / (n - 2)
    return math.sqrt(variance) if variance >= 0 else NAN


def _fisher(value: float, error: float) -> tuple[float, float]:
    if not math.isfinite(error) or math.isclose(abs(value), 1.0):
        return NAN, NAN
    reach = z_quantile() * error
    return math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach)


def _undefined(x: Values, y: Values) -> str:
    return too_few(len(x), FEWEST_RUNS, "a correlation needs") or unvaried(y, x)


def _correlation(x: Values, y: Values) -> float:
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


@dataclass(frozen=True)
class RankCorrelation:
    """How far two properties order networks equally.

    Attributes:
        rho: from -1 to 1; NaN where `reason` says why.
        low: lower end of its 95 % interval; NaN also where rho is 1 or -1.
        high: upper end.
        n: networks with both properties.
        reason: why there is no correlation; otherwise empty.
    """

    rho: float
    low: float
    high: float
    n: int
    reason: str


def rank_correlation(points: pd.DataFrame, first: str, second: str) -> RankCorrelation:
    """Spearman's rho of two columns over the rows that have both.

    Args:
        points: one row per network.
        first: a numeric column.
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


def spearman(first: Values, second: Values) -> float:
    """Spearman's rho; exactly 1 or -1 if the orders are equal or opposite.

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
    return _fisher(rho, math.sqrt((1 + rho**2 / 2) / (n - 3)))
