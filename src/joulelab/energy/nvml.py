"""NVIDIA GPUs by NVML: the driver's energy counter, and its power beside it as a check.

Volta and later count millijoules since the driver was loaded; the counter moves about every 100 ms.
Older ones (Pascal) have power only. Power is the instantaneous field where the driver has it,
because the ordinary one is a mean over a whole second on recent cards and has changed its meaning
between drivers; which one was read is in the channel's remark and in `describe`.

GPU n is domain ``gpu:n`` with NVML's n, which no CUDA_VISIBLE_DEVICES renumbers; `gpu_index` finds
it for a device of another library. A GPU that is split by MIG is refused: its sensors are those of
the whole card, and no part of that can be told to be the part that trains.

How far the sensors are off belongs to the card: between -8 and +13 % against a wattmeter (arXiv
2312.02741), where NVIDIA promises 5 %. So the bound is 13 %, and 5 % for a card that was compared
with a wattmeter and has a calibration factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import pynvml

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

T = TypeVar("T")

TICK_S = 0.1
RELATIVE_ERROR = 0.13
CALIBRATED_RELATIVE_ERROR = 0.05
INSTANT = "NVML_FI_DEV_POWER_INSTANT"
ORDINARY = "nvmlDeviceGetPowerUsage"

_ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
_UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)
_SEE = "see what nvidia-smi says"
_REMEDIES = {
    pynvml.NVML_ERROR_NO_PERMISSION: "let this user read and write /dev/nvidia*",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated: restart the machine",
    pynvml.NVML_ERROR_GPU_IS_LOST: "restart the machine",
    pynvml.NVML_ERROR_RESET_REQUIRED: "restart the machine",
}


class NvmlMeter(Meter):
    """Energy, power, utilisation, temperature and clock of NVIDIA GPUs.

    Args:
        indices: NVML's numbers of the GPUs; all where ``None``.
        calibration: by UUID, with or without the prefix ``GPU-``, what to multiply energy and power
            of a card by: wattmeter / NVML. Cards that are not in it are not calibrated.

    Raises:
        MeterError: NVML or one of the GPUs cannot be read, or a factor is not positive.
    """

    name = "nvml"

    def __init__(
        self,
        indices: Sequence[int] | None = None,
        calibration: Mapping[str, float] | None = None,
    ) -> None:
        factors = _factors(calibration)
        self._open = False
        try:
            pynvml.nvmlInit()
            self._open = True
            wanted = range(pynvml.nvmlDeviceGetCount()) if indices is None else indices
            self._gpus = [_Gpu(index, factors) for index in wanted]
            self._about = {
                "driver": str(pynvml.nvmlSystemGetDriverVersion()),
                "nvml": str(pynvml.nvmlSystemGetNVMLVersion()),
            }
        except pynvml.NVMLError as error:
            self.close()
            raise MeterError(f"NVML cannot be read: {error}", _remedy(error)) from error
        except MeterError:
            self.close()
            raise
        if not self._gpus:
            self.close()
            raise MeterError("there is no NVIDIA GPU to read", "name at least one index")
        self._channels = tuple(channel for gpu in self._gpus for channel in gpu.channels)

    @property
    def channels(self) -> Sequence[Channel]:
        """For each GPU its counter, where it has one, and its power."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """Read every GPU once."""
        if not self._open:
            return [Sample(None, "closed") for _ in self._channels]
        return [sample for gpu in self._gpus for sample in gpu.sample()]

    def describe(self) -> Mapping[str, str]:
        """Driver and NVML version; name, UUID, power field, power limit and factor of each GPU."""
        about = dict(self._about)
        for gpu in self._gpus:
            about |= {f"{gpu.domain} {key}": value for key, value in gpu.about.items()}
        return about

    def close(self) -> None:
        """Let go of NVML."""
        if self._open:
            self._open = False
            # NVML that has broken down meanwhile has nothing left to release.
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


class NvmlDetector(Detector):
    """Finds the NVIDIA GPUs that can be read.

    Args:
        calibration: as for `NvmlMeter`.
    """

    def __init__(self, calibration: Mapping[str, float] | None = None) -> None:
        self._calibration = calibration

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all readable GPUs; nothing at all where there is no NVIDIA driver."""
        try:
            readable, missing = _probe()
        except pynvml.NVMLError as error:
            if error.value in _ABSENT:
                return [], []
            return [], [Missing("gpu", f"NVML cannot be read: {error}", _remedy(error))]
        if not readable:
            return [], missing
        try:
            return [NvmlMeter(readable, self._calibration)], missing
        except MeterError as error:
            return [], [*missing, Missing("gpu", error.message, error.hint)]


def gpu_index(uuid: str) -> int | None:
    """NVML's number of the GPU with this UUID.

    Args:
        uuid: with or without the prefix ``GPU-``, as other libraries give it.

    Returns:
        ``None`` where no GPU has it, or NVML does not work.
    """
    with suppress(pynvml.NVMLError), _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if _plain(pynvml.nvmlDeviceGetUUID(handle)) == _plain(uuid):
                    return index
    return None


class _Gpu:
    """One GPU, and which of its sensors work."""

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
        self._factor = factors.get(_plain(uuid), 1.0)
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
        calibrated = _plain(uuid) in factors
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


def _probe() -> tuple[list[int], list[Missing]]:
    """Which GPUs can be read, and why the others cannot."""
    readable: list[int] = []
    missing: list[Missing] = []
    with _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                _Gpu(index, {})
            except MeterError as error:
                missing.append(Missing(f"gpu:{index}", error.message, error.hint))
            except pynvml.NVMLError as error:
                missing.append(Missing(f"gpu:{index}", f"NVML: {error}", _remedy(error)))
            else:
                readable.append(index)
    return readable, missing


@contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


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


def _factors(calibration: Mapping[str, float] | None) -> dict[str, float]:
    factors = {_plain(uuid): factor for uuid, factor in (calibration or {}).items()}
    for uuid, factor in factors.items():
        if not factor > 0:
            raise MeterError(
                f"the calibration factor {factor} of GPU {uuid} is not positive",
                "give wattmeter / NVML, for instance 1.06",
            )
    return factors


def _plain(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-")


def _remedy(error: pynvml.NVMLError) -> str:
    return _REMEDIES.get(error.value, _SEE)
