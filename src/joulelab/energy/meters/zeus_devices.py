"""Devices read by Zeus: GPUs, and chips with processor and GPU (Apple silicon, Jetson).

::

    GPU      energy counter in millijoules, and power in milliwatts as a check
    Apple    counters of the chip, in millijoules
               cpu:0     all cores; ecluster:N and pcluster:N are its parts
               gpu:0     gpusram:0 is assumed to be part of it
               dram:0, ane:0 (the neural engine)
    Jetson   power of rails, in milliwatts
               psys:0    input of the module; contains the others
               cpu:0, gpu:0, or soc:0 where one rail feeds both

The sensor error depends on the vendor. NVIDIA's GPUs: 13 %, the worst card of arXiv 2312.02741. AMD
states no bound, and Zeus rejects only counters that deviate from power by a factor of ten; NVIDIA's
bound is used. Apple states no bound either, and its powermetrics calls its output estimated: 40 %,
as for other estimates (arXiv 2509.22092). The 5 % of a Jetson are an assumption: its shunts are
accurate to 1 %, and the offset of the sensor, an INA3221, matters at idle.

A Jetson is read rail by rail, with the code that Zeus runs in a separate process. That process is
not started: it would run the user's program a second time, and each reading would wait for it.
"""
# ruff: noqa: ANN401 - objects of Zeus, which is an optional extra

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from joulelab.energy import nvidia_cards
from joulelab.energy.counter import Counter
from joulelab.energy.meter import Channel, Sample
from joulelab.energy.meters import estimate
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

COUNTER = "zeus-counter"
POWER = "zeus-power"
TICK_S = 0.1
"""Update interval of a sensor: NVIDIA's, and assumed for the others."""
STEP_J = 0.001
JETSON_RELATIVE_ERROR = 0.05
# Field of Zeus, its domain here, and the domains that contain it.
_APPLE = (
    ("cpu_total_mj", "cpu", ()),
    ("efficiency_cluster_mj", "ecluster", ("cpu:0",)),
    ("performance_cluster_mj", "pcluster", ("cpu:0",)),
    ("gpu_mj", "gpu", ()),
    ("gpu_sram_mj", "gpusram", ("gpu:0",)),
    ("dram_mj", "dram", ()),
    ("ane_mj", "ane", ()),
)
_RAILS = {"cpu_power_mw": "cpu:0", "gpu_power_mw": "gpu:0", "total_power_mw": "psys:0"}
_MODULE = "psys:0"


@dataclass(frozen=True)
class Maker:
    """The vendor of a GPU: sensor error and its explanation."""

    name: str
    relative_error: float
    remark: str


NVIDIA = Maker("NVIDIA", nvidia_cards.RELATIVE_ERROR, "13 % is the worst card of arXiv 2312.02741")
AMD = Maker("AMD", nvidia_cards.RELATIVE_ERROR, "AMD states no bound; 13 % as for NVIDIA's cards")


@dataclass(frozen=True)
class Device:
    """A device read by Zeus.

    Attributes:
        channels: its channels.
        sample: reads each channel once.
        about: names and sensors, in words.
        owner: the owner of its library, which closes it when no longer referenced.
    """

    channels: tuple[Channel, ...]
    sample: Callable[[], list[Sample]]
    about: Mapping[str, str]
    owner: object = None


def gpu_device(gpu: Any, domain: str, maker: Maker, owner: object = None) -> Device:
    """A GPU with its available sensors: energy, then power.

    Args:
        gpu: of Zeus.
        domain: its domain.
        maker: its vendor.
        owner: as in `Device`.

    Raises:
        MeterError: it reports neither energy nor power.
    """
    faults: list[str] = []
    counts = _counts(gpu, faults)
    source, read_mw = _power(gpu, faults)
    channels: list[Channel] = []
    reads: list[Callable[[], Sample]] = []
    if counts:
        remark = f"energy counter by Zeus; {maker.remark}"
        channels.append(_channel(domain, "counter", maker.relative_error, remark))
        read_mj = gpu.get_total_energy_consumption
        reads.append(functools.partial(energy_sample, domain, counter(domain), read_mj))
    if read_mw is not None:
        tick_s = TICK_S if source == "instant" else nvidia_cards.AVERAGE_FIELD_S
        remark = f"{source} power by Zeus; {maker.remark}"
        channels.append(_channel(domain, "power", maker.relative_error, remark, tick_s=tick_s))
        reads.append(functools.partial(power_sample, domain, read_mw))
    if not channels:
        raise MeterError(f"{domain}: Zeus reads neither energy nor power: {faults[-1]}")
    about = {
        f"{domain} name": f"{maker.name} {gpu.get_name()}",
        f"{domain} energy_counter": "yes" if counts else "no",
        f"{domain} power": source,
    }
    return Device(tuple(channels), lambda: [read() for read in reads], about, owner)


def counter(domain: str) -> Counter:
    """The guard of a counter of Zeus.

    Args:
        domain: of the counter.
    """
    return Counter(f"{domain}: the energy counter", tick_s=TICK_S)


def energy_sample(domain: str, counter: Counter, read_mj: Callable[[], float | None]) -> Sample:
    """Joules.

    Args:
        domain: of the counter, for the reason.
        counter: its guard.
        read_mj: reads it in millijoules.
    """
    try:
        value_mj = read_mj()
    except Exception as error:  # of Zeus, or of a library or driver below it
        return Sample(None, f"{domain}: Zeus: {first_line(error)}")
    if value_mj is None:
        return Sample(None, f"{domain}: Zeus has no value")
    return counter.take(value_mj / 1e3, time.monotonic())


