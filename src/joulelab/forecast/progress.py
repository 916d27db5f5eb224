"""What has been seen of a training, epoch by epoch, and what follows for the whole.

With E the energy so far, n the epochs to come of length d, and L the power to come (STEP,
`joulelab.analysis.prediction.step`, on the sum of all that counts)::

    T_left = n d                    E_all = E + L T_left
    half interval of the rest       hypot(that of L, 1.96 v) of it, v the spread of T_left

Power and time err together as if independently. Where epochs are long because the device is slowed
down, they draw less, and the interval is wider than it need be.
"""

from __future__ import annotations

import math

import numpy.typing as npt

from joulelab.analysis.prediction.step import PhaseChange, StepPrediction, predict_step
from joulelab.errors import UsageError
from joulelab.forecast.energy_curve import EnergyCurve
from joulelab.forecast.epoch_lengths import EpochLength, epoch_length
from joulelab.forecast.outcome import TrainingPrediction

NORMAL_QUANTILE = 1.96


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
        UsageError: not a whole number of at least 1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise UsageError(f"epochs={epochs!r} is not possible", "a whole number of at least 1")
    return epochs
