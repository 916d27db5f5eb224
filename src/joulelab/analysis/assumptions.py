"""Assumptions of the analysis of variance: normal residuals and equal variances.

Normality: Shapiro-Wilk and the points of a Q-Q plot
----------------------------------------------------

Shapiro-Wilk (Biometrika 52, 1965; Royston's algorithm AS R94, 1995, in scipy): W is approximately
the squared correlation of the ordered values with the expected values of a normal sample; W = 1 is
perfectly normal, and a small p is evidence against normality.

Its limits at large n: above 5000 values the p of the algorithm is not accurate, and long before
that the test detects deviations too small to matter. Then judge by W and the Q-Q plot rather than
p; `normality` says so in ``note``. Energies of several configurations together are a mixture and
rarely normal, even if each configuration is. The analysis of variance only requires normal
**residuals**: each run minus the mean of its configuration.

Q-Q plot: the i-th smallest of n values against the normal quantile of Filliben's estimate
m_i = (i - 0.3175) / (n + 0.365), with m_n = 0.5^(1/n) and m_1 = 1 - m_n, and the least-squares line
through the points; points on the line are normal.

Equal variances: the test of Brown and Forsythe
-----------------------------------------------

::

    z_ij = |y_ij - median of group i|
    W    = (n - k) / (k - 1) * sum_i n_i (z_i. - z_..)^2 / sum_ij (z_ij - z_i.)^2

compared with F(k - 1, n - k): an analysis of variance of the distances from the median, for k
groups and n runs. Two runs have equal distances from their median, so groups of two carry no
information and are dropped. Brown and Forsythe, "Robust tests for the equality of variances",
Journal of the American Statistical Association 69 (1974). A small p is evidence against the equal
variances that an analysis of variance assumes; rank tests need them less.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.frames import ENERGY, complete, groups, names, require_columns, results
from joulelab.analysis.rounding import Values, constant, sample_std, without_noise

COLUMNS = "n w p dropped note reason"
FEWEST_GROUPS, FEWEST_RUNS = 2, 3
"""Minimum number of groups, and of runs in each."""
ACCURATE_TO = 5000
SMALLEST = 3
NOTE = f"above {ACCURATE_TO} values p is not accurate; judge by W and the Q-Q plot"


@dataclass(frozen=True)
class QQ:
    """The points of a normal Q-Q plot and their line, ``value = intercept + slope * quantile``.

    Attributes:
        points: columns ``quantile`` (of the standard normal distribution) and ``value`` (in joules,
            ascending).
        slope: in joules; for normal values about their standard deviation.
        intercept: in joules; the mean.
        r: correlation of values and quantiles; 1 is perfectly normal.
        n: number of points.
        dropped: number of runs without an energy.
        reason: why slope, intercept and r are missing; otherwise empty.
    """

    points: pd.DataFrame
    slope: float
    intercept: float
    r: float
    n: int
    dropped: int
    reason: str


def normality(
    runs: pd.DataFrame, by: str | Sequence[str] = (), energy: str = ENERGY, residuals: bool = False
) -> pd.DataFrame:
    """Shapiro-Wilk test of the energies, of all runs or of each configuration.

    Args:
        runs: one row per run.
        by: the columns that identify a configuration; none for all runs together.
        energy: column in joules.
        residuals: test all runs minus the mean of their configuration together, instead of each
            configuration's energies.

    Returns:
        One row per configuration: the columns of `by`, ``n``, ``w``, ``p``, ``dropped`` (runs
        without an energy), ``note`` (a limit of the test that applies) and ``reason`` (why there is
        none). With residuals a single row without the columns of `by`; a configuration with a
        single run has no residual, and its run is counted in ``dropped``.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    Worked example: Shapiro and Wilk's own, the weights of eleven men in pounds (W = 0.79).

    >>> weights = [148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236]
    >>> normality(pd.DataFrame({"energy_net_j": weights}))[["n", "w", "p"]].round(3)
        n      w      p
    0  11  0.789  0.007

    Two distant configurations are not a normal sample, but their residuals may be:

    >>> runs = pd.DataFrame({"conv_layers": [1] * 5 + [4] * 5,
    ...     "energy_net_j": [851.0, 857, 855, 853, 859, 1652, 1660, 1655, 1664, 1657]})
    >>> float(normality(runs)["p"][0]) < 0.01 < float(normality(runs, "conv_layers",
    ...     residuals=True)["p"][0])
    True
    """
    columns = names(by)
    require_columns(runs, [*columns, energy])
    if residuals:
        left = _residuals(runs, columns, energy)
        return results([{**_shapiro(left), "dropped": len(runs) - len(left)}], COLUMNS)
    rows = list[dict[str, object]]()
    for key, group in groups(runs, columns):
        whole = complete(group, [energy])
        rows.append({**key, **_shapiro(whole.rows[energy]), "dropped": whole.dropped})
    return results(rows, COLUMNS, columns)


def qq(runs: pd.DataFrame, energy: str = ENERGY) -> QQ:
    """The points of a normal Q-Q plot of the energies, with the least-squares line.

    Args:
        runs: one row per run.
        energy: column in joules.

    Raises:
        UsageError: the column is absent or does not hold numbers.

    >>> plot = qq(pd.DataFrame({"energy_net_j": [12.0, 10.0, None, 11.0]}))
    >>> plot.points.round(3)
       quantile  value
    0    -0.819   10.0
    1     0.000   11.0
    2     0.819   12.0
    >>> round(plot.slope, 3), round(plot.intercept, 3), plot.dropped
    (1.221, 11.0, 1)
    """
    whole = complete(runs, [energy])
    values = whole.rows[energy].to_numpy(dtype=float)
    n = len(values)
    if not n:
        empty = pd.DataFrame({"quantile": [], "value": []}, dtype=float)
        return QQ(empty, np.nan, np.nan, np.nan, 0, whole.dropped, "no run has an energy")
    quantiles, ordered = stats.probplot(values, fit=False)
    points = pd.DataFrame({"quantile": quantiles, "value": ordered})
    reason = _undefined(values)
    if reason:
        return QQ(points, np.nan, np.nan, np.nan, n, whole.dropped, reason)
    line = stats.linregress(quantiles, ordered)
    return QQ(
        points,
        float(line.slope),
        float(line.intercept),
        float(line.rvalue),
        n,
        whole.dropped,
        "",
    )


def _residuals(runs: pd.DataFrame, columns: list[str], energy: str) -> pd.Series[float]:
    """Energies minus the mean of their configuration, for configurations with several runs."""
    rows = complete(runs, [energy]).rows
    if not columns or rows.empty:
        return rows[energy] - rows[energy].mean()
    grouped = rows.groupby(columns, dropna=False, observed=True)[energy]
    left = rows[energy] - grouped.transform("mean")
    # The mean of equal energies can differ in the last digit, which is not scatter.
    left[:] = without_noise(left, float(rows[energy].abs().max()))
    return left[grouped.transform("size") > 1]


def _shapiro(energies: pd.Series[float]) -> dict[str, object]:
    values = energies.to_numpy(dtype=float)
    w = p = np.nan
    reason = _undefined(values)
    if not reason:
        with warnings.catch_warnings():
            # The note says it; a warning in the middle of a report does not help.
            warnings.filterwarnings("ignore", message=".*For N > 5000")
            result = stats.shapiro(values)
        w, p = float(result.statistic), float(result.pvalue)
    note = NOTE if len(values) > ACCURATE_TO and not reason else ""
    return {"n": len(values), "w": w, "p": p, "note": note, "reason": reason}


def _undefined(values: npt.NDArray[np.floating]) -> str:
    if len(values) < SMALLEST:
        return f"fewer than {SMALLEST} values"
    return "all values are the same" if constant(values) else ""


@dataclass(frozen=True)
class Variances:
    """Whether groups have equal variances.

    Attributes:
        w: the statistic; NaN if undefined.
        p: of the hypothesis of equal variances.
        ratio: largest standard deviation over the smallest; infinite where that is 0.
        n: runs in groups of three or more.
        k: number of such groups.
        dropped: runs without an energy or a group, and those in smaller groups.
        reason: why there is no test; otherwise empty.
    """

    w: float
    p: float
    ratio: float
    n: int
    k: int
    dropped: int
    reason: str


def equal_variances(
    runs: pd.DataFrame, by: str | Sequence[str] = "configuration", energy: str = ENERGY
) -> Variances:
    """Test whether the energies of all groups have equal variances.

    Args:
        runs: one row per run.
        by: the columns that identify the groups.
        energy: column in joules.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    Worked example: distances 2, 0, 2 and 4, 0, 4 with means 4/3 and 8/3, so W = 4 * (8/3) / (40/3).

    >>> runs = pd.DataFrame({"configuration": list("aaabbb"),
    ...     "energy_net_j": [98.0, 100.0, 102.0, 196.0, 200.0, 204.0]})
    >>> found = equal_variances(runs)
    >>> round(found.w, 3), found.ratio, found.k
    (0.8, 2.0, 2)
    """
    whole = complete(runs, [energy], names(by))
    parts = [rows[energy].to_numpy(dtype=float) for _, rows in groups(whole.rows, by)]
    samples = [sample for sample in parts if len(sample) >= FEWEST_RUNS]
    n = sum(map(len, samples))
    dropped = len(runs) - n
    spreads = np.array([sample_std(sample) for sample in samples])
    if len(samples) < FEWEST_GROUPS:
        reason = "it needs two groups of three runs"
    elif not spreads.any():
        reason = "no energy differs from the others of its group"
    elif _alike(samples):
        reason = "in each group all energies are as far from the median"
    else:
        w, p = stats.levene(*samples, center="median")
        least = float(spreads.min())
        ratio = float(spreads.max()) / least if least else np.inf
        return Variances(float(w), float(p), ratio, n, len(samples), dropped, "")
    return Variances(np.nan, np.nan, np.nan, n, len(samples), dropped, reason)


def _alike(samples: Sequence[Values]) -> bool:
    """Whether the distances from the median differ in no group: nothing to compare."""
    return all(
        constant(np.abs(sample - np.median(sample)), float(np.abs(sample).max()))
        for sample in samples
    )
