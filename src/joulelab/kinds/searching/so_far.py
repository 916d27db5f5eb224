"""A search while it goes on, for whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulelab import formats
from joulelab.budget import Budget
from joulelab.tuning.space import Value


@dataclass(frozen=True)
class SoFar:
    """A search while it goes on.

    Attributes:
        doing: what is trained now, in words; empty between steps.
        trials: begun.
        best: score of the best trial; None before any.
        values: of it.
        spent: in the unit of the budget; None where it is unknown.
        joules: spent; None where they are unknown.
        budget: of the search.
        gain: expected from spending what is left, or as much again; None where unknown.
    """

    doing: str
    trials: int
    best: float | None
    values: Mapping[str, Value]
    spent: float | None
    joules: float | None
    budget: Budget | None
    gain: float | None

    def words(self, sign: float) -> str:
        """One line: ``12 trials, best 0.91, 4.2 kJ spent, 15.8 kJ left, expected gain ...``.

        Args:
            sign: -1 where lower scores are better.
        """
        parts = [formats.count(self.trials, "trial")]
        if self.best is not None:
            parts.append(f"best {formats.number(sign * self.best)}")
        if (budget := self.budget) is not None:
            parts.append(f"{budget.words(self.spent)} spent")
            if self.spent is not None:
                parts.append(f"{budget.words(max(budget.amount - self.spent, 0.0))} left")
        if self.gain is not None:
            parts.append(f"expected gain {formats.number(self.gain)}")
        if self.doing:
            parts.append(f"now {self.doing}")
        return ", ".join(parts)
