"""The interface of a strategy, and the registry of strategies.

::

    strategy = strategies.get("random")(space, seed=7, rounds=64)
    for number in range(64):
        values = strategy.propose(number)          # {"learning_rate": 0.003, ...}
        strategy.observe(number, values, score)    # score: higher is better; None where it failed

A strategy draws what it needs for round r from a generator seeded by (seed, r), never from one
that carries state from round to round. So an interrupted study is resumed exactly by calling
`observe` for the stored rounds, in order, and then `propose` for the next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from joulelab.registry import Registry
from joulelab.tuning.space import SearchSpace, Value


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


strategies: Registry[type[Strategy]] = Registry(
    "strategy",
    "joulelab.strategies",
    {
        "grid": ("joulelab.tuning.grid_search:Grid", "a grid's points in random order, each once"),
        "random": ("joulelab.tuning.random_search:Random", "uniform draws from the space"),
        "bayesian-pi": (
            "joulelab.tuning.bayesian:BayesianPI",
            "Gaussian process, highest probability of improvement among 10,000 candidates",
        ),
    },
)
