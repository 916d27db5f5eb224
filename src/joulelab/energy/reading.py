"""Readings by domain, and sums without double counting.

Domains are names such as ``gpu:0``, ``cpu:0``, ``core:0``, ``dram:0``, ``psys:0`` and ``wall``.
Some contain others (``core:0`` is a part of ``cpu:0``, everything is a part of ``wall``); each
reading lists the domains that contain it, so that a sum can exclude contained ones.

Every reading has a status. *measured*: read from a sensor throughout. *partly estimated*: read from
a sensor, with gaps bridged. *estimated*: computed from other data (processor time, a data sheet),
or read from a sensor in a window too short for it, which leaves open more than the sensor says.
*replayed*: recorded before and read again, not spent now. *missing*: unknown; the energy is
``None``, never 0, and ``reason`` says why.

Several instruments may read the same domain. One reading counts; the others are kept for comparison
(`Measurement.others`) and are not part of any sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

KINDS = ("-counter", "-power")
"""Suffixes of the sources of one instrument's sensors of a domain."""
MAY_BE_OFF = {"core", "uncore", "ane", "gpusram", "ecluster", "pcluster"}
"""Families of parts that can be off while the machine runs."""


class Status(StrEnum):
    """How an energy was obtained."""

    MEASURED = "measured"
    PARTLY_ESTIMATED = "partly estimated"
    ESTIMATED = "estimated"
    REPLAYED = "replayed"
    MISSING = "missing"

    @classmethod
    def of_sum(cls, statuses: Iterable[Status]) -> Status:
        """The status of a combined value: that of its weakest part.

        Args:
            statuses: of the parts; missing if there are none.
        """
        return max(statuses, key=list(cls).index, default=cls.MISSING)

    @classmethod
    def within_sum(
        cls,
        parts: Iterable[tuple[object, bool]],
        gross_j: float | None,
        error_j: float | None,
    ) -> set[str]:
        """The statuses of the parts of a sum: windows too short for a sensor can be measured in it.

        Each of them leaves open more than the sensor says, but together they are a long window:
        they count as measured where the bound of the sum is known, and no more than the sum. What
        no sensor has read stays an estimate, however small it is.

        Args:
            parts: of each its status, as a member or name, and whether sensors have read it, and it
                is estimated only because it was too short for them.
            gross_j: the sum in joules.
            error_j: its bound in joules, the sum of those of the parts.
        """
        long_enough = gross_j is not None and error_j is not None and error_j <= gross_j
        return {
            str(cls.MEASURED if too_short and long_enough else status)
            for status, too_short in parts
        }

    @classmethod
    def of_set(cls, statuses: Iterable[object]) -> str:
        """One status for several values side by side, such as the runs of a study.

        Their common status if they agree, else partly estimated, or replayed if any is; missing
        values do not count.

        Args:
            statuses: of the values, as members or names; missing if there are none.
        """
        found = {str(status) for status in statuses} - {str(cls.MISSING)}
        if not found:
            return str(cls.MISSING)
        if len(found) == 1:
            return found.pop()
        return str(cls.REPLAYED if cls.REPLAYED in found else cls.PARTLY_ESTIMATED)


def instrument_of(source: str) -> str:
    """The instrument of a source: its counter and its power are the same instrument.

    >>> instrument_of("nvml-power"), instrument_of("rapl")
    ('nvml', 'rapl')
    """
    return next((source.removesuffix(kind) for kind in KINDS if source.endswith(kind)), source)


def family(domain: str) -> str:
    """The family of a domain: ``"gpu"`` of ``"gpu:0"``, also on a node: ``"a/gpu:0"``."""
    return domain.rpartition("/")[2].partition(":")[0]


def plain_data(record: Any) -> Any:  # noqa: ANN401 - a dataclass, or a value in one
    """Plain data for JSON: dataclasses as dictionaries, tuples as lists.

    Args:
        record: a dataclass, possibly nested.
    """
    if is_dataclass(record):
        return {one.name: plain_data(getattr(record, one.name)) for one in fields(record)}
    if isinstance(record, tuple | list):
        return [plain_data(one) for one in record]
    return str(record) if isinstance(record, StrEnum) else record


