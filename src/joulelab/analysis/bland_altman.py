r"""Limits of agreement: between what lie 95 % of the differences of two instruments?

With x_i the reading of the instrument and y_i that of the reference on the same run, n runs::

    d_i = x_i - y_i                          or, on ratios, d_i = ln(x_i / y_i)
    m, s                                     mean and standard deviation (n - 1) of the d_i
    m +- t(n - 1) s / sqrt(n)                interval of the mean difference
    L = m -+ z s                             limits of agreement, z = 1.96 for 95 % of differences

    exact:         m + T(q; n - 1, -+ z sqrt(n)) s / sqrt(n)         q = .025 and .975
    approximate:   L +- t(n - 1) s sqrt(1 / n + z^2 / (2 (n - 1)))

T(q; df, c) is the quantile of the noncentral t distribution. The exact intervals of the limits are
those of Carkeet, Optometry and Vision Science 92 (2015), for each limit by itself; they are used to
`MOST_EXACT` runs, and from there on the approximation of Bland and Altman, Statistical Methods in
Medical Research 8 (1999), which is within a thousandth of s then. Below a few dozen runs it is too
narrow on the outer side.

Limits of differences take the differences to scatter alike at every size. Where an instrument is
off by a factor they grow with the size, and the limits of ratios are the ones to read. Whether they
do is tested by the slope of d on the mean of both instruments (`proportional_bias`)::

    d_i = a + b (x_i + y_i) / 2              p of b = 0, Student's t with n - 2

Bland and Altman, Lancet 327 (1986), and 1999 section 3. The slope is also moved, a little, by
instruments that scatter unequally.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtri, stdtr, stdtrit

from joulelab.analysis.comparison import CONFIDENCE, Interval, mean_interval
from joulelab.analysis.rounding import constant, without_noise

Values = npt.NDArray[np.float64]

NAN = math.nan
EXACT, APPROXIMATE = "exact (Carkeet 2015)", "approximate (Bland and Altman 1999)"
MOST_EXACT = 500
FEWEST = 3
ALPHA = 0.05


@dataclass(frozen=True)
class Limits:
    """Mean difference and limits of agreement, or mean ratio and limits of ratios.

    Attributes:
        mean: with its interval; on ratios the geometric mean.
        lower: limit of agreement; NaN with fewer than three runs.
        lower_low: lower end of the interval of that limit.
        lower_high: upper end.
        upper: the other limit.
        upper_low: lower end of its interval.
        upper_high: upper end.
        method: how the intervals of the limits were made: `EXACT` or `APPROXIMATE`.
        reason: why there are no limits; empty where there are.
    """

    mean: Interval
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    method: str
    reason: str


@dataclass(frozen=True)
class ProportionalBias:
    """Whether the difference grows with the size of what is measured.

    Attributes:
        slope: of the difference on the mean of both instruments; NaN where `reason` says why.
        low: lower end of its interval.
        high: upper end.
        p: of the hypothesis that the slope is 0.
        reason: why there is no slope; empty where there is one.
    """

    slope: float
    low: float
    high: float
    p: float
    reason: str

    @property
    def found(self) -> bool:
        """Whether the slope differs from 0, p < .05: then ratios are to be read."""
        return self.p < ALPHA


def limits_of_differences(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Limits:
    """Limits of agreement of the differences, in the unit of the readings.

    Args:
        measured: readings of the instrument, shape (n,), n at least 1.
        reference: those of the reference on the same runs, shape (n,).
        confidence: of the intervals, and the share of differences between the limits.

    Raises:
        ValueError: there is no value, or one is not finite.

    >>> limits = limits_of_differences([10.0, 12.0, 14.0, 15.0], [9.0, 12.0, 15.0, 13.0])
    >>> round(limits.mean.value, 2), round(limits.lower, 2), round(limits.upper, 2)
    (0.5, -2.03, 3.03)
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    return _limits(one - other, _size(one, other), confidence)


