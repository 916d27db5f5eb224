"""What can be measured on this machine, how accurately, and how to measure more."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from joulelab.energy.detection import ESTIMATE, Choice, find_meters
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel, Missing, meters
from joulelab.energy.meters.processor import Processor
from joulelab.energy.reading import MAY_BE_OFF, Reading, Status, family, outermost
from joulelab.energy.recorder import Recorder, Window
from joulelab.energy.standstill import TOO_SHORT
from joulelab.energy.summary import Conditions, summarise
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.errors import JoulelabError

LIBRARIES = ("nvidia-ml-py", "codecarbon", "zeus", "psutil", "torch", "numpy")
PROBE_S = 2.0
CONTAINERS = {"core": "cpu", "uncore": "cpu"}


@dataclass(frozen=True)
class Finding:
    """One channel that can be read.

    Attributes:
        meter: its meter.
        channel: what it reads.
        power_w: mean power at idle, or ``None``.
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
        meters: descriptions of the meters: devices, drivers.
        findings: what can be read.
        missing: what cannot be read, why, and what would help.
        unused: meters used only by name, with one line about each.
        verdict: ``"measured"``, ``"partly estimated"``, ``"estimated"`` or ``"missing"``.
        reason: of the verdict.
    """

    machine: dict[str, str]
    libraries: dict[str, str | None]
    meters: Mapping[str, Mapping[str, str]]
    findings: tuple[Finding, ...]
    missing: tuple[Missing, ...]
    unused: dict[str, str]
    verdict: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def diagnose(names: Sequence[str] | None = None, probe_s: float = PROBE_S) -> Diagnosis:
    """Diagnose this machine.

    Args:
        names: only these meters, as for `find_meters`.
        probe_s: duration of the power measurement in seconds.

    Raises:
        UsageError: no such meter or setting.
        MeterError: a named meter cannot read anything.
    """
    found = find_meters(names, settings={"estimate": {"scope": "machine"}})
    with Recorder(found.meters, missing=found.missing) as recorder:
        window = recorder.open("idle")
        recorder.wait(probe_s)
        measurement = window.close()
        alone = _alone(window)
        described = TraceAbout.of(recorder, "", window.started_at).meters
        findings = tuple(
            Finding(meter.name, channel, alone[channel.domain, channel.source].mean_power_w)
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
        missing=(*found.missing, *_not_believed(alone, measurement)),
        unused={name: line for name, line in _by_name_only().items() if name not in used},
        verdict=verdict,
        reason=reason,
    )


def _alone(window: Window) -> dict[tuple[str, str], Reading]:
    """The reading of each channel alone, by domain and source."""
    readings = {}
    for samples in window.channel_samples:
        key = (samples.channel.domain, samples.channel.source)
        edges_s = (float(samples.times_s[0]), float(samples.times_s[-1]))
        alone = Conditions("", window.started_at, edges_s, (), {}, samples.interval_s)
        said = summarise(alone, [samples])
        readings[key] = (*said.readings, *said.others)[0]
    return readings


def _not_believed(
    alone: Mapping[tuple[str, str], Reading], measurement: Measurement
) -> list[Missing]:
    """Channels that answer, but without a number.

    A channel that had too little time to move is left out if another channel of its domain counts.
    """
    known = {reading.domain for reading in measurement.readings if reading.gross_j is not None}
    return [
        Missing(domain, reading.reason, _remedy(family(domain)))
        for (domain, _), reading in alone.items()
        if reading.gross_j is None and not (domain in known and TOO_SHORT in reading.reason)
    ]


def _remedy(kind: str) -> str:
    """What to do if a sensor of such a domain gives impossible readings."""
    if kind in MAY_BE_OFF:
        return ""
    if kind == "wall":
        return (
            "check that this computer is plugged into it and that the plug's own web page "
            "shows the power"
        )
    if Processor.here().virtual:
        return (
            "counters in a virtual machine may exist but stand still: measure on the host, or with "
            "a plug (shelly:ADDRESS among the meters)"
        )
    return "use another instrument; a smart plug measures the whole machine"


def _verdict(measurement: Measurement) -> tuple[str, str]:
    parts = outermost(measurement.readings)
    measured = _with_status(parts, Status.MEASURED, Status.PARTLY_ESTIMATED)
    estimated = _with_status(parts, Status.ESTIMATED)
    missing = [
        domain
        for domain in _with_status(parts, Status.MISSING)
        if _container(domain) not in measured
    ]
    by_model = f"{_names(estimated)} from processor time and memory"
    if not measured and not estimated:
        return "missing", f"no sensor gives a plausible reading; {_names(missing)} not"
    if not measured:
        return "estimated", f"no sensor can be read; {by_model}"
    told = [f"{_names(measured)} by sensors"]
    told += [by_model] if estimated else []
    told += [f"{_names(missing)} not"] if missing else []
    return "partly estimated" if len(told) > 1 else "measured", ", ".join(told)


def _with_status(readings: Sequence[Reading], *statuses: Status) -> list[str]:
    return [one.domain for one in readings if one.status in statuses]


def _container(domain: str) -> str:
    """The domain that contains a core and counts it."""
    family, _, number = domain.partition(":")
    return f"{CONTAINERS.get(family, '')}:{number}"


def _names(domains: Sequence[str]) -> str:
    return ", ".join(domains) or "nothing"


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
