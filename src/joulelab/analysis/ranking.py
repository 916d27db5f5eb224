"""Rank treatments over blocks: which search strategy is best over networks and data sets?

The treatments are ranked within each block, and Friedman's test (below) decides whether their mean
ranks differ by more than chance. Two treatments differ at 1 - confidence if their mean ranks differ
by at least Nemenyi's critical difference::

    CD = q sqrt(k (k + 1) / (6 n))       q  studentized range of k treatments, divided by sqrt(2)

for k treatments and n blocks: Demsar, "Statistical comparisons of classifiers over multiple data
sets", Journal of Machine Learning Research 7 (2006). Nemenyi's test is weak for few blocks and
depends on the other treatments; Wilcoxon's signed-rank test of each pair, adjusted by Holm for
their number, does not (Benavoli, Corani and Mangili, JMLR 17, 2016). Both are given.

The blocks are assumed to be independent. If they share something (a network, a data set), they
carry less information than their number suggests.

Friedman's test on the ranks of k treatments within n blocks, and Kendall's W
-----------------------------------------------------------------------------

With r_ij the rank of treatment j in block i (ties get their mean rank) and R_j the sum over i::

    S    = sum_j (R_j - n (k + 1) / 2)^2
    chi2 = (k - 1) S / (sum_ij r_ij^2 - n k (k + 1)^2 / 4)       df = k - 1; corrected for ties
    F    = (n - 1) chi2 / (n (k - 1) - chi2)                     df = k - 1, (k - 1) (n - 1)
    W    = chi2 / (n (k - 1))                                    0 no agreement, 1 all blocks agree

Friedman, JASA 32 (1937); with ties: Conover, "Practical Nonparametric Statistics" (1999), 5.8; F:
Iman and Davenport, Communications in Statistics A9 (1980); W: Kendall and Babington Smith, Annals
of Mathematical Statistics 10 (1939).

The chi-square distribution is a poor approximation for few blocks. The permutation p is the
probability that S is at least as large if each block orders its ranks at random. It is exact if all
orders can be counted (block by block, merging equal sums of ranks), and otherwise computed from
20,000 random orders, as (1 + number at least as large) / 20,001.
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

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.frames import Level, complete, levels, names, results
from joulelab.analysis.posthoc import holm
from joulelab.analysis.resampling import batches, draw_counts, percentile_interval, require_chance
from joulelab.analysis.rounding import Values, without_noise
from joulelab.analysis.two_samples import rank_biserial, wilcoxon_p
from joulelab.errors import UsageError

PAIRS = (
    "first second mean_rank_difference nemenyi_p wilcoxon_p wilcoxon_p_holm wins_first "
    "wins_second ties effect effect_low effect_high n"
)
EXACT = "exact"
DRAWN = "20,000 random permutations"
DRAWS = 20_000
# Number of sums of ranks that are followed at a time.
MOST_SUMS = 250_000
MOST_TREATMENTS = 6
BITS = 63
"""Bits of the integer that encodes all sums of ranks of an arrangement."""
LEAST = 2


@dataclass(frozen=True)
class Ranking:
    """Treatments over blocks: their ranks, and whether they differ by more than chance.

    Attributes:
        treatments: one row per treatment, best first: ``treatment``, ``mean_rank`` (1 is best),
            ``wins`` (blocks in which it is best; a tie counts for all tied) and ``n``
            (blocks in which it has a value, used or not).
        pairs: one row per pair of treatments: ``first``, ``second``, ``mean_rank_difference``
            (below 0 if `first` ranks better), ``nemenyi_p``, ``wilcoxon_p``,
            ``wilcoxon_p_holm``, ``wins_first``, ``wins_second``, ``ties`` (blocks), ``effect``
            (matched-pairs rank-biserial correlation; above 0 if `first` is better, missing if all
            are tied), ``effect_low``, ``effect_high`` and ``n`` (blocks).
        blocks: number of blocks used: those in which every treatment has a value.
        dropped: number of blocks not used.
        confidence: of the intervals and the critical difference.
        reason: why there is no test; otherwise empty.
        chi2: Friedman's statistic, corrected for ties.
        df: its degrees of freedom; ``None`` without a test.
        p: from the chi-square distribution.
        f: the statistic of Iman and Davenport; infinite if all blocks agree.
        p_f: from the F distribution.
        p_exact: from the permutations within the blocks.
        p_method: whether all permutations were counted, or a random sample.
        kendalls_w: agreement of the blocks, 0 to 1.
        w_low: lower end of its bootstrap interval over blocks, which is slightly too high.
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
        frame: one row per (block, treatment); the values of several rows are averaged.
        treatment: column of the compared treatments, for instance the strategy.
        blocks: the columns that make a block, for instance network and data set.
        value: column of the value to rank by, for instance the optimum accuracy.
        higher_is_better: whether the largest value gets rank 1.
        confidence: of the intervals and of the critical difference, between 0 and 1.
        resamples: of the bootstrap over blocks; with 0 Kendall's W has no interval.
        seed: of the bootstrap, and of random permutations.

    Raises:
        UsageError: a column is absent, is named twice or is not numeric, or the confidence or the
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
    """Nemenyi's critical difference of two mean ranks; NaN for one treatment or no block.

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
    """Blocks by treatments, and the number of blocks without any value."""
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


def _treatments(table: pd.DataFrame, ranks: Values) -> pd.DataFrame:
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
    treatments: list[Level], better: Values, ranks: Values, confidence: float
) -> pd.DataFrame:
    """Every pair of treatments, from values (blocks, treatments) where larger is better."""
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
    pairs = results(rows, PAIRS)
    return pairs.assign(wilcoxon_p_holm=holm(pairs["wilcoxon_p"].to_numpy(dtype=float)))


def block_ranks(values: Values, higher_is_better: bool = True) -> Values:
    """The ranks of the treatments within each block; 1 is best, ties get their mean rank.

    Args:
        values: (blocks, treatments), finite; differences in the 13th digit count as ties.
        higher_is_better: whether the largest value gets rank 1.

    >>> block_ranks(np.array([[0.9, 0.8, 0.8]]))
    array([[1. , 2.5, 2.5]])
    """
    exact = without_noise(values)
    return np.asarray(stats.rankdata(-exact if higher_is_better else exact, axis=1))


def chi_square(ranks: Values, counts: Values | None = None) -> Values:
    """Friedman's statistic, corrected for ties, for resamples of the blocks.

    Args:
        ranks: (blocks, treatments).
        counts: (resamples, blocks), how often each block counts; default: once each.

    Returns:
        Shape (resamples,); NaN if all treatments are tied in every block.

    >>> chi_square(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    array([4.])
    """
    n, k = ranks.shape
    weights = np.ones((1, n)) if counts is None else counts
    blocks = weights.sum(axis=1)
    between = ((weights @ ranks - blocks[:, None] * (k + 1) / 2) ** 2).sum(axis=1)
    within = weights @ (ranks**2).sum(axis=1) - blocks * k * (k + 1) ** 2 / 4
    found = np.full(len(weights), np.nan)
    np.divide((k - 1) * between, within, out=found, where=within > 0)
    return found


def iman_davenport(chi2: float, n: int, k: int) -> tuple[float, float]:
    """F and its p; infinite and 0 if all blocks agree, NaN with a single block.

    Args:
        chi2: Friedman's statistic.
        n: number of blocks.
        k: number of treatments.

    Worked example: Demsar (2006), four classifiers over 14 data sets.

    >>> round(iman_davenport(9.28, 14, 4)[0], 2)
    3.69
    """
    if n == 1 or math.isnan(chi2):
        return np.nan, np.nan
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-9 * chi2 else math.inf
    return f, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def permutation_p(ranks: Values, seed: int = 0) -> tuple[float, str]:
    """Permutation p: how often random orders within blocks are at least as extreme.

    Args:
        ranks: (blocks, treatments).
        seed: of random orders, if not all can be counted.

    Returns:
        The p, and ``"exact"`` or ``"20,000 random permutations"``.

    All 3 of 3 blocks agree: 6 of 6^3 ways.

    >>> permutation_p(np.array([[1.0, 2.0, 3.0]] * 3))
    (0.027777777777777776, 'exact')
    """
    doubled = np.rint(2 * ranks).astype(np.int64)  # mean ranks end in .5
    found = spread(doubled.sum(axis=0))
    exact = _exact_p(doubled, int(found))
    if exact is not None:
        return exact, EXACT
    rng = np.random.default_rng(seed)
    reached = 0
    for batch in batches(DRAWS, doubled.size):
        orders = rng.permuted(np.broadcast_to(doubled, (batch, *doubled.shape)), axis=2)
        reached += int((spread(orders.sum(axis=1)) >= found).sum())
    return (1 + reached) / (1 + DRAWS), DRAWN


def resampled_w(ranks: Values, resamples: int, rng: np.random.Generator) -> Values:
    """Kendall's W of resamples of the blocks, shape (resamples,).

    A block that is drawn twice agrees with itself, so the resamples are slightly too high.

    >>> resampled_w(np.array([[1.0, 2.0]] * 3), 2, np.random.default_rng(0))
    array([1., 1.])
    """
    n, k = ranks.shape
    blocks = [np.arange(n)]
    parts = [
        chi_square(ranks, draw_counts(rng, batch, blocks, n)) / (n * (k - 1))
        for batch in batches(resamples, n)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def spread(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sum over the last axis of the squared distances from the mean, times k, in integers.

    >>> spread(np.array([2, 4, 6]))     # 3 * (4 + 0 + 4)
    np.int64(24)
    """
    return np.asarray(sums.shape[-1] * (sums**2).sum(axis=-1) - sums.sum(axis=-1) ** 2)[()]


def _exact_p(doubled: npt.NDArray[np.int64], found: int) -> float | None:
    """The share of all orders with at least this spread; None if there are too many orders.

    S does not depend on which treatment is which, so sums of ranks are kept in ascending order, and
    equal ones are merged.
    """
    n, k = doubled.shape
    base = int(doubled.sum(axis=0).max()) + 2 * n * k + 1
    if k > MOST_TREATMENTS or k * math.log2(base) >= BITS:
        return None
    digits = base ** np.arange(k, dtype=np.int64)
    sums = np.sort(doubled[:1], axis=1)
    chances: Values = np.ones(1)
    for block in doubled[1:]:
        orders = np.array(list(itertools.permutations(block)))  # (k!, k)
        if len(sums) * len(orders) > MOST_SUMS:
            return None
        reached = np.sort((sums[:, None, :] + orders).reshape(-1, k), axis=1)
        codes, place = np.unique(reached @ digits, return_inverse=True)
        shares = np.repeat(chances / len(orders), len(orders))
        chances = np.bincount(place, shares).astype(float)
        sums = codes[:, None] // digits % base
    return min(1.0, float(chances[spread(sums) >= found].sum()))
