"""The key ``goals`` of the kinds whose runs are searches."""

from __future__ import annotations

ENERGY = ("energy",)
"""Names of their second goal."""
RETURNED = "returned"
"""What the second goal is where trainings return it."""


def check_target(target: float | None, two_goals: bool) -> None:
    """Refuse a target where a front is sought.

    Raises:
        ValueError: both are given.
    """
    if target is not None and two_goals:
        raise ValueError("target ends a search at a score, but two goals seek a front: give one")
