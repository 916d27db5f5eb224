"""Searches whose space is what the objective asks for, and whose epochs are what it reports.

The first trial is trained to its end. It tells which variables there are, where no space was given,
and how many epochs a full training has, where that was not given. Then the search begins, with the
first trial as its trial 0.

Trials may ask for further variables later (behind an ``if``, say), or for wider ranges. The search
is then begun again on the wider space, from the same seed, and is given all trials so far. A trial
that did not ask for a variable does not depend on it: it has the centre of it. What the objective
was given for a new name is a draw from the seed, the number of the trial and the name. So a search
is still determined by its seed and by what it observed. Paused trainings stay paused; successive
halving and Hyperband, which compare trials of a bracket, begin a new bracket.

A name of a given space that no trial asks for is most likely misspelt: `GrowingSearcher.unasked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from joulelab.errors import UsageError, nearest, quoted
from joulelab.kinds.searching.steps import NO_PROPOSALS, TO_END, Result, scores_of
from joulelab.tuning.search import Cost, Progress, Search, Step, make_search
from joulelab.tuning.space import Choice, SearchSpace, Value, Variable

MOST_PRUNED = 3
"""After so many first trials that end early, the longest tells how long a training is."""
MISSPELT = 3
"""Trials without an error before a name of the given space is said to be misspelt.

It must resemble one that was asked for and is not in the space, so few trials tell it.
"""
HEARD = 10
"""The same for any other name, which may be behind an ``if``.

