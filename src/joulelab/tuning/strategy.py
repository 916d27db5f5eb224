"""The interface and registry of strategies, and strategies that ignore scores.

::

    strategy = strategies.get("random")(space, seed=7, rounds=64)
    for number in range(64):
        values = strategy.propose(number)          # {"learning_rate": 0.003, ...}
        strategy.observe(number, values, score)    # score: higher is better; None where it failed

A strategy draws random numbers for round r from a generator seeded by (seed, r), never from one
with state between rounds. So an interrupted study is resumed exactly by calling `observe` for the
stored rounds, in order, and then `propose` for the next.

Random search: Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13
(2012). Grid search: Yarally et al. (CAIN 2023, section IV-C) "first generate the complete search
space and then proceed to pick random samples from that space until we reach the desired amount of
optimisation rounds". `SearchSpace.grid` gives the values of each variable.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from joulelab.errors import UsageError
from joulelab.registry import Registry
from joulelab.tuning.space import SearchSpace, Value

LEVELS = 5
"""Values of a continuous variable on the grid of CAIN 2023."""

_SURPLUS_BYTES = 16


class Strategy(ABC):
    """Proposes hyperparameters for each round.

    Args:
        space: what is searched.
        seed: determines all randomness, with the number of the round; 0 or more.
        rounds: number of rounds.

    Attributes:
        proposes_ahead: whether proposals are independent of observations, so several rounds can be
            trained together.
        costs: of the rounds whose cost is known.
        second_goals: of the rounds whose second goal is known.
    """

    proposes_ahead: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, seed: int, rounds: int) -> None:
        self.space = space
        self.seed = seed
        self.rounds = rounds
        self.costs: dict[int, float] = {}
        self.second_goals: dict[int, float] = {}

    def generator(self, number: int) -> np.random.Generator:
        """A new generator for round `number`; it depends on the seed and that number alone."""
        return np.random.default_rng((self.seed, number))

    @property
    def most(self) -> int | None:
        """Number of rounds it can propose; ``None`` for any or an unknown number."""
        return None

    @abstractmethod
    def propose(self, number: int) -> dict[str, Value]:
        """The values for round `number`, counted from 0; the same on every call.

        Raises:
            UsageError: the strategy has no further proposals (an exhausted grid).
        """

    @abstractmethod
    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Record the score of a finished round; ``None`` if every repetition failed."""

    def paid(self, number: int, cost: float) -> None:
        """Record in `costs` what a round cost, before `observe`.

        Args:
            number: of the round.
            cost: in any unit, the same for all rounds; ignored unless finite and above 0.
        """
        if math.isfinite(cost) and cost > 0:
            self.costs[number] = float(cost)

    def measured(self, number: int, second: float) -> None:
        """Record the second goal of a round in `second_goals`, before `observe`.

        Args:
            number: of the round.
            second: lower is better; ignored unless finite and above 0.
        """
        if math.isfinite(second) and second > 0:
            self.second_goals[number] = float(second)


