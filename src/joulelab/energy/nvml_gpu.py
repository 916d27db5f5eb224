"""One NVIDIA GPU: which of its sensors work, and what they say.

How far the sensors are off belongs to the card: between -8 and +13 % against a wattmeter (arXiv
2312.02741), where NVIDIA promises 5 %. So the bound is 13 %, and 5 % for a card that was compared
with a wattmeter and has a calibration factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import pynvml

from joulelab.energy.meter import Channel, Sample
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

T = TypeVar("T")

TICK_S = 0.1
RELATIVE_ERROR = 0.13
CALIBRATED_RELATIVE_ERROR = 0.05
INSTANT = "NVML_FI_DEV_POWER_INSTANT"
ORDINARY = "nvmlDeviceGetPowerUsage"

_UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)


class Gpu:
    """One GPU, and which of its sensors work. NVML must stay open as long as it is used.

    Args:
        index: NVML's number.
        factors: calibration by UUID as `plain_uuid` writes it.

    Attributes:
        domain: ``"gpu:<index>"``.
        channels: the counter and the power, as far as the GPU has them.
        about: name, UUID, power field and so on, in words.

    Raises:
        MeterError: it is split by MIG, or reports neither energy nor power.
        pynvml.NVMLError: it cannot be read at all.
    """

    def __init__(self, index: int, factors: Mapping[str, float]) -> None:
        self.domain = f"gpu:{index}"
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        mig = _optional(pynvml.nvmlDeviceGetMigMode, self._handle)
        if mig is not None and mig[0]:
            raise MeterError(
                f"{self.domain} is split by MIG: its sensors are those of the whole card",
                f"sudo nvidia-smi -i {index} -mig 0 joins it again; or use a smart plug",
            )
        uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
        self._factor = factors.get(plain_uuid(uuid), 1.0)
        counts = _optional(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle) is not None
        self._power_field = _power_field(self._handle)
        if not counts and self._power_field is None:
            raise MeterError(f"{self.domain} reports neither energy nor power", "use a smart plug")
        limit_mw = _optional(pynvml.nvmlDeviceGetEnforcedPowerLimit, self._handle)
        self.about = {
            "name": str(pynvml.nvmlDeviceGetName(self._handle)),
            "uuid": uuid,
            "energy_counter": "yes" if counts else "no",
            "power_field": self._power_field or "none",
            "power_limit_w": "unknown" if limit_mw is None else f"{limit_mw / 1e3:g}",
            "calibration": f"{self._factor:g}",
        }
        self._last_mj: int | None = None
        self._reset = False
        self.channels: list[Channel] = []
        self._readers: list[Callable[[], float]] = []
        calibrated = plain_uuid(uuid) in factors
        if counts:
            self._add("nvml-counter", "energy counter of the driver", calibrated, self._energy_j)
        if self._power_field is not None:
            self._add("nvml-power", self._power_field, calibrated, self._power_w)

    def sample(self) -> list[Sample]:
        """One sample for each of `channels`."""
        values = [self._value(read) for read in self._readers]
        state = self._state()
        return [Sample(value, reason, state) for value, reason in values]

    def _value(self, read: Callable[[], float]) -> tuple[float | None, str]:
        try:
            return read(), ""
        except pynvml.NVMLError as error:
            return None, f"{self.domain}: NVML: {error}"
        except _CounterResetError as error:
            return None, f"{self.domain}: {error}"

    def _energy_j(self) -> float:
        """Joules since the driver was loaded.

        Once it was reset nobody knows what it lost, so a difference to an earlier value would be
        wrong without a sign of it: it stays unreadable, and power takes over.
        """
        value_mj: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        self._reset |= self._last_mj is not None and value_mj < self._last_mj
        if self._reset:
            raise _CounterResetError("the energy counter ran backwards: the driver was reloaded?")
        self._last_mj = value_mj
        return value_mj / 1e3 * self._factor

    def _power_w(self) -> float:
        if self._power_field == INSTANT:
            return _instant_mw(self._handle) / 1e3 * self._factor
        return float(pynvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3 * self._factor

    def _state(self) -> dict[str, float]:
        """What the GPU says of itself; what it does not say is left out."""
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

    def _add(self, source: str, field: str, calibrated: bool, read: Callable[[], float]) -> None:
        bound = (
            f"calibrated by {self._factor:g}; 5 % as NVIDIA states"
            if calibrated
            else "not calibrated; 13 % is the worst card of arXiv 2312.02741 (-8 to +13 %)"
        )
        self._readers.append(read)
        self.channels.append(
            Channel(
                domain=self.domain,
                source=source,
                kind="counter" if source == "nvml-counter" else "power",
                status=Status.MEASURED,
                relative_error=CALIBRATED_RELATIVE_ERROR if calibrated else RELATIVE_ERROR,
                tick_s=TICK_S,
                within=("wall",),
                remark=f"{field}; {bound}",
            )
        )


class _CounterResetError(Exception):
    """A counter has lost what it had counted."""


def _power_field(handle: object) -> str | None:
    """By which means the power of a GPU can be read, the better one first."""
    # Some drivers accept the field on cards that have no such sensor, and answer 0.
    if _optional(_instant_mw, handle):
        return INSTANT
    return None if _optional(pynvml.nvmlDeviceGetPowerUsage, handle) is None else ORDINARY


def _instant_mw(handle: object) -> int:
    answer = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
    if answer.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(answer.nvmlReturn)
    return int(answer.value.uiVal)


def _optional(read: Callable[[object], T], handle: object) -> T | None:
    """What a GPU says, or ``None`` where it has no such sensor; other errors are errors."""
    try:
        return read(handle)
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return None
        raise


def plain_uuid(uuid: str) -> str:
    """A UUID in small letters and without the prefix ``GPU-``."""
    return uuid.lower().removeprefix("gpu-")
