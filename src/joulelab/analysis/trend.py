"""Trend of a figure of networks over their years of publication: slope and outliers.

With x_i the year of network i and y_i its figure (the logarithm of its energy, or its accuracy)::

    y_i  = a + b (x_i - m) + e_i             m the mean year; a and b by least squares
    h_i  = 1/n + (x_i - m)^2 / S_xx          leverage
    V    = (X'X)^-1 X' diag(e_i^2 / (1 - h_i)^2) X (X'X)^-1           HC3
    b   +- t(n - 2) sqrt(V_bb)
    t_i  = e_i / (s_(i) sqrt(1 - h_i)),   s_(i)^2 = (SSE - e_i^2 / (1 - h_i)) / (n - 3)
    p_i  = min(1, n * P(|T(n - 3)| > |t_i|))             Bonferroni over the networks

HC3 (MacKinnon and White, Journal of Econometrics 29, 1985) does not assume equal scatter in every
year, which these data do not have: one year has a single network, another small and large ones.
Among robust variances it is recommended below 250 points (Long and Ervin, The American
Statistician 54, 2000). A bootstrap over networks would often draw no network of an early year,
which has one or two. t_i is the externally studentised residual with the test of Cook and Weisberg,
"Residuals and Influence in Regression" (1982): each network is compared with the line through the
others. Two outliers on one side can hide each other.

Networks are not a random sample of those published, and members of a family have much in common:
an interval shows how far the slope depends on the choice of networks, and is too narrow for
conclusions beyond them.

Growth: does energy grow faster than accuracy, each relative to itself?
-----------------------------------------------------------------------

The slope b of a decimal logarithm over the years is a relative growth of 10^b - 1 per year, and the
ends of its interval likewise. The lines of energy E and accuracy A use the same networks, and least
squares are linear in the values, so with slopes b_E and b_A::

    b_E - b_A  =  the slope of log10(E / A)

One regression tests whether energy grows faster, and accounts for the correlation of the two.

Records: energy of the most accurate network of its time
--------------------------------------------------------

A line through all networks mixes networks made to be accurate with networks made to be small.
Records leave the small ones out: the most accurate network of each year that beats all earlier
years.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr

from joulelab.analysis.comparison import t_p, t_quantile
from joulelab.analysis.frames import complete, numbers, results
from joulelab.analysis.rounding import ROUNDING, Values, constant, without_noise

FEWEST_NETWORKS = 8
FEWEST_YEARS = 5
OUTLIER_P = 0.05
RESIDUALS = "model year value trend residual studentised p_adjusted outlier"
NAN = math.nan


@dataclass(frozen=True)
class Trend:
    """A straight line through a figure over the years.

    Attributes:
        slope: b, per year; NaN where `reason` says why.
        slope_low: lower end of its 95 % interval.
        slope_high: upper end.
        p: of the hypothesis that the slope is 0, two-sided.
        level: a, the value of the line at the mean year.
        mean_year: m.
        covariance: V, of level and slope, shape (2, 2).
        residuals: one row per network in the order given: ``model``, ``year``, ``value``, ``trend``
            (the line there), ``residual``, ``studentised``, ``p_adjusted`` and ``outlier``.
        n: networks with a year and a value.
        years: number of different years.
        dropped: networks without a year or a value.
        reason: why there is no line; otherwise empty.
    """

    slope: float
    slope_low: float
    slope_high: float
    p: float
    level: float
    mean_year: float
    covariance: Values
    residuals: pd.DataFrame
    n: int
    years: int
    dropped: int
    reason: str

    def at(self, years: Sequence[float] | Values) -> tuple[Values, Values, Values]:
        """The line, with the lower and upper end of the 95 % band of its mean.

        Args:
            years: shape (points,).

        Returns:
            Three arrays of that shape; NaN without a line.
        """
        apart = np.asarray(years, float) - self.mean_year
        design = np.stack([np.ones_like(apart), apart], axis=1)  # (points, 2)
        line = self.level + self.slope * apart
        variance = np.einsum("pi,ij,pj->p", design, self.covariance, design)
        reach = t_quantile(self.n - 2) * np.sqrt(variance) if not self.reason else NAN * line
        return line, line - reach, line + reach


def trend(points: pd.DataFrame, value: str, *, logarithm: bool = False) -> Trend:
    """Fit a straight line to a figure of networks over the years.

    Args:
        points: one row per network: ``model``, ``year`` and the figure.
        value: its column.
        logarithm: use its decimal logarithm; values not above 0 are then left out.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    Energy that doubles every two years has a slope of log10(2) / 2:

    >>> years = list(range(2012, 2022))
    >>> points = pd.DataFrame({"model": list("abcdefghij"), "year": years})
    >>> points["energy_j"] = [2 ** ((year - 2012) / 2) for year in years]
    >>> round(trend(points, "energy_j", logarithm=True).slope, 4)
    0.1505
    """
    usable = points
    if logarithm:
        positive = numbers(points, value) > 0
        usable = points[positive].assign(**{value: np.log10(numbers(points, value)[positive])})
    rows = complete(usable, ["year", value], ["model"]).rows
    years, values = (rows[name].to_numpy(float) for name in ("year", value))
    known = {
        "n": len(rows),
        "years": len(set(years)),
        "dropped": len(points) - len(rows),
    }
    if reason := _undefined(years, values):
        residuals = results([], RESIDUALS)
        nothing = np.full((2, 2), NAN)
        return Trend(NAN, NAN, NAN, NAN, NAN, NAN, nothing, residuals, **known, reason=reason)
    mean_year = float(years.mean())
    coefficients, covariance, leverage = _line(years - mean_year, values)
    level, slope = map(float, coefficients)
    error = math.sqrt(covariance[1, 1])
    reach = t_quantile(len(rows) - 2) * error
    return Trend(
        slope=slope,
        slope_low=slope - reach,
        slope_high=slope + reach,
        p=t_p(slope / error, len(rows) - 2) if error else 0.0,
        level=level,
        mean_year=mean_year,
        covariance=covariance,
        residuals=_residuals(rows, value, level + slope * (years - mean_year), leverage),
        **known,
        reason="",
    )


def _undefined(years: Values, values: Values) -> str:
    if len(values) < FEWEST_NETWORKS:
        return f"{len(values)} networks; a trend needs {FEWEST_NETWORKS}"
    if len(set(years)) < FEWEST_YEARS:
        return f"networks of {len(set(years))} different years; a trend needs {FEWEST_YEARS}"
    return "all networks have the same value" if constant(values) else ""


def _line(apart: Values, values: Values) -> tuple[Values, Values, Values]:
    """Level and slope, their HC3 covariance, and the leverages."""
    design = np.stack([np.ones_like(apart), apart], axis=1)  # (networks, 2)
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ design.T @ values
    leverage = np.einsum("pi,ij,pj->p", design, bread, design)
    residual = values - design @ coefficients
    weighted = design * (residual / (1 - leverage))[:, None]
    return coefficients, bread @ (weighted.T @ weighted) @ bread, leverage


def _residuals(rows: pd.DataFrame, value: str, line: Values, leverage: Values) -> pd.DataFrame:
    values = rows[value].to_numpy(float)
    n = len(values)
    # If all points are on the line, only rounding errors remain.
    residual = without_noise(values - line, float(np.abs(values).max()))
    own = residual**2 / (1 - leverage)
    others = ((residual**2).sum() - own) / (n - 3)
    others[others <= ROUNDING * own] = 0.0
    studentised = np.zeros(n)
    np.divide(
        residual,
        np.sqrt(others * (1 - leverage)),
        out=studentised,
        where=(residual != 0) & (others > 0),
    )
    alone = (residual != 0) & (others == 0)
    studentised[alone] = np.copysign(math.inf, residual[alone])
    adjusted = np.minimum(1.0, n * 2 * stdtr(n - 3, -np.abs(studentised)))
    return pd.DataFrame(
        {
            "model": rows["model"],
            "year": rows["year"],
            "value": values,
            "trend": line,
            "residual": residual,
            "studentised": studentised,
            "p_adjusted": adjusted,
            "outlier": adjusted < OUTLIER_P,
        }
    )


@dataclass(frozen=True)
class YearlyGrowth:
    """Relative growth per year, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Growth:
    """Whether energy grows faster over the years than accuracy, each relative to itself.

    Attributes:
        energy: growth of energy; NaN where `reason` says why.
        accuracy: growth of accuracy.
        p: of the hypothesis that energy does not grow faster, one-sided.
        n: networks with a year, an energy and an accuracy.
        reason: why there is no test; otherwise empty.
    """

    energy: YearlyGrowth
    accuracy: YearlyGrowth
    p: float
    n: int
    reason: str


