"""Joules of the trials of an Optuna study, and a budget in joules.

Optuna calls its callbacks when a trial is finished, and a finished trial takes no more attributes.
So the objective is wrapped, to measure, and the callback stops the study::

    measured objective    | open ... objective ... close, user attributes |
    Optuna                                                                  state | callback: stop?

Meters read the machine, not the trial. With ``n_jobs > 1`` trials overlap, and no meter tells them
apart: their energy is unknown, for that reason. One window spans all trials that overlap, so what
the study has spent is known, and each joule counts once::

    trial 3    [---------]                 unknown
    trial 4         [----------]           unknown
    trial 5                       [-----]  measured
    spent      [---------------]  [-----]

What was spent is kept in the study too: a study that is resumed has what is left of its budget.
"""
# ruff: noqa: ANN401 - Optuna is optional: its types are not known here

from __future__ import annotations

import functools
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Unpack

from joulelab.budget import parse_energy
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.measuring import measure
from joulelab.energy.options import Options
from joulelab.energy.reading import Status
from joulelab.errors import MeterError, UsageError
from joulelab.formats import joules

STATUS = "energy_status"
SPENT = "joulelab:spent_j:"
"""Prefix of a study's attributes with what was spent, one for each callback."""


class EnergyCallback:
    """Measures trials and stops a study when its budget is spent; one for each study.

    `measured` and `measure` store user attributes of a trial, also of a pruned or failed one:

    - ``energy_j``: gross joules over the domains that count; None where unknown
    - ``energy_error_j``: bound of its error; None where unknown
    - ``energy_status``: measured, partly estimated, estimated or missing
    - ``energy_source``: the means, such as ``"nvml-counter, rapl"``
    - ``energy_reason``: why it is unknown; only then
    - ``energy_flags``: remarks on its quality; only where there are any

    Args:
        budget: joules, or text with a unit: ``"20kJ"``, ``"0.5 kWh"`` (J, kJ, MJ, Wh, kWh). No
            trial begins once it is spent; the last one may overshoot it.
        options: of the measurement, see `joulelab.energy.options.Options`.

    Raises:
        UsageError: a budget that is not an energy above 0.
    """

    def __init__(self, budget: str | float | None = None, **options: Unpack[Options]) -> None:
        self.budget_j = None if budget is None else parse_energy(budget)
        self._options = options
        self._guard = threading.Lock()
        self._key = f"{SPENT}{uuid.uuid4().hex[:12]}"
        self._period: _Period | None = None
        self._closed_j = 0.0
        self._unknown = ""
        self._begun = False
        self._study_name: str | None = None

    def measured(self, objective: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """An objective whose trials are measured.

        Args:
            objective: of Optuna.
        """

        @functools.wraps(objective)
        def call(trial: Any) -> Any:
            with self.measure(trial):
                return objective(trial)

        return call

    @contextmanager
    def measure(self, trial: Any) -> Iterator[None]:
        """Measure a trial, for loops of ask and tell: ``with energy.measure(trial): ...``.

        Args:
            trial: of Optuna, not finished.

        Raises:
            UsageError: earlier sessions of the study have spent the budget.
        """
        self._check_budget(trial)
        period = self._enter(trial.number)
        try:
            yield
        finally:
            for key, value in self._leave(period, trial.number).items():
                trial.set_user_attr(key, value)

    @property
    def spent_j(self) -> float | None:
        """Joules of all trials measured by this callback until now; None where unknown."""
        with self._guard:
            return self._spent_j()

    def __call__(self, study: Any, trial: Any) -> None:
        """Stop the study if its budget is spent; Optuna calls it after each trial.

        Raises:
            UsageError: the trial was not measured, or belongs to another study.
            MeterError: there is a budget, and what was spent is unknown.
        """
        if STATUS not in trial.user_attrs:
            raise UsageError(
                f"trial {trial.number} was not measured: a callback alone comes too late",
                "study.optimize(energy.measured(objective), callbacks=[energy])",
            )
        with self._guard:
            if self._study_name not in (None, study.study_name):
                raise UsageError("an EnergyCallback serves one study", "make one for each study")
            self._study_name = study.study_name
            spent_j = self._spent_j()
            if spent_j is not None:
                study.set_user_attr(self._key, spent_j)
            elif self.budget_j is not None:
                raise MeterError(
                    f"the budget of {joules(self.budget_j)} cannot be kept: {self._unknown}",
                    "`joulelab doctor` says which meters work here",
                )
        if self.budget_j is not None and spent_of(study) >= self.budget_j:
            study.stop()

    def _check_budget(self, trial: Any) -> None:
        """Refuse to begin with nothing left; later the callback stops the study in time."""
        if self.budget_j is None or self._begun:
            return
        spent_j = spent_of(trial.study)
        if spent_j >= self.budget_j:
            raise UsageError(
                f"the study has spent {joules(spent_j)} of {joules(self.budget_j)}",
                "give it a higher budget",
            )

    def _enter(self, number: int) -> _Period:
        with self._guard:
            self._begun = True
            if self._period is None:
                measuring = measure(f"trial {number}", **self._options)
                measuring.start()
                self._period = _Period(measuring)
            self._period.enter(number)
            return self._period

    def _leave(self, period: _Period, number: int) -> dict[str, Any]:
        with self._guard:
            others = period.running.pop(number)
            result = None
            if not period.running:
                self._period = None
                result = period.measuring.stop()
                self._close(result)
        if others or result is None:
            plural = "trials" if len(others) > 1 else "trial"
            shown = ", ".join(map(str, sorted(others)))
            return _missing(f"overlaps {plural} {shown}: meters read the machine, not the trial")
        return _attributes(result)

    def _close(self, result: Measurement) -> None:
        if result.energy_j is None:
            self._unknown = f"the energy of {result.label} is unknown: {_reason(result)}"
        else:
            self._closed_j += result.energy_j

    def _spent_j(self) -> float | None:
        if self._unknown:
            return None
        open_j: float | None = 0.0
        if self._period is not None:
            open_j = self._period.measuring.so_far().energy_j
        # Early in a window the sensors may not have said anything yet.
        return self._closed_j + (open_j or 0.0)


@dataclass
class _Period:
    """A time in which trials ran without a pause between them.

    Attributes:
        measuring: its window.
        running: for each trial that runs, those that it overlaps.
    """

    measuring: Measuring
    running: dict[int, set[int]] = field(default_factory=dict)

    def enter(self, number: int) -> None:
        """A trial begins: it and those that run overlap."""
        for others in self.running.values():
            others.add(number)
        self.running[number] = set(self.running)


def spent_of(study: Any) -> float:
    """Joules that a study has spent, in all its sessions and processes.

    Args:
        study: of Optuna, with an `EnergyCallback`.
    """
    attributes = study.user_attrs
    return math.fsum(value for key, value in attributes.items() if key.startswith(SPENT))


def _attributes(result: Measurement) -> dict[str, Any]:
    total = result.total
    if total.gross_j is None:
        return _missing(_reason(result))
    return {
        "energy_j": total.gross_j,
        "energy_error_j": total.error_j,
        STATUS: str(total.status),
        "energy_source": ", ".join(total.sources),
        **({"energy_flags": list(result.flags)} if result.flags else {}),
    }


def _missing(reason: str) -> dict[str, Any]:
    return {
        "energy_j": None,
        "energy_error_j": None,
        STATUS: str(Status.MISSING),
        "energy_source": "",
        "energy_reason": reason,
    }


def _reason(result: Measurement) -> str:
    reasons = [f"{r.domain}: {r.reason}" for r in result.readings if r.gross_j is None]
    return "; ".join(reasons) or "there is no meter"
