"""Keys of a study file that the kinds whose runs are searches have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from joulelab.study.validation import as_value_error, known, unique
from joulelab.tuning.front import count_goals
from joulelab.tuning.search import searches
from joulelab.tuning.strategy import strategies

ENERGY = ("energy",)
"""Names of their second goal."""
RETURNED = "returned"
"""What the second goal is where trainings return it."""


def possible_goals(goals: list[str]) -> list[str]:
    """The score, alone or with `ENERGY`.

    Raises:
        ValueError: other goals.
    """
    with as_value_error():
        count_goals(goals, ENERGY)
    return goals


Goals = Annotated[list[str], AfterValidator(possible_goals)]


def check_target(target: float | None, two_goals: bool) -> None:
    """Refuse a target where a front is sought.

    Raises:
        ValueError: both are given.
    """
    if target is not None and two_goals:
        raise ValueError("target ends a search at a score, but two goals seek a front: give one")


def known_strategy(name: str) -> str:
    """The name of a search, or of a strategy that trains every trial to the end.

    Raises:
        ValueError: there is none.
    """
    return name if name in searches.names() else known(strategies, name)


def known_strategies(names: list[str]) -> list[str]:
    """Such names, each once.

    Raises:
        ValueError: one is unknown, or is there twice.
    """
    return [known_strategy(name) for name in unique(names)]
