"""Measure windows of growing batch sizes, within a time budget.

::

    load ─ idle ─ climb: 1, 2, 4, 8 ... ─ round: 4 1 8 2 ─ round: 2 8 1 4 ─ ... ─ idle
                   └ each size briefly,      └ a window of each size, in a new
                     to see what fits and      order in every round
                     how long it takes;
                     not counted

Idle power is measured with the model loaded and the server waiting, before and after, as in a
server without requests. Each round has its own order, so that a warming machine does not bias large
batches. There is no cool-down in between, as in a server under load.

The climb ends at the largest requested size, when memory is exhausted, at the first size that takes
longer than the limit, or if two windows of everything would exceed the time budget.

What is measured is `Work`. A size may have several windows in a round, such as one for each length
of the prompts: its *cells*. A size counts once all its cells were measured.
"""

from __future__ import annotations

import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import psutil

from joulelab.energy.command import IDLE_TICKS
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.errors import ServingError
from joulelab.formats import duration, share
from joulelab.kinds.inference.executor import Result, SessionExecutor, SessionJobT
from joulelab.study.executor import Outcome

LEAST_ROUNDS, MOST_ROUNDS = 2, 3
LEAST_WINDOW_S, LONGEST_WINDOW_S = 0.5, 10.0
LEAST_IDLE_S = 2.0
OTHERS = 0.1
"""Share of the processor that other programs may use without a remark."""
AROUND_S = 0.1
"""Time around a window."""

Cell = tuple[int, ...]
"""What has a window of its own: a batch size, and what else its time depends on."""
Pieces = tuple[float, ...]
"""Mean seconds of each of the pieces that a window repeats."""
Window = TypeVar("Window")
"""What is kept of a window."""


@dataclass(frozen=True)
class Patience:
    """Limits of the measurement.

    Attributes:
        seconds: time budget after loading the model.
        largest: largest batch size to try; ``None`` without a limit.
        limit_s: limit on the time that a size takes; the first that takes longer is the last.
            ``None``: no limit.
    """

    seconds: float
    largest: int | None = None
    limit_s: float | None = None


class Work(ABC, Generic[SessionJobT, Result, Window]):
    """What is measured at each batch size.

    Args:
        loading: the job that loads the model.

    Attributes:
        window_lengths: in multiples of the shortest window, the longest first.
        most: largest batch size without a request for another.
    """

    window_lengths: ClassVar[Sequence[int]]
    most: ClassVar[float] = math.inf

    def __init__(self, loading: SessionJobT) -> None:
        self.loading = loading

    def cells(self, size: int) -> list[Cell]:
        """The cells of a batch size; each begins with it."""
        return [(size,)]

    @abstractmethod
    def size_in_words(self, size: int) -> str:
        """A batch size: ``batches of 8``."""

    def cell_in_words(self, cell: Cell) -> str:
        """A cell, by default as its size."""
        return self.size_in_words(cell[0])

    @abstractmethod
    def job(self, cell: Cell, seconds: float, seed: int) -> SessionJobT:
        """A window of at least some seconds; as short as possible if 0."""

    def remarks(self, result: Result) -> Sequence[str]:
        """What happened in a window, in words."""
        return ()

    def fits(self, cell: Cell, result: Result) -> bool:
        """Whether a window was of the batch size that was asked for."""
        return True

    @abstractmethod
    def pieces_s(self, result: Result) -> Pieces:
        """Mean seconds of the pieces of a window."""

    @abstractmethod
    def window_s(self, pieces_s: Pieces, seconds: float) -> float:
        """Expected duration of a window of some seconds, with what is around it."""

    @abstractmethod
    def limited_s(self, pieces_s: Pieces) -> float:
        """The time that the limit is on."""

    @abstractmethod
    def window(self, result: Result, outcome: Outcome[Result], total: Total) -> Window:
        """What is kept of a window.

        Args:
            result: of the job.
            outcome: with idle power.
            total: the energy.
        """


