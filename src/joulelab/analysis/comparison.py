"""Means, ratios and differences with confidence intervals.

::

    mean:        m +- t(n - 1) s / sqrt(n)                   s  sample standard deviation
    ratio:       exp(d +- t(n - 1) s_d / sqrt(n))            d_i = ln(a_i / b_i) of block i

    difference:  m_a - m_b +- t(df) sqrt(v_a + v_b)          v = s^2 / n of each sample
                 df = (v_a + v_b)^2 / (v_a^2 / (n_a - 1) + v_b^2 / (n_b - 1))
    ratio of     exp(the difference of the logarithms)
    means:

The ratio is **paired**: A and B run once in each block, close in time, so drift (temperature, other
users of the machine) affects both; the ratio is taken within the block. The difference and the
ratio of means are **unpaired**: samples of any size and spread without common blocks (Welch,
Biometrika 34, 1947). With logarithms, swapping A and B inverts the result; ratios of means use
geometric means. The intervals are Student's t: they assume normal values, or logarithms.

    >>> mean = mean_interval([98.0, 100.0, 102.0])     # s = 2, t(2) = 4.303
    >>> round(mean.low, 2), mean.value, round(mean.high, 2)
    (95.03, 100.0, 104.97)
    >>> ratio = ratio_interval([2.0, 4.2], [1.0, 2.0])  # ratios 2.0 and 2.1
    >>> round(ratio.value, 3)                           # sqrt(2.0 * 2.1)
    2.049
    >>> apart = difference_interval([98.0, 100.0, 102.0], [90.0, 91.0])
    >>> apart.value, round(apart.low, 2), round(apart.high, 2)   # v = 4/3 and 1/4, df = 2.63
    (9.5, 5.16, 13.84)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.analysis.rounding import sample_std

CONFIDENCE = 0.95
LEAST = 2
POWER = 0.8
LARGEST_LOGARITHM = 709.0


def t_quantile(df: float, confidence: float = CONFIDENCE) -> float:
    """Half-width of a Student's t interval in standard errors."""
    from scipy.special import stdtrit  # heavy, and loops with a forecast do not need it

    return float(stdtrit(df, (1 + confidence) / 2))


def t_p(statistic: float, df: float) -> float:
    """The two-sided p of a statistic by Student's t."""
    from scipy.special import stdtr

    return 2 * float(stdtr(df, -abs(statistic)))