def limits_of_ratios(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Limits:
    """Limits of agreement of the ratios measured / reference, from their logarithms.

    Args:
        measured: readings of the instrument, shape (n,), n at least 1, positive.
        reference: those of the reference on the same runs, shape (n,), positive.
        confidence: of the intervals, and the share of ratios between the limits.

    Raises:
        ValueError: there is no value, or one is not positive and finite.

    >>> limits = limits_of_ratios([5.0, 6.0, 7.2], [10.0, 10.0, 10.0])
    >>> round(limits.mean.value, 3), round(limits.lower, 3), round(limits.upper, 3)
    (0.6, 0.42, 0.858)
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    if not ((one > 0) & (other > 0)).all():
        raise ValueError("a ratio needs positive values")
    one, other = np.log(one), np.log(other)
    logs = _limits(one - other, max(1.0, _size(one, other)), confidence)
    mean = logs.mean
    return replace(
        logs,
        mean=replace(mean, value=_exp(mean.value), low=_exp(mean.low), high=_exp(mean.high)),
        lower=_exp(logs.lower),
        lower_low=_exp(logs.lower_low),
        lower_high=_exp(logs.lower_high),
        upper=_exp(logs.upper),
        upper_low=_exp(logs.upper_low),
        upper_high=_exp(logs.upper_high),
    )


def proportional_bias(
    measured: Sequence[float] | Values, reference: Sequence[float] | Values
) -> ProportionalBias:
    """Whether the difference of two instruments grows with the size of what they measure.

    Args:
        measured: readings of the instrument, shape (n,).
        reference: those of the reference on the same runs, shape (n,).

    >>> proportional_bias([1.0, 2.1, 2.9, 4.1], [2.0, 4.0, 6.0, 8.0]).found
    True
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    mean, apart = (one + other) / 2, one - other
    n = len(mean)
    if n < FEWEST or constant(mean):
        reason = f"{n} runs; a slope needs {FEWEST}" if n < FEWEST else "all runs are alike"
        return ProportionalBias(NAN, NAN, NAN, NAN, reason)
    centred = mean - mean.mean()
    spread = float((centred**2).sum())
    if constant(apart, _size(one, other)):
        apart = np.zeros(n)  # in the same place everywhere, whatever rounding makes of it
    slope = float((centred * apart).sum()) / spread
    # Readings on a line have no residuals but those of rounding.
    residual = without_noise(apart - apart.mean() - slope * centred, _size(one, other))
    error = math.sqrt(float((residual**2).sum()) / (n - 2) / spread)
    reach = float(stdtrit(n - 2, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(n - 2, -abs(slope) / error)) if error else float(slope == 0)
    return ProportionalBias(slope, slope - reach, slope + reach, p, "")


def _size(one: Values, other: Values) -> float:
    return float(np.abs([one, other]).max(initial=0.0))


def _limits(apart: Values, size: float, confidence: float) -> Limits:
    mean = mean_interval(apart.tolist(), confidence, size)
    if mean.n < FEWEST:
        reason = f"{mean.n} run{'s' if mean.n > 1 else ''}; limits of agreement need {FEWEST}"
        return Limits(mean, NAN, NAN, NAN, NAN, NAN, NAN, "", reason)
    z = float(ndtri((1 + confidence) / 2))
    low, high = _ends_of_upper(mean.n, z, confidence)
    # The lower limit is the upper one, mirrored in the mean.
    return Limits(
        mean=mean,
        lower=mean.value - z * mean.std,
        lower_low=mean.value - high * mean.std,
        lower_high=mean.value - low * mean.std,
        upper=mean.value + z * mean.std,
        upper_low=mean.value + low * mean.std,
        upper_high=mean.value + high * mean.std,
        method=EXACT if mean.n <= MOST_EXACT else APPROXIMATE,
        reason="",
    )


def _ends_of_upper(n: int, z: float, confidence: float) -> tuple[float, float]:
    """The interval of the upper limit, in standard deviations from the mean."""
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    if n <= MOST_EXACT:
        root = math.sqrt(n)
        low, high = (float(stats.nct.ppf(q, n - 1, z * root)) / root for q in tails)
        return low, high
    reach = float(stdtrit(n - 1, tails[1])) * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
    return z - reach, z + reach


def _exp(value: float) -> float:
    return float(np.exp(value))
