"""The trial that an objective is called with; it has the methods of Optuna's.

::

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        for epoch in range(25):
            ...
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned        # or return
        return score

The values come from the search. A name that the search does not know yet gets the first choice or
the centre of its range in the first trial, and later a draw, which depends on the seed, the trial
and the name alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from joulelab.errors import UsageError, quoted
from joulelab.kinds.objective.optuna_study import INSTEAD, Seen, lacking
from joulelab.tuning.space import Choice, Float, Int, SearchSpace, Value, Variable

LONGEST = 10_000
"""Characters of an attribute that is kept as it is, such as a list; of others 200 are kept."""
MOST_LEVELS = 1000
"""Ranges with a step are choices up to so many levels."""


class TrialStoppedError(RuntimeError):
    """The objective reported although it was told to stop."""


class Trial:
    """One training, as the objective sees it.

    Args:
        number: of the trial, from 0.
        values: from the search.
        seed: of this training; random generators have been seeded with it.
        repetition: number of the training of these values.
        epoch: epochs (reports) that this training has behind it, when it goes on from its
            checkpoint.
        checkpoint: a folder of this training, kept from step to step.
        given: names of a space that the user gave: its values are used whatever the objective's
            ranges are.
        on_report: told a score and its step; says whether to stop.

    Attributes:
        datetime_start: when this call began, local time as in Optuna.
        study: knows the direction, for callbacks of Optuna; higher is better unless it is set.
    """

    def __init__(
        self,
        number: int,
        values: Mapping[str, Value],
        seed: int,
        repetition: int,
        epoch: int,
        checkpoint: Path,
        given: Sequence[str],
        on_report: Callable[[float, int], bool],
    ) -> None:
        self.number = number
        self.seed = seed
        self.repetition = repetition
        self.epoch = epoch
        self.datetime_start = datetime.now()
        self.study = Seen("maximize")
        self._proposed = dict(values)
        self._checkpoint = checkpoint
        self._on_report = on_report
        self._space = frozenset(given)
        self._given: dict[str, Any] = {}
        self._attributes: dict[str, Any] = {}
        self._stop = False
        self.asked: dict[str, Variable] = {}
        self.used: dict[str, Value] = {}
        self.drawn = False
        self.told = False
        self.asks = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - raises
        if name in INSTEAD:
            raise lacking(f"trial.{name}", INSTEAD[name])
        raise AttributeError(f"a trial of joulelab has no {name}")

    @property
    def params(self) -> dict[str, Any]:
        """The values that were asked for, by name."""
        return dict(self._given)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The attributes that were set."""
        return dict(self._attributes)

    @property
    def checkpoint(self) -> Path:
        """A folder for this training, empty at its beginning."""
        self._checkpoint.mkdir(parents=True, exist_ok=True)
        return self._checkpoint

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from `low` to `high`.

        Args:
            name: of the variable.
            low: lower bound, included.
            high: upper bound, included.
            step: distance of the possible numbers from `low` on.
            log: whether the logarithm is searched evenly.
        """
        if step is not None:
            count = math.floor((high - low) / step + 1e-9) + 1
            levels = [low + step * place for place in range(min(count, MOST_LEVELS + 1))]
            if count <= MOST_LEVELS:
                return float(self._level(name, levels))
        if low == high:
            return float(self._fixed(name, float(low)))
        return float(self._number(name, Float(float(low), float(high), log), step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number from `low` to `high`; for the arguments see `suggest_float`."""
        low, high, step = int(low), int(high), int(step)
        if step != 1 and (high - low) // step < MOST_LEVELS:
            return int(self._level(name, list(range(low, high + 1, step))))
        if low == high:
            return int(self._fixed(name, low))
        return int(self._number(name, Int(low, high, log), step if step != 1 else None))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401 - the user's
        """One of some choices, in no order."""
        listed = list(choices)
        labels = [_label(one) for one in listed]
        if len(listed) == 1:
            self._fixed(name, labels[0])
            self._given[name] = listed[0]
            return listed[0]
        chosen = self._value(name, Choice(tuple(labels)))
        found = listed[int(Choice(tuple(labels)).encode(chosen))]
        self._given[name] = found
        return found

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """As `suggest_float`; objectives written for older versions of Optuna call it."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """As `suggest_float` with ``log=True``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """As `suggest_float` with ``step=q``."""
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        """Tell the score so far: an epoch is what lies between two reports.

        Args:
            value: of the score.
            step: evenly spaced: 0, 1, 2, ..., or 100, 200, 300, ...

        Raises:
            TrialStoppedError: `should_prune` has said that the training should stop.
        """
        if self.told:
            raise TrialStoppedError(
                "the objective has reported after should_prune() returned True; return, or raise "
                "TrialPruned"
            )
        plain = value.item() if hasattr(value, "item") else value
        self._stop = self._on_report(float(plain), int(step))

    def should_prune(self) -> bool:
        """Whether to stop now: with what was saved in `checkpoint` the training may go on later."""
        self.asks = True
        self.told |= self._stop
        return self._stop

    def set_user_attr(self, key: str, value: Any) -> None:  # noqa: ANN401 - the user's
        """Keep a value with the trial."""
        self._attributes[key] = value

    def _level(self, name: str, levels: Sequence[float]) -> Value:
        if len(levels) == 1:
            return self._fixed(name, levels[0])
        if name in self._space and isinstance(value := self._proposed[name], int | float):
            return self._fixed(name, min(levels, key=lambda level: abs(level - value)))
        return self._value(name, Choice(tuple(levels), ordered=True))

    def _fixed(self, name: str, value: Value) -> Value:
        self._given[name] = self.used[name] = value
        return value

    def _number(self, name: str, variable: Float | Int, step: float | None) -> Value:
        value = self._value(name, variable)
        if step is not None:
            value = variable.low + round((float(value) - variable.low) / step) * step
            self._given[name] = self.used[name] = value
        return value

    def _value(self, name: str, variable: Variable) -> Value:
        """The value of a variable: proposed, or drawn where the search did not know it."""
        if name in self.used:
            return self.used[name]
        variable.check(name)
        self.asked[name] = variable
        value = self._proposed.get(name)
        if value is not None and name in self._space:
            value = _as_asked(name, variable, value)
        elif value is None or not variable.contains(value):
            value, self.drawn = self._draw(name, variable), True
        self._given[name] = self.used[name] = value
        return value

    def _draw(self, name: str, variable: Variable) -> Value:
        fraction = random.Random(f"{self.seed}/{self.number}/{name}").random()
        if self.number == 0:
            fraction = 0.0 if isinstance(variable, Choice) and not variable.ordered else 0.5
        if isinstance(variable, Choice):
            return variable.levels[int(fraction * len(variable.levels))]
        low, high = float(variable.low), float(variable.high)
        if variable.log:
            number = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            number = low + fraction * (high - low)
        number = min(max(number, low), high)
        return round(number) if isinstance(variable, Int) else number

    def to_dict(self) -> dict[str, Any]:
        """What was asked for and set, as plain data."""
        return {
            "asked": SearchSpace(self.asked).to_dict() if self.asked else {},
            "used": self.used,
            "drawn": self.drawn,
            "asks": self.asks,
            "told": self.told,
            "attributes": {str(key): _plain(one) for key, one in self._attributes.items()},
        }


