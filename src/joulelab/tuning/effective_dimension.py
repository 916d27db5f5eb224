"""Random search on problems with few important variables, demonstrated with the strategies.

Bergstra and Bengio (JMLR 13, 2012), and Figure 9 of Yarally et al. (CAIN 2023): of three variables
only one matters, with a budget of 27 rounds::

    f(x) = exp(-((x1 - c) / 0.1)^2) + 0.01 (x2 + x3)        x1, x2, x3 between 0 and 1

The important variable is x1, with its optimum at c. A grid of three levels per variable tries three
values of it, random search twenty-seven.

Which of the two is closer to one optimum is chance. So besides the best response for a random c,
the mean of the best over optima along the whole axis is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.tuning.space import Float, SearchSpace
from joulelab.tuning.strategy import Grid, Random, Strategy

VARIABLES = ("x1", "x2", "x3")
LEVELS = 3
ROUNDS = LEVELS ** len(VARIABLES)
WIDTH = 0.1
WEAK = 0.01
OPTIMA = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """The trials of one strategy.

    Attributes:
        strategy: its name.
        points: (27, 3) in the order of the rounds; the first column matters.
        responses: (27,) values of f.
        distinct: number of tried values of the important variable.
        best: the highest response.
        mean_best: the same, as a mean over 1,000 places of the optimum.
    """

    strategy: str
    points: Floats
    responses: Floats
    distinct: int
    best: float
    mean_best: float


@dataclass(frozen=True)
class EffectiveDimension:
    """Grid and random search on a function of one effective dimension.

    Attributes:
        grid: trials of grid search.
        random: trials of random search.
        optimum: c, the best value of the important variable, 0 to 1.
    """

    grid: Search
    random: Search
    optimum: float

    def curve(self, x1: Floats) -> Floats:
        """Response over the important variable, the others at 0.5; the shape of `x1`."""
        return response(
            np.stack([x1, np.full_like(x1, 0.5), np.full_like(x1, 0.5)], -1), self.optimum
        )


def effective_dimension(seed: int = 0) -> EffectiveDimension:
    """Grid and random search, 27 rounds each, on f.

    Args:
        seed: of both strategies and of the optimum; 0 or more.

    >>> found = effective_dimension(seed=1)
    >>> found.grid.distinct, found.random.distinct
    (3, 27)
    """
    open_interval = Float(0.0, 1.0, low_exclusive=True, high_exclusive=True)
    space = SearchSpace(dict.fromkeys(VARIABLES, open_interval))
    optimum = float(np.random.default_rng(seed).random())
    return EffectiveDimension(
        _search("grid", Grid(space, seed, ROUNDS, LEVELS), optimum),
        _search("random", Random(space, seed, ROUNDS), optimum),
        optimum,
    )


def response(points: Floats, optimum: float) -> Floats:
    """Values of f at points.

    Args:
        points: (..., 3).
        optimum: c.

    Returns:
        (...,), at most 1.02.
    """
    weak: Floats = WEAK * points[..., 1:].sum(axis=-1)
    important: Floats = np.exp(-(((points[..., 0] - optimum) / WIDTH) ** 2))
    return important + weak


def _search(name: str, strategy: Strategy, optimum: float) -> Search:
    rows = []
    for number in range(strategy.rounds):
        values = strategy.propose(number)
        rows.append([float(values[variable]) for variable in VARIABLES])
        strategy.observe(number, values, float(response(np.array(rows[-1]), optimum)))
    points = np.array(rows)
    found = response(points, optimum)
    places = (np.arange(OPTIMA) + 0.5) / OPTIMA
    bests = [float(response(points, place).max()) for place in places]
    distinct = len(np.unique(points[:, 0]))
    return Search(name, points, found, distinct, float(found.max()), float(np.mean(bests)))
