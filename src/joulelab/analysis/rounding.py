"""What differs by rounding alone is the same: seven readings of 0.1 J do not scatter.

Sums of floats are hardly ever 0 where they are on paper: the mean of seven times 0.1 misses it by
its last digit, and the variance is 1e-34. A statistic that divides by it, or asks whether it is
exactly 0, takes rounding for data. So whether a sample varies is asked of the sample itself, here::

    constant    max - min <= 1e-12 * largest        largest: of |x_i|, or of what they came from

No sensor resolves twelve digits, and no sum of a study's runs loses four of the sixteen that a
float has.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

DIGITS = 12
ROUNDING = 10.0**-DIGITS


def constant(values: npt.ArrayLike, size: float = 0.0) -> bool:
    """Whether the values are all the same but for rounding; none at all are.

    Args:
        values: finite, any shape.
        size: of what they were computed from, where that is larger: the readings, of differences.

    >>> constant([0.1 + 0.2, 0.3]), constant([0.3, 0.3 + 1e-9])
    (True, False)
    """
    found = np.asarray(values, float)
    return not found.size or float(np.ptp(found)) <= ROUNDING * _largest(found, size)


def without_noise(values: npt.ArrayLike, size: float = 0.0) -> Values:
    """Values cut to 12 digits of the largest, so that what is equal but for rounding is tied.

    Args:
        values: any shape; NaN stays.
        size: as of `constant`.

    >>> bool(0.1 + 0.2 == 0.3), np.ptp(without_noise(np.array([0.1 + 0.2, 0.3])))
    (False, np.float64(0.0))
    """
    found = np.asarray(values, float)
    largest = _largest(found, size)
    if not largest:
        return found
    return np.asarray(np.round(found, DIGITS - math.ceil(math.log10(largest))))


def sample_std(values: npt.ArrayLike, size: float = 0.0) -> float:
    """Standard deviation (n - 1) of at least two values; exactly 0 where they are constant.

    Args:
        values: (n,), finite.
        size: as of `constant`.

    >>> float(np.std([0.1] * 7, ddof=1)) > 0, sample_std([0.1] * 7)
    (True, 0.0)
    """
    return 0.0 if constant(values, size) else float(np.std(np.asarray(values, float), ddof=1))


def _largest(values: Values, size: float) -> float:
    return max(size, float(np.nanmax(np.abs(values), initial=0.0)))
