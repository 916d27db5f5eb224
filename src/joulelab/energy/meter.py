"""The interface of a meter, and the registry of meters.

A meter reads one or more *channels*, each a domain read by one means. There are two kinds of
channel: a ``counter`` gives the joules since some fixed time and never goes backwards (the meter
corrects wraps of the sensor with `joulelab.energy.counter`); ``power`` gives the current power in
watts. The recorder calls `sample` from its own thread at a fixed rate and at the edges of windows,
and does all arithmetic; a meter only reads.

::

    Detector(**settings).detect() -> meters found, and what is missing and why
    meter.channels                    fixed for the life of the meter
    meter.sample() -> one Sample for each channel; an unreadable channel has a reason, never a 0
    meter.close()

A networked sensor is too slow for this: such a meter polls in its own thread and `sample` returns
the last answer, see `joulelab.energy.polling`.

A custom meter subclasses `Meter` and passes `joulelab.energy.conformance`. A smart plug is a meter
with a ``wall`` channel; a tool that reports cumulative energy is a meter with a counter.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from joulelab.energy.reading import Status
from joulelab.energy.trace import Floats, Sensor
from joulelab.registry import Registry


@dataclass(frozen=True)
class Channel:
    """One domain read by one means.

    Attributes:
        domain: what is read, for instance ``"gpu:0"``.
        source: by which means, for instance ``"nvml-counter"``.
        kind: ``"counter"`` (cumulative joules) or ``"power"`` (watts).
        status: measured, or estimated.
        relative_error: bound of the sensor's own error as a fraction of the energy.
        tick_s: update interval of the sensor in seconds; an edge of a window is uncertain by one
            tick at the power of that time.
        resolution_j: the smallest step of a counter in joules; if the counter made few steps in a
            window, power is better.
        within: the domains that contain this one.
        remark: a note for readers of the result, for instance the origin of a number.
        comparison: read only for comparison: its energy is never part of a sum.
        calibration: factor already applied to its energy and power.
        range_j: joules after which the counter wraps to 0; ``None`` if never.
        limit_w: the highest power of the domain in watts, from its power limit or its name;
            ``None`` if unknown. It bridges gaps, and with `range_j` it gives the longest time
            between readings without a missed wrap.
        sensor: how the sensor samples the device; ``None``: a new value every `tick_s`.
    """

    domain: str
    source: str
    kind: Literal["counter", "power"]
    status: Status
    relative_error: float
    tick_s: float
    within: tuple[str, ...] = ()
    remark: str = ""
    resolution_j: float = 0.0
    comparison: bool = False
    calibration: float = 1.0
    range_j: float | None = None
    limit_w: float | None = None
    sensor: Sensor | None = None

    @property
    def looks(self) -> Sensor:
        """How its sensor samples the device, as needed for the bound of an integral."""
        return self.sensor or Sensor(self.tick_s)

    def own_error_w(self, power_w: Floats) -> Floats:
        """Bound of the sensor's error at some powers: at idle more than its share.

        Args:
            power_w: (n,), as reported by the sensor.
        """
        error_w = self.relative_error * np.abs(power_w)
        if self.sensor is None or not self.sensor.idle_error:
            return error_w
        idle_w = np.minimum(np.abs(power_w), self.sensor.idle_below_w)
        return np.maximum(error_w, self.sensor.idle_error * idle_w)


@dataclass(frozen=True)
class Sample:
    """The value of one channel at one time.

    Attributes:
        value: cumulative joules for a counter, watts for power, ``None`` where unreadable.
        reason: why the value is ``None``.
        state: other readings of the sensor: ``utilisation`` (0 to 1, of the time before the
            sample), ``temperature_c``, ``clock_mhz``, ``power_limit_w``. If several channels read
            the same domain, the first has it.
    """

    value: float | None
    reason: str = ""
    state: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A domain that exists or may exist, but cannot be read here.

    Attributes:
        domain: the domain, or a family of domains such as ``"gpu"``.
        reason: why it cannot be read.
        remedy: what would make it readable, if anything.
    """

    domain: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Hidden:
    """The domains of a meter that a program with a given environment cannot use.

    Attributes:
        domains: they do not count unless named.
        note: which and why, in words; or why that is unknown.
    """

    domains: frozenset[str] = frozenset()
    note: str = ""


