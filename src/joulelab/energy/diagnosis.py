"""What can be measured on this machine, how well, and what would make more measurable."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from joulelab.energy.detection import ESTIMATE, Choice, find_meters
from joulelab.energy.meter import Channel, Missing, meters
from joulelab.energy.processor import Processor
from joulelab.energy.reading import Measurement, Reading, Status, outermost
from joulelab.energy.recorder import Recorder
from joulelab.errors import JoulelabError

LIBRARIES = ("nvidia-ml-py", "codecarbon", "zeus", "psutil", "torch", "numpy")
PROBE_S = 2.0


@dataclass(frozen=True)
class Finding:
    """One channel that can be read.

    Attributes:
        meter: its meter.
        channel: what it reads.
        power_w: mean power while nothing was asked of the machine, or ``None``.
    """

    meter: str
    channel: Channel
    power_w: float | None


@dataclass(frozen=True)
class Diagnosis:
    """What was found on this machine.

    Attributes:
        machine: operating system, processor, Python, in words.
        libraries: version of each library that reads sensors; ``None`` where not installed.
        meters: what each meter says of itself: devices, drivers.
        findings: what can be read.
        missing: what cannot, why, and what would help.
        unused: meters that are used only by name, with a line about each.
        verdict: ``"measured"``, ``"partly estimated"`` or ``"estimated"``.
        reason: of the verdict.
    """

    machine: dict[str, str]
    libraries: dict[str, str | None]
    meters: dict[str, dict[str, str]]
    findings: tuple[Finding, ...]
    missing: tuple[Missing, ...]
    unused: dict[str, str]
    verdict: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def diagnose(names: Sequence[str] | None = None, probe_s: float = PROBE_S) -> Diagnosis:
    """Look at this machine.

    Args:
        names: only these meters, as for `find_meters`.
        probe_s: how long power is measured, in seconds.

    Raises:
        UsageError: no such meter or setting.
        MeterError: a meter that was named finds nothing to read.
    """
    found = find_meters(names, settings={"estimate": {"scope": "machine"}})
    with Recorder(found.meters, missing=found.missing) as recorder:
        window = recorder.open("idle")
        recorder.wait(probe_s)
        measurement = window.close()
        described = {meter.name: dict(meter.describe()) for meter in found.meters}
        findings = tuple(
            Finding(meter.name, channel, _power_w(measurement, channel))
            for meter in found.meters
            for channel in meter.channels
        )
    verdict, reason = _verdict(measurement)
    used = {Choice.parse(name).name for name in names or ()}
    return Diagnosis(
        machine=_machine(),
        libraries={name: _version(name) for name in LIBRARIES},
        meters=described,
        findings=findings,
        missing=found.missing,
        unused={name: line for name, line in _by_name_only().items() if name not in used},
        verdict=verdict,
        reason=reason,
    )


def _power_w(measurement: Measurement, channel: Channel) -> float | None:
    """The power of a channel's domain, if it is the one that the figure is from."""
    reading = measurement[channel.domain]
    if reading.source == channel.source:
        return reading.mean_power_w
    if reading.check_j is not None and measurement.duration_s > 0:
        return reading.check_j / measurement.duration_s
    return None


def _verdict(measurement: Measurement) -> tuple[str, str]:
    parts = outermost(measurement.readings)
    measured = [one for one in parts if one.status is Status.MEASURED]
    rest = [one for one in parts if one.status is not Status.MEASURED]
    if not measured:
        return "estimated", f"no sensor can be read; {_names(rest)} from processor time and memory"
    if rest:
        return "partly estimated", f"{_names(measured)} by sensors, {_names(rest)} not"
    return "measured", f"{_names(measured)} by sensors"


def _names(readings: Sequence[Reading]) -> str:
    return ", ".join(reading.domain for reading in readings) or "nothing"


def _machine() -> dict[str, str]:
    processor = Processor.here()
    virtual = " (a virtual machine)" if processor.virtual else ""
    return {
        "system": f"{platform.system()} {platform.release()}{virtual}",
        "processor": f"{processor.model}, {processor.logical} logical, {processor.sockets} socket"
        + ("s" if processor.sockets > 1 else ""),
        "python": sys.version.partition(" ")[0],
    }


def _by_name_only() -> dict[str, str]:
    lines = {part.name: part.summary for part in meters.parts()}
    unused = {}
    for name in meters.names():
        try:
            if name != ESTIMATE and not meters.get(name).automatic:
                unused[name] = lines.get(name, "")
        except JoulelabError as error:
            unused[name] = f"broken: {error.message}"
    return unused


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
