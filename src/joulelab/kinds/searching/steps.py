"""Trainers and what they give back: the parts of a search that someone else does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from joulelab.budget import Unit
from joulelab.kinds.searching.spent import Spent
from joulelab.tuning.search import Progress, Search, Step
from joulelab.tuning.space import Value

State = Literal["finished", "paused", "pruned", "failed", "timed out"]
Purpose = Literal["search", "confirm"]
SPENT = "the budget was spent"
NO_PROPOSALS = "the strategy has no further proposals"
FAILURES: tuple[State, ...] = ("failed", "timed out")
TO_END = 0
"""The end of a step that is trained as far as it goes."""


@dataclass(frozen=True)
class Result:
    """What a step gave.

    Attributes:
        state: finished (trained to its end), paused (may go on), pruned (ended early by itself,
            or because the budget was spent), failed or timed out.
        scores: after each epoch of the step, higher is better; fewer where it ended early.
        spent: by the step.
        reason: why it failed or was pruned.
        details: of the failure, such as a traceback.
        started_at: seconds since the epoch.
        values: that were asked for, as they were used; empty where that is not known.
        drawn: some of them were not proposed, because nobody knew that they would be asked for.
        asked: variables that were asked for, as tables of a study file.
        beyond: scores after later epochs, of a training that could not be stopped.
        stoppable: whether the training asks if it should stop.
        attributes: that the training has set.
        second: the second goal, where the training has returned it.
        first: step of the first report of the training; None where it has not reported.
        every: from one reported step to the next; None before the second report.
    """

    state: State
    scores: Sequence[float]
    spent: Spent
    reason: str = ""
    details: str = ""
    started_at: float = 0.0
    values: Mapping[str, Value] = field(default_factory=dict)
    drawn: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    beyond: Sequence[float] = ()
    stoppable: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)
    second: float | None = None
    first: int | None = None
    every: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it gave no score because of an error."""
        return self.state in FAILURES

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`; other keys of the line are ignored."""
        own = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{**own, "spent": Spent.from_dict(data["spent"])})


@dataclass(frozen=True)
class Limit:
    """What is left of the budget for the steps that begin now.

    Attributes:
        unit: of the budget.
        left: the amount.
        slack: by which it may be overshot.
        evaluation: epochs of a full training; infinity while they are unknown.
    """

    unit: Unit
    left: float
    slack: float
    evaluation: float


class Measuring(Protocol):
    """What was spent within a block; known when it has ended."""

    spent: Spent


class Trainer(Protocol):
    """Carries out steps.

    Attributes:
        most: so many steps are trained together.
    """

    most: int

    def train(
        self, steps: Sequence[Step], purpose: Purpose, limit: Limit | None
    ) -> Sequence[Result]:
        """Train the first steps, at least one; a failure is a result, in the order of the steps.

        Raises:
            KeyboardInterrupt: what was under way has been booked.
        """

    def stack(self, step: Step) -> object:
        """What the steps that are trained together have in common; equal ones may be."""

    def thinking(self) -> AbstractContextManager[Measuring]:
        """Measure the search's own work."""


class Searcher(Protocol):
    """A search as the loop sees it.

    Attributes:
        epochs: of a full training; None while it is unknown.
        trials: that have been begun.
        no_steps: why there is no further step, once `next` gives none.
    """

    no_steps: str

    @property
    def epochs(self) -> int | None:
        """Epochs of a full training; None while unknown."""

    @property
    def reports(self) -> int:
        """Reports in each of these epochs: more than 1 for trainings that never ask to stop."""

    @property
    def trials(self) -> Sequence[Progress]:
        """All trials that have been begun."""

    @property
    def expected_gain(self) -> float | None:
        """As of `joulelab.tuning.search.Search`."""

    def next(self, most: int, left: float | None) -> list[Step]:
        """Steps to train next; none at the end. As of `joulelab.tuning.search.Search`."""

    def observe(self, step: Step, result: Result, cost: float | None, second: float | None) -> None:
        """Record the result of a step, and the second goal as it has shown it."""

    def best(self) -> tuple[Progress, float] | None:
        """The best trial and its score."""

    def knee(self) -> tuple[Progress, float] | None:
        """As of `joulelab.tuning.search.Search`."""


class PlainSearcher:
    """A search of a known space and number of epochs.

    Args:
        search: decides.
    """

    no_steps = NO_PROPOSALS

    def __init__(self, search: Search) -> None:
        self._search = search
        self.next = search.next
        self.best = search.best
        self.knee = search.knee

    @property
    def epochs(self) -> int | None:
        """Of a full training."""
        return self._search.epochs

    @property
    def reports(self) -> int:
        """In each epoch."""
        return 1

    @property
    def trials(self) -> Sequence[Progress]:
        """All trials that have been begun."""
        return self._search.trials

    @property
    def expected_gain(self) -> float | None:
        """As of the search."""
        return self._search.expected_gain

    def observe(self, step: Step, result: Result, cost: float | None, second: float | None) -> None:
        """Pass scores, cost and second goal on."""
        self._search.observe(step, scores_of(result), cost, second)


def scores_of(result: Result) -> Sequence[float] | None:
    """The scores for a search; None for a failure."""
    return None if result.failed or not all(map(math.isfinite, result.scores)) else result.scores
