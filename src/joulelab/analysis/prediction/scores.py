"""How good predictions of energy are: baselines to beat, scores, and hindsight.

Baselines: simpler predictions
------------------------------

::

    mean so far           E = P_mean T                        start-up counts as much as the rest
    window                E = E(t) + P_window (T - t)         the last part of what was seen
    random window         the same with a window anywhere in what was seen
    TDP                   E = TDP T                           Lacoste et al., arXiv 1910.09700
    Green Algorithms      E = (TDP u + 0.3725 W/GB M) T       Lannelongue et al., Adv. Sci. 2021

P power, t the time seen of the duration T, u utilisation, M memory. None of them has an interval.

Scores over several runs
------------------------

With the true energies E_i, the predicted ones P_i and their intervals [l_i, h_i]::

    RMSE     = sqrt(mean (P_i - E_i)^2)           in kJ: the large runs count
    MAPE     = mean |P_i - E_i| / E_i             a share of 1: every run counts alike
    coverage = share of the runs with l_i <= E_i <= h_i

Hindsight: predictions with ranges, once the truth is known
-----------------------------------------------------------

Over n things that were predicted as p (range l to h) and turned out to be a::

    ratio    r = a / p             above 1 it took more than predicted; the median says the bias
    MAPE     mean |p - a| / a      a share of 1: each counts alike, whatever its size
    covered  l <= a <= h           of ranges at 95 % about 19 in 20

What is not above 0 has no ratio and is left out, and counted. Things predicted together from the
same few timings err together: how many of them are covered says little about another occasion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from joulelab.analysis.frames import numbers
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.errors import UsageError

JOULES_PER_KJ = 1e3
NEEDED = ("predicted", "low", "high", "actual")
MEMORY_W_PER_GB = 0.3725
WINDOW_SHARE = 0.4
"""How much of what was seen a window takes: of a fifth of a run, what lies from 12 to 20 %."""


def mean_so_far_j(seen: PowerTrace, duration_s: float) -> float:
    """Mean power so far times the whole duration.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
    """
    return seen.mean_w * duration_s


def last_window_j(seen: PowerTrace, duration_s: float, share: float = WINDOW_SHARE) -> float:
    """What was used, and the mean power of the last part of it for the rest.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
        share: of what was seen that the window takes.
    """
    return _window_j(seen, duration_s, (1.0 - share) * seen.duration_s, share)


def random_window_j(
    seen: PowerTrace, duration_s: float, draw: np.random.Generator, share: float = WINDOW_SHARE
) -> float:
    """What was used, and the mean power of a window anywhere in it for the rest.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
        draw: places the window.
        share: of what was seen that the window takes.
    """
    begin_s = float(draw.uniform(0.0, (1.0 - share) * seen.duration_s))
    return _window_j(seen, duration_s, begin_s, share)


def tdp_j(tdp_w: float, duration_s: float) -> float:
    """Thermal design power, or the power limit, times the whole duration.

    Args:
        tdp_w: of the device.
        duration_s: of the whole run.
    """
    return tdp_w * duration_s


def green_algorithms_j(
    tdp_w: float, utilisation: float, memory_gb: float, duration_s: float
) -> float:
    """The formula of Green Algorithms, without the part of the building (PUE 1).

    Args:
        tdp_w: of the device.
        utilisation: 0 to 1.
        memory_gb: in use.
        duration_s: of the whole run.

    Raises:
        UsageError: a utilisation outside 0 to 1.

    >>> green_algorithms_j(200.0, 0.5, 10.0, 2.0)
    207.45
    """
    if not 0.0 <= utilisation <= 1.0:
        raise UsageError(f"a utilisation of {utilisation:g}", "give a share of 1, from 0 to 1")
    return (tdp_w * utilisation + MEMORY_W_PER_GB * memory_gb) * duration_s


def _window_j(seen: PowerTrace, duration_s: float, begin_s: float, share: float) -> float:
    window = seen.between(begin_s, begin_s + share * seen.duration_s)
    return seen.energy_j + window.mean_w * (duration_s - seen.duration_s)


@dataclass(frozen=True)
class Predicted:
    """One predicted energy beside the true one, in joules; ends are None without an interval."""

    true_j: float
    predicted_j: float
    low_j: float | None = None
    high_j: float | None = None

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the true energy; None where there is none."""
        if self.low_j is None or self.high_j is None:
            return None
        return self.low_j <= self.true_j <= self.high_j


@dataclass(frozen=True)
class Score:
    """How good a method was that might see a fraction of each run.

    Attributes:
        method: its name.
        fraction: of the run that it saw.
        n: runs.
        rmse_kj: root mean square error in kilojoules; None without a run.
        mape: mean absolute error as a share of the true energy; None without a run.
        coverage: share of the intervals that hold the true energy; None without intervals.
    """

    method: str
    fraction: float
    n: int
    rmse_kj: float | None
    mape: float | None
    coverage: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)


def score(method: str, fraction: float, predictions: Sequence[Predicted]) -> Score:
    """The score of a method over several runs.

    Args:
        method: its name.
        fraction: of the run that it saw.
        predictions: one a run.

    >>> score("tdp", 0.1, [Predicted(2000.0, 3000.0), Predicted(4000.0, 4000.0)]).mape
    0.25
    """
    if not predictions:
        return Score(method, fraction, 0, None, None, None)
    true_j = np.array([one.true_j for one in predictions])
    errors_j = np.array([one.predicted_j for one in predictions]) - true_j
    covered = [one.covered for one in predictions if one.covered is not None]
    return Score(
        method,
        fraction,
        len(predictions),
        float(np.sqrt(np.mean(errors_j**2))) / JOULES_PER_KJ,
        float(np.mean(np.abs(errors_j) / true_j)),
        float(np.mean(covered)) if covered else None,
    )


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
