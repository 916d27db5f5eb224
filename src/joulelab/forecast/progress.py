"""Progress of a training by epoch, and the prediction for the whole.

**Energy over time** is the sum over the domains that count, however each is read. A counter gives
joules, a power sensor watts, each at its own times. Their common form is the energy since the
start, E(t). It is stored as points and converted to power at even steps h whose trapezoid sum is
E::

    P_i = (E((i+1) h) - E(i h)) / h          at the middle of step i, and at both ends of the trace

**The length of coming epochs** follows from completed ones. The first epoch loads, compiles and
warms up, so it is excluded as soon as there is another, and of the rest the later half counts: a
training that unfreezes its base has longer epochs from then on. Epochs that are too short to be
measured each are measured together, and their mean counts as often as there are of them. With d_i
the k lengths that count, and s_0 the prior scatter::

    d   = mean d_i
    s^2 = (nu_0 s_0^2 + (k-1) s_d^2) / (nu_0 + k-1)
    v^2 = s^2 / k + s_1^2                              relative variance of the remaining time

s_1 is a minimum for effects shared by all coming epochs: clocks, heat, other programs.

**The whole**: with E the energy so far, n coming epochs of length d, and L the coming power (STEP,
`joulelab.analysis.prediction.step`, on the sum of all domains that count)::

    T_left = n d                    E_all = E + L T_left
    half interval of the rest       hypot(that of L, 1.96 v) of it, v the spread of T_left

Errors of power and time are treated as independent. If epochs are long because the device is
throttled, it draws less power, and the interval is wider than necessary.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulelab.analysis.prediction.step import PhaseChange, StepPrediction, predict_step
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.analysis.rounding import Values
from joulelab.errors import UsageError
from joulelab.forecast.outcome import TrainingPrediction

NORMAL_QUANTILE = 1.96
MOST_POINTS = 20_000
"""Most points of an energy curve; beyond that every second one is dropped, at equal energy."""
SCATTER = 0.1
SCATTER_FREEDOM = 2.0
DRIFT = 0.01
FIRST = 0.3
"""v if there is only the first epoch."""


class Progress:
    """The completed epochs of a training.

    Args:
        epochs: epochs of the whole training.
        change: prior of a change of level; ``None`` for a training in one phase.

    Attributes:
        lengths_s: mean length of an epoch in each part that was added.
        counts: number of epochs in each.
    """

    def __init__(self, epochs: int, change: PhaseChange | None = None) -> None:
        self.epochs = epochs
        self.lengths_s: list[float] = []
        self.counts: list[int] = []
        self.reason = ""
        self._change = change
        self._curve = EnergyCurve()

    @property
    def done(self) -> int:
        """Number of completed epochs."""
        return sum(self.counts)

    @property
    def elapsed_s(self) -> float:
        """Time of the completed epochs."""
        return math.fsum(map(operator.mul, self.lengths_s, self.counts))

    @property
    def energy_j(self) -> float | None:
        """Energy of the completed epochs; ``None`` from the first unknown one on."""
        return None if self.reason else self._curve.energy_j

    def add(
        self,
        length_s: float,
        energy_j: float | None,
        moments_s: npt.ArrayLike = (),
        seen_j: npt.ArrayLike = (),
        reason: str = "",
        epochs: int = 1,
    ) -> None:
        """Add a completed epoch, or several as one part.

        Args:
            length_s: duration of the part.
            energy_j: its energy, or ``None`` if unknown.
            moments_s: times of its course, as for `EnergyCurve.add`.
            seen_j: energies of its course, likewise.
            reason: why its energy is unknown.
            epochs: number of epochs in it.
        """
        self.lengths_s.append(length_s / epochs)
        self.counts.append(epochs)
        if energy_j is None:
            self.reason = self.reason or reason or "no domain that counts could be read"
        elif not self.reason and length_s > 0:
            self._curve.add(length_s, energy_j, moments_s, seen_j)

    def add_rest(self, length_s: float, energy_j: float | None, reason: str = "") -> float | None:
        """The energy of the whole training, including the time after the last epoch.

        Args:
            length_s: duration of that time.
            energy_j: its energy, or ``None`` if unknown.
            reason: why its energy is unknown.
        """
        if energy_j is None:
            self.reason = self.reason or reason or "no domain that counts could be read"
        return None if self.energy_j is None or energy_j is None else self.energy_j + energy_j

    def predict(self) -> TrainingPrediction:
        """Predict the energy of the whole training; needs at least one completed epoch."""
        length = epoch_length(self.lengths_s, self.counts)
        left = max(self.epochs - self.done, 0)
        left_s, half_s = left * length.mean_s, NORMAL_QUANTILE * length.spread
        found = self._step(left_s) if not self.reason else None
        whole_j, low_j, high_j = (
            self._energies(found, length, left_s) if found else (None, None, None)
        )
        return TrainingPrediction(
            self.done,
            self.epochs,
            energy_j=whole_j,
            low_j=low_j,
            high_j=high_j,
            so_far_j=self.energy_j,
            elapsed_s=self.elapsed_s,
            left_s=left_s,
            left_low_s=left_s * max(1.0 - half_s, 0.0),
            left_high_s=left_s * (1.0 + half_s),
            power_w=found.level_w if found else None,
            stable=found is not None and (self._is_stable(found) or not left),
            change_ahead=found.change_ahead if found and left else 0.0,
            reason=self.reason,
        )

    def _is_stable(self, found: StepPrediction) -> bool:
        """Whether power is stable, and there is more than the first epoch."""
        return found.stable_s is not None and self.done > 1

    def _step(self, left_s: float) -> StepPrediction | None:
        try:
            seen = self._curve.trace()
            return predict_step(seen, seen.duration_s + left_s, self._change)
        except UsageError as error:
            self.reason = error.message
            return None

    def _energies(
        self, found: StepPrediction, length: EpochLength, left_s: float
    ) -> tuple[float, float, float]:
        """Energy of the whole training, and both ends of its interval."""
        so_far_j, rest_j = self._curve.energy_j, found.level_w * left_s
        if rest_j <= 0:
            return so_far_j, so_far_j, so_far_j
        by_time = NORMAL_QUANTILE * length.spread * rest_j
        below = math.hypot(found.energy_j - found.low_j, by_time)
        above = math.hypot(found.high_j - found.energy_j, by_time)
        whole_j = so_far_j + rest_j
        return whole_j, max(whole_j - below, so_far_j), whole_j + above


def counted_epochs(epochs: object) -> int:
    """Check the announced number of epochs.

    Raises:
        UsageError: it is not a whole number of at least 1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise UsageError(f"epochs={epochs!r} is not possible", "give a whole number of at least 1")
    return epochs


