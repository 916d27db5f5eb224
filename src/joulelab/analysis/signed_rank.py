"""Wilcoxon's signed-rank test of paired differences, and the shift that goes with it.

::

    W+      sum of the ranks of |d_i| over the positive differences; its distribution under the
            null hypothesis: every pattern of signs alike
    shift   median of the Walsh averages (d_i + d_j) / 2, i <= j          (Hodges and Lehmann)
    bounds  the c-th smallest and the c-th largest of them, with the largest c for which
            P(W+ <= c - 1) <= (1 - confidence) / 2

Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); Hodges and
Lehmann, "Estimates of location based on rank tests", Annals of Mathematical Statistics 34 (1963).
Test and bounds agree: the bounds leave out 0 where the test rejects it (ties and zeros aside).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from joulelab.analysis.comparison import CONFIDENCE, Interval

Alternative: TypeAlias = Literal["two-sided", "greater", "less"]
EXACT_TO = 13
"""Up to so many differences every pattern of signs is looked at; else 9,999 drawn by a seed."""


def signed_rank(
    differences: npt.NDArray[np.float64], alternative: Alternative = "two-sided"
) -> float:
    """The p of the test; exact for up to 13 differences, with ties and without.

    Args:
        differences: of pairs, shape (n,), finite; those that are 0 are left out, as Wilcoxon did.
        alternative: ``"two-sided"``, ``"greater"`` or ``"less"`` than 0.

    Six of six in one direction are 1 of 2^6 patterns:

    >>> signed_rank(np.array([0.01, 0.02, 0.03, 0.06, 0.05, 0.04]), "greater")
    0.015625
    """
    if not np.any(differences):
        return 1.0
    method = stats.PermutationMethod(n_resamples=9_999, rng=np.random.default_rng(0))
    return float(stats.wilcoxon(differences, alternative=alternative, method=method).pvalue)


def shift(differences: npt.NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """The Hodges-Lehmann estimate of the differences, with its interval.

    Args:
        differences: of pairs, shape (n,), finite, at least one.
        confidence: of the interval; where n is too small for it, the bounds are NaN.

    Raises:
        ValueError: there is no difference.

    Walsh averages of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6; W+ <= 0 has probability 1/8, so the outermost
    are the bounds at a confidence of 0.75.

    >>> found = shift(np.array([1.0, 2.0, 6.0]), confidence=0.75)
    >>> found.low, found.value, found.high
    (1.0, 2.75, 6.0)
    """
    n = len(differences)
    if not n:
        raise ValueError("there is no difference")
    first, second = np.triu_indices(n)
    walsh = np.sort((differences[first] + differences[second]) / 2)
    cut = int(np.searchsorted(_cumulative(n), (1 - confidence) / 2 + 1e-12, side="right"))
    low, high = (walsh[cut - 1], walsh[-cut]) if cut else (math.nan, math.nan)
    std = float(differences.std(ddof=1)) if n > 1 else math.nan
    return Interval(float(np.median(walsh)), float(low), float(high), std, n, confidence)


def _cumulative(n: int) -> npt.NDArray[np.float64]:
    """P(W+ <= w) for w from 0 to n (n + 1) / 2, as the product of n polynomials."""
    ways = np.ones(1)
    for rank in range(1, n + 1):
        with_rank = np.concatenate([np.zeros(rank), ways])
        ways = (np.concatenate([ways, np.zeros(rank)]) + with_rank) / 2
    return np.cumsum(ways)
