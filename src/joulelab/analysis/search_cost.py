"""Searches compared by what they cost: what does it take to reach a score, and what is reached?

A search makes steps, each of which adds to its cost (joules, epochs, seconds). A trial has a score
once it has been trained to the end: the mean over its repetitions so far. The **best score so far**
is the highest that a trial has had; a lucky one counts, for all searches alike. The **best now** is
the highest at the moment; it falls where a further repetition shows that a score was lucky.

Cost to a target
----------------

The cost at which the best score so far first reaches the target. A search that ends before is
censored at what it spent. S(c), the share of searches that have not reached the target after cost
c, is Kaplan and Meier's; with d_i of n_i searches reaching it at c_i::

    S(c)   = prod over c_i <= c of (1 - d_i / n_i)
    s^2(c) = sum over c_i <= c of d_i / (n_i (n_i - d_i))               Greenwood, of ln S
    S(c) ^ exp(-+ z s / ln S)                                           interval, log-log

    median   least c with S(c) <= 1/2, if at least half of the searches get there
    bounds   least c at which the lower, and the upper, end of the interval is <= 1/2

If fewer get there, S may still fall to 0, as the few that are left decide after others have ended;
then the median is only known to be above that of all costs, of those who ended too.

Kaplan and Meier, JASA 53 (1958); Brookmeyer and Crowley, "A confidence interval for the median
survival time", Biometrics 38 (1982), with the log-log interval as R's ``survfit(conf.type =
"log-log")``. The upper bound is unknown if few searches remain; S is 0 after the last one, where
the interval is undefined. The first of five costs is above the median with probability 1/32, so
that fewer than six searches have no interval at 95 %; then the range is given, and `Survival.kind`
says so.

Median of a few values
----------------------

The interval between two order statistics whose binomial probability of containing the median is at
least the confidence (Conover, "Practical Nonparametric Statistics", 1999, 3.2). Fewer than six
values have none at 95 %; then the range is given, and `Middle.kind` says so.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.rounding import Values

HALF = 0.5
INTERVAL, RANGE = "interval", "range"
LEAST_BAND = 3
"""Fewest searches with a band."""


@dataclass(frozen=True)
class Survival:
    """Share of searches that have not reached a target, over cost.

    Attributes:
        at: (n,) costs in ascending order.
        share: (n,) S after each.
        low: (n,) lower end of its interval; NaN if undefined.
        high: (n,) upper end.
        median: cost; NaN if fewer than half of the searches reached the target.
        median_low: lower bound of the median, or lowest cost to the target; NaN if unknown.
        median_high: upper bound, or highest; NaN if unknown, or if a search did not get there.
        kind: ``"interval"``, or ``"range"`` of too few searches for one.
        reached: number of searches that reached the target.
        searches: number of searches.
        at_least: the median of all costs, below which that to the target cannot be.
    """

    at: Values
    share: Values
    low: Values
    high: Values
    median: float
    median_low: float
    median_high: float
    kind: str
    reached: int
    searches: int
    at_least: float


@dataclass(frozen=True)
class Middle:
    """The median of several values.

    Attributes:
        value: the median; a missing value counts as lower than all; NaN if it is one of these.
        low: lower end of the interval or range; NaN if unknown.
        high: upper end.
        kind: ``"interval"``, or ``"range"`` of too few values for one.
        n: number of values, missing ones included.
    """

    value: float
    low: float
    high: float
    kind: str
    n: int


def best_so_far(steps: pd.DataFrame, cost: str, *, higher_is_better: bool = True) -> pd.DataFrame:
    """The best score after each step that completes a training.

    Args:
        steps: a row for each step, in order: ``run_id``, ``trial``, ``repetition``, ``value``
            (score; missing if it failed), ``complete`` (whether the training is at its end),
            ``epochs``, and the cost column (cumulative over the search).
        cost: column of the cost when the score is known.
        higher_is_better: of two scores.

    Returns:
        ``run_id``, ``cost``, ``epochs`` (cumulative), ``best`` and ``now``.

    Two trainings of trial 0 have a mean of .85, so that its first score was lucky:

    >>> best_so_far(pd.DataFrame({
    ...     "run_id": "a", "trial": [0, 1, 0], "repetition": [0, 0, 1], "complete": True,
    ...     "value": [.9, .8, .8], "epochs": 5.0, "spent_j": [10.0, 20.0, 30.0]}), "spent_j")
      run_id  cost  epochs  best   now
    0      a  10.0     5.0   0.9  0.90
    1      a  20.0    10.0   0.9  0.90
    2      a  30.0    15.0   0.9  0.85
    """
    sign = 1.0 if higher_is_better else -1.0
    rows = []
    for run_id, own in steps.groupby("run_id", sort=False):
        epochs = own["epochs"].cumsum()
        scores: dict[int, dict[int, float]] = {}
        means: dict[int, float] = {}
        best = -math.inf
        for at, step in zip(epochs, own.to_dict("records"), strict=True):
            if not step["complete"] or not math.isfinite(step["value"]):
                continue
            trial = scores.setdefault(step["trial"], {})
            trial[step["repetition"]] = sign * step["value"]
            means[step["trial"]] = sum(trial.values()) / len(trial)
            now = max(means.values())
            best = max(best, now)
            scored = {"best": sign * best, "now": sign * now}
            rows.append({"run_id": run_id, "cost": step[cost], "epochs": at, **scored})
    return pd.DataFrame(rows, columns=["run_id", "cost", "epochs", "best", "now"])


def cost_to(
    best: pd.DataFrame, spent: pd.Series[float], target: pd.Series[float], cost: str = "cost"
) -> pd.DataFrame:
    """What each search spent until it had its target.

    Args:
        best: from `best_so_far`; higher scores are better.
        spent: by search, its whole cost; these are the searches.
        target: by search.
        cost: column of `best`: ``cost`` or ``epochs``.

    Returns:
        By search: ``cost`` and ``reached``; the whole cost where it was not reached.
    """
    there = best[best["best"] >= best["run_id"].map(target) - 1e-12]
    first = there.groupby("run_id")[cost].min().reindex(spent.index)
    return pd.DataFrame({"cost": first.fillna(spent).astype(float), "reached": first.notna()})


def survival(costs: Values, reached: Values, confidence: float = CONFIDENCE) -> Survival:
    """Kaplan and Meier's estimate of the share of searches that have not reached their target.

    Args:
        costs: (n,) cost to the target, or the whole cost of a search that did not reach it.
        reached: (n,) whether it did.
        confidence: of the intervals.

    Worked example: of 4 searches, one reaches the target at 1, one at 3, one ends at 2 without;
    S is 3/4, 3/4, then 3/4 * 1/2.

    >>> found = survival(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False]))
    >>> found.share, found.median
    (array([0.75 , 0.75 , 0.375, 0.375]), 3.0)
    """
    there = np.asarray(reached, dtype=bool)
    data = stats.CensoredData(uncensored=costs[there], right=costs[~there])
    function = stats.ecdf(data).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # undefined where S is 0 or 1
        sure: Any = function.confidence_interval(confidence, method="log-log")
    at, share = function.quantiles, function.probabilities
    low, high = sure.low.probabilities, sure.high.probabilities
    if HALF ** (len(costs) - 1) <= 1 - confidence:
        bounds, kind = (_first(at, np.where(share == 0, 0.0, low)), _first(at, high)), INTERVAL
    else:
        ends = costs[there] if there.any() else np.array([np.nan])
        bounds, kind = (float(ends.min()), float(ends.max()) if there.all() else math.nan), RANGE
    return Survival(
        at=at,
        share=share,
        low=low,
        high=high,
        median=_first(at, share) if there.mean() >= HALF else math.nan,
        median_low=bounds[0],
        median_high=bounds[1],
        kind=kind,
        reached=int(there.sum()),
        searches=len(costs),
        at_least=float(np.median(costs)),
    )


def _first(at: Values, share: Values) -> float:
    """The first cost with a share of at most a half; NaN if there is none."""
    there = np.flatnonzero(share <= HALF + 1e-12)
    return float(at[there[0]]) if len(there) else math.nan


def score_at(best: pd.DataFrame, searches: pd.Index, cost: float) -> pd.Series[float]:
    """The best score of each search at a cost; after its end, its last.

    Args:
        best: from `best_so_far`.
        searches: their names.
        cost: in the unit of ``best["cost"]``.

    Returns:
        By search; missing if it had not trained a trial to the end.
    """
    before = best[best["cost"] <= cost * (1 + 1e-12)]
    return before.groupby("run_id")["best"].last().reindex(searches).astype(float)


def middle(values: Values, confidence: float = CONFIDENCE) -> Middle:
    """The median with its interval, or the range of a few values.

    Args:
        values: (n,); NaN counts as lower than all others.
        confidence: of the interval.

    >>> middle(np.array([3.0, 1.0, 2.0]))
    Middle(value=2.0, low=1.0, high=3.0, kind='range', n=3)
    >>> middle(np.arange(1.0, 7.0))
    Middle(value=3.5, low=1.0, high=6.0, kind='interval', n=6)
    """
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values))
    if not len(ordered):
        return Middle(math.nan, math.nan, math.nan, RANGE, 0)
    # The mean of two missing values is not a number, which is right.
    halves = ordered[[(len(ordered) - 1) // 2, len(ordered) // 2]]
    value = float(halves.mean()) if np.isfinite(halves).all() else math.nan
    found: Any = stats.quantile_test(ordered).confidence_interval(confidence)
    low, high, kind = float(found.low), float(found.high), INTERVAL
    if math.isnan(low) or math.isnan(high):
        low, high, kind = float(ordered[0]), float(ordered[-1]), RANGE
    low, high = (end if math.isfinite(end) else math.nan for end in (low, high))
    return Middle(value, low, high, kind, len(ordered))


def anytime(best: pd.DataFrame, spent: pd.Series[float]) -> pd.DataFrame:
    """The median over searches of the best score so far, at every cost at which it changes.

    Args:
        best: from `best_so_far`, of searches that are alike.
        spent: by search, its whole cost.

    Returns:
        ``cost``, ``best``, ``low`` and ``high`` (missing for fewer than three searches), from the
        cost on at which every search has trained a trial to the end.
    """
    grid = np.unique([*best["cost"], *spent])
    scores = np.stack([_held(own, grid) for own in _each(best, spent.index)])  # (searches, costs)
    rows = []
    for cost, column in zip(grid, scores.T, strict=True):
        if np.isnan(column).any():
            continue
        found = middle(column)
        band = len(column) >= LEAST_BAND
        rows.append(
            {
                "cost": float(cost),
                "best": found.value,
                "low": found.low if band else math.nan,
                "high": found.high if band else math.nan,
            }
        )
    return pd.DataFrame(rows, columns=["cost", "best", "low", "high"])


def _each(best: pd.DataFrame, searches: pd.Index) -> list[pd.DataFrame]:
    return [best[best["run_id"] == name] for name in searches]


def _held(own: pd.DataFrame, grid: Values) -> Values:
    """The best score of a search at each cost, a step function; NaN before the first."""
    last = np.searchsorted(own["cost"].to_numpy(float), grid * (1 + 1e-12), side="right")
    padded = np.concatenate([[np.nan], own["best"].to_numpy(float)])
    return np.asarray(padded[last])
