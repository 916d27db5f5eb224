"""Two goals: a high score y at a low second goal, the energy; the front, and what may extend it.

Let x be the logarithm of the second goal, so that halving it counts the same everywhere. The level
of a set of points is the best score that costs at most x, or the reference score y_r::

    L(x) = max(y_r, max_{i: x_i <= x} y_i)                                        (equation 1)

A step function: its steps are the front, the points that no other beats in both goals. The
hypervolume up to the reference x_r is the area between L and y_r::

    HV = integral of (L(x) - y_r) dx up to x_r                                    (equation 2)

A further point at x_c with a score Y raises the level to max(L, Y) from x_c on. If x_c is known and
Y is normal with mean mu and standard deviation sigma, expectation and integral are exchanged, and
the expected improvement is exact: a sum over the segments k of L, of widths w_k beyond x_c::

    EHVI = sum_k w_k EI(mu, sigma, L_k)                                           (equation 3)

with EI of `joulelab.tuning.acquisition`. An energy is nearly known from the configuration, so x_c
is its predicted mean: on recorded curves, averaging over its distribution gained nothing. A point
that exists already, whose score is about to be known better, changes the hypervolume of the others
by what it adds: per segment s h(-|mu - L_k| / s), as in equation 1 of
`joulelab.tuning.freeze_thaw`, where L is the level of the others.

Sources: expected hypervolume improvement: Emmerich, Giannakoglou and Naujoks, IEEE Trans.
Evolutionary Computation 10 (2006); in closed form by strips, of which equation 3 is the case of one
deterministic goal: Yang, Emmerich, Deutz and Bäck, J. Global Optimization 75 (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted
from joulelab.tuning.acquisition import log_expected_improvement

Array = NDArray[np.float64]

SCORE = "score"
SECOND = ("energy", "cost")
"""Names of the second goal: the energy of a full training, or what a user tells as the cost."""

LEAST_ON_FRONT = 3
"""A front of fewer points has no knee."""


@dataclass(frozen=True)
class Front:
    """The level of equation 1.

    Attributes:
        edges: where segments begin, ascending, the first at -infinity; (segments,).
        levels: of each segment; the first is the reference score; (segments,).
        end: the reference x_r, where the last segment ends.
        members: numbers of the points of the front, where the other segments begin.
    """

    edges: Array
    levels: Array
    end: float
    members: NDArray[np.intp]

    @classmethod
    def of(cls, log_second: Array, score: Array, end: float, least: float) -> Front:
        """The front of some points.

        Args:
            log_second: logarithm of the second goal, lower is better, (points,).
            score: higher is better, (points,).
            end: the reference x_r.
            least: the reference y_r.
        """
        order = np.lexsort((-score, log_second))
        edges = np.concatenate([[-np.inf], log_second[order]])
        levels = np.maximum.accumulate(np.concatenate([[least], score[order]]))
        rises = np.append(True, np.diff(levels) > 0) & (edges < end)
        return cls(edges[rises], levels[rises], end, order[rises[1:]])

    @property
    def hypervolume(self) -> float:
        """Equation 2."""
        widths = np.diff(np.append(self.edges, self.end))[1:]
        return float(widths @ (self.levels[1:] - self.levels[0]))

    def log_gain(self, log_second: Array, mean: Array, std: Array) -> Array:
        """Logarithm of equation 3 of new points; -infinity beyond the reference.

        Args:
            log_second: logarithm of their second goal, (candidates,).
            mean: of their scores.
            std: standard deviation of the same, above 0.
        """
        return self._summed(log_second, mean, std, new=True)

    def log_change(self, log_second: Array, mean: Array, std: Array) -> Array:
        """The same of points that exist, on the front of all others.

        Args:
            log_second: as for `log_gain`.
            mean: as for `log_gain`.
            std: standard deviation of the change of the mean.
        """
        return self._summed(log_second, mean, std, new=False)

    def _summed(self, log_second: Array, mean: Array, std: Array, *, new: bool) -> Array:
        ends = np.append(self.edges[1:], self.end)
        widths = ends - np.maximum(self.edges, log_second[:, None])  # (candidates, segments)
        gap = mean[:, None] - self.levels
        gap = gap if new else -np.abs(gap)
        gains = log_expected_improvement(gap, np.broadcast_to(std[:, None], gap.shape), 0.0)
        with np.errstate(divide="ignore"):
            logs: Array = gains + np.log(np.maximum(widths, 0.0))
        summed: Array = np.logaddexp.reduce(logs, axis=1)
        return summed


def on_front(second: Array, score: Array) -> NDArray[np.intp]:
    """Numbers of the points that no other beats in both goals, by ascending second goal.

    >>> on_front(np.array([2.0, 1.0, 3.0]), np.array([0.8, 0.7, 0.75])).tolist()
    [1, 0]

    Args:
        second: lower is better, (points,).
        score: higher is better, (points,).
    """
    order = np.lexsort((-score, second))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], score[order]]))
    found: NDArray[np.intp] = order[np.diff(best) > 0]
    return found


def knee(second: Array, score: Array) -> int | None:
    """The point of the front that is furthest above the chord between its ends.

    Distances are seen in the logarithm of the second goal and the score, each in units of its range
    on the front: where a little of the score would save most.

    >>> knee(np.array([1.0, 2.0, 10.0]), np.array([0.5, 0.9, 0.92]))
    1

    Args:
        second: lower is better, above 0, (points,).
        score: higher is better, (points,).

    Returns:
        Its number among the points; None where the front has fewer than three points, or none
        above the chord.
    """
    front = on_front(second, score)
    if len(front) < LEAST_ON_FRONT:
        return None
    x, y = np.log(second[front]), score[front]
    above = (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])
    chosen = int(np.argmax(above))
    return int(front[chosen]) if above[chosen] > 0 else None


def count_goals(goals: Sequence[str], second: Sequence[str] = SECOND) -> int:
    """How many goals a search has.

    Args:
        goals: ``("score",)``, or that and the name of the second goal; or ``"score,cost"``.
        second: possible names of the latter.

    Raises:
        UsageError: other goals.
    """
    named = goals.split(",") if isinstance(goals, str) else list(goals)
    if named == [SCORE]:
        return 1
    if sorted(named) in [sorted([SCORE, name]) for name in second]:
        return 2
    possible = " or ".join(f"{SCORE},{name}" for name in second)
    raise UsageError(
        f"goals {quoted(','.join(map(str, named)))} are not possible",
        f"give {SCORE}, or {possible}",
    )