A branch that one of four trials takes is missed by 3 trials in 42 % of searches, by 10 trials in
6 %. At the end, all trials tell it.
"""

Make = Callable[[SearchSpace, int], Search]


@dataclass
class _Told:
    """What is known about a trial: values of the point, those that it asked for, its scores."""

    values: dict[str, Value]
    used: dict[str, Value] = field(default_factory=dict)
    scores: dict[int, list[float]] = field(default_factory=dict)
    beyond: dict[int, list[float]] = field(default_factory=dict)
    cost: float | None = None
    failed: bool = False
    seconds: list[float] = field(default_factory=list)
    steps: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)


class GrowingSearcher:
    """A search that learns its space and its epochs.

    Args:
        strategy: name of a search or a strategy.
        seed: determines the search.
        space: None where the objective tells it.
        epochs: of a full training; None where the first trial tells it.
        cost: what is known beforehand, from values to a relative cost.
        seeds: most trainings of a trial; default: the search's own.
        goals: 2 for a second one; then the first trial is always trained to its end, and tells
            whether the objective returns the second goal.
        warn: told, each once, of names of the space that no trial has asked for: after `MISSPELT`
            trials where another name resembles it, else after `HEARD`.
    """

    no_steps = NO_PROPOSALS

    def __init__(
        self,
        strategy: str,
        seed: int,
        space: SearchSpace | None = None,
        epochs: int | None = None,
        cost: Cost | None = None,
        seeds: int | None = None,
        goals: int = 1,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._make: Make = lambda variables, length: make_search(
            strategy, variables, seed, length, cost, seeds, goals
        )
        self._seed = seed
        self._given = space
        self._variables: dict[str, Variable] = dict(space.variables) if space else {}
        self._epochs = epochs
        self._told: list[_Told] = []
        self._search: Search | None = None
        self._first = self._make(space, 1) if space else None
        self._goals = goals
        self._reports = 1
        self._warn = warn
        self._heard: set[int] = set()
        self._asked: dict[str, None] = {}
        self._warned: set[str] = set()
        if space and epochs and goals == 1:
            self._search = self._make(space, epochs)

    @property
    def epochs(self) -> int | None:
        """Of a full training; None while unknown."""
        return self._epochs

    @property
    def reports(self) -> int:
        """In each epoch; a training that never asks to stop is one epoch, whatever it reports."""
        return self._reports

    @property
    def trials(self) -> Sequence[Progress]:
        """All trials that have been begun."""
        if self._search is not None:
            return self._search.trials
        return [
            Progress(number, told.used or told.values, told.scores, told.failed)
            for number, told in enumerate(self._told)
        ]

    def steps_of(self, step: Step) -> tuple[int | None, int | None]:
        """The first step that a training has reported, and the distance to the next; None unknown.

        Args:
            step: of the training.
        """
        return self._told[step.trial].steps.get(step.repetition, (None, None))

    @property
    def space(self) -> dict[str, Variable]:
        """The variables known so far."""
        return dict(self._variables)

    @property
    def unasked(self) -> dict[str, str | None]:
        """Names of the given space that no trial has asked for, each with one that it resembles.

        The other names are those that were asked for and are not in the space.
        """
        if self._given is None or not self._heard:
            return {}
        given = self._given.variables
        others = [name for name in self._asked if name not in given]
        return {name: nearest(name, others) for name in given if name not in self._asked}

    @property
    def expected_gain(self) -> float | None:
        """As of the search."""
        return None if self._search is None else self._search.expected_gain

    def next(self, most: int, left: float | None = None) -> list[Step]:
        """Steps to train next; one at a time until the first trial has succeeded."""
        if self._search is None:
            return [self._before()]
        steps = self._search.next(most, left)
        while steps and all(self._is_known(step) for step in steps):
            for step in steps:
                self._replay(step)
            steps = self._search.next(most, left)
        for step in [one for one in steps if self._is_known(one)]:
            self._replay(step)
            steps.remove(step)
        for step in steps:
            if step.trial == len(self._told):
                self._told.append(_Told(dict(step.values)))
        return steps

    def observe(self, step: Step, result: Result, cost: float | None, second: float | None) -> None:
        """Record the result of a step; the space and the epochs may become known by it."""
        told = self._told[step.trial]
        wider = self._widen(result)
        scores = scores_of(result)
        self._hear(step.trial, result)
        told.failed |= scores is None
        if cost is not None:
            told.cost = (told.cost or 0.0) + cost
        if second is not None:
            told.seconds.append(second)
        told.steps[step.repetition] = (result.first, result.every)
        if scores is not None:
            told.scores.setdefault(step.repetition, []).extend(scores)
            told.beyond[step.repetition] = list(result.beyond)
        told.used = dict(result.values) or told.used
        if result.drawn:
            told.values |= result.values
        if self._search is None:
            self._begin(step, result, told)
        elif wider or result.drawn:
            self._restart()
        else:
            self._search.observe(step, scores, cost, second)

    def _hear(self, trial: int, result: Result) -> None:
        """Note which names a trial has asked for; a failed one may not have come to all."""
        self._asked |= dict.fromkeys(result.values)
        if result.failed or trial in self._heard:
            return
        self._heard.add(trial)
        count = len(self._heard)
        if count not in {MISSPELT, HEARD}:
            return
        new = {
            name: near
            for name, near in self.unasked.items()
            if name not in self._warned and (near or count == HEARD)
        }
        if new:
            self._warned |= set(new)
            what = unasked_words(new)
            self._warn(f"the first {count} trials never asked for {what}, which the space has")

    def best(self) -> tuple[Progress, float] | None:
        """The best trial, with the values that it used, and its score."""
        if self._search is not None:
            return self._as_used(self._search.best())
        scored = [
            (one, one.scores[0][-1]) for one in self.trials if one.scores.get(0) and not one.failed
        ]
        return max(scored, key=lambda pair: pair[1], default=None)

    def knee(self) -> tuple[Progress, float] | None:
        """The trial at the knee of the front, with the values that it used, and its score."""
        return None if self._search is None else self._as_used(self._search.knee())

    def _as_used(self, found: tuple[Progress, float] | None) -> tuple[Progress, float] | None:
        if found is None:
            return None
        told = self._told[found[0].number]
        return replace(found[0], values=told.used or told.values), found[1]

    # Before the search

    def _before(self) -> Step:
        """A trial that tells what is not known yet: the centre, then draws."""
        number = len(self._told)
        values: dict[str, Value] = {}
        if self._first is not None:
            (step,) = self._first.next(1)
            values = dict(step.values)
        self._told.append(_Told(values))
        first = self._epochs if self._goals > 1 else 1
        return Step(number, values, 0, 0, TO_END if self._epochs is None else first or 1)

    def _begin(self, step: Step, result: Result, told: _Told) -> None:
        """Begin the search if a trial has succeeded; a failed one tells nothing."""
        if not told.scores.get(0):
            if self._first is not None:
                self._first.observe(Step(step.trial, step.values, 0, 0, 1), None, None)
            return
        if result.state == "pruned" and step.end == TO_END and len(self._told) < MOST_PRUNED:
            return  # it does not tell how long a training is
        if not self._variables:
            raise UsageError(
                "the objective did not ask for any variable",
                "call trial.suggest_float, suggest_int or suggest_categorical, or give a space",
            )
        if self._epochs is None:
            if not result.stoppable:
                self._reports = len(told.scores[0])
                told.scores[0] = told.scores[0][-1:]
            self._epochs = max(len(one.scores.get(0, ())) for one in self._told)
        self._restart()

    def _restart(self) -> None:
        """A new search, which is given all that was observed."""
        space = SearchSpace(self._variables)
        self._search = self._make(space, self._epochs or 1)
        for told in self._told:
            values = {
                name: told.values.get(name, _centre(variable))
                for name, variable in self._variables.items()
            }
            scores = [] if told.failed else [one for one in told.scores.values() if one]
            second = sum(told.seconds) / len(told.seconds) if told.seconds else None
            self._search.add(values, scores, told.cost, second)

    def _widen(self, result: Result) -> bool:
        """Take up variables that were asked for; whether the space is another one now."""
        before = dict(self._variables)
        given = self._given.variables if self._given else {}
        asked = SearchSpace.from_dict(result.asked).variables if result.asked else {}
        for name, variable in asked.items():
            if name not in given:
                known = self._variables.get(name)
                self._variables[name] = _union(name, known, variable) if known else variable
        return self._variables != before

    # Trainings that went on when they were told to stop

    def _is_known(self, step: Step) -> bool:
        if step.trial >= len(self._told):
            return False
        beyond = self._told[step.trial].beyond.get(step.repetition, [])
        return len(beyond) >= step.end - step.start > 0

    def _replay(self, step: Step) -> None:
        assert self._search is not None
        told = self._told[step.trial]
        count = step.end - step.start
        scores = told.beyond[step.repetition][:count]
        told.beyond[step.repetition] = told.beyond[step.repetition][count:]
        told.scores[step.repetition].extend(scores)
        self._search.observe(step, scores, None)


def unasked_words(unasked: Mapping[str, str | None]) -> str:
    """Names that were not asked for: ``'learning-rate' (did you mean 'learning_rate'?)``.

    Args:
        unasked: as of `GrowingSearcher.unasked`.
    """
    return ", ".join(
        quoted(name) + (f" (did you mean {quoted(near)}?)" if near else "")
        for name, near in unasked.items()
    )


def _centre(variable: Variable) -> Value:
    if isinstance(variable, Choice):
        return variable.levels[0]
    return variable.decode(float(variable.quantile(np.array([0.5]))[0]))


def _union(name: str, known: Variable, asked: Variable) -> Variable:
    """The variable that covers both.

    Raises:
        UsageError: they are of different types.
    """
    if isinstance(known, Choice) or isinstance(asked, Choice):
        if (
            isinstance(known, Choice)
            and isinstance(asked, Choice)
            and (both := _levels(known, asked))
        ):
            return both
        if known != asked:
            raise UsageError(
                f"{name} was asked for with other choices before",
                "ask for the same choices in every trial, or give other names",
            )
        return known
    if type(known) is not type(asked) or known.log != asked.log:
        raise UsageError(
            f"{name} was asked for as another type before", "ask for it in the same way every time"
        )
    low, high = min(known.low, asked.low), max(known.high, asked.high)
    return type(known)(low, high, known.log)  # type: ignore[arg-type]


def _levels(known: Choice, asked: Choice) -> Choice | None:
    """The levels of both, where both are numbers in order (a range with a step)."""
    levels = {*known.levels, *asked.levels}
    numbers = [one for one in levels if isinstance(one, int | float) and not isinstance(one, bool)]
    if not (known.ordered and asked.ordered and len(numbers) == len(levels)):
        return None
    return Choice(tuple(sorted(numbers)), ordered=True)
