"""What a measurement says: readings by domain, and sums that never count a joule twice.

Domains are names such as ``gpu:0``, ``cpu:0``, ``core:0``, ``dram:0``, ``psys:0`` and ``wall``.
Some contain others (``core:0`` is a part of ``cpu:0``, everything is a part of ``wall``); each
reading names the domains that contain it, so that a sum can leave the contained ones out.

Every reading has a status. *measured*: a sensor of the device said so, all the time. *partly
estimated*: it did, but for a part of the window that had to be bridged. *estimated*: computed from
something else (processor time, a data sheet). *missing*: unknown; the energy is ``None``, never 0,
and ``reason`` says why.

Several instruments may read one domain. One reading of it counts; those of the other instruments
are kept beside it (`Measurement.others`), to be compared, and are in no sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

KINDS = ("-counter", "-power")
"""How the sources of one instrument's several sensors of a domain end."""
MAY_BE_OFF = {"core", "uncore", "ane", "gpusram", "ecluster", "pcluster"}
"""Families of parts that can be switched off while the machine runs."""


class Status(StrEnum):
    """How a figure of energy came about."""

    MEASURED = "measured"
    PARTLY_ESTIMATED = "partly estimated"
    ESTIMATED = "estimated"
    MISSING = "missing"

    @classmethod
    def of_sum(cls, statuses: Iterable[Status]) -> Status:
        """The status of one figure made of several: that of its weakest part.

        Args:
            statuses: of the parts; missing where there is none.
        """
        return max(statuses, key=list(cls).index, default=cls.MISSING)

    @classmethod
    def of_set(cls, statuses: Iterable[object]) -> str:
        """One word for several figures that stand beside each other, as those of a study's runs.

        That of all of them where they agree, else partly estimated; missing figures do not count.

        Args:
            statuses: of the figures, as members or in words; missing where there is none.
        """
        found = {str(status) for status in statuses} - {str(cls.MISSING)}
        if not found:
            return str(cls.MISSING)
        return found.pop() if len(found) == 1 else str(cls.PARTLY_ESTIMATED)


def instrument_of(source: str) -> str:
    """The instrument that a source belongs to: its counter and its power are one instrument.

    >>> instrument_of("nvml-power"), instrument_of("rapl")
    ('nvml', 'rapl')
    """
    return next((source.removesuffix(kind) for kind in KINDS if source.endswith(kind)), source)


def family(domain: str) -> str:
    """What kind of domain it is: ``"gpu"`` of ``"gpu:0"``."""
    return domain.partition(":")[0]


def plain_data(record: Any) -> Any:  # noqa: ANN401 - a dataclass, or a value in one
    """Plain data, as JSON has it: a dataclass as a dictionary, a tuple as a list.

    Args:
        record: a dataclass, with whatever it holds.
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
        domain: what was read, for instance ``"gpu:0"``.
        source: by which means: ``"nvml-counter"``, ``"nvml-power"``, ``"rapl"``, ``"estimate"`` ...
        status: measured, partly estimated, estimated or missing.
        gross_j: energy in joules over the window, or ``None``.
        error_j: bound of the absolute error of `gross_j` in joules, or ``None`` where unknown.
        idle_w: power of the domain at idle in watts, or ``None`` where it was not measured.
        duration_s: length of the window in seconds.
        reason: why the energy is missing, or a remark on a figure that is there.
        within: the domains that contain this one.
        peak_power_w: highest sampled power in watts, or ``None`` where power was not sampled.
        check_j: the same energy by the second way (the power trace beside a counter), or ``None``.
        lost_s: time of the window in which the sensor said nothing; it is bridged.
        seen_j: energy in the rest of it, where a part was lost, or ``None``.
        idle_error_w: bound of the absolute error of `idle_w` in watts, or ``None`` where unknown.
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

    @property
    def mean_power_w(self) -> float | None:
        """Mean power over the window in watts."""
        if self.gross_j is None or self.duration_s <= 0:
            return None
        return self.gross_j / self.duration_s

    @property
    def idle_j(self) -> float | None:
        """What the domain would have used at idle in the same time, in joules."""
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
        """Bound of the absolute error of `net_j`: those of gross and idle, which it inherits."""
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

    def shared(self, parts: int) -> Reading:
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
        status: measured only if every part is; missing, and the energies ``None``, if a part is or
            there is none; else estimated if a part is; else partly estimated.
        gross_j: joules, or ``None``.
        idle_j: joules, or ``None`` where the idle power of a part is unknown.
        error_j: sum of the parts' bounds (they may err in the same direction), or ``None``.
        domains: what was added up.
        sources: by which means, each once.
        idle_error_j: the same sum of the bounds of idle energy, or ``None`` where one is unknown.
    """

    status: Status
    gross_j: float | None
    idle_j: float | None
    error_j: float | None
    domains: tuple[str, ...]
    sources: tuple[str, ...]
    idle_error_j: float | None = None

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
    """Those that no other present reading contains; readings of unknown energy contain nothing."""
    present = list(readings)
    known = {reading.domain for reading in present if reading.gross_j is not None}
    return tuple(reading for reading in present if not known.intersection(reading.within))


def total(readings: Iterable[Reading]) -> Total:
    """Add up readings, leaving out every domain that another one contains.

    Args:
        readings: readings of one window.
    """
    parts = outermost(readings)
    domains = tuple(part.domain for part in parts)
    sources = tuple(dict.fromkeys(part.source for part in parts))
    gross_j = _sum([part.gross_j for part in parts])
    if gross_j is None:
        return Total(Status.MISSING, None, None, None, domains, sources)
    return Total(
        status=Status.of_sum(part.status for part in parts),
        gross_j=gross_j,
        idle_j=_sum([part.idle_j for part in parts]),
        error_j=_sum([part.error_j for part in parts]),
        domains=domains,
        sources=sources,
        idle_error_j=_sum([part.idle_error_j for part in parts]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None
