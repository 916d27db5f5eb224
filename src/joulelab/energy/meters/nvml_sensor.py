"""The power sensor of an NVIDIA GPU: which field is read, how often it is new, what it averages.

::

    average field  |<----------------- 1000 ms ----------------->|
    instant field                                       |<-25 ms->|     Hopper
    update                                              every 100 ms

    architecture          update   instant   nvmlDeviceGetPowerUsage
    Pascal, Volta          20 ms     10 ms     10 ms
    Turing                100 ms    100 ms    100 ms
    GA100 (A100, A30)     100 ms     25 ms     25 ms     sees a quarter of the time
    GA10x, Ada            100 ms    100 ms   1000 ms
    Hopper                100 ms     25 ms   1000 ms

Measured in arXiv 2312.02741; that the average field is a mean over one second, as is
nvmlDeviceGetPowerUsage from GA10x on, is NVIDIA's word in nvml.h. An architecture that nobody has
measured is taken to be new every 100 ms, with the mean that nvml.h promises.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pynvml

T = TypeVar("T")

INSTANT = "NVML_FI_DEV_POWER_INSTANT"
AVERAGE = "NVML_FI_DEV_POWER_AVERAGE"
ORDINARY = "nvmlDeviceGetPowerUsage"
POWER_FIELDS = {"instant": INSTANT, "average": AVERAGE}
AVERAGE_FIELD_S = 1.0

_FIELD_IDS = {
    INSTANT: pynvml.NVML_FI_DEV_POWER_INSTANT,
    AVERAGE: pynvml.NVML_FI_DEV_POWER_AVERAGE,
}
_UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)
_GA100 = re.compile(r"\b(A100|A800|A30)\b")


@dataclass(frozen=True)
class Architecture:
    """How the power sensors of one generation work.

    Attributes:
        name: NVIDIA's.
        update_s: time between two values in seconds.
        instant_s: over how long the instant field is a mean; ``None`` where nobody has measured it.
        ordinary_s: over how long nvmlDeviceGetPowerUsage is one.
    """

    name: str
    update_s: float
    instant_s: float | None
    ordinary_s: float | None


_GENERATIONS = {
    pynvml.NVML_DEVICE_ARCH_PASCAL: Architecture("Pascal", 0.02, 0.01, 0.01),
    pynvml.NVML_DEVICE_ARCH_VOLTA: Architecture("Volta", 0.02, 0.01, 0.01),
    pynvml.NVML_DEVICE_ARCH_TURING: Architecture("Turing", 0.1, 0.1, 0.1),
    pynvml.NVML_DEVICE_ARCH_AMPERE: Architecture("Ampere", 0.1, 0.1, 1.0),
    pynvml.NVML_DEVICE_ARCH_ADA: Architecture("Ada", 0.1, 0.1, 1.0),
    pynvml.NVML_DEVICE_ARCH_HOPPER: Architecture("Hopper", 0.1, 0.025, 1.0),
}
_AMPERE_DATA_CENTRE = Architecture("Ampere GA100", 0.1, 0.025, 0.025)


@dataclass(frozen=True)
class PowerSensor:
    """What is read as the power of one GPU.

    Attributes:
        field: `INSTANT`, `AVERAGE` or `ORDINARY`.
        update_s: time between two values in seconds.
        averaging_s: over how long a value is a mean, in seconds; ``None`` where unknown.
    """

    field: str
    update_s: float
    averaging_s: float | None

    @property
    def tick_s(self) -> float:
        """After how long a value has nothing left of the one before, in seconds.

        An edge of a window is as uncertain: a mean over a second lags, however often it is new.
        """
        return max(self.update_s, self.averaging_s or 0.0)

    def __str__(self) -> str:
        return f"{self.field} ({self.window})"

    @property
    def window(self) -> str:
        """Which part of the time the sensor sees, in words."""
        update = f"{self.update_s * 1e3:g} ms"
        if self.averaging_s is None:
            return f"taken to be new every {update}, mean over an unknown time"
        if self.averaging_s < self.update_s:
            return f"{self.averaging_s * 1e3:g} ms of every {update}"
        return f"mean of {self.averaging_s * 1e3:g} ms, new every {update}"


def find_architecture(handle: object, name: str) -> Architecture:
    """The generation of a GPU.

    Args:
        handle: of NVML.
        name: of the GPU; it tells the GA100 from the other Amperes, which NVML does not.
    """
    number = optional(pynvml.nvmlDeviceGetArchitecture, handle)
    if number == pynvml.NVML_DEVICE_ARCH_AMPERE and _GA100.search(name):
        return _AMPERE_DATA_CENTRE
    if number in _GENERATIONS:
        return _GENERATIONS[number]
    newer = (
        number is not None
        and number != pynvml.NVML_DEVICE_ARCH_UNKNOWN
        and number > pynvml.NVML_DEVICE_ARCH_HOPPER
    )
    return Architecture(
        "unknown" if number is None else f"number {number} of NVML",
        update_s=0.1,
        instant_s=None,
        ordinary_s=1.0 if newer else None,
    )


def find_power_sensor(
    handle: object, architecture: Architecture, wanted: str = "instant"
) -> PowerSensor | None:
    """The field that was asked for, else nvmlDeviceGetPowerUsage, else nothing.

    Args:
        handle: of NVML.
        architecture: of the GPU.
        wanted: a key of `POWER_FIELDS`.

    Raises:
        pynvml.NVMLError: the GPU cannot be read, for another reason than that it lacks a sensor.
    """
    field = POWER_FIELDS[wanted]
    # Some drivers accept a field on cards that have no such sensor, and answer 0.
    if not optional(lambda gpu: read_power_mw(gpu, field), handle):
        if optional(pynvml.nvmlDeviceGetPowerUsage, handle) is None:
            return None
        field = ORDINARY
    averaging_s = {
        INSTANT: architecture.instant_s,
        AVERAGE: AVERAGE_FIELD_S,
        ORDINARY: architecture.ordinary_s,
    }[field]
    return PowerSensor(field, architecture.update_s, averaging_s)


def read_power_mw(handle: object, field: str) -> int:
    """Power in milliwatts.

    Args:
        handle: of NVML.
        field: `INSTANT`, `AVERAGE` or `ORDINARY`.

    Raises:
        pynvml.NVMLError: the GPU does not say.
    """
    if field == ORDINARY:
        return int(pynvml.nvmlDeviceGetPowerUsage(handle))
    answer = pynvml.nvmlDeviceGetFieldValues(handle, [_FIELD_IDS[field]])[0]
    if answer.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(answer.nvmlReturn)
    return int(answer.value.uiVal)


def optional(read: Callable[[object], T], handle: object) -> T | None:
    """What a GPU says, or ``None`` where it has no such sensor.

    Args:
        read: asks NVML.
        handle: what it asks for.

    Raises:
        pynvml.NVMLError: the GPU cannot be read, for another reason than that it lacks a sensor.
    """
    try:
        return read(handle)
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return None
        raise
