"""Energy and power of a study by its ledger, as far as it is booked.

The runner writes the energy of a run, and of longer work between runs, every two seconds. So the
latest power is a mean over two seconds of a long run, or over a whole short one, or over the last
interval between runs; it says which.

::

    energy of an entry   0 ── 42 J ── 83 J ── 121 J, closed
    segments of power     21 W │ 20.5 W │ 19 W
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.live.following import Booked

Row = Mapping[str, Any]
SEGMENTS = 600
AROUND = {
    "setup": "of set-up",
    "idle": "of idle time",
    "calibration": "of calibration",
    "between": "between two runs",
    "waiting": "of waiting",
    "tuner": "of the tuner",
}
"""What a study books that is not a run."""
SHORTEST_S = 0.05
"""A shorter interval says little about power."""


@dataclass(frozen=True)
class Segment:
    """A time for which the mean power is known.

    Attributes:
        number: of the segment, from 1.
        version: of the change that has brought it.
        kind: of the work.
        start: seconds since the epoch.
        end: likewise.
        power_w: mean gross power over the domains that count.
        status: of it.
        running: whether the work went on when this was written.
    """

    number: int
    version: int
    kind: str
    start: float
    end: float
    power_w: float
    status: str
    running: bool

    @property
    def words(self) -> str:
        """What it is the mean of."""
        seconds = formats.duration(self.end - self.start)
        if self.kind in AROUND:
            return f"mean of {seconds} {AROUND[self.kind]}"
        if self.running:
            return f"mean of the last {seconds} of the run"
        return f"mean of a run, over {seconds}"


class Booking:
    """The ledger of a study, added up.

    Attributes:
        segments: the latest, in order.
        kinds: joules by kind of work.
        lost_j: joules of what failed or was interrupted.
        interrupted: number of interrupted attempts.
        unknown: number of entries without an energy.
        statuses: statuses of the entries with an energy, and whether they are so only for being
            too short for their sensor.
        error_j: sum of the bounds of their energies; None where one is unknown.
        open: entries that have not ended, by number.
        ended_at: when the last entry ended, seconds since the epoch; 0 where none has.
        going_on: the last segment of each run that goes on and has one, by number of its entry.
    """

    def __init__(self) -> None:
        self.segments: deque[Segment] = deque(maxlen=SEGMENTS)
        self.kinds: dict[str, float] = {}
        self.lost_j = 0.0
        self.interrupted = self.unknown = 0
        self.statuses: set[tuple[str, bool]] = set()
        self.error_j: float | None = 0.0
        self.open: dict[int, Row] = {}
        self.going_on: dict[int, Segment] = {}
        self.ended_at = 0.0
        self._numbered = 0

    def add(self, booked: Iterable[Booked], entries: Sequence[Row], version: int) -> None:
        """Take what has changed.

        Args:
            booked: sums of closed entries.
            entries: that are new, or were open.
            version: of this change.
        """
        for sums in booked:
            self._book(sums)
        for entry in entries:
            self._add_segment(entry, version)
            self.open.pop(entry["entry"], None)
            if entry["state"] != "running" or not entry["runs"]:
                self.going_on.pop(entry["entry"], None)
            if entry["state"] == "running":
                self.open[entry["entry"]] = entry
            else:
                self._book(Booked.of(entry))
                ended_at = entry["started_at"] + (entry["duration_s"] or 0.0)
                self.ended_at = max(self.ended_at, ended_at)

    @property
    def joules(self) -> float | None:
        """Gross energy of the study so far; ``None`` where nothing is known."""
        running = [one["energy_gross_j"] for one in self.open.values()]
        known: list[float] = [*self.kinds.values(), *(one for one in running if one is not None)]
        return math.fsum(known) if known else None

    @property
    def status(self) -> str:
        """Of what is booked of that energy."""
        booked_j = math.fsum(self.kinds.values())
        return Status.of_set(Status.within_sum(self.statuses, booked_j, self.error_j))

    def _book(self, sums: Booked) -> None:
        self.unknown += sums.entries - sums.known
        self.interrupted += sums.attempts * (sums.state == "interrupted")
        if sums.known:
            self.kinds[sums.kind] = self.kinds.get(sums.kind, 0.0) + sums.joules
            self.statuses.add((sums.status, sums.too_short))
            if self.error_j is None or sums.error_j is None:
                self.error_j = None
            else:
                self.error_j += sums.error_j
            self.lost_j += sums.joules * (sums.state != "finished")

    def _add_segment(self, entry: Row, version: int) -> None:
        before = self.open.get(entry["entry"])
        seconds, joules = entry["duration_s"], entry["energy_gross_j"]
        if seconds is None or joules is None:
            return
        begun_s = (before and before["duration_s"]) or 0.0
        begun_j = (before and before["energy_gross_j"]) or 0.0
        if seconds - begun_s < SHORTEST_S or joules < begun_j:
            return
        self._numbered += 1
        running = entry["state"] == "running"
        # An entry is opened before its run waits for the device, so it ends later than that.
        end = time.time() if running else entry["started_at"] + seconds
        segment = Segment(
            self._numbered,
            version,
            entry["kind"],
            end - (seconds - begun_s),
            end,
            (joules - begun_j) / (seconds - begun_s),
            entry["energy_status"],
            running,
        )
        self.segments.append(segment)
        if running and entry["runs"]:
            self.going_on[entry["entry"]] = segment
