"""Passing-Bablok regression: the line between two instruments that no outlier can turn.

With x_i the reference and y_i the instrument on n runs, over all pairs i < j::

    S_ij = (y_j - y_i) / (x_j - x_i)      0/0 is left out, and so is exactly -1; N slopes are left
    K    = how many S_ij < -1             the median is shifted by K
    b    = S_((N + 1) / 2 + K), or the mean of the two slopes in the middle
    C    = z sqrt(n (n - 1) (2 n + 5) / 18),   M = round((N - C) / 2)
    b from S_(M + K) to S_(N - M + 1 + K)
    a    = median(y_i - b x_i), from median(y_i - b_high x_i) to median(y_i - b_low x_i)

Both instruments may have errors, of any distribution. The shift makes the line the same, inverted,
whichever of the two is called x, if the true slope is near 1; for slopes far from 1 it is still a
line through the middle of the slopes, and no longer exactly invertible.

**Cusum test of linearity.** l points lie above the line and L below. In the order of their places
along the line, above counts sqrt(L / l) and below -sqrt(l / L); the largest sum on the way, divided
by sqrt(L + 1), is Kolmogorov's under a straight line. With p < .05 the points bend around the line.

Passing and Bablok, "A new biometrical procedure for testing the equality of measurements from two
different analytical methods", J. Clin. Chem. Clin. Biochem. 21 (1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov, ndtri

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.line import Line, no_line, unvaried
from joulelab.analysis.rounding import ROUNDING, without_noise

Values = npt.NDArray[np.float64]

NAN = math.nan
METHOD = "Passing-Bablok"
FEWEST = 3
MOST = 5000
"""There are n (n - 1) / 2 slopes; those of so many runs fill 100 MB."""


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
    if len(x) < FEWEST:
        return no_line(METHOD, len(x), FEWEST)
    if len(x) > MOST:
        return no_line(METHOD, len(x), FEWEST, f"more than {MOST:,} runs; use Deming regression")
    if reason := unvaried(x, y):
        return no_line(METHOD, len(x), FEWEST, reason)
    slopes, shift = _slopes(x, y)
    if not len(slopes) or shift + len(slopes) // 2 >= len(slopes):
        return no_line(METHOD, len(x), FEWEST, "the readings do not rise together")
    slope = _shifted_median(slopes, shift)
    if not math.isfinite(slope):
        return no_line(METHOD, len(x), FEWEST, "the reference reads the same in most runs")
    low, high = _interval(slopes, shift, len(x), confidence)
    intercept = float(np.median(y - slope * x))
    return Line(
        method=METHOD,
        slope=slope,
        slope_low=low,
        slope_high=high,
        intercept=intercept,
        intercept_low=float(np.median(y - high * x)) if math.isfinite(high) else NAN,
        intercept_high=float(np.median(y - low * x)) if math.isfinite(low) else NAN,
        linearity_p=_cusum_p(x, y, intercept, slope),
        n=len(x),
        reason="",
    )


def _slopes(x: Values, y: Values) -> tuple[Values, int]:
    """The sorted slopes of all pairs, and how many of them are below -1."""
    first, second = np.triu_indices(len(x), 1)
    x, y = without_noise(x), without_noise(y)
    dx, dy = x[second] - x[first], y[second] - y[first]
    rounding = ROUNDING / 10 * max(np.abs(x).max(), np.abs(y).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = dy / dx  # one above the other: infinite, with the sign of dy
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
    """The interval of the slope; NaN on a side where so few runs have none."""
    reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = round((len(slopes) - reach) / 2)
    low, high = lowest + shift, len(slopes) - lowest + 1 + shift  # places counted from 1
    known = lowest >= 1
    return (
        float(slopes[low - 1]) if known and low <= len(slopes) else NAN,
        float(slopes[high - 1]) if known and high <= len(slopes) else NAN,
    )


def _cusum_p(x: Values, y: Values, intercept: float, slope: float) -> float:
    """Chance of so large a sum; NaN where the slope is not positive, or all lie on one side."""
    # What rounding leaves of a point on the line is neither above nor below.
    apart = without_noise(y - intercept - slope * x, float(np.abs(y).max()))
    above, below = int((apart > 0).sum()), int((apart < 0).sum())
    if slope <= 0 or not above or not below:
        return NAN
    score = np.where(apart > 0, math.sqrt(below / above), -math.sqrt(above / below))
    score[apart == 0] = 0.0
    along = np.argsort((y + x / slope - intercept) / math.sqrt(1 + 1 / slope**2), kind="stable")
    largest = float(np.abs(np.cumsum(score[along])).max())
    return float(kolmogorov(largest / math.sqrt(below + 1)))
