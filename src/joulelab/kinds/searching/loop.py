"""Run a search on a budget: think, train, journal, observe; confirm the best on fresh seeds.

::

    header ─┬─ over? ── think ── fits the budget? ── train ── journal ── observe ─┐
            └─────────────────────────────────────────────────────────────────────┘
            ├─ target reached? confirm; stop if the mean of fresh seeds reaches it too
            └─ over: confirm the best on fresh seeds ── outcome

A search that goes on is the same program again: what the journal has is not trained but read. So
its decisions depend on the seed and on stored results alone; the clock and the meters decide only
whether there is budget for a step that has not begun.

Part of the budget is kept for the confirmation (`joulelab.kinds.searching.account`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulelab.budget import Budget
from joulelab.errors import JoulelabError
from joulelab.kinds.searching.account import Account
from joulelab.kinds.searching.journal import Journal
from joulelab.kinds.searching.outcome import Found, Outcome
from joulelab.kinds.searching.so_far import SoFar
from joulelab.kinds.searching.spent import Spent, total_spent
from joulelab.kinds.searching.steps import (
    SPENT,
    Purpose,
    Result,
    Searcher,
    Trainer,
    scores_of,
)
from joulelab.tuning.search import Step
from joulelab.tuning.space import Value
from joulelab.tuning.tuner import gains_nothing

FRESH = 1000
"""Repetitions from this number on are for confirmation; a search never sees their seeds."""
MOST_FAILURES = 3
"""So many failures without any success end a search."""
MIXED = "the objective has returned a second goal, but none for the first trial: always return two"
"""Why a training failed whose second goal cannot be compared with the energy of the others."""


class SearchFailedError(JoulelabError):
    """A search that found nothing: its first trainings all failed."""


@dataclass(frozen=True)
class Asked:
    """What a search is to do.

    Attributes:
        header: what identifies it, as plain data; a journal of another one is refused.
        budget: None for no limit.
        confirm: fresh seeds for the best trial.
        target: score that ends the search once it is confirmed; higher is better.
        goals: 2 for a second one: the energy of a full training, evaluations included, unless
            trainings return it.
    """

    header: Mapping[str, Any]
    budget: Budget | None = None
    confirm: int = 3
    target: float | None = None
    goals: int = 1


def run_search(
    searcher: Searcher,
    trainer: Trainer,
    journal: Journal,
    asked: Asked,
    listen: Callable[[SoFar], None] = lambda _: None,
) -> Outcome:
    """Run a search, or go on with it.

    Args:
        searcher: decides on steps; new.
        trainer: carries them out.
        journal: of this search, empty or not.
        asked: budget, target, confirmation.
        listen: told before and after every step.

    Raises:
        UsageError: the budget is below one evaluation.
        StoreMismatchError: the journal is of another search.
        MeterError: the budget is in joules or grams, and those of a step are unknown.
        KeyboardInterrupt: finished steps are in the journal.
    """
    return _Run(searcher, trainer, journal, asked, listen).run()


class _Run:
    """One search; for its arguments see `run_search`."""

    def __init__(
        self,
        searcher: Searcher,
        trainer: Trainer,
        journal: Journal,
        asked: Asked,
        listen: Callable[[SoFar], None],
    ) -> None:
        self.searcher = searcher
        self.trainer = trainer
        self.journal = journal
        self.asked = asked
        self.listen = listen
        lost = total_spent(
            Spent.from_dict(line["lost"]) for line in journal.lines if "lost" in line
        )
        self.account = Account(
            asked.budget, lost, lambda: searcher.epochs, lambda: searcher.reports
        )
        self.confirmed: dict[int, list[float]] = {}
        self.gain: float | None = None
        self.left: float | None = None  # to spend, when the steps were chosen
        self.first_error = ""
        self.failures = self.successes = 0
        self.returned = self.single = False

    def run(self) -> Outcome:
        self.account.check_least()
        if self.journal.take("header", self.asked.header) is None:
            self.journal.append({"header": dict(self.asked.header)})
        stopped = self._search()
        best = self.searcher.best()
        outcome = Outcome(stopped=stopped, epochs=self.searcher.epochs)
        if self.asked.budget and stopped == self.account.why_over():
            outcome.shortfall, outcome.advice = self.account.shortfall()
        if best is not None:
            outcome.trial, outcome.values, outcome.score = best[0].number, best[0].values, best[1]
            if best[0].number not in self.confirmed and outcome.epochs is not None:
                self._confirm(best[0].number, best[0].values)
            outcome.confirmed = self.confirmed.get(best[0].number, [])
            outcome.second, outcome.returned = best[0].second, self.returned
            outcome.knee = self._knee(best[0].number)
        elif not self.successes:
            outcome.failure = outcome.shortfall or stopped
            if self.first_error not in {"", SPENT}:
                outcome.failure = f"{stopped}: {self.first_error}"
        self.account.book_thinking()
        outcome.parts = self.account.parts
        outcome.spent = total_spent(outcome.parts.values())
        return outcome

    def _knee(self, best: int) -> Found | None:
        """What is at the knee of the front, confirmed like the best."""
        found = self.searcher.knee() if self.asked.goals > 1 else None
        if found is None:
            return None
        trial, score = found
        if trial.number not in self.confirmed and trial.number != best:
            self._confirm(trial.number, trial.values)
        confirmed = self.confirmed.get(trial.number, [])
        return Found(trial.number, trial.values, score, trial.second, confirmed)

    def _search(self) -> str:
        """Search until it is over; returns why."""
        while True:
            line = self.journal.peek()
            if line is not None and "stopped" in line:
                self.journal.take("stopped", line["stopped"])
                return str(line["stopped"])
            steps, stopped = self._think()
            fitting = steps if self.journal.peek() else self.account.fitting(steps, self._kept)
            if fitting:
                self._train(fitting, "search")
            if len(fitting) < len(steps):
                stopped = self.account.why_over()
            if not stopped and fitting:
                stopped = self._target_reached()
            if stopped:
                self.journal.append({"stopped": stopped})
                return stopped

    def _think(self) -> tuple[list[Step], str]:
        """The next steps, or none and why."""
        steps: list[Step] = []
        line = self.journal.peek()
        if line is None and not self.account.thinking_fits():
            return [], self.account.why_over()
        self.left = self.account.left(self._kept) if line is None else line.get("left")
        with self.trainer.thinking() as measured:
            if not (stopped := self._over()):
                steps = self.searcher.next(self.trainer.most, self.left)
        self.account.thought(measured.spent)
        if not stopped and not steps:
            short = self.account.short(self.left)
            stopped = self.account.why_over() if short else self.searcher.no_steps
        return steps, stopped

    def _over(self) -> str:
        """Why no step should follow, apart from the budget; empty if one should."""
        if self.failures >= MOST_FAILURES and not self.successes:
            return f"the first {self.failures} trials failed"
        # A strategy is asked only when all that was proposed has been observed.
        gain = self.gain = self.searcher.expected_gain
        if gain is None or not (scores := self._scores()):
            return ""
        if gains_nothing(gain * (self.account.paid or len(scores)), scores):
            return "spending as much again would gain next to nothing"
        return ""

    def _scores(self) -> list[float]:
        latest = [one.score(one.epochs()) for one in self.searcher.trials if one.epochs()]
        return [score for score in latest if score is not None]

    def _target_reached(self) -> str:
        """Confirm a finished trial that reached the target; why that ends the search, if so."""
        target, best, epochs = self.asked.target, self.searcher.best(), self.searcher.epochs
        if target is None or best is None or epochs is None:
            return ""
        trial, score = best
        if score < target or trial.number in self.confirmed or trial.score(epochs) is None:
            return ""
        wanted = max(self.asked.confirm, 1)
        scores = self._confirm(trial.number, trial.values, wanted)
        if len(scores) < wanted and self.asked.budget:
            return self.account.why_over()
        return "the target is reached and confirmed" if statistics.fmean(scores) >= target else ""

    def _confirm(
        self, trial: int, values: Mapping[str, Value], seeds: int | None = None
    ) -> list[float]:
        """Train a trial with fresh seeds, as many as fit the budget; their scores."""
        scores = self.confirmed.setdefault(trial, [])
        epochs = self.searcher.epochs or 1
        for number in range(self.asked.confirm if seeds is None else seeds):
            step = Step(trial, values, FRESH + number, 0, epochs)
            if self.journal.peek() is None and not self.account.fitting([step]):
                break
            if not (results := self._train([step], "confirm")):
                break
            result = results[0]
            known = scores_of(result)
            if known and result.state == "finished":
                scores.append(known[-1])
        return scores

    def _train(self, steps: Sequence[Step], purpose: Purpose) -> list[Result]:
        """Results of steps, stored or new; observed where they belong to the search."""
        results: list[Result] = []
        steps = self._by_stack(steps)
        for step in steps:
            stored = self.journal.peek()
            if stored is not None and "stopped" in stored:  # the budget did not allow for it
                return self._booked(steps, results, purpose)
            line = self.journal.take("step", {"purpose": purpose, **_identity(step)})
            if line is None:
                break
            self.account.spend("tuner", Spent.from_dict(line["tuner"]))
            results.append(Result.from_dict(line))
        while left := steps[len(results) :]:
            self._tell(left[0], purpose)
            limit = self.account.limit(left[0].trial)
            trained = self.trainer.train(left, purpose, limit)
            for step, result in zip(left, trained, strict=False):
                result = self._of_same_goal(result)  # noqa: PLW2901
                line = {"step": {"purpose": purpose, **_identity(step)}, **result.to_dict()}
                tuner = self.account.book_thinking().to_dict()
                self.journal.append({**line, "tuner": tuner, "left": self.left})
                results.append(result)
        self._booked(steps, results, purpose)
        self._tell(None, purpose)
        return results

    def _by_stack(self, steps: Sequence[Step]) -> list[Step]:
        """Steps that can be trained together next to each other, else in their order."""
        stacks: list[tuple[object, list[Step]]] = []
        for step in steps:
            of = self.trainer.stack(step)
            mine = next((own for other, own in stacks if other == of), None)
            if mine is None:
                stacks.append((of, mine := []))
            mine.append(step)
        return [step for _, own in stacks for step in own]

    def _booked(
        self, steps: Sequence[Step], results: list[Result], purpose: Purpose
    ) -> list[Result]:
        for step, result in zip(steps, results, strict=False):
            self._book(step, result, purpose)
        return results

    def _book(self, step: Step, result: Result, purpose: Purpose) -> None:
        cost = self.account.trained(step, result.spent, purpose)
        if purpose == "confirm":
            return
        if scores_of(result):
            self.successes += 1
        elif not self.successes:
            self.failures += 1
            self.first_error = self.first_error or result.reason
        self.searcher.observe(step, result, cost, self._second(result))

    def _of_same_goal(self, result: Result) -> Result:
        """A failed result if it has returned a second goal, but trainings before it have not."""
        if result.second is None or not self.single:
            return result
        return replace(result, state="failed", scores=(), beyond=(), second=None, reason=MIXED)

    def _second(self, result: Result) -> float | None:
        """The second goal as a result has shown it."""
        self.returned |= result.second is not None
        self.single |= result.state == "finished" and not self.returned
        if result.state == "pruned" and not self.single:
            return result.second  # whether trainings return one is not known yet
        if self.asked.goals == 1 or result.failed or self.returned:
            return result.second
        joules, epochs = result.spent.joules, result.spent.epochs
        if joules is None or not epochs:
            return None
        full = self.searcher.epochs or len(result.scores)
        return joules / epochs * full * self.searcher.reports

    @property
    def _kept(self) -> int:
        """Full trainings of the confirmation, for which a part of the budget is kept."""
        # What is kept is not taken from the only evaluation that there may be.
        # With two goals the knee is confirmed too.
        return self.asked.confirm * self.asked.goals if self.successes else 0

    def _tell(self, step: Step | None, purpose: Purpose) -> None:
        best, spent, budget = self.searcher.best(), self.account.spent, self.asked.budget
        gain = None
        if self.gain is not None and spent is not None:
            gain = self.gain * (spent if budget is None else max(budget.amount - spent, 0.0))
        doing = ""
        if step is not None:
            what = "confirming trial" if purpose == "confirm" else "trial"
            more = f" to epoch {step.end}" if step.end else ""
            doing = f"{what} {step.trial}{more}"
        self.listen(
            SoFar(
                doing=doing,
                trials=len(self.searcher.trials),
                best=None if best is None else best[1],
                values={} if best is None else best[0].values,
                spent=spent,
                joules=self.account.whole.joules,
                budget=budget,
                gain=gain,
            )
        )


def _identity(step: Step) -> dict[str, Any]:
    return {
        "trial": step.trial,
        "values": dict(step.values),
        "repetition": step.repetition,
        "start": step.start,
        "end": step.end,
    }
