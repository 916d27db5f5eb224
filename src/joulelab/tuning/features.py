"""Search spaces as a Gaussian process sees them: warped, scaled to [0, 1], categories apart.

A number spanning two decades or more is seen on a logarithmic axis whether or not it is drawn so:
learning rates and widths act by their ratios. A number below 1, exclusive, is a share of memory,
such as Adam's beta1: it acts by the steps that it remembers, 1 / (1 - x), and is seen on a
logarithmic axis of these, up to `MOST_REMEMBERED`. Levels of an ordered choice are equally spaced.
Each level of an unordered choice has a column of its own, and two of them are a distance 1 apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from joulelab.tuning.space import Choice, Codes, Float, Int, SearchSpace

Array = NDArray[np.float64]

DECADES = 2
"""Bounds that are so many decades apart are seen on a logarithmic axis."""

MOST_REMEMBERED = 1000
"""Steps; a share of memory that remembers more is seen as this."""

ENUMERATED = 4096
"""A space of at most so many points is listed rather than sampled."""

CANDIDATES = 2000
"""Points drawn from the whole space for a proposal."""

NEIGHBOURS = 60
"""Points drawn around each of the best."""

_MOVES = 0.4
"""Probability that a variable changes in a neighbour."""

_SPREAD = 0.1
"""Standard deviation of a number's change, in units of its range."""

_LEAST_STEP = 0.75
"""The same at least for whole numbers and levels, so that they change at all."""


