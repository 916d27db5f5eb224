"""Where a clock misleads: pairs in which the faster configuration takes more energy.

For configurations A and B, over the logarithms of their runs, each measure by Welch's t::

    t = (m_A - m_B) / sqrt(v_A + v_B)          v = s^2 / n

with p adjusted by Holm over all pairs of configurations, for durations and for energies. A pair is
an **inversion** where both p are below 0.05 and A is faster and takes more energy, or the other way
round. Two tests that must both reject need no further adjustment for being two (Berger,
Technometrics 24, 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr

from joulelab.analysis.levels import Level, groups, label
from joulelab.analysis.missing import ENERGY, complete, names, numbers, require_columns
from joulelab.analysis.paired import holm
from joulelab.analysis.resampling import CONFIDENCE
from joulelab.analysis.rounding import sample_std

Values = npt.NDArray[np.float64]

COLUMNS = (
    "faster",
    "slower",
    "duration_ratio",
    "energy_ratio",
    "duration_p_holm",
    "energy_p_holm",
    "n_faster",
    "n_slower",
)


@dataclass(frozen=True)
class Logs:
    """Logarithms of a measure, over the runs of each configuration.

    Attributes:
        mean: (configurations,).
        variance: of that mean, s^2 / n; NaN for a single run.
        n: number of runs.
    """

    mean: Values
    variance: Values
    n: Values


def logarithms(parts: Sequence[pd.DataFrame], column: str) -> Logs:
    """Mean and scatter of the logarithms of a measure, of each configuration.

    Args:
        parts: the runs of each configuration.
        column: with values above 0.

    >>> logarithms([pd.DataFrame({"j": [1.0, np.e]})], "j").mean
    array([0.5])
    """
    values = [np.log(part[column].to_numpy(dtype=float)) for part in parts]
    return Logs(
        np.array([one.mean() for one in values]),
        np.array(
            [
                sample_std(one, max(1.0, float(np.abs(one).max()))) ** 2 / len(one)
                if len(one) > 1
                else np.nan
                for one in values
            ]
        ),
        np.array([float(len(one)) for one in values]),
    )


def inversions(
    runs: pd.DataFrame,
    by: str | Sequence[str],
    energy: str = ENERGY,
    duration: str = "duration_s",
) -> pd.DataFrame:
    """The pairs of configurations of which the faster one takes more energy.

    Args:
        runs: a row a run; one without an energy and a duration above 0 is left out.
        by: the columns that make a configuration.
        energy: column in joules.
        duration: column in seconds.

    Returns:
        A row an inversion: ``faster`` (which takes more energy), ``slower`` (levels, or as text
        ``a=1, b=2`` where `by` names several columns), ``duration_ratio`` (below 1) and
        ``energy_ratio`` (above 1), both of geometric means, ``duration_p_holm``,
        ``energy_p_holm``, ``n_faster`` and ``n_slower``. A configuration with a single run, and
        two that do not scatter at all, have no test and are no inversion.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"network": list("aabb"), "duration_s": [10.0, 10.1, 8.0, 8.1],
    ...     "energy_net_j": [1000.0, 1010.0, 2000.0, 2020.0]})
    >>> inversions(runs, "network")[["faster", "slower", "energy_ratio"]].round(2)
      faster slower  energy_ratio
    0      b      a           2.0
    """
    columns = names(by)
    require_columns(runs, columns)
    positive = (numbers(runs, energy) > 0) & (numbers(runs, duration) > 0)
    rows = complete(runs[positive], [energy, duration]).rows
    found = list(groups(rows, columns)) if len(rows) else []
    parts = [part for _, part in found]
    return _inversions(
        [label(key) for key, _ in found], logarithms(parts, duration), logarithms(parts, energy)
    )


def _inversions(labels: list[Level], duration: Logs, energy: Logs) -> pd.DataFrame:
    pairs = np.stack(np.triu_indices(len(labels), 1), axis=1)
    # (pairs,): the logarithm of first over second, and its p
    slower, duration_p = _welch(duration, pairs)
    more, energy_p = _welch(energy, pairs)
    significant = (duration_p < 1 - CONFIDENCE) & (energy_p < 1 - CONFIDENCE)
    rows = []
    for at in np.flatnonzero(significant & (slower * more < 0)):
        sign = 1 if slower[at] < 0 else -1
        faster, other = pairs[at][::sign]
        rows.append(
            {
                "faster": labels[faster],
                "slower": labels[other],
                "duration_ratio": float(np.exp(sign * slower[at])),
                "energy_ratio": float(np.exp(sign * more[at])),
                "duration_p_holm": float(duration_p[at]),
                "energy_p_holm": float(energy_p[at]),
                "n_faster": int(duration.n[faster]),
                "n_slower": int(duration.n[other]),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _welch(logs: Logs, pairs: npt.NDArray[np.int_]) -> tuple[Values, Values]:
    """Difference of each pair and its p, adjusted; NaN with a single run or without scatter."""
    first, second = pairs.T
    apart = logs.mean[first] - logs.mean[second]
    one, other = logs.variance[first], logs.variance[second]
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (one + other) ** 2 / (one**2 / (logs.n[first] - 1) + other**2 / (logs.n[second] - 1))
        p = 2 * stdtr(df, -np.abs(apart) / np.sqrt(one + other))
    return apart, holm(p)
