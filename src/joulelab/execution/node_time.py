"""Workers that share the sensors of a node: what they do beside runs is counted once.

::

    worker 1   | between | run ........ | waiting ... | run ......
    worker 2   | waiting ........ | run | between | waiting ....
    counted    | 1       | 1's run  | 2's run | 1's run ...

A sensor reads the whole node. Runs have it alone, for they hold the lock of its device; but the
time that a worker spends beside them overlaps with what others do. Of such a window the part counts
in which the sensor was part of no run, and of no window that is already booked; its energy is taken
in proportion. So each sensor has a time of its own: of a worker with a GPU of its own this GPU
counts all the time, and the processor as far as nobody else has it. An estimate follows the
processes of its worker, and counts in full.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, Total, total

LEAST_SHARE = 1e-3
"""Less of a window is not booked."""
ESTIMATES = {Status.ESTIMATED, Status.MISSING}

Book = Callable[[Measurement, Total], None]


class NodeTime:
    """The time of one node."""

    def __init__(self) -> None:
        self._covered: defaultdict[str, _Times] = defaultdict(_Times)
        self._waiting: list[tuple[Measurement, Total, Book]] = []

    def ran(self, measurement: Measurement, counts: Total) -> None:
        """A run was measured.

        Args:
            measurement: of it.
            counts: its sum over the domains that count.
        """
        begin_s = measurement.started_at
        if begin_s is not None:
            for reading in _sensed(measurement, counts):
                self._covered[reading.domain].add(begin_s, begin_s + measurement.duration_s)

    def book(self, measurement: Measurement, counts: Total, book: Book) -> None:
        """Book a window beside runs, once it is known what else was measured in its time.

        Args:
            measurement: of the window.
            counts: its sum over the domains that count.
            book: takes what counts of both.
        """
        self._waiting.append((measurement, counts, book))

    def settle(self, until_s: float) -> None:
        """Book the windows that have ended before any run that goes on has begun.

        Args:
            until_s: when that was, seconds since the epoch.
        """
        later = []
        for measurement, counts, book in self._waiting:
            begin_s = measurement.started_at
            if begin_s is not None and begin_s + measurement.duration_s > until_s:
                later.append((measurement, counts, book))
            elif begin_s is None or counts.gross_j is None:
                book(measurement, counts)
            else:
                shares = self._shares(measurement, counts, begin_s)
                if max(shares.values()) > LEAST_SHARE:
                    book(*_part(measurement, shares))
        self._waiting = later

    def _shares(self, measurement: Measurement, counts: Total, begin_s: float) -> dict[str, float]:
        """The share of each domain that counts; from now on it is covered."""
        shares = dict.fromkeys(counts.domains, 1.0)
        end_s = begin_s + measurement.duration_s
        for reading in _sensed(measurement, counts):
            times = self._covered[reading.domain]
            shares[reading.domain] = times.uncovered(begin_s, end_s)
            times.add(begin_s, end_s)
        return shares


class _Times:
    """Intervals of time that do not touch, in order."""

    def __init__(self) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []

    def uncovered(self, begin_s: float, end_s: float) -> float:
        """Share of an interval that is not covered."""
        if end_s <= begin_s:
            return 1.0
        covered_s = 0.0
        for at in range(bisect.bisect_right(self._ends, begin_s), len(self._begins)):
            if self._begins[at] >= end_s:
                break
            covered_s += min(end_s, self._ends[at]) - max(begin_s, self._begins[at])
        return 1.0 - covered_s / (end_s - begin_s)

    def add(self, begin_s: float, end_s: float) -> None:
        """Cover an interval; those that it touches become one with it."""
        first = bisect.bisect_left(self._ends, begin_s)
        last = bisect.bisect_right(self._begins, end_s)
        if first < last:
            begin_s = min(begin_s, self._begins[first])
            end_s = max(end_s, self._ends[last - 1])
        self._begins[first:last] = [begin_s]
        self._ends[first:last] = [end_s]


def _sensed(measurement: Measurement, counts: Total) -> Iterator[Reading]:
    """The readings that count and are those of a sensor."""
    for reading in measurement.readings:
        if reading.domain not in counts.domains:
            continue
        if reading.sensed or reading.status not in ESTIMATES:
            yield reading


def _part(measurement: Measurement, shares: dict[str, float]) -> tuple[Measurement, Total]:
    """A part of a window, in time and in energy; domains without a share are left out.

    Args:
        measurement: of the window.
        shares: of the domains that count.
    """
    longest = max(shares.values())
    kept = [one for one in measurement.readings if shares.get(one.domain, 1.0) > LEAST_SHARE]
    readings = tuple(one.shared(1 / shares.get(one.domain, longest)) for one in kept)
    part = replace(measurement.shared(1 / longest), readings=readings)
    return part, total(one for one in readings if one.domain in shares)