class Meter(ABC):
    """Reads the channels of one instrument. Not thread-safe: its recorder calls it under a lock.

    Attributes:
        name: of the instrument.
        interval_s: the shortest useful time between samples in seconds; the recorder does not read
            more often, except at the edges of windows.
    """

    name: str
    interval_s: float = 0.0

    @property
    @abstractmethod
    def channels(self) -> Sequence[Channel]:
        """The channels of this meter; they never change."""

    @abstractmethod
    def sample(self) -> Sequence[Sample]:
        """Read every channel once, in the order of `channels`, within a few milliseconds.

        A channel that cannot be read now has ``value=None`` and a reason; this never raises for a
        sensor that disappeared.
        """

    def approach_edge(self) -> None:  # noqa: B027 - a sensor has nothing to look for
        """Prepare a sample at the edge of a window: update what is too slow to read every time."""

    def hidden_from(self, environment: Mapping[str, str]) -> Hidden:
        """Domains that a program cannot use, such as a GPU hidden by CUDA_VISIBLE_DEVICES.

        Args:
            environment: variables of the program that is measured.
        """
        return Hidden()

    def describe(self) -> Mapping[str, str]:
        """Device names, driver and library versions, for the manifest of a study."""
        return {}

    def close(self) -> None:  # noqa: B027 - most meters hold nothing
        """Release file descriptors and libraries. A second call does nothing."""


class OpenMeter(Meter):
    """A meter that can be read from construction until it is closed.

    A subclass implements `read`, and `release` if it holds resources.

    Args:
        channels: what it reads.

    Attributes:
        library: library opened by this process that a forked process cannot use; empty if it can.
    """

    library: ClassVar[str] = ""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(channels)
        self._process = os.getpid()
        self._closed = False

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels of this meter."""
        return self._channels

    @property
    def unreadable(self) -> str:
        """Why it can no longer be read; empty while it can."""
        if self.library and os.getpid() != self._process:
            return f"{self.library} was opened before the fork, in another process"
        return "closed" if self._closed else ""

    def sample(self) -> Sequence[Sample]:
        """The result of `read`, or samples with the reason why nothing can be read."""
        if reason := self.unreadable:
            return [Sample(None, reason) for _ in self._channels]
        return self.read()

    @abstractmethod
    def read(self) -> Sequence[Sample]:
        """Read every channel once; see `Meter.sample`."""

    def close(self) -> None:
        """Release resources, except in a forked process, which does not own them."""
        if not self.unreadable:
            self.release()
        self._closed = True

    def release(self) -> None:
        """Release resources; called once."""


class Detector(ABC):
    """Detects whether an instrument can be read on this machine; detectors are what is registered.

    Settings are keyword arguments of the constructor. They come from the table ``[meter.<name>]``
    of the user's settings file and from ``<name>:<address>?<setting>=<value>`` where meters are
    named; the part before the question mark is the setting ``address``. The constructor raises
    `SettingsError` for an invalid value.

    Attributes:
        automatic: whether the instrument is used if no meters are named. An instrument that needs
            an address or is expensive to read is used only by name.
    """

    automatic: ClassVar[bool] = True

    @abstractmethod
    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meters that work here, and the domains that cannot be read with the reason."""


meters: Registry[type[Detector]] = Registry(
    "meter",
    "joulelab.meters",
    {
        "nvml": (
            "joulelab.energy.meters.nvml:NvmlDetector",
            "NVIDIA GPUs: energy counter and power",
        ),
        "rapl": (
            "joulelab.energy.meters.rapl:RaplDetector",
            "Intel and AMD processors by powercap",
        ),
        "zeus": (
            "joulelab.energy.meters.zeus_meter:ZeusDetector",
            "AMD GPUs, Apple silicon and Jetson by Zeus; zeus?nvidia=true: NVIDIA GPUs too",
        ),
        "codecarbon": (
            "joulelab.energy.meters.codecarbon_meter:CodeCarbonDetector",
            "readings of codecarbon, offline: codecarbon?country=NLD",
        ),
        "shelly": (
            "joulelab.energy.meters.shelly:ShellyDetector",
            "a Shelly plug, second generation or later: shelly:192.168.1.20",
        ),
        "tasmota": (
            "joulelab.energy.meters.tasmota:TasmotaDetector",
            "a plug with Tasmota's firmware: tasmota:192.168.1.21",
        ),
        "prometheus": (
            "joulelab.energy.meters.prometheus:PrometheusDetector",
            "joules on an exporter's page (DCGM, Kepler ...): prometheus:http://HOST:9400/metrics",
        ),
        "replay": (
            "joulelab.energy.meters.replay:ReplayDetector",
            "a recorded power trace: replay:FILE",
        ),
        "estimate": (
            "joulelab.energy.meters.estimate:EstimateDetector",
            "processor time x TDP and memory, where no sensor exists; always marked estimated",
        ),
    },
)
