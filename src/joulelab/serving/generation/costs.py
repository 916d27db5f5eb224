"""Measured costs of tokens by batch and length: seconds, joules above idle, idle power.

    p(b, l)  a prefill of b prompts of l tokens
    s(b, c)  a step of b sequences with caches of c tokens
    P_0      idle power in watts

Both are seconds or joules, measured on a grid and bilinear between its points::

    s(b, c) = (1 - u) (1 - v) s(b_0, c_0) + u (1 - v) s(b_1, c_0)
              + (1 - u) v s(b_0, c_1) + u v s(b_1, c_1)        u, v: place of b and c in the cell

There is no extrapolation in the batch size. A length beyond the grid by no more than the steps of
one measurement has the cost of the nearest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from joulelab.errors import UsageError

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class TokenGrid:
    """Time and energy of one kind of work by batch size and length.

    Args:
        batches: measured batch sizes, ascending, at least one.
        lengths: measured lengths in tokens, ascending, at least one.
        seconds: (batches, lengths).
        joules: (batches, lengths) above idle; ``None`` where unknown.

    Raises:
        UsageError: the shapes differ, or a number is impossible.
    """

    batches: tuple[int, ...]
    lengths: tuple[float, ...]
    seconds: Rows
    joules: Rows | None = None

    def __post_init__(self) -> None:
        for name, axis in (("batches", self.batches), ("lengths", self.lengths)):
            rising = all(a < b for a, b in pairwise(axis))
            _require(bool(axis) and rising and axis[0] >= 1, f"{name} must increase from 1")
        shape = (len(self.batches), len(self.lengths))
        for name, values, least in (("seconds", self.seconds, 0.0), ("joules", self.joules, None)):
            if values is None:
                continue
            same = len(values) == shape[0] and all(len(row) == shape[1] for row in values)
            _require(same, f"{name} are not of {shape[0]} batches and {shape[1]} lengths")
            array = np.array(values, float)
            _require(bool(np.isfinite(array).all()), f"one of the {name} is not finite")
            _require(array.min() >= 0 and array.min() != least, f"{name} of {array.min():g}")

    def seconds_of(self, batch: int, length: float) -> float:
        """Seconds of the work.

        Raises:
            UsageError: the batch size is outside the measured range.
        """
        return self._at(self.seconds, batch, length)

    def joules_of(self, batch: int, length: float) -> float | None:
        """Joules of the work above idle; ``None`` where unknown.

        Raises:
            UsageError: the batch size is outside the measured range.
        """
        return None if self.joules is None else self._at(self.joules, batch, length)

    def _at(self, values: Rows, batch: int, length: float) -> float:
        if not self.batches[0] <= batch <= self.batches[-1]:
            raise UsageError(
                f"no measured costs for {batch} sequences together: {self.batches[0]} to "
                f"{self.batches[-1]} were measured",
                f"measure more, or decode at most {self.batches[-1]} together",
            )
        row, u = _place(self.batches, batch)
        column, v = _place(self.lengths, length)
        next_row, next_column = row + (u > 0), column + (v > 0)
        first, last = values[row], values[next_row]
        near = (1 - u) * first[column] + u * last[column]
        far = (1 - u) * first[next_column] + u * last[next_column]
        return (1 - v) * near + v * far


@dataclass(frozen=True)
class TokenCosts:
    """Costs of prefills and of steps.

    Attributes:
        prefill: by batch and length of the prompts.
        step: by batch and length of the caches.
        idle_w: power of the idle server in watts; ``None`` where unknown.
    """

    prefill: TokenGrid
    step: TokenGrid
    idle_w: float | None = None

    @property
    def batches(self) -> tuple[int, ...]:
        """The measured batch sizes."""
        return self.step.batches

    @property
    def energy_known(self) -> bool:
        """Whether both have joules."""
        return self.prefill.joules is not None and self.step.joules is not None


def _place(axis: Sequence[float], value: float) -> tuple[int, float]:
    """The point of an axis before a value, and how far the value is to the next, from 0 to 1."""
    inside = min(max(value, axis[0]), axis[-1])
    at = bisect_right(axis, inside) - 1
    if at == len(axis) - 1 or inside == axis[at]:
        return at, 0.0
    return at, (inside - axis[at]) / (axis[at + 1] - axis[at])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(f"costs of tokens: {message}", "give measured costs of each size")
