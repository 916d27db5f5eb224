"""A figure of networks over the years they were published in: its slope, and who leaves the line.

With x_i the year of network i and y_i its figure (the logarithm of its energy, or its accuracy)::

    y_i  = a + b (x_i - m) + e_i             m the mean year; a and b by least squares
    h_i  = 1/n + (x_i - m)^2 / S_xx          leverage
    V    = (X'X)^-1 X' diag(e_i^2 / (1 - h_i)^2) X (X'X)^-1           HC3
    b   +- t(n - 2) sqrt(V_bb)
    t_i  = e_i / (s_(i) sqrt(1 - h_i)),   s_(i)^2 = (SSE - e_i^2 / (1 - h_i)) / (n - 3)
    p_i  = min(1, n * P(|T(n - 3)| > |t_i|))             Bonferroni over the networks

HC3 (MacKinnon and White, Journal of Econometrics 29, 1985) does not take the networks of every
year to scatter alike, which they do not: one year has a single network, another small and large
ones. Of the robust variances it is the one to use below 250 points (Long and Ervin, The American
Statistician 54, 2000). A bootstrap over networks would often draw no network of an early year,
which has one or two. t_i is the externally studentised residual with the test of Cook and Weisberg,
"Residuals and Influence in Regression" (1982): each network is held against the line through the
others. Two outliers on one side can hide each other.

Networks are no random sample of all that were published, and those of a family have much in common:
an interval says how far the slope depends on which of them happen to be compared, and is too narrow
for anything beyond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from joulelab.analysis.missing import complete, numbers
from joulelab.analysis.resampling import CONFIDENCE
from joulelab.analysis.rounding import ROUNDING, constant, without_noise

Values = npt.NDArray[np.float64]

FEWEST_NETWORKS = 8
FEWEST_YEARS = 5
OUTLIER_P = 0.05
RESIDUALS = ("model", "year", "value", "trend", "residual", "studentised", "p_adjusted", "outlier")
NAN = math.nan


@dataclass(frozen=True)
class Trend:
    """A straight line through a figure over the years.

    Attributes:
        slope: b, a year; NaN where `reason` says why.
        slope_low: lower end of its 95 % interval.
        slope_high: upper end.
        p: of the hypothesis that the slope is 0, two-sided.
        level: a, the value of the line in the mean year.
        mean_year: m.
        covariance: V, of level and slope, shape (2, 2).
        residuals: a row a network in the order given: ``model``, ``year``, ``value``, ``trend``
            (the line there), ``residual``, ``studentised``, ``p_adjusted`` and ``outlier``.
        n: networks with a year and a value.
        years: how many different years they are of.
        dropped: networks without.
        reason: why there is no line; empty where there is one.
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
        """The line, and the lower and upper end of the 95 % band of its mean.

        Args:
            years: shape (points,).

        Returns:
            Three arrays of that shape; NaN without a line.
        """
        apart = np.asarray(years, float) - self.mean_year
        design = np.stack([np.ones_like(apart), apart], axis=1)  # (points, 2)
        line = self.level + self.slope * apart
        variance = np.einsum("pi,ij,pj->p", design, self.covariance, design)
        reach = _quantile(self.n - 2) * np.sqrt(variance) if not self.reason else NAN * line
        return line, line - reach, line + reach


def trend(points: pd.DataFrame, value: str, *, logarithm: bool = False) -> Trend:
    """The straight line through a figure of networks over the years.

    Args:
        points: a row a network: ``model``, ``year`` and the figure.
        value: its column.
        logarithm: whether its decimal logarithm is taken; what is not above 0 is left out then.

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
        residuals = pd.DataFrame(columns=list(RESIDUALS))
        nothing = np.full((2, 2), NAN)
        return Trend(NAN, NAN, NAN, NAN, NAN, NAN, nothing, residuals, **known, reason=reason)
    mean_year = float(years.mean())
    coefficients, covariance, leverage = _line(years - mean_year, values)
    level, slope = map(float, coefficients)
    error = math.sqrt(covariance[1, 1])
    reach = _quantile(len(rows) - 2) * error
    return Trend(
        slope=slope,
        slope_low=slope - reach,
        slope_high=slope + reach,
        p=_two_sided(slope / error, len(rows) - 2) if error else 0.0,
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
    """Level and slope, their covariance by HC3, and the leverages."""
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
    # Of points that all lie on the line, rounding is all that is left.
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


def _quantile(df: int) -> float:
    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def _two_sided(statistic: float, df: int) -> float:
    return 2 * float(stdtr(df, -abs(statistic)))