class EnergyCurve:
    """Energy since the start, as points in order of time."""

    def __init__(self) -> None:
        self._time_s: Values = np.zeros(1)
        self._energy_j: Values = np.zeros(1)

    @property
    def duration_s(self) -> float:
        """Total duration of the curve."""
        return float(self._time_s[-1])

    @property
    def energy_j(self) -> float:
        """Total energy of the curve."""
        return float(self._energy_j[-1])

    def add(
        self,
        duration_s: float,
        energy_j: float,
        moments_s: npt.ArrayLike = (),
        seen_j: npt.ArrayLike = (),
    ) -> None:
        """Append a part with known energy, and its course if sampled.

        Args:
            duration_s: duration of the part, above 0.
            energy_j: energy of the part; its course is scaled to end there.
            moments_s: seconds since the beginning of the part, ascending, shape (points,).
            seen_j: joules since the beginning of the part, the same shape.
        """
        moments = np.clip(np.asarray(moments_s, dtype=float), 0.0, duration_s)
        course = np.asarray(seen_j, dtype=float)
        if len(course) and course[-1] > 0:
            inner = (moments > 0.0) & (moments < duration_s)
            time_s = np.append(moments[inner], duration_s)
            joules = np.append(course[inner] * (energy_j / course[-1]), energy_j)
        else:
            time_s, joules = np.array([duration_s]), np.array([energy_j])
        self._time_s = np.concatenate([self._time_s, self.duration_s + time_s])
        self._energy_j = np.concatenate([self._energy_j, self.energy_j + joules])
        while len(self._time_s) > MOST_POINTS:
            # From the end backwards, so that the latest time stays.
            self._time_s = np.append(self._time_s[:1], self._time_s[:0:-2][::-1])
            self._energy_j = np.append(self._energy_j[:1], self._energy_j[:0:-2][::-1])

    def trace(self) -> PowerTrace:
        """Power at even steps, with the energy of the curve.

        Raises:
            UsageError: the curve is empty.

        >>> curve = EnergyCurve()
        >>> curve.add(2.0, 200.0)
        >>> curve.add(2.0, 600.0, [0.0, 1.0, 2.0], [0.0, 100.0, 300.0])
        >>> trace = curve.trace()
        >>> trace.duration_s, trace.energy_j, trace.power_w.tolist()
        (4.0, 800.0, [100.0, 100.0, 100.0, 200.0, 400.0, 400.0])
        """
        if self.duration_s <= 0:
            return PowerTrace.of([], [])
        step_s = float(np.median(np.diff(self._time_s)))
        steps = int(min(max(round(self.duration_s / step_s), 1), MOST_POINTS))
        edges_s = np.linspace(0.0, self.duration_s, steps + 1)
        power_w = np.diff(np.interp(edges_s, self._time_s, self._energy_j)) / np.diff(edges_s)
        middles_s = (edges_s[1:] + edges_s[:-1]) / 2
        return PowerTrace(
            np.concatenate([edges_s[:1], middles_s, edges_s[-1:]]),
            np.concatenate([power_w[:1], power_w, power_w[-1:]]),
        )