def _as_asked(name: str, variable: Variable, value: Value) -> Value:
    """A value of the user's space, whatever the range that the objective names.

    Raises:
        UsageError: it is of another type, or not one of the choices.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(variable, Float) and number:
        return float(value)
    if isinstance(variable, Int) and number and float(value).is_integer():
        return int(value)
    if variable.contains(value):
        return value
    raise UsageError(
        f"the space gives {name} = {quoted(value)}, which is not what the objective asks for",
        "give the variable the type and the choices that the objective expects",
    )


def _label(choice: Any) -> Value:  # noqa: ANN401 - the user's
    """A choice as a level of a space."""
    plain = choice.item() if hasattr(choice, "item") else choice
    is_plain = isinstance(plain, bool | int | float | str)
    return (
        plain if is_plain and not (isinstance(plain, float) and math.isinf(plain)) else repr(plain)
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - the user's
    plain = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if isinstance(plain, bool | int | float | str) or plain is None:
        return plain
    with contextlib.suppress(TypeError, ValueError):
        if len(text := json.dumps(plain)) <= LONGEST:
            return json.loads(text)
    return repr(plain)[:200]


def check_number(value: Any) -> float:  # noqa: ANN401 - the user's
    """The score that an objective returned.

    Raises:
        UsageError: it is not a finite number.
    """
    plain = value.item() if hasattr(value, "item") else value
    if plain is None:
        raise UsageError("the objective has returned nothing", "return a score")
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise UsageError(
            f"the objective has returned {quoted(plain)} of type {type(plain).__name__}",
            "return one number",
        )
    if not math.isfinite(plain):
        raise UsageError(f"the objective has returned {plain}", "return a finite number")
    return float(plain)


def check_second(value: Any) -> float:  # noqa: ANN401 - the user's
    """The second goal that an objective returned.

    Raises:
        UsageError: it is not a finite number above 0.
    """
    second = check_number(value)
    if second <= 0:
        raise UsageError(
            f"the objective has returned {second:g} as the second goal, which must be above 0",
            "return a number of which lower is better, such as joules",
        )
    return second
