"""Search spaces: named variables in order.

::

    space = SearchSpace({"learning_rate": Float(1e-5, 1e-1), "beta1": Float(0.1, 1.0,
                         high_exclusive=True)})
    points = space.sample(10_000, generator)      # (10000, 2), float64
    values = space.decode(points[0])              # {"learning_rate": 0.03, "beta1": 0.7}

Points are rows of codes: column j belongs to the j-th variable and holds the plain, unscaled value
of a `Float` or `Int` (also where `log` is set), or the index of the level of a `Choice`. With
`log`, draws and grid are uniform in the logarithm of the value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted, suggestion

Value = float | int | str | bool
Codes = NDArray[np.float64]

_LARGEST_INTEGER = 2**53
"""Above this, float64 codes cannot represent neighbouring integers."""


@dataclass(frozen=True)
class _Bounded:
    """A number from `low` to `high`; its code is the number itself."""

    low: float
    high: float
    log: bool = False

    def check(self, name: str) -> None:
        """Raise a UsageError with `name` and the bounds if the range is empty."""
        kind = int if isinstance(self, Int) else float | int
        for key, bound in (("low", self.low), ("high", self.high)):
            if not isinstance(bound, kind) or isinstance(bound, bool) or _infinite(bound):
                raise UsageError(
                    f"{name}: {key} = {quoted(bound)} is not possible",
                    f"{key} must be a {'whole' if kind is int else 'finite'} number",
                )
        if self.low >= self.high:
            raise self._impossible(name, "low must be below high")
        for field in fields(self)[2:]:
            if not isinstance(value := getattr(self, field.name), bool):
                raise UsageError(
                    f"{name}: {field.name} = {quoted(value)} is not possible", "write true or false"
                )
        if self.log and self.low <= 0:
            raise self._impossible(name, "log needs a low bound above 0")

    def encode(self, value: Value) -> float:
        """The code of a value."""
        return float(value)

    def _impossible(self, name: str, hint: str) -> UsageError:
        bounds = f"low = {quoted(self.low)}, high = {quoted(self.high)}"
        return UsageError(f"{name}: {bounds} is not possible", hint)


@dataclass(frozen=True)
class Float(_Bounded):
    """A real number from `low` to `high`, uniform, or log-uniform with `log`.

    An exclusive bound is never drawn: the nearest float inside is used.
    """

    high_exclusive: bool = False
    low_exclusive: bool = False

    def check(self, name: str) -> None:
        """Raise a UsageError with `name` and the bounds if the range is empty."""
        super().check(name)
        if not math.isfinite(float(self.high) - float(self.low)):
            raise self._impossible(name, "the bounds are too far apart")
        lowest, highest = self.attained_bounds()
        if lowest > highest:
            raise self._impossible(name, "no number is between the bounds")

    def attained_bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that can be proposed.

        For an exclusive bound this is the nearest float inside: 0.9999999999999999 for 1.
        """
        low, high = float(self.low), float(self.high)
        return (
            math.nextafter(low, math.inf) if self.low_exclusive else low,
            math.nextafter(high, -math.inf) if self.high_exclusive else high,
        )

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` values, drawn uniformly; shape (count,)."""
        return self.quantile(generator.random(count))

    def quantile(self, fraction: Codes) -> Codes:
        """Codes below which a fraction of the draws is; shape as `fraction`, from 0 to below 1."""
        low, high = float(self.low), float(self.high)
        if self.log:
            codes = low ** (1 - fraction) * high**fraction
        else:
            codes = low + fraction * (high - low)
        return np.clip(codes, *self.attained_bounds())

    def decode(self, code: float) -> float:
        """The value of a code."""
        return float(code)

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        lowest, highest = self.attained_bounds()
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        return is_number and lowest <= float(value) <= highest

    def grid(self, levels: int) -> tuple[float, ...]:
        """Equally spaced values ``low + i * (high - low) / levels``, i = 0 .. levels - 1.

        This is the rule of the published code of Yarally et al. (CAIN 2023): the upper bound is
        excluded. If `low` is exclusive, it is excluded too with the same number of levels: ``low +
        i * (high - low) / (levels + 1)``, i = 1 .. levels. With `log`, the same on the logarithm.
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
class Int(_Bounded):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def check(self, name: str) -> None:
        """Raise a UsageError with `name` and the bounds if the range is empty."""
        super().check(name)
        if max(abs(self.low), abs(self.high)) > _LARGEST_INTEGER:
            raise self._impossible(name, f"at most {_LARGEST_INTEGER} in size")

    def attained_bounds(self) -> tuple[int, int]:
        """The smallest and the largest value that can be proposed."""
        return self.low, self.high

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` values; shape (count,).

        All integers are equally likely; with `log`, proportional to the width of the interval from
        half below to half above on the log axis.
        """
        if not self.log:
            return generator.integers(self.low, self.high, count, endpoint=True).astype(np.float64)
        return self.quantile(generator.random(count))

    def quantile(self, fraction: Codes) -> Codes:
        """Codes below which a fraction of the draws is; shape as `fraction`, from 0 to below 1."""
        if not self.log:
            return np.floor(self.low + fraction * (self.high - self.low + 1))
        codes = np.rint((self.low - 0.5) ** (1 - fraction) * (self.high + 0.5) ** fraction)
        return np.clip(codes, self.low, self.high)

    def decode(self, code: float) -> int:
        """The value of a code."""
        return round(float(code))

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and self.low <= int(value) <= self.high

    def grid(self, levels: int) -> tuple[int, ...]:
        """At most `levels` distinct values, or all if there are no more.

        Otherwise ``floor(low + i * (high + 1 - low) / levels)``, i = 0 .. levels - 1; with `log`,
        the same on the logarithm, where neighbours may coincide.
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
class Choice:
    """One of several equally likely levels.

    Args:
        levels: strings, finite numbers, or true and false.
        ordered: whether neighbours in the list are alike, as with batch sizes; a strategy that
            models the score then learns from one level about the next.
    """

    levels: Sequence[Value]
    ordered: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.levels, list):
            object.__setattr__(self, "levels", tuple(self.levels))

    def check(self, name: str) -> None:
        """Raise a UsageError with `name` and the levels if they are empty or not distinct."""
        if isinstance(self.levels, str) or not isinstance(self.levels, Sequence):
            raise UsageError(
                f"{name}: choices = {quoted(self.levels)} is not a list", "give a list"
            )
        if not self.levels:
            raise UsageError(f"{name}: choices is empty", "give at least one choice")
        for level in self.levels:
            if not isinstance(level, float | int | str) or _infinite(level):
                raise UsageError(
                    f"{name}: {quoted(level)} among the choices is not possible",
                    "a choice is a string, a finite number, or true or false",
                )
        if len({_identity(level) for level in self.levels}) < len(self.levels):
            raise UsageError(
                f"{name}: the choices {quoted(list(self.levels))} have duplicates",
                "give each once",
            )
        if not isinstance(self.ordered, bool):
            raise UsageError(
                f"{name}: ordered = {quoted(self.ordered)} is not possible", "write true or false"
            )

    def attained_bounds(self) -> tuple[Value, ...]:
        """All levels."""
        return tuple(self.levels)

    def draw(self, count: int, generator: np.random.Generator) -> Codes:
        """Codes of `count` levels; shape (count,)."""
        return generator.integers(0, len(self.levels), count).astype(np.float64)

    def quantile(self, fraction: Codes) -> Codes:
        """Codes below which a fraction of the draws is; shape as `fraction`, from 0 to below 1."""
        return np.floor(fraction * len(self.levels))

    def decode(self, code: float) -> Value:
        """The level of a code."""
        return self.levels[round(float(code))]

    def encode(self, value: Value) -> float:
        """The code of a level, its index.

        Raises:
            UsageError: `value` is not a level.
        """
        for index, level in enumerate(self.levels):
            if _identity(level) == _identity(value):
                return float(index)
        raise UsageError(f"{quoted(value)} is not one of the choices {quoted(list(self.levels))}")

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        return any(_identity(level) == _identity(value) for level in self.levels)

    def grid(self, levels: int) -> tuple[Value, ...]:
        """All levels, regardless of how many are asked for."""
        return tuple(self.levels)


