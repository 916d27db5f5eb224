"""A calibration factor: by what must an instrument's energy be multiplied to give the reference's?

::

    factor               exp(mean(ln(reference_i / measured_i)) +- t(n - 1) s / sqrt(n))
    through the origin   sum(x_i y_i) / sum(x_i^2),  x measured, y reference
                         +- t(n - 1) sqrt(sum(e_i^2) / (n - 1) / sum(x_i^2))

The first, a ratio of geometric means, gives every run the same weight and suits errors that grow
with the energy, as those of sensors do. The second lets the largest runs decide, and is right where
errors are of the same size in joules. Where the two disagree, or the line between the instruments
has a constant part, one factor is not enough (`joulelab.analysis.line`).

The factor is what the setting ``calibration`` of a meter takes: reference / meter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from joulelab.analysis.comparison import CONFIDENCE, Interval, ratio_interval
from joulelab.analysis.rounding import constant, without_noise

Values = npt.NDArray[np.float64]

LEAST = 2


@dataclass(frozen=True)
class Calibration:
    """The factor of an instrument, found in two ways.

    Attributes:
        factor: reference / measured as a ratio of geometric means; what a meter's setting takes.
        through_origin: slope of the reference on the instrument, through the origin.
    """

    factor: Interval
    through_origin: Interval

    @property
    def ways_agree(self) -> bool:
        """Whether each of the two lies in the interval of the other; False without intervals."""
        one, other = self.factor, self.through_origin
        if constant([one.value, other.value]):
            return not math.isnan(one.low)
        return one.low <= other.value <= one.high and other.low <= one.value <= other.high


def calibrate(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Calibration:
    """The factor by which readings of an instrument become those of the reference.

    Args:
        measured: energies from the instrument, shape (n,), positive; in the unit of the reference.
        reference: energies from the reference on the same runs, shape (n,), positive.
        confidence: of the intervals.

    Raises:
        ValueError: there is no run, or a value is not positive and finite.

    >>> found = calibrate([100.0, 200.0, 300.0], [106.0, 212.0, 318.0])
    >>> round(found.factor.value, 3), round(found.through_origin.value, 3), found.factor.n
    (1.06, 1.06, 3)
    """
    x, y = np.asarray(measured, float), np.asarray(reference, float)
    factor = ratio_interval(y.tolist(), x.tolist(), confidence)
    return Calibration(factor, _through_origin(x, y, confidence))


def _through_origin(x: Values, y: Values, confidence: float) -> Interval:
    slope = float(x @ y) / float(x @ x)
    n = len(x)
    if n < LEAST:
        return Interval(slope, math.nan, math.nan, math.nan, n, confidence)
    residual = without_noise(y - slope * x, float(y.max()))
    std = math.sqrt(float(residual @ residual) / (n - 1))
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * std / math.sqrt(float(x @ x))
    return Interval(slope, slope - reach, slope + reach, std, n, confidence)
