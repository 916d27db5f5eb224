"""Searches: which trial is trained next, and how far.

::

    search = make_search("asha", space, seed=0, epochs=25)
    while steps := search.next(most=8):              # trained together where the engine can
        for step in steps:
            search.observe(step, scores, cost)       # a score after each epoch of the step
    trial, score = search.best()

With two goals, the second is told with every step, as of a full training of its values. ``green``
seeks the front of both (`joulelab.tuning.front`); all others seek the score.

A *strategy* proposes values (`joulelab.tuning.strategy`); a search also decides about epochs. It is
determined by its seed and what it observed: an interrupted search is resumed by asking for the
same steps again, and observing the stored results.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from joulelab.errors import UsageError
from joulelab.registry import Registry
from joulelab.tuning.front import knee
from joulelab.tuning.racing import Race
from joulelab.tuning.space import SearchSpace, Value
from joulelab.tuning.strategy import Strategy, strategies

Cost = Callable[[Mapping[str, Value]], float]

REDUCTION = 3
"""eta: one of so many trials goes on."""


@dataclass(frozen=True)
class Step:
    """Epochs of one training.

    Attributes:
        trial: number of the trial, from 0.
        values: of the trial.
        repetition: number of the training of this trial, from 0; each has its own seed.
        start: epochs that it has been trained before.
        end: epochs that it will have been trained.
    """

    trial: int
    values: Mapping[str, Value]
    repetition: int
    start: int
    end: int


@dataclass
class Progress:
    """What is known about a trial.

    Attributes:
        number: of the trial, from 0.
        values: of the trial.
        scores: for each repetition a score after every epoch; higher is better, NaN if none.
        failed: a step ended without scores.
        seconds: the second goal of a full training, as each step has shown it, and the epochs of
            the step; lower is better.
    """

    number: int
    values: Mapping[str, Value]
    scores: dict[int, list[float]] = field(default_factory=dict)
    failed: bool = False
    seconds: list[tuple[float, int]] = field(default_factory=list)

    @property
    def second(self) -> float | None:
        """The second goal: the mean over the epochs of all steps; None where unknown."""
        epochs = sum(count for _, count in self.seconds)
        return sum(one * count for one, count in self.seconds) / epochs if epochs else None

    def epochs(self, repetition: int = 0) -> int:
        """Epochs of a repetition."""
        return len(self.scores.get(repetition, ()))

    def score(self, epoch: int) -> float | None:
        """Mean score after an epoch, over the repetitions that reached it; None if none did."""
        reached = [one[epoch - 1] for one in self.scores.values() if len(one) >= epoch]
        finite = [score for score in reached if math.isfinite(score)]
        return sum(finite) / len(finite) if finite else None


class Search(ABC):
    """Decides on steps.

    Args:
        space: what is searched.
        seed: determines the search, with what it observes; 0 or more.
        epochs: of a full training.

    Attributes:
        trials: all trials that have been begun.
    """

    def __init__(self, space: SearchSpace, seed: int, epochs: int) -> None:
        self.space = space
        self.seed = seed
        self.epochs = epochs
        self.trials: list[Progress] = []
        self._pending: dict[tuple[int, int], Step] = {}
        self._left: float | None = None

    @abstractmethod
    def _choose(self) -> Step | None:
        """The next step, given what was observed and what is pending; None to wait for results."""

    def next(self, most: int = 1, left: float | None = None) -> list[Step]:
        """Steps to train next.

        Args:
            most: at most so many; they may be trained together.
            left: what may still be spent, in the unit of the costs that are told; None for no
                limit.

        Returns:
            No step if there is none before pending ones are observed, or none at all.
        """
        steps: list[Step] = []
        self._left = left
        while len(steps) < most and (step := self._choose()) is not None:
            self._pending[step.trial, step.repetition] = step
            steps.append(step)
        return steps

    def observe(
        self,
        step: Step,
        scores: Sequence[float] | None,
        cost: float | None,
        second: float | None = None,
    ) -> None:
        """Record the result of a step.

        Args:
            step: from `next`.
            scores: after each of its epochs, higher is better; None for a failed training, and
                fewer where it ended early.
            cost: of the step, in any unit, the same for all; None where it is unknown.
            second: the second goal of a full training, above 0, lower is better; None where it is
                unknown.
        """
        del self._pending[step.trial, step.repetition]
        trial = self.trials[step.trial]
        if scores is None or not len(scores):
            trial.failed = True
        else:
            trial.scores.setdefault(step.repetition, []).extend(float(one) for one in scores)
            trial.failed |= len(scores) < step.end - step.start
        if second is not None and not (math.isfinite(second) and second > 0):
            second = None
        if second is not None:
            trial.seconds.append((second, step.end - step.start))
        self._observed(step, cost, second)

    def _observed(  # noqa: B027
        self, step: Step, cost: float | None, second: float | None
    ) -> None:
        """Learn from a step; `trials` has its scores already."""

    def substitute(self, step: Step, values: Mapping[str, Value]) -> None:
        """Record that a new trial has other values than those proposed.

        Args:
            step: the first of the trial, from `next`; not observed yet.
            values: that are trained instead.
        """
        self.trials[step.trial].values = dict(values)

    def add(
        self,
        values: Mapping[str, Value],
        scores: Sequence[Sequence[float]],
        cost: float | None = None,
        second: float | None = None,
    ) -> None:
        """Record a trial that this search has not proposed; it may propose to go on with it.

        Args:
            values: of the trial.
            scores: for each repetition a score after every epoch; none for a failed trial.
            cost: of all its epochs, as for `observe`.
            second: as for `observe`.
        """
        epochs = sum(map(len, scores))
        step = self._begin(values, len(scores[0]) if scores else 1)
        trial = self.trials[step.trial]
        for repetition, one in enumerate(scores or [()]):
            if repetition:
                step = self._go_on(trial, len(one), repetition)
            self._pending[step.trial, step.repetition] = step
            share = None if cost is None else cost * len(one) / epochs if epochs else cost
            self.observe(step, one or None, share, second)

    @property
    def expected_gain(self) -> float | None:
        """What the next step may gain per unit of cost, in units of score; None where unknown."""
        return None

    def best(self) -> tuple[Progress, float] | None:
        """The best trial and its score: of those trained furthest, that with the highest mean.

        Trials with a failed step do not count.
        """
        for epoch in range(self.epochs, 0, -1):
            reached = [(one, one.score(epoch)) for one in self.trials if not one.failed]
            scored = [(one, score) for one, score in reached if score is not None]
            if scored:
                return max(scored, key=lambda pair: pair[1])
        return None

    def knee(self) -> tuple[Progress, float] | None:
        """The trial at the knee of the front (`joulelab.tuning.front.knee`), and its score.

        None with a short front, or without a second goal. Only trials that were trained to the end
        count.
        """
        found = [
            (one, score, one.second)
            for one in self.trials
            if not one.failed and (score := one.score(self.epochs)) is not None and one.second
        ]
        at = knee(np.array([one[2] for one in found]), np.array([one[1] for one in found]))
        return None if at is None else found[at][:2]

    def _begin(self, values: Mapping[str, Value], end: int) -> Step:
        trial = Progress(len(self.trials), values)
        self.trials.append(trial)
        return Step(trial.number, values, 0, 0, end)

    def _go_on(self, trial: Progress, end: int, repetition: int = 0) -> Step:
        return Step(trial.number, trial.values, repetition, trial.epochs(repetition), end)


class Rungs(Search):
    """A search that compares trials at rungs: after 1, eta, eta^2, ... epochs, and the last.

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        strategy: proposes the values of new trials; None for random draws.
    """

    def __init__(
        self, space: SearchSpace, seed: int, epochs: int, strategy: Strategy | None = None
    ) -> None:
        super().__init__(space, seed, epochs)
        self._strategy = strategy or strategies.get("random")(space, seed=seed, rounds=0)
        self.rungs = rungs(epochs)

    def _new(self, end: int) -> Step:
        return self._begin(self._strategy.propose(len(self.trials)), end)

    def _observed(self, step: Step, cost: float | None, second: float | None) -> None:
        trial = self.trials[step.trial]
        if cost is not None:
            self._strategy.paid(step.trial, cost)
        if trial.second is not None:
            self._strategy.measured(step.trial, trial.second)
        score = trial.score(trial.epochs()) if trial.epochs() and not trial.failed else None
        self._strategy.observe(step.trial, trial.values, score)


def rungs(epochs: int) -> tuple[int, ...]:
    """Epochs after which trials are compared.

    >>> rungs(25), rungs(3), rungs(1)
    ((1, 3, 9, 25), (1, 3), (1,))
    """
    inner = []
    epoch = 1
    # The last inner rung is not right below the end.
    while epoch * 2 <= epochs:
        inner.append(epoch)
        epoch *= REDUCTION
    return (*inner, epochs)


class FullTraining(Rungs):
    """Trains every trial to the end; with several seeds, those that may win with each (`Race`).

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        strategy: proposes values; None for random draws.
        seeds: most trainings of a trial.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        epochs: int,
        strategy: Strategy | None = None,
        seeds: int = 1,
    ) -> None:
        super().__init__(space, seed, epochs, strategy)
        self._race = Race(seeds)
        self._racing: dict[int, float] = {}

    @property
    def expected_gain(self) -> float | None:
        """What the strategy expects of its next proposal, where it does."""
        expected = getattr(self._strategy, "expected_gain", None)
        return None if expected is None else expected(len(self.trials))

    @property
    def exhausted(self) -> bool:
        """Whether the strategy has no further proposals."""
        return self._strategy.most is not None and len(self.trials) >= self._strategy.most

    def best(self) -> tuple[Progress, float] | None:
        """The leader of the race and its mean; before that, the trial with the highest score."""
        if self._race.leader is None:
            return super().best()
        trial = self.trials[self._race.leader]
        return trial, trial.score(self.epochs) or 0.0

    def _choose(self) -> Step | None:
        waiting = {trial for trial, _ in self._pending}
        for number in self._racing:
            if number not in waiting:
                trial = self.trials[number]
                return self._go_on(trial, self.epochs, len(trial.scores))
        return None if self.exhausted else self._new(self.epochs)

    def _observed(self, step: Step, cost: float | None, second: float | None) -> None:
        trial = self.trials[step.trial]
        paid = self._racing.pop(step.trial, 0.0)
        whole = math.nan if cost is None else paid + cost
        scores = [one[-1] for one in trial.scores.values()]
        lost = trial.failed or not all(map(math.isfinite, scores))
        if not lost and self._race.goes_on(step.trial, scores):
            self._racing[step.trial] = whole
            return
        if not lost:
            self._race.ended(step.trial, scores)
        # The strategy hears of a trial once: its mean, and what a training of it costs.
        each = whole / max(len(scores), 1) if math.isfinite(whole) else None
        super()._observed(step, each, second)


