"""Grid search over part of a grid: its points in random order, none twice.

Yarally et al. (CAIN 2023, section IV-C) "first generate the complete search space and then proceed
to pick random samples from that space until we reach the desired amount of optimisation rounds".
`joulelab.tuning.space.SearchSpace.grid` says which values each variable takes.

The order is that of a Fisher-Yates shuffle of the N points, of which only the part that was asked
for is carried out and only the places that it moved are kept: round r swaps place r with a place
drawn from r .. N - 1. So a grid may have any number of points, and its first rounds are the same
however many rounds there will be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from joulelab.errors import UsageError
from joulelab.tuning.space import SearchSpace, Value
from joulelab.tuning.strategy import Strategy

LEVELS = 5
"""Values of a continuous variable on the grid of CAIN 2023."""

_SURPLUS_BYTES = 16


class Grid(Strategy):
    """A grid's points in random order, each once.

    Args:
        space: what is searched.
        seed: of the order.
        rounds: how many there will be; more than the grid has points end in a UsageError when
            the first of them is asked for.
        levels: values of each variable on the grid.

    Attributes:
        size: number of points of the grid.
    """

    proposes_ahead: ClassVar[bool] = True

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
                f"the grid has {self.size} points and round {number + 1} was asked for",
                f"set rounds to {self.size} at most, or search more variables",
            )
        while len(self._order) <= number:
            self._order.append(self._swap(len(self._order)))
        return self._point(self._order[number])

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Nothing is learnt from a score."""

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
