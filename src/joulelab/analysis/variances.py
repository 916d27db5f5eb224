"""Do energies scatter alike in every configuration? The test of Brown and Forsythe.

::

    z_ij = |y_ij - median of group i|
    W    = (n - k) / (k - 1) * sum_i n_i (z_i. - z_..)^2 / sum_ij (z_ij - z_i.)^2

compared with F(k - 1, n - k): an analysis of variance of the distances from the median, for k
groups and n runs. Two runs are as far from their median, so that groups of two say nothing and are
left out. Brown and Forsythe, "Robust tests for the equality of variances", Journal of the
American Statistical Association 69 (1974). A small p speaks against equal variances, as analysis of
variance wants them; tests of ranks want them less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.levels import groups
from joulelab.analysis.missing import ENERGY, complete, names
from joulelab.analysis.rounding import constant, sample_std

GROUPS, RUNS = 2, 3
"""The least of groups, and of runs in each."""


@dataclass(frozen=True)
class Variances:
    """Whether groups scatter alike.

    Attributes:
        w: the statistic; NaN where there is none.
        p: of equal variances.
        ratio: largest standard deviation over the smallest; infinite where that is 0.
        n: runs in groups of three or more.
        k: such groups.
        dropped: runs without an energy or a group, and those in smaller groups.
        reason: why there is no test; empty where there is.
    """

    w: float
    p: float
    ratio: float
    n: int
    k: int
    dropped: int
    reason: str


def equal_variances(
    runs: pd.DataFrame, by: str | Sequence[str] = "configuration", energy: str = ENERGY
) -> Variances:
    """Test whether the energies of all groups scatter alike.

    Args:
        runs: a row a run.
        by: the columns that make the groups.
        energy: column in joules.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    Worked example: distances 2, 0, 2 and 4, 0, 4 with means 4/3 and 8/3, so W = 4 * (8/3) / (40/3).

    >>> runs = pd.DataFrame({"configuration": list("aaabbb"),
    ...     "energy_net_j": [98.0, 100.0, 102.0, 196.0, 200.0, 204.0]})
    >>> found = equal_variances(runs)
    >>> round(found.w, 3), found.ratio, found.k
    (0.8, 2.0, 2)
    """
    whole = complete(runs, [energy], names(by))
    parts = [rows[energy].to_numpy(dtype=float) for _, rows in groups(whole.rows, by)]
    samples = [sample for sample in parts if len(sample) >= RUNS]
    n = sum(map(len, samples))
    dropped = len(runs) - n
    spreads = np.array([sample_std(sample) for sample in samples])
    if len(samples) < GROUPS:
        reason = "it needs two groups of three runs"
    elif not spreads.any():
        reason = "no energy differs from the others of its group"
    elif _alike(samples):
        reason = "in each group all energies are as far from the median"
    else:
        w, p = stats.levene(*samples, center="median")
        least = float(spreads.min())
        ratio = float(spreads.max()) / least if least else np.inf
        return Variances(float(w), float(p), ratio, n, len(samples), dropped, "")
    return Variances(np.nan, np.nan, np.nan, n, len(samples), dropped, reason)


def _alike(samples: Sequence[npt.NDArray[np.float64]]) -> bool:
    """Whether the distances from the median differ in no group: nothing to compare them with."""
    return all(
        constant(np.abs(sample - np.median(sample)), float(np.abs(sample).max()))
        for sample in samples
    )