Variable = Float | Int | Choice

_KEYS = {"levels": "choices"}
"""Keys of a study file that are not named like the argument."""

_TYPES: dict[str, type[Variable]] = {
    "continuous": Float,
    "integer": Int,
    "categorical": Choice,
}


@dataclass(frozen=True)
class SearchSpace:
    """Variables by name; the order is that of the columns of a point.

    Raises:
        UsageError: no variable, or an impossible one (low not below high, a log axis from 0, bounds
            that are not finite, no choices, duplicates); names it and its values.
    """

    variables: Mapping[str, Variable]

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", dict(self.variables))
        if not self.variables:
            raise UsageError("the search space is empty", "give it at least one variable")
        for name, variable in self.variables.items():
            if not isinstance(variable, Variable):
                raise UsageError(
                    f"{name} = {quoted(variable)} is not a variable",
                    "give joulelab.Float(low, high), Int or Choice",
                )
            variable.check(name)

    def sample(self, count: int, generator: np.random.Generator) -> Codes:
        """Points drawn uniformly (log-uniformly for variables with `log`).

        Args:
            count: number of points.
            generator: source of all randomness.

        Returns:
            Codes, (count, variables).
        """
        columns = [variable.draw(count, generator) for variable in self.variables.values()]
        return np.stack(columns, axis=1)

    def quantile(self, fractions: Codes) -> Codes:
        """Points of the space from points of the unit cube, both (points, variables)."""
        variables = self.variables.values()
        return np.stack([v.quantile(fractions[:, j]) for j, v in enumerate(variables)], axis=1)

    def decode(self, row: Sequence[float] | Codes) -> dict[str, Value]:
        """The values of one point, as plain Python numbers and strings."""
        pairs = zip(self.variables.items(), row, strict=True)
        return {name: variable.decode(float(code)) for (name, variable), code in pairs}

    def encode(self, values: Mapping[str, Value]) -> Codes:
        """The codes of one point, (variables,); the inverse of `decode`.

        Raises:
            UsageError: a variable has no value, or a value that is not one of its choices.
        """
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}", "give every variable a value")
        return np.array([v.encode(values[name]) for name, v in self.variables.items()])

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` has exactly these variables, each with a valid value."""
        return values.keys() == self.variables.keys() and all(
            variable.contains(values[name]) for name, variable in self.variables.items()
        )

    def grid(self, levels: int = 5) -> dict[str, tuple[Value, ...]]:
        """The values of each variable on a grid, their product.

        Float variables follow the rule of the authors of CAIN 2023: ``low + i * (high - low)
        / levels`` for i = 0 .. levels - 1, the upper bound excluded; see `Float.grid` for an
        exclusive lower bound, and `Int.grid`. Choice variables have all their choices.

        Args:
            levels: values of each variable.

        Raises:
            UsageError: `levels` is below 1.
        """
        if levels < 1:
            raise UsageError(f"a grid of {levels} levels is not possible", "give at least 1")
        return {name: variable.grid(levels) for name, variable in self.variables.items()}

    def first(self, count: int) -> SearchSpace:
        """The space of the first `count` variables.

        Raises:
            UsageError: there are fewer, or `count` is below 1.
        """
        if not 1 <= count <= len(self.variables):
            raise UsageError(
                f"{count} variables were requested, but the space has {len(self.variables)}",
                "variables: " + ", ".join(self.variables),
            )
        return SearchSpace(dict(itertools.islice(self.variables.items(), count)))

    @classmethod
    def from_dict(cls, entries: Mapping[str, Mapping[str, Any]]) -> SearchSpace:
        """A space from the tables of a study file.

        Args:
            entries: for each variable its ``type`` (continuous, integer, categorical) and the
                arguments of the class of that name.

        Raises:
            UsageError: an unknown type or key, with a suggestion; a missing key; an impossible
                variable.
        """
        return cls({name: _variable(name, entry) for name, entry in entries.items()})

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The inverse of `from_dict`; false switches are omitted."""
        return {name: _entry(variable) for name, variable in self.variables.items()}


def _variable(name: str, entry: Mapping[str, Any]) -> Variable:
    if not isinstance(entry, Mapping):
        raise UsageError(
            f"{name} = {quoted(entry)} is not a variable",
            f'write {name} = {{ type = "continuous", low = ..., high = ... }}',
        )
    arguments = dict(entry)
    kind = arguments.pop("type", None)
    if kind is None:
        raise UsageError(f"{name}: the key 'type' is missing", "types: " + ", ".join(_TYPES))
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UsageError(f"{name}: unknown type {quoted(kind)}", suggestion(str(kind), _TYPES))
    names = {_KEYS.get(field.name, field.name): field for field in fields(_TYPES[kind])}
    keys = {key: field.default is MISSING for key, field in names.items()}
    for key in arguments:
        if key not in keys:
            raise UsageError(
                f"{name}: unknown key {quoted(key)} for type {quoted(kind)}",
                suggestion(key, ["type", *keys]),
            )
    for key, required in keys.items():
        if required and key not in arguments:
            raise UsageError(
                f"{name}: the key {quoted(key)} is missing", f"{kind} needs {quoted(key)}"
            )
    return _TYPES[kind](**{names[key].name: value for key, value in arguments.items()})


def _entry(variable: Variable) -> dict[str, Any]:
    kind = next(name for name, cls in _TYPES.items() if isinstance(variable, cls))
    entry: dict[str, Any] = {"type": kind}
    for field in fields(variable):
        value = getattr(variable, field.name)
        if value is not field.default:
            key = _KEYS.get(field.name, field.name)
            entry[key] = list(value) if isinstance(value, tuple) else value
    return entry


def _infinite(value: Value) -> bool:
    if isinstance(value, str):
        return False
    try:
        return not math.isfinite(value)
    except OverflowError:  # an int beyond the range of float64
        return True


def _identity(choice: Value) -> tuple[bool, Value]:
    """Distinguishes true from 1, which are equal in Python."""
    return isinstance(choice, bool), choice
