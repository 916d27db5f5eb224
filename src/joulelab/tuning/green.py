"""Green tuning: the best score for the least cost, by expected improvement per predicted cost.

One Gaussian process models the score over the warped space, another the logarithm of the cost: of
the cost itself, or of its ratio to a cost known beforehand. Both are fitted. A proposal is the
candidate with the highest Pandora's box index (`joulelab.tuning.acquisition`) at a price

::

    lambda = b(n) max_x EI(x) / c(x),    b(n) = b_last^min(1, n / N)                  (equation 1)

after n evaluations. With b = 1 the index selects the highest EI per cost, the way to the cheapest
improvement. But a search by EI per cost alone stays with what is cheap even where all of it is
bad. As b falls, the price of a unit of cost falls with it, and the search turns to where the best
best score may be, whatever it costs: what cheap evaluations could tell has been told by then.

No evaluation is predicted to cost more than all before it, so that one alone cannot spend a budget;
what a search spends may double with it, and so it is soon at what is dear, if it has to be.

With two goals, the score and a second one of which less is better (an energy, or the cost itself),
what is dear is a part of what is sought. The improvement is that of the hypervolume of the front
(`joulelab.tuning.front`), with a process of the logarithm of the second goal. The index has no
closed form then; costs lose their weight as the exponent a of::

    max_x EHVI(x) / c(x)^a,    a = 1 - min(1, n / N)                              (equation 2)

Sources: EI per cost: Snoek, Larochelle and Adams, NeurIPS 2012; costs that lose their weight
(there as the budget is spent): Lee et al., "Cost-aware Bayesian optimization", arXiv 2003.10870.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.tuning import blas
from joulelab.tuning.acquisition import index, log_expected_improvement
from joulelab.tuning.features import Features
from joulelab.tuning.front import Front
from joulelab.tuning.gaussian_process import Prior
from joulelab.tuning.scaled_process import (
    ScaledProcess,
    standard_losses,
    standard_scores,
    standardised,
)
from joulelab.tuning.space import Codes, SearchSpace, Value
from joulelab.tuning.strategy import Strategy

Array = NDArray[np.float64]
Cost = Callable[[Mapping[str, Value]], float]

SCORE = Prior(length=0.5, length_spread=0.5, noise=math.exp(-2.0), noise_spread=1.0, local=0.8)
COST = Prior(length=1.5, noise=math.exp(-4.0), local=0.0)
"""Costs follow products of powers, which are straight lines in logarithms."""

LAST_WEIGHT = 0.1
"""b_last of equation 1."""

LAST_AT = 60
"""N of equations 1 and 2."""

BEYOND = math.log(2.0)
"""The reference of a front is so far beyond its highest second goal, in logarithms."""

BEST_KEPT = 3
"""Neighbours of so many best points are candidates."""

FIRST_DRAWN = 16
"""Draws around the centre, of which the first proposal is one."""

LEAST_COST_SPREAD = 0.5
LEAST_RATIO_SPREAD = 0.2
"""Standard deviation assumed at least: of the logarithm of the cost, and of its ratio to a cost
known beforehand."""


@dataclass(frozen=True)
class _Seen:
    """A finished round; NaN where the score, the cost or the second goal is unknown."""

    code: Codes
    score: float
    cost: float
    second: float


class Green(Strategy):
    """Expected improvement per predicted cost, with costs that lose their weight.

    Args:
        space: what is searched.
        seed: of the candidates.
        rounds: number of rounds; not used.
        cost: what is known beforehand, from values to a relative cost above 0.
        goals: 2 for a second one: what `measured` is told, or else the cost.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        rounds: int,
        cost: Cost | None = None,
        goals: int = 1,
    ) -> None:
        super().__init__(space, seed, rounds)
        self.cost = cost
        self.goals = goals
        self._features = Features(space)
        self._seen: dict[int, _Seen] = {}
        self._proposed: dict[int, Codes] = {}
        self._gain: dict[int, float] = {}
        least = LEAST_COST_SPREAD if cost is None else LEAST_RATIO_SPREAD
        groups = self._features.groups
        self._costs = ScaledProcess(groups, COST, partial(standardised, least=least))
        self._seconds = ScaledProcess(groups, COST, partial(standardised, least=LEAST_COST_SPREAD))
        self._scores = ScaledProcess(groups, SCORE, standard_scores, standard_losses)

    def propose(self, number: int) -> dict[str, Value]:
        """The candidate with the highest index, given the rounds before `number`."""
        if number not in self._proposed:
            with blas.one_thread():
                self._proposed[number] = self._next(number)
        return self.space.decode(self._proposed[number])

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Store the round; a score that is not finite counts as a failure."""
        known = math.nan if score is None or not math.isfinite(score) else float(score)
        cost = self.costs.get(number, math.nan)
        second = self.second_goals.get(number, math.nan)
        self._seen[number] = _Seen(self.space.encode(values), known, cost, second)

    def running(self, number: int, values: Mapping[str, Value]) -> None:
        """Record a round that has no score yet and was proposed by somebody else."""
        self._proposed[number] = self.space.encode(values)

    def expected_gain(self, number: int) -> float | None:
        """What round `number` may gain per unit of cost, in units of score; None before scores.

        It is the highest expected improvement per predicted cost of any candidate, in the units of
        the costs that were paid, or of the cost known beforehand, or 1 for every round.
        """
        self.propose(number)
        return self._gain.get(number)

    def _next(self, number: int) -> Codes:
        generator = self.generator(number)
        earlier = [self._seen[n] for n in sorted(self._seen) if n < number]
        if all(math.isnan(one.score) for one in earlier):
            return self._first(number, generator)
        ranked = sorted(earlier, key=lambda one: -math.inf if math.isnan(one.score) else one.score)
        codes = self._features.candidates(
            np.stack([one.code for one in ranked[-BEST_KEPT:]]), generator
        )
        codes = self._untried(codes, number)
        log_mean, log_std = self._predict_log_cost(earlier, codes)
        # The mean of a lognormal cost: where little is known, it may be dear.
        log_cost = log_mean + log_std**2 / 2
        if self.goals == 1:
            affordable = self._affordable(earlier, log_cost)
            codes, log_cost = codes[affordable], log_cost[affordable]
        mean, std, observed, unit = self._predict_score(earlier, number, codes)
        if self.goals > 1:
            log_second = self._predict_log_second(earlier, codes)
            reached = self._predict_log_second(earlier, np.stack([one.code for one in earlier]))
            front = front_of(reached, observed, max(reached.max(), log_second.max()))
            extent = front.end - reached.min()
            log_gain = front.log_gain(log_second, mean, std)
            self._gain[number] = unit * math.exp((log_gain - log_cost).max()) / extent
            weight = 1.0 - min(1.0, len(earlier) / LAST_AT)
            best: Codes = codes[np.argmax(log_gain - weight * log_cost)]
            return best
        log_gain = log_expected_improvement(mean, std, float(observed.max())) - log_cost
        self._gain[number] = unit * math.exp(log_gain.max())
        weight = LAST_WEIGHT ** min(1.0, len(earlier) / LAST_AT)
        log_price = log_gain.max() + math.log(weight) + log_cost
        chosen: Codes = codes[np.argmax(index(mean, std, log_price))]
        return chosen

    def _affordable(self, earlier: list[_Seen], log_cost: Array) -> NDArray[np.bool_]:
        """Candidates that cost no more than all rounds before; the cheapest if there is none."""
        spent = float(np.nansum([one.cost for one in earlier]))
        if spent <= 0:
            return np.full(len(log_cost), True)
        return log_cost <= max(math.log(spent), float(log_cost.min()))

    def _first(self, number: int, generator: np.random.Generator) -> Codes:
        """Near the centre, then anywhere: all before it failed, or have no score yet.

        Where costs are known beforehand, it is the cheapest of some draws, each time of fewer.
        """
        draws = max(1, FIRST_DRAWN >> number)
        draw = self._features.draw if number else self._features.central
        codes = self._untried(draw(draws, generator), number)
        cheapest: Codes = codes[np.argmin(self._known_log_cost(codes))]
        return cheapest

    def _untried(self, codes: Codes, number: int) -> Codes:
        """Candidates that were not proposed before; all of them where none is left."""
        tried = {tuple(self._proposed[n]) for n in self._proposed if n < number}
        tried |= {tuple(self._seen[n].code) for n in self._seen if n < number}
        fresh = np.array([tuple(code) not in tried for code in codes.tolist()], dtype=bool)
        return codes[fresh] if fresh.any() else codes

    def _known_log_cost(self, codes: Codes) -> Array:
        return known_log_cost(self.space, self.cost, codes)

    def _predict_log_cost(self, earlier: list[_Seen], codes: Codes) -> tuple[Array, Array]:
        """Mean and standard deviation of the logarithm of the cost of candidates."""
        known = self._known_log_cost(codes)
        paid = [one for one in earlier if not math.isnan(one.cost)]
        if not paid:
            return known, np.zeros(len(codes))
        points = np.stack([one.code for one in paid])
        logs = np.log([one.cost for one in paid]) - self._known_log_cost(points)
        process, (_, centre, unit, _) = self._costs.given(self._features(points), logs)
        mean, std = process.predict(self._features(codes))
        return known + centre + unit * mean, unit * std

    def _predict_log_second(self, earlier: list[_Seen], codes: Codes) -> Array:
        """Mean logarithm of the second goal, which is the cost where nothing else was told."""
        told = [one for one in earlier if not math.isnan(one.second)]
        if not told:
            return self._predict_log_cost(earlier, codes)[0]
        points = self._features(np.stack([one.code for one in told]))
        logs = np.log([one.second for one in told])
        process, (_, centre, unit, _) = self._seconds.given(points, logs)
        mean, _ = process.predict(self._features(codes))
        return centre + unit * mean

    def _predict_score(
        self, earlier: list[_Seen], number: int, codes: Codes
    ) -> tuple[Array, Array, Array, float]:
        """Mean and standard deviation at candidates, the means so far, and the unit."""
        points = np.stack([one.code for one in earlier])
        raw = np.array([one.score for one in earlier])
        process, (standard, _, unit, _) = self._scores.given(self._features(points), raw)
        observed, _ = process.predict(self._features(points))
        pending = [
            self._proposed[n] for n in sorted(self._proposed) if n < number and n not in self._seen
        ]
        if pending:
            # As if they had scored what is expected: so the next one goes elsewhere.
            waiting = self._features(np.stack(pending))
            guesses, _ = process.predict(waiting)
            process.condition(
                np.concatenate([self._features(points), waiting]),
                np.concatenate([standard, guesses]),
            )
        mean, std = process.predict(self._features(codes))
        return mean, std, observed, unit


def front_of(log_second: Array, score: Array, highest: float) -> Front:
    """The front of some points; its reference is their median score.

    Args:
        log_second: logarithm of their second goal, (points,).
        score: of them.
        highest: logarithm of the highest second goal that counts.
    """
    return Front.of(log_second, score, highest + BEYOND, float(np.median(score)))


def known_log_cost(space: SearchSpace, cost: Cost | None, codes: Codes) -> Array:
    """Logarithm of the cost known beforehand, 0 where nothing is known; (points,).

    Raises:
        UsageError: a cost that is not a finite number above 0.
    """
    if cost is None:
        return np.zeros(len(codes))
    costs: Array = np.array([float(cost(space.decode(code))) for code in codes])
    possible = np.isfinite(costs) & (costs > 0)
    if not possible.all():
        wrong = int(np.argmin(possible))
        raise UsageError(
            f"cost is {costs[wrong]:g} for {space.decode(codes[wrong])}",
            "return a finite cost above 0 for every point of the space",
        )
    logs: Array = np.log(costs)
    return logs
