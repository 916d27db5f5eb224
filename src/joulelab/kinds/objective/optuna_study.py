"""What Optuna's trials have and those of a search of Joulelab have not, and what to do instead.

Callbacks of Optuna ask the trial's study for its direction, so a trial has a study with that alone.
A file that runs a study whenever it is imported would train in vain, and is found before.
"""

from __future__ import annotations

import ast
from enum import IntEnum
from typing import Any, Literal

INSTEAD = {
    "distributions": "the ranges of a space are those that the objective passes to suggest_*",
    "relative_params": "trial.params has the values that were asked for",
    "system_attrs": "use trial.user_attrs; Optuna 5 has removed it too",
    "set_system_attr": "use trial.set_user_attr; Optuna 5 has removed it too",
    "constraints": "raise optuna.TrialPruned for values that are not allowed",
    "set_constraint": "raise optuna.TrialPruned for values that are not allowed",
    "storage": "joulelab stores the trials in the results folder",
}
"""By name of a member of Optuna's trials."""
OF_STUDY = {
    "stop": "--budget and --target end a search",
    "optimize": "joulelab tune runs the search; call trial.suggest_* and return the score",
    "enqueue_trial": "a search chooses its own values; narrow the ranges, or give --space",
    "set_user_attr": "use trial.set_user_attr",
    "user_attrs": "use trial.user_attrs",
}
"""By name of a member of Optuna's studies."""
OTHERS = "a trial does not know of others; their values and scores are in the results"


class Direction(IntEnum):
    """Which scores are better; equal to the members of Optuna's ``StudyDirection``."""

    MINIMIZE = 1
    MAXIMIZE = 2


class Seen:
    """The study of a trial: its directions.

    Args:
        direction: of the scores.
        goals: 2 if lower values of a second goal are better.
    """

    def __init__(self, direction: Literal["maximize", "minimize"], goals: int = 1) -> None:
        self.direction = Direction[direction.upper()]
        self.directions = [self.direction, Direction.MINIMIZE][:goals]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - raises
        raise lacking(f"trial.study.{name}", OF_STUDY.get(name, OTHERS))


def lacking(name: str, instead: str) -> AttributeError:
    """The error of an objective that uses what is not there.

    Args:
        name: of the member, as the objective calls it.
        instead: what to do.
    """
    return AttributeError(f"joulelab has no {name}: {instead}")


def own_search(source: str, function: str) -> int | None:
    """The line in which a file that is imported runs a study over a function; None for none.

    Args:
        source: of the file.
        function: name in the file.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None  # importing it says more
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            continue
        for node in ast.walk(statement):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            named = any(isinstance(one, ast.Name) and one.id == function for one in given)
            if node.func.attr == "optimize" and named:
                return node.lineno
    return None
