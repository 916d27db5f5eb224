"""NVIDIA GPUs by NVML: the driver's energy counter, and its power beside it as a check.

Volta and later count millijoules since the driver was loaded; the counter moves about every 100 ms.
Older ones (Pascal) have power only. Power is the instantaneous field where the driver has it,
because the ordinary one is a mean over a whole second on recent cards and has changed its meaning
between drivers; which one was read is in the channel's remark and in `describe`.

GPU n is domain ``gpu:n`` with NVML's n, which no CUDA_VISIBLE_DEVICES renumbers; `gpu_index` finds
it for a device of another library. A GPU that is split by MIG is refused: its sensors are those of
the whole card, and no part of that can be told to be the part that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pynvml

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.nvml_gpu import Gpu, plain_uuid
from joulelab.errors import MeterError

_ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
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
            self._gpus = [Gpu(index, factors) for index in wanted]
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
                if plain_uuid(pynvml.nvmlDeviceGetUUID(handle)) == plain_uuid(uuid):
                    return index
    return None


def _probe() -> tuple[list[int], list[Missing]]:
    """Which GPUs can be read, and why the others cannot."""
    readable: list[int] = []
    missing: list[Missing] = []
    with _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                Gpu(index, {})
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


def _factors(calibration: Mapping[str, float] | None) -> dict[str, float]:
    factors = {plain_uuid(uuid): factor for uuid, factor in (calibration or {}).items()}
    for uuid, factor in factors.items():
        if not factor > 0:
            raise MeterError(
                f"the calibration factor {factor} of GPU {uuid} is not positive",
                "give wattmeter / NVML, for instance 1.06",
            )
    return factors


def _remedy(error: pynvml.NVMLError) -> str:
    return _REMEDIES.get(error.value, _SEE)
