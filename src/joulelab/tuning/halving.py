"""Searches that train many trials for a few epochs, and continue the best of them.

Sources: successive halving: Jamieson and Talwalkar, AISTATS 2016; Hyperband: Li et al., JMLR 18
(2018), algorithm 1; ASHA: Li et al., MLSys 2020, algorithm 2; discarding after i epochs: Egele et
al., "The unreasonable effectiveness of early discarding after one epoch in neural network
hyperparameter optimization", Neurocomputing 597 (2024).
"""

from __future__ import annotations

import math

from joulelab.tuning.search import REDUCTION, Progress, Rungs, Step
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import Strategy


class Discarding(Rungs):
    """Trains every trial for one epoch, and every so often the best to the end.

    The baseline of Egele et al.: discard after one epoch all but the best `kept` of each `batch`.

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        strategy: proposes values; None for random draws.
        batch: trials of which the best are kept.
        kept: so many.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        epochs: int,
        strategy: Strategy | None = None,
        batch: int = 50,
        kept: int = 3,
    ) -> None:
        super().__init__(space, seed, epochs, strategy)
        self._batch = batch
        self._kept = kept
        self._queue: list[int] = []
        self._drawn = 0

    def _choose(self) -> Step | None:
        if not self._queue and self._drawn == self._batch:
            if self._pending:
                return None
            latest = [one for one in self.trials[-self._batch :] if not one.failed]
            latest.sort(key=_after_one_epoch, reverse=True)
            self._queue = [one.number for one in latest[: self._kept] if self.epochs > 1]
            self._drawn = 0
        if self._queue:
            return self._go_on(self.trials[self._queue.pop(0)], self.epochs)
        self._drawn += 1
        return self._new(1)


def _after_one_epoch(trial: Progress) -> float:
    score = trial.score(1)
    return -math.inf if score is None else score


class Hyperband(Rungs):
    """Brackets of successive halving, from many short trainings to few long ones, over and over.

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        strategy: proposes values; None for random draws.
        brackets: at most so many kinds of brackets; 1 is successive halving.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        epochs: int,
        strategy: Strategy | None = None,
        brackets: int | None = None,
    ) -> None:
        super().__init__(space, seed, epochs, strategy)
        self._kinds = min(brackets or len(self.rungs), len(self.rungs))
        self._bracket = -1
        self._rung = 0
        self._members: list[int] = []
        self._waiting = 0
        self._queue: list[int] = []

    def _choose(self) -> Step | None:
        if not self._waiting and not self._queue:
            if self._pending:
                return None
            self._advance()
        if self._waiting:
            self._waiting -= 1
            step = self._new(self.rungs[self._rung])
            self._members.append(step.trial)
            return step
        return self._go_on(self.trials[self._queue.pop(0)], self.rungs[self._rung])

    def _advance(self) -> None:
        """Go to the next rung with the best third, or to the next bracket."""
        at = self.rungs[self._rung]
        alive = [n for n in self._members if self.trials[n].score(at) is not None]
        alive = [n for n in alive if not self.trials[n].failed]
        alive.sort(key=lambda n: -(self.trials[n].score(at) or 0.0))
        kept = alive[: len(self._members) // REDUCTION]
        if kept and self._rung + 1 < len(self.rungs):
            self._rung += 1
            self._members, self._queue = list(kept), list(kept)
            return
        self._bracket += 1
        last = len(self.rungs) - 1
        longest = last - self._bracket % self._kinds  # s of the paper
        self._rung = last - longest
        self._members = []
        self._waiting = math.ceil((last + 1) * REDUCTION**longest / (longest + 1))


class SuccessiveHalving(Hyperband):
    """Brackets that begin with one epoch each: the best third goes on, up to the full training."""

    def __init__(
        self, space: SearchSpace, seed: int, epochs: int, strategy: Strategy | None = None
    ) -> None:
        super().__init__(space, seed, epochs, strategy, brackets=1)


class ASHA(Rungs):
    """Asynchronous successive halving: a trial goes on once it is in the best third of its rung."""

    def _choose(self) -> Step | None:
        for lower, upper in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            reached = [
                (score, -one.number)
                for one in self.trials
                if not one.failed and (score := one.score(lower)) is not None
            ]
            for _, negative in sorted(reached, reverse=True)[: len(reached) // REDUCTION]:
                trial = self.trials[-negative]
                if trial.epochs() == lower and (trial.number, 0) not in self._pending:
                    return self._go_on(trial, upper)
        return self._new(self.rungs[0])
