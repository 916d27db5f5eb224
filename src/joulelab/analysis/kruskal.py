"""Kruskal-Wallis: does a factor move energy, and how strongly?

For a factor with k levels and n runs, all energies ranked together (ties get their mean rank)::

    H     = (12 / (n (n + 1)) * sum_i R_i^2 / n_i  -  3 (n + 1)) / C
    C     = 1 - sum_t (t^3 - t) / (n^3 - n)          t runs share an energy
    df    = k - 1                                    p from the chi-square distribution
    eta^2 = (H - k + 1) / (n - k)

with R_i the sum of the ranks of level i and n_i its number of runs. Kruskal and Wallis, "Use of
ranks in one-criterion variance analysis", JASA 47 (1952); eta^2: Tomczak and Tomczak, "The need to
report effect size estimates revisited", Trends in Sport Sciences 21 (2014). Magnitude: small from
0.01, medium from 0.06, large from 0.14; below that negligible. eta^2 is below 0 when the levels
differ less than chance would have it.

The k of eta^2 is the number of levels of the factor. Yarally et al. (CAIN 2023, Table IV) put in 8,
the number of their configurations, so that they print .155, .749 and .055 where the two levels of
each factor give .157, .750 and .057. ``eta_k=8`` gives their figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.levels import levels
from joulelab.analysis.missing import ENERGY, complete, names

COLUMNS = (
    "factor",
    "h",
    "df",
    "p",
    "n",
    "k",
    "eta_k",
    "eta_squared",
    "magnitude",
    "dropped",
    "reason",
)
THRESHOLDS = ((0.14, "large"), (0.06, "medium"), (0.01, "small"))


def kruskal(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    energy: str = ENERGY,
    eta_k: int | None = None,
) -> pd.DataFrame:
    """Kruskal-Wallis test and effect size of every factor on energy.

    Args:
        runs: a row a run.
        factors: columns with the levels.
        energy: column in joules.
        eta_k: the k of eta squared where it is to be another than the number of levels, to
            reproduce a publication. H, df and p never depend on it.

    Returns:
        A row a factor, in the order given: ``factor``, ``h``, ``df``, ``p`` (0 where it is below
        the smallest float), ``n``, ``k`` (levels), ``eta_k``, ``eta_squared``, ``magnitude``,
        ``dropped`` (runs without an energy or a level) and ``reason``. With a single level, or
        energies that are all the same, the statistics are missing and the reason is given.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    Worked example: the ranks are 1, 2, 3 and 4, 5, 6, so R = 6, 15 and
    H = 12 / 42 * (36 / 3 + 225 / 3) - 21 = 3.857; eta^2 = (3.857 - 1) / 4 = 0.714.

    >>> runs = pd.DataFrame({"conv_layers": [1, 1, 1, 4, 4, 4],
    ...     "energy_net_j": [850.0, 860.0, 870.0, 1650.0, 1660.0, 1670.0]})
    >>> kruskal(runs, "conv_layers")[["factor", "h", "df", "eta_squared", "magnitude"]].round(3)
            factor      h  df  eta_squared magnitude
    0  conv_layers  3.857   1        0.714     large
    """
    rows = [_test(runs, factor, energy, eta_k) for factor in names(factors)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"df": "Int64"})


def eta_squared(h: float, n: int, k: int) -> float:
    """Effect size of a Kruskal-Wallis test, ``(h - k + 1) / (n - k)``; NaN unless n > k.

    Args:
        h: the statistic.
        n: number of runs.
        k: number of levels.

    >>> round(eta_squared(481.799, n=3072, k=2), 3), round(eta_squared(481.799, n=3072, k=8), 3)
    (0.157, 0.155)
    """
    return (h - k + 1) / (n - k) if n > k else np.nan


def magnitude(effect: float) -> str:
    """The word for an eta squared; empty for NaN.

    >>> magnitude(0.057), magnitude(0.14), magnitude(-0.001)
    ('small', 'large', 'negligible')
    """
    if np.isnan(effect):
        return ""
    return next((word for threshold, word in THRESHOLDS if effect >= threshold), "negligible")


def _test(runs: pd.DataFrame, factor: str, energy: str, eta_k: int | None) -> dict[str, object]:
    whole = complete(runs, [energy], [factor])
    samples = [
        whole.rows.loc[whole.rows[factor] == level, energy].to_numpy(dtype=float)
        for level in levels(whole.rows[factor])
    ]
    n, k = len(whole.rows), len(samples)
    reason = _undefined(samples)
    h = p = np.nan
    if not reason:
        result = stats.kruskal(*samples)
        h, p = float(result.statistic), float(result.pvalue)
    divisor_k = k if eta_k is None else eta_k
    effect = eta_squared(h, n, divisor_k)
    if not reason and np.isnan(effect):
        reason = f"eta squared needs more than {divisor_k} runs"
    return {
        "factor": factor,
        "h": h,
        "df": None if np.isnan(h) else k - 1,
        "p": p,
        "n": n,
        "k": k,
        "eta_k": divisor_k,
        "eta_squared": effect,
        "magnitude": magnitude(effect),
        "dropped": whole.dropped,
        "reason": reason,
    }


def _undefined(samples: Sequence[npt.NDArray[np.float64]]) -> str:
    if not samples:
        return "no run has an energy and a level"
    if len(samples) == 1:
        return "the factor has a single level"
    if np.ptp(np.concatenate(samples)) == 0:
        return "all energies are the same"
    return ""
