"""What is searched: variables by name, in order.

::

    space = SearchSpace({"learning_rate": Continuous(1e-5, 1e-1), "beta1": Continuous(0.1, 1.0,
                         high_exclusive=True)})
    points = space.sample(10_000, generator)      # (10000, 2), float64
    values = space.decode(points[0])              # {"learning_rate": 0.03, "beta1": 0.7}

Points are rows of codes: column j belongs to the j-th variable and holds the plain, unscaled value
of a continuous or integer variable, or the index of the choice of a categorical one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from joulelab.errors import UsageError, quoted, suggestion
from joulelab.tuning.variable import Categorical, Codes, Continuous, Integer, Value, Variable

__all__ = ["Categorical", "Continuous", "Integer", "SearchSpace", "Value", "Variable"]

_TYPES: dict[str, type[Variable]] = {
    "continuous": Continuous,
    "integer": Integer,
    "categorical": Categorical,
}


@dataclass(frozen=True)
class SearchSpace:
    """Variables by name; the order is that of the columns of a point.

    Raises:
        UsageError: no variable, or one that is impossible (low not below high, a log axis from 0,
            bounds that are not finite, no choices, duplicates); names it and its values.
    """

    variables: Mapping[str, Variable]

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", dict(self.variables))
        if not self.variables:
            raise UsageError("the search space is empty", "give it at least one variable")
        for name, variable in self.variables.items():
            variable.check(name)

    def sample(self, count: int, generator: np.random.Generator) -> Codes:
        """Points drawn uniformly (log-uniformly where a variable says so).

        Args:
            count: how many.
            generator: all randomness comes from it.

        Returns:
            Codes, (count, variables).
        """
        columns = [variable.draw(count, generator) for variable in self.variables.values()]
        return np.stack(columns, axis=1)

    def decode(self, row: Sequence[float] | Codes) -> dict[str, Value]:
        """The values, as plain Python numbers and texts, that the codes of one point stand for."""
        pairs = zip(self.variables.items(), row, strict=True)
        return {name: variable.decode(float(code)) for (name, variable), code in pairs}

    def encode(self, values: Mapping[str, Value]) -> Codes:
        """The codes of one point, (variables,); the inverse of `decode`.

        Raises:
            UsageError: a variable has no value, or a value that is none of its choices.
        """
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}", "give every variable a value")
        return np.array([v.encode(values[name]) for name, v in self.variables.items()])

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` has just these variables, each with a value that it can take."""
        return values.keys() == self.variables.keys() and all(
            variable.contains(values[name]) for name, variable in self.variables.items()
        )

    def grid(self, levels: int = 5) -> dict[str, tuple[Value, ...]]:
        """The values of each variable on a grid, which is the product of them.

        Continuous variables follow the rule of the authors of CAIN 2023: ``low + i * (high - low)
        / levels`` for i = 0 .. levels - 1, the upper bound left out; see `Continuous.grid` for an
        exclusive lower bound, and `Integer.grid`. A categorical variable has all its choices.

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
            UsageError: there are not that many, or `count` is below 1.
        """
        if not 1 <= count <= len(self.variables):
            raise UsageError(
                f"{count} variables were asked for and the space has {len(self.variables)}",
                "variables: " + ", ".join(self.variables),
            )
        return SearchSpace(dict(itertools.islice(self.variables.items(), count)))

    @classmethod
    def from_dict(cls, entries: Mapping[str, Mapping[str, Any]]) -> SearchSpace:
        """A space from tables as a study file has them.

        Args:
            entries: for each variable its ``type`` (continuous, integer, categorical) and the
                arguments of the class of that name.

        Raises:
            UsageError: an unknown type or key, with the nearest suggested; a missing key; an
                impossible variable.
        """
        return cls({name: _variable(name, entry) for name, entry in entries.items()})

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What `from_dict` takes; switches that are off are left out."""
        return {name: _entry(variable) for name, variable in self.variables.items()}


def _variable(name: str, entry: Mapping[str, Any]) -> Variable:
    if not isinstance(entry, Mapping):
        raise UsageError(
            f"{name} = {quoted(entry)} is no variable",
            f'write {name} = {{ type = "continuous", low = ..., high = ... }}',
        )
    arguments = dict(entry)
    kind = arguments.pop("type", None)
    if kind is None:
        raise UsageError(f"{name}: the key 'type' is missing", "types: " + ", ".join(_TYPES))
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UsageError(f"{name}: no type is called {quoted(kind)}", suggestion(str(kind), _TYPES))
    keys = {field.name: field.default is MISSING for field in fields(_TYPES[kind])}
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
    return _TYPES[kind](**arguments)


def _entry(variable: Variable) -> dict[str, Any]:
    kind = next(name for name, cls in _TYPES.items() if isinstance(variable, cls))
    entry: dict[str, Any] = {"type": kind}
    for field in fields(variable):
        value = getattr(variable, field.name)
        if value is not field.default:
            entry[field.name] = list(value) if field.name == "choices" else value
    return entry
