"""Budgets of a search, as users write them: ``270 epochs``, ``2h``, ``20kJ``, ``50 gCO2e``.

>>> parse_budget("20kJ")
Budget(amount=20000.0, unit='joules')
>>> parse_budget("27 evaluations").words(13.5)
'13.5 evaluations'
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from joulelab import formats
from joulelab.errors import UsageError, quoted

Unit = Literal["epochs", "evaluations", "seconds", "joules", "grams"]

ENERGIES = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "Wh": 3600.0, "kWh": 3.6e6}
TIMES = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
MASSES = {"mgCO2e": 1e-3, "gCO2e": 1.0, "kgCO2e": 1e3, "tCO2e": 1e6}
COUNTS: dict[str, Unit] = {
    "epoch": "epochs",
    "epochs": "epochs",
    "evaluation": "evaluations",
    "evaluations": "evaluations",
}
FORMS = '"20kJ", "0.5 kWh", "2h", "90min", "50 gCO2e", "270 epochs", "27 evaluations"'
_WRITTEN = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z][A-Za-z0-9 ]*?)\s*")

TOLERANCE = 0.02
"""A budget is not overshot by more than this share, or one epoch."""


def check_on_budget(what: str, known: tuple[str, ...]) -> None:
    """Refuse what a spent budget cannot do, before it silently does nothing.

    Args:
        what: as the user wrote it.
        known: what it can do.

    Raises:
        UsageError: it is none of them.
    """
    if what not in known:
        words = " or ".join(f'"{one}"' for one in known)
        raise UsageError(f"on_budget = {quoted(what)} is not possible", f"give {words}")


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        amount: above 0, in the unit.
        unit: epochs, evaluations (full trainings' worth of epochs), seconds, joules, or grams of
            CO2 equivalent.
    """

    amount: float
    unit: Unit

    def words(self, amount: float | None) -> str:
        """An amount in the unit of this budget."""
        if amount is None:
            return formats.UNKNOWN
        if self.unit == "seconds":
            return formats.duration(amount)
        if self.unit == "joules":
            return formats.joules(amount)
        if self.unit == "grams":
            return f"{formats.grams(amount)} CO2e"
        noun = self.unit if amount != 1 else self.unit.removesuffix("s")
        return f"{amount:,.4g} {noun}"

    def __str__(self) -> str:
        return self.words(self.amount)


def parse_budget(text: str) -> Budget:
    """A budget from a number and its unit.

    Args:
        text: with J, kJ, MJ, Wh, kWh; s, min, h, d; mgCO2e, gCO2e, kgCO2e, tCO2e; epochs or
            evaluations.

    Raises:
        UsageError: the number or the unit is missing, or the amount is not above 0.
    """
    written = _WRITTEN.fullmatch(str(text))
    try:
        amount = float(written[1]) if written else math.nan
    except ValueError:
        amount = math.nan
    unit = written[2].replace(" ", "") if written else ""
    made = None
    for name, factors in (("joules", ENERGIES), ("seconds", TIMES), ("grams", MASSES)):
        if unit in factors:
            made = Budget(amount * factors[unit], name)  # type: ignore[arg-type]
    if unit in COUNTS:
        made = Budget(amount, COUNTS[unit])
    if made is None or not (math.isfinite(made.amount) and made.amount > 0):
        raise UsageError(
            f"budget = {quoted(text)} is not an amount above 0 with a unit", f"write {FORMS}"
        )
    return made


def parse_energy(budget: str | float) -> float:
    """A budget of energy in joules; a bare number is joules.

    >>> parse_energy("20kJ"), parse_energy("0.5 kWh"), parse_energy(300)
    (20000.0, 1800000.0, 300.0)

    Raises:
        UsageError: it is not an energy above 0.
    """
    try:
        made = parse_budget(f"{budget} J" if isinstance(budget, int | float) else budget)
    except UsageError:
        made = None
    if made is None or made.unit != "joules":
        raise UsageError(
            f"budget = {quoted(budget)} is not an energy above 0",
            f'joules, or a number and one of {", ".join(ENERGIES)}: "20kJ"',
        )
    return made.amount
