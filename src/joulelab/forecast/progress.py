"""What has been seen of a training, epoch by epoch, and what follows for the whole.

**Energy over time** of all that counts together is the sum over domains, however each is read. A
counter says joules and no watts, a power sensor the opposite, and each has its own moments. What
they have in common is the energy since the beginning, E(t). It is kept as points and made into
power at even steps h, of which the trapezoid is E again::

    P_i = (E((i+1) h) - E(i h)) / h          at the middle of step i, and at both ends of the trace

**The length of epochs to come** follows from those that are done. The first epoch loads, compiles
and warms up, so it is left out as soon as there is another, and of the rest the later half counts:
a training that thaws its base has longer epochs from then on. With d_i the k lengths that count,
and s_0 as the scatter that they have before any was seen::

    d   = mean d_i
    s^2 = (nu_0 s_0^2 + (k-1) s_d^2) / (nu_0 + k-1)
    v^2 = s^2 / k + s_1^2                              relative variance of the time to come

s_1 is a floor for what all epochs to come share: clocks, heat, other programs.

**The whole**: with E the energy so far, n the epochs to come of length d, and L the power to come
(STEP, `joulelab.analysis.prediction.step`, on the sum of all that counts)::

    T_left = n d                    E_all = E + L T_left
    half interval of the rest       hypot(that of L, 1.96 v) of it, v the spread of T_left

Power and time err together as if independently. Where epochs are long because the device is slowed
down, they draw less, and the interval is wider than it need be.
"""

from __future__ import annotations

import math
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
"""Of an energy curve; of more, every second one is dropped, which changes no energy."""
SCATTER = 0.1
SCATTER_FREEDOM = 2.0
DRIFT = 0.01
FIRST = 0.3
"""v where there is nothing but the first epoch."""


class Progress:
    """The epochs of one training that are done.

    Args:
        epochs: of the whole.
        change: what is known of a change of level; ``None`` for a training in one phase.
    """

    def __init__(self, epochs: int, change: PhaseChange | None = None) -> None:
        self.epochs = epochs
        self.lengths_s: list[float] = []
        self.reason = ""
        self._change = change
        self._curve = EnergyCurve()

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return len(self.lengths_s)

    @property
    def elapsed_s(self) -> float:
        """Time of the epochs that are done."""
        return math.fsum(self.lengths_s)

    @property
    def energy_j(self) -> float | None:
        """Energy of the epochs that are done; ``None`` from the first that is unknown."""
        return None if self.reason else self._curve.energy_j

    def add(
        self,
        length_s: float,
        energy_j: float | None,
        moments_s: npt.ArrayLike = (),
        seen_j: npt.ArrayLike = (),
        reason: str = "",
    ) -> None:
        """One more epoch is done.

        Args:
            length_s: how long it took.
            energy_j: what it used, or ``None`` where that is unknown.
            moments_s: its course, as `EnergyCurve.add` takes it.
            seen_j: the same.
            reason: why its energy is unknown.
        """
        self.lengths_s.append(length_s)
        if energy_j is None:
            self.reason = self.reason or reason or "no domain that counts could be read"
        elif not self.reason and length_s > 0:
            self._curve.add(length_s, energy_j, moments_s, seen_j)

    def add_rest(self, length_s: float, energy_j: float | None, reason: str = "") -> float | None:
        """The energy of the whole, with what came after the last epoch.

        Args:
            length_s: how long that took.
            energy_j: what it used, or ``None`` where that is unknown.
            reason: why its energy is unknown.
        """
        if energy_j is None:
            self.reason = self.reason or reason or "no domain that counts could be read"
        return None if self.energy_j is None or energy_j is None else self.energy_j + energy_j

    def predict(self) -> TrainingPrediction:
        """The energy of the whole from what was seen; one epoch at least is done."""
        length = epoch_length(self.lengths_s)
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
        """Whether power has settled, and there is an epoch that was not the first."""
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
        """Energy of the whole, and both ends of its interval."""
        so_far_j, rest_j = self._curve.energy_j, found.level_w * left_s
        if rest_j <= 0:
            return so_far_j, so_far_j, so_far_j
        by_time = NORMAL_QUANTILE * length.spread * rest_j
        below = math.hypot(found.energy_j - found.low_j, by_time)
        above = math.hypot(found.high_j - found.energy_j, by_time)
        whole_j = so_far_j + rest_j
        return whole_j, max(whole_j - below, so_far_j), whole_j + above


def counted_epochs(epochs: object) -> int:
    """The number of epochs that a user has announced.

    Raises:
        UsageError: not give a whole number of at least 1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise UsageError(f"epochs={epochs!r} is not possible", "give a whole number of at least 1")
    return epochs


class EnergyCurve:
    """Energy since the beginning, as points in the order of time."""

    def __init__(self) -> None:
        self._time_s: Values = np.zeros(1)
        self._energy_j: Values = np.zeros(1)

    @property
    def duration_s(self) -> float:
        """Of all that was added."""
        return float(self._time_s[-1])

    @property
    def energy_j(self) -> float:
        """Of all that was added."""
        return float(self._energy_j[-1])

    def add(
        self,
        duration_s: float,
        energy_j: float,
        moments_s: npt.ArrayLike = (),
        seen_j: npt.ArrayLike = (),
    ) -> None:
        """Go on with a part of which the energy is known, and its course where it was sampled.

        Args:
            duration_s: of the part, above 0.
            energy_j: of the part; the course is stretched to end there.
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
            # From the end backwards, so that the latest moment stays.
            self._time_s = np.append(self._time_s[:1], self._time_s[:0:-2][::-1])
            self._energy_j = np.append(self._energy_j[:1], self._energy_j[:0:-2][::-1])

    def trace(self) -> PowerTrace:
        """Power at even steps, with the energy of the curve.

        Raises:
            UsageError: nothing was added.

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
    """What an epoch to come takes.

    Attributes:
        mean_s: seconds.
        spread: v, relative standard deviation of the time that all epochs to come take together.
    """

    mean_s: float
    spread: float


def epoch_length(lengths_s: Sequence[float]) -> EpochLength:
    """The length of an epoch to come.

    Args:
        lengths_s: of the epochs that are done, in their order; one at least.

    >>> epoch_length([9.0, 2.0, 2.0, 2.0, 2.0]).mean_s
    2.0
    """
    if len(lengths_s) == 1:
        return EpochLength(lengths_s[0], FIRST)
    later = np.asarray(lengths_s[1:][(len(lengths_s) - 1) // 2 :], dtype=float)
    mean_s, count = float(later.mean()), len(later)
    squares = float(np.sum((later / mean_s - 1.0) ** 2)) if mean_s > 0 else 0.0
    variance = (SCATTER_FREEDOM * SCATTER**2 + squares) / (SCATTER_FREEDOM + count - 1)
    drift = _drift(later / mean_s) if count > 1 and mean_s > 0 else 0.0
    return EpochLength(mean_s, math.hypot(math.sqrt(variance / count), DRIFT, drift))


def _drift(relative: Values) -> float:
    """Half the difference between the means of the earlier and of the later half."""
    half = len(relative) // 2
    return abs(float(relative[-half:].mean() - relative[:half].mean())) / 2
