"""The power sensor of an NVIDIA GPU as NVML gives it: which field is read, and what it averages.

How the sensors of each generation work is in `joulelab.energy.nvidia_cards`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pynvml

from joulelab.energy import nvidia_cards
from joulelab.energy.nvidia_cards import AVERAGE_FIELD_S, Architecture
from joulelab.energy.trace import Sensor

T = TypeVar("T")

INSTANT = "NVML_FI_DEV_POWER_INSTANT"
AVERAGE = "NVML_FI_DEV_POWER_AVERAGE"
ORDINARY = "nvmlDeviceGetPowerUsage"
POWER_FIELDS = {"instant": INSTANT, "average": AVERAGE}

_FIELD_IDS = {
    INSTANT: pynvml.NVML_FI_DEV_POWER_INSTANT,
    AVERAGE: pynvml.NVML_FI_DEV_POWER_AVERAGE,
}
_UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)

_GENERATIONS = {
    pynvml.NVML_DEVICE_ARCH_PASCAL: nvidia_cards.PASCAL,
    pynvml.NVML_DEVICE_ARCH_VOLTA: nvidia_cards.VOLTA,
    pynvml.NVML_DEVICE_ARCH_TURING: nvidia_cards.TURING,
    pynvml.NVML_DEVICE_ARCH_AMPERE: nvidia_cards.AMPERE,
    pynvml.NVML_DEVICE_ARCH_ADA: nvidia_cards.ADA,
    pynvml.NVML_DEVICE_ARCH_HOPPER: nvidia_cards.HOPPER,
}


@dataclass(frozen=True)
class PowerSensor:
    """What is read as the power of one GPU.

    Attributes:
        field: `INSTANT`, `AVERAGE` or `ORDINARY`.
        update_s: time between two values in seconds.
        averaging_s: over how long a value is a mean, in seconds; ``None`` where unknown.
        sensor: the same as the bound of an integral takes it.
    """

    field: str
    update_s: float
    averaging_s: float | None
    sensor: Sensor

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
    if number == pynvml.NVML_DEVICE_ARCH_AMPERE:
        is_ga100 = nvidia_cards.architecture_of(name) is nvidia_cards.GA100
        return nvidia_cards.GA100 if is_ga100 else nvidia_cards.AMPERE
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
    handle: object, architecture: Architecture, wanted: str = "instant", name: str = ""
) -> PowerSensor | None:
    """The field that was asked for, else nvmlDeviceGetPowerUsage, else nothing.

    Args:
        handle: of NVML.
        architecture: of the GPU.
        wanted: a key of `POWER_FIELDS`.
        name: of the GPU.

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
    # A field that is new every update is no mean over much more, whoever has measured it.
    mean_s = architecture.update_s if averaging_s is None and field == INSTANT else averaging_s
    sensor = architecture.sensor(mean_s, nvidia_cards.idle_below_w(name))
    return PowerSensor(field, architecture.update_s, averaging_s, sensor)


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
