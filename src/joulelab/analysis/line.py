"""Lines between two instruments: Deming and Passing-Bablok regression.

::

    measured = intercept + slope * reference

A slope whose interval excludes 1 is a **proportional** error: a factor. An intercept whose interval
excludes 0 is a **constant** error: a part of the machine that one of the two does not measure, or
idle power that one of them subtracts. A calibration factor corrects only the first.

Deming regression: both instruments have errors
-----------------------------------------------

With x_i the reference, y_i the instrument, n runs, and delta the variance of the errors of y over
that of the errors of x (1: equal variances)::

    b = (s_yy - delta s_xx + sqrt((s_yy - delta s_xx)^2 + 4 delta s_xy^2)) / (2 s_xy)
    a = m_y - b m_x
    theta_i = n theta - (n - 1) theta_(-i)       pseudo-values of a and of b, run i left out
    mean(theta_i) +- t(n - 2) sqrt(var(theta_i) / n)

s are sums of squares and products about the means m. Deming, "Statistical Adjustment of Data"
(1943); Linnet, "Estimation of the linear relationship between the measurements of two methods with
proportional errors", Statistics in Medicine 9 (1990), and for the jackknife Clinical Chemistry 39
(1993). The intervals are centred at the estimate, not at the mean of the pseudo-values.

Least squares of y on x treats x as exact, so its line is too flat. Deming regression is sensitive
to outliers; Passing-Bablok regression is not.

Passing-Bablok regression: robust to outliers
---------------------------------------------

With x_i the reference and y_i the instrument on n runs, over all pairs i < j::

    S_ij = (y_j - y_i) / (x_j - x_i)      0/0 and exactly -1 are excluded; N slopes remain
    K    = how many S_ij < -1             the median is shifted by K
    b    = S_((N + 1) / 2 + K), or the mean of the two slopes in the middle
    C    = z sqrt(n (n - 1) (2 n + 5) / 18),   M = round((N - C) / 2)
    b from S_(M + K) to S_(N - M + 1 + K)
    a    = median(y_i - b x_i), from median(y_i - b_high x_i) to median(y_i - b_low x_i)

Both instruments may have errors, of any distribution. The shift makes the line symmetric in x and y
if the true slope is near 1; for other slopes it is still a median line, but not exactly invertible.

**Cusum test of linearity.** l points are above the line and L below. In order along the line, a
point above counts sqrt(L / l) and a point below -sqrt(l / L); the largest partial sum, divided by
sqrt(L + 1), has Kolmogorov's distribution for a straight line. With p < .05 the relation is not
linear.

Passing and Bablok, "A new biometrical procedure for testing the equality of measurements from two
different analytical methods", J. Clin. Chem. Clin. Biochem. 21 (1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov

from joulelab.analysis.comparison import CONFIDENCE, t_quantile, z_quantile
from joulelab.analysis.rounding import ROUNDING, Values, constant, without_noise

DEMING = "Deming"
FEWEST_DEMING = 4
PASSING_BABLOK = "Passing-Bablok"
FEWEST_PASSING_BABLOK = 3
MOST = 5000
"""There are n (n - 1) / 2 slopes; those of this many runs take 100 MB."""
NAN = math.nan


@dataclass(frozen=True)
class Line:
    """A line with the intervals of its slope and intercept.

    Attributes:
        method: regression method.
        n: number of runs.
        reason: why there is no line; otherwise empty.
        slope: NaN where `reason` says why.
        slope_low: lower end of its interval; NaN if there are too few runs.
        slope_high: upper end.
        intercept: in the unit of the readings.
        intercept_low: lower end of its interval.
        intercept_high: upper end.
        linearity_p: of the hypothesis of a straight line; NaN without test.

    >>> line = Line("Deming", 20, slope=0.5, slope_low=0.45, slope_high=0.55, intercept=3.0,
    ...     intercept_low=-2.0, intercept_high=8.0)
    >>> line.proportional, line.constant
    (True, False)
    """

    method: str
    n: int
    reason: str = ""
    slope: float = NAN
    slope_low: float = NAN
    slope_high: float = NAN
    intercept: float = NAN
    intercept_low: float = NAN
    intercept_high: float = NAN
    linearity_p: float = NAN

    @property
    def proportional(self) -> bool | None:
        """Whether the slope differs from 1; None without an interval."""
        if math.isnan(self.slope_low) or math.isnan(self.slope_high):
            return None
        return not self.slope_low <= 1 <= self.slope_high

    @property
    def constant(self) -> bool | None:
        """Whether the intercept differs from 0; None without an interval."""
        if math.isnan(self.intercept_low) or math.isnan(self.intercept_high):
            return None
        return not self.intercept_low <= 0 <= self.intercept_high


def unvaried(reference: npt.ArrayLike, measured: npt.ArrayLike) -> str:
    """Why readings have neither a line nor a correlation; empty if both instruments vary.

    Args:
        reference: readings of one instrument, shape (n,).
        measured: readings of the other.

    >>> unvaried([1.0, 2.0, 3.0], [0.1 + 0.2, 0.3, 0.3])
    'the instrument reads the same in all runs'
    """
    same = [constant(reference), constant(measured)]
    if all(same):
        return "both instruments read the same in all runs"
    if not any(same):
        return ""
    return f"the {'reference' if same[0] else 'instrument'} reads the same in all runs"


def too_few(n: int, fewest: int, what: str) -> str:
    """Why there are too few runs; otherwise empty.

    >>> too_few(1, 4, "a line needs")
    '1 run; a line needs 4'
    """
    return f"{n} run{'s' if n != 1 else ''}; {what} {fewest}" if n < fewest else ""


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
    if reason := too_few(n, FEWEST_DEMING, "a line needs"):
        return Line(DEMING, n, reason)
    slope, intercept = _line(x, y, delta)
    if math.isnan(slope):
        return Line(DEMING, n, unvaried(x, y) or "the readings are not correlated")
    others = np.array([_line(np.delete(x, i), np.delete(y, i), delta) for i in range(n)])
    pseudo = n * np.array([slope, intercept]) - (n - 1) * others  # (runs, 2)
    reach = t_quantile(n - 2, confidence) * pseudo.std(axis=0, ddof=1) / math.sqrt(n)
    return Line(
        DEMING,
        n,
        slope=slope,
        slope_low=slope - float(reach[0]),
        slope_high=slope + float(reach[0]),
        intercept=intercept,
        intercept_low=intercept - float(reach[1]),
        intercept_high=intercept + float(reach[1]),
    )


def _line(x: Values, y: Values, delta: float) -> tuple[float, float]:
    """Slope and intercept; NaN if the readings of one do not vary, or the covariance is 0."""
    if constant(x) or constant(y):
        return NAN, NAN
    from_x, from_y = x - x.mean(), y - y.mean()
    s_xx, s_yy, s_xy = (float(v) for v in (from_x @ from_x, from_y @ from_y, from_x @ from_y))
    if abs(s_xy) <= ROUNDING * math.sqrt(s_xx * s_yy):
        return NAN, NAN
    excess = s_yy - delta * s_xx
    slope = (excess + math.hypot(excess, 2 * math.sqrt(delta) * s_xy)) / (2 * s_xy)
    return slope, float(y.mean() - slope * x.mean())


def passing_bablok(
    reference: Sequence[float] | Values,
    measured: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Line:
    """The Passing-Bablok line, measured = intercept + slope * reference.

    Args:
        reference: x, shape (n,).
        measured: y on the same runs and in the same unit, shape (n,).
        confidence: of the intervals.

    Of three points, the slopes are 1, 2 and 3:

    >>> line = passing_bablok([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])
    >>> line.slope, line.intercept
    (2.0, 0.0)
    """
    x, y = np.asarray(reference, float), np.asarray(measured, float)
    n = len(x)
    reason = too_few(n, FEWEST_PASSING_BABLOK, "a line needs")
    if n > MOST:
        reason = f"more than {MOST:,} runs; use Deming regression"
    if reason := reason or unvaried(x, y):
        return Line(PASSING_BABLOK, n, reason)
    slopes, shift = _slopes(x, y)
    if not len(slopes) or shift + len(slopes) // 2 >= len(slopes):
        return Line(PASSING_BABLOK, n, "the readings are not positively correlated")
    slope = _shifted_median(slopes, shift)
    if not math.isfinite(slope):
        return Line(PASSING_BABLOK, n, "the reference reads the same in most runs")
    low, high = _interval(slopes, shift, n, confidence)
    intercept = float(np.median(y - slope * x))
    return Line(
        PASSING_BABLOK,
        n,
        slope=slope,
        slope_low=low,
        slope_high=high,
        intercept=intercept,
        intercept_low=float(np.median(y - high * x)) if math.isfinite(high) else NAN,
        intercept_high=float(np.median(y - low * x)) if math.isfinite(low) else NAN,
        linearity_p=_cusum_p(x, y, intercept, slope),
    )


def _slopes(x: Values, y: Values) -> tuple[Values, int]:
    """The sorted slopes of all pairs, and the number below -1."""
    first, second = np.triu_indices(len(x), 1)
    x, y = without_noise(x), without_noise(y)
    dx, dy = x[second] - x[first], y[second] - y[first]
    rounding = ROUNDING / 10 * max(np.abs(x).max(), np.abs(y).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = dy / dx  # vertical: infinite, with the sign of dy
    upright = dx == 0
    slopes[upright] = np.copysign(math.inf, dy[upright])
    slopes = np.sort(slopes[((dx != 0) | (dy != 0)) & (np.abs(dx + dy) > rounding)])
    return slopes, int((slopes < -1).sum())


def _shifted_median(slopes: Values, shift: int) -> float:
    """The middle slope, counted from the shift."""
    middle = (len(slopes) - 1) // 2 + shift
    if len(slopes) % 2 or middle + 1 >= len(slopes):
        return float(slopes[middle])
    return float(slopes[middle] + slopes[middle + 1]) / 2


def _interval(slopes: Values, shift: int, n: int, confidence: float) -> tuple[float, float]:
    """The interval of the slope; NaN on a side if there are too few runs."""
    reach = z_quantile(confidence) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = round((len(slopes) - reach) / 2)
    low, high = lowest + shift, len(slopes) - lowest + 1 + shift  # places counted from 1
    known = lowest >= 1
    return (
        float(slopes[low - 1]) if known and low <= len(slopes) else NAN,
        float(slopes[high - 1]) if known and high <= len(slopes) else NAN,
    )


def _cusum_p(x: Values, y: Values, intercept: float, slope: float) -> float:
    """P of the sum; NaN if the slope is not positive, or all points are on one side."""
    # A point on the line up to rounding is neither above nor below.
    apart = without_noise(y - intercept - slope * x, float(np.abs(y).max()))
    above, below = int((apart > 0).sum()), int((apart < 0).sum())
    if slope <= 0 or not above or not below:
        return NAN
    score = np.where(apart > 0, math.sqrt(below / above), -math.sqrt(above / below))
    score[apart == 0] = 0.0
    along = np.argsort((y + x / slope - intercept) / math.sqrt(1 + 1 / slope**2), kind="stable")
    largest = float(np.abs(np.cumsum(score[along])).max())
    return float(kolmogorov(largest / math.sqrt(below + 1)))
