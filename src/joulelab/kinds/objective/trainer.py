"""The trainer of a search over an objective: one step at a time, each measured and booked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from joulelab.energy.booking import Booking
from joulelab.energy.measurement import Measurement
from joulelab.kinds.objective.curve import Curve, Spacing
from joulelab.kinds.objective.executor import (
    ObjectiveExecutor,
    ObjectiveJob,
    forget_copies,
)
from joulelab.kinds.searching.booked import BookedTrainer
from joulelab.kinds.searching.growing import GrowingSearcher
from joulelab.kinds.searching.steps import FAILURES, SPENT, TO_END, Limit, Purpose, Result, State
from joulelab.study.executor import Outcome
from joulelab.study.planned_run import PlannedRun
from joulelab.study.runner import RunRecorder
from joulelab.study.session import Session
from joulelab.tuning.search import Step


class ObjectiveTrainer(BookedTrainer):
    """Calls an objective for each step.

    Args:
        session: of the study.
        recorder: books it.
        run: the search.
        booking: origin of the electricity, if known.
        executor: calls it.
        make_job: of a step, its curve and what is left.
        sign: -1 where lower scores are better.
        searcher: knows the epochs of a full training, and the steps that trainings have reported.

    Attributes:
        most: one step at a time.
    """

    most = 1

    def __init__(
        self,
        session: Session,
        recorder: RunRecorder,
        run: PlannedRun,
        booking: Booking | None,
        executor: ObjectiveExecutor,
        make_job: Callable[[Step, Curve], ObjectiveJob],
        sign: float,
        searcher: GrowingSearcher,
    ) -> None:
        super().__init__(session, recorder, run, booking)
        self._executor = executor
        self._make_job = make_job
        self._sign = sign
        self._searcher = searcher
        self._last: ObjectiveJob | None = None

    def train(
        self, steps: Sequence[Step], purpose: Purpose, limit: Limit | None
    ) -> Sequence[Result]:
        """Call the objective for each step."""
        return [self._train(step, limit) for step in steps]

    def stack(self, step: Step) -> object:
        """Nothing: steps are trained one by one."""

    def _train(self, step: Step, limit: Limit | None) -> Result:
        if self._last is not None:
            forget_copies(self._last.training)
        # Trainings that go on are the search's own; those for confirmation begin at 0.
        spacing = Spacing(*self._searcher.steps_of(step)) if step.start else Spacing()
        curve = Curve(step.start, step.end, self._searcher.epochs, spacing, self._sign)
        job = self._make_job(step, curve)
        job = replace(job, limit=limit, used=lambda measured: self._amount(measured, limit))
        self._last = job
        outcome = cast(
            "Outcome[Mapping[str, Any]]", self.booked(self._executor, job, failure=_failure)
        )
        return self._result(step, job, outcome)

    def _amount(self, measurement: Measurement, limit: Limit | None) -> float | None:
        spent = self.spent(measurement, 0.0)
        return None if limit is None else spent.amount(limit.unit, limit.evaluation)

    def _result(self, step: Step, job: ObjectiveJob, outcome: Outcome[Mapping[str, Any]]) -> Result:
        told, curve = outcome.result or {}, job.curve
        epochs = self._searcher.epochs
        whole = 0
        if told.get("state") == "returned":
            whole = _returned(step, curve, float(told["score"]) * self._sign, told["told"], epochs)
        end = curve.reached if step.end == TO_END else step.end
        state, reason = _state(step, curve, outcome, end, epochs)
        scores = [] if state in FAILURES else curve.between(step.start, end)
        beyond = curve.between(end, curve.reached) if scores else []
        if epochs == 1 and beyond and not told.get("asks"):
            # It never asks to stop: its training is one step, whose score is the last.
            scores, beyond = beyond[-1:], []
        return Result(
            state=state,
            scores=scores,
            spent=self.spent(
                outcome.measurement, curve.trained or whole or max(end - step.start, 1)
            ),
            reason=reason,
            details=str(told.get("details") or outcome.details or ""),
            started_at=outcome.measurement.started_at or time.time(),
            values=told.get("used", job.heard),
            drawn=bool(told.get("drawn")),
            asked=told.get("asked", {}),
            beyond=beyond,
            stoppable=bool(told.get("asks")),
            attributes=told.get("attributes", {}),
            second=told.get("second") if scores else None,
            first=curve.spacing.first,
            every=curve.spacing.every,
        )


def _returned(step: Step, curve: Curve, score: float, stopped: bool, epochs: int | None) -> int:
    """Enter the score that was returned: that of the last epoch, if the training has ended.

    Returns:
        Epochs of a training that does not report; 0 for one that does.
    """
    if curve.first is None:
        last = max(epochs or 1, step.end, step.start + 1)
        curve.scores[last] = score
        return last
    last = max(curve.scores, default=0)
    if stopped and last < (epochs or math.inf):
        return 0
    curve.scores[max(last, curve.end)] = score
    return 0


def _state(
    step: Step,
    curve: Curve,
    outcome: Outcome[Mapping[str, Any]],
    end: int,
    epochs: int | None,
) -> tuple[State, str]:
    """How a call ended, and why if not by itself."""
    told = outcome.result
    if told is None:
        said = outcome.error or "it failed"
        if said == SPENT:
            return ("pruned" if curve.scores else "failed"), SPENT
        return ("timed out" if "took longer" in said else "failed"), said
    failed = str(told.get("error", "")) or curve.bad
    if failed or not curve.scores:
        return "failed", failed or "the objective stopped without a score"
    if step.end == TO_END:
        reached = told["state"] == "returned" and not told["told"]
    else:
        reached = curve.reached >= end
    if reached:
        return ("finished" if epochs is None or end >= epochs else "paused"), ""
    return "pruned", SPENT if told["told"] else "the objective has ended it early"


def _failure(told: Any) -> str | None:  # noqa: ANN401 - plain data
    """The error of a call that failed."""
    return (told["details"] or told["error"]) if told["state"] == "failed" else None
