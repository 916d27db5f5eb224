"""Friedman's test on the ranks of k treatments within n blocks, and Kendall's W.

With r_ij the rank of treatment j in block i (ties get their mean rank) and R_j the sum over i::

    S    = sum_j (R_j - n (k + 1) / 2)^2
    chi2 = (k - 1) S / (sum_ij r_ij^2 - n k (k + 1)^2 / 4)       df = k - 1; corrected for ties
    F    = (n - 1) chi2 / (n (k - 1) - chi2)                     df = k - 1, (k - 1) (n - 1)
    W    = chi2 / (n (k - 1))                                    0 no agreement, 1 all blocks agree

Friedman, JASA 32 (1937); with ties: Conover, "Practical Nonparametric Statistics" (1999), 5.8; F:
Iman and Davenport, Communications in Statistics A9 (1980); W: Kendall and Babington Smith, Annals
of Mathematical Statistics 10 (1939).

The chi-square distribution is a poor one for few blocks. The permutation p says how often S is at
least as large if each block orders its ranks by chance. It is exact where all orders can be counted
(block by block, with equal sums of ranks put together), and otherwise from 20,000 drawn ones, where
it is (1 + those at least as large) / 20,001.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from joulelab.analysis.resampling import batches, draw_counts
from joulelab.analysis.rounding import without_noise

EXACT = "exact"
DRAWN = "20,000 random permutations"
DRAWS = 20_000
# So many sums of ranks are followed up at a time.
MOST_SUMS = 250_000
MOST_TREATMENTS = 6
BITS = 63
"""Of a whole number, in which all sums of ranks of an arrangement are written."""


def block_ranks(
    values: npt.NDArray[np.float64], higher_is_better: bool = True
) -> npt.NDArray[np.float64]:
    """The ranks of the treatments within each block; 1 is best, ties get their mean rank.

    Args:
        values: (blocks, treatments), finite; differences in the 13th digit are no differences.
        higher_is_better: whether the largest value gets rank 1.

    >>> block_ranks(np.array([[0.9, 0.8, 0.8]]))
    array([[1. , 2.5, 2.5]])
    """
    exact = without_noise(values)
    return np.asarray(stats.rankdata(-exact if higher_is_better else exact, axis=1))


def chi_square(
    ranks: npt.NDArray[np.float64], counts: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Friedman's statistic, corrected for ties, of resamples of the blocks.

    Args:
        ranks: (blocks, treatments).
        counts: (resamples, blocks), how often each block counts; once each where it is left out.

    Returns:
        Shape (resamples,); NaN where all treatments are tied in every block.

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
    """F and its p; infinite and 0 where all blocks agree, NaN with a single block.

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


def permutation_p(ranks: npt.NDArray[np.float64], seed: int = 0) -> tuple[float, str]:
    """How often chance within the blocks orders treatments as much, and how that was found.

    Args:
        ranks: (blocks, treatments).
        seed: of the draws, where not all orders can be counted.

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


def resampled_w(
    ranks: npt.NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Kendall's W of resamples of the blocks, shape (resamples,).

    A block that is drawn twice agrees with itself, so that the resamples lie somewhat too high.

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
    """Sum over the last axis of the squared distances from the mean, times k, in whole numbers.

    >>> spread(np.array([2, 4, 6]))     # 3 * (4 + 0 + 4)
    np.int64(24)
    """
    return np.asarray(sums.shape[-1] * (sums**2).sum(axis=-1) - sums.sum(axis=-1) ** 2)[()]


def _exact_p(doubled: npt.NDArray[np.int64], found: int) -> float | None:
    """The share of all orders that are spread at least as far; None where they are too many.

    S does not tell treatments apart, so that sums of ranks are kept in ascending order, and those
    that are equal then are put together.
    """
    n, k = doubled.shape
    base = int(doubled.sum(axis=0).max()) + 2 * n * k + 1
    if k > MOST_TREATMENTS or k * math.log2(base) >= BITS:
        return None
    digits = base ** np.arange(k, dtype=np.int64)
    sums = np.sort(doubled[:1], axis=1)
    chances: npt.NDArray[np.float64] = np.ones(1)
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
