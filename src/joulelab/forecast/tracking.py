"""Follow a loop: its energy, its forecast, its phases, its budget.

::

    training = joulelab.track(range(50), budget="20 kJ")
    for epoch in training:
        train()
        with joulelab.phase("evaluation"):
            evaluate()
    print(training.result, training.phases["evaluation"].energy_j)

    step | step | step | ...      before each step: is what it may take within the budget?

Without a ``for``::

    training = joulelab.track(total=50, budget="20 kJ")
    training.start()
    while not training.over:
        train()
        training.step_done()
    print(training.stop())

Joules per token, where each step says how many it was trained on::

    for batch in (training := joulelab.track(batches)):
        train(batch)
        training.tokens_done(batch["input_ids"].numel())
    print(training.j_per_token)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Generic, Literal, TextIO, TypeVar, Unpack, get_args

from joulelab import formats
from joulelab.budget import check_on_budget
from joulelab.energy.agreement import Agreement, agreement
from joulelab.energy.measurement import Measurement, answer
from joulelab.energy.options import Options
from joulelab.energy.phases import PhaseEnergy
from joulelab.errors import BudgetSpentError, UsageError, quoted
from joulelab.forecast.following import Follower
from joulelab.forecast.outcome import TrainingPrediction
from joulelab.sinks.named import Named

T = TypeVar("T")
OnBudget = Literal["stop", "raise", "flag"]

TERMINAL_S, PLAIN_S = 0.2, 10.0
"""Time between two lines of progress, on a terminal and elsewhere."""


def track(
    items: Iterable[T] | None = None,
    budget: str | None = None,
    *,
    total: int | None = None,
    label: str = "",
    on_budget: OnBudget = "stop",
    quiet: bool = False,
    to: Named | None = None,
    gather: bool = True,
    **options: Unpack[Options],
) -> Tracked[T]:
    """Measure a loop while it runs: ``for epoch in joulelab.track(range(50), budget="20 kJ")``.

    Args:
        items: what is looped over; one step each, an epoch for instance. None for a loop that calls
            `Tracked.step_done`.
        budget: in joules, watt-hours, time or CO2e: ``"20 kJ"``, ``"5 Wh"``, ``"2h"``,
            ``"50 gCO2e"``; None for no limit. A step does not begin if it would overshoot the
            budget by more than 1 %, should it take as much as the last ones.
        total: number of steps; default: ``len(items)``, if it has one. Without, there is no
            forecast.
        label: what is measured, for the result.
        on_budget: ends the loop, raises, or sets ``over`` and goes on.
        quiet: whether to show no progress.
        to: where the values of each step go: ``"run.csv"``, ``"mlflow"``, or several; see
            `joulelab.sinks`.
        gather: as for `joulelab.measure`.
        options: see `joulelab.energy.options.Options`.

    Raises:
        UsageError: `items` cannot be looped over; `total` is not a number of them; the budget is
            not an amount, or is in grams of CO2e and there is no ``place``; `on_budget` is
            something else.
    """
    if items is not None and not isinstance(items, Iterable):
        number = items if isinstance(items, int) else 5
        raise UsageError(
            f"joulelab.track({quoted(items)}): that cannot be looped over",
            f"give an iterable, such as range({number})",
        )
    check_on_budget(on_budget, get_args(OnBudget))
    if total is None and isinstance(items, Sized):
        total = len(items)
    elif total is not None and (not isinstance(total, int) or total < 0):
        raise UsageError(f"total = {quoted(total)} is not possible", "give the number of steps")
    follower = Follower(total, budget, label, options, to, gather=gather)
    agreed = agreement(follower.rank, label, budget)
    return Tracked(items, follower, on_budget, quiet=quiet, agreed=agreed)


class Tracked(Generic[T]):
    """A loop that is measured; made by `track`, and iterated once or started and stopped once.

    Attributes:
        follower: measures it.
    """

    def __init__(
        self,
        items: Iterable[T] | None,
        follower: Follower,
        on_budget: OnBudget,
        *,
        quiet: bool,
        agreed: Agreement | None = None,
    ) -> None:
        self.follower = follower
        self._items = items
        self._on_budget = on_budget
        self._ended = False
        self._agreed = agreed
        self._line = _Line(None if quiet or follower.rank.number else sys.stderr)

    def __iter__(self) -> Iterator[T]:
        """The items, measured from the first to the end of the loop.

        Raises:
            BudgetSpentError: with ``on_budget="raise"``, instead of a step that would overshoot.
            MeterError: there is a budget and what is spent is unknown; or it was iterated before.
        """
        if self._items is None:
            raise UsageError("there is nothing to loop over", "joulelab.track(range(50))")
        follower, looks, alone = self.follower, self.follower.looks, self._agreed is None
        self.start()
        try:
            for item in self._items:
                if follower.over:
                    if self._on_budget == "raise":
                        raise BudgetSpentError(follower.why_over(), "give more, or stop there")
                    if self._on_budget == "stop":
                        break
                yield item
                if alone and time.monotonic() < looks.due_s:  # as in most steps that are short
                    follower.steps += 1
                else:
                    self.step_done()
        finally:
            self.stop()

    def start(self) -> None:
        """Begin to measure, for use without iterating over it.

        Raises:
            MeterError: it was started before, or meters cannot be opened.
        """
        self.follower.start()

    def step_done(self) -> bool:
        """A step has ended; whether another fits the budget is then in `over`.

        Returns:
            Whether the meters were looked at: at most 0.5 % of the time.

        Raises:
            MeterError: it is not running; there is a budget, and what is spent is unknown.
        """
        looked = self.follower.step_done()
        if self._agreed is not None:
            self.follower.over = self._agreed.any_over(self.follower.over)
        if looked:
            self._show()
        return looked

    def tokens_done(self, tokens: int) -> None:
        """Count tokens that the loop was trained on, of all ranks.

        Args:
            tokens: number of them, in addition to those before.

        Raises:
            UsageError: it is below 0.
        """
        self.follower.count_tokens(tokens)

    @property
    def tokens(self) -> int | None:
        """Number of tokens so far; None where nobody has counted them."""
        return self.follower.tokens

    @property
    def j_per_token(self) -> float | None:
        """Gross joules per token, until now or of the whole; None where something is unknown.

        Raises:
            MeterError: it was never started.
        """
        return self.follower.j_per_token(self.so_far())

    def _show(self) -> None:
        if self._line.is_due():
            self._line.show(self.follower.progress())

    def so_far(self) -> Measurement:
        """The measurement until now; the whole after the end.

        Raises:
            MeterError: it was never started.
        """
        return self.follower.so_far()

    def stop(self) -> Measurement:
        """End, and return the measurement; a second call returns the same.

        Raises:
            MeterError: it was never started.
        """
        follower, ended = self.follower, self._ended
        measurement = follower.stop()
        self._ended = True
        if not ended:
            said = answer(measurement)
            if (per_token_j := follower.j_per_token(measurement)) is not None:
                counted = formats.count(follower.tokens or 0, "token")
                said += f"\n{formats.joules(per_token_j)} per token, {counted}"
            if follower.over and self._on_budget == "stop":
                said += f"\nstopped: {follower.why_over()}"
            self._line.end(said)
        return measurement

    @property
    def steps(self) -> int:
        """Number of steps that have ended."""
        return self.follower.steps

    @property
    def over(self) -> bool:
        """Whether another step would overshoot the budget."""
        return self.follower.over

    @property
    def predictions(self) -> list[TrainingPrediction]:
        """One for each look at the meters, where the number of steps is known."""
        return self.follower.predictions

    @property
    def result(self) -> Measurement:
        """The measurement of the loop.

        Raises:
            MeterError: the loop has not ended.
        """
        return self.follower.result

    @property
    def measurement(self) -> Measurement:
        """The same as `result`."""
        return self.result

    @property
    def phases(self) -> Mapping[str, PhaseEnergy]:
        """What each `joulelab.phase` in the loop took."""
        return self.follower.phases


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
