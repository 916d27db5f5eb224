"""CFO of FLAML, for comparison: a local search that begins with what is cheap.

From the incumbent x, with step d and a random unit vector u over the scaled variables::

    x + d u, then x - d u: the first that scores higher is the next incumbent

The step shrinks while neither does; a search that has converged restarts from a point at random.
Where a cost is known beforehand, the search begins at the cheapest values of the variables that
determine it, so costs rise only as scores do; otherwise it begins at a random point.

Source: Wu, Wang and Huang, "Frugal optimization for cost-related hyperparameters", AAAI 2021.

FLAML's searcher has a state. It is rebuilt from the observed rounds, with the same seed.
"""
# ruff: noqa: ANN401 - FLAML is optional: its types are not known here

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulelab.optional import optional
from joulelab.tuning.space import Choice, Float, SearchSpace, Value, Variable
from joulelab.tuning.strategy import Strategy

Cost = Callable[[Mapping[str, Value]], float]

LEVELS = 5
"""Values of a number at which the known cost is compared."""

NOTICEABLE = 0.01
"""A variable determines the cost if its values change it by this share."""

MOST_REFUSALS = 1000
"""Suggestions in succession that were made before; then the next values are a uniform draw."""


@dataclass(frozen=True)
class _Seen:
    number: int
    parameters: Mapping[str, float]
    score: float | None
    cost: float


class Cfo(Strategy):
    """Local search from cheap values, by FLAML.

    Args:
        space: what is searched.
        seed: of the directions.
        rounds: number of rounds; not used.
        cost: what is known beforehand, from values to a relative cost above 0.
    """

    def __init__(
        self, space: SearchSpace, seed: int, rounds: int, cost: Cost | None = None
    ) -> None:
        super().__init__(space, seed, rounds)
        self._flaml = _flaml()
        self._variables = {n: v for n, v in space.variables.items() if not _single(v)}
        self._start = {} if cost is None else _cheapest(space, self._variables, cost)
        self._seen: dict[int, _Seen] = {}
        self._proposed: dict[int, dict[str, float]] = {}
        self._searcher: Any = None
        self._told: list[_Seen] = []
        self._open: int | None = None

    def propose(self, number: int) -> dict[str, Value]:
        """The next step of the local search, given the rounds before `number`."""
        if number not in self._proposed:
            self._proposed[number] = self._ask(number)
        parameters = self._proposed[number]
        code = [parameters.get(name, _only(v)) for name, v in self.space.variables.items()]
        return self.space.decode(code)

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Store the round; a score that is not finite counts as a failure."""
        known = None if score is None or not math.isfinite(score) else float(score)
        codes = dict(zip(self.space.variables, self.space.encode(values), strict=True))
        parameters = {name: _parameter(v, codes[name]) for name, v in self._variables.items()}
        self._seen[number] = _Seen(number, parameters, known, self.costs.get(number, 1.0))

    def _ask(self, number: int) -> dict[str, float]:
        seen = [self._seen[n] for n in sorted(self._seen) if n < number]
        pending = [n for n in sorted(self._proposed) if n < number and n not in self._seen]
        if not self._variables:
            return {}
        if not self._continued_by(seen):
            self._searcher, self._told, self._open = self._new_searcher(), [], None
        for one in seen[len(self._told) :]:
            self._tell(one)
        for running in pending:
            self._suggest(running)
        proposed = self._suggest(number)
        self._open = number
        if pending:
            self._searcher = None
        return proposed

    def _continued_by(self, seen: list[_Seen]) -> bool:
        """Whether the present search becomes the one of `seen` if rounds are added to it."""
        if self._searcher is None or seen[: len(self._told)] != self._told:
            return False
        rest = seen[len(self._told) :]
        return self._open is None or (bool(rest) and rest[0].number == self._open)

    def _tell(self, one: _Seen) -> None:
        trial = str(one.number)
        if self._open is None:
            self._suggest(one.number)
        self._open = None
        result = {"config": dict(one.parameters), "score": one.score, "cost": one.cost}
        thread = self._searcher._search_thread_pool.get(
            self._searcher._trial_proposed_by.get(trial)
        )
        steps = getattr(getattr(thread, "_search_alg", None), "_configs", {})
        if trial in steps:  # other values were tried if several rounds were asked for at once
            steps[trial] = (dict(one.parameters), steps[trial][1])
        signature = self._searcher._ls.config_signature(result["config"])
        self._searcher._result.setdefault(signature, {})
        if one.score is None:
            self._searcher.on_trial_complete(trial, {}, error=True)
        else:
            self._searcher.on_trial_complete(trial, result)
        self._told.append(one)

    def _suggest(self, number: int) -> dict[str, float]:
        for _ in range(MOST_REFUSALS):
            config = self._searcher.suggest(str(number))
            if config is not None:
                return {name: _parameter(v, config[name]) for name, v in self._variables.items()}
        drawn = self.space.sample(1, self.generator(number))[0]
        codes = dict(zip(self.space.variables, drawn, strict=True))
        return {name: _parameter(v, codes[name]) for name, v in self._variables.items()}

    def _new_searcher(self) -> Any:
        return self._flaml.CFO(
            metric="score",
            mode="max",
            space={name: _domain(v, self._flaml.tune) for name, v in self._variables.items()},
            low_cost_partial_config=dict(self._start),
            seed=int(self.generator(0).integers(2**31)),
            cost_attr="cost",
        )


def _flaml() -> Any:
    with warnings.catch_warnings():
        # FLAML warns that its other part, training without parameters, is not installed.
        warnings.filterwarnings("ignore", "flaml.automl is not available", UserWarning)
        return optional("flaml", "the strategy 'cfo'")


def _domain(variable: Variable, tune: Any) -> Any:
    if isinstance(variable, Choice):
        levels = len(variable.levels)
        if variable.ordered:
            return tune.randint(0, levels)
        return tune.choice(list(range(levels)), order=False)
    low, high = variable.attained_bounds()
    if isinstance(variable, Float):
        return (tune.loguniform if variable.log else tune.uniform)(low, high)
    return (tune.lograndint if variable.log else tune.randint)(low, high + 1)


def _single(variable: Variable) -> bool:
    if isinstance(variable, Choice):
        return len(variable.levels) == 1
    low, high = variable.attained_bounds()
    return low == high


def _only(variable: Variable) -> float:
    return 0.0 if isinstance(variable, Choice) else float(variable.attained_bounds()[0])


def _parameter(variable: Variable, number: float) -> float:
    """A parameter of FLAML, which is the code of a value, within its bounds."""
    if isinstance(variable, Choice):
        return round(float(number))
    low, high = variable.attained_bounds()
    within = min(max(float(number), low), high)
    return within if isinstance(variable, Float) else round(within)


def _cheapest(
    space: SearchSpace, variables: Mapping[str, Variable], cost: Cost
) -> dict[str, float]:
    """The cheapest parameter of each variable that determines the cost, others at the centre."""
    fractions = np.full((1, len(space.variables)), 0.5)
    centre = dict(zip(space.variables, space.quantile(fractions)[0], strict=True))
    cheapest = {}
    for name, variable in variables.items():
        if isinstance(variable, Choice):
            codes = np.arange(len(variable.levels), dtype=float)
        else:
            codes = np.unique(variable.quantile(np.linspace(0, 1, LEVELS)))
        costs = [float(cost(space.decode(list({**centre, name: code}.values())))) for code in codes]
        if max(costs) > (1 + NOTICEABLE) * min(costs):
            cheapest[name] = _parameter(variable, codes[int(np.argmin(costs))])
    return cheapest
