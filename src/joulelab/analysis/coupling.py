"""Does time predict energy? Not if the power of configurations differs.

Energy is power times time. If every configuration draws the same power, the faster one also uses
less energy, and a clock suffices (Yarally et al., CAIN 2023, section VII-C). Over the
configurations c with mean energies E_c, mean durations T_c and powers P = E / T of their runs::

    rho     Spearman's correlation of T_c and E_c             1: the same order by time as by energy
    slope   of ln E_c = a + slope * ln T_c, least squares     1: energy in proportion to time
    ratio   geometric mean power of c over that of all configurations, each counted once
    H, p    Kruskal-Wallis of P between the configurations

The interval of rho is from `joulelab.analysis.correlation` (from eight configurations on), the
interval of the slope is Student's t with k - 2 degrees of freedom, and the interval of a ratio is
Welch's t on the logarithms: its variance is (1 - 1/k)^2 v_c plus the sum of v / k^2 of the others,
with v = s^2 / n of each. The mean durations are treated as exact, so their scatter makes the slope
somewhat too flat.

Inversions: where time misleads
-------------------------------

For configurations A and B, over the logarithms of their runs, each measure by Welch's t::

    t = (m_A - m_B) / sqrt(v_A + v_B)          v = s^2 / n

with p adjusted by Holm over all pairs of configurations, for durations and for energies. A pair is
an **inversion** if both p are below 0.05 and the faster one uses more energy. Two tests that must
both reject need no further adjustment (Berger, Technometrics 24, 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.special import stdtr, stdtrit

from joulelab.analysis.comparison import CONFIDENCE, t_quantile
from joulelab.analysis.correlation import rank_interval, spearman
from joulelab.analysis.frames import (
    ENERGY,
    Level,
    complete,
    groups,
    label,
    names,
    numbers,
    require_columns,
    results,
)
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.posthoc import holm
from joulelab.analysis.rounding import Values, constant, sample_std

INVERSIONS = (
    "faster slower duration_ratio energy_ratio duration_p_holm energy_p_holm n_faster n_slower"
)
TABLE = (
    "mean_duration_s mean_energy_j mean_power_w power_ratio power_ratio_low power_ratio_high "
    "rank_duration rank_energy mean_utilisation n"
)
LEAST = 3
MOST = 1500
"""The pairs of this many configurations, and their tests, take 100 MB."""


@dataclass(frozen=True)
class Coupling:
    """How well the duration of a run predicts its energy.

    Attributes:
        table: one row per configuration: its columns, ``mean_duration_s``, ``mean_energy_j``,
            ``mean_power_w`` (energy over duration), ``power_ratio`` with ``power_ratio_low`` and
            ``power_ratio_high`` (missing if a configuration has a single run), ``rank_duration`` (1
            is the fastest), ``rank_energy`` (1 is the lowest), ``mean_utilisation`` (missing if not
            requested or not measured) and ``n``.
        spearman: correlation of mean durations and mean energies by rank.
        spearman_low: lower end of its interval; missing for fewer than eight configurations, and if
            both orders are equal.
        spearman_high: upper end.
        slope: of the logarithm of energy on the logarithm of duration.
        slope_low: lower end of its interval.
        slope_high: upper end.
        inversions: one row per pair, from `inversions`.
        pairs: number of compared pairs; 0 for more than `MOST` configurations.
        power_p: of Kruskal-Wallis, of power between configurations.
        power_eta_squared: its effect size.
        dropped: runs without an energy or a duration above 0.
        reason: why rho or the slope is missing; otherwise empty.
    """

    table: pd.DataFrame
    spearman: float
    spearman_low: float
    spearman_high: float
    slope: float
    slope_low: float
    slope_high: float
    inversions: pd.DataFrame
    pairs: int
    power_p: float
    power_eta_squared: float
    dropped: int
    reason: str


def coupling(
    runs: pd.DataFrame,
    by: str | Sequence[str],
    energy: str = ENERGY,
    duration: str = "duration_s",
    utilisation: str | None = None,
) -> Coupling:
    """Compare the order of configurations by time and by energy.

    Args:
        runs: one row per run.
        by: the columns that make a configuration.
        energy: column in joules; runs with 0 or less are dropped.
        duration: column in seconds.
        utilisation: column with the utilisation of the device, for the table.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    Worked example: "c" is the fastest but draws three times the power of the others.

    >>> runs = pd.DataFrame({"network": list("aaabbbccc"),
    ...     "duration_s": [10.0, 10.1, 9.9, 20.0, 20.2, 19.8, 8.0, 8.1, 7.9]})
    >>> power_w = [100.0, 101.0, 99.0] * 2 + [300.0, 303.0, 297.0]
    >>> runs["energy_net_j"] = runs["duration_s"] * power_w
    >>> found = coupling(runs, "network")
    >>> found.table[["network", "power_ratio", "rank_duration", "rank_energy"]].round(2)
      network  power_ratio  rank_duration  rank_energy
    0       a         0.69            2.0          1.0
    1       b         0.69            3.0          2.0
    2       c         2.08            1.0          3.0
    >>> found.spearman, found.inversions[["faster", "slower"]].to_numpy().tolist()
    (-0.5, [['c', 'a'], ['c', 'b']])
    """
    columns = names(by)
    require_columns(runs, columns)
    rows = _positive(runs, energy, duration)
    rows = rows.assign(power_w=rows[energy] / rows[duration])
    found = list(groups(rows, columns))
    parts = [part for _, part in found]
    table = _table(found, columns, energy, duration, utilisation)
    seconds, joules = (table[name].to_numpy(float) for name in ("mean_duration_s", "mean_energy_j"))
    reason, compared = _undefined(seconds, joules), len(parts) <= MOST
    rho = slope = low = high = np.nan
    if not reason:
        rho = spearman(seconds, joules)
        slope, low, high = _slope(np.log(seconds), np.log(joules))
    rho_low, rho_high = rank_interval(rho, len(seconds))
    test = kruskal(
        pd.concat([part.assign(configuration=i) for i, part in enumerate(parts)])
        if parts
        else rows.assign(configuration=0),
        "configuration",
        "power_w",
    ).iloc[0]
    return Coupling(
        table=table,
        spearman=rho,
        spearman_low=rho_low,
        spearman_high=rho_high,
        slope=slope,
        slope_low=low,
        slope_high=high,
        inversions=inversions(rows if compared else rows[:0], columns, energy, duration),
        pairs=len(parts) * (len(parts) - 1) // 2 if compared else 0,
        power_p=float(test["p"]),
        power_eta_squared=float(test["eta_squared"]),
        dropped=len(runs) - len(rows),
        reason=reason,
    )


def _table(
    found: Sequence[tuple[dict[str, Level], pd.DataFrame]],
    columns: list[str],
    energy: str,
    duration: str,
    utilisation: str | None,
) -> pd.DataFrame:
    rows = []
    for key, part in found:
        seconds, joules = float(part[duration].mean()), float(part[energy].mean())
        busy = np.nan if utilisation is None else pd.Series(numbers(part, utilisation)).mean()
        rows.append(
            {
                **key,
                "mean_duration_s": seconds,
                "mean_energy_j": joules,
                "mean_power_w": joules / seconds,
                "mean_utilisation": busy,
                "n": len(part),
            }
        )
    table = results(rows, TABLE, columns)
    power = logarithms([part for _, part in found], "power_w")
    table["power_ratio"], table["power_ratio_low"], table["power_ratio_high"] = _ratios(power)
    table["rank_duration"] = table["mean_duration_s"].rank()
    table["rank_energy"] = table["mean_energy_j"].rank()
    return table


def _ratios(power: Logs) -> tuple[Values, Values, Values]:
    """Each geometric mean relative to that of all, with Welch's interval."""
    k = len(power.mean)
    if not k:
        return power.mean, power.mean, power.mean
    apart = power.mean - power.mean.mean()
    own, others = (
        (1 - 1 / k) ** 2,
        1 / k**2,
    )  # weights of a variance in its own ratio, and in the others
    variance = (own - others) * power.variance + others * power.variance.sum()
    with np.errstate(invalid="ignore", divide="ignore"):  # no scatter, or a single run
        squares = power.variance**2 / (power.n - 1)
        df = variance**2 / ((own**2 - others**2) * squares + others**2 * squares.sum())
        reach = stdtrit(df, (1 + CONFIDENCE) / 2) * np.sqrt(variance)
    reach = np.where(variance == 0, 0.0, reach)
    return np.exp(apart), np.exp(apart - reach), np.exp(apart + reach)


