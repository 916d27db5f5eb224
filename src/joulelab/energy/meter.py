"""The interface of a meter, and the registry of meters.

A meter reads one or more *channels*, each a domain by one means. There are two kinds of channel: a
``counter`` says how many joules have flowed since some fixed moment and never runs backwards (a
wrap of the sensor is undone inside the meter, by `joulelab.energy.counter`), ``power`` says the
power of the moment in watts. The recorder calls `sample` from its own thread at a fixed rate and at
the edges of windows, and does all arithmetic; a meter only reads.

::

    Detector(**settings).detect() -> meters found, and what is missing and why
    meter.channels                    fixed for the life of the meter
    meter.sample() -> one Sample for each channel; an unreadable channel has a reason, never a 0
    meter.close()

A sensor behind a network answers too late for this: such a meter asks in a thread of its own and
`sample` gives the last answer, see `joulelab.energy.polling`.

A meter of your own subclasses `Meter` and passes `joulelab.energy.conformance`. A smart plug is a
meter with a ``wall`` channel; a tool that hands out cumulative energy is a meter with a counter.
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
        tick_s: how often the sensor takes a new value, in seconds; an edge of a window is
            uncertain by one tick at the power of that moment.
        resolution_j: the smallest step of a counter in joules; power is the better figure for a
            window in which the counter has made few steps.
        within: the domains that contain this one.
        remark: what a reader of the result should know, for instance where a figure is from.
        comparison: read only to be held against others: its energy is never a part of a sum.
        calibration: what its energy and power have been multiplied by already.
        range_j: after how many joules the counter begins again at 0; ``None`` where it never does.
        limit_w: the highest power that the domain can draw in watts, by its power limit or its
            name; ``None`` where nobody says. Holes are bridged by it, and with `range_j` it tells
            how seldom a counter may be read before a wrap passes unseen.
        sensor: how the sensor looks at the device; ``None``: it is new every `tick_s`.
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
        """How its sensor looks at the device, as the bound of an integral takes it."""
        return self.sensor or Sensor(self.tick_s)

    def own_error_w(self, power_w: Floats) -> Floats:
        """Bound of the sensor's own error at some powers: more than its share at idle.

        Args:
            power_w: (n,), as the sensor says them.
        """
        error_w = self.relative_error * np.abs(power_w)
        if self.sensor is None or not self.sensor.idle_error:
            return error_w
        idle_w = np.minimum(np.abs(power_w), self.sensor.idle_below_w)
        return np.maximum(error_w, self.sensor.idle_error * idle_w)


@dataclass(frozen=True)
class Sample:
    """The value of one channel at one moment.

    Attributes:
        value: cumulative joules for a counter, watts for power, ``None`` where unreadable.
        reason: why the value is ``None``.
        state: what else the sensor says: ``utilisation`` (0 to 1, of the time before the sample),
            ``temperature_c``, ``clock_mhz``, ``power_limit_w``. Where several channels read one
            domain, it goes with the first.
    """

    value: float | None
    reason: str = ""
    state: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A domain that exists or may exist, and cannot be read here.

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
    """What a program with some environment cannot use, of what a meter reads.

    Attributes:
        domains: they do not count, unless they are named.
        note: in words, which and why; or why nothing could be told.
    """

    domains: frozenset[str] = frozenset()
    note: str = ""


class Meter(ABC):
    """Reads the channels of one instrument. Not thread-safe: its recorder calls it under a lock.

    Attributes:
        name: of the instrument.
        interval_s: the shortest time in seconds after which another sample says something new; the
            recorder does not read more often, the edges of windows excepted.
    """

    name: str
    interval_s: float = 0.0

    @property
    @abstractmethod
    def channels(self) -> Sequence[Channel]:
        """What this meter reads; the same for all its life."""

    @abstractmethod
    def sample(self) -> Sequence[Sample]:
        """Read every channel once, in the order of `channels`, within a few milliseconds.

        A channel that cannot be read now has ``value=None`` and a reason; this never raises for a
        sensor that has gone.
        """

    def approach_edge(self) -> None:  # noqa: B027 - a sensor has nothing to look for
        """A window opens or closes with the next sample: look for what is too dear at every one."""

    def hidden_from(self, environment: Mapping[str, str]) -> Hidden:
        """What a program with this environment cannot use, as a GPU by CUDA_VISIBLE_DEVICES.

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
    """A meter that can be read from when it is made until it is closed.

    A subclass has `read`, and `release` where it holds something.

    Args:
        channels: what it reads.

    Attributes:
        library: what the process that opened the meter has open for it, where a forked process
            cannot read it; empty where it can.
    """

    library: ClassVar[str] = ""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(channels)
        self._process = os.getpid()
        self._closed = False

    @property
    def channels(self) -> Sequence[Channel]:
        """What this meter reads."""
        return self._channels

    @property
    def unreadable(self) -> str:
        """Why it cannot be read any more; empty while it can."""
        if self.library and os.getpid() != self._process:
            return f"{self.library} was opened before the fork, in another process"
        return "closed" if self._closed else ""

    def sample(self) -> Sequence[Sample]:
        """What `read` gives, or samples with the reason why there is nothing to read."""
        if reason := self.unreadable:
            return [Sample(None, reason) for _ in self._channels]
        return self.read()

    @abstractmethod
    def read(self) -> Sequence[Sample]:
        """Read every channel once; see `Meter.sample`."""

    def close(self) -> None:
        """Release what is held; what a forked process inherited is not its own to release."""
        if not self.unreadable:
            self.release()
        self._closed = True

    def release(self) -> None:
        """Release what the meter holds; called once."""


class Detector(ABC):
    """Finds out whether an instrument can be read on this machine; this is what is registered.

    Settings are keyword arguments of the constructor. They come from the table ``[meter.<name>]``
    of the user's settings file and from ``<name>:<address>?<setting>=<value>`` where meters are
    named; the part before the question mark is the setting ``address``. The constructor raises
    `SettingsError` for a value that cannot be right.

    Attributes:
        automatic: whether the instrument is looked for where no meters are named. An instrument
            that needs an address, or that costs much to ask, is used only by name.
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
