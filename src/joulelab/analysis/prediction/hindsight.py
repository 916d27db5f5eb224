"""How good predictions with ranges were, once the truth is known.

Over n things that were predicted as p (range l to h) and turned out to be a::

    ratio    r = a / p             above 1 it took more than predicted; the median says the bias
    MAPE     mean |p - a| / a      a share of 1: each counts alike, whatever its size
    covered  l <= a <= h           of ranges at 95 % about 19 in 20

What is not above 0 has no ratio and is left out, and counted. Things predicted together from the
same few timings err together: how many of them are covered says little about another occasion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab.analysis.missing import numbers

NEEDED = ("predicted", "low", "high", "actual")


@dataclass(frozen=True)
class Hindsight:
    """How good some predictions were.

    Attributes:
        table: the rows as given, with ``ratio`` (NaN where left out), ``error`` (as a share of the
            actual) and ``covered`` (true, false, or missing where there is no range).
        n: predictions with a ratio.
        median_ratio: of actual over predicted; NaN where n is 0.
        mape: mean absolute error as a share of 1; NaN where n is 0.
        covered: actual values within their range.
        ranged: predictions with a range among the n.
        dropped: where either figure is unknown or not above 0.
    """

    table: pd.DataFrame
    n: int
    median_ratio: float
    mape: float
    covered: int
    ranged: int
    dropped: int


def hindsight(predictions: pd.DataFrame) -> Hindsight:
    """Compare predictions with what came of them.

    Args:
        predictions: a row each, with ``predicted``, ``low``, ``high`` and ``actual`` in one unit;
            NaN where unknown.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> found = hindsight(pd.DataFrame({"predicted": [10.0, 20.0, 40.0],
    ...     "low": [8.0, 16.0, 32.0], "high": [12.0, 24.0, 48.0], "actual": [11.0, 25.0, 40.0]}))
    >>> found.median_ratio, round(found.mape, 3), found.covered, found.ranged
    (1.1, 0.097, 2, 3)
    """
    predicted, low, high, actual = (numbers(predictions, name) for name in NEEDED)
    known = (predicted > 0) & (actual > 0)
    ratio = np.full(len(predictions), np.nan)
    np.divide(actual, predicted, out=ratio, where=known)
    error = np.full(len(predictions), np.nan)
    np.divide(predicted - actual, actual, out=error, where=known)
    ranged = known & np.isfinite(low) & np.isfinite(high)
    within = ranged & (low <= actual) & (actual <= high)
    covered = pd.Series(within, index=predictions.index, dtype="boolean").mask(~ranged)
    some = bool(known.any())
    return Hindsight(
        table=predictions.assign(ratio=ratio, error=error, covered=covered),
        n=int(known.sum()),
        median_ratio=float(np.median(ratio[known])) if some else math.nan,
        mape=float(np.abs(error[known]).mean()) if some else math.nan,
        covered=int(within.sum()),
        ranged=int(ranged.sum()),
        dropped=int((~known).sum()),
    )