searches: Registry[type[Search]] = Registry(
    "search",
    "joulelab.searches",
    {
        "green": (
            "joulelab.tuning.freeze_thaw:FreezeThaw",
            "many trainings begun, few finished: the step with the highest expected gain per cost",
        ),
        "discard": (
            "joulelab.tuning.halving:Discarding",
            "every trial for one epoch, the best of 50 to the end",
        ),
        "halving": (
            "joulelab.tuning.halving:SuccessiveHalving",
            "successive halving: the best third of a bracket goes on",
        ),
        "hyperband": (
            "joulelab.tuning.halving:Hyperband",
            "brackets of successive halving, from short to long trainings",
        ),
        "asha": (
            "joulelab.tuning.halving:ASHA",
            "asynchronous successive halving",
        ),
        "syne-tune-asha": (
            "joulelab.tuning.syne_tune_asha:SyneTuneASHA",
            "stopping ASHA of Syne Tune; needs joulelab[syne-tune]",
        ),
    },
)


def make_search(
    name: str,
    space: SearchSpace,
    seed: int,
    epochs: int = 1,
    cost: Cost | None = None,
    seeds: int | None = None,
    goals: int = 1,
) -> Search:
    """A search by the name of a search, or of a strategy that trains every trial to the end.

    Args:
        name: registered, of a search or a strategy. With a single epoch, ``green`` is the strategy.
        space: what is searched.
        seed: determines the search.
        epochs: of a full training; 1 if trainings report no more than one score.
        cost: what is known beforehand, from values to a relative cost of an epoch.
        seeds: most trainings of a trial, each with its own seed; default: the search's own.
        goals: 2 for a second one; a search that does not know of it seeks the score.

    Raises:
        UsageError: an unknown name; several seeds for a search that trains a trial only once.
    """
    if name in searches.names() and (epochs > 1 or name not in strategies.names()):
        maker: Callable[..., Search] = searches.get(name)
        check_seeds(name, seeds)
        return maker(space, seed, epochs, **taken(maker, cost=cost, goals=goals, seeds=seeds))
    make_strategy = strategies.get(name)
    strategy = make_strategy(
        space, seed=seed, rounds=0, **taken(make_strategy, cost=cost, goals=goals)
    )
    return FullTraining(space, seed, epochs, strategy, seeds or 1)


def check_seeds(name: str, seeds: int | None) -> None:
    """Check that a search can train a trial with so many seeds.

    Raises:
        UsageError: it trains every trial only once.
    """
    if seeds and seeds > 1 and name in searches.names() and not _takes(searches.get(name), "seeds"):
        raise UsageError(
            f"{name} trains every trial with one seed, not with {seeds}",
            "choose green, or a strategy that trains every trial to the end",
        )


def taken(maker: Callable[..., object], **given: object) -> dict[str, Any]:
    """Those of the given arguments that a search or a strategy takes."""
    return {name: one for name, one in given.items() if one is not None and _takes(maker, name)}


def _takes(maker: Callable[..., object], name: str) -> bool:
    return name in inspect.signature(maker).parameters
