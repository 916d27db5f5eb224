"""Ask and tell: a tuner for loops that joulelab does not run.

::

    tuner = joulelab.Tuner({"lr": joulelab.Float(1e-5, 1e-1, log=True)}, seed=0)
    while not tuner.should_stop:
        trial = tuner.ask()
        score, joules = train(**trial.values)
        tuner.tell(trial, score, cost=joules)
    print(tuner.best.values)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted
from joulelab.tuning.front import count_goals, knee, on_front
from joulelab.tuning.search import searches, taken
from joulelab.tuning.space import SearchSpace, Value, Variable
from joulelab.tuning.strategy import Strategy, strategies

Cost = Callable[[Mapping[str, Value]], float]

NEGLIGIBLE = 0.002
"""Share of what the best score is above the median that an evaluation has to gain."""

LEAST_TRIALS = 10
"""Evaluations before a search without a price stops."""

LEAST_ALIKE = 30
"""The same where half of them have the best score: all may be bad, or all that can be reached."""


@dataclass
class Trial:
    """One evaluation.

    Attributes:
        number: counted from 0.
        values: the value of each variable.
        score: what was told; None before, and where the evaluation failed.
        cost: what was told, in the caller's unit; None where it is unknown.
        second: the second goal, as it was told; None where it is unknown, and with one goal.
        finished: whether the result was told.
    """

    number: int
    values: dict[str, Value]
    score: float | None = None
    cost: float | None = None
    second: float | None = None
    finished: bool = field(default=False, repr=False)


class Tuner:
    """Proposes values and learns from their scores.

    Args:
        space: variables by name.
        strategy: a registered name; ``joulelab list strategies`` prints them.
        seed: determines all proposals, with what was told; 0 or more.
        cost: what is known beforehand: from values to a relative cost above 0 (the number of
            parameters, say). Strategies that do not mind the cost ignore it.
        price: what a unit of cost is worth, in units of score; see `should_stop`.
        goals: ``("score", "cost")`` for two: then the trials of `front` are sought. The second goal
            is what is told as `second`, or else the cost.

    Raises:
        UsageError: an impossible space, an unknown strategy, a seed below 0, other goals.
    """

    def __init__(
        self,
        space: SearchSpace | Mapping[str, Variable],
        strategy: str = "green",
        seed: int = 0,
        cost: Cost | None = None,
        price: float | None = None,
        goals: Sequence[str] = ("score",),
    ) -> None:
        self.space = space if isinstance(space, SearchSpace) else SearchSpace(space)
        self.goals = count_goals(goals)
        if not (isinstance(seed, int | np.integer) and seed >= 0):
            raise UsageError(f"seed is {quoted(seed)}", "a seed is a whole number, 0 or more")
        if strategy in searches.names() and strategy not in strategies.names():
            raise UsageError(
                f"{strategy} decides how far a training goes, and a tuner asks for whole ones",
                "run it with joulelab.tune, or choose a strategy such as green",
            )
        maker = strategies.get(strategy)
        options = taken(maker, cost=cost, goals=self.goals)
        self.strategy: Strategy = maker(self.space, seed=seed, rounds=0, **options)
        self.price = price
        self.trials: list[Trial] = []

    def ask(self) -> Trial:
        """The next evaluation. Several may be asked for before any is told.

        Raises:
            UsageError: the strategy has no further proposals (an exhausted grid).
        """
        trial = Trial(len(self.trials), self.strategy.propose(len(self.trials)))
        self.trials.append(trial)
        return trial

    def tell(
        self,
        trial: Trial,
        score: float | None,
        cost: float | None = None,
        second: float | None = None,
    ) -> None:
        """Record the result of a trial.

        Args:
            trial: from `ask`.
            score: higher is better; None or NaN for a failed evaluation.
            cost: what the evaluation took, above 0, in any unit: joules, seconds.
            second: the second goal where that is not the cost, above 0, lower is better: joules of
                1,000 inferences, say.

        Raises:
            UsageError: no trial, one that was told before, or of another tuner; a score, cost or
                second goal that is not a number; a cost or second goal that is not above 0.
        """
        if not isinstance(trial, Trial):
            raise UsageError(f"{quoted(trial)} is not a trial", "tell trials from ask()")
        if not (trial.number < len(self.trials) and self.trials[trial.number] is trial):
            raise UsageError(f"trial {trial.number} is not of this tuner", "tell trials from ask()")
        if trial.finished:
            raise UsageError(f"trial {trial.number} was told before", "tell every trial once")
        if score is not None:
            score = _number(score, "score")
        if second is not None:
            if self.goals == 1:
                raise UsageError(
                    "second is told, but there is one goal", 'give goals=("score", "cost")'
                )
            second = _positive(second, "second")
        if cost is not None:
            cost = _positive(cost, "cost")
            self.strategy.paid(trial.number, cost)
        if second is not None:
            self.strategy.measured(trial.number, second)
        trial.score = score if score is not None and math.isfinite(score) else None
        trial.cost, trial.finished = cost, True
        trial.second = second if second is not None or self.goals == 1 else cost
        self.strategy.observe(trial.number, trial.values, trial.score)

    @property
    def should_stop(self) -> bool:
        """Whether another evaluation is not worth its cost.

        With a price lambda it stops when no candidate has an expected improvement per cost above
        lambda: the rule of Xie et al., arXiv 2507.12453, by which the expected score minus lambda
        times the cost is at least that of stopping at once. Without a price, lambda is such that
        an evaluation of mean cost has to gain 0.2 % of what the best score is above the
        median score; at least 10 evaluations are made, or 30 if half of them have the best score.

        Strategies that do not predict a gain stop when they have no further proposals.
        """
        if self.strategy.most is not None and len(self.trials) >= self.strategy.most:
            return True
        gain = getattr(self.strategy, "expected_gain", lambda _: None)(len(self.trials))
        if gain is None:
            return False
        if self.price is not None:
            return bool(gain <= self.price)
        scores = [trial.score for trial in self.trials if trial.score is not None]
        spent = sum(trial.cost or 1.0 for trial in self.trials if trial.finished)
        return gains_nothing(gain * spent / len(scores), scores)

    @property
    def front(self) -> list[Trial]:
        """The finished trials that no other beats in both goals, by ascending second goal.

        Raises:
            UsageError: there is one goal.
        """
        scored, second, score = self._scored()
        return [scored[one] for one in on_front(second, score)]

    @property
    def knee(self) -> Trial | None:
        """The trial of the front where a little of the score saves most; None for a short front.

        It is the one furthest above the chord between the ends of the front, over the logarithm of
        the second goal.

        Raises:
            UsageError: there is one goal.
        """
        scored, second, score = self._scored()
        found = knee(second, score)
        return None if found is None else scored[found]

    def _scored(self) -> tuple[list[Trial], NDArray[np.float64], NDArray[np.float64]]:
        if self.goals == 1:
            raise UsageError("a front needs two goals", 'give goals=("score", "cost")')
        scored = [one for one in self.trials if one.score is not None and one.second is not None]
        columns = np.array([(one.second, one.score) for one in scored], dtype=np.float64)
        second, score = columns.reshape(len(scored), 2).T
        return scored, second, score

    @property
    def best(self) -> Trial | None:
        """The finished trial with the highest score, the first in a tie; None before any."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return max(scored, key=lambda trial: trial.score or 0.0, default=None)


def gains_nothing(gain: float, scores: Sequence[float]) -> bool:
    """Whether a gain is negligible against how far the best score is above the median.

    Where half of the scores are the best one, there is nothing to compare a gain with: then it is
    whether there are many scores.

    Args:
        gain: in units of score.
        scores: of all trials so far, at least one.
    """
    spread = max(scores) - statistics.median(scores)
    if spread == 0:
        return len(scores) >= LEAST_ALIKE
    return len(scores) >= LEAST_TRIALS and bool(gain <= NEGLIGIBLE * spread)


def _positive(value: float, what: str) -> float:
    number = _number(value, what)
    if not (math.isfinite(number) and number > 0):
        raise UsageError(f"{what} is {number:g}", f"{what} is a finite number above 0")
    return number


def _number(value: float, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is {quoted(value)}", "give a number") from None
