"""What a sink is given, and what it is.

Energy counters never go back, and each has one source and one status. Where the reading of a
domain changes its status, the energy from then on counts under the new one::

    gpu:0 nvml-counter measured            0 ── 40 ── 80 ─ 80 ─ 80
    gpu:0 nvml-counter partly estimated                    35 ─ 70      their sum: 150 J, the report
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from joulelab.energy.measurement import Measurement
from joulelab.energy.phases import PhaseEnergy
from joulelab.energy.reading import Status

JOINED = "joulelab/"
"""Before names that join those of a training."""
State = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class Counter:
    """Energy of a domain under one source and status, since the start.

    Attributes:
        domain: for instance ``"gpu:0"``.
        source: as of a reading.
        status: likewise.
        energy_j: gross; never lower than before.
        counts: whether it is in the sum; otherwise it is a part of a domain that is.
    """

    domain: str
    source: str
    status: Status
    energy_j: float
    counts: bool


@dataclass(frozen=True)
class DomainSeen:
    """A domain, as it is now.

    Attributes:
        domain: for instance ``"gpu:0"``.
        source: as of a reading.
        status: likewise.
        energy_j: gross, since the start; None where it is unknown.
        power_w: mean since it was last looked at; None where it is unknown.
        counts: whether it is in the sum; otherwise it is a part of a domain that is.
        within: domains that contain it.
        reason: why its energy is unknown, or a remark on it.
    """

    domain: str
    source: str
    status: Status
    energy_j: float | None
    power_w: float | None
    counts: bool
    within: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Seen:
    """What was measured so far.

    Attributes:
        label: of what is measured.
        at: seconds since the epoch.
        duration_s: since the start.
        step: number of steps that have ended; None where there are none.
        at_step: whether a step has just ended.
        status: of the energy.
        values: by name, in J, W and g: ``energy_j`` and ``energy_error_j`` (of the sum),
            ``power_w`` (mean since the start), ``power_now_w`` (mean since the last look),
            ``co2e_g`` and ``energy_forecast_j`` with ``_low_j`` and ``_high_j``; what is unknown is
            absent.
        domains: each that counts, is a part of one that does, or is unknown.
        counters: their energies, for tools that add up.
        phases: of the whole; empty before the end.
        state: whether it goes on, or how it ended.
        measurement: of the whole; None before the end.
    """

    label: str
    at: float
    duration_s: float
    step: int | None
    at_step: bool
    status: Status
    values: Mapping[str, float]
    domains: tuple[DomainSeen, ...]
    counters: tuple[Counter, ...]
    phases: Mapping[str, PhaseEnergy] = field(default_factory=dict)
    state: State = "running"
    measurement: Measurement | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.state != "running"

    @property
    def empty(self) -> bool:
        """Whether nothing was measured."""
        return not self.domains

    def numbers(self, prefix: str = "") -> dict[str, float]:
        """All numbers by name, for loggers: ``energy_j``, ``gpu:0/energy_j`` ...

        Args:
            prefix: of each name, where they join those of a training.
        """
        numbers = dict(self.values)
        for one in self.domains:
            known = {"energy_j": one.energy_j, "power_now_w": one.power_w}
            numbers |= {f"{one.domain}/{k}": v for k, v in known.items() if v is not None}
        for name, phase in self.phases.items():
            numbers[f"phase/{name}/duration_s"] = phase.duration_s
            if phase.energy_j is not None:
                numbers[f"phase/{name}/energy_j"] = phase.energy_j
        return {f"{prefix}{name}": value for name, value in numbers.items()}


class Sink(ABC):
    """Takes what is measured somewhere else.

    `open` is called before measuring begins and may refuse; `put` and `close` are called in a
    thread of the sink's own, and what they raise is said once.

    Attributes:
        every_s: shortest time between two values, in seconds; the last is always given.
        live: whether values between the steps of a training are wanted.
        kept: most values that wait, the oldest are dropped.
        name: for messages.
        target: what it writes to; two sinks of a measurement must not have the same.
    """

    every_s: ClassVar[float] = 1.0
    live: ClassVar[bool] = False
    kept: ClassVar[int] = 1000

    name: str = "sink"
    target: str = ""

    def open(self, label: str) -> None:  # noqa: B027 - not all have something to open
        """Open files and ports, import what is heavy; reaches no other machine.

        Args:
            label: of what will be measured.

        Raises:
            UsageError: it cannot be opened.
        """

    @abstractmethod
    def put(self, seen: Seen) -> None:
        """Take a value; the last one has the state ``"finished"`` or ``"failed"``."""

    def close(self) -> None:  # noqa: B027 - not all have something to close
        """End; it may be opened again."""
