"""Comparing treatments over blocks: which search strategy is best over networks and data sets?

The treatments are ranked within each block, and Friedman's test (`joulelab.analysis.friedman`) asks
whether their mean ranks differ by more than chance. Two of them differ at 1 - confidence if their
mean ranks are apart by the critical difference of Nemenyi::

    CD = q sqrt(k (k + 1) / (6 n))       q  studentized range of k treatments, divided by sqrt(2)

for k treatments and n blocks: Demsar, "Statistical comparisons of classifiers over multiple data
sets", Journal of Machine Learning Research 7 (2006). Nemenyi's test is weak for few blocks and
depends on which other treatments take part; Wilcoxon's signed-rank test of each pair, adjusted by
Holm for their number, does not (Benavoli, Corani and Mangili, JMLR 17, 2016). Both are given.

The blocks are taken to be independent. Where they share something (a network, a data set) they say
less than their number promises.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.friedman import (
    block_ranks,
    chi_square,
    iman_davenport,
    permutation_p,
    resampled_w,
)
from joulelab.analysis.levels import Level, levels
from joulelab.analysis.missing import complete, names
from joulelab.analysis.paired import holm, rank_biserial, wilcoxon_p
from joulelab.analysis.resampling import CONFIDENCE, percentile_interval, require_chance
from joulelab.analysis.rounding import without_noise
from joulelab.errors import UsageError

PAIRS = (
    "first",
    "second",
    "mean_rank_difference",
    "nemenyi_p",
    "wilcoxon_p",
    "wilcoxon_p_holm",
    "wins_first",
    "wins_second",
    "ties",
    "effect",
    "effect_low",
    "effect_high",
    "n",
)
LEAST = 2


@dataclass(frozen=True)
class Ranking:
    """Treatments over blocks: which ranks best, and is that more than chance?

    Attributes:
        treatments: a row a treatment, the best first: ``treatment``, ``mean_rank`` (1 is best),
            ``wins`` (blocks in which it is best; a tie counts for each of the tied) and ``n``
            (blocks in which it has a value, used or not).
        pairs: a row a pair of treatments: ``first``, ``second``, ``mean_rank_difference`` (below 0
            where `first` ranks better), ``nemenyi_p``, ``wilcoxon_p``, ``wilcoxon_p_holm``,
            ``wins_first``, ``wins_second``, ``ties`` (blocks), ``effect`` (matched-pairs
            rank-biserial correlation; above 0 where `first` is better, missing where all are tied),
            ``effect_low``, ``effect_high`` and ``n`` (blocks).
        blocks: how many blocks were used: those in which every treatment has a value.
        dropped: how many were not.
        confidence: of the intervals and the critical difference.
        reason: why there is no test; empty where there is.
        chi2: Friedman's statistic, corrected for ties.
        df: its degrees of freedom; none where there is no test.
        p: from the chi-square distribution.
        f: the statistic of Iman and Davenport; infinite where all blocks agree.
        p_f: from the F distribution.
        p_exact: from the permutations within the blocks.
        p_method: whether those were all of them, or drawn.
        kendalls_w: agreement of the blocks, 0 to 1.
        w_low: lower end of its bootstrap interval, over blocks; it lies somewhat too high.
        w_high: upper end.
        critical_difference: of two mean ranks, by Nemenyi, at 1 - confidence.
    """

    treatments: pd.DataFrame
    pairs: pd.DataFrame
    blocks: int
    dropped: int
    confidence: float
    reason: str
    chi2: float = np.nan
    df: int | None = None
    p: float = np.nan
    f: float = np.nan
    p_f: float = np.nan
    p_exact: float = np.nan
    p_method: str = ""
    kendalls_w: float = np.nan
    w_low: float = np.nan
    w_high: float = np.nan
    critical_difference: float = np.nan


def rank_treatments(
    frame: pd.DataFrame,
    treatment: str,
    blocks: str | Sequence[str],
    value: str,
    higher_is_better: bool = True,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Rank treatments within blocks and test whether, and which of them, differ.

    Args:
        frame: a row a (block, treatment); the values of several rows are averaged.
        treatment: column of what is compared, for instance the strategy.
        blocks: the columns that make a block, for instance network and data set.
        value: column of what is compared by, for instance the optimum accuracy.
        higher_is_better: whether the largest value gets rank 1.
        confidence: of the intervals and of the critical difference, between 0 and 1.
        resamples: of the bootstrap over blocks; with 0 Kendall's W has no interval.
        seed: of the bootstrap, and of the permutations where they are drawn.

    Raises:
        UsageError: a column is absent, is named twice or holds no numbers, or the confidence or the
            resamples are impossible.

    Worked example: "b" is first in 4 of 4 blocks; R = 9, 4, 11 and S = 1 + 16 + 9 = 26, so
    chi2 = 12 * 26 / (4 * 3 * 4) = 6.5 and W = 6.5 / 8.

    >>> frame = pd.DataFrame({"network": list("uvwx") * 3, "strategy": ["a"] * 4 + ["b"] * 4 +
    ...     ["c"] * 4, "accuracy": [.80, .81, .82, .70, .90, .91, .92, .93, .71, .72, .73, .74]})
    >>> found = rank_treatments(frame, "strategy", "network", "accuracy")
    >>> found.treatments
      treatment  mean_rank  wins  n
    0         b       1.00     4  4
    1         a       2.25     0  4
    2         c       2.75     0  4
    >>> found.chi2, found.kendalls_w, round(found.p_exact, 4), found.p_method
    (6.5, 0.8125, 0.0417, 'exact')
    """
    require_chance(resamples, confidence)
    columns = names(blocks)
    if treatment in columns or not columns:
        raise UsageError(
            f"{treatment!r} cannot be compared over {columns}", "name other columns as blocks"
        )
    table, dropped = _table(frame, treatment, columns, value)
    whole = without_noise(table.dropna())
    n, k = whole.shape
    ranks = block_ranks(whole, higher_is_better) if n and k else whole
    chi2 = float(chi_square(ranks)[0]) if n >= LEAST and k >= LEAST else np.nan
    reason = _undefined(n, k, chi2)
    found = Ranking(
        treatments=_treatments(table, ranks),
        pairs=_pairs(
            levels(table.columns.to_series()),
            whole if higher_is_better else -whole,
            ranks,
            confidence,
        ),
        blocks=n,
        dropped=dropped + len(table) - n,
        confidence=confidence,
        reason=reason,
        critical_difference=critical_difference(k, n, confidence),
    )
    if reason:
        return found
    f, p_f = iman_davenport(chi2, n, k)
    p_exact, p_method = permutation_p(ranks, seed)
    drawn = resampled_w(ranks, resamples, np.random.default_rng(seed))
    low, high = percentile_interval(drawn, confidence)
    return replace(
        found,
        chi2=chi2,
        df=k - 1,
        p=float(stats.chi2.sf(chi2, k - 1)),
        f=f,
        p_f=p_f,
        p_exact=p_exact,
        p_method=p_method,
        kendalls_w=chi2 / (n * (k - 1)),
        w_low=low,
        w_high=high,
    )


