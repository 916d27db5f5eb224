"""Follow steps from outside a loop: what `joulelab.track` and the callbacks have in common.

::

    follower.start()
    train(); follower.step_done()      measured, predicted; may another step begin? follower.over
    train(); follower.step_done()
    follower.stop()
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from joulelab import formats
from joulelab.budget import TOLERANCE
from joulelab.energy.ending import known_spent, spent, window_budget
from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Measuring, Options, shared_monitor
from joulelab.energy.phases import PhaseEnergy, phase_energies
from joulelab.errors import MeterError
from joulelab.forecast.outcome import TrainingPrediction
from joulelab.forecast.training_forecast import TrainingForecast
from joulelab.kinds.program.events import Marks, marked_phases
from joulelab.sinks.feed import Feed
from joulelab.sinks.named import Named, named_sinks


class Follower:
    """Measures steps, predicts the whole, and says when a budget is spent.

    Args:
        total: number of steps; None where it is unknown, and then there is no forecast.
        budget: as for `joulelab.track`.
        label: what is measured.
        options: of the meters.
        to: as for `joulelab.track`.

    Attributes:
        steps: number of steps that have ended.
        predictions: one for each step, where `total` is known.
        over: whether another step, should it take as much as the last one, would overshoot the
            budget by more than 2 %.

    Raises:
        UsageError: the budget is not an amount, or is in grams of CO2e and there is no ``place``;
            a sink is unknown.
    """

    def __init__(
        self,
        total: int | None,
        budget: str | None,
        label: str,
        options: Options,
        to: Named | None = None,
    ) -> None:
        self.total = total
        self.label = label
        self.steps = 0
        self.over = False
        self.predictions: list[TrainingPrediction] = []
        self._budget = None if budget is None else window_budget(budget, options.get("place"))
        self._options = options
        self._spent = 0.0
        self._open = ExitStack()
        self._marks: Marks = []
        self._forecast: TrainingForecast | None = None
        self._measuring: Measuring | None = None
        self._measurement: Measurement | None = None
        self._phases: Mapping[str, PhaseEnergy] = {}
        self._feed = Feed(named_sinks(to), label) if to else None

    def start(self) -> None:
        """Begin to measure.

        Raises:
            MeterError: it was started before, or meters cannot be opened.
            UsageError: a sink cannot be opened.
        """
        if self._measuring is not None:
            raise MeterError("a loop can be tracked once", "call joulelab.track again")
        if self._feed is not None:
            shared_monitor(**self._options)  # what cannot be measured is said first
            self._feed.open()
        try:
            self._measuring = self._started()
        except BaseException:
            if self._feed is not None:
                self._feed.end(failed=True)
            raise
        self._marks = self._open.enter_context(marked_phases())
        if self._feed is not None:
            self._feed.begin(self.so_far, steps=True)

    def _started(self) -> Measuring:
        if self.total:
            self._forecast = TrainingForecast(self.total, label=self.label, **self._options)
            self._forecast.start()
            return self._forecast.measuring
        measuring = shared_monitor(**self._options).measure(self.label)
        measuring.start()
        return measuring

    def step_done(self) -> None:
        """A step has ended.

        Raises:
            MeterError: there is a budget, and what is spent is unknown.
        """
        self.steps += 1
        if self._forecast is not None and self.steps <= self._forecast.epochs:
            self.predictions.append(self._forecast.epoch_done())
        if self._feed is not None:
            self._feed.step(self.steps, self.so_far, self._forecast_values())
        if self._budget is None:
            return
        amount = known_spent(self.so_far(), self._budget)
        step, self._spent = amount - self._spent, amount
        self.over = amount + step > self._budget.amount * (1 + TOLERANCE)

    def so_far(self) -> Measurement:
        """The measurement until now.

        Raises:
            MeterError: it was never started.
        """
        if self._measuring is None:
            raise MeterError("nothing is measured yet", "start it first")
        return self._measuring.so_far()

    def stop(self) -> Measurement:
        """End, and return the measurement; a second call returns the same."""
        if self._measurement is None:
            measuring = self._measuring
            if measuring is None:
                raise MeterError("nothing is measured yet", "start it first")
            self._open.close()
            if self._feed is not None:
                self._feed.pause()
            if self._forecast is not None:
                self._forecast.stop()
            found = self._measurement = measuring.stop()
            samples = measuring.window.channel_samples
            self._phases = phase_energies(self._marks, found, found.total, samples)
            if self._feed is not None:
                self._feed.end(found, self._phases)
        return self._measurement

    @property
    def measurement(self) -> Measurement:
        """The measurement of the whole.

        Raises:
            MeterError: it has not ended.
        """
        if self._measurement is None:
            raise MeterError("the loop has not ended", "leave it first")
        return self._measurement

    @property
    def phases(self) -> Mapping[str, PhaseEnergy]:
        """What each `joulelab.phase` took; empty before the end."""
        return self._phases

    def why_over(self) -> str:
        """Why no further step should begin, in words."""
        assert self._budget is not None
        done = f"{self.steps} of {self.total}" if self.total else str(self.steps)
        amount = self._budget.words(self._spent)
        return (
            f"after {done} steps {amount} of {self._budget} are spent, and another step would "
            "overshoot"
        )

    def values(self) -> dict[str, float]:
        """What is known now, for a logger: energy, power, CO2e, forecast; in J, W, g."""
        found = self.so_far()
        known = {
            "energy_j": found.energy_j,
            "power_w": found.mean_power_w,
            "co2e_g": found.co2e_g,
        }
        spent_now = {name: value for name, value in known.items() if value is not None}
        return spent_now | self._forecast_values()

    def _forecast_values(self) -> dict[str, float]:
        last = self.predictions[-1] if self.predictions else None
        known = {
            "energy_forecast_j": last.energy_j if last else None,
            "energy_forecast_low_j": last.low_j if last else None,
            "energy_forecast_high_j": last.high_j if last else None,
        }
        return {name: value for name, value in known.items() if value is not None}

    def progress(self) -> str:
        """``12 of 50: 4.20 kJ of 20.0 kJ; 17.4 kJ in all (16.1 to 18.9 kJ), 8 min 20 s left``."""
        measurement, budget = self.so_far(), self._budget
        done = f"{self.steps} of {self.total}" if self.total else f"{self.steps} steps"
        amount = formats.joules(measurement.energy_j)
        if budget is not None:
            amount = f"{budget.words(spent(measurement, budget))} of {budget}"
        if measurement.co2e_g is not None and (budget is None or budget.unit != "grams"):
            amount += f", {formats.grams(measurement.co2e_g)} CO2e"
        said = f"{done}: {amount}"
        if self.predictions and (coming := self.predictions[-1]).left_s:
            if coming.energy_j is not None:
                between = formats.joules_range(coming.low_j, coming.high_j)
                said += f"; {formats.joules(coming.energy_j)} in all ({between})"
            said += f", {formats.duration(coming.left_s)} left"
        return said
