"""Variables of a space that trainings of one stack have in common: width, batch size, precision.

A space may hold hyperparameters of the optimiser, ``batch_size``, ``precision`` and options of the
networks (``linear_layers``, ``conv_layers``, ...). Trainings that differ in hyperparameters alone
are stacked; the others make a stack, which has a task of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from joulelab.errors import UsageError, quoted, suggestion
from joulelab.learning.engine import (
    HYPERPARAMETERS,
    Precision,
    TrainingTask,
    check_hyperparameters,
)
from joulelab.learning.flops import count_flops
from joulelab.learning.images import Images
from joulelab.learning.networks import option_names
from joulelab.tuning.search import Cost
from joulelab.tuning.space import Choice, Int, SearchSpace, Value, Variable

BATCH_SIZE, PRECISION = "batch_size", "precision"
PRECISIONS = (Precision.FP32, Precision.TF32, Precision.BF16)


def hyperparameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some values that are hyperparameters of an optimiser."""
    return {name: value for name, value in values.items() if name in HYPERPARAMETERS}


def options(names: Sequence[str]) -> list[str]:
    """Those of some variables that are options of a network."""
    return [name for name in names if name not in {*HYPERPARAMETERS, BATCH_SIZE, PRECISION}]


def task_of(task: TrainingTask, values: Mapping[str, Any]) -> TrainingTask:
    """The task of the stack that a training with these values belongs to."""
    own = {name: values[name] for name in options(list(values))}
    return replace(
        task,
        network_options={**task.network_options, **own},
        batch_size=int(values.get(BATCH_SIZE, task.batch_size)),
        precision=str(values.get(PRECISION, task.precision)),
    )


def check_variable(name: str, variable: Variable) -> None:
    """Check the levels of a variable, as far as they do not depend on a network.

    Raises:
        UsageError: a level is not possible.
    """
    levels = variable.attained_bounds()
    if name in HYPERPARAMETERS:
        for level in levels:
            check_hyperparameters({name: level})
    elif name == BATCH_SIZE:
        if not isinstance(variable, Int) and not all(type(level) is int for level in levels):
            raise UsageError("batch_size is not a whole number", "make it an integer")
        for level in levels:
            if not isinstance(level, int) or level < 1:
                raise UsageError(f"batch_size = {level} is not possible", "it is at least 1")
    elif name == PRECISION:
        for level in levels:
            if level not in PRECISIONS:
                raise UsageError(
                    f"precision = {quoted(level)} is not possible",
                    f"choices: {', '.join(PRECISIONS)}",
                )


def check_options(network: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Check that a network has the options that are variables.

    Args:
        network: registered name.
        given: options with a fixed value.
        names: of the variables.

    Raises:
        UsageError: it has no such option, or the option is fixed.
    """
    for name in options(names):
        if name in given:
            raise UsageError(
                f"{name} is in the space and in network_options of {network}",
                "leave it out of one of them",
            )
        known = option_names(network)
        if known is not None and name not in known:
            raise UsageError(
                f"{quoted(name)} is neither a hyperparameter nor an option of {network}",
                suggestion(name, [*HYPERPARAMETERS, BATCH_SIZE, PRECISION, *known]),
            )


def corners(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Values of the variables of stacks: every bound or level of each, the others at their first.

    And all at their last, which is where a network is largest.
    """
    levels = {
        name: _levels(variable)
        for name, variable in space.variables.items()
        if name not in HYPERPARAMETERS
    }
    first = {name: found[0] for name, found in levels.items()}
    yield first
    for name, found in levels.items():
        yield from ({**first, name: level} for level in found[1:])
    yield {name: found[-1] for name, found in levels.items()}


def _levels(variable: Variable) -> tuple[Value, ...]:
    return tuple(variable.levels if isinstance(variable, Choice) else variable.attained_bounds())


def known_cost(space: SearchSpace, task: TrainingTask, images: Images) -> Cost | None:
    """What is known about the cost of an epoch before it is measured: operations of an image.

    Returns:
        None if no variable changes them, or they cannot be counted.
    """
    if not options(list(space.variables)):
        return None
    counted: dict[tuple[tuple[str, Any], ...], float] = {}

    def flops(values: Mapping[str, Value]) -> float:
        network_options = task_of(task, values).network_options
        key = tuple(sorted(network_options.items()))
        if key not in counted:
            found = count_flops(task.network, network_options, images.shape, images.classes)
            counted[key] = float(found.per_image or 0.0)
        return counted[key]

    return flops if all(flops(values) > 0 for values in corners(space)) else None
