"""Rounding errors are not scatter: seven readings of 0.1 J do not vary.

Sums of floats are rarely exactly 0 when they should be: the mean of seven times 0.1 is off by its
last digit, and the variance is 1e-34. A statistic that divides by it, or tests whether it is
exactly 0, mistakes rounding for data. So the sample itself is tested for variation::

    constant    max - min <= 1e-12 * largest        largest: of |x_i|, or of what they came from

No sensor resolves twelve digits, and no sum over a study's runs loses four of a float's sixteen
digits.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

DIGITS = 12
ROUNDING = 10.0**-DIGITS


def constant(values: npt.ArrayLike, size: float = 0.0) -> bool:
    """Whether all values are equal except for rounding; true if there are none.

    Args:
        values: finite, any shape.
        size: magnitude of the original values, if these are differences of larger ones.

    >>> constant([0.1 + 0.2, 0.3]), constant([0.3, 0.3 + 1e-9])
    (True, False)
    """
    found = np.asarray(values, float)
    return not found.size or float(np.ptp(found)) <= ROUNDING * _largest(found, size)


def without_noise(values: npt.ArrayLike, size: float = 0.0) -> Values:
    """Values rounded to 12 digits of the largest, so that equal values are tied.

    Args:
        values: any shape; NaN stays.
        size: as for `constant`.

    >>> bool(0.1 + 0.2 == 0.3), np.ptp(without_noise(np.array([0.1 + 0.2, 0.3])))
    (False, np.float64(0.0))
    """
    found = np.asarray(values, float)
    largest = _largest(found, size)
    if not largest:
        return found
    return np.asarray(np.round(found, DIGITS - math.ceil(math.log10(largest))))


def sample_std(values: npt.ArrayLike, size: float = 0.0) -> float:
    """Standard deviation (n - 1) of at least two values; exactly 0 if they are constant.

    Args:
        values: (n,), finite.
        size: as for `constant`.

    >>> float(np.std([0.1] * 7, ddof=1)) > 0, sample_std([0.1] * 7)
    (True, 0.0)
    """
    return 0.0 if constant(values, size) else float(np.std(np.asarray(values, float), ddof=1))


def _largest(values: Values, size: float) -> float:
    return max(size, float(np.nanmax(np.abs(values), initial=0.0)))
