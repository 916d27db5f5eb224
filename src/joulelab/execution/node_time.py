"""Workers that share the sensors of a node: what they do beside runs is counted once.

::

    worker 1   | between | run ........ | waiting ... | run ......
    worker 2   | waiting ........ | run | between | waiting ....
    counted    | 1       | 1's run  | 2's run | 1's run ...

A sensor reads the whole node. Runs have it alone, for they hold the lock of the meter; but the time
that a worker spends beside them overlaps with what others do. Of such a window the part counts in
which no run took place, and no window that is already booked; its energy is taken in proportion.
An estimate follows the processes of its worker, and counts in full.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status, Total

LEAST_SHARE = 1e-3
"""Less of a window is not booked."""
ESTIMATES = {Status.ESTIMATED, Status.MISSING}

Book = Callable[[Measurement, Total], None]


class NodeTime:
    """The time of one node."""

    def __init__(self) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []
        self._waiting: list[tuple[Measurement, Total, Book]] = []

    def ran(self, measurement: Measurement) -> None:
        """A run was measured.

        Args:
            measurement: of it.
        """
        begin_s = measurement.started_at
        if begin_s is not None:
            self._cover(begin_s, begin_s + measurement.duration_s)

    def book(self, measurement: Measurement, total: Total, book: Book) -> None:
        """Book a window beside runs, once it is known what else was measured in its time.

        Args:
            measurement: of the window.
            total: its sum over the domains that count.
            book: takes what counts of both.
        """
        self._waiting.append((measurement, total, book))

    def settle(self, until_s: float) -> None:
        """Book the windows that have ended before any run that goes on has begun.

        Args:
            until_s: when that was, seconds since the epoch.
        """
        later = []
        for measurement, total, book in self._waiting:
            begin_s = measurement.started_at
            if begin_s is not None and begin_s + measurement.duration_s > until_s:
                later.append((measurement, total, book))
            elif begin_s is None or total.status in ESTIMATES:
                book(measurement, total)
            else:
                end_s = begin_s + measurement.duration_s
                share = self._uncovered(begin_s, end_s)
                self._cover(begin_s, end_s)
                if share > LEAST_SHARE:
                    book(*_part(measurement, total, share))
        self._waiting = later

    def _uncovered(self, begin_s: float, end_s: float) -> float:
        """Share of an interval that is not covered."""
        if end_s <= begin_s:
            return 1.0
        covered_s = 0.0
        for at in range(bisect.bisect_right(self._ends, begin_s), len(self._begins)):
            if self._begins[at] >= end_s:
                break
            covered_s += min(end_s, self._ends[at]) - max(begin_s, self._begins[at])
        return 1.0 - covered_s / (end_s - begin_s)

    def _cover(self, begin_s: float, end_s: float) -> None:
        """Add an interval; those that it touches become one with it."""
        first = bisect.bisect_left(self._ends, begin_s)
        last = bisect.bisect_right(self._begins, end_s)
        if first < last:
            begin_s = min(begin_s, self._begins[first])
            end_s = max(end_s, self._ends[last - 1])
        self._begins[first:last] = [begin_s]
        self._ends[first:last] = [end_s]


def _part(measurement: Measurement, total: Total, share: float) -> tuple[Measurement, Total]:
    """A share of a window, in time and in energy."""
    if share == 1.0:
        return measurement, total

    def part(joules: float | None) -> float | None:
        return None if joules is None else share * joules

    return measurement.shared(1 / share), replace(
        total,
        gross_j=part(total.gross_j),
        idle_j=part(total.idle_j),
        error_j=part(total.error_j),
        idle_error_j=part(total.idle_error_j),
    )
