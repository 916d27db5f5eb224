"""Dunn's test after Kruskal-Wallis: which configurations differ in energy?

All n energies are ranked together (ties get their mean rank); for groups a and b with n_a and n_b
runs and mean ranks r_a and r_b::

    z = (r_b - r_a) / sqrt((n (n + 1) / 12 - T) * (1 / n_a + 1 / n_b))
    T = sum_t (t^3 - t) / (12 (n - 1))              t runs share an energy
    p = 2 * (1 - Phi(|z|))

Dunn, "Multiple comparisons using rank sums", Technometrics 6 (1964). Holm's step-down adjustment
(Scandinavian Journal of Statistics 6, 1979): the i-th smallest of m p-values times m - i + 1, never
below the one before it, at most 1. Both by scikit-posthocs.

The ranks are those among all groups, so that a pair of groups that do not overlap at all need not
differ "significantly" if other groups lie far from them, or if there are few runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import scikit_posthocs

from joulelab.analysis.levels import Level, groups
from joulelab.analysis.missing import ENERGY, complete, names
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
    ranked = whole.rows.assign(rank=whole.rows[energy].rank())
    found = list(groups(ranked, columns))
    if len(found) <= 1:
        return pd.DataFrame(columns=list(COLUMNS))
    members = [rows for _, rows in found]
    pairs = list(itertools.combinations(range(len(found)), 2))
    same = np.ptp(whole.rows[energy].to_numpy(dtype=float)) == 0
    p, p_adjusted = (None, None) if same else _p_values(members, energy, adjust)
    rows = []
    for a, b in pairs:
        row: dict[str, object] = {}
        for name, one in (("first", a), ("second", b)):
            row[name] = _label(found[one][0])
            row[f"n_{name}"] = len(members[one])
            row[f"mean_{name}_j"] = float(members[one][energy].mean())
            row[f"rank_{name}"] = float(members[one]["rank"].mean())
        row["p"] = np.nan if p is None else p[a, b]
        row["p_adjusted"] = np.nan if p_adjusted is None else p_adjusted[a, b]
        rows.append(row)
    reason = "all energies are the same" if same else ""
    table = pd.DataFrame(rows).assign(dropped=whole.dropped, reason=reason)
    return table[list(COLUMNS)]


def _p_values(
    members: Sequence[pd.DataFrame], energy: str, adjust: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The p of every pair, plain and adjusted, each of shape (groups, groups)."""
    # Groups go by number, for levels of several types cannot be sorted.
    samples = pd.DataFrame(
        {
            "group": np.repeat(np.arange(len(members)), [len(rows) for rows in members]),
            "energy_j": np.concatenate([rows[energy].to_numpy(dtype=float) for rows in members]),
        }
    )
    plain = scikit_posthocs.posthoc_dunn(samples, "energy_j", "group")
    try:
        adjusted = scikit_posthocs.posthoc_dunn(samples, "energy_j", "group", p_adjust=adjust)
    except ValueError as error:
        raise UsageError(
            f"p cannot be adjusted by {adjust!r}: {error}", "holm, bonferroni and fdr_bh are known"
        ) from None
    return plain.to_numpy(dtype=float), adjusted.to_numpy(dtype=float)


def _label(key: dict[str, Level]) -> Level:
    if len(key) == 1:
        return next(iter(key.values()))
    return ", ".join(f"{column}={level}" for column, level in key.items())
