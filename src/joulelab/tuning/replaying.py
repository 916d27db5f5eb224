"""Searches on recorded trials: they run in seconds, and take no energy.

::

    table = recorded("fashion-mnist-10k/DensePolyNN")          # joulelab.tuning.recorded_tables
    search = make_search("green", table.space, seed=0, epochs=table.epochs)
    for event in replay(search, table, budget=2000.0):
        print(event.spent, event.best_score)

What a search proposes becomes a recorded trial. In a grid that is what was proposed. Of scattered
trials it is the nearest that this search has not taken yet, and the search is told the recorded
values. So it can be no better than the recorded trials, and a refinement by less than their
distance is lost: a table favours whoever chose its trials. When all are taken the search ends; with
learning curves they may then be taken again, because few of them are finished.

A repetition that a search asks for is one of the recorded ones, in an order that is drawn once for
all trials, so that trials can be compared in pairs. A trial of a grid that is proposed anew takes
the repetitions that were not taken before; where there are no more, they come again. A step costs
joules where they are recorded, else seconds, else 1 per epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from joulelab.tuning.recorded import RecordedTrials
from joulelab.tuning.search import Search, Step


@dataclass(frozen=True)
class Event:
    """A step of a replayed search.

    Attributes:
        step: what was trained.
        spent: cost of all steps so far.
        best: number of the trial that the search takes for the best; None before any score.
        best_score: its mean over all recorded repetitions after the last epoch, of the column
            ``judged``: not known to the search.
    """

    step: Step
    spent: float
    best: int | None
    best_score: float | None


class Replay:
    """A search whose proposals become recorded trials.

    Args:
        search: on the space of the table, with its epochs; nothing is proposed yet.
        table: the trials.
        seed: draws the order of repetitions.
    """

    def __init__(self, search: Search, table: RecordedTrials, seed: int = 0) -> None:
        self.search = search
        self.table = table
        self._seed = seed
        self._taken: list[int] = []
        self._proposed: dict[int, int] = {}  # how often each recorded trial was
        self._first: dict[int, int] = {}  # of each trial, the number of its first repetition

    def next(self, most: int = 1, left: float | None = None) -> list[Step]:
        """Steps with recorded values; none at the end. Arguments as of the search."""
        steps: list[Step] = []
        while len(steps) < most and not self.exhausted and (found := self.search.next(1, left)):
            steps.append(self._recorded(found[0]))
        return steps

    @property
    def exhausted(self) -> bool:
        """Whether all is known: final scores of scattered trials, which are all taken."""
        whole = len(self._taken) == len(self.table) and not self.table.exact
        return whole and self.table.epochs == 1

    def run(self, step: Step) -> tuple[list[float], dict[str, float]]:
        """The scores after each epoch of a step, and its cost in each unit of the table."""
        first = self._first.get(step.trial, 0)
        return self.table.run(replace(step, repetition=step.repetition + first), self._seed)

    def _recorded(self, step: Step) -> Step:
        if step.start or step.repetition:
            return step
        if self.table.exact:
            number = self.table.nearest(step.values)
            assert number is not None
            self._first[step.trial] = self._proposed.get(number, 0)
            self._proposed[number] = self._first[step.trial] + 1
            return step
        if len(self._taken) == len(self.table):
            self._taken.clear()
        number = self.table.nearest(step.values, self._taken)
        assert number is not None
        self._taken.append(number)
        values = self.table.values(number)
        self.search.substitute(step, values)
        return replace(step, values=values)


def replay(
    search: Search,
    table: RecordedTrials,
    budget: float,
    unit: str | None = None,
    seed: int = 0,
) -> Iterator[Event]:
    """Run a search on recorded trials until its budget is spent.

    Args:
        search: on the space of the table, with its epochs.
        table: the trials.
        budget: in `unit`; the last step may overshoot it by one epoch.
        unit: of `table.units`, what a step costs; default: the best that is recorded.
        seed: draws the order of repetitions.

    Yields:
        One event for each step.
    """
    spent = 0.0
    searcher = Replay(search, table, seed)
    while spent < budget and (steps := searcher.next(left=budget - spent)):
        step = steps[0]
        scores, costs = searcher.run(step)
        cost = costs[unit or table.unit]
        spent += cost
        search.observe(step, scores, cost)
        best = search.best()
        number = None if best is None else best[0].number
        yield Event(step, spent, number, None if best is None else table.mean(best[0].values))
