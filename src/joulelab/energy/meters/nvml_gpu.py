"""One NVIDIA GPU: which sensors work, what they average, and their readings.

The sensor error depends on the card: -8 to +13 % against a wattmeter (arXiv 2312.02741), while
NVIDIA states 5 %. So the bound is 13 %, or 5 % for a card calibrated against a wattmeter; at idle
it is larger. `joulelab.energy.nvidia_cards` describes the sensors of each generation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import pynvml

from joulelab.energy import nvidia_cards
from joulelab.energy.counter import PACKAGE_LIMIT_W, Counter
from joulelab.energy.meter import Channel, Sample
from joulelab.energy.meters.settings import EVERY
from joulelab.energy.nvidia_cards import (
    AVERAGE_FIELD_S,
    CALIBRATED_RELATIVE_ERROR,
    IDLE_ERROR,
    RELATIVE_ERROR,
    Architecture,
    highest_w,
    idle_below_w,
)
from joulelab.energy.reading import Status
from joulelab.energy.trace import Sensor
from joulelab.errors import MeterError

COUNTER_TICK_S = 0.1
COUNTER_STEP_J = 0.001
STATE_INTERVAL_S = 0.5
T = TypeVar("T")
INSTANT = "NVML_FI_DEV_POWER_INSTANT"
AVERAGE = "NVML_FI_DEV_POWER_AVERAGE"
ORDINARY = "nvmlDeviceGetPowerUsage"
POWER_FIELDS = {"instant": INSTANT, "average": AVERAGE}
_FIELD_IDS = {INSTANT: pynvml.NVML_FI_DEV_POWER_INSTANT, AVERAGE: pynvml.NVML_FI_DEV_POWER_AVERAGE}
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


class Gpu:
    """One GPU, and which of its sensors work. NVML must stay open as long as it is used.

    Args:
        index: NVML's number.
        factors: calibration by UUID as `plain_uuid` writes it, or for all by `settings.EVERY`.
        power_field: a key of `POWER_FIELDS`.

    Attributes:
        index: NVML's number.
        domain: ``"gpu:<index>"``.
        channels: counter and power, if available.
        about: name, UUID, power field and so on, in words.
        update_s: update interval of its fastest sensor in seconds.

    Raises:
        MeterError: it is split by MIG, or reports neither energy nor power.
        pynvml.NVMLError: it cannot be read at all.
    """

    def __init__(
        self, index: int, factors: Mapping[str, float], power_field: str = "instant"
    ) -> None:
        self.index = index
        self.domain = f"gpu:{index}"
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        mig = optional(pynvml.nvmlDeviceGetMigMode, self._handle)
        if mig is not None and mig[0]:
            raise MeterError(
                f"{self.domain} is split by MIG: its sensors measure the whole card",
                f"sudo nvidia-smi -i {index} -mig 0 undoes the split; or use a smart plug",
            )
        name = str(pynvml.nvmlDeviceGetName(self._handle))
        uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
        architecture = find_architecture(self._handle, name)
        self._power_sensor = find_power_sensor(self._handle, architecture, power_field, name)
        self._counts = (
            optional(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle) is not None
        )
        if not self._counts and self._power_sensor is None:
            raise MeterError(f"{self.domain} reports neither energy nor power", "use a smart plug")
        self._factor = factors.get(plain_uuid(uuid), factors.get(EVERY, 1.0))
        self._calibrated = plain_uuid(uuid) in factors or EVERY in factors
        limit_w = self._power_limit_w()
        self._counter = Counter(
            f"{self.domain}: the energy counter",
            limit_w=lambda: self._power_limit_w() or PACKAGE_LIMIT_W,
            tick_s=COUNTER_TICK_S,
        )
        self.about = {
            "name": name,
            "uuid": uuid,
            "architecture": architecture.name,
            "energy_counter": "yes" if self._counts else "no",
            "power_field": "none" if self._power_sensor is None else self._power_sensor.field,
            "power_window": "none" if self._power_sensor is None else self._power_sensor.window,
            "power_limit_w": "unknown" if limit_w is None else f"{limit_w:g}",
            "calibration": f"{self._factor:g}",
        }
        self.channels = self._channels(self._power_sensor, name, limit_w or highest_w(name))
        self.update_s = COUNTER_TICK_S if self._power_sensor is None else architecture.update_s
        self._state: Mapping[str, float] = {}
        self._state_s = -math.inf

    def energy(self) -> Sample | None:
        """Joules since the driver was loaded; ``None`` if the GPU has no counter.

        After a reset, for instance a reloaded driver, it stays unreadable and power is used.
        """
        return self._sample(self._counted) if self._counts else None

    def power(self) -> Sample | None:
        """Watts; ``None`` if the GPU does not report it."""
        sensor = self._power_sensor
        return None if sensor is None else self._sample(lambda: Sample(self._power_w(sensor)))

    def state(self) -> Mapping[str, float]:
        """Utilisation, temperature, clock and power limit, if reported.

        Each is a separate driver call, so they are read at most every `STATE_INTERVAL_S`; in
        between, the last values are returned.
        """
        now_s = time.monotonic()
        if now_s - self._state_s >= STATE_INTERVAL_S:
            self._state, self._state_s = self._read_state(), now_s
        return self._state

    def _sample(self, read: Callable[[], Sample]) -> Sample:
        try:
            return read()
        except pynvml.NVMLError as error:
            return Sample(None, f"{self.domain}: NVML: {error}")

    def _power_limit_w(self) -> float | None:
        """The current power limit; ``None`` if not reported."""
        limit_mw = None
        with suppress(pynvml.NVMLError):
            limit_mw = pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle)
        return limit_mw / 1e3 if limit_mw else None

    def _counted(self) -> Sample:
        value_mj: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        sample = self._counter.take(value_mj / 1e3, time.monotonic())
        return sample if sample.value is None else Sample(sample.value * self._factor)

    def _power_w(self, sensor: PowerSensor) -> float:
        return read_power_mw(self._handle, sensor.field) / 1e3 * self._factor

    def _read_state(self) -> dict[str, float]:
        gpu = self._handle
        read: dict[str, Callable[[], float]] = {
            "utilisation": lambda: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(
                gpu, pynvml.NVML_TEMPERATURE_GPU
            ),
            "clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
            "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3,
        }
        state: dict[str, float] = {}
        for name, ask in read.items():
            with suppress(pynvml.NVMLError):
                state[name] = float(ask())
        return state

    def _channels(
        self, sensor: PowerSensor | None, name: str, limit_w: float | None
    ) -> tuple[Channel, ...]:
        bound = (
            f"calibrated by {self._factor:g}; 5 % as NVIDIA states"
            if self._calibrated
            else "not calibrated; 13 % is the worst card of arXiv 2312.02741 (-8 to +13 %)"
        )
        common = Channel(
            domain=self.domain,
            source="nvml-power",
            kind="power",
            status=Status.MEASURED,
            relative_error=CALIBRATED_RELATIVE_ERROR if self._calibrated else RELATIVE_ERROR,
            tick_s=COUNTER_TICK_S,
            within=("wall",),
            calibration=self._factor,
            limit_w=limit_w,
        )
        channels = []
        if self._counts:
            looks = Sensor(COUNTER_TICK_S, idle_error=IDLE_ERROR, idle_below_w=idle_below_w(name))
            channels.append(
                replace(
                    common,
                    source="nvml-counter",
                    kind="counter",
                    remark=f"energy counter of the driver; {bound}",
                    resolution_j=COUNTER_STEP_J * self._factor,
                    sensor=looks,
                )
            )
        if sensor is not None:
            remark = f"{sensor}; {bound}"
            channels.append(
                replace(common, tick_s=sensor.tick_s, remark=remark, sensor=sensor.sensor)
            )
        return tuple(channels)


def plain_uuid(uuid: str) -> str:
    """A UUID in lower case, without the prefix ``GPU-``."""
    return uuid.lower().removeprefix("gpu-")


@dataclass(frozen=True)
class PowerSensor:
    """The power sensor of one GPU.

    Attributes:
        field: `INSTANT`, `AVERAGE` or `ORDINARY`.
        update_s: time between two values in seconds.
        averaging_s: averaging time of a value in seconds; ``None`` where unknown.
        sensor: the same, as needed for the bound of an integral.
    """

    field: str
    update_s: float
    averaging_s: float | None
    sensor: Sensor

    @property
    def tick_s(self) -> float:
        """Time after which a value is independent of the last one, in seconds.

        An edge of a window is uncertain by this time: a mean over a second lags, however often it
        is updated.
        """
        return max(self.update_s, self.averaging_s or 0.0)

    def __str__(self) -> str:
        return f"{self.field} ({self.window})"

    @property
    def window(self) -> str:
        """The share of time that the sensor samples, in words."""
        update = f"{self.update_s * 1e3:g} ms"
        if self.averaging_s is None:
            return f"assumed to be updated every {update}, averaged over an unknown time"
        if self.averaging_s < self.update_s:
            return f"{self.averaging_s * 1e3:g} ms of every {update}"
        return f"mean of {self.averaging_s * 1e3:g} ms, new every {update}"


def find_architecture(handle: object, name: str) -> Architecture:
    """The generation of a GPU.

    Args:
        handle: of NVML.
        name: of the GPU; it distinguishes the GA100 from other Ampere GPUs, which NVML does not.
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
    """The requested field, else nvmlDeviceGetPowerUsage, else nothing.

    Args:
        handle: of NVML.
        architecture: of the GPU.
        wanted: a key of `POWER_FIELDS`.
        name: of the GPU.

    Raises:
        pynvml.NVMLError: the GPU cannot be read, for a reason other than a missing sensor.
    """
    field = POWER_FIELDS[wanted]
    # Some drivers accept a field on cards without the sensor, and return 0.
    if not optional(lambda gpu: read_power_mw(gpu, field), handle):
        if optional(pynvml.nvmlDeviceGetPowerUsage, handle) is None:
            return None
        field = ORDINARY
    averaging_s = {
        INSTANT: architecture.instant_s,
        AVERAGE: AVERAGE_FIELD_S,
        ORDINARY: architecture.ordinary_s,
    }[field]
    # A field that changes with every update is not averaged over much more than that.
    mean_s = architecture.update_s if averaging_s is None and field == INSTANT else averaging_s
    sensor = architecture.sensor(mean_s, nvidia_cards.idle_below_w(name))
    return PowerSensor(field, architecture.update_s, averaging_s, sensor)


def read_power_mw(handle: object, field: str) -> int:
    """Power in milliwatts.

    Args:
        handle: of NVML.
        field: `INSTANT`, `AVERAGE` or `ORDINARY`.

    Raises:
        pynvml.NVMLError: the GPU does not report it.
    """
    if field == ORDINARY:
        return int(pynvml.nvmlDeviceGetPowerUsage(handle))
    answer = pynvml.nvmlDeviceGetFieldValues(handle, [_FIELD_IDS[field]])[0]
    if answer.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(answer.nvmlReturn)
    return int(answer.value.uiVal)


def optional(read: Callable[[object], T], handle: object) -> T | None:
    """A reading of a GPU, or ``None`` if it lacks the sensor.

    Args:
        read: NVML function.
        handle: its argument.

    Raises:
        pynvml.NVMLError: the GPU cannot be read, for a reason other than a missing sensor.
    """
    try:
        return read(handle)
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return None
        raise