@dataclass(frozen=True)
class EpochLength:
    """The duration of a coming epoch.

    Attributes:
        mean_s: seconds.
        spread: v, relative standard deviation of the total time of coming epochs.
    """

    mean_s: float
    spread: float


def epoch_length(lengths_s: Sequence[float], counts: Sequence[int] = ()) -> EpochLength:
    """Predict the length of a coming epoch.

    Args:
        lengths_s: lengths of the completed epochs, in order; at least one. Of several epochs that
            were measured together, their mean.
        counts: how many each stands for; default: one.

    >>> epoch_length([9.0, 2.0, 2.0, 2.0, 2.0]).mean_s
    2.0
    >>> epoch_length([9.0, 3.0, 2.0, 1.0], [1, 10, 6, 14]).mean_s
    1.3
    """
    if len(lengths_s) == 1:
        return EpochLength(lengths_s[0], FIRST)
    counts = counts or [1] * len(lengths_s)
    begin = _later(counts)
    later = np.asarray(lengths_s[begin:], dtype=float)
    weights = np.asarray(counts[begin:], dtype=float)
    mean_s, count = float(np.average(later, weights=weights)), len(later)
    shares = weights / weights.mean()
    squares = float(np.sum(shares * (later / mean_s - 1.0) ** 2)) if mean_s > 0 else 0.0
    variance = (SCATTER_FREEDOM * SCATTER**2 + squares) / (SCATTER_FREEDOM + count - 1)
    drift = _drift(later / mean_s) if count > 1 and mean_s > 0 else 0.0
    return EpochLength(mean_s, math.hypot(math.sqrt(variance / count), DRIFT, drift))


def _later(counts: Sequence[int]) -> int:
    """Where the later half of the epochs after the first part begins."""
    rest = list(itertools.accumulate(counts[1:]))
    return 1 + min(bisect.bisect_right(rest, rest[-1] // 2), len(rest) - 1)


def _drift(relative: Values) -> float:
    """Half the difference between the means of the earlier and of the later half."""
    half = len(relative) // 2
    return abs(float(relative[-half:].mean() - relative[:half].mean())) / 2
