"""Schedules of the learning rate: its factor in every optimiser step of a training.

With T steps in E epochs, after t steps and e complete epochs:

===================  =================================================  ==========================
schedule             factor                                             in ``lr_scheduler``
===================  =================================================  ==========================
constant             1
step(n, g)           g^floor(e / n);  g = 0.1 where not given           StepLR, by epoch
exponential(g)       g^e                                                ExponentialLR, by epoch
cosine(m)            m + (1 - m) (1 + cos(pi t / T)) / 2;  m = 0        CosineAnnealingLR, by step
                     where not given
warmup-cosine(w)     (t + 1) / W in the first W = max(1, round(w T))    LinearLR, then
                     steps, then (1 + cos(pi (t - W) / (T - W))) / 2;   CosineAnnealingLR, by step
                     w = 0.1 where not given
===================  =================================================  ==========================

A training that stops early, for a calibration, follows the schedule of the whole one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from joulelab.errors import UsageError, quoted, suggestion

CONSTANT = "constant"
_CALL = re.compile(r"\s*([a-z-]+)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class _Argument:
    """A number in parentheses: its name, its range, and its value where not given."""

    name: str
    possible: Callable[[float], bool]
    range_in_words: str
    default: float | None = None

    def read(self, text: str) -> float:
        """The number.

        Raises:
            ValueError: not a number in the range.
        """
        value = float(text)
        if not (math.isfinite(value) and self.possible(value)):
            raise ValueError
        return value


_EPOCHS = _Argument("epochs", lambda n: n >= 1 and n.is_integer(), "a whole number of at least 1")
_FACTOR = _Argument("factor", lambda g: 0 < g <= 1, "above 0 and at most 1")
_ARGUMENTS = {
    CONSTANT: (),
    "step": (_EPOCHS, _Argument("factor", _FACTOR.possible, _FACTOR.range_in_words, 0.1)),
    "exponential": (_FACTOR,),
    "cosine": (_Argument("lowest", lambda m: 0 <= m <= 1, "from 0 to 1", 0.0),),
    "warmup-cosine": (_Argument("share", lambda w: 0 < w < 1, "between 0 and 1", 0.1),),
}
EXAMPLES = ("constant", "step(30, 0.1)", "exponential(0.95)", "cosine", "warmup-cosine(0.05)")


def learning_rate_factor(
    schedule: str, steps_an_epoch: int, epochs: int
) -> Callable[[int], float] | None:
    """The factor of the learning rate by the number of steps that were taken.

    Args:
        schedule: as a study writes it.
        steps_an_epoch: optimiser steps of an epoch.
        epochs: E.

    Returns:
        ``None`` for a constant learning rate.

    Raises:
        UsageError: an unknown schedule, or a wrong argument.

    >>> factor = learning_rate_factor("step(2, 0.5)", steps_an_epoch=10, epochs=6)
    >>> [factor(steps) for steps in (0, 19, 20, 59)]
    [1.0, 1.0, 0.5, 0.25]
    """
    name, values = parse_schedule(schedule)
    steps = steps_an_epoch * epochs
    if name == "step":
        return lambda t: values[1] ** (t // steps_an_epoch // int(values[0]))
    if name == "exponential":
        return lambda t: values[0] ** (t // steps_an_epoch)
    if name == "cosine":
        return lambda t: values[0] + (1 - values[0]) * _cosine(t / steps)
    if name == "warmup-cosine":
        warm = max(1, round(values[0] * steps))
        rest = max(1, steps - warm)
        return lambda t: (t + 1) / warm if t < warm else _cosine((t - warm) / rest)
    return None


def parse_schedule(text: str) -> tuple[str, tuple[float, ...]]:
    """Name and arguments of a schedule.

    Raises:
        UsageError: an unknown schedule, or a wrong argument.
    """
    match = _CALL.fullmatch(text)
    name = match[1] if match else text
    if match is None or name not in _ARGUMENTS:
        near = suggestion(name, _ARGUMENTS)
        raise UsageError(f"unknown schedule {quoted(text)}", f"{near}; as in {', '.join(EXAMPLES)}")
    given = [part for part in (match[2] or "").split(",") if part.strip()]
    arguments = _ARGUMENTS[name]
    least = sum(one.default is None for one in arguments)
    if not least <= len(given) <= len(arguments):
        takes = ", ".join(one.name for one in arguments)
        raise UsageError(
            f"the schedule {quoted(text)} has {len(given)} arguments",
            f"write {name}({takes})" if takes else f"write {name}",
        )
    values = [one.default or 0.0 for one in arguments]
    for at, (one, part) in enumerate(zip(arguments, given, strict=False)):
        try:
            values[at] = one.read(part)
        except ValueError:
            raise UsageError(
                f"the schedule {quoted(text)}: {one.name} = {quoted(part.strip())} is not possible",
                f"{one.name} is {one.range_in_words}",
            ) from None
    return name, tuple(values)


def _cosine(share: float) -> float:
    """Half a wave from 1 to 0."""
    return (1 + math.cos(math.pi * share)) / 2
