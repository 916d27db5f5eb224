"""One prediction of a training's energy, and all of them compared with the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from joulelab import formats

UNCERTAIN = 0.1
"""Probability of a coming change above which it is reported."""
SHARES = (0.2, 0.5)
"""Shares of the epochs at which predictions are evaluated in the end."""


@dataclass(frozen=True)
class TrainingPrediction:
    """The energy of a whole training, predicted after some of its epochs.

    Attributes:
        done: completed epochs.
        epochs: epochs of the whole training.
        energy_j: predicted energy of the whole training; ``None`` if unknown, with `reason`.
        low_j: lower end of its 95 % interval.
        high_j: upper end.
        so_far_j: energy used until now; ``None`` if unknown.
        elapsed_s: time until now.
        left_s: time of the remaining epochs.
        left_low_s: lower end of its 95 % interval.
        left_high_s: upper end.
        power_w: expected mean power of the rest.
        stable: whether a stable phase was seen; before it a prediction is only a guess.
        change_ahead: probability that the level of power still changes.
        reason: why there is no prediction.
    """

    done: int
    epochs: int
    energy_j: float | None
    low_j: float | None
    high_j: float | None
    so_far_j: float | None
    elapsed_s: float
    left_s: float
    left_low_s: float
    left_high_s: float
    power_w: float | None
    stable: bool
    change_ahead: float = 0.0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON or a logger."""
        return asdict(self)

    def __str__(self) -> str:
        """``epoch 5 of 50: 1,234 J in all (1,190 to 1,280 J), 123 J so far, 4 min 05 s left``."""
        epoch = f"epoch {self.done} of {self.epochs}"
        left = f"{formats.duration(self.left_s)} left"
        if self.energy_j is None:
            return f"{epoch}: energy unknown, {left} ({self.reason})"
        between = formats.joules_range(self.low_j, self.high_j)
        whole = f"{formats.joules(self.energy_j)} in all ({between})"
        return f"{epoch}: {whole}, {formats.joules(self.so_far_j)} so far, {left}{self._remark}"

    @property
    def _remark(self) -> str:
        if not self.stable:
            return "; still little more than a guess"
        if self.change_ahead > UNCERTAIN:
            chance = formats.percent(self.change_ahead, 0)
            return f"; the power may still change when the base is unfrozen ({chance})"
        return ""


@dataclass(frozen=True)
class ForecastResult:
    """The result of a training, and its predictions.

    Attributes:
        label: name of the training.
        epochs: announced number of epochs.
        done: completed epochs.
        energy_j: measured energy of the whole training; ``None`` if unknown.
        duration_s: duration of the whole training.
        predictions: one per call of ``epoch_done``.
        reason: why the energy is unknown.
    """

    label: str
    epochs: int
    done: int
    energy_j: float | None
    duration_s: float
    predictions: tuple[TrainingPrediction, ...]
    reason: str = ""

    def __call__(self) -> ForecastResult:
        """Itself: ``forecast.result()`` is ``forecast.result``."""
        return self

    @property
    def comparable(self) -> bool:
        """Whether the training was as announced, and its energy is known."""
        return self.done == self.epochs and self.energy_j is not None

    def error_of(self, prediction: TrainingPrediction) -> float | None:
        """Predicted over true energy minus 1; ``None`` if not comparable."""
        if not self.comparable or prediction.energy_j is None or not self.energy_j:
            return None
        return prediction.energy_j / self.energy_j - 1.0

    def chosen(self) -> list[TrainingPrediction]:
        """After the first epoch, from the stable point on, after a fifth and after a half."""
        wanted = [*self.predictions[:1], *[p for p in self.predictions if p.stable][:1]]
        for share in SHARES:
            wanted += [p for p in self.predictions if p.done >= share * self.epochs][:1]
        ahead = [one for one in wanted if one.energy_j is not None and one.done < self.epochs]
        return sorted(dict.fromkeys(ahead), key=lambda one: one.done)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON or a logger."""
        return {
            "label": self.label,
            "epochs": self.epochs,
            "done": self.done,
            "energy_j": self.energy_j,
            "duration_s": self.duration_s,
            "reason": self.reason,
            "predictions": [
                {**one.to_dict(), "error": self.error_of(one)} for one in self.predictions
            ],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        energy = formats.joules(self.energy_j)
        why = f" ({self.reason})" if self.reason else ""
        yield f"{self.label}: {energy}{why} in {formats.duration(self.duration_s)}"
        if self.done != self.epochs:
            yield (
                f"{self.done} of the {self.epochs} announced epochs were done: predictions of the "
                "whole training cannot be compared with it"
            )
            return
        for one in self.chosen():
            between = formats.joules_range(one.low_j, one.high_j)
            line = f"predicted after epoch {one.done}: {formats.joules(one.energy_j)} ({between})"
            error = self.error_of(one)
            if error is not None and self.energy_j is not None:
                inside = (one.low_j or 0.0) <= self.energy_j <= (one.high_j or 0.0)
                line += f", {formats.change(error)}, {'within' if inside else 'outside'}"
            yield line
