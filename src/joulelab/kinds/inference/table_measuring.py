"""Measure the costs of batches by size, within a time budget.

::

    load ─ idle ─ climb: 1, 2, 4, 8 ... ─ round: 4 1 8 2 ─ round: 2 8 1 4 ─ ... ─ idle
                   └ a batch or two of each,             └ a window of each size, in a new
                     to see what fits and how long          order in every round
                     it takes; not counted

Idle power is measured with the model loaded and the server waiting, before and after, as in a
server without requests. Each round has its own order, so that a warming machine does not bias large
batches. There is no cool-down in between, as in a server under load. But after each batch the
server waits as long as the batch took, as at half load: a batch after a wait takes longer than a
back-to-back one, because caches are cold and threads asleep, and this is the usual case in a
server.

The climb ends at the largest requested size, when memory is exhausted, at the first batch that
takes longer than the limit on response time, or if two windows of every size would exceed the time
budget.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psutil

from joulelab.energy.command import IDLE_TICKS
from joulelab.energy.lock import DeviceLocks
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.errors import ServingError
from joulelab.formats import duration, share
from joulelab.kinds.inference.batch_table import LOAD, SizeProfile
from joulelab.kinds.inference.executor import (
    Result,
    ServingExecutor,
    ServingJob,
    SessionExecutor,
    SessionJobT,
)
from joulelab.serving.results import Batches, Served
from joulelab.serving.tasks import BatchTask

LEAST_BATCHES = 3
"""Minimum number of batches in a window."""

LEAST_ROUNDS, MOST_ROUNDS = 2, 3
LEAST_WINDOW_S, LONGEST_WINDOW_S = 0.5, 10.0
LEAST_IDLE_S = 2.0
OTHERS = 0.1
"""Share of the processor that other programs may use without a remark."""

_WINDOW_LENGTHS = (10, 6, 4, 2, 1)
_AROUND_S = 0.1


@dataclass(frozen=True)
class Patience:
    """Limits of the measurement.

    Attributes:
        seconds: time budget after loading the model.
        largest: largest batch size to try; ``None`` without a limit.
        limit_s: limit on response time; the first batch that takes longer is the last. ``None``: no
            limit.
    """

    seconds: float
    largest: int | None = None
    limit_s: float | None = None


@dataclass(frozen=True)
class Windows:
    """The measurements.

    Attributes:
        profiles: one per window, in order.
        remarks: what happened on the way.
        interrupted: interrupted by Ctrl-C.
    """

    profiles: tuple[SizeProfile, ...]
    remarks: tuple[str, ...]
    interrupted: bool


class Alone(SessionExecutor[SessionJobT, Result]):
    """An executor that raises errors instead of returning failed outcomes.

    Arguments are as for `SessionExecutor`.
    """

    def load(self, job: SessionJobT) -> None:
        """Load the model of a job.

        Raises:
            UsageError: the model cannot be imported.
            ServingError: it cannot be built, or it fails.
            KeyboardInterrupt: Ctrl-C.
        """
        if self.prepare(job).state == "interrupted":
            raise KeyboardInterrupt
        if self._trouble is not None:
            raise self._trouble

    @property
    def tick_s(self) -> float:
        """Tick of the slowest sensor."""
        return max((channel.tick_s for channel in self._recorder.channels), default=0.0)

    @property
    def idle_error_w(self) -> Mapping[str, float]:
        """Bounds of the error of idle power in watts by domain."""
        return self._recorder.idle_error_w

    def measure_idle(self, seconds: float) -> Mapping[str, float]:
        """Measure idle power in watts by domain, while holding the locks of its devices.

        Args:
            seconds: duration.
        """
        with DeviceLocks(self._devices) as locks:
            locks.acquire(on_wait=self._on_wait)
            return self._recorder.measure_idle(seconds)


class ServedAlone(ServingExecutor, Alone[ServingJob, Served | Batches]):
    """Serves batches, and raises errors."""


class TableMeasuring:
    """Measures batches of one model on one device.

    Args:
        executor: serves and measures them.
        job: batches of any size of the model.
        patience: how far measuring goes.
        total: the energy of a measurement.
        tell: called with progress messages.
        seed: of the order in each round.
    """

    def __init__(
        self,
        executor: ServedAlone,
        job: ServingJob,
        patience: Patience,
        total: Callable[[Measurement], Total],
        tell: Callable[[str], None],
        seed: int = 0,
    ) -> None:
        self._executor = executor
        self._job = job
        self._patience = patience
        self._total = total
        self._tell = tell
        self._order = random.Random(seed)
        self._with_images = not isinstance(job.task, BatchTask) or job.task.with_images
        self._least_s = min(max(IDLE_TICKS * executor.tick_s, LEAST_WINDOW_S), LONGEST_WINDOW_S)
        self._seconds: dict[int, float] = {}
        self._measured: list[tuple[Measurement, Batches]] = []
        self._remarks: list[str] = []
        self._others = 0.0
        self._ends_s = math.inf

    def run(self) -> Windows:
        """Measure until done, the time budget ends, or Ctrl-C.

        Raises:
            UsageError: the model cannot be imported.
            ServingError: it cannot be built, or it fails with a batch of one image.
            KeyboardInterrupt: Ctrl-C came before a batch of one image was measured.
        """
        before_w: Mapping[str, float] = {}
        after_w: Mapping[str, float] = {}
        errors_w: list[Mapping[str, float]] = []
        interrupted = False
        try:
            self._tell("loading the model")
            self._executor.load(self._job)
            self._ends_s = time.monotonic() + self._patience.seconds
            before_w = self._idle()
            errors_w.append(self._executor.idle_error_w)
            self._climb()
            self._rounds()
            after_w = self._idle()
            errors_w.append(self._executor.idle_error_w)
        except KeyboardInterrupt:
            if all(batches.size > 1 for _, batches in self._measured):
                raise
            interrupted = True
        measured = [
            (one.with_idle(before_w, after_w, *errors_w), batches)
            for one, batches in self._measured
        ]
        profiles = tuple(
            SizeProfile.of(batches, one.duration_s, self._total(one)) for one, batches in measured
        )
        self._remarks += busy_remarks(self._others)
        flags = [flag for one, _ in measured for flag in one.flags]
        return Windows(profiles, tuple(dict.fromkeys([*self._remarks, *flags])), interrupted)

    def _idle(self) -> Mapping[str, float]:
        """Idle power by domain."""
        seconds = max(LEAST_IDLE_S, self._least_s)
        self._tell(f"measuring idle power for {duration(seconds)}")
        idle_w, others = idle_and_others(self._executor, seconds)
        self._others = max(self._others, others)
        return idle_w

    def _climb(self) -> None:
        """Try 1, 2, 4 ... once each."""
        size = 1
        while True:
            self._tell(f"trying batches of {size}")
            tried = self._run(size, 0.0, 1)
            if tried is None or tried[1].size < size:
                return
            self._seconds[size] = float(tried[1].durations_s.mean())
            limit_s, largest = self._patience.limit_s, self._patience.largest or math.inf
            if size >= largest or (limit_s is not None and self._seconds[size] > limit_s):
                return
            following = int(min(2 * size, largest))
            likely_s = self._seconds[size] * following / size
            needed_s = 2 * likely_s + LEAST_ROUNDS * self._round_s(
                {**self._seconds, following: likely_s}, self._least_s
            )
            if needed_s > self._left_s:
                self._remarks.append(
                    f"patience ran out at batches of {size}: --patience "
                    f"{math.ceil(self._patience.seconds - self._left_s + needed_s)} reaches "
                    f"{following}"
                )
                return
            size = following

    def _rounds(self) -> None:
        """Measure a window of every size in each round, within the time budget."""
        rounds, seconds = self._planned()
        for number in range(rounds):
            sizes = list(self._seconds)
            self._order.shuffle(sizes)
            for place, size in enumerate(sizes):
                if number and self._window_s(size, seconds) > self._left_s:
                    continue  # a slow machine: the plan no longer fits
                left_s = max(self._left_s, 0.0)
                self._tell(
                    f"round {number + 1} of {rounds}: batches of {size} ({place + 1} of "
                    f"{len(sizes)}), at most {duration(left_s)} left"
                )
                self._measure(size, seconds, number)

    def _planned(self) -> tuple[int, float]:
        """The number of rounds, and the longest windows that fit twice."""
        for length in _WINDOW_LENGTHS:
            seconds = length * self._least_s
            if seconds > LONGEST_WINDOW_S:
                continue
            for rounds in range(MOST_ROUNDS, LEAST_ROUNDS - 1, -1):
                if rounds * self._round_s(self._seconds, seconds) <= self._left_s:
                    return rounds, seconds
        return 1, self._least_s

    def _measure(self, size: int, seconds: float, seed: int) -> None:
        outcome = self._run(size, seconds, LEAST_BATCHES, seed)
        if outcome is not None and outcome[1].size == size:
            self._measured.append(outcome)
        else:
            del self._seconds[size]

    def _run(
        self, size: int, seconds: float, least: int, seed: int = 0
    ) -> tuple[Measurement, Batches] | None:
        """Run batches of one size; ``None`` if they fail, which is an error for a single image."""
        task = BatchTask(
            self._job.task.model,
            self._job.task.images,
            size,
            seconds,
            least,
            with_images=self._with_images,
            warm_up_batches=1,
            seed=seed,
            load=LOAD if seconds else 1.0,
        )
        job = replace(self._job, label=f"batches of {size}", task=task)
        try:
            self._executor.load(job)
            outcome = self._executor.run(job, lambda _: None)
            if outcome.state == "interrupted":
                raise KeyboardInterrupt
            batches = outcome.result
            if not isinstance(batches, Batches):
                raise ServingError(
                    f"the model fails with batches of {size}: {outcome.error}",
                    "run one batch of this size by hand",
                )
        except ServingError as error:
            if size == 1:
                raise
            self._remarks.append(f"batches of {size} left out: {error.message}")
            return None
        self._remarks += batches.remarks
        if batches.unreadable:
            self._remarks.append("some images cannot be read and were replaced by others")
        return outcome.measurement, batches

    @property
    def _left_s(self) -> float:
        """The rest of the time budget, after measuring idle power once more."""
        return self._ends_s - time.monotonic() - max(LEAST_IDLE_S, self._least_s)

    def _round_s(self, seconds: Mapping[int, float], window_s: float) -> float:
        """Expected duration of a round, from the time of a batch by size."""
        return sum(_window_s(batch_s, window_s) for batch_s in seconds.values())

    def _window_s(self, size: int, window_s: float) -> float:
        return _window_s(self._seconds[size], window_s)


def idle_and_others(executor: Alone[Any, Any], seconds: float) -> tuple[Mapping[str, float], float]:
    """Idle power by domain, and the share of the processor that other programs used meanwhile.

    Args:
        executor: with the model loaded.
        seconds: duration.
    """
    before = psutil.cpu_times()
    idle_w = executor.measure_idle(seconds)
    return idle_w, _busy_share(before, psutil.cpu_times())


def busy_remarks(others: float) -> list[str]:
    """A remark if other programs were busy while this one was idle.

    Args:
        others: share of the processor that they used.
    """
    if others <= OTHERS:
        return []
    return [
        f"other programs kept {share(others)} of the processor busy while this one was idle: the "
        "numbers are for a busy machine"
    ]


def _busy_share(before: Any, after: Any) -> float:  # noqa: ANN401 - a type of the system
    """Busy share of all processors between two values of `psutil.cpu_times`."""
    passed = {name: getattr(after, name) - getattr(before, name) for name in after._fields}
    # Linux includes guest time in user time.
    total = sum(seconds for name, seconds in passed.items() if not name.startswith("guest"))
    idle = passed["idle"] + passed.get("iowait", 0.0)
    return float(1 - idle / total) if total > 0 else 0.0


def _window_s(batch_s: float, window_s: float) -> float:
    """Duration of a window with its warm-up."""
    return batch_s + max(window_s, LEAST_BATCHES * batch_s / LOAD) + _AROUND_S
