"""One variable of a search space: continuous, integer or categorical.

Each variable has a code, the float64 number that stands for a value in an array of points, and so
what a Gaussian process sees: the value itself for continuous and integer variables (unscaled, also
where `log` is set), the index of the choice for categorical ones.

`log` draws, and spaces the grid, uniformly in the logarithm of the value.

A variable is checked when it enters a `joulelab.tuning.space.SearchSpace`, which knows its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted

Value = float | int | str | bool
Codes = NDArray[np.float64]

_LARGEST_INTEGER = 2**53
"""Above this, float64 codes no longer tell neighbouring integers apart."""


@dataclass(frozen=True)
class Continuous:
    """A real number from `low` to `high`, uniform, or log-uniform with `log`.

    An exclusive bound is never drawn: the nearest float inside takes its place.
    """

    low: float
    high: float
    log: bool = False
    high_exclusive: bool = False
    low_exclusive: bool = False

    def check(self, name: str) -> None:
        """Raise a UsageError, with `name` and the bounds, where there is nothing to draw."""
        _check_bounds(name, self.low, self.high, whole=False)
        _check_switches(
            name, log=self.log, high_exclusive=self.high_exclusive, low_exclusive=self.low_exclusive
        )
        if self.log and self.low <= 0:
            raise _impossible(name, self.low, self.high, "log needs a low bound above 0")
        if not math.isfinite(float(self.high) - float(self.low)):
            raise _impossible(name, self.low, self.high, "the bounds are too far apart")
        lowest, highest = self.attained_bounds()
        if lowest > highest:
            raise _impossible(name, self.low, self.high, "no number lies between the bounds")

    def attained_bounds(self) -> tuple[float, float]:
        """The least and the greatest value that can be proposed.

        For an exclusive bound that is the nearest float inside it: 0.9999999999999999 for 1.
        """
        low, high = float(self.low), float(self.high)
        return (
            math.nextafter(low, math.inf) if self.low_exclusive else low,
            math.nextafter(high, -math.inf) if self.high_exclusive else high,
        )

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` values, drawn uniformly; shape (count,)."""
        fraction = generator.random(count)
        low, high = float(self.low), float(self.high)
        if self.log:
            codes = low ** (1 - fraction) * high**fraction
        else:
            codes = low + fraction * (high - low)
        return np.clip(codes, *self.attained_bounds())

    def decode(self, code: float) -> float:
        """The value that a code stands for."""
        return float(code)

    def encode(self, value: Value) -> float:
        """The code of a value."""
        return float(value)

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        lowest, highest = self.attained_bounds()
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        return is_number and lowest <= float(value) <= highest

    def grid(self, levels: int) -> tuple[float, ...]:
        """Equally spaced values ``low + i * (high - low) / levels``, i = 0 .. levels - 1.

        This is the rule of the code that Yarally et al. (CAIN 2023) published: the upper bound is
        left out. Where `low` is exclusive, it is left out too and the number of levels stays:
        ``low + i * (high - low) / (levels + 1)``, i = 1 .. levels. With `log`, the same on the
        logarithm.
        """
        steps = levels + 1 if self.low_exclusive else levels
        lowest, highest = self.attained_bounds()
        low, high = float(self.low), float(self.high)
        points = []
        for i in range(steps - levels, steps):
            if self.log:
                point = low ** (1 - i / steps) * high ** (i / steps)
            else:
                point = low + i * (high - low) / steps
            points.append(min(max(point, lowest), highest))
        return tuple(dict.fromkeys(points))


@dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False

    def check(self, name: str) -> None:
        """Raise a UsageError, with `name` and the bounds, where there is nothing to draw."""
        _check_bounds(name, self.low, self.high, whole=True)
        _check_switches(name, log=self.log)
        if self.log and self.low <= 0:
            raise _impossible(name, self.low, self.high, "log needs a low bound above 0")
        if max(abs(self.low), abs(self.high)) > _LARGEST_INTEGER:
            raise _impossible(name, self.low, self.high, f"at most {_LARGEST_INTEGER} in size")

    def attained_bounds(self) -> tuple[int, int]:
        """The least and the greatest value that can be proposed."""
        return self.low, self.high

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` values; shape (count,).

        Every integer is as likely as the others; with `log`, as the width of the interval from
        half below to half above it on the logarithmic axis.
        """
        if not self.log:
            return generator.integers(self.low, self.high, count, endpoint=True).astype(np.float64)
        fraction = generator.random(count)
        codes = np.rint((self.low - 0.5) ** (1 - fraction) * (self.high + 0.5) ** fraction)
        return np.clip(codes, self.low, self.high)

    def decode(self, code: float) -> int:
        """The value that a code stands for."""
        return round(float(code))

    def encode(self, value: Value) -> float:
        """The code of a value."""
        return float(value)

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and self.low <= int(value) <= self.high

    def grid(self, levels: int) -> tuple[int, ...]:
        """At most `levels` distinct values: all of them where there are no more.

        Otherwise ``floor(low + i * (high + 1 - low) / levels)``, i = 0 .. levels - 1; with `log`,
        the same on the logarithm, where neighbours may fall together.
        """
        count = self.high - self.low + 1
        if count <= levels:
            return tuple(range(self.low, self.high + 1))
        if not self.log:
            return tuple(self.low + i * count // levels for i in range(levels))
        # The small addend keeps 7.999999999999999 from becoming 7.
        points = (
            math.floor(self.low ** (1 - i / levels) * (self.high + 1) ** (i / levels) + 1e-9)
            for i in range(levels)
        )
        return tuple(dict.fromkeys(points))


@dataclass(frozen=True)
class Categorical:
    """One of several choices, each as likely as the others."""

    choices: Sequence[Value]

    def __post_init__(self) -> None:
        if isinstance(self.choices, list):
            object.__setattr__(self, "choices", tuple(self.choices))

    def check(self, name: str) -> None:
        """Raise a UsageError, with `name` and the choices, where they are none or not distinct."""
        if isinstance(self.choices, str) or not isinstance(self.choices, Sequence):
            raise UsageError(f"{name}: choices = {quoted(self.choices)} is no list", "give a list")
        if not self.choices:
            raise UsageError(f"{name}: choices is empty", "give at least one choice")
        for choice in self.choices:
            if not isinstance(choice, float | int | str) or _infinite(choice):
                raise UsageError(
                    f"{name}: {quoted(choice)} among the choices is not possible",
                    "a choice is a text, a finite number, or true or false",
                )
        if len({_identity(choice) for choice in self.choices}) < len(self.choices):
            raise UsageError(
                f"{name}: the choices {quoted(list(self.choices))} have duplicates",
                "give each once",
            )

    def attained_bounds(self) -> tuple[Value, ...]:
        """All choices."""
        return tuple(self.choices)

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` choices; shape (count,)."""
        return generator.integers(0, len(self.choices), count).astype(np.float64)

    def decode(self, code: float) -> Value:
        """The choice that a code stands for."""
        return self.choices[round(float(code))]

    def encode(self, value: Value) -> float:
        """The code of a choice, its index.

        Raises:
            UsageError: `value` is no choice.
        """
        for index, choice in enumerate(self.choices):
            if _identity(choice) == _identity(value):
                return float(index)
        raise UsageError(f"{quoted(value)} is none of the choices {quoted(list(self.choices))}")

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        return any(_identity(choice) == _identity(value) for choice in self.choices)

    def grid(self, levels: int) -> tuple[Value, ...]:
        """All choices, however many `levels` are asked for."""
        return tuple(self.choices)


Variable = Continuous | Integer | Categorical


def _check_bounds(name: str, low: float, high: float, *, whole: bool) -> None:
    kind = int if whole else float | int
    for key, bound in (("low", low), ("high", high)):
        if not isinstance(bound, kind) or isinstance(bound, bool) or _infinite(bound):
            raise UsageError(
                f"{name}: {key} = {quoted(bound)} is not possible",
                f"{key} must be a {'whole' if whole else 'finite'} number",
            )
    if low >= high:
        raise _impossible(name, low, high, "low must be below high")


def _check_switches(name: str, **switches: object) -> None:
    for key, value in switches.items():
        if not isinstance(value, bool):
            raise UsageError(
                f"{name}: {key} = {quoted(value)} is not possible", "write true or false"
            )


def _impossible(name: str, low: object, high: object, hint: str) -> UsageError:
    return UsageError(f"{name}: low = {quoted(low)}, high = {quoted(high)} is not possible", hint)


def _infinite(value: Value) -> bool:
    if isinstance(value, str):
        return False
    try:
        return not math.isfinite(value)
    except OverflowError:  # an int beyond the range of float64
        return True


def _identity(choice: Value) -> tuple[bool, Value]:
    """Tells true from 1, which Python holds equal."""
    return isinstance(choice, bool), choice
