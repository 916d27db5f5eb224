"""The reports of one call of an objective as scores after epochs, and when it is told to stop."""

from __future__ import annotations

import math

from joulelab.kinds.searching.steps import TO_END


class Curve:
    """Scores by epoch; an epoch is the step of a report, counted from 1.

    Args:
        start: epochs trained before this call.
        end: where the call shall stop; `TO_END` for the end of the training.
        epochs: of a full training; None while unknown.
        origin: step of the first epoch; None while unknown.
        sign: -1 where lower scores are better.
    """

    def __init__(
        self, start: int, end: int, epochs: int | None, origin: int | None, sign: float
    ) -> None:
        self.start = start
        self.end = end
        self._epochs = epochs
        self.origin = origin
        self._sign = sign
        self.scores: dict[int, float] = {}
        self.first: int | None = None
        self.bad = ""

    @property
    def reached(self) -> int:
        """The last epoch reported; that before this call if none was."""
        return max(self.scores, default=self.start)

    @property
    def trained(self) -> int:
        """Epochs trained in this call, by its reports; 0 without any."""
        return 0 if self.first is None else max(self.reached - self.first + 1, 1)

    def report(self, score: float, step: int) -> bool:
        """Take a report; whether the training shall stop."""
        if self.origin is None:
            self.origin = step if self.start == 0 else 0
        epoch = max(step - self.origin + 1, 1)
        self.first = epoch if self.first is None else self.first
        if not math.isfinite(score):
            self.bad = f"the objective has reported {score} at step {step}"
            return True
        self.scores[epoch] = self._sign * score
        if self.end == TO_END:
            return False
        # In its last epoch a training ends by itself, and returns its score.
        return epoch >= self.end and (epoch < (self._epochs or math.inf) or epoch > self.end)

    def between(self, start: int, end: int) -> list[float]:
        """Scores after the epochs from `start` + 1 to `end`; one not reported is as the next."""
        known = sorted(self.scores)
        found = []
        for epoch in range(start + 1, end + 1):
            later = next((one for one in known if one >= epoch), None)
            if later is None:
                break
            found.append(self.scores[later])
        return found
