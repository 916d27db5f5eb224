"""The interval of a ratio of two amounts that flow through a window: batch means.

The window is cut into k batches of equal length; batch j took E_j joules and brought N_j tokens.
With R = sum E / sum N and D_j = E_j - R N_j::

    var R = k / (k - 1) * sum D_j^2 / (sum N)^2             delta method of a ratio (Cochran 1977,
    R +- t(0.975, k - 1) * sqrt(var R)                      Sampling Techniques, 6.3)

Neighbouring batches must not depend on each other, and a few long batches are better than many
short ones: 10 to 30 lose little (Schmeiser, Operations Research 30, 1982; Law and Kelton,
Simulation Modeling and Analysis, 9.5.3). So k starts at 20. While the D_j of neighbours are
correlated (von Neumann's test, one-sided, at 20 %) and k stays at 8 or above, batches are made
longer. Where the ones that are left are still correlated, the variance is multiplied by
(1 + r) / (1 - r), r their lag-1 correlation, as of a process of first order. A batch is at least
4 ticks of the sensor long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
BATCHES = (20, 16, 13, 10, 8)
TICKS = 4
LEAST_REPETITIONS = 2
CORRELATED = 0.8416
"""Standard normal quantile of 80 %."""
MOST_CORRELATED = 0.6


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % interval.

    Attributes:
        value: of the whole.
        low: lower end; ``None`` where there is no interval.
        high: upper end.
        batches: number of batches.
        reason: why there is no interval; empty where there is one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    batches: int = 0
    reason: str = ""


def ratio_of(amounts: Floats, units: Floats) -> Ratio:
    """The ratio of sums over independent parts, and its interval.

    Args:
        amounts: (k,) of each part.
        units: (k,) likewise; their sum is above 0.
    """
    count, value = len(units), float(amounts.sum() / units.sum())
    if count < LEAST_REPETITIONS:
        return Ratio(value, batches=count, reason="there is only one part")
    left = amounts - value * units
    variance = count / (count - 1) * float((left**2).sum()) / float(units.sum()) ** 2
    away = float(special.stdtrit(count - 1, 0.975)) * math.sqrt(variance)
    return Ratio(value, value - away, value + away, count)


def batch_means(
    amount_between: Callable[[Floats, Floats], Floats],
    units_until: Callable[[Floats], Floats],
    span_s: tuple[float, float],
    tick_s: float,
) -> Ratio | None:
    """The ratio of two flows in a window, and its interval.

    Args:
        amount_between: from (k,) beginnings and (k,) ends to what was spent between.
        units_until: from (k,) times to what was brought until then.
        span_s: beginning and end of the window.
        tick_s: the longest tick of what measures the amount.

    Returns:
        ``None`` where nothing was brought.
    """
    found, excess = None, 1.0
    for count in BATCHES:
        edges_s = np.linspace(*span_s, count + 1)
        units = np.diff(units_until(edges_s))
        if units.sum() <= 0:
            return None
        amounts = amount_between(edges_s[:-1], edges_s[1:])
        if (span_s[1] - span_s[0]) / count < TICKS * tick_s:
            continue
        found = ratio_of(amounts, units)
        correlation = _lag_one(amounts - found.value * units)
        excess = _excess(correlation)
        if correlation <= CORRELATED / math.sqrt(count):
            excess = 1.0
            break
    if found is not None and found.high is not None:
        away = (found.high - found.value) * excess
        return Ratio(found.value, found.value - away, found.value + away, found.batches)
    value = float(amounts.sum() / units.sum())
    reason = f"{BATCHES[-1]} batches of {TICKS} ticks of the sensor do not fit into the window"
    return Ratio(value, reason=reason)


def _lag_one(left: Floats) -> float:
    spread = float((left**2).sum())
    return float((left[1:] * left[:-1]).sum()) / spread if spread > 0 else 0.0


def _excess(correlation: float) -> float:
    r = min(max(correlation, 0.0), MOST_CORRELATED)
    return math.sqrt((1 + r) / (1 - r))
