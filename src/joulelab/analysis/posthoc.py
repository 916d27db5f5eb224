"""Dunn's test after Kruskal-Wallis: which configurations differ in energy?

All n energies are ranked together (ties get their mean rank); for groups a and b with n_a and n_b
runs and mean ranks r_a and r_b::

    z = (r_b - r_a) / sqrt((n (n + 1) / 12 - T) * (1 / n_a + 1 / n_b))
    T = sum_t (t^3 - t) / (12 (n - 1))              t runs share an energy
    p = 2 * (1 - Phi(|z|))

Dunn, "Multiple comparisons using rank sums", Technometrics 6 (1964). Holm's step-down adjustment
(Scandinavian Journal of Statistics 6, 1979): the i-th smallest of m p-values times m - i + 1, never
below the one before it, at most 1. The adjustment is statsmodels'; the test is written out here,
for scikit-posthocs, which has it too, loads seaborn and matplotlib first, which takes seconds.

The ranks are those among all groups, so that a pair of groups that do not overlap at all need not
differ "significantly" if other groups lie far from them, or if there are few runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr
from statsmodels.stats.multitest import multipletests

from joulelab.analysis.levels import groups, label
from joulelab.analysis.missing import ENERGY, complete, names
from joulelab.analysis.rounding import constant, without_noise
from joulelab.errors import UsageError

COLUMNS = (
    "first",
    "second",
    "n_first",
    "n_second",
    "mean_first_j",
    "mean_second_j",
    "rank_first",
    "rank_second",
    "p",
    "p_adjusted",
    "dropped",
    "reason",
)


def dunn(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    energy: str = ENERGY,
    adjust: str = "holm",
) -> pd.DataFrame:
    """Dunn's test of every pair of groups.

    Args:
        runs: a row a run.
        by: the column that makes the groups; of several columns, each combination is a group.
        energy: column in joules.
        adjust: how p is adjusted for the number of pairs, by the names of
            ``statsmodels.stats.multitest.multipletests``.

    Returns:
        A row a pair of groups: ``first`` and ``second`` (the level, or as text ``a=1, b=2`` where
        `by` names several columns), their runs, mean energies and mean ranks, ``p``,
        ``p_adjusted``, ``dropped`` (runs without an energy or a group, over all groups) and
        ``reason``. No row with fewer than two groups; with energies that are all the same both p
        are missing.

    Raises:
        UsageError: a column is absent, the energies are not numbers, or `adjust` is unknown.

    Worked example, with a tie: ranks a 1, 2.5; b 2.5, 4; c 5, 6; T = 6 / 60 = 0.1 and
    z(a, c) = (5.5 - 1.75) / sqrt((3.5 - 0.1) * 1) = 2.034.

    >>> runs = pd.DataFrame({"configuration": list("aabbcc"),
    ...     "energy_net_j": [10.0, 20.0, 20.0, 30.0, 40.0, 50.0]})
    >>> dunn(runs)[["first", "second", "rank_first", "rank_second", "p", "p_adjusted"]].round(3)
      first second  rank_first  rank_second      p  p_adjusted
    0     a      b        1.75         3.25  0.416       0.445
    1     a      c        1.75         5.50  0.042       0.126
    2     b      c        3.25         5.50  0.222       0.445
    """
    columns = names(by)
    whole = complete(runs, [energy], columns)
    ranked = whole.rows.assign(rank=pd.Series(without_noise(whole.rows[energy])).rank())
    found = list(groups(ranked, columns))
    if len(found) <= 1:
        return pd.DataFrame(columns=list(COLUMNS))
    members = [rows for _, rows in found]
    pairs = list(itertools.combinations(range(len(found)), 2))
    same = constant(whole.rows[energy])
    p = np.full(len(pairs), np.nan) if same else _p_values(ranked["rank"], members, pairs)
    p_adjusted = p if same else _adjusted(p, adjust)
    rows = []
    for number, (a, b) in enumerate(pairs):
        row: dict[str, object] = {}
        for name, one in (("first", a), ("second", b)):
            row[name] = label(found[one][0])
            row[f"n_{name}"] = len(members[one])
            row[f"mean_{name}_j"] = float(members[one][energy].mean())
            row[f"rank_{name}"] = float(members[one]["rank"].mean())
        row["p"] = float(p[number])
        row["p_adjusted"] = float(p_adjusted[number])
        rows.append(row)
    reason = "all energies are the same" if same else ""
    table = pd.DataFrame(rows).assign(dropped=whole.dropped, reason=reason)
    return table[list(COLUMNS)]


def _p_values(
    ranks: pd.Series[float], members: Sequence[pd.DataFrame], pairs: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float64]:
    """The p of every pair, shape (pairs,)."""
    n = len(ranks)
    ties = ranks.value_counts().to_numpy(dtype=float)
    variance = n * (n + 1) / 12 - float((ties**3 - ties).sum()) / (12 * (n - 1))
    mean_rank = np.array([rows["rank"].mean() for rows in members])
    share = np.array([1 / len(rows) for rows in members])
    a, b = np.array(pairs).T
    z = (mean_rank[b] - mean_rank[a]) / np.sqrt(variance * (share[a] + share[b]))
    # The lower tail of -|z|: 1 - Phi(|z|) would lose every p below 1e-16.
    return np.asarray(2 * ndtr(-np.abs(z)), dtype=np.float64)


def _adjusted(p: npt.NDArray[np.float64], adjust: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(multipletests(p, method=adjust)[1], dtype=np.float64)
    except ValueError as error:
        raise UsageError(
            f"p cannot be adjusted by {adjust!r}: {error}", "holm, bonferroni and fdr_bh are known"
        ) from None