def _undefined(seconds: Values, joules: Values) -> str:
    if len(seconds) < LEAST:
        return f"fewer than {LEAST} configurations"
    if constant(seconds):
        return "all configurations take the same time"
    return "all configurations take the same energy" if constant(joules) else ""


def _slope(x: Values, y: Values) -> tuple[float, float, float]:
    line = stats.linregress(x, y)
    reach = t_quantile(len(x) - 2) * float(line.stderr)
    return float(line.slope), float(line.slope) - reach, float(line.slope) + reach


@dataclass(frozen=True)
class Logs:
    """Logarithms of a measure, over the runs of each configuration.

    Attributes:
        mean: (configurations,).
        variance: of that mean, s^2 / n; NaN for a single run.
        n: number of runs.
    """

    mean: Values
    variance: Values
    n: Values


def logarithms(parts: Sequence[pd.DataFrame], column: str) -> Logs:
    """Mean and scatter of the logarithms of a measure, of each configuration.

    Args:
        parts: the runs of each configuration.
        column: with values above 0.

    >>> logarithms([pd.DataFrame({"j": [1.0, np.e]})], "j").mean
    array([0.5])
    """
    found = []
    for part in parts:
        logs = np.log(part[column].to_numpy(dtype=float))
        n, size = len(logs), max(1.0, float(np.abs(logs).max()))
        found.append((logs.mean(), sample_std(logs, size) ** 2 / n if n > 1 else np.nan, n))
    return Logs(*np.array(found, float).reshape(-1, 3).T)


