"""Baseline predictions of energy, scores over runs, and the accuracy of past predictions.

Baselines: simpler predictions
------------------------------

::

    mean so far           E = P_mean T                        start-up counts as much as the rest
    window                E = E(t) + P_window (T - t)         the last part of the trace so far
    random window         the same with a random window in the trace so far
    TDP                   E = TDP T                           Lacoste et al., arXiv 1910.09700
    Green Algorithms      E = (TDP u + 0.3725 W/GB M) T       Lannelongue et al., Adv. Sci. 2021

P power, t the time seen of the duration T, u utilisation, M memory. They have no intervals.

Scores over several runs
------------------------

With the true energies E_i, the predicted ones P_i and their intervals [l_i, h_i]::

    RMSE     = sqrt(mean (P_i - E_i)^2)           in kJ: large runs dominate
    MAPE     = mean |P_i - E_i| / E_i             as a fraction: every run has equal weight
    coverage = share of the runs with l_i <= E_i <= h_i

Hindsight: predictions with ranges, compared with the outcome
-------------------------------------------------------------

For n quantities with prediction p (range l to h) and actual value a::

    ratio    r = a / p             above 1: more than predicted; the median shows the bias
    MAPE     mean |p - a| / a      as a fraction: equal weight, whatever the size
    covered  l <= a <= h           about 19 in 20 for 95 % ranges

Values that are not above 0 have no ratio; they are left out and counted. Predictions from the same
few timings err together: their coverage says little about another occasion.
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
"""Share of the trace so far that a window takes: at a fifth of a run, from 12 to 20 %."""


def mean_so_far_j(seen: PowerTrace, duration_s: float) -> float:
    """Mean power so far times the whole duration.

    Args:
        seen: the trace so far.
        duration_s: duration of the whole run.
    """
    return seen.mean_w * duration_s


def last_window_j(seen: PowerTrace, duration_s: float, share: float = WINDOW_SHARE) -> float:
    """Energy so far, plus the mean power of its last part for the rest.

    Args:
        seen: the trace so far.
        duration_s: duration of the whole run.
        share: length of the window as a share of the trace so far.
    """
    return _window_j(seen, duration_s, (1.0 - share) * seen.duration_s, share)


def random_window_j(
    seen: PowerTrace, duration_s: float, draw: np.random.Generator, share: float = WINDOW_SHARE
) -> float:
    """Energy so far, plus the mean power of a random window of it for the rest.

    Args:
        seen: the trace so far.
        duration_s: duration of the whole run.
        draw: generator that places the window.
        share: length of the window as a share of the trace so far.
    """
    begin_s = float(draw.uniform(0.0, (1.0 - share) * seen.duration_s))
    return _window_j(seen, duration_s, begin_s, share)


def tdp_j(tdp_w: float, duration_s: float) -> float:
    """Thermal design power, or the power limit, times the whole duration.

    Args:
        tdp_w: power of the device.
        duration_s: duration of the whole run.
    """
    return tdp_w * duration_s


def green_algorithms_j(
    tdp_w: float, utilisation: float, memory_gb: float, duration_s: float
) -> float:
    """The formula of Green Algorithms, without the data centre's overhead (PUE 1).

    Args:
        tdp_w: power of the device.
        utilisation: 0 to 1.
        memory_gb: memory in use.
        duration_s: duration of the whole run.

    Raises:
        UsageError: a utilisation outside 0 to 1.

    >>> green_algorithms_j(200.0, 0.5, 10.0, 2.0)
    207.45
    """
    if not 0.0 <= utilisation <= 1.0:
        raise UsageError(f"a utilisation of {utilisation:g}", "give a fraction from 0 to 1")
    return (tdp_w * utilisation + MEMORY_W_PER_GB * memory_gb) * duration_s


def _window_j(seen: PowerTrace, duration_s: float, begin_s: float, share: float) -> float:
    window = seen.between(begin_s, begin_s + share * seen.duration_s)
    return seen.energy_j + window.mean_w * (duration_s - seen.duration_s)


@dataclass(frozen=True)
class Predicted:
    """A predicted and a true energy in joules; ends are None without an interval."""

    true_j: float
    predicted_j: float
    low_j: float | None = None
    high_j: float | None = None

    @property
    def covered(self) -> bool | None:
        """Whether the interval contains the true energy; None without an interval."""
        if self.low_j is None or self.high_j is None:
            return None
        return self.low_j <= self.true_j <= self.high_j


@dataclass(frozen=True)
class Score:
    """Accuracy of a method that sees a fraction of each run.

    Attributes:
        method: its name.
        fraction: share of the run that it saw.
        n: number of runs.
        rmse_kj: root mean square error in kilojoules; None without runs.
        mape: mean absolute error as a fraction of the true energy; None without runs.
        coverage: share of the intervals with the true energy inside; None without intervals.
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
    """Score a method over several runs.

    Args:
        method: its name.
        fraction: share of the run that it saw.
        predictions: one per run.

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
    """Accuracy of predictions whose actual values are known.

    Attributes:
        table: the rows as given, with ``ratio`` (NaN if left out), ``error`` (as a fraction of the
            actual value) and ``covered`` (true, false, or missing without a range).
        n: predictions with a ratio.
        median_ratio: median of actual over predicted; NaN if n is 0.
        mape: mean absolute error as a fraction; NaN if n is 0.
        covered: actual values within their range.
        ranged: predictions with a range among the n.
        dropped: predictions left out: a figure is unknown or not above 0.
    """

    table: pd.DataFrame
    n: int
    median_ratio: float
    mape: float
    covered: int
    ranged: int
    dropped: int


def hindsight(predictions: pd.DataFrame) -> Hindsight:
    """Compare predictions with the actual values.

    Args:
        predictions: one row per prediction, with ``predicted``, ``low``, ``high`` and ``actual`` in
            one unit; NaN where unknown.

    Raises:
        UsageError: a column is missing or not numeric.


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