def growth(points: pd.DataFrame, energy: str = "energy_j", accuracy: str = "accuracy") -> Growth:
    """Relative growth per year of energy and accuracy, and whether energy grows faster.

    Args:
        points: one row per network: ``model``, ``year``, an energy in joules and an accuracy, 0 to
            1; a network without one of them, or with 0, is left out.
        energy: column of the energy.
        accuracy: column of the accuracy.

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
    """Relative growth per year from the line through a decimal logarithm.

    Args:
        line: from `joulelab.analysis.trend.trend` with ``logarithm=True``.
    """
    return YearlyGrowth(
        *(float(10**end - 1) for end in (line.slope, line.slope_low, line.slope_high))
    )


def accuracy_records(
    points: pd.DataFrame, energy: str = "energy_j", accuracy: str = "accuracy"
) -> pd.DataFrame:
    """The most accurate network of each year, if it beats all earlier years.

    Args:
        points: one row per network: ``model``, ``year``, an energy and an accuracy; a network
            without one of them is left out.
        energy: column in joules; among equal accuracies the network with the lower energy counts.
        accuracy: column of the accuracy.

    Returns:
        Their rows, oldest first.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> points = pd.DataFrame({"model": list("abcd"), "year": [2012, 2014, 2014, 2015],
    ...     "accuracy": [0.56, 0.71, 0.69, 0.70], "energy_j": [1.0, 9.0, 2.0, 3.0]})
    >>> accuracy_records(points)["model"].to_list()
    ['a', 'b']
    """
    rows = complete(points, ["year", energy, accuracy], ["model"]).rows
    order = rows.sort_values(["year", accuracy, energy], ascending=[True, False, True])
    best = order.drop_duplicates("year")
    before = best[accuracy].cummax().shift(fill_value=-1.0)
    return best[best[accuracy] > before].reset_index(drop=True)
