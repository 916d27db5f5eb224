"""Green tuning over epochs: many trainings begun, few finished, and few repeated.

Trainings are frozen after some epochs, and thawed while they may still win. One Gaussian process
models the score over values and u = log(epoch) / log(E) in [0, 1], E the epochs of a full training:
the final score, and a part that fades (`joulelab.tuning.gaussian_process`, equation 2), since a
small learning rate begins slowly and may still end best. Another models the cost of an epoch. A
score after e < E epochs counts with the mean gain that trials which went on had from e to E.

A possible step takes a new, a frozen or a finished trial (then with another seed) to a rung. It
pays by changing the mean at E of its trial. With mu that mean, b the best mean of another trial,
s the standard deviation of the change, and h of `joulelab.tuning.acquisition`::

    gain = s h(-|mu - b| / s)                                                    (equation 1)

the expected gain in the best mean: either the trial overtakes, or it no longer deserves the lead.
For the candidates with the highest means, the gain of training to the end, per cost of all that is
left, counts if it is higher: a first step may tell little and still lead to something.
Every step is judged by the same equation, so seeds are added by a race: to the leader and to those
that may still beat it. The step with the highest gain per predicted cost is taken.

With two goals, the gain is that of the hypervolume of the front (`joulelab.tuning.front`): the sum
of equation 1 over the segments of the front of all other trials, b the level of each. The second
goal is known after an epoch, and predicted before. But a front consists of finished trials, and a
mean may be known long before: so a step also counts as a part of the way to the end, and its value
is the larger of the two::

    max(gain / cost of the step, EHVI on the front of finished trials / cost to the end)
                                                                                 (equation 2)

Only a finished trial can be chosen in the end. So near the end of a budget the trials that cannot
be finished any more are left alone.

Sources: freeze-thaw: Swersky, Snoek and Adams, arXiv 1406.3896. Equation 1 is the knowledge
gradient of a single alternative: Frazier, Powell and Dayanik, INFORMS J. Computing 21 (2009),
equation 14.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from joulelab.tuning import blas
from joulelab.tuning.acquisition import log_expected_improvement
from joulelab.tuning.features import Features
from joulelab.tuning.front import Front
from joulelab.tuning.gaussian_process import GaussianProcess
from joulelab.tuning.green import (
    BEST_KEPT,
    COST,
    LEAST_COST_SPREAD,
    SCORE,
    Cost,
    front_of,
    known_log_cost,
)
from joulelab.tuning.scaled_process import (
    Scaled,
    ScaledProcess,
    standard_losses,
    standard_scores,
    standardised,
)
from joulelab.tuning.search import Progress, Search, Step, rungs
from joulelab.tuning.space import Codes, SearchSpace, Value

Array = NDArray[np.float64]

NEAR = 100
"""So many candidates with the highest means are asked what a whole training would tell."""

USUAL = 0.9
"""Gaps to the best score are compressed above that which so many are below. After an epoch most
scores are low: on a finer scale slow starters would seem to be far from those that are fast."""

SEEDS = 8
"""Most trainings of a trial, unless told."""


@dataclass(frozen=True)
class _Options:
    """Possible steps: rows of arrays, and the steps of the trials that exist.

    Attributes:
        codes: of the values.
        ends: epoch at the end of each step.
        epochs: of each step.
        left: the same to the end of the training.
        trials: trial and repetition of each step; None for a new trial.
    """

    codes: Codes
    ends: NDArray[np.intp]
    epochs: NDArray[np.intp]
    left: NDArray[np.intp]
    trials: list[tuple[Progress, int] | None]


class FreezeThaw(Search):
    """The step with the highest expected gain per predicted cost.

    Args:
        space: what is searched.
        seed: determines the search.
        epochs: of a full training.
        cost: what is known beforehand, from values to a relative cost of an epoch.
        seeds: most trainings of a trial.
        goals: 2 for a second one.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        epochs: int,
        cost: Cost | None = None,
        seeds: int = SEEDS,
        goals: int = 1,
    ) -> None:
        super().__init__(space, seed, epochs)
        self._most_seeds = seeds
        self.cost = cost
        self.goals = goals
        self.rungs = rungs(epochs)
        self._features = Features(space)
        groups = self._features.groups
        self._costs = ScaledProcess(groups, COST, partial(standardised, least=LEAST_COST_SPREAD))
        self._seconds = ScaledProcess(groups, COST, partial(standardised, least=LEAST_COST_SPREAD))
        self._scores = ScaledProcess(
            groups,
            SCORE,
            partial(standard_scores, share=USUAL),
            partial(standard_losses, share=USUAL),
        )
        self._codes: list[Codes] = []
        self._paid: list[tuple[int, float]] = []
        self._shown: list[tuple[int, float]] = []
        self._asked = 0
        self._gain: float | None = None

    def best(self) -> tuple[Progress, float] | None:
        """The finished trial with the highest predicted mean, and its mean score."""
        if not (finished := self._finished()):
            return super().best()
        with blas.one_thread():
            process, _ = self._process([])
            means, _ = process.predict(self._at_end([self._codes[one.number] for one in finished]))
        trial = finished[int(np.argmax(means))]
        return trial, trial.score(self.epochs) or 0.0

    def _choose(self) -> Step | None:
        generator = np.random.default_rng((self.seed, self._asked))
        self._asked += 1
        with blas.one_thread():
            if not any(math.isfinite(score) for _, _, score in self._observations()):
                return self._start(self._features.central(1, generator)[0])
            return self._most_valuable(generator)

    @property
    def expected_gain(self) -> float | None:
        """That of the step that was chosen last."""
        return self._gain

    def _start(self, code: Codes) -> Step:
        return self._begin(self.space.decode(code), self.rungs[0])

    def _begin(self, values: Mapping[str, Value], end: int) -> Step:
        self._codes.append(self.space.encode(values))
        return super()._begin(values, end)

    def substitute(self, step: Step, values: Mapping[str, Value]) -> None:
        """Record that a new trial has other values than those proposed."""
        super().substitute(step, values)
        self._codes[step.trial] = self.space.encode(values)

    def _observed(self, step: Step, cost: float | None, second: float | None) -> None:
        if second is not None:
            self._shown.append((step.trial, second))
        if cost is not None and math.isfinite(cost) and cost > 0:
            self._paid.append((step.trial, cost / (step.end - step.start)))

    def _most_valuable(self, generator: np.random.Generator) -> Step | None:
        options = self._options(generator)
        if not len(options.ends):
            return None  # every point was tried, and has all its seeds
        process, scaled = self._process(list(self._pending.values()))
        target = self._at_end(list(options.codes))
        mean, change = process.lookahead(target, self._columns(options.codes, options.ends))
        log_cost = self._log_cost(options.codes) + np.log(options.epochs)
        extent = 1.0
        if self.goals > 1:
            extent, log_gain = self._front_gain(process, mean, change, options, log_cost)
        else:
            gap = self._gap(process, mean, options)
            log_gain = log_expected_improvement(-gap, change, 0.0) - log_cost
            # A first epoch tells little by itself: what the whole training tells counts too.
            near = np.argsort(mean)[-NEAR:]
            _, whole = process.lookahead(target[near], target[near])
            more = np.log(options.left[near] / options.epochs[near])
            to_end = log_expected_improvement(-gap[near], whole, 0.0) - log_cost[near] - more
            log_gain[near] = np.maximum(log_gain[near], to_end)
        fits = self._fits(options, log_cost)
        if fits.any():
            log_gain = np.where(fits, log_gain, -np.inf)
        elif self._finished():
            return None
        chosen = int(np.argmax(log_gain))
        self._gain = scaled.unit * math.exp(log_gain.max()) / extent
        known = options.trials[chosen]
        if known is None:
            return self._start(options.codes[chosen])
        trial, repetition = known
        return self._go_on(trial, int(options.ends[chosen]), repetition)

    def _options(self, generator: np.random.Generator) -> _Options:
        ranked = sorted(self.trials, key=self._latest)
        around = np.stack([self._codes[one.number] for one in ranked[-BEST_KEPT:]])
        fresh = self._features.candidates(around, generator)
        tried = {tuple(code) for code in self._codes}
        untried = np.array([tuple(code) not in tried for code in fresh.tolist()], dtype=bool)
        fresh = fresh[untried]
        steps = [
            (trial, repetition, end)
            for trial in self.trials
            if not trial.failed
            for repetition, end in self._next_rungs(trial)
        ]
        known = np.array([self._codes[trial.number] for trial, _, _ in steps]).reshape(
            len(steps), fresh.shape[1]
        )
        ends = [end for _, _, end in steps]
        starts = [trial.epochs(repetition) for trial, repetition, _ in steps]
        first = [self.rungs[0]] * len(fresh)
        return _Options(
            np.concatenate([known, fresh]),
            np.array(ends + first),
            np.array([end - start for end, start in zip(ends, starts, strict=True)] + first),
            self.epochs - np.array(starts + [0] * len(first)),
            [(trial, repetition) for trial, repetition, _ in steps] + [None] * len(fresh),
        )

    def _fits(self, options: _Options, log_cost: Array) -> NDArray[np.bool_]:
        """Whether what is left to spend takes each trial to the end, within one epoch.

        Args:
            options: the possible steps.
            log_cost: logarithm of the predicted cost of each.
        """
        if self._left is None or not self._paid:
            return np.ones(len(options.ends), dtype=bool)
        waiting = list(self._pending.values())
        left = self._left
        if waiting:
            epochs = [step.end - step.start for step in waiting]
            codes = np.stack([self._codes[step.trial] for step in waiting])
            left -= float(np.exp(self._log_cost(codes)) @ epochs)
        fits: NDArray[np.bool_] = np.exp(log_cost) / options.epochs * (options.left - 1) <= left
        return fits

    def _finished(self) -> list[Progress]:
        reached = [one for one in self.trials if one.score(self.epochs) is not None]
        return [one for one in reached if not one.failed]

    def _next_rungs(self, trial: Progress) -> list[tuple[int, int]]:
        """Repetition and end of the step that a trial can take, if any."""
        if any(number == trial.number for number, _ in self._pending):
            return []
        latest = max(trial.scores, default=0)
        done = trial.epochs(latest)
        if done < self.epochs:
            return [(latest, next(rung for rung in self.rungs if rung > done))]
        if latest + 1 < self._most_seeds:
            return [(latest + 1, self.epochs)]
        return []

    def _latest(self, trial: Progress) -> float:
        score = trial.score(trial.epochs()) if trial.epochs() else None
        return -math.inf if score is None else score + self._lift(trial.epochs())

    def _observations(self) -> list[tuple[int, int, float]]:
        """Trial, epoch and score at each rung reached; NaN for a failure."""
        found = []
        for trial in self.trials:
            for scores in trial.scores.values():
                found += [
                    (trial.number, rung, scores[rung - 1])
                    for rung in self.rungs
                    if rung <= len(scores)
                ]
            if trial.failed and not trial.scores:
                found.append((trial.number, self.rungs[0], math.nan))
        return found

    def _lift(self, epoch: int) -> float:
        """Mean gain from a rung to the last one, of the trials that went on."""
        whole = 0.0
        for lower, upper in zip(self.rungs, self.rungs[1:], strict=False):
            if lower < epoch:
                continue
            gains = [
                scores[upper - 1] - scores[lower - 1]
                for trial in self.trials
                for scores in trial.scores.values()
                if len(scores) >= upper
            ]
            finite = [gain for gain in gains if math.isfinite(gain)]
            whole += sum(finite) / len(finite) if finite else 0.0
        return whole

    def _process(self, pending: list[Step]) -> tuple[GaussianProcess, Scaled]:
        seen = self._observations()
        lift = {rung: self._lift(rung) for rung in self.rungs}
        points = self._columns(
            np.stack([self._codes[trial] for trial, _, _ in seen]),
            np.array([epoch for _, epoch, _ in seen]),
        )
        values = np.array([score + lift[epoch] for _, epoch, score in seen])
        process, scaled = self._scores.given(points, values)
        if pending:
            # As if they had scored what is expected, so that the next step is another one.
            waiting = self._columns(
                np.stack([self._codes[step.trial] for step in pending]),
                np.array([step.end for step in pending]),
            )
            guesses, _ = process.predict(waiting)
            process.condition(
                np.concatenate([points, waiting]), np.concatenate([scaled.values, guesses])
            )
        return process, scaled

    def _gap(self, process: GaussianProcess, mean: Array, options: _Options) -> Array:
        """Distance of each mean from the best mean of another trial."""
        means, _ = process.predict(self._at_end(self._codes))
        order = np.argsort(means)
        best, second = means[order[-1]], means[order[-2]] if len(order) > 1 else -np.inf
        other = np.array(
            [
                second if known is not None and known[0].number == order[-1] else best
                for known in options.trials
            ]
        )
        other = np.where(np.isfinite(other), other, mean)
        gaps: Array = np.abs(mean - other)
        # A new trial that is expected to be the best gains all that.
        fresh = np.array([known is None for known in options.trials])
        return np.where(fresh, other - mean, gaps)

    def _front_gain(
        self,
        process: GaussianProcess,
        mean: Array,
        change: Array,
        options: _Options,
        log_cost: Array,
    ) -> tuple[float, Array]:
        """The extent of the front, and the logarithm of the gain of each step per cost."""
        means, _ = process.predict(self._at_end(self._codes))
        of_trials = self._log_second(np.stack(self._codes))
        log_second = self._log_second(options.codes)
        front = front_of(of_trials, means, max(float(of_trials.max()), float(log_second.max())))
        least = float(front.levels[0])
        numbers = np.array([-1 if one is None else one[0].number for one in options.trials])
        # What is learned: of new trials, of others, and of those that are on the front.
        log_gain = np.where(
            numbers < 0,
            front.log_gain(log_second, mean, change),
            front.log_change(log_second, mean, change),
        )
        for member in front.members:
            mine = numbers == member
            others = np.delete(of_trials, member), np.delete(means, member)
            log_gain[mine] = Front.of(*others, front.end, least).log_change(
                log_second[mine], mean[mine], change[mine]
            )
        # What is reached at the end, by those that are not there yet; as if pending ones were, so
        # that the next step is not for a similar trial.
        waiting = {trial for trial, _ in self._pending}
        ended = [
            one.number
            for one in self.trials
            if one.number in waiting or one.score(self.epochs) is not None
        ]
        finished = Front.of(of_trials[ended], means[ended], front.end, least)
        _, std = process.predict(self._at_end(list(options.codes)))
        to_end = log_cost + np.log(options.left / options.epochs)
        reached = finished.log_gain(log_second, mean, std) - to_end
        reached[np.isin(numbers, ended)] = -np.inf
        return front.end - float(of_trials.min()), np.maximum(log_gain - log_cost, reached)

    def _log_second(self, codes: Codes) -> Array:
        """Predicted logarithm of the second goal."""
        if not self._shown:
            return np.zeros(len(codes))
        points = self._features(np.stack([self._codes[trial] for trial, _ in self._shown]))
        logs = np.log([second for _, second in self._shown])
        process, (_, centre, unit, _) = self._seconds.given(points, logs)
        mean, _ = process.predict(self._features(codes))
        return centre + unit * mean

    def _log_cost(self, codes: Codes) -> Array:
        """Logarithm of the expected cost of an epoch."""
        known = known_log_cost(self.space, self.cost, codes)
        if not self._paid:
            return known
        points = np.stack([self._codes[trial] for trial, _ in self._paid])
        logs = np.log([cost for _, cost in self._paid])
        logs -= known_log_cost(self.space, self.cost, points)
        process, (_, centre, unit, _) = self._costs.given(self._features(points), logs)
        mean, std = process.predict(self._features(codes))
        return known + centre + unit * mean + (unit * std) ** 2 / 2

    def _at_end(self, codes: list[Codes]) -> Array:
        return self._columns(np.stack(codes), np.full(len(codes), self.epochs))

    def _columns(self, codes: Codes, epochs: NDArray[np.intp]) -> Array:
        share = np.log(epochs) / math.log(self.epochs)
        return np.concatenate([self._features(codes), share[:, None]], axis=1)