class Features:
    """The columns of a space, and candidates from it.

    Args:
        space: what is searched.

    Attributes:
        groups: for each column, the variable that it belongs to; (columns,).
        points: number of points of the space, or infinity.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._variables = list(space.variables.values())
        widths = [_columns(variable) for variable in self._variables]
        self.groups = np.repeat(np.arange(len(widths)), widths)
        self.points = math.prod(_levels(variable) for variable in self._variables)

    def __call__(self, codes: Codes) -> Array:
        """Points of the process, (points, columns), from codes, (points, variables)."""
        return np.concatenate(
            [_warp(variable, codes[:, v]) for v, variable in enumerate(self._variables)], axis=1
        )

    def candidates(self, around: Codes, generator: np.random.Generator) -> Codes:
        """Points to choose a proposal from.

        Args:
            around: codes of the best points so far, (best, variables).
            generator: source of all randomness.

        Returns:
            Codes, (candidates, variables): every point of a small space; else draws from the
            whole space, and neighbours of the best.
        """
        if self.points <= ENUMERATED:
            axes = [np.arange(_levels(v)) + _lowest(v) for v in self._variables]
            return np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1).astype(float)
        return np.concatenate(
            [
                self.draw(CANDIDATES, generator),
                *(self._neighbours(code, generator) for code in around),
            ]
        )

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes drawn evenly as the process sees the space, (count, variables).

        So of a learning rate from 1e-5 to 1e-1 not nine in ten are above 1e-2.
        """
        fractions = generator.random((count, len(self._variables)))
        columns = [_even(variable, fractions[:, v]) for v, variable in enumerate(self._variables)]
        return np.stack(columns, axis=1)

    def central(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes near the centre of the space, (count, variables)."""
        fresh = self.draw(count, generator)
        columns = [
            _near(variable, np.full(count, _middle(variable)), fresh[:, v], generator)
            for v, variable in enumerate(self._variables)
        ]
        return np.stack(columns, axis=1)

    def _neighbours(self, code: Codes, generator: np.random.Generator) -> Codes:
        neighbours = np.tile(code, (NEIGHBOURS, 1))
        fresh = self.draw(NEIGHBOURS, generator)
        for v, variable in enumerate(self._variables):
            moves = generator.random(NEIGHBOURS) < _MOVES
            neighbours[moves, v] = _near(variable, neighbours[:, v], fresh[:, v], generator)[moves]
        return neighbours


def _near(
    variable: Float | Int | Choice, codes: Array, fresh: Array, generator: np.random.Generator
) -> Array:
    """Codes near others of one variable; a fresh draw for an unordered choice."""
    steps = generator.normal(size=len(codes))
    if isinstance(variable, Choice) and not variable.ordered:
        return fresh
    low, high = _ends(variable)
    moved = _back(variable, _forth(variable, codes) + steps * _SPREAD * (high - low))
    if not isinstance(variable, Float):
        low, high = _bounds(variable)
        moved = np.where(np.rint(moved) == np.rint(codes), codes + steps * _LEAST_STEP, moved)
        return np.clip(np.rint(moved), low, high)
    return np.clip(moved, *variable.attained_bounds())


def logarithmic(variable: Float | Int | Choice) -> bool:
    """Whether a variable is seen on a logarithmic axis."""
    if isinstance(variable, Choice):
        return False
    wide = variable.low > 0 and variable.high / variable.low >= 10**DECADES
    return variable.log or wide


def remembering(variable: Float | Int | Choice) -> bool:
    """Whether a variable is a share of memory, from 0 or more to below 1."""
    if not isinstance(variable, Float) or logarithmic(variable):
        return False
    return variable.low >= 0 and variable.high == 1 and variable.high_exclusive


def _forth(variable: Float | Int | Choice, codes: Array) -> Array:
    """Codes on the axis on which a variable is seen."""
    if logarithmic(variable):
        return np.log(codes)
    if remembering(variable):
        return -np.log(1 - codes + 1 / MOST_REMEMBERED)
    return codes


def _back(variable: Float | Int | Choice, axis: Array) -> Array:
    """The inverse of `_forth`."""
    if logarithmic(variable):
        return np.exp(axis)
    if remembering(variable):
        return 1 + 1 / MOST_REMEMBERED - np.exp(-axis)
    return axis


def _ends(variable: Float | Int | Choice) -> tuple[float, float]:
    """The bounds on the axis."""
    low, high = _forth(variable, np.array(_bounds(variable)))
    return float(low), float(high)


def _warp(variable: Float | Int | Choice, codes: Array) -> Array:
    """Columns of one variable, (points, columns)."""
    if isinstance(variable, Choice) and not variable.ordered:
        # Two levels differ in two columns: sqrt(1/2 + 1/2) = 1.
        levels: Array = (codes[:, None] == np.arange(len(variable.levels))) / math.sqrt(2)
        return levels
    low, high = _ends(variable)
    column: Array = ((_forth(variable, codes) - low) / max(high - low, 1e-300))[:, None]
    return column


def _even(variable: Float | Int | Choice, fraction: Array) -> Array:
    """Codes at fractions of a variable's axis."""
    if remembering(variable) and isinstance(variable, Float):
        low, high = _ends(variable)
        axis = _back(variable, low + fraction * (high - low))
        return np.clip(axis, *variable.attained_bounds())
    if isinstance(variable, Choice) or not logarithmic(variable) or variable.log:
        return variable.quantile(fraction)
    even = type(variable)(**{**vars(variable), "log": True})
    return even.quantile(fraction)


def _middle(variable: Float | Int | Choice) -> float:
    return float(_back(variable, np.array(sum(_ends(variable)) / 2)))


def _bounds(variable: Float | Int | Choice) -> tuple[float, float]:
    if isinstance(variable, Choice):
        return 0.0, float(len(variable.levels) - 1)
    return float(variable.low), float(variable.high)


def _columns(variable: Float | Int | Choice) -> int:
    return len(variable.levels) if isinstance(variable, Choice) and not variable.ordered else 1


def _levels(variable: Float | Int | Choice) -> float:
    if isinstance(variable, Float):
        return math.inf
    return (
        len(variable.levels) if isinstance(variable, Choice) else variable.high - variable.low + 1
    )


def _lowest(variable: Float | Int | Choice) -> float:
    return variable.low if isinstance(variable, Int) else 0.0
