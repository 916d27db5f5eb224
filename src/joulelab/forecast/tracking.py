"""Follow a loop of one's own: its energy, its forecast, its phases, its budget.

::

    training = joulelab.track(range(50), budget="20 kJ")
    for epoch in training:
        train()
        with joulelab.phase("evaluation"):
            evaluate()
    print(training.measurement, training.phases["evaluation"].energy_j)

    step | step | step | ...      before each step: is what it may take within the budget?
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack
from typing import Generic, Literal, TextIO, TypeVar, Unpack

from joulelab import formats
from joulelab.budget import TOLERANCE, Budget, parse_budget
from joulelab.energy.carbon.footprint import default_place
from joulelab.energy.ending import spent
from joulelab.energy.measurement import Measurement, answer
from joulelab.energy.monitor import Measuring, Options, shared_monitor
from joulelab.energy.phases import PhaseEnergy, phase_energies
from joulelab.errors import BudgetSpentError, MeterError, UsageError
from joulelab.forecast.outcome import TrainingPrediction
from joulelab.forecast.training_forecast import TrainingForecast
from joulelab.kinds.program.events import marked_phases

T = TypeVar("T")
OnBudget = Literal["stop", "raise", "flag"]

TERMINAL_S, PLAIN_S = 0.2, 10.0
"""Time between two lines of progress, on a terminal and elsewhere."""


def track(
    items: Iterable[T],
    budget: str | None = None,
    *,
    total: int | None = None,
    label: str = "",
    on_budget: OnBudget = "stop",
    quiet: bool = False,
    **options: Unpack[Options],
) -> Tracked[T]:
    """Measure a loop while it runs: ``for epoch in joulelab.track(range(50), budget="20 kJ")``.

    Args:
        items: what is looped over; one step each, an epoch for instance.
        budget: in joules, watt-hours, time or CO2e: ``"20 kJ"``, ``"5 Wh"``, ``"2h"``,
            ``"50 gCO2e"``; None for no limit. A step does not begin if it would overshoot the
            budget by more than 2 %, should it take as much as the last one.
        total: number of steps; default: ``len(items)``, if it has one. Without, there is no
            forecast.
        label: what is measured, for the result.
        on_budget: ends the loop, raises, or sets ``over`` and goes on.
        quiet: whether to show no progress.
        options: see `joulelab.energy.monitor.Options`.

    Raises:
        UsageError: the budget is not an amount, or is in grams of CO2e and there is no ``place``.
    """
    return Tracked(items, budget, total, label, on_budget, options, quiet=quiet)


class Tracked(Generic[T]):
    """A loop that is measured; made by `track`, iterated once.

    Attributes:
        predictions: one for each step, where the number of steps is known.
        steps: number of steps that have ended.
        over: whether the budget is spent.
    """

    def __init__(
        self,
        items: Iterable[T],
        budget: str | None,
        total: int | None,
        label: str,
        on_budget: OnBudget,
        options: Options,
        *,
        quiet: bool,
    ) -> None:
        self.label = label
        self.steps = 0
        self.over = False
        self.predictions: list[TrainingPrediction] = []
        self._items = items
        self._total = len(items) if total is None and isinstance(items, Sized) else total
        self._budget = _checked(budget, options)
        self._on_budget = on_budget
        self._options = options
        self._line = _Line(None if quiet else sys.stderr)
        self._measurement: Measurement | None = None
        self._phases: Mapping[str, PhaseEnergy] = {}

    def __iter__(self) -> Iterator[T]:
        """The items, measured from the first to the end of the loop.

        Raises:
            BudgetSpentError: with ``on_budget="raise"``, instead of a step that would overshoot.
            MeterError: there is a budget and what is spent is unknown; or it was iterated before.
        """
        if self._measurement is not None:
            raise MeterError("a tracked loop can be run once", "call joulelab.track again")
        with ExitStack() as stack:
            marks = stack.enter_context(marked_phases())
            forecast = None
            if self._total:
                forecast = TrainingForecast(self._total, label=self.label, **self._options)
                forecast.start()
                measuring = forecast.measuring
            else:
                measuring = shared_monitor(**self._options).measure(self.label)
                measuring.start()
            try:
                yield from self._measured(measuring, forecast)
            finally:
                if forecast is not None:
                    forecast.stop()
                found = self._measurement = measuring.stop()
                samples = measuring.window.channel_samples
                self._phases = phase_energies(marks, found, found.total, samples)
                self._line.end(self._end())

    def _measured(self, measuring: Measuring, forecast: TrainingForecast | None) -> Iterator[T]:
        before = 0.0
        for item in self._items:
            if self._budget is not None and self.steps:
                now = self._spent(measuring.so_far())
                step, before = now - before, now
                if now + step > self._budget.amount * (1 + TOLERANCE):
                    self.over = True
                    if self._on_budget == "raise":
                        raise BudgetSpentError(self._why(now), "give more, or stop there")
                    if self._on_budget == "stop":
                        return
            yield item
            self.steps += 1
            if forecast is not None and self.steps <= forecast.epochs:
                self.predictions.append(forecast.epoch_done())
            if self._line.is_due():
                self._line.show(self._progress(measuring.so_far()))

    def _spent(self, measurement: Measurement) -> float:
        assert self._budget is not None
        amount = spent(measurement, self._budget)
        if amount is None:
            raise MeterError(
                f"the budget of {self._budget} cannot be kept: what was spent is unknown",
                "`joulelab doctor` says which meters work here",
            )
        return amount

    def _why(self, now: float | None) -> str:
        assert self._budget is not None
        done = f"{self.steps} of {self._total}" if self._total else str(self.steps)
        return (
            f"after {done} steps {self._budget.words(now)} of {self._budget} are spent, and "
            "another step would overshoot"
        )

    @property
    def measurement(self) -> Measurement:
        """The measurement of the loop.

        Raises:
            MeterError: the loop has not ended.
        """
        if self._measurement is None:
            raise MeterError("the loop has not ended", "leave it first")
        return self._measurement

    @property
    def phases(self) -> Mapping[str, PhaseEnergy]:
        """What each `joulelab.phase` in the loop took."""
        return self._phases

    def _progress(self, measurement: Measurement) -> str:
        """``12 of 50: 4.20 kJ of 20.0 kJ; 17.4 kJ in all (16.1 to 18.9 kJ), 8 min 20 s left``."""
        parts = [f"{self.steps} of {self._total}" if self._total else f"{self.steps} steps"]
        amount = formats.joules(measurement.energy_j)
        if (budget := self._budget) is not None:
            amount = f"{budget.words(spent(measurement, budget))} of {budget}"
        if measurement.co2e_g is not None and (budget is None or budget.unit != "grams"):
            amount += f", {formats.grams(measurement.co2e_g)} CO2e"
        parts.append(f": {amount}")
        if self.predictions and (coming := self.predictions[-1]).left_s:
            if coming.energy_j is not None:
                between = formats.joules_range(coming.low_j, coming.high_j)
                parts.append(f"; {formats.joules(coming.energy_j)} in all ({between})")
            parts.append(f", {formats.duration(coming.left_s)} left")
        return "".join(parts)

    def _end(self) -> str:
        said = answer(self.measurement)
        if self.over and self._on_budget == "stop" and self._budget is not None:
            said += f"\nstopped: {self._why(spent(self.measurement, self._budget))}"
        return said


class _Line:
    """Progress on a stream: one line that is replaced on a terminal, now and then one elsewhere."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = bool(stream and stream.isatty())
        self._due_s = time.monotonic() + (0.0 if self._terminal else PLAIN_S)
        self._width = 0

    def is_due(self) -> bool:
        return self._stream is not None and time.monotonic() >= self._due_s

    def show(self, text: str) -> None:
        if self._terminal:
            self._write(f"\r{text.ljust(self._width)}")
            self._width = len(text)
        else:
            self._write(f"{text}\n")
        self._due_s = time.monotonic() + (TERMINAL_S if self._terminal else PLAIN_S)

    def end(self, text: str) -> None:
        clear = f"\r{' ' * self._width}\r" if self._width else ""
        self._write(f"{clear}{text}\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def _checked(budget: str | None, options: Options) -> Budget | None:
    if budget is None:
        return None
    found = parse_budget(budget)
    if found.unit not in ("joules", "seconds", "grams"):
        raise UsageError(
            f"a loop has no budget in {found.unit}",
            'give joules, watt-hours, time or CO2e: "20 kJ", "5 Wh", "2h", "50 gCO2e"',
        )
    if found.unit == "grams" and options.get("place") is None and default_place() is None:
        raise UsageError(
            f"a budget of {found} needs the origin of the electricity", 'give place="NLD"'
        )
    return found
