"""Lin's concordance correlation: how close do the readings of two instruments lie to x = y?

With means m, variances v (divided by n), covariance c and Pearson's correlation r of n runs::

    rho_c = 2 c / (v_x + v_y + (m_x - m_y)^2)  =  r C_b
    C_b   = 2 / (w + 1 / w + u^2)             w = s_x / s_y,   u = (m_x - m_y) / sqrt(s_x s_y)
    z     = atanh(rho_c) +- 1.96 s_z,         the interval is tanh of it
    s_z^2 = 1 / (n - 2) * ( (1 - r^2) C_b^2 / (1 - rho_c^2)
                            + 2 rho_c^2 C_b (1 - rho_c) u^2 / (1 - rho_c^2)^2
                            - rho_c^2 C_b^2 u^4 / (2 (1 - rho_c^2)^2) )

r asks whether the readings lie on some line, C_b whether that line is x = y: an instrument that
sees half of the energy in every run has r = 1 and a rho_c near 0. Lin, "A concordance correlation
coefficient to evaluate reproducibility", Biometrics 45 (1989), with the correction of s_z in
Biometrics 56 (2000), written with C_b for rho_c / r, so that r may be 0. The interval of r is
Fisher's, atanh(r) +- 1.96 / sqrt(n - 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.line import unvaried

Values = npt.NDArray[np.float64]

NAN = math.nan
FEWEST = 3


@dataclass(frozen=True)
class Correlation:
    """A correlation with its interval.

    Attributes:
        value: from -1 to 1; NaN where `reason` says why.
        low: lower end of the interval; NaN with too few runs, or where the value is 1 or -1.
        high: upper end.
        n: how many runs.
        reason: why there is no correlation; empty where there is one.
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
        second: those of the other on the same runs, shape (n,).

    >>> found = pearson([1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 1.9, 3.2, 3.8, 5.0])
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.995, 0.926, 1.0)
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    if reason := _undefined(x, y):
        return Correlation(NAN, NAN, NAN, len(x), reason)
    r = _correlation(x, y)
    error = 1 / math.sqrt(len(x) - 3) if len(x) > FEWEST else NAN
    return Correlation(r, *_fisher(r, error), len(x), "")


def concordance(first: Sequence[float] | Values, second: Sequence[float] | Values) -> Correlation:
    """Lin's concordance correlation coefficient.

    Args:
        first: readings of one instrument, shape (n,).
        second: those of the other on the same runs, in the same unit, shape (n,).

    Half of the energy in every run is correlated perfectly, and does not agree at all:

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
    reach = float(ndtri((1 + CONFIDENCE) / 2)) * error
    return math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach)


def _undefined(x: Values, y: Values) -> str:
    if len(x) < FEWEST:
        return f"{len(x)} run{'s' if len(x) != 1 else ''}; a correlation needs {FEWEST}"
    return unvaried(y, x)


def _correlation(x: Values, y: Values) -> float:
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
