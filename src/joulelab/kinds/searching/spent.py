"""What work has spent: epochs, seconds, joules, grams of CO2 equivalent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from joulelab.budget import Unit
from joulelab.energy.reading import Status


@dataclass(frozen=True)
class Spent:
    """Amounts of several units.

    Attributes:
        seconds: of the clock.
        epochs: trained; 0 for other work.
        joules: gross; None where unknown.
        error_j: bound of the error of `joules`; None where unknown.
        grams: of CO2 equivalent; None where the energy or its origin is unknown.
        status: of the energy.
        reason: why the energy is unknown.
        too_short: sensors have read it, and it is estimated only because it was too short for them.
    """

    seconds: float = 0.0
    epochs: float = 0.0
    joules: float | None = 0.0
    error_j: float | None = 0.0
    grams: float | None = 0.0
    status: str = str(Status.MEASURED)
    reason: str = ""
    too_short: bool = False

    def amount(self, unit: Unit, evaluation: float) -> float | None:
        """The amount in a unit; None where it is unknown.

        Args:
            unit: of a budget.
            evaluation: epochs of a full training.
        """
        if unit == "evaluations":
            return self.epochs / evaluation
        return {
            "epochs": self.epochs,
            "seconds": self.seconds,
            "joules": self.joules,
            "grams": self.grams,
        }[unit]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spent:
        """The inverse of `to_dict`."""
        return cls(**data)


UNHEARD = Spent(
    error_j=None,
    status=str(Status.ESTIMATED),
    reason="a step was killed before its first heartbeat: what it took is not in the sum",
)
"""Of a step of which nothing was heard: a search can go on with it, and its sum has no bound."""


def total_spent(parts: Iterable[Spent]) -> Spent:
    """The sum; an amount that one part does not know is unknown."""
    listed = [one for one in parts if one != Spent()]
    joules, error_j = _sum([one.joules for one in listed]), _sum([one.error_j for one in listed])
    states = [(one.status, one.too_short) for one in listed]
    within = map(Status, Status.within_sum(states, joules, error_j))
    status = Status.of_sum([Status.MEASURED, *within])
    return Spent(
        seconds=sum(one.seconds for one in listed),
        epochs=sum(one.epochs for one in listed),
        joules=joules,
        error_j=error_j,
        grams=_sum([one.grams for one in listed]),
        status=str(status),
        reason=next((one.reason for one in listed if one.reason), ""),
        too_short=status is Status.ESTIMATED
        and all(one.too_short or one.status == Status.MEASURED for one in listed),
    )


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
