"""What a search found: the best values, and with two goals those at the knee of the front."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulelab.kinds.searching.spent import Spent
from joulelab.tuning.space import Value

PROBABILITY = 0.975


@dataclass
class Found:
    """A trial that was chosen.

    Attributes:
        trial: its number; None if no trial has a score.
        values: of it.
        score: of it, as the search saw it; higher is better.
        second: its second goal, as the search saw it; None where unknown, or with one goal.
        confirmed: its scores on fresh seeds.
    """

    trial: int | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    score: float | None = None
    second: float | None = None
    confirmed: Sequence[float] = ()

    @property
    def mean(self) -> float | None:
        """Mean score on fresh seeds."""
        return statistics.fmean(self.confirmed) if self.confirmed else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of that mean, by Student's t; None for fewer than two seeds."""
        count = len(self.confirmed)
        if count < 2 or self.mean is None:  # noqa: PLR2004 - a spread needs two
            return None
        from scipy.stats import t

        half = t.ppf(PROBABILITY, count - 1) * statistics.stdev(self.confirmed) / math.sqrt(count)
        return self.mean - float(half), self.mean + float(half)


@dataclass
class Outcome(Found):
    """What a search found: the best trial, and more.

    Attributes:
        returned: whether trainings have returned the second goal; else it is their energy.
        knee: with two goals, the trial at the knee of the front; None for a short front.
        stopped: why the search ended.
        spent: in all.
        parts: the same by kind of work.
        epochs: of a full training.
        shortfall: that the budget was too small for a search; empty if it was not.
        advice: what to do then.
        failure: why nothing was found; empty if something was.
    """

    returned: bool = False
    knee: Found | None = None
    stopped: str = ""
    spent: Spent = field(default_factory=Spent)
    parts: Mapping[str, Spent] = field(default_factory=dict)
    epochs: int | None = None
    shortfall: str = ""
    advice: str = ""
    failure: str = ""
