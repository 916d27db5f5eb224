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
from abc import ABC, abstractmethod
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


class Device(ABC):
    """A device read by Zeus.

    Attributes:
        channels: its channels.
        about: names and sensors, in words.
    """

    channels: tuple[Channel, ...]
    about: Mapping[str, str]

    @abstractmethod
    def sample(self) -> list[Sample]:
        """Read each channel once."""


class GpuDevice(Device):
    """A GPU with its available sensors.

    Args:
        gpu: of Zeus.
        domain: its domain.
        maker: its vendor.
        owner: the owner of its library, which closes it when no longer referenced.

    Raises:
        MeterError: it reports neither energy nor power.
    """

    def __init__(self, gpu: Any, domain: str, maker: Maker, owner: object = None) -> None:
        self._owner = owner
        self._gpu = gpu
        self._domain = domain
        self._counter = counter(domain)
        faults: list[str] = []
        self._counts = _counts(gpu, faults)
        field, self._power_mw = _power(gpu, faults)
        if not self._counts and self._power_mw is None:
            raise MeterError(f"{domain}: Zeus reads neither energy nor power: {faults[-1]}")
        channels = []
        if self._counts:
            remark = f"energy counter by Zeus; {maker.remark}"
            channels.append(_channel(domain, "counter", maker.relative_error, TICK_S, remark))
        if self._power_mw is not None:
            tick_s = TICK_S if field == "instant" else nvidia_cards.AVERAGE_FIELD_S
            remark = f"{field} power by Zeus; {maker.remark}"
            channels.append(_channel(domain, "power", maker.relative_error, tick_s, remark))
        self.channels = tuple(channels)
        self.about = {
            f"{domain} name": f"{maker.name} {gpu.get_name()}",
            f"{domain} energy_counter": "yes" if self._counts else "no",
            f"{domain} power": field,
        }

    def sample(self) -> list[Sample]:
        """Energy, then power."""
        samples = []
        if self._counts:
            read_mj = self._gpu.get_total_energy_consumption
            samples.append(energy_sample(self._domain, self._counter, read_mj))
        if self._power_mw is not None:
            samples.append(power_sample(self._domain, self._power_mw))
        return samples


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
    tick_s: float,
    remark: str,
) -> Channel:
    return Channel(
        domain=domain,
        source=COUNTER if kind == "counter" else POWER,
        kind=kind,
        status=Status.MEASURED,
        relative_error=relative_error,
        tick_s=tick_s,
        within=("wall",),
        remark=remark,
        resolution_j=STEP_J if kind == "counter" else 0.0,
    )


class AppleDevice(Device):
    """The energy counters of Apple silicon.

    Args:
        soc: of Zeus.

    Raises:
        MeterError: it has none of the known fields.
    """

    def __init__(self, soc: Any) -> None:
        self._soc = soc
        values = _apple_values(soc.get_total_energy_consumption())
        if not values:
            raise MeterError("Zeus reads no energy of this Apple chip", "it supports M1 and later")
        self._counters = {domain: counter(domain) for domain in values}
        contained = {family: within for _, family, within in _APPLE}
        self.channels = tuple(
            Channel(
                domain=domain,
                source=COUNTER,
                kind="counter",
                status=Status.MEASURED,
                relative_error=estimate.RELATIVE_ERROR,
                tick_s=TICK_S,
                within=(*contained[domain.partition(":")[0]], "wall"),
                remark="Apple's own counter by Zeus; Apple states no bound, 40 % as for estimates",
                resolution_j=STEP_J,
            )
            for domain in values
        )
        self.about = {}

    def sample(self) -> list[Sample]:
        """All counters, from one reading of the chip."""
        try:
            values = _apple_values(self._soc.get_total_energy_consumption())
        except Exception as error:  # of Zeus, or of the library below it
            reason = f"Zeus: {first_line(error)}"
            return [Sample(None, f"{domain}: {reason}") for domain in self._counters]
        return [
            energy_sample(domain, guard, functools.partial(values.get, domain))
            for domain, guard in self._counters.items()
        ]


class JetsonDevice(Device):
    """The power rails of a Jetson.

    Args:
        rails: of Zeus, by its names ``cpu_power_mw``, ``gpu_power_mw``, ``total_power_mw``.

    Raises:
        MeterError: none of them exists.
    """

    def __init__(self, rails: Mapping[str, Any]) -> None:
        self._rails: dict[str, Any] = {}
        channels = []
        self.about = {}
        for key, rail in rails.items():
            if key not in _RAILS:
                continue
            label = _rail_label(rail)
            domain = "soc:0" if _feeds_both(label) else _RAILS[key]
            self._rails[domain] = rail
            self.about[f"{domain} rail"] = label or "unknown"
            channels.append(_rail_channel(domain, label))
        if not channels:
            raise MeterError(
                "Zeus finds no rail of an INA3221 on this Jetson",
                "`tegrastats` must show power; load the kernel module ina3221",
            )
        self.channels = tuple(channels)

    def sample(self) -> list[Sample]:
        """The power of each rail."""
        return [power_sample(domain, rail.measure_power) for domain, rail in self._rails.items()]


def _apple_values(measured: object) -> dict[str, float]:
    """Millijoules by domain, as reported by the chip."""
    values: dict[str, float] = {}
    for field, family, _ in _APPLE:
        value = getattr(measured, field, None)
        several = value if isinstance(value, list) else [value]
        values |= {f"{family}:{n}": one for n, one in enumerate(several) if one is not None}
    return values


def _rail_channel(domain: str, label: str) -> Channel:
    return Channel(
        domain=domain,
        source=POWER,
        kind="power",
        status=Status.MEASURED,
        relative_error=JETSON_RELATIVE_ERROR,
        tick_s=TICK_S,
        within=("wall",) if domain == _MODULE else (_MODULE, "wall"),
        remark=f"rail {label or 'without a name'}, an INA3221 by Zeus; 5 % is an assumption",
    )


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
