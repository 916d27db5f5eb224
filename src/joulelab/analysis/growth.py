"""Does energy grow faster over the years than accuracy, each relative to itself?

The slope b of a decimal logarithm over the years is a relative growth of 10^b - 1 a year, and so
are the ends of its interval. The lines of energy E and of accuracy A go through the same networks,
and least squares are linear in the values, so that with slopes b_E and b_A::

    b_E - b_A  =  the slope of log10(E / A)

One regression tests whether energy grows faster, with the correlation of the two accounted for
(`joulelab.analysis.trend` has its variance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from joulelab.analysis.missing import complete, numbers
from joulelab.analysis.trend import Trend, trend


@dataclass(frozen=True)
class YearlyGrowth:
    """The share by which something grows a year, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Growth:
    """Whether energy grows faster over the years than accuracy, both relative to themselves.

    Attributes:
        energy: its growth; NaN where `reason` says why.
        accuracy: its growth.
        p: of the hypothesis that energy grows no faster, one-sided.
        n: networks with a year, an energy and an accuracy.
        reason: why there is no test; empty where there is one.
    """

    energy: YearlyGrowth
    accuracy: YearlyGrowth
    p: float
    n: int
    reason: str


def growth(points: pd.DataFrame, energy: str = "energy_j", accuracy: str = "accuracy") -> Growth:
    """Relative growth a year of energy and of accuracy, and whether the first is the larger.

    Args:
        points: a row a network: ``model``, ``year``, an energy in joules and an accuracy, 0 to 1;
            a network without one of them, or with 0, is left out.
        energy: column.
        accuracy: column.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> points = pd.DataFrame({"model": list("abcdefghij"), "year": range(2012, 2022)})
    >>> points["energy_j"] = 1.5 ** (points["year"] - 2012)
    >>> points["accuracy"] = 0.5 * 1.02 ** (points["year"] - 2012)
    >>> found = growth(points)
    >>> round(found.energy.value, 3), round(found.accuracy.value, 3)
    (0.5, 0.02)
    """
    positive = (numbers(points, energy) > 0) & (numbers(points, accuracy) > 0)
    rows = complete(points[positive], ["year", energy, accuracy], ["model"]).rows
    rows["ratio"] = rows[energy] / rows[accuracy]
    used, won, ratio = (trend(rows, name, logarithm=True) for name in (energy, accuracy, "ratio"))
    reason = used.reason or won.reason or ratio.reason
    one_sided = ratio.p / 2 if ratio.slope > 0 else 1 - ratio.p / 2
    return Growth(
        energy=yearly(used),
        accuracy=yearly(won),
        p=math.nan if reason else one_sided,
        n=len(rows),
        reason=reason,
    )


def yearly(line: Trend) -> YearlyGrowth:
    """Relative growth a year from the line through a decimal logarithm.

    Args:
        line: as `joulelab.analysis.trend.trend` gives it with ``logarithm=True``.
    """
    return YearlyGrowth(
        *(float(10**end - 1) for end in (line.slope, line.slope_low, line.slope_high))
    )