def power_sample(domain: str, read_mw: Callable[[], float]) -> Sample:
    """Watts.

    Args:
        domain: of the reading, for the reason.
        read_mw: reads it in milliwatts.
    """
    try:
        value_mw = read_mw()
    except Exception as error:  # of Zeus, or of a library or driver below it
        return Sample(None, f"{domain}: Zeus: {first_line(error)}")
    if not math.isfinite(value_mw) or value_mw < 0:
        return Sample(None, f"{domain}: Zeus says {value_mw:g} mW, which is impossible")
    return Sample(value_mw / 1e3)


def first_line(error: Exception) -> str:
    """The text of an error, without the explanations that Zeus adds."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _counts(gpu: Any, faults: list[str]) -> bool:
    """Whether a GPU has an energy counter; if not, adds the reason to `faults`."""
    try:
        if gpu.supports_get_total_energy_consumption():
            gpu.get_total_energy_consumption()
            return True
        faults.append("it has no energy counter that Zeus trusts")
    except Exception as error:  # of Zeus, or of a library or driver below it
        faults.append(first_line(error))
    return False


def _power(gpu: Any, faults: list[str]) -> tuple[str, Callable[[], int] | None]:
    """The best power field of a GPU; if none, adds the reason to `faults`.

    A field that reads 0 comes last: some drivers return 0 without the sensor.
    """
    answers: list[tuple[str, Callable[[], int]]] = []
    for field, read in (
        ("instant", gpu.get_instant_power_usage),
        ("average", gpu.get_average_power_usage),
    ):
        try:
            if read() > 0:
                return field, read
            answers.append((field, read))
        except Exception as error:  # of Zeus, or of a library or driver below it
            faults.append(first_line(error))
    return answers[0] if answers else ("none", None)


def _channel(
    domain: str,
    kind: Literal["counter", "power"],
    relative_error: float,
    remark: str,
    *,
    tick_s: float = TICK_S,
    within: tuple[str, ...] = (),
) -> Channel:
    return Channel(
        domain=domain,
        source=COUNTER if kind == "counter" else POWER,
        kind=kind,
        status=Status.MEASURED,
        relative_error=relative_error,
        tick_s=tick_s,
        within=(*within, "wall"),
        remark=remark,
        resolution_j=STEP_J if kind == "counter" else 0.0,
    )


def apple_device(soc: Any) -> Device:
    """The energy counters of Apple silicon.

    Args:
        soc: of Zeus.

    Raises:
        MeterError: it has none of the known fields.
    """
    values = _apple_values(soc.get_total_energy_consumption())
    if not values:
        raise MeterError("Zeus reads no energy of this Apple chip", "it supports M1 and later")
    guards = {domain: counter(domain) for domain in values}
    contained = {family: within for _, family, within in _APPLE}
    remark = "Apple's own counter by Zeus; Apple states no bound, 40 % as for estimates"

    def sample() -> list[Sample]:
        """All counters, from one reading of the chip."""
        try:
            values = _apple_values(soc.get_total_energy_consumption())
        except Exception as error:  # of Zeus, or of the library below it
            reason = f"Zeus: {first_line(error)}"
            return [Sample(None, f"{domain}: {reason}") for domain in guards]
        return [
            energy_sample(domain, guard, functools.partial(values.get, domain))
            for domain, guard in guards.items()
        ]

    channels = (
        _channel(
            domain,
            "counter",
            estimate.RELATIVE_ERROR,
            remark,
            within=contained[domain.partition(":")[0]],
        )
        for domain in values
    )
    return Device(tuple(channels), sample, {})


def jetson_device(rails: Mapping[str, Any]) -> Device:
    """The power rails of a Jetson.

    Args:
        rails: of Zeus, by its names ``cpu_power_mw``, ``gpu_power_mw``, ``total_power_mw``.

    Raises:
        MeterError: none of them exists.
    """
    labels: dict[str, str] = {}
    reads: dict[str, Callable[[], float]] = {}
    for key in (one for one in rails if one in _RAILS):
        label = _rail_label(rails[key])
        domain = "soc:0" if _feeds_both(label) else _RAILS[key]
        labels[domain], reads[domain] = label, rails[key].measure_power
    if not labels:
        raise MeterError(
            "Zeus finds no rail of an INA3221 on this Jetson",
            "`tegrastats` must show power; load the kernel module ina3221",
        )
    channels = (
        _channel(
            domain,
            "power",
            JETSON_RELATIVE_ERROR,
            f"rail {label or 'without a name'}, an INA3221 by Zeus; 5 % is an assumption",
            within=() if domain == _MODULE else (_MODULE,),
        )
        for domain, label in labels.items()
    )
    return Device(
        tuple(channels),
        lambda: [power_sample(domain, read) for domain, read in reads.items()],
        {f"{domain} rail": label or "unknown" for domain, label in labels.items()},
    )


def _apple_values(measured: object) -> dict[str, float]:
    """Millijoules by domain, as reported by the chip."""
    values: dict[str, float] = {}
    for field, family, _ in _APPLE:
        value = getattr(measured, field, None)
        several = value if isinstance(value, list) else [value]
        values |= {f"{family}:{n}": one for n, one in enumerate(several) if one is not None}
    return values


def _feeds_both(label: str) -> bool:
    """Whether a rail feeds processor and GPU; Zeus attributes it to the processor."""
    return "CPU" in label.upper() and "GPU" in label.upper()


def _rail_label(rail: Any) -> str:
    """The name of a rail from the kernel; empty if not found."""
    path = getattr(rail, "power_path", None) or getattr(rail, "voltage_path", None)
    if not isinstance(path, Path):
        return ""
    number = re.search(r"(\d+)_input$", path.name)
    for name in (f"in{number[1]}_label", f"rail_name_{number[1]}") if number else ():
        with suppress(OSError):
            return path.with_name(name).read_text("utf-8").strip()
    return ""
