"""Means with confidence intervals, and how many times the energy of B was used by A.

::

    mean:   m +- t(n - 1) s / sqrt(n)                 s  sample standard deviation
    ratio:  exp(d +- t(n - 1) s_d / sqrt(n))          d_i = ln(a_i / b_i) of block i

A and B run once in each block, side by side in time, so that what drifts (temperature, other users
of the machine) falls on both; the ratio is taken within the block. Logarithms make the answer the
same whichever of the two is called A, inverted. Both intervals are Student's t: they take the
values, or their logarithms, to scatter normally.

    >>> mean = mean_interval([98.0, 100.0, 102.0])     # s = 2, t(2) = 4.303
    >>> round(mean.low, 2), mean.value, round(mean.high, 2)
    (95.03, 100.0, 104.97)
    >>> ratio = ratio_interval([2.0, 4.2], [1.0, 2.0])  # ratios 2.0 and 2.1
    >>> round(ratio.value, 3)                           # sqrt(2.0 * 2.1)
    2.049
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
LEAST = 2


@dataclass(frozen=True)
class Interval:
    """A mean, or a ratio, with its confidence interval.

    Attributes:
        value: the mean, or the ratio.
        low: lower end of the interval; NaN with fewer than two values.
        high: upper end.
        std: sample standard deviation (n - 1) of the values, of a ratio that of the logarithms.
        n: how many values, or pairs.
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


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean of some values, by Student's t.

    Args:
        values: (n,), at least one.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: there is no value, one is not finite, or the confidence is no share.
    """
    sample = np.asarray(values, float)
    if not len(sample):
        raise ValueError("there is no value")
    if not np.isfinite(sample).all():
        raise ValueError("a mean needs finite values")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:g} is not between 0 and 1")
    mean = float(sample.mean())
    if len(sample) < LEAST:
        return Interval(mean, math.nan, math.nan, math.nan, len(sample), confidence)
    std = float(sample.std(ddof=1))
    quantile = float(stdtrit(len(sample) - 1, (1 + confidence) / 2))
    reach = quantile * std / math.sqrt(len(sample))
    return Interval(mean, mean - reach, mean + reach, std, len(sample), confidence)


def ratio_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """How many times the second the first is, from pairs.

    Args:
        first: (n,), positive.
        second: (n,), positive, each from the same block as its neighbour.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: no pairs, lists of different length, a value that is not positive and finite,
            or the confidence is no share.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs")
    if not all(0 < value < math.inf for value in (*first, *second)):
        raise ValueError("a ratio needs positive values")
    pairs = zip(first, second, strict=True)
    logs = mean_interval([math.log(a) - math.log(b) for a, b in pairs], confidence)
    return Interval(
        math.exp(logs.value),
        math.exp(logs.low),
        math.exp(logs.high),
        logs.std,
        logs.n,
        confidence,
    )
