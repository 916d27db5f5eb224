"""Energy counters of a measurement, by domain, source and status."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.sinks.sink import Counter, DomainSeen

Key = tuple[str, str, Status]


@dataclass(frozen=True)
class _Sums:
    """Of laps so far."""

    energy_j: float | None = None
    error_j: float | None = None
    co2e_g: float | None = None

    def plus(self, lap: Measurement) -> _Sums:
        return _Sums(
            _added(self.energy_j, lap.energy_j),
            _added(self.error_j, lap.total.error_j),
            _added(self.co2e_g, lap.co2e_g),
        )


class Tally:
    """Counts up to what a measurement says, or adds the laps of one up.

    Attributes:
        duration_s: since the start.
        ended_at: when that was, seconds since the epoch; None where it is unknown.
        status: of the energy.
        values: as of `joulelab.sinks.sink.Seen`, without forecast.
        domains: likewise.
    """

    def __init__(self) -> None:
        self.duration_s = 0.0
        self.ended_at: float | None = None
        self.status = Status.MISSING
        self.values: Mapping[str, float] = {}
        self.domains: tuple[DomainSeen, ...] = ()
        self._joules: dict[Key, float] = {}
        self._reached: dict[str, float] = {}
        self._counted: set[str] = set()
        self._sums = _Sums()

    def reach(self, measurement: Measurement) -> None:
        """Count up to a measurement of the time since the start."""
        step_s = measurement.duration_s - self.duration_s
        seen = []
        for one, counts in _seen(measurement):
            rise_j = None
            if one.gross_j is not None:
                before_j = self._reached.get(one.domain, 0.0)
                # What was found too high before is not taken back: counters never go down.
                rise_j = max(0.0, one.gross_j - before_j)
                self._reached[one.domain] = before_j + rise_j
            seen.append(self._count(one, one.gross_j, rise_j, step_s, counts=counts))
        self._end(measurement, measurement.duration_s, tuple(seen), _Sums().plus(measurement))
        self.status = measurement.total.status

    def add(self, lap: Measurement) -> None:
        """Add the time since the last lap."""
        seen = []
        for one, counts in _seen(lap):
            before_j = self._reached.get(one.domain)
            now_j = _added(before_j, one.gross_j)
            if now_j is not None:
                self._reached[one.domain] = now_j
            seen.append(self._count(one, now_j, one.gross_j, lap.duration_s, counts=counts))
        self._sums = self._sums.plus(lap)
        before = [] if self.status is Status.MISSING else [self.status]
        now = [] if lap.total.status is Status.MISSING else [lap.total.status]
        self._end(lap, self.duration_s + lap.duration_s, tuple(seen), self._sums)
        self.status = Status.of_sum([*before, *now])

    def counters(self) -> tuple[Counter, ...]:
        """Every counter that ever counted."""
        return tuple(
            Counter(domain, source, status, joules, domain in self._counted)
            for (domain, source, status), joules in self._joules.items()
        )

    def _count(
        self,
        one: Reading,
        energy_j: float | None,
        rise_j: float | None,
        step_s: float,
        *,
        counts: bool,
    ) -> DomainSeen:
        if counts:
            self._counted.add(one.domain)
        if rise_j is not None:
            key = (one.domain, one.source, one.status)
            self._joules[key] = self._joules.get(key, 0.0) + max(0.0, rise_j)
        power_w = rise_j / step_s if rise_j is not None and step_s > 0 else None
        return DomainSeen(
            one.domain, one.source, one.status, energy_j, power_w, counts, one.within, one.reason
        )

    def _end(
        self,
        measurement: Measurement,
        duration_s: float,
        domains: tuple[DomainSeen, ...],
        sums: _Sums,
    ) -> None:
        now_w = [one.power_w for one in domains if one.counts]
        known_w = [power_w for power_w in now_w if power_w is not None]
        known = {
            "energy_j": sums.energy_j,
            "energy_error_j": sums.error_j,
            "power_w": None
            if sums.energy_j is None or duration_s <= 0
            else sums.energy_j / duration_s,
            "power_now_w": math.fsum(known_w) if known_w and len(known_w) == len(now_w) else None,
            "co2e_g": sums.co2e_g,
        }
        self.values = {name: value for name, value in known.items() if value is not None}
        self.domains, self.duration_s = domains, duration_s
        if measurement.started_at is not None:
            self.ended_at = measurement.started_at + measurement.duration_s


def _seen(measurement: Measurement) -> Iterator[tuple[Reading, bool]]:
    """The readings that count, are a part of one that does, or are unknown; and whether each does.

    Others are of devices that the measured program cannot use, or that the user has not named.
    """
    counted = set(measurement.total.domains)
    for one in measurement.readings:
        unknown = one.status is Status.MISSING and one.domain not in measurement.left_out
        if one.domain in counted or unknown or counted.intersection(one.within):
            yield one, one.domain in counted


def _added(before: float | None, now: float | None) -> float | None:
    known = [one for one in (before, now) if one is not None]
    return math.fsum(known) if known else None
