"""The interval of a quantity that is one of several things: a mixture of normal distributions.

::

    F(x) = sum_i w_i Phi((x - m_i) / s_i)          F(low) = (1 - c) / 2,  F(high) = (1 + c) / 2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FAR = 10.0
HALVINGS = 60


@dataclass(frozen=True)
class Normal:
    """One of the things that it may be.

    Attributes:
        weight: its probability.
        mean: in any unit.
        deviation: standard deviation in the same unit, above 0.
    """

    weight: float
    mean: float
    deviation: float

    def below(self, value: float) -> float:
        """Weight times the probability of less than a value."""
        standard = (value - self.mean) / self.deviation
        return self.weight * 0.5 * math.erfc(-standard / math.sqrt(2.0))


def mean(parts: Sequence[Normal]) -> float:
    """The mean of a mixture whose weights sum to 1."""
    return sum(part.weight * part.mean for part in parts)


def interval(parts: Sequence[Normal], confidence: float) -> tuple[float, float]:
    """The interval with equal tails.

    Args:
        parts: their weights sum to 1.
        confidence: probability of what lies inside, for instance 0.95.

    >>> low, high = interval([Normal(1.0, 10.0, 2.0)], 0.95)
    >>> round(low, 2), round(high, 2)
    (6.08, 13.92)
    """
    tail = (1.0 - confidence) / 2
    return quantile(parts, tail), quantile(parts, 1.0 - tail)


def quantile(parts: Sequence[Normal], probability: float) -> float:
    """The value below which the mixture lies with a probability, by bisection.

    Args:
        parts: their weights sum to 1.
        probability: above 0 and below 1.
    """
    low = min(part.mean - FAR * part.deviation for part in parts)
    high = max(part.mean + FAR * part.deviation for part in parts)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if sum(part.below(middle) for part in parts) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