class _WithoutScores(Strategy):
    """Ignores scores."""

    proposes_ahead: ClassVar[bool] = True

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Ignore the score."""


class Random(_WithoutScores):
    """Uniform draws from the space (log-uniform for variables with `log`)."""

    def propose(self, number: int) -> dict[str, Value]:
        """A draw that depends only on the seed and the number of the round."""
        return self.space.decode(self.space.sample(1, self.generator(number))[0])


class QuasiRandom(_WithoutScores):
    """A scrambled Sobol sequence.

    Any 2^k consecutive rounds from a multiple of 2^k cover the space more evenly than independent
    draws (Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14, 1998).
    """

    def propose(self, number: int) -> dict[str, Value]:
        """Point `number` of the sequence that the seed determines."""
        from scipy.stats.qmc import Sobol

        sequence = Sobol(len(self.space.variables), rng=np.random.default_rng(self.seed))
        if number:
            sequence.fast_forward(number)
        return self.space.decode(self.space.quantile(sequence.random(1))[0])


class Grid(_WithoutScores):
    """The points of a grid in random order, each once.

    The order is a lazy Fisher-Yates shuffle of the N points: round r swaps position r with a
    position drawn from r .. N - 1, and only moved positions are stored. So a grid may have any
    number of points, and its first rounds do not depend on the number of rounds.

    Args:
        space: what is searched.
        seed: of the order.
        rounds: number of rounds; rounds beyond the size of the grid raise a UsageError when
            requested.
        levels: values of each variable on the grid.

    Attributes:
        size: number of points of the grid.
    """

    def __init__(self, space: SearchSpace, seed: int, rounds: int, levels: int = LEVELS) -> None:
        super().__init__(space, seed, rounds)
        self._axes = space.grid(levels)
        self.size = math.prod(len(axis) for axis in self._axes.values())
        self._order: list[int] = []
        self._moved: dict[int, int] = {}

    @property
    def most(self) -> int:
        """As many rounds as the grid has points."""
        return self.size

    def propose(self, number: int) -> dict[str, Value]:
        """The point at position `number` of the shuffled grid.

        Raises:
            UsageError: the grid is exhausted.
        """
        if number >= self.size:
            raise UsageError(
                f"the grid has {self.size} points, but round {number + 1} was requested",
                f"set rounds to at most {self.size}, or search more variables",
            )
        while len(self._order) <= number:
            self._order.append(self._swap(len(self._order)))
        return self._point(self._order[number])

    def _swap(self, place: int) -> int:
        """One step of the shuffle; returns the index at position `place`."""
        drawn = place + _below(self.size - place, self.generator(place))
        index = self._moved.pop(drawn, drawn)
        if drawn != place:
            self._moved[drawn] = self._moved.pop(place, place)
        return index

    def _point(self, index: int) -> dict[str, Value]:
        """The point with an index from 0 to size - 1; the last variable changes fastest."""
        values: dict[str, Value] = {}
        for name, axis in reversed(self._axes.items()):
            index, level = divmod(index, len(axis))
            values[name] = axis[level]
        return {name: values[name] for name in self._axes}


def _below(limit: int, generator: np.random.Generator) -> int:
    """A whole number from 0 to ``limit - 1``, uniform up to one part in 2**128.

    numpy's draws end at 2**63, less than a grid of 28 variables with 5 levels.
    """
    return int.from_bytes(generator.bytes(limit.bit_length() // 8 + _SURPLUS_BYTES)) % limit


strategies: Registry[type[Strategy]] = Registry(
    "strategy",
    "joulelab.strategies",
    {
        "grid": (
            "joulelab.tuning.strategy:Grid",
            "the points of a grid in random order, each once",
        ),
        "random": ("joulelab.tuning.strategy:Random", "uniform draws from the space"),
        "bayesian-pi": (
            "joulelab.tuning.bayesian:BayesianPI",
            "Gaussian process, highest probability of improvement among 10,000 candidates",
        ),
        "quasi-random": (
            "joulelab.tuning.strategy:QuasiRandom",
            "a scrambled Sobol sequence: covers the space more evenly than random draws",
        ),
        "green": (
            "joulelab.tuning.green:Green",
            "Gaussian processes, highest expected improvement per predicted cost",
        ),
        "tpe": (
            "joulelab.tuning.optuna_samplers:Tpe",
            "tree-structured Parzen estimator of Optuna, multivariate; needs joulelab[tune]",
        ),
        "gp": (
            "joulelab.tuning.optuna_samplers:GP",
            "Gaussian process of Optuna, expected improvement; needs joulelab[tune]",
        ),
        "cma-es": (
            "joulelab.tuning.optuna_samplers:CmaEs",
            "evolution strategy of Optuna; needs joulelab[tune]",
        ),
        "cfo": (
            "joulelab.tuning.cfo:Cfo",
            "local search of FLAML, from cheap values; needs joulelab[flaml]",
        ),
    },
)
