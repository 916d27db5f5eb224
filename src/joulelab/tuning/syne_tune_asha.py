"""ASHA of Syne Tune, for comparison: a training goes on unless it is in the worse part of its rung.

The stopping rule: a training that reaches a rung after others stops there unless its rank among
the n that have been there, itself included, is at most n / 3; the first one goes on. Nothing that
has stopped is continued later, other than with ``asha``. Values are drawn as for all searches;
Syne Tune's own draws cannot be seeded apart from NumPy's global generator.

Sources: Li et al., MLSys 2020, of which this is the stopping variant; Syne Tune: Salinas et al.,
AutoML 2022.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from joulelab.optional import optional
from joulelab.tuning.search import REDUCTION, Progress, Rungs, Step
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import Strategy

SCORE, EPOCH = "score", "epoch"


class SyneTuneASHA(Rungs):
    """Asynchronous successive halving that stops trainings, by Syne Tune.

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        strategy: proposes values; None for random draws.

    Raises:
        MissingDependencyError: Syne Tune is not installed.
    """

    def __init__(
        self, space: SearchSpace, seed: int, epochs: int, strategy: Strategy | None = None
    ) -> None:
        super().__init__(space, seed, epochs, strategy)
        user = "the strategy 'syne-tune-asha'"
        schedulers = optional("syne_tune.optimizer.schedulers.asha", user)
        self._trial: Any = optional("syne_tune.backend.trial_status", user).Trial
        self._scheduler: Any = schedulers.AsynchronousSuccessiveHalving(
            config_space={},
            metric=SCORE,
            do_minimize=False,
            time_attr=EPOCH,
            max_t=epochs,
            reduction_factor=REDUCTION,
            random_seed=seed % 2**31,
        )
        bracket = self._scheduler.brackets[0]
        self._ends = sorted({*(int(level) for level, _ in bracket.rungs), epochs})
        self._going: list[int] = []

    def _choose(self) -> Step | None:
        for number in self._going:
            if (number, 0) not in self._pending:
                trial = self.trials[number]
                return self._go_on(trial, next(one for one in self._ends if one > trial.epochs()))
        return self._new(self._ends[0])

    def _observed(self, step: Step, cost: float | None, second: float | None) -> None:
        super()._observed(step, cost, second)
        trial = self.trials[step.trial]
        if step.trial in self._going:
            self._going.remove(step.trial)
        if self._goes_on(trial, step):
            self._going.append(step.trial)

    def _goes_on(self, trial: Progress, step: Step) -> bool:
        """What Syne Tune decides after the epochs of a step."""
        known = self._trial(trial.number, {}, datetime.now(UTC))
        # As its `on_trial_add` does, which draws from NumPy's global generator.
        self._scheduler.trial_info.setdefault(trial.number, self._scheduler.brackets[0])
        scores = trial.scores.get(0, [])[step.start :]
        if trial.failed or not all(map(math.isfinite, scores)):
            self._scheduler.on_trial_error(known)
            return False
        decisions = [
            self._scheduler.on_trial_result(known, {SCORE: score, EPOCH: step.start + number})
            for number, score in enumerate(scores, 1)
        ]
        return "STOP" not in decisions
