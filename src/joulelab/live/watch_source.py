"""The page of ``joulelab watch``: power by domain now and over the last minutes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from joulelab import formats
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.live.source import Source

HISTORY = 1200
"""Most views that are kept."""


class WatchSource(Source):
    """What has been measured since the start."""

    page = "watch"

    def __init__(self) -> None:
        super().__init__()
        self._history: deque[tuple[int, float, float, list[float | None]]] = deque(maxlen=HISTORY)
        self._readings: Sequence[Reading] = ()
        self._energies: dict[str, float] = {}
        self._duration_s = 0.0
        self._total_j: float | None = None
        self._totals: set[str] = set()
        self._now: dict[str, Any] = {}

    def add(self, measurement: Measurement) -> None:
        """Take the next view.

        Args:
            measurement: of the time since the last one.
        """
        with self._lock:
            self._version += 1
            self._readings = measurement.readings
            self._duration_s += measurement.duration_s
            for reading in measurement.readings:
                if reading.gross_j is not None:
                    so_far_j = self._energies.get(reading.domain, 0.0)
                    self._energies[reading.domain] = so_far_j + reading.gross_j
            total, now = measurement.total, time.time()
            if total.gross_j is not None:
                self._total_j = (self._total_j or 0.0) + total.gross_j
                self._totals.add(str(total.status))
            self._now = {
                "text": formats.watts(measurement.mean_power_w),
                "status": str(total.status),
                "domains": formats.listing(total.domains) or "no domain can be read",
            }
            powers = [one.mean_power_w for one in measurement.readings]
            self._history.append((self._version, now - measurement.duration_s, now, powers))

    def _update(self) -> None:
        """Nothing: `add` is told what is new."""

    def _changes(self, since: int) -> dict[str, Any]:
        return {
            "head": {
                "now": time.time(),
                "duration": formats.duration(self._duration_s),
                "power": self._now,
                "energy": {
                    "text": formats.joules(self._total_j),
                    "status": Status.of_set(self._totals),
                },
                "domains": [self._domain(one) for one in self._readings],
            },
            "history": [[*view[1:]] for view in self._history if view[0] > since],
        }

    def _domain(self, reading: Reading) -> dict[str, str]:
        energy_j = self._energies.get(reading.domain)
        if reading.status is Status.MISSING:
            words = f"missing: {reading.reason}"
        else:
            mean_w = None if energy_j is None else energy_j / self._duration_s
            source = "" if reading.source == "estimate" else f", {reading.source}"
            words = (
                f"{reading.status}{source}; {formats.joules(energy_j)} so far, on "
                f"average {formats.watts(mean_w)}"
            )
        return {
            "name": reading.domain,
            "now": formats.watts(reading.mean_power_w),
            "status": str(reading.status),
            "words": words,
        }
