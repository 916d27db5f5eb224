"""Which configurations differ in energy? Dunn's test after Kruskal-Wallis, and Holm's adjustment.

All n energies are ranked together (ties get their mean rank); for groups a and b with n_a and n_b
runs and mean ranks r_a and r_b::

    z = (r_b - r_a) / sqrt((n (n + 1) / 12 - T) * (1 / n_a + 1 / n_b))
    T = sum_t (t^3 - t) / (12 (n - 1))              t runs share an energy
    p = 2 * (1 - Phi(|z|))

Dunn, "Multiple comparisons using rank sums", Technometrics 6 (1964). Holm's step-down adjustment
(Scandinavian Journal of Statistics 6, 1979): the i-th smallest of m p-values times m - i + 1, never
below the previous one, at most 1. Both are implemented here, because scikit-posthocs and
statsmodels take seconds to load.

Ranks are taken over all groups, so two groups that do not overlap need not differ "significantly"
if other groups are far away, or if there are few runs.

Two groups are furthest apart if one has the lowest ranks and the other the highest. For groups of
n_a and n_b among n runs without ties, and m pairs of groups::

    z = (n - (n_a + n_b) / 2) / sqrt(n (n + 1) / 12 * (1 / n_a + 1 / n_b))
    p = m * 2 * (1 - Phi(z))                       Holm multiplies the smallest p by m

If this **minimum attainable p** is above the significance level, no data can show a difference:
that no pair differs is then uninformative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from joulelab.analysis.frames import ENERGY, complete, groups, label, names, results
from joulelab.analysis.rounding import Values, constant, without_noise

COLUMNS = (
    "first second n_first n_second mean_first_j mean_second_j rank_first rank_second "
    "p p_adjusted dropped reason"
)


def dunn(
    runs: pd.DataFrame, by: str | Sequence[str] = "configuration", energy: str = ENERGY
) -> pd.DataFrame:
    """Dunn's test of every pair of groups.

    Args:
        runs: one row per run.
        by: the column that identifies the groups; with several columns, each combination is a
            group.
        energy: column in joules.

    Returns:
        One row per pair of groups: ``first`` and ``second`` (the level, or as text ``a=1, b=2``
        where `by` names several columns), their runs, mean energies and mean ranks, ``p``,
        ``p_adjusted`` (Holm), ``dropped`` (runs without an energy or a group, over all groups) and
        ``reason``. No rows with fewer than two groups; with equal energies both p are missing.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

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
    whole = complete(runs, [energy], names(by))
    ranked = whole.rows.assign(rank=pd.Series(without_noise(whole.rows[energy])).rank())
    found = list(groups(ranked, by)) if len(ranked) else []
    same = constant(ranked[energy])
    variance = _rank_variance(ranked["rank"])
    rows = []
    for pair in itertools.combinations(found, 2):
        row: dict[str, object] = {"dropped": whole.dropped}
        for name, (key, members) in zip(("first", "second"), pair, strict=True):
            row[name] = label(key)
            row[f"n_{name}"] = len(members)
            row[f"mean_{name}_j"] = float(members[energy].mean())
            row[f"rank_{name}"] = float(members["rank"].mean())
        (_, first), (_, second) = pair
        apart = second["rank"].mean() - first["rank"].mean()
        if not same:
            z = apart / math.sqrt(variance * (1 / len(first) + 1 / len(second)))
            # The lower tail of -|z|: 1 - Phi(|z|) would lose every p below 1e-16.
            row["p"] = 2 * float(ndtr(-abs(z)))
        rows.append(row | {"reason": "all values are the same" if same else ""})
    table = results(rows, COLUMNS)
    return table.assign(p_adjusted=holm(table["p"].to_numpy(float)))


def _rank_variance(ranks: pd.Series[float]) -> float:
    """Variance of a rank corrected for ties: the first factor under the root."""
    n, ties = len(ranks), ranks.value_counts().to_numpy(float)
    return n * (n + 1) / 12 - float((ties**3 - ties).sum()) / (12 * max(n - 1, 1))


def holm(p: Values) -> Values:
    """Holm's step-down adjustment: the i-th smallest of m times m - i + 1, never falling, to 1.

    Args:
        p: (m,); NaN without a test, which is not counted and stays NaN.

    Holm, Scandinavian Journal of Statistics 6 (1979).

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted


def min_attainable_p(sizes: Sequence[int]) -> float:
    """The smallest adjusted p of any pair; NaN with fewer than two groups.

    Args:
        sizes: the number of runs of each group; a group without any does not count.

    Worked example: of five groups of two runs the furthest pair is 8 ranks apart, and
    z = 8 / sqrt(110 / 12) = 2.642, so that p = .0082, ten pairs.

    >>> round(min_attainable_p([2, 2, 2, 2, 2]), 3), round(min_attainable_p([3, 3, 3, 3, 3]), 3)
    (0.082, 0.01)
    """
    groups = [size for size in sizes if size > 0]
    pairs = list(itertools.combinations(groups, 2))
    if not pairs:
        return math.nan
    n = sum(groups)
    z = max((n - (a + b) / 2) / math.sqrt(n * (n + 1) / 12 * (1 / a + 1 / b)) for a, b in pairs)
    return min(1.0, len(pairs) * 2 * float(ndtr(-z)))
