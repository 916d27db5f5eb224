"""One NVIDIA GPU: which of its sensors work, and what they say.

How far the sensors are off belongs to the card: between -8 and +13 % against a wattmeter (arXiv
2312.02741), where NVIDIA promises 5 %. So the bound is 13 %, and 5 % for a card that was compared
with a wattmeter and has a calibration factor; at idle it is more, see
`joulelab.energy.nvidia_cards`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import pynvml

from joulelab.energy.counter import PACKAGE_LIMIT_W, Counter
from joulelab.energy.meter import Channel, Sample
from joulelab.energy.meters.calibrated import EVERY
from joulelab.energy.meters.nvml_sensor import (
    PowerSensor,
    find_architecture,
    find_power_sensor,
    optional,
    read_power_mw,
)
from joulelab.energy.nvidia_cards import (
    CALIBRATED_RELATIVE_ERROR,
    IDLE_ERROR,
    RELATIVE_ERROR,
    highest_w,
    idle_below_w,
)
from joulelab.energy.reading import Status
from joulelab.energy.trace import Sensor
from joulelab.errors import MeterError

COUNTER_TICK_S = 0.1
COUNTER_STEP_J = 0.001
STATE_INTERVAL_S = 0.5


class Gpu:
    """One GPU, and which of its sensors work. NVML must stay open as long as it is used.

    Args:
        index: NVML's number.
        factors: calibration by UUID as `plain_uuid` writes it, or for all by `calibrated.EVERY`.
        power_field: a key of `nvml_sensor.POWER_FIELDS`.

    Attributes:
        index: NVML's number.
        domain: ``"gpu:<index>"``.
        channels: the counter and the power, as far as the GPU has them.
        about: name, UUID, power field and so on, in words.
        update_s: how often the quickest of its sensors is new, in seconds.

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
                f"{self.domain} is split by MIG: its sensors are those of the whole card",
                f"sudo nvidia-smi -i {index} -mig 0 joins it again; or use a smart plug",
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
        """Joules since the driver was loaded; ``None`` where the GPU has no counter.

        After a reset, the driver reloaded for instance, it stays unreadable and power takes over.
        """
        return self._sample(self._counted) if self._counts else None

    def power(self) -> Sample | None:
        """Watts; ``None`` where the GPU does not say."""
        sensor = self._power_sensor
        return None if sensor is None else self._sample(lambda: Sample(self._power_w(sensor)))

    def state(self) -> Mapping[str, float]:
        """Utilisation, temperature, clock and power limit as far as the GPU says them.

        Each is a call into the driver of its own, so they are asked for every `STATE_INTERVAL_S`
        at most; in between, this is what they were then.
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
        """The limit that is in force now; ``None`` where the card does not say one."""
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
        state: dict[str, float] = {}
        with suppress(pynvml.NVMLError):
            state["utilisation"] = pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
        with suppress(pynvml.NVMLError):
            celsius = pynvml.nvmlDeviceGetTemperature(self._handle, pynvml.NVML_TEMPERATURE_GPU)
            state["temperature_c"] = float(celsius)
        with suppress(pynvml.NVMLError):
            clock_mhz = pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM)
            state["clock_mhz"] = float(clock_mhz)
        with suppress(pynvml.NVMLError):
            state["power_limit_w"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3
        return state

    def _channels(
        self, sensor: PowerSensor | None, name: str, limit_w: float | None
    ) -> tuple[Channel, ...]:
        bound = (
            f"calibrated by {self._factor:g}; 5 % as NVIDIA states"
            if self._calibrated
            else "not calibrated; 13 % is the worst card of arXiv 2312.02741 (-8 to +13 %)"
        )
        relative_error = CALIBRATED_RELATIVE_ERROR if self._calibrated else RELATIVE_ERROR
        channels = []
        if self._counts:
            channels.append(
                Channel(
                    domain=self.domain,
                    source="nvml-counter",
                    kind="counter",
                    status=Status.MEASURED,
                    relative_error=relative_error,
                    tick_s=COUNTER_TICK_S,
                    within=("wall",),
                    remark=f"energy counter of the driver; {bound}",
                    resolution_j=COUNTER_STEP_J * self._factor,
                    calibration=self._factor,
                    limit_w=limit_w,
                    sensor=Sensor(
                        COUNTER_TICK_S, idle_error=IDLE_ERROR, idle_below_w=idle_below_w(name)
                    ),
                )
            )
        if sensor is not None:
            channels.append(
                Channel(
                    domain=self.domain,
                    source="nvml-power",
                    kind="power",
                    status=Status.MEASURED,
                    relative_error=relative_error,
                    tick_s=sensor.tick_s,
                    within=("wall",),
                    remark=f"{sensor}; {bound}",
                    calibration=self._factor,
                    limit_w=limit_w,
                    sensor=sensor.sensor,
                )
            )
        return tuple(channels)


def plain_uuid(uuid: str) -> str:
    """A UUID in small letters and without the prefix ``GPU-``."""
    return uuid.lower().removeprefix("gpu-")