def inversions(
    runs: pd.DataFrame, by: str | Sequence[str], energy: str = ENERGY, duration: str = "duration_s"
) -> pd.DataFrame:
    """The pairs of configurations whose faster one uses more energy.

    Args:
        runs: one row per run; runs without an energy and a duration above 0 are dropped.
        by: the columns that make a configuration.
        energy: column in joules.
        duration: column in seconds.

    Returns:
        One row per inversion: ``faster`` (which takes more energy), ``slower`` (levels, or as text
        ``a=1, b=2`` where `by` names several columns), ``duration_ratio`` (below 1) and
        ``energy_ratio`` (above 1), both of geometric means, ``duration_p_holm``, ``energy_p_holm``,
        ``n_faster`` and ``n_slower``. Configurations with a single run, and pairs without scatter,
        have no test and are not inversions.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"network": list("aabb"), "duration_s": [10.0, 10.1, 8.0, 8.1],
    ...     "energy_net_j": [1000.0, 1010.0, 2000.0, 2020.0]})
    >>> inversions(runs, "network")[["faster", "slower", "energy_ratio"]].round(2)
      faster slower  energy_ratio
    0      b      a           2.0
    """
    columns = names(by)
    require_columns(runs, columns)
    found = list(groups(_positive(runs, energy, duration), columns))
    parts = [part for _, part in found]
    return _inversions(
        [label(key) for key, _ in found], logarithms(parts, duration), logarithms(parts, energy)
    )


def _positive(runs: pd.DataFrame, energy: str, duration: str) -> pd.DataFrame:
    """The runs with an energy and a duration above 0."""
    positive = (numbers(runs, energy) > 0) & (numbers(runs, duration) > 0)
    return complete(runs[positive], [energy, duration]).rows


def _inversions(labels: list[Level], duration: Logs, energy: Logs) -> pd.DataFrame:
    pairs = np.stack(np.triu_indices(len(labels), 1), axis=1)
    # (pairs,): the logarithm of first over second, and its p
    slower, duration_p = _welch(duration, pairs)
    more, energy_p = _welch(energy, pairs)
    significant = (duration_p < 1 - CONFIDENCE) & (energy_p < 1 - CONFIDENCE)
    rows = []
    for at in np.flatnonzero(significant & (slower * more < 0)):
        sign = 1 if slower[at] < 0 else -1
        faster, other = pairs[at][::sign]
        rows.append(
            {
                "faster": labels[faster],
                "slower": labels[other],
                "duration_ratio": float(np.exp(sign * slower[at])),
                "energy_ratio": float(np.exp(sign * more[at])),
                "duration_p_holm": float(duration_p[at]),
                "energy_p_holm": float(energy_p[at]),
                "n_faster": int(duration.n[faster]),
                "n_slower": int(duration.n[other]),
            }
        )
    return results(rows, INVERSIONS)


def _welch(logs: Logs, pairs: npt.NDArray[np.int_]) -> tuple[Values, Values]:
    """Difference of each pair and its p, adjusted; NaN with a single run or without scatter."""
    first, second = pairs.T
    apart = logs.mean[first] - logs.mean[second]
    one, other = logs.variance[first], logs.variance[second]
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (one + other) ** 2 / (one**2 / (logs.n[first] - 1) + other**2 / (logs.n[second] - 1))
        p = 2 * stdtr(df, -np.abs(apart) / np.sqrt(one + other))
    return apart, holm(p)