@dataclass(frozen=True)
class Reading:
    """The energy of one domain over one window.

    Attributes:
        domain: the domain, for instance ``"gpu:0"``.
        source: the means: ``"nvml-counter"``, ``"nvml-power"``, ``"rapl"``, ``"estimate"`` ...
        status: measured, partly estimated, estimated or missing.
        gross_j: energy in joules over the window, or ``None``.
        error_j: bound of the absolute error of `gross_j` in joules, or ``None`` where unknown.
        idle_w: power of the domain at idle in watts, or ``None`` if not measured.
        duration_s: length of the window in seconds.
        reason: why the energy is missing, or a remark on it.
        within: the domains that contain this one.
        peak_power_w: highest sampled power in watts, or ``None`` if power was not sampled.
        check_j: the same energy by a second sensor (power in addition to a counter), or ``None``.
        lost_s: time of the window without readings, which is bridged.
        seen_j: energy in the rest of the window if a part was lost, else ``None``.
        idle_error_w: bound of the absolute error of `idle_w` in watts, or ``None`` where unknown.
        too_short: it is a sensor's, and estimated only because the window is too short for that.
    """

    domain: str
    source: str
    status: Status
    gross_j: float | None
    error_j: float | None
    idle_w: float | None
    duration_s: float
    reason: str = ""
    within: tuple[str, ...] = ()
    peak_power_w: float | None = None
    check_j: float | None = None
    lost_s: float = 0.0
    seen_j: float | None = None
    idle_error_w: float | None = None
    too_short: bool = False

    @property
    def sensed(self) -> bool:
        """Whether a sensor has read it all the time, however short the window."""
        return self.status is Status.MEASURED or self.too_short

    @property
    def mean_power_w(self) -> float | None:
        """Mean power over the window in watts."""
        if self.gross_j is None or self.duration_s <= 0:
            return None
        return self.gross_j / self.duration_s

    @property
    def idle_j(self) -> float | None:
        """Energy of the domain at idle in the same time, in joules."""
        return None if self.idle_w is None else self.idle_w * self.duration_s

    @property
    def net_j(self) -> float | None:
        """Gross less idle energy in joules; ``None`` where either is unknown."""
        if self.gross_j is None or self.idle_j is None:
            return None
        return self.gross_j - self.idle_j

    @property
    def idle_error_j(self) -> float | None:
        """Bound of the absolute error of `idle_j` in joules, or ``None`` where unknown."""
        return None if self.idle_error_w is None else self.idle_error_w * self.duration_s

    @property
    def net_error_j(self) -> float | None:
        """Bound of the absolute error of `net_j`, from gross and idle energy."""
        if self.net_j is None or self.error_j is None or self.idle_error_j is None:
            return None
        return self.error_j + self.idle_error_j

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as the store keeps it."""
        plain: dict[str, Any] = plain_data(self)
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """The inverse of `to_dict`."""
        known = {**data, "status": Status(data["status"]), "within": tuple(data["within"])}
        return cls(**known)

    def shared(self, parts: float) -> Reading:
        """This reading divided equally among `parts` trainings that ran together.

        The time is divided with the energy, so that mean power, idle and net stay consistent.
        """

        def part(value: float | None) -> float | None:
            return None if value is None else value / parts

        return replace(
            self,
            gross_j=part(self.gross_j),
            error_j=part(self.error_j),
            check_j=part(self.check_j),
            duration_s=self.duration_s / parts,
            lost_s=self.lost_s / parts,
            seen_j=part(self.seen_j),
        )


@dataclass(frozen=True)
class Total:
    """A sum over domains that do not overlap.

    Attributes:
        status: measured only if every part is; missing, with energies ``None``, if a part is
            missing or there are no parts; else estimated if a part is; else partly estimated.
        gross_j: joules, or ``None``.
        idle_j: joules, or ``None`` where the idle power of a part is unknown.
        error_j: sum of the parts' bounds (they may err in the same direction), or ``None``.
        domains: the domains added up.
        sources: the means, each once.
        idle_error_j: the same sum of the bounds of idle energy, or ``None`` where one is unknown.
        too_short: sensors have read all parts, and it is estimated only because the window is too
            short for that.
    """

    status: Status
    gross_j: float | None
    idle_j: float | None
    error_j: float | None
    domains: tuple[str, ...]
    sources: tuple[str, ...]
    idle_error_j: float | None = None
    too_short: bool = False

    @property
    def net_j(self) -> float | None:
        """Gross less idle energy in joules; ``None`` where either is unknown."""
        if self.gross_j is None or self.idle_j is None:
            return None
        return self.gross_j - self.idle_j

    @property
    def net_error_j(self) -> float | None:
        """Bound of the absolute error of `net_j` in joules, or ``None`` where unknown."""
        if self.net_j is None or self.error_j is None or self.idle_error_j is None:
            return None
        return self.error_j + self.idle_error_j


def outermost(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """The readings that no other one contains; readings of unknown energy contain nothing."""
    present = list(readings)
    known = {reading.domain for reading in present if reading.gross_j is not None}
    return tuple(reading for reading in present if not known.intersection(reading.within))


def total(readings: Iterable[Reading]) -> Total:
    """Add up readings, excluding domains that another one contains.

    Args:
        readings: readings of one window.
    """
    parts = outermost(readings)
    domains = tuple(part.domain for part in parts)
    sources = tuple(dict.fromkeys(part.source for part in parts))
    gross_j = _sum([part.gross_j for part in parts])
    if gross_j is None:
        return Total(Status.MISSING, None, None, None, domains, sources)
    status = Status.of_sum(part.status for part in parts)
    return Total(
        status=status,
        gross_j=gross_j,
        idle_j=_sum([part.idle_j for part in parts]),
        error_j=_sum([part.error_j for part in parts]),
        domains=domains,
        sources=sources,
        idle_error_j=_sum([part.idle_error_j for part in parts]),
        too_short=status is Status.ESTIMATED and all(part.sensed for part in parts),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None
