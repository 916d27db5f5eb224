"""The smallest p that Dunn's test with Holm's correction can give, with so many runs in each group.

A pair of groups is furthest apart in rank where one holds the lowest ranks and the other the
highest. For groups of n_a and n_b among n runs without ties, and m pairs of groups::

    z = (n - (n_a + n_b) / 2) / sqrt(n (n + 1) / 12 * (1 / n_a + 1 / n_b))
    p = m * 2 * (1 - Phi(z))                       Holm multiplies the smallest p by m

Where this is above the level of significance, no data whatsoever can show a difference: that no
pair differs then says nothing of the groups. The test: `joulelab.analysis.posthoc`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from scipy.special import ndtr


def min_attainable_p(sizes: Sequence[int]) -> float:
    """The smallest adjusted p of any pair; NaN with fewer than two groups.

    Args:
        sizes: the number of runs of each group; a group without any does not count.

    Worked example: of five groups of two runs the furthest pair is 8 ranks apart, and
    z = 8 / sqrt(110 / 12) = 2.642, so that p = .0082, ten pairs.

    >>> round(min_attainable_p([2, 2, 2, 2, 2]), 3), round(min_attainable_p([3, 3, 3, 3, 3]), 3)
    (0.082, 0.01)
    """
    groups = [size for size in sizes if size > 0]
    pairs = list(itertools.combinations(groups, 2))
    if not pairs:
        return math.nan
    n = sum(groups)
    z = max((n - (a + b) / 2) / math.sqrt(n * (n + 1) / 12 * (1 / a + 1 / b)) for a, b in pairs)
    return min(1.0, len(pairs) * 2 * float(ndtr(-z)))
