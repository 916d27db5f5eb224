"""Budgets of a window: what is spent of one, and the end of a command that has spent its own.

::

    spent ──── rate ───► budget       SIGTERM to the command and all that it has started
       next look: before it is spent, at the latest after LOOK_S
                         grace        SIGKILL to those that are left
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from joulelab.budget import Budget, parse_budget
from joulelab.energy.carbon.footprint import default_place
from joulelab.energy.measurement import Measurement
from joulelab.errors import MeterError, UsageError

LOOK_S = 0.2
"""Longest time between two looks at what was spent."""
SOONEST_S = 0.01
GRACE_S = 10.0
"""Time that a command has to end by itself."""


def window_budget(text: str, place: object = None) -> Budget:
    """A budget of what a window can spend.

    Args:
        text: in joules, watt-hours, time or CO2e.
        place: of the electricity; None for that of the user's settings.

    Raises:
        UsageError: it is not an amount, has another unit, or is in CO2e and there is no place.
    """
    hint = 'give joules, watt-hours, time or CO2e: "5kJ", "2 Wh", "10min", "5gCO2e"'
    try:
        budget = parse_budget(text)
    except UsageError as error:
        raise UsageError(error.message, hint) from error
    if budget.unit not in ("joules", "seconds", "grams"):
        raise UsageError(
            f"a budget of {budget}: only trainings by joulelab have {budget.unit}", hint
        )
    if budget.unit == "grams" and place is None and default_place() is None:
        raise UsageError(
            f"a budget of {budget} needs the origin of the electricity",
            "name the place, for instance NLD",
        )
    return budget


def spent(measurement: Measurement, budget: Budget) -> float | None:
    """What a window has spent, in the unit of a budget; None where it is unknown."""
    if budget.unit == "seconds":
        return measurement.duration_s
    return measurement.co2e_g if budget.unit == "grams" else measurement.energy_j


def known_spent(measurement: Measurement, budget: Budget) -> float:
    """The same.

    Raises:
        MeterError: it is unknown.
    """
    amount = spent(measurement, budget)
    if amount is None:
        raise MeterError(
            f"the budget of {budget} cannot be kept: what was spent is unknown",
            "`joulelab doctor` says which meters work here",
        )
    return amount


class Ender:
    """Ends a process, and all that it has started, once a budget is spent.

    Args:
        budget: in joules, seconds or grams of CO2e.
        so_far: measures until now.
        grace_s: time between SIGTERM and SIGKILL.

    Attributes:
        ended_by: the last signal that was sent; empty while there was none.
        after_s: when the first was sent, in seconds from the beginning.
    """

    def __init__(
        self, budget: Budget, so_far: Callable[[], Measurement], grace_s: float = GRACE_S
    ) -> None:
        self.budget = budget
        self.ended_by = ""
        self.after_s = 0.0
        self._so_far = so_far
        self._grace_s = grace_s
        self._last = (0.0, 0.0)  # seconds and what was spent until the last look
        self._ending: list[psutil.Process] = []
        self._killed_at_s = 0.0

    def look(self, process: subprocess.Popen[Any]) -> float:
        """Look at what was spent, and end the process if it is time.

        Returns:
            Seconds until the next look.

        Raises:
            MeterError: what was spent is unknown; the process was told to end.
        """
        if self.ended_by:
            if time.monotonic() >= self._killed_at_s:
                self._send("SIGKILL")
            return LOOK_S
        measurement = self._so_far()
        now_s = measurement.duration_s
        try:
            amount = known_spent(measurement, self.budget)
        except MeterError:
            self._end(process, now_s)
            raise
        before_s, before = self._last
        self._last = (now_s, amount)
        rate = (amount - before) / (now_s - before_s) if now_s > before_s else 0.0
        left = self.budget.amount - amount
        # What is spent until the next look counts.
        if left <= rate * SOONEST_S:
            self._end(process, now_s)
            return LOOK_S
        return LOOK_S if rate <= 0 else min(LOOK_S, max(SOONEST_S, left / rate - SOONEST_S))

    def _end(self, process: subprocess.Popen[Any], now_s: float) -> None:
        self.after_s = now_s
        self._killed_at_s = time.monotonic() + self._grace_s
        with suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            self._ending = [*parent.children(recursive=True), parent]
        self._send("SIGTERM")

    def _send(self, name: str) -> None:
        alive = [one for one in self._ending if one.is_running()]
        if alive:
            self.ended_by = name
        for one in alive:
            with suppress(psutil.Error):
                one.terminate() if name == "SIGTERM" else one.kill()