@dataclass(frozen=True)
class Measured(Generic[Window]):
    """The measurements.

    Attributes:
        windows: of the sizes that count, in order.
        sources: of their energies, each once.
        remarks: what happened on the way.
        interrupted: interrupted by Ctrl-C.
    """

    windows: tuple[Window, ...]
    sources: tuple[str, ...]
    remarks: tuple[str, ...]
    interrupted: bool


class Schedule(Generic[SessionJobT, Result, Window]):
    """Measures the work of one model on one device.

    Args:
        executor: does the work and measures it.
        work: what is measured.
        patience: how far measuring goes.
        total: the energy of a measurement.
        tell: called with progress messages.
        seed: of the order in each round.
    """

    def __init__(
        self,
        executor: SessionExecutor[SessionJobT, Result],
        work: Work[SessionJobT, Result, Window],
        patience: Patience,
        total: Callable[[Measurement], Total],
        tell: Callable[[str], None],
        seed: int = 0,
    ) -> None:
        self._executor, self._work, self._patience = executor, work, patience
        self._total, self._tell = total, tell
        self._order = random.Random(seed)
        self._least_s = min(max(IDLE_TICKS * executor.tick_s, LEAST_WINDOW_S), LONGEST_WINDOW_S)
        self._idle_s = max(LEAST_IDLE_S, self._least_s)
        self._pieces_s: dict[Cell, Pieces] = {}
        self._measured: list[tuple[Cell, Result, Outcome[Result]]] = []
        self._idles_w: list[Mapping[str, float]] = []
        self._idle_errors_w: list[Mapping[str, float]] = []
        self._remarks: list[str] = []
        self._others = 0.0
        self._ends_s = math.inf

    def run(self) -> Measured[Window]:
        """Measure until done, the time budget ends, or Ctrl-C.

        Raises:
            UsageError: the model cannot be imported, or has not the interface.
            ServingError: it cannot be built, or it fails at batch size 1.
            KeyboardInterrupt: Ctrl-C came before batch size 1 was measured.
        """
        interrupted = False
        try:
            self._tell("loading the model")
            self._executor.load(self._work.loading)
            self._ends_s = time.monotonic() + self._patience.seconds
            self._idle()
            self._climb()
            self._rounds()
            self._idle()
        except KeyboardInterrupt:
            if not self._counts(1):
                raise
            interrupted = True
        self._remarks += _busy_remarks(self._others)
        windows: list[Window] = []
        sources: list[str] = []
        for cell, result, outcome in self._measured:
            measurement = outcome.measurement.with_idle(
                self._idles_w[0], self._idles_w[-1], *self._idle_errors_w
            )
            self._remarks += measurement.flags
            if self._counts(cell[0]):
                total = self._total(measurement)
                whole = replace(outcome, measurement=measurement)
                windows.append(self._work.window(result, whole, total))
                sources += total.sources
        remarks = tuple(dict.fromkeys(self._remarks))
        return Measured(tuple(windows), tuple(dict.fromkeys(sources)), remarks, interrupted)

    def _counts(self, size: int) -> bool:
        """Whether every cell of a size was measured."""
        return {cell for cell, _, _ in self._measured}.issuperset(self._work.cells(size))

    def _idle(self) -> None:
        self._tell(f"measuring idle power for {duration(self._idle_s)}")
        before = psutil.cpu_times()
        self._idles_w.append(self._executor.measure_idle(self._idle_s))
        self._others = max(self._others, _busy_share(before, psutil.cpu_times()))
        self._idle_errors_w.append(self._executor.idle_error_w)

    def _climb(self) -> None:
        """Try 1, 2, 4 ... briefly."""
        size, limit_s = 1, self._patience.limit_s
        largest = self._patience.largest or self._work.most
        while True:
            self._tell(f"trying {self._work.size_in_words(size)}")
            tried: dict[Cell, Pieces] = {}
            for cell in self._work.cells(size):
                found = self._run(cell)
                if found is None:
                    return
                tried[cell] = self._work.pieces_s(found[0])
            self._pieces_s |= tried
            slowest_s = max(map(self._work.limited_s, tried.values()))
            if size >= largest or (limit_s is not None and slowest_s > limit_s):
                return
            following = int(min(2 * size, largest))
            likely = {
                cell: tuple(one_s * following / size for one_s in pieces_s)
                for cell, pieces_s in zip(self._work.cells(following), tried.values(), strict=True)
            }
            needed_s = 2 * sum(map(sum, likely.values()))
            needed_s += LEAST_ROUNDS * self._round_s({**self._pieces_s, **likely}, self._least_s)
            if needed_s > self._left_s:
                reaches = math.ceil(self._patience.seconds - self._left_s + needed_s)
                self._remarks.append(
                    f"patience ran out at {self._work.size_in_words(size)}: --patience {reaches} "
                    f"reaches {following}"
                )
                return
            size = following

    def _rounds(self) -> None:
        """Measure a window of every cell in each round, within the time budget."""
        rounds, seconds = self._planned()
        for number in range(rounds):
            cells = list(self._pieces_s)
            self._order.shuffle(cells)
            for place, cell in enumerate(cells):
                if cell not in self._pieces_s:
                    continue  # another cell of its size has just failed
                if number and self._round_s({cell: self._pieces_s[cell]}, seconds) > self._left_s:
                    continue  # a slow machine: the plan no longer fits
                self._tell(
                    f"round {number + 1} of {rounds}: {self._work.cell_in_words(cell)} "
                    f"({place + 1} of {len(cells)}), at most {duration(max(self._left_s, 0.0))} "
                    "left"
                )
                found = self._run(cell, seconds, number)
                if found is None:
                    for one in self._work.cells(cell[0]):
                        self._pieces_s.pop(one, None)
                else:
                    self._measured.append((cell, *found))

    def _planned(self) -> tuple[int, float]:
        """The number of rounds, and the longest windows that fit twice."""
        for length in self._work.window_lengths:
            seconds = length * self._least_s
            if seconds > LONGEST_WINDOW_S:
                continue
            for rounds in range(MOST_ROUNDS, LEAST_ROUNDS - 1, -1):
                if rounds * self._round_s(self._pieces_s, seconds) <= self._left_s:
                    return rounds, seconds
        return 1, self._least_s

    def _run(
        self, cell: Cell, seconds: float = 0.0, seed: int = 0
    ) -> tuple[Result, Outcome[Result]] | None:
        """A window; ``None`` if it fails, which is an error at batch size 1."""
        size = self._work.size_in_words(cell[0])
        job = self._work.job(cell, seconds, seed)
        try:
            self._executor.load(job)
            outcome = self._executor.run(job, lambda _: None)
            if outcome.state == "interrupted":
                raise KeyboardInterrupt
            if outcome.result is None:
                raise ServingError(
                    f"the model fails with {size}: {outcome.error}",
                    "run one batch of this size by hand",
                )
        except ServingError as error:
            if cell[0] == 1:
                raise
            self._remarks.append(f"{size} left out: {error.message}")
            return None
        self._remarks += self._work.remarks(outcome.result)
        return (outcome.result, outcome) if self._work.fits(cell, outcome.result) else None

    @property
    def _left_s(self) -> float:
        """The rest of the time budget, after measuring idle power once more."""
        return self._ends_s - time.monotonic() - self._idle_s

    def _round_s(self, pieces_s: Mapping[Cell, Pieces], seconds: float) -> float:
        """Expected duration of a round of windows of some seconds."""
        return sum(self._work.window_s(one, seconds) for one in pieces_s.values())


def _busy_remarks(others: float) -> list[str]:
    """A remark if other programs were busy, by their share of the processor, during idle."""
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
