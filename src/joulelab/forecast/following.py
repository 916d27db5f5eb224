"""Follow steps from outside a loop: what `joulelab.track` and the callbacks have in common.

::

    follower.start()
    train(); follower.step_done()      measured, predicted; may another step begin? follower.over
    train(); follower.step_done()
    follower.stop()

A look at the meters takes milliseconds, and a step may be shorter. So a step is counted, and the
meters are looked at when it is time (`joulelab.forecast.looking`), or earlier near the end of a
budget: where a quarter of what is left of it may be spent. So the last look comes before the step
that would overshoot, even where the power is four times that of before::

    look  . . . . . . . .  look  . . . .  look  . .  look . look       steps in between are counted
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from joulelab import formats
from joulelab.budget import TOLERANCE, Budget
from joulelab.energy.ending import LOOK_S, known_spent, spent, window_budget
from joulelab.energy.gathering import gathering
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.options import Options, picklable
from joulelab.energy.order import already_ended, already_started, no_result, not_started
from joulelab.energy.other_rank import OtherRank
from joulelab.energy.phases import PhaseEnergy, phase_energies
from joulelab.energy.ranks import here
from joulelab.energy.shared_meters import shared_meters
from joulelab.errors import MeterError, UsageError
from joulelab.forecast.looking import Looks
from joulelab.forecast.outcome import TrainingPrediction
from joulelab.forecast.training_forecast import TrainingForecast
from joulelab.kinds.program.events import Marks, marked_phases
from joulelab.sinks.feed import Feed
from joulelab.sinks.named import Named, named_sinks

MARGIN = TOLERANCE / 2
"""A step may overshoot a budget by this share or by half of it, whichever is less: as much is left
for the end, and for what sensors lag."""
QUARTER = 0.25
AGAIN = "call joulelab.track again"
NOBODY_COUNTS = "nobody has counted the tokens"
NOT_FINISHED = "the training did not come to its end"


class Follower:
    """Measures steps, predicts the whole, and says when a budget is spent.

    Args:
        total: number of steps; None where it is unknown, and then there is no forecast.
        budget: as for `joulelab.track`.
        label: what is measured.
        options: of the meters.
        to: as for `joulelab.track`.
        gather: likewise.

    Attributes:
        rank: of this process; only the first on each node measures.
        steps: number of steps that have ended.
        looks: when the meters are looked at.
        predictions: one for each look, where `total` is known.
        tokens: number of tokens that the steps so far were trained on, in all ranks; None where
            nobody counts them.
        why_no_tokens: why that is unknown; empty where it is known.
        over: whether another step, should it take as much as the last ones, would overshoot the
            budget by more than 1 %, or more than half a step.

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
        *,
        gather: bool = True,
    ) -> None:
        self.rank = here()
        self.total = total
        self.label = label
        self.steps = 0
        self.tokens: int | None = None
        self.why_no_tokens = NOBODY_COUNTS
        self.over = False
        self.predictions: list[TrainingPrediction] = []
        self._budget = None if budget is None else window_budget(budget, options.get("place"))
        self._options = options
        self._seen: Measurement | None = None
        self._seen_steps = 0
        self._spent = 0.0
        self._rate = self._left = 0.0
        self._running = False
        self.looks = Looks()
        self._open = ExitStack()
        self._marks: Marks = []
        self._forecast: TrainingForecast | None = None
        self._measuring: Measuring | None = None
        self._measurement: Measurement | None = None
        self._phases: Mapping[str, PhaseEnergy] = {}
        self._feed = Feed(named_sinks(to), label) if to and not self.rank.number else None
        self._gathering = gathering(self.rank, label, gather=gather)

    def start(self) -> None:
        """Begin to measure.

        Raises:
            MeterError: it was started before, or meters cannot be opened.
            UsageError: a sink cannot be opened.
        """
        if self._measurement is not None:
            raise already_ended(self.label, AGAIN)
        if self._measuring is not None:
            raise already_started(self.label)
        if not self.rank.records:
            elsewhere = functools.partial(shared_meters, **self._options)
            self._measuring = OtherRank(elsewhere, self.label, self.rank)
            self._measuring.start()
            self.looks.never()
            self._running = True
            return
        if self._feed is not None:
            shared_meters(**self._options)  # what cannot be measured is said first
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
        if self._gathering is not None:
            self._gathering.begin()
        self._running = True

    def _started(self) -> Measuring:
        if self.total:
            self._forecast = TrainingForecast(self.total, label=self.label, **self._options)
            self._forecast.start()
            return self._forecast.measuring
        meters = shared_meters(**self._options)
        measuring = Measuring(lambda: meters, self.label)
        measuring.start()
        return measuring

    def step_done(self) -> bool:
        """A step has ended; look at the meters if it is time.

        Returns:
            Whether it has looked: `predictions`, `over` and `values` are new only then.

        Raises:
            MeterError: it was never started, or has ended; there is a budget, and what is spent is
                unknown.
        """
        if not self._running:
            raise self._not_running()
        self.steps += 1
        began_s = time.monotonic()
        if began_s < self.looks.due_s:
            return False
        self._look()
        ended_s = time.monotonic()
        self.looks.took(began_s, ended_s)
        self._look_in_time()
        return True

    def _not_running(self) -> MeterError:
        ended = self._measurement is not None
        return already_ended(self.label, AGAIN) if ended else not_started(self.label)

    def pay(self, cost_s: float) -> None:
        """Count the time that a logger took for the values among what looks may take."""
        self.looks.pay(cost_s)
        self._look_in_time()

    def _look_in_time(self) -> None:
        """Look before the budget may be spent."""
        if self._budget is None or self.over:
            return
        wait_s = self._left / self._rate * QUARTER if self._rate > 0 else LOOK_S
        self.looks.not_later_than(time.monotonic() + wait_s)

    def _look(self) -> None:
        """Measure until now, predict, tell the sinks, and see whether another step fits."""
        steps, self._seen_steps = self.steps - self._seen_steps, self.steps
        if self._forecast is not None and (left := self._forecast.left) > 0:
            self.predictions.append(self._forecast.epoch_done(min(steps, left)))
        if self._feed is not None:
            self._feed.step(self.steps, self.so_far, self._forecast_values())
        if self._budget is None:
            self._seen = None  # measured when somebody asks
        else:
            self._see_budget(self._budget, steps)

    def _see_budget(self, budget: Budget, steps: int) -> None:
        """See whether another step fits, and how much is left.

        Raises:
            MeterError: what is spent is unknown.
        """
        before, self._seen = self._seen, self.so_far()
        amount = known_spent(self._seen, budget)
        now_s = self._seen.duration_s
        passed_s = now_s - (before.duration_s if before else 0.0)
        # A counter may stand still between two looks.
        recent, mean = (amount - self._spent) / (passed_s or 1.0), amount / (now_s or 1.0)
        step = (amount - self._spent) / steps or amount / self.steps
        self._spent, self._rate = amount, max(recent, mean)
        margin = min(MARGIN * budget.amount, step / 2)
        self._left = budget.amount + margin - amount - step
        self.over = self._left < 0

    def so_far(self) -> Measurement:
        """The measurement until now; the whole after the end.

        Raises:
            MeterError: it was never started.
        """
        if self._measuring is None:
            raise not_started(self.label)
        return self._measurement or self._measuring.so_far()

    def stop(self, *, failed: bool = False) -> Measurement:
        """End, and return the measurement; a second call returns the same.

        Args:
            failed: whether the steps have not come to their end; the measurement says so.

        Raises:
            MeterError: it was never started.
        """
        if self._measurement is None:
            measuring = self._measuring
            if measuring is None:
                raise not_started(self.label)
            self._running = False
            self.looks.due_s = 0.0
            self._open.close()
            if self._feed is not None:
                self._feed.pause()
            if self._forecast is not None:
                self._forecast.stop()
            found = measuring.stop()
            if failed:
                found = replace(found, flags=(*found.flags, NOT_FINISHED))
            self._measurement = found
            if not self.rank.records:
                return found
            samples = measuring.window.channel_samples
            self._phases = phase_energies(self._marks, found, found.total, samples)
            if self._feed is not None:
                forecast = self._forecast_values()
                self._feed.end(
                    found, self._phases, step=self.steps, forecast=forecast, failed=failed
                )
            if self._gathering is not None:
                self._measurement = self._gathering.end(found, measuring.uuids)
        return self._measurement

    @property
    def result(self) -> Measurement:
        """The measurement of the whole.

        Raises:
            MeterError: it has not ended.
        """
        if self._measurement is None:
            raise no_result(self.label, started=self._measuring is not None)
        return self._measurement

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._measurement is not None

    @property
    def phases(self) -> Mapping[str, PhaseEnergy]:
        """What each `joulelab.phase` took; empty before the end."""
        return self._phases

    def why_over(self) -> str:
        """Why no further step should begin, in words."""
        assert self._budget is not None
        if not self.rank.records:
            return f"after {self.steps} steps the budget of {self._budget} is spent, says rank 0"
        done = f"{self.steps} of {self.total}" if self.total else str(self.steps)
        amount = self._budget.words(self._spent)
        return (
            f"after {done} steps {amount} of {self._budget} are spent, and another step would "
            "overshoot"
        )

    def count_tokens(self, tokens: int) -> None:
        """Add tokens that a step was trained on.

        Args:
            tokens: number of them.

        Raises:
            UsageError: it is below 0.
        """
        if tokens < 0:
            raise UsageError(f"{tokens} tokens are not possible", "count those of the step")
        self.tokens = (self.tokens or 0) + int(tokens)
        self.why_no_tokens = ""

    def j_per_token(self, measurement: Measurement) -> float | None:
        """Gross joules per token so far; None where tokens or energy are unknown.

        Args:
            measurement: of the same steps.
        """
        if not self.tokens or measurement.energy_j is None:
            return None
        if self.rank.nodes > 1 and not self.ended:
            return (
                None  # tokens are of all nodes, and energy is until they are gathered of this one
            )
        return measurement.energy_j / self.tokens

    def _last_seen(self) -> Measurement:
        """The measurement of the last look."""
        if self._measurement is None and self._seen is None:
            self._seen = self.so_far()
        return self._measurement or self._seen or self.so_far()

    def values(self) -> dict[str, float]:
        """What the last look has seen, for a logger: energy, power, CO2e, forecast; in J, W, g.

        Where tokens are counted, also joules per token.
        """
        found = self._last_seen()
        known = {
            "energy_j": found.energy_j,
            "power_w": found.mean_power_w,
            "co2e_g": found.co2e_g,
            "j_per_token": self.j_per_token(found),
        }
        spent_now = {name: value for name, value in known.items() if value is not None}
        return spent_now | self._forecast_values()

    def _forecast_values(self) -> dict[str, float]:
        """The last forecast; after the end, what it came to."""
        if not self.predictions:
            return {}
        last, whole = self.predictions[-1], self._measurement
        bounds = [last.energy_j, last.low_j, last.high_j]
        if whole is not None:
            bounds = [whole.energy_j] * len(bounds)
        names = ("energy_forecast_j", "energy_forecast_low_j", "energy_forecast_high_j")
        known = zip(names, bounds, strict=True)
        return {name: value for name, value in known if value is not None}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the sinks, which are of this process.

        Raises:
            MeterError: it is still running.
        """
        own = {"_feed": None, "_gathering": None}
        return {**vars(self), **own, "_options": picklable(self._options)}

    def progress(self) -> str:
        """``12 of 50: 4.20 kJ of 20.0 kJ; 17.4 kJ in all (16.1 to 18.9 kJ), 8 min 20 s left``."""
        measurement, budget = self._last_seen(), self._budget
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
