"""Which hyperparameters there are, and which of their values Adam can be given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from joulelab.errors import UsageError, quoted, suggestion
from joulelab.learning.engine import Hyperparameters

NAMES = tuple(field.name for field in fields(Hyperparameters))
"""Names of the hyperparameters, in the order of the paper."""

_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": (lambda value: value > 0, "above 0"),
    "beta1": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "beta2": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "epsilon": (lambda value: value > 0, "above 0"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
}


def check_hyperparameters(values: Mapping[str, Any]) -> None:
    """Check some or all hyperparameters.

    Args:
        values: by the names of `Hyperparameters`.

    Raises:
        UsageError: an unknown name, or a value outside the range that Adam is defined for
            (Kingma and Ba, ICLR 2015, algorithm 1); says which.
    """
    for name, value in values.items():
        if name not in _RANGES:
            raise UsageError(f"no hyperparameter is called {quoted(name)}", suggestion(name, NAMES))
        possible, range_in_words = _RANGES[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and possible(value)):
            raise UsageError(
                f"{name} = {quoted(value)} is not possible", f"{name} is a number {range_in_words}"
            )
