"""The shift of paired differences that goes with Wilcoxon's signed-rank test.

::

    shift   median of the Walsh averages (d_i + d_j) / 2, i <= j
    bounds  the c-th smallest and the c-th largest of them, with the largest c for which
            P(W+ <= c - 1) <= (1 - confidence) / 2

with W+ the sum of the ranks of |d_i| over the positive differences, every pattern of signs alike.
Hodges and Lehmann, "Estimates of location based on rank tests", Annals of Mathematical Statistics
34 (1963). Ties and zeros aside, the bounds leave out 0 exactly where the test
(`joulelab.analysis.paired.wilcoxon_p`) rejects it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from joulelab.analysis.comparison import CONFIDENCE, Interval


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