def z_quantile(confidence: float = CONFIDENCE) -> float:
    """Half-width of a normal interval in standard errors."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))


@dataclass(frozen=True)
class Interval:
    """A mean, or a ratio, with its confidence interval.

    Attributes:
        value: the mean, or the ratio.
        low: lower end of the interval; NaN with fewer than two values.
        high: upper end.
        std: sample standard deviation (n - 1) of the values; for a ratio, of the logarithms.
        n: number of values, or pairs.
        confidence: of the interval.
    """

    value: float
    low: float
    high: float
    std: float
    n: int
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Unpaired:
    """A difference, or a ratio, of the means of two samples, with its confidence interval.

    Attributes:
        value: the difference, or the ratio.
        low: lower end of the interval; NaN where a sample has fewer than two values.
        high: upper end.
        n_first: size of the first sample.
        n_second: size of the second sample.
        df: degrees of freedom of Welch; NaN without an interval or without scatter.
        p: of the hypothesis of equal means; NaN if df is.
        confidence: of the interval.
    """

    value: float
    low: float
    high: float
    n_first: int
    n_second: int
    df: float
    p: float
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


def mean_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, size: float = 0.0
) -> Interval:
    """The mean with a Student's t interval.

    Args:
        values: (n,), at least one. Values that differ only by rounding have no scatter.
        confidence: of the interval, between 0 and 1.
        size: magnitude of the original values, if these are differences of larger ones.

    Raises:
        ValueError: no values given, one is not finite, or the confidence is not between 0 and 1.
    """
    sample = np.asarray(values, float)
    if not len(sample):
        raise ValueError("no values given")
    if not np.isfinite(sample).all():
        raise ValueError("a mean needs finite values")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:g} is not between 0 and 1")
    mean = float(sample.mean())
    if len(sample) < LEAST:
        return Interval(mean, math.nan, math.nan, math.nan, len(sample), confidence)
    std = sample_std(sample, size)
    reach = t_quantile(len(sample) - 1, confidence) * std / math.sqrt(len(sample))
    return Interval(mean, mean - reach, mean + reach, std, len(sample), confidence)


def ratio_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Ratio of first to second, paired.

    Args:
        first: (n,), positive.
        second: (n,), positive, each from the same block as its neighbour.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: no pairs, lists of different length, a value that is not positive and finite,
            or the confidence is not between 0 and 1.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    if not all(0 < value < math.inf for value in (*first, *second)):
        raise ValueError("a ratio needs positive values")
    one, other = _logarithms(first), _logarithms(second)
    size = _size_of_logarithms(one, other)
    logs = mean_interval([a - b for a, b in zip(one, other, strict=True)], confidence, size)
    return Interval(
        _power_of_e(logs.value),
        _power_of_e(logs.low),
        _power_of_e(logs.high),
        logs.std,
        logs.n,
        confidence,
    )


def difference_interval(
    first: Sequence[float],
    second: Sequence[float],
    confidence: float = CONFIDENCE,
    size: float = 0.0,
) -> Unpaired:
    """Difference of the means, unpaired, by Welch.

    Args:
        first: (n,), at least one, finite.
        second: (m,), at least one, finite.
        confidence: of the interval, between 0 and 1.
        size: as of `mean_interval`.

    Raises:
        ValueError: a sample is empty, a value is not finite, or the confidence is not between 0 and
            1.
    """
    one, other = (mean_interval(sample, confidence, size) for sample in (first, second))
    apart = one.value - other.value
    if min(one.n, other.n) < LEAST:
        nan = math.nan
        return Unpaired(apart, nan, nan, one.n, other.n, nan, nan, confidence)
    v_first, v_second = one.std**2 / one.n, other.std**2 / other.n
    variance = v_first + v_second
    if not variance:
        nan = math.nan
        return Unpaired(apart, apart, apart, one.n, other.n, nan, nan, confidence)
    # Shares of the variance, not variances: squares of tiny ones would be 0.
    shares = v_first / variance, v_second / variance
    df = 1 / (shares[0] ** 2 / (one.n - 1) + shares[1] ** 2 / (other.n - 1))
    error = math.sqrt(variance)
    reach = t_quantile(df, confidence) * error
    p = t_p(apart / error, df)
    return Unpaired(apart, apart - reach, apart + reach, one.n, other.n, df, p, confidence)


def ratio_of_means(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Unpaired:
    """Ratio of the geometric means, first over second, unpaired.

    Args:
        first: (n,), at least one, positive.
        second: (m,), at least one, positive.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: a sample is empty, a value is not positive and finite, or the confidence is not
            between 0 and 1.

    >>> ratio = ratio_of_means([2.0, 8.0], [1.0, 1.0, 1.0])      # sqrt(2 * 8) / 1
    >>> round(ratio.value, 3), ratio.n_first, ratio.n_second
    (4.0, 2, 3)
    """
    if not all(0 < value < math.inf for value in (*first, *second)):
        raise ValueError("a ratio needs positive values")
    one, other = _logarithms(first), _logarithms(second)
    logs = difference_interval(one, other, confidence, _size_of_logarithms(one, other))
    return replace(
        logs, value=_power_of_e(logs.value), low=_power_of_e(logs.low), high=_power_of_e(logs.high)
    )


def repetitions_to_tell(
    first: Sequence[float],
    second: Sequence[float],
    power: float = POWER,
    confidence: float = CONFIDENCE,
) -> int | None:
    """Sample size that would distinguish the geometric means, given the observed difference.

    ::

        n = (z_confidence + z_power)^2 (s_a^2 + s_b^2) / d^2 + z_confidence^2 / 4      of logarithms

    The normal approximation, with Guenther's correction for t (The American Statistician 35, 1981).
    d is the observed difference, so the result is only a rough guide.

    Args:
        first: (n,), positive.
        second: (m,), positive.
        power: chance of finding the difference, between 0 and 1.
        confidence: of the interval that must exclude 1.

    Returns:
        At least 2; ``None`` if a sample has fewer than two values, or the means are equal.

    Raises:
        ValueError: a sample is empty, or a value is not positive and finite.

    Of logarithms that differ by .05 and scatter by .05 each: 2 (1.96 + .84)^2 + .96.

    >>> repetitions_to_tell(np.exp([-.05, 0, .05]), np.exp([0, .05, .1]))
    17
    """
    ratio = ratio_of_means(first, second, confidence)
    apart = abs(math.log(ratio.value))
    if math.isnan(ratio.low) or not apart:
        return None
    z = z_quantile(confidence)
    variance = sum(sample_std(_logarithms(sample), 1.0) ** 2 for sample in (first, second))
    needed = (z + z_quantile(2 * power - 1)) ** 2 * variance / apart**2 + z**2 / 4
    return max(LEAST, math.ceil(needed))


def pairs_to_show(
    std: float, size: float, power: float = POWER, confidence: float = CONFIDENCE
) -> int:
    """Number of pairs that would show a relative difference, as `repetitions_to_tell` has it.

    Args:
        std: of the logarithms of the ratios, as of `ratio_interval`.
        size: the difference, above 0: 0.15 for a ratio of 1.15.
        power: chance of finding it, between 0 and 1.
        confidence: of the interval that must exclude 1.

    >>> pairs_to_show(0.18, 0.15)
    15
    """
    z = z_quantile(confidence)
    needed = ((z + z_quantile(2 * power - 1)) * std / math.log1p(size)) ** 2 + z**2 / 2
    return max(LEAST, math.ceil(needed))


def _logarithms(values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values]


def _size_of_logarithms(*samples: Sequence[float]) -> float:
    """Rounding changes a logarithm by its own last digit, or by the value's: 1e-16 of 1."""
    return max([1.0, *(abs(value) for sample in samples for value in sample)])


def _power_of_e(logarithm: float) -> float:
    """The exponential, infinite if too large, which extreme values can cause."""
    return math.inf if logarithm > LARGEST_LOGARITHM else math.exp(logarithm)
