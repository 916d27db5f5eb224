"""Search spaces as a Gaussian process sees them: warped, scaled to [0, 1], categories apart.

A number spanning two decades or more is seen on a logarithmic axis whether or not it is drawn so:
learning rates and widths act by their ratios. A number below 1, exclusive, is a share of memory,
such as Adam's beta1: it acts by the steps that it remembers, 1 / (1 - x), and is seen on a
logarithmic axis of these, up to `MOST_REMEMBERED`. A number from 0 on may be a penalty such as
weight decay, which acts by its ratios, or a share such as dropout, which does not: it has a column
for each axis, and the fitted lengths say which of them matters. Levels of an ordered choice are
equally spaced. Each level of an unordered choice has a column of its own, and two of them are a
distance 1 apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.tuning.space import Choice, Codes, Float, Int, SearchSpace, Variable

Array = NDArray[np.float64]

DECADES = 2
"""Bounds that are so many decades apart are seen on a logarithmic axis."""

MOST_REMEMBERED = 1000
"""Steps; a share of memory that remembers more is seen as this."""

SMALLEST = 1 / 1000
"""Share of the upper bound; on the logarithmic axis of a number from 0 on, less is seen as this."""

HIGHEST_PENALTY = 0.1
"""A search begins with a small value of a number from 0 to at most this, else with the middle."""

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
        groups: for each column, the number of its length, from 0; (columns,).
        points: number of points of the space, or infinity.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._variables = list(space.variables.values())
        widths = [width for variable in self._variables for width in _widths(variable)]
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


@dataclass(frozen=True)
class _Axis:
    """sign log(offset + sign x), or x itself where the sign is 0."""

    sign: int = 0
    offset: float = 0.0

    def forth(self, codes: Array) -> Array:
        """Codes on this axis."""
        return self.sign * np.log(self.offset + self.sign * codes) if self.sign else codes

    def back(self, places: Array) -> Array:
        """The inverse of `forth`."""
        return self.sign * (np.exp(self.sign * places) - self.offset) if self.sign else places

    def ends(self, variable: Variable) -> tuple[float, float]:
        """The bounds of a variable on this axis."""
        low, high = self.forth(np.array(_bounds(variable)))
        return float(low), float(high)


_LINEAR = _Axis()
_RATIOS = _Axis(1)
_MEMORY = _Axis(-1, 1 + 1 / MOST_REMEMBERED)


def _axes(variable: Variable) -> tuple[_Axis, ...]:
    """The axes on which a variable is seen."""
    if isinstance(variable, Choice):
        return (_LINEAR,)
    wide = variable.low > 0 and variable.high / variable.low >= 10**DECADES
    if variable.log or wide:
        return (_RATIOS,)
    if isinstance(variable, Float) and variable.low >= 0:
        if variable.high == 1 and variable.high_exclusive:
            return (_MEMORY,)
        if variable.low == 0:
            return (_LINEAR, _Axis(1, variable.high * SMALLEST))
    return (_LINEAR,)


def _near(variable: Variable, codes: Array, fresh: Array, generator: np.random.Generator) -> Array:
    """Codes near others of one variable, on one of its axes; fresh ones of an unordered choice."""
    steps = generator.normal(size=len(codes))
    if isinstance(variable, Choice) and not variable.ordered:
        return fresh
    axes = _axes(variable)
    moves = []
    for axis in axes:
        low, high = axis.ends(variable)
        moves.append(axis.back(axis.forth(codes) + steps * _SPREAD * (high - low)))
    chosen = generator.integers(len(axes), size=len(codes)) if len(axes) > 1 else 0
    moved = np.where(chosen == 0, moves[0], moves[-1])
    if not isinstance(variable, Float):
        low, high = _bounds(variable)
        moved = np.where(np.rint(moved) == np.rint(codes), codes + steps * _LEAST_STEP, moved)
        return np.clip(np.rint(moved), low, high)
    return np.clip(moved, *variable.attained_bounds())


def _warp(variable: Variable, codes: Array) -> Array:
    """Columns of one variable, (points, columns)."""
    if isinstance(variable, Choice) and not variable.ordered:
        # Two levels differ in two columns: sqrt(1/2 + 1/2) = 1.
        levels: Array = (codes[:, None] == np.arange(len(variable.levels))) / math.sqrt(2)
        return levels
    columns = []
    for axis in _axes(variable):
        low, high = axis.ends(variable)
        columns.append((axis.forth(codes) - low) / max(high - low, 1e-300))
    return np.stack(columns, axis=1)


def _even(variable: Variable, fraction: Array) -> Array:
    """Codes at fractions of a variable's axis; with two axes, half of them on each."""
    axes = _axes(variable)
    if len(axes) > 1:
        halves = (_on(axis, variable, fraction * 2 % 1) for axis in axes)
        return np.where(fraction < 1 / 2, *halves)
    return _on(axes[0], variable, fraction)


def _on(axis: _Axis, variable: Variable, fraction: Array) -> Array:
    if isinstance(variable, Choice) or axis == _LINEAR or variable.log:
        return variable.quantile(fraction)
    if axis == _RATIOS:
        return type(variable)(**{**vars(variable), "log": True}).quantile(fraction)
    low, high = axis.ends(variable)
    return np.clip(axis.back(low + fraction * (high - low)), *variable.attained_bounds())


def _middle(variable: Variable) -> float:
    """The centre of a variable's axis; of two axes the logarithmic one for what may be a penalty.

    From the lowest end of many variables a search learns little about what is above.
    """
    first, *others = _axes(variable)
    axis = others[0] if others and _bounds(variable)[1] <= HIGHEST_PENALTY else first
    return float(axis.back(np.array(sum(axis.ends(variable)) / 2)))


def _bounds(variable: Variable) -> tuple[float, float]:
    if isinstance(variable, Choice):
        return 0.0, float(len(variable.levels) - 1)
    return float(variable.low), float(variable.high)


def _widths(variable: Variable) -> list[int]:
    """For each length that a variable has, the number of its columns."""
    if isinstance(variable, Choice) and not variable.ordered:
        return [len(variable.levels)]
    return [1] * len(_axes(variable))


def _levels(variable: Variable) -> float:
    if isinstance(variable, Float):
        return math.inf
    return (
        len(variable.levels) if isinstance(variable, Choice) else variable.high - variable.low + 1
    )


def _lowest(variable: Variable) -> float:
    return variable.low if isinstance(variable, Int) else 0.0
