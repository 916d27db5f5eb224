"""Bootstrap: how much would a statistic vary if the sample were drawn again from itself?

A sample of n values is drawn n times with replacement, many times over; the middle 95 % of the
statistics of these resamples are the percentile interval. Efron, "Bootstrap methods: another look
at the jackknife", Annals of Statistics 7 (1979); Efron and Tibshirani, "An Introduction to the
Bootstrap" (1993), chapter 13.

A resample is stored as the **counts** of how often each value was drawn, so that values are sorted
once rather than once per resample: ranks, sums and means of a resample follow from its counts by
cumulative and weighted sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.rounding import Values
from joulelab.errors import UsageError

# This many counts, 4 MB, stay in the processor's cache.
AT_ONCE = 500_000


def draw_counts(
    rng: np.random.Generator, resamples: int, groups: Sequence[npt.NDArray[np.intp]], n: int
) -> Values:
    """Draw resamples, as the number of times each value is drawn.

    Args:
        rng: the random generator.
        resamples: number of resamples.
        groups: the positions of each group; every group keeps its size.
        n: number of values; one that is in no group is never drawn.

    Returns:
        Shape (resamples, n); each row sums to the size of the groups.

    >>> counts = draw_counts(np.random.default_rng(0), 2, [np.array([0, 2]), np.array([1])], 3)
    >>> counts[:, [0, 2]].sum(axis=1), counts[:, 1]
    (array([2., 2.]), array([1., 1.]))
    """
    row = np.arange(0, resamples * n, n, dtype=np.int64)[:, None]
    # Every value of every resample has its own index, and one pass counts them all.
    drawn = [
        members[rng.integers(len(members), size=(resamples, len(members)), dtype=np.int32)] + row
        for members in groups
    ]
    flat = np.bincount(np.concatenate(drawn, axis=None), minlength=resamples * n)
    return flat.reshape(resamples, n).astype(float)


def batches(resamples: int, n: int) -> Iterator[int]:
    """Split resamples of n values into batches whose counts take little memory.

    >>> list(batches(5, 250_000))
    [2, 2, 1]
    """
    at_once = max(1, AT_ONCE // max(n, 1))
    for start in range(0, resamples, at_once):
        yield min(at_once, resamples - start)


def percentile_interval(statistics: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The middle share of the statistics of the resamples; undefined ones are left out.

    Args:
        statistics: (resamples,); NaN if undefined.
        confidence: of the interval, between 0 and 1.

    Returns:
        Low and high; NaN if no resample has a statistic.

    >>> percentile_interval(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    defined = statistics[~np.isnan(statistics)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def require_chance(resamples: int, confidence: float = CONFIDENCE) -> None:
    """Check the parameters of a bootstrap.

    Raises:
        UsageError: resamples below 0, or a confidence outside 0 to 1.
    """
    if resamples < 0:
        raise UsageError(f"{resamples} resamples are not possible", "give 0 for none, or 1000")
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence of {confidence:g} is not possible", "give one below 1: .95")