def critical_difference(treatments: int, blocks: int, confidence: float = CONFIDENCE) -> float:
    """By how much two mean ranks must differ, by Nemenyi; NaN for one treatment or no block.

    Worked example: Demsar (2006), four classifiers over 14 data sets; he prints 1.25.

    >>> round(critical_difference(4, 14), 3)
    1.254
    """
    if treatments < LEAST or not blocks:
        return np.nan
    q = float(stats.studentized_range.ppf(confidence, treatments, np.inf)) / math.sqrt(2)
    return q * math.sqrt(treatments * (treatments + 1) / (6 * blocks))


def _table(
    frame: pd.DataFrame, treatment: str, columns: list[str], value: str
) -> tuple[pd.DataFrame, int]:
    """Blocks by treatments, and the number of blocks that have no value at all."""
    named = complete(frame, [], [treatment, *columns]).rows
    whole = complete(named, [value]).rows
    means = whole.groupby([*columns, treatment], observed=True)[value].mean()
    table = means.unstack(treatment).reindex(columns=levels(named[treatment]))
    return table, len(named[columns].drop_duplicates()) - len(table)


def _undefined(n: int, k: int, chi2: float) -> str:
    if k < LEAST:
        return "fewer than 2 treatments"
    if not n:
        return "no block has a value of every treatment"
    if n < LEAST:
        return "a single block has a value of every treatment"
    return "all treatments are tied in every block" if math.isnan(chi2) else ""


def _treatments(table: pd.DataFrame, ranks: npt.NDArray[np.float64]) -> pd.DataFrame:
    best = ranks == ranks.min(axis=1, initial=np.inf, keepdims=True)
    treatments = pd.DataFrame(
        {
            "treatment": list(table),
            "mean_rank": ranks.mean(axis=0) if len(ranks) else np.nan,
            "wins": best.sum(axis=0),
            "n": table.notna().sum().to_numpy(),
        }
    )
    return treatments.sort_values("mean_rank", kind="stable", ignore_index=True)


def _pairs(
    treatments: list[Level],
    better: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.float64],
    confidence: float,
) -> pd.DataFrame:
    """Every pair of treatments, from values (blocks, treatments) of which more is better."""
    n, k = better.shape
    rows = []
    for a, b in itertools.combinations(range(k if n else 0), 2):
        differences = better[:, a] - better[:, b]
        apart = float(ranks[:, a].mean() - ranks[:, b].mean())
        effect, low, high = rank_biserial(differences, confidence)
        in_units = abs(apart) / math.sqrt(k * (k + 1) / (6 * n)) * math.sqrt(2)
        rows.append(
            {
                "first": treatments[a],
                "second": treatments[b],
                "mean_rank_difference": apart,
                "nemenyi_p": float(stats.studentized_range.sf(in_units, k, np.inf)),
                "wilcoxon_p": wilcoxon_p(differences),
                "wins_first": int((ranks[:, a] < ranks[:, b]).sum()),
                "wins_second": int((ranks[:, a] > ranks[:, b]).sum()),
                "ties": int((ranks[:, a] == ranks[:, b]).sum()),
                "effect": effect,
                "effect_low": low,
                "effect_high": high,
                "n": n,
            }
        )
    pairs = pd.DataFrame(rows, columns=[name for name in PAIRS if name != "wilcoxon_p_holm"])
    return pairs.assign(wilcoxon_p_holm=holm(pairs["wilcoxon_p"].to_numpy(dtype=float)))[
        list(PAIRS)
    ]
