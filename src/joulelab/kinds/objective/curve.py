"""The reports of one call of an objective as scores after epochs, and when it is told to stop.

A step is whatever the objective reports: 0, 1, 2, ..., or 100, 200, 300, ... batches. The steps of
a training are taken to be evenly spaced, so its first two reports tell what an epoch is: the first
report is after epoch 1, the second after epoch 2. A step in between counts as the epoch that it is
part of::

    epoch = 1 + ceil((step - first) / every)        first, every: of this training
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulelab.kinds.searching.steps import TO_END


@dataclass(frozen=True)
class Spacing:
    """The steps at which a training reports.

    Attributes:
        first: step of its first report; None before any.
        every: from one report to the next; None before the second.
    """

    first: int | None = None
    every: int | None = None

    def epoch(self, step: int) -> int:
        """The epoch that ends at a step, or that the step is part of."""
        if self.first is None or self.every is None:
            return 1
        return max(1 - (self.first - step) // self.every, 1)

    def after(self, step: int, start: int, told: bool) -> Spacing:
        """What is known once a step has been reported.

        Args:
            step: the one reported.
            start: epochs trained before this call.
            told: whether this call has reported before.
        """
        if self.first is None:
            # A training of which no report is known goes on: its steps are taken to count epochs.
            return Spacing(step) if start == 0 else Spacing(0, 1)
        if self.every is not None or step <= self.first:
            return self
        # A call that goes on from a checkpoint begins with the report after epoch `start` + 1.
        apart = step - self.first
        return Spacing(self.first, apart if told or not start else max(apart // start, 1))


class Curve:
    """Scores by epoch.

    Args:
        start: epochs trained before this call.
        end: where the call shall stop; `TO_END` for the end of the training.
        epochs: of a full training; None while unknown.
        spacing: of the training's reports before this call.
        sign: -1 where lower scores are better.
    """

    def __init__(
        self, start: int, end: int, epochs: int | None, spacing: Spacing, sign: float
    ) -> None:
        self.start = start
        self.end = end
        self._epochs = epochs
        self.spacing = spacing
        self._sign = sign
        self.scores: dict[int, float] = {}
        self._steps: set[int] = set()
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
        """Take a report; whether the training shall stop. Of a step, the first counts."""
        self.spacing = self.spacing.after(step, self.start, bool(self._steps))
        epoch = self.spacing.epoch(step)
        self.first = epoch if self.first is None else self.first
        if not math.isfinite(score):
            self.bad = f"the objective has reported {score} at step {step}"
            return True
        if step not in self._steps:
            self._steps.add(step)
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
