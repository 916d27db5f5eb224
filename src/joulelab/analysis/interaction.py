"""Main effects and interactions of factors, by ANOVA and by aligned ranks.

A full-factorial analysis of variance over all factors, with sum contrasts and type III sums of
squares, so each effect is one of **unweighted** cell means (a cell: one level of every factor).
With m the means of the C cells, n_c their runs and K the contrasts of an effect::

    SS   = (K m)' (K diag(1 / n_c) K')^-1 (K m)         K = kron over the factors of
                                                           contrasts, for those of the effect
                                                           (1 / L ... 1 / L), for the others
    SS_e = sum (y - mean of its cell)^2                 df_e = n - C
    F    = (SS / df) / (SS_e / df_e)                    df = product of L - 1 over the effect
    partial eta^2 = SS / (SS + SS_e)

The **aligned rank transform** makes this distribution-free, one effect at a time: the estimates of
all other effects are subtracted from each value, the remainder is ranked, and only that effect's
row of the ANOVA of the ranks is used. For an effect of the factors S::

    aligned = y - mean of its cell + sum over T in S of (-1)^(|S| - |T|) * mean of T

where "mean of T" is the mean of all runs with the same levels of the factors T, and of all runs for
the empty T. The aligned values of an effect add up to 0. Wobbrock, Findlater, Gergle and Higgins,
"The aligned rank transform for nonparametric factorial analyses using only ANOVA procedures", CHI
2011.

Limits. Alignment assumes additive effects and cells of about equal size: with unequal cells the
means of T mix effects. Ranks of values whose scatter is proportional to their size, such as
energies, can show spurious interactions (Tsandilas and Casiez, "The illusory promise of the aligned
rank transform"). And factors that each **multiply** the energy do interact in joules: to test for
more than that, use a column of logarithms.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab import formats
from joulelab.analysis.frames import ENERGY, complete, levels, names, results
from joulelab.analysis.rounding import Values, constant, without_noise
from joulelab.errors import UsageError

TIMES = " \N{MULTIPLICATION SIGN} "
COLUMNS = (
    "effect order df df_residual art_f art_p art_partial_eta_squared anova_f anova_p "
    "anova_partial_eta_squared n dropped reason"
)


def interactions(
    runs: pd.DataFrame, factors: str | Sequence[str], value: str = ENERGY, most: int = 3
) -> pd.DataFrame:
    """Every main effect and interaction of some factors on energy.

    Args:
        runs: one row per run.
        factors: columns with the levels.
        value: column in joules, or any other measure.
        most: the largest order of an effect that is reported; the model always has all of them.

    Returns:
        One row per effect, main effects first: ``effect`` (its factors, joined by a multiplication
        sign), ``order``, ``df``, ``df_residual``, ``art_f``, ``art_p``, ``art_partial_eta_squared``
        (of the aligned ranks), ``anova_f``, ``anova_p``, ``anova_partial_eta_squared`` (of the
        values), ``n``, ``dropped`` (runs without a value or a level) and ``reason``: a cell without
        a run, one run in every cell, a single level, values that do not scatter. A factor with a
        single level does not affect the effects of the others.

    Raises:
        UsageError: a column is absent, a factor occurs twice, there are no factors, the values are
            not numbers, or `most` is below 1.

    Worked example: the means of the cells are 10, 20, 20 and 50; linear layers raise the energy by
    (50 - 10) / 2 = 20 on average, and by 20 more with 4 convolutions, so SS = 800, 800 and 200.

    >>> runs = pd.DataFrame({"linear": [3, 3, 3, 3, 7, 7, 7, 7], "conv": [1, 1, 4, 4, 1, 1, 4, 4],
    ...     "energy_net_j": [9.0, 11.0, 19.0, 21.0, 19.0, 21.0, 49.0, 51.0]})
    >>> table = interactions(runs, ["linear", "conv"])
    >>> table[["order", "df", "df_residual", "anova_f", "anova_partial_eta_squared"]].round(3)
       order  df  df_residual  anova_f  anova_partial_eta_squared
    0      1   1            4    400.0                      0.990
    1      1   1            4    400.0                      0.990
    2      2   1            4    100.0                      0.962
    """
    columns = names(factors)
    if not columns or len(set(columns)) < len(columns):
        raise UsageError(f"{columns} are not factors", "name one or more, each once")
    if most < 1:
        raise UsageError(f"no effects of order {most}", "give 1 or more")
    whole = complete(runs, [value], columns)
    design = _design(whole.rows, columns)
    y = whole.rows[value].to_numpy(dtype=float)
    reason = _undefined(design, y, columns)
    if not reason:
        y = y - y.mean()  # to keep precision if the mean is large
    rows = []
    for order in range(1, min(most, len(columns)) + 1):
        for effect in itertools.combinations(range(len(columns)), order):
            single = [columns[factor] for factor in effect if len(design.levels[factor]) == 1]
            why = reason or (f"{formats.listing(single)} has a single level" if single else "")
            row: dict[str, object] = {
                "effect": TIMES.join(columns[factor] for factor in effect),
                "order": order,
                "n": len(y),
                "dropped": whole.dropped,
                "reason": why,
            }
            rows.append(row if why else row | _effect(design, y, effect))
    return results(rows, COLUMNS, whole=["df", "df_residual"])


def align(
    runs: pd.DataFrame, factors: Sequence[str], effect: Sequence[str], value: str = ENERGY
) -> Values:
    """The values of complete runs, aligned for one effect, shape (runs,), before they are ranked.

    Args:
        runs: one row per run, nothing missing.
        factors: all factors of the design.
        effect: those of the effect.
        value: column of the values.

    >>> runs = pd.DataFrame({"conv": [1, 1, 4, 4], "energy_net_j": [9.0, 11.0, 28.0, 32.0]})
    >>> align(runs, ["conv"], ["conv"])         # 10 and 30 on average, 20 over all
    array([-11.,  -9.,   8.,  12.])
    """
    wanted = tuple(list(factors).index(factor) for factor in effect)
    return _aligned(_design(runs, factors), runs[value].to_numpy(dtype=float), wanted)


@dataclass(frozen=True)
class _Design:
    """The levels of every run.

    Attributes:
        levels: the levels of each factor.
        codes: (factors, runs), their positions in `levels`.
    """

    levels: list[list[object]]
    codes: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(found) for found in self.levels)

    def groups(self, factors: Sequence[int]) -> npt.NDArray[np.int64]:
        """An index of the combination of levels of some factors, shape (runs,)."""
        number = np.zeros(self.codes.shape[1], np.int64)
        for factor in factors:
            number = number * len(self.levels[factor]) + self.codes[factor]
        return number


def _design(rows: pd.DataFrame, factors: Sequence[str]) -> _Design:
    found = [levels(rows[factor]) for factor in factors]
    codes = [
        pd.Index(of_factor).get_indexer(pd.Index(rows[factor]))
        for factor, of_factor in zip(factors, found, strict=True)
    ]
    return _Design([list(one) for one in found], np.array(codes, np.int64))


def _undefined(design: _Design, y: Values, factors: Sequence[str]) -> str:
    if not len(y):
        return "no run has a value and every level"
    cells = np.unique(design.groups(range(len(factors))))
    possible = math.prod(design.shape)
    if len(cells) < possible:
        # The first missing index.
        gap = int(np.argmax(np.append(cells, -1) != np.arange(len(cells) + 1)))
        empty = np.unravel_index(gap, design.shape)
        words = [
            f"{factor} = {formats.level(design.levels[i][empty[i]])}"
            for i, factor in enumerate(factors)
        ]
        return f"no run has {formats.listing(words)}"
    if len(y) == possible:
        return "every cell has a single run"
    within = y - _means(y, design.groups(range(len(factors))))
    if constant(within, float(np.abs(y).max())):
        return "the values do not scatter within the cells"
    return ""


def _effect(design: _Design, y: Values, effect: tuple[int, ...]) -> dict[str, object]:
    ranks = stats.rankdata(without_noise(_aligned(design, y, effect)))
    art_f, art_p, art_eta = _anova(design, ranks - ranks.mean(), effect)
    f, p, eta = _anova(design, y, effect)
    return {
        "df": math.prod(design.shape[factor] - 1 for factor in effect),
        "df_residual": len(y) - math.prod(design.shape),
        "art_f": art_f,
        "art_p": art_p,
        "art_partial_eta_squared": art_eta,
        "anova_f": f,
        "anova_p": p,
        "anova_partial_eta_squared": eta,
    }


def _aligned(design: _Design, y: Values, effect: tuple[int, ...]) -> Values:
    aligned = y - _means(y, design.groups(range(len(design.levels))))
    for order in range(len(effect) + 1):
        for some in itertools.combinations(effect, order):
            aligned = aligned + (-1) ** (len(effect) - order) * _means(y, design.groups(some))
    return aligned


def _anova(design: _Design, y: Values, effect: tuple[int, ...]) -> tuple[float, float, float]:
    """F, p and partial eta squared of one effect in the full-factorial model."""
    cells = design.groups(range(len(design.levels)))
    counts = np.bincount(cells)
    means = np.bincount(cells, y) / counts
    contrasts = functools.reduce(
        np.kron,
        [
            np.eye(size)[:-1] - 1 / size if factor in effect else np.full((1, size), 1 / size)
            for factor, size in enumerate(design.shape)
        ],
    )
    estimate = contrasts @ means
    between = float(estimate @ np.linalg.solve((contrasts / counts) @ contrasts.T, estimate))
    within = float(((y - means[cells]) ** 2).sum())
    df, df_residual = len(contrasts), len(y) - len(counts)
    f = (between / df) / (within / df_residual)
    return f, float(stats.f.sf(f, df, df_residual)), between / (between + within)


def _means(y: Values, groups: npt.NDArray[np.int64]) -> Values:
    """The group mean of each value, shape (runs,)."""
    return np.asarray((np.bincount(groups, y) / np.maximum(np.bincount(groups), 1))[groups])
