"""Effects of factors in a part of their combinations, estimated all together.

In a Latin square or a regular fraction no two runs share the levels of all other factors, so that
there are no strata to rank in (`joulelab.analysis.stratified`). There, the factors are taken to add
up, each level i of a factor with an effect of its own::

    y = m + a_i + b_j + c_k + ...                      by least squares
    F = ((RSS without the factor - RSS) / df) / (RSS / df_e)
    partial eta^2 = 1 - (RSS / df_e) / (RSS without the factor / (df_e + df))

with y the ranks of all runs (Conover and Iman, "Rank transformations as a bridge between parametric
and nonparametric statistics", The American Statistician 35, 1981). This partial eta^2 is that of
`joulelab.analysis.kruskal`, with the other factors in the model. If factors act together, the
effects of single ones are biased.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from joulelab.analysis.comparison import Interval, t_p, t_quantile
from joulelab.analysis.frames import complete, levels, results
from joulelab.analysis.kruskal import magnitude
from joulelab.analysis.rounding import Values, constant, without_noise

COLUMNS = "factor f df df_residual p eta_squared magnitude n reason"
LEAST_LEVELS = 2


def main_effects(runs: pd.DataFrame, factors: Sequence[str], value: str) -> pd.DataFrame:
    """The effect of each factor on the ranks of a measure, the others in the model.

    Args:
        runs: one row per run.
        factors: columns with the levels.
        value: column of the measure.

    Returns:
        One row per factor: ``factor``, ``f``, ``df``, ``df_residual``, ``p``, ``eta_squared``,
        ``magnitude``, ``n`` and ``reason``.

    >>> runs = pd.DataFrame({"a": [0, 0, 1, 1] * 2, "b": [0, 1, 0, 1] * 2, "c": [0, 1, 1, 0] * 2,
    ...     "y": [1.0, 3, 2, 4, 1.5, 3.5, 2.5, 4.5]})
    >>> main_effects(runs, ["a", "b", "c"], "y")[["factor", "f", "df_residual"]].round(3)
      factor     f  df_residual
    0      a  16.0            4
    1      b  64.0            4
    2      c   0.0            4
    """
    rows = complete(runs, [value], factors).rows
    ranks = stats.rankdata(without_noise(rows[value])) if len(rows) else np.empty(0)
    whole = _matrix(rows, factors)
    df_residual = len(rows) - _rank(whole)
    rss = _rss(whole, ranks)
    found = []
    for factor in factors:
        others = _matrix(rows, [one for one in factors if one != factor])
        df = _rank(whole) - _rank(others)
        row: dict[str, object] = {"factor": factor, "n": len(rows), "magnitude": ""}
        row["reason"] = _undefined(ranks, df, df_residual, len(levels(rows[factor])))
        without = _rss(others, ranks)
        if not row["reason"] and without == 0:
            row["reason"] = "the other factors explain every difference"
        if not row["reason"]:
            f = (without - rss) / df / (rss / df_residual) if rss else np.inf
            eta = 1 - rss / df_residual / (without / (df_residual + df))
            row |= {"f": f, "df": df, "df_residual": df_residual, "eta_squared": eta}
            row |= {"p": float(stats.f.sf(f, df, df_residual)), "magnitude": magnitude(eta)}
        found.append(row)
    return results(found, COLUMNS, whole=["df", "df_residual"])


def contrast(
    runs: pd.DataFrame,
    factors: Sequence[str],
    factor: str,
    pair: tuple[Hashable, Hashable],
    values: Values,
) -> tuple[Interval, float] | None:
    """The difference between two levels of a factor, all factors in the model, and its p.

    Args:
        runs: one row per run, nothing missing.
        factors: columns with the levels.
        factor: one of them.
        pair: two of its levels; the first minus the second.
        values: of the runs, shape (n,).

    Returns:
        `None` if the other factors cannot be told from this one, or nothing is left to estimate
        the scatter from.
    """
    others = _matrix(runs, [one for one in factors if one != factor])
    mine = [level for level in levels(runs[factor]) if level != pair[1]]
    columns = [_is(runs[factor], level) for level in mine]
    whole = np.column_stack([others, *columns])
    n, df = len(runs), len(runs) - _rank(whole)
    if df < 1 or _rank(whole) < _rank(others) + len(mine) or pair[0] not in mine:
        return None
    inverse = np.linalg.pinv(whole.T @ whole)
    place = others.shape[1] + mine.index(pair[0])
    value = float((inverse @ whole.T @ values)[place])
    error = float(np.sqrt(inverse[place, place] * _rss(whole, values) / df))
    half = t_quantile(df) * error
    p = t_p(value / error, df) if error else float(not value)
    return Interval(value, value - half, value + half, error, n), p


def _undefined(ranks: Values, df: int, df_residual: int, count: int) -> str:
    if count < LEAST_LEVELS:
        return "the factor has a single level"
    if constant(ranks):
        return "all values are the same"
    if not df:
        return "other factors change together with it"
    return "there are too few runs" if df_residual < 1 else ""


def _matrix(rows: pd.DataFrame, factors: Sequence[str]) -> Values:
    """The constant, and a column for every level of a factor but its first: shape (n, columns)."""
    columns: list[Values] = [np.ones(len(rows))]
    for factor in factors:
        columns += [_is(rows[factor], level) for level in levels(rows[factor])[1:]]
    return np.column_stack(columns)


def _is(column: pd.Series, level: Hashable) -> Values:
    return np.asarray(column == level, dtype=float)


def _rank(matrix: Values) -> int:
    return int(np.linalg.matrix_rank(matrix)) if len(matrix) else 0


def _rss(matrix: Values, values: Values) -> float:
    fitted = matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]
    rss = float(((values - fitted) ** 2).sum())
    return 0.0 if constant(values - fitted, float(np.abs(values).max(initial=0.0))) else rss
