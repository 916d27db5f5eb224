"""Deming regression: the straight line between two instruments that both have errors.

With x_i the reference, y_i the instrument, n runs, and delta the variance of the errors of y over
that of the errors of x (1: both scatter alike)::

    b = (s_yy - delta s_xx + sqrt((s_yy - delta s_xx)^2 + 4 delta s_xy^2)) / (2 s_xy)
    a = m_y - b m_x
    theta_i = n theta - (n - 1) theta_(-i)       pseudo-values of a and of b, run i left out
    mean(theta_i) +- t(n - 2) sqrt(var(theta_i) / n)

s are sums of squares and products about the means m. Deming, "Statistical Adjustment of Data"
(1943); Linnet, "Estimation of the linear relationship between the measurements of two methods with
proportional errors", Statistics in Medicine 9 (1990), and for the jackknife Clinical Chemistry 39
(1993). The intervals stand about the estimate, not about the mean of the pseudo-values.

Least squares of y on x takes x to be exact and so draws the line too flat. Deming regression is
moved by outliers; `joulelab.analysis.passing_bablok` is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.line import Line, no_line, unvaried
from joulelab.analysis.rounding import ROUNDING, constant

Values = npt.NDArray[np.float64]

NAN = math.nan
METHOD = "Deming"
FEWEST = 4


def deming(
    reference: Sequence[float] | Values,
    measured: Sequence[float] | Values,
    delta: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Line:
    """The Deming line, measured = intercept + slope * reference, with jackknife intervals.

    Args:
        reference: x, shape (n,).
        measured: y on the same runs, shape (n,).
        delta: variance of the errors of y over that of the errors of x, above 0.
        confidence: of the intervals.

    Raises:
        ValueError: delta is not above 0.

    >>> line = deming([1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.1, 3.9])
    >>> round(line.slope, 3), round(line.intercept, 3)
    (0.963, 0.092)
    """
    if not 0 < delta < math.inf:
        raise ValueError(f"a ratio of variances of {delta:g} is not possible")
    x, y = np.asarray(reference, float), np.asarray(measured, float)
    n = len(x)
    if n < FEWEST:
        return no_line(METHOD, n, FEWEST)
    slope, intercept = _line(x, y, delta)
    if math.isnan(slope):
        return no_line(METHOD, n, FEWEST, unvaried(x, y) or "the readings are not correlated")
    others = np.array([_line(np.delete(x, i), np.delete(y, i), delta) for i in range(n)])
    pseudo = n * np.array([slope, intercept]) - (n - 1) * others  # (runs, 2)
    reach = float(stdtrit(n - 2, (1 + confidence) / 2)) * pseudo.std(axis=0, ddof=1) / math.sqrt(n)
    return Line(
        method=METHOD,
        slope=slope,
        slope_low=slope - float(reach[0]),
        slope_high=slope + float(reach[0]),
        intercept=intercept,
        intercept_low=intercept - float(reach[1]),
        intercept_high=intercept + float(reach[1]),
        linearity_p=NAN,
        n=n,
        reason="",
    )


def _line(x: Values, y: Values, delta: float) -> tuple[float, float]:
    """Slope and intercept; NaN where the readings of one do not vary, or the covariance is 0."""
    if constant(x) or constant(y):
        return NAN, NAN
    from_x, from_y = x - x.mean(), y - y.mean()
    s_xx, s_yy, s_xy = (float(v) for v in (from_x @ from_x, from_y @ from_y, from_x @ from_y))
    if abs(s_xy) <= ROUNDING * math.sqrt(s_xx * s_yy):
        return NAN, NAN
    excess = s_yy - delta * s_xx
    slope = (excess + math.hypot(excess, 2 * math.sqrt(delta) * s_xy)) / (2 * s_xy)
    return slope, float(y.mean() - slope * x.mean())
