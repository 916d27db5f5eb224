"""What a strategy is, the registry of strategies, and those that learn nothing from scores.

::

    strategy = strategies.get("random")(space, seed=7, rounds=64)
    for number in range(64):
        values = strategy.propose(number)          # {"learning_rate": 0.003, ...}
        strategy.observe(number, values, score)    # score: higher is better; None where it failed

A strategy draws what it needs for round r from a generator seeded by (seed, r), never from one
that carries state from round to round. So an interrupted study is resumed exactly by calling
`observe` for the stored rounds, in order, and then `propose` for the next.

Random search: Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13
(2012). Grid search: Yarally et al. (CAIN 2023, section IV-C) "first generate the complete search
space and then proceed to pick random samples from that space until we reach the desired amount of
optimisation rounds". `SearchSpace.grid` says which values each variable takes.
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
    """Proposes a set of hyperparameters for each round.

    Args:
        space: what is searched.
        seed: all randomness follows from it and the number of the round; 0 or more.
        rounds: how many rounds there will be.

    Attributes:
        proposes_ahead: no proposal depends on what was observed, so that several rounds can be
            trained together.
    """

    proposes_ahead: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, seed: int, rounds: int) -> None:
        self.space = space
        self.seed = seed
        self.rounds = rounds

    def generator(self, number: int) -> np.random.Generator:
        """A new generator for round `number`; it depends on the seed and that number alone."""
        return np.random.default_rng((self.seed, number))

    @property
    def most(self) -> int | None:
        """How many rounds it can propose; ``None`` for any number, or where that is not known."""
        return None

    @abstractmethod
    def propose(self, number: int) -> dict[str, Value]:
        """The values for round `number`, counted from 0; the same on every call.

        Raises:
            UsageError: the strategy has no further proposal (a grid that is used up).
        """

    @abstractmethod
    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Take note of the score of a finished round; ``None`` where every repetition failed."""


class _WithoutScores(Strategy):
    """Learns nothing from scores."""

    proposes_ahead: ClassVar[bool] = True

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Scores change nothing."""


class Random(_WithoutScores):
    """Uniform draws from the space (log-uniform where a variable says so)."""

    def propose(self, number: int) -> dict[str, Value]:
        """A draw that depends on the seed and the number of the round alone."""
        return self.space.decode(self.space.sample(1, self.generator(number))[0])


class Grid(_WithoutScores):
    """A grid's points in random order, each once.

    The order is a Fisher-Yates shuffle of the N points, of which only the part that is asked for is
    carried out and only the places that it moved are kept: round r swaps place r with a place drawn
    from r .. N - 1. So a grid may have any number of points, and its first rounds are the same
    however many rounds there will be.

    Args:
        space: what is searched.
        seed: of the order.
        rounds: how many there will be; more than the grid has points end in a UsageError when
            the first of them is asked for.
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
        """The point at place `number` of the shuffled grid.

        Raises:
            UsageError: the grid is used up.
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
        """Carry out one step of the shuffle; the index that comes to rest at `place`."""
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
    """A whole number from 0 to ``limit - 1``, each as likely but for one part in 2**128.

    numpy's own draws end at 2**63, and 28 variables of 5 levels are more points than that.
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
    },
)
