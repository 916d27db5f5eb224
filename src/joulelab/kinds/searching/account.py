"""What a search has spent, and what its budget allows for.

A step may begin if its predicted cost overshoots what is left by no more than one epoch, or
`TOLERANCE` of the budget. A step of a trial is predicted to cost as much per epoch as its steps
before, a new trial as much as the mean of all.

Part of the budget is kept for the confirmation: the cost of its full trainings, at most
`CONFIRMATION_SHARE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from joulelab.budget import TOLERANCE, Budget, Unit
from joulelab.errors import MeterError, UsageError
from joulelab.kinds.searching.spent import Spent, total_spent
from joulelab.kinds.searching.steps import TO_END, Limit, Purpose
from joulelab.tuning.search import Step

CONFIRMATION_SHARE = 0.2
SEVERAL = 10
"""Evaluations that the advice names as the least for a search."""


class Account:
    """The account of a search.

    Args:
        budget: None for no limit.
        lost: what interrupted steps have spent.
        epochs: tells the epochs of a full training; None while they are unknown.
        reports: tells how many of the epochs that are spent stand for one of these.
    """

    def __init__(
        self,
        budget: Budget | None,
        lost: Spent,
        epochs: Callable[[], int | None],
        reports: Callable[[], int],
    ) -> None:
        self._budget = budget
        self._steps = epochs
        self._reports = reports
        self._parts = {"search": Spent(), "confirm": Spent(), "tuner": Spent()}
        self._lost = lost
        self._thinking = self._last_thought = Spent()
        self._unit: Unit | None = budget.unit if budget else None
        self._paid: dict[int, list[tuple[float, float]]] = {}  # of each trial (cost, epochs)
        self._restarts = False
        self._longest = 1.0

    def _epochs(self) -> int | None:
        """Epochs of a full training, as they are spent."""
        steps = self._steps()
        return None if steps is None else steps * self._reports()

    @property
    def _evaluation(self) -> float:
        """Epochs of a full training; while they are unknown, of the longest step so far."""
        return self._epochs() or self._longest

    # Entries

    def spend(self, kind: str, spent: Spent) -> None:
        """Enter what one of the parts has spent: ``search``, ``confirm`` or ``tuner``."""
        self._parts[kind] = total_spent([self._parts[kind], spent])

    def thought(self, spent: Spent) -> None:
        """Enter what the search itself has spent; it belongs to the next step."""
        self._last_thought = spent
        self._thinking = total_spent([self._thinking, spent])

    def book_thinking(self) -> Spent:
        """Move what the search itself has spent since the last step to the tuner's part."""
        booked, self._thinking = self._thinking, Spent()
        self.spend("tuner", booked)
        return booked

    def trained(self, step: Step, spent: Spent, purpose: Purpose) -> float | None:
        """Enter a step; returns its cost in the unit of the budget, else joules, else seconds.

        Raises:
            MeterError: there is a budget, and the cost is unknown.
        """
        self.spend(purpose, spent)
        self._longest = max(self._longest, spent.epochs)
        if self._unit is None:
            self._unit = "seconds" if spent.joules is None else "joules"
        cost = spent.amount(self._unit, self._evaluation)
        if cost is None and self._budget:
            raise MeterError(
                f"the budget of {self._budget} cannot be kept: the energy of trial {step.trial} "
                f"is unknown: {spent.reason}",
                "`joulelab doctor` says which meters work here",
            )
        if cost is not None and spent.epochs:
            self._paid.setdefault(step.trial, []).append((cost, spent.epochs))
        if step.start and spent.epochs >= step.end > step.start:
            self._restarts = True  # it does not go on from its checkpoint
        return cost

    # Sums

    @property
    def parts(self) -> dict[str, Spent]:
        """What was spent by ``search``, ``confirm``, ``tuner`` and ``interrupted`` steps."""
        return {**self._parts, "interrupted": self._lost}

    @property
    def whole(self) -> Spent:
        """All that was spent, the search's own work and lost work included."""
        return total_spent([*self.parts.values(), self._thinking])

    @property
    def spent(self) -> float | None:
        """The same in the unit of costs; None where it is unknown."""
        return 0.0 if self._unit is None else self.whole.amount(self._unit, self._evaluation)

    @property
    def paid(self) -> float:
        """Cost of all steps whose cost is known."""
        return sum(cost for paid in self._paid.values() for cost, _ in paid)

    # What the budget allows for

    def left(self, kept: int = 0) -> float | None:
        """What may still be spent, in the unit of costs; None for no limit.

        Args:
            kept: full trainings for which a part of the budget is kept.
        """
        budget, spent = self._budget, self.spent
        if budget is None or spent is None:
            return None
        return budget.amount - self._reserve(budget, kept) - spent

    def short(self, left: float | None) -> bool:
        """Whether what was left is below a mean evaluation."""
        one, epochs = self._per_epoch(), self._epochs()
        if left is None or one is None or epochs is None:
            return False
        return left < one * epochs

    def fitting(self, steps: Sequence[Step], kept: int = 0) -> Sequence[Step]:
        """The first of some steps, those that the budget allows for.

        Args:
            steps: in their order.
            kept: full trainings for which a part of the budget is kept.
        """
        budget, left = self._budget, self.left(kept)
        if budget is None or left is None:
            return steps
        for count, step in enumerate(steps):
            forecast = self._forecast(step)
            if left <= 0 or (
                forecast is not None and forecast > left + self._slack(budget, step.trial)
            ):
                return steps[:count]
            left -= forecast or 0.0
        return steps

    def thinking_fits(self) -> bool:
        """Whether the budget allows for as much thinking as before the last step."""
        budget, spent = self._budget, self.spent
        if budget is None or spent is None:
            return True
        next_one = self._last_thought.amount(budget.unit, self._evaluation) or 0.0
        return spent + next_one <= budget.amount * (1 + TOLERANCE)

    def limit(self, trial: int) -> Limit | None:
        """What is left for steps of which the first belongs to a trial; None for no limit."""
        budget, spent = self._budget, self.spent
        if budget is None or spent is None:
            return None
        slack = self._slack(budget, trial)
        # How long a training is, its first one tells: it counts as one evaluation.
        evaluation = self._epochs() or math.inf
        return Limit(budget.unit, budget.amount - spent, slack, evaluation)

    def check_least(self) -> None:
        """Refuse a budget that is known to be below one evaluation.

        Raises:
            UsageError: it is.
        """
        budget, epochs = self._budget, self._epochs()
        if budget is None:
            return
        least = {"epochs": float(epochs or 1), "evaluations": 1.0}.get(budget.unit, 0.0)
        if budget.amount < least:
            one = f", which takes {budget.words(least)}" if budget.unit == "epochs" else ""
            raise UsageError(
                f"a budget of {budget} is below one evaluation{one}", "give at least as much"
            )

    def why_over(self) -> str:
        """Why the budget does not allow for anything more, in words."""
        budget, epochs, one = self._budget, self._epochs(), self._per_epoch()
        assert budget is not None
        if epochs is None:
            return f"the budget of {budget} is below one evaluation, which did not end"
        if one is not None and one * epochs > budget.amount * (1 + TOLERANCE):
            took = budget.words(one * epochs)
            return f"the budget of {budget} is below one evaluation, which takes {took}"
        return f"the budget of {budget} is spent"

    def shortfall(self) -> tuple[str, str]:
        """That the budget, which is spent, has not allowed for a search, and what to do.

        Returns:
            Two empty texts where it has.
        """
        budget, one, epochs = self._budget, self._per_epoch(), self._epochs()
        assert budget is not None
        of = f"of a budget of {budget}"
        if one is None or epochs is None:
            taken = self._parts["search"].amount(budget.unit, self._evaluation)
            said = f"the first evaluation took {budget.words(taken)} {of}, and did not end"
            return said, f"give {SEVERAL} times as much, or more"
        took = budget.words(one * epochs)
        advice = f"give {budget.words(SEVERAL * one * epochs)} or more"
        if budget.unit != "evaluations":
            advice += f", for {SEVERAL} evaluations"
        # A single trial that ended, or none that did.
        if len(self._paid) == 1 and self._longest >= epochs:
            return f"the first evaluation took {took} {of}", advice
        if one * epochs > budget.amount * (1 + TOLERANCE):
            return f"an evaluation takes {took}, more than the budget of {budget}", advice
        return "", ""

    def _per_epoch(self, trial: int | None = None) -> float | None:
        """Cost of an epoch: of a trial, else of all, in the unit of the budget."""
        if self._budget and self._budget.unit == "epochs":
            return 1.0
        if self._budget and self._budget.unit == "evaluations":
            return 1.0 / self._evaluation
        paid = self._paid.get(-1 if trial is None else trial) or [
            one for parts in self._paid.values() for one in parts
        ]
        epochs = sum(epochs for _, epochs in paid)
        return sum(cost for cost, _ in paid) / epochs if epochs else None

    def _forecast(self, step: Step) -> float | None:
        """Predicted cost of a step; None where nothing is known."""
        one = self._per_epoch(step.trial)
        if one is None or step.end == TO_END:
            return None
        steps = step.end if self._restarts else step.end - step.start
        return one * steps * self._reports()

    def _slack(self, budget: Budget, trial: int) -> float:
        return max(self._per_epoch(trial) or 0.0, TOLERANCE * budget.amount)

    def _reserve(self, budget: Budget, trainings: int) -> float:
        one, epochs = self._per_epoch(), self._epochs()
        if one is None or epochs is None:
            return 0.0
        return min(trainings * epochs * one, CONFIRMATION_SHARE * budget.amount)
