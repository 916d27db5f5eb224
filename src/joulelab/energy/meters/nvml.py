"""NVIDIA GPUs by NVML: the driver's energy counter, with its power as a check.

Volta and later count millijoules since the driver was loaded; the counter moves about every 100 ms.
Older GPUs (Pascal) have power only. The instantaneous power field is used if the driver has it,
because the ordinary field is a mean over a whole second on recent cards and has changed its meaning
between drivers. The channel's remark and `describe` give the field;
`joulelab.energy.meters.nvml_gpu` explains what each field averages.

::

    [meter.nvml]
    calibration = { "GPU-5e1f..." = 1.06 }    # wattmeter / NVML, by UUID; or a number for all
    power_field = "average"                   # default "instant"
    gpus = [0, 2]                             # default: all; also nvml?gpus=0,2

GPU n is domain ``gpu:n`` with NVML's n, which no CUDA_VISIBLE_DEVICES renumbers; `gpu_index` finds
it for a device of another library. GPUs that the variable hides from the measured program are read,
but do not count unless named. A GPU that is split by MIG is refused: its sensors cover the whole
card, and the share of one instance is unknown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pynvml

from joulelab.energy.meter import Detector, Hidden, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters.nvml_gpu import POWER_FIELDS, Gpu, plain_uuid
from joulelab.energy.meters.settings import CALIBRATION, calibration_factors
from joulelab.energy.meters.visible_gpus import (
    VISIBLE,
    Card,
    Visible,
    card_of_instance,
    machine_cards,
    visible,
)
from joulelab.errors import MeterError, SettingsError, suggestion

PCI_DEVICES = Path("/sys/bus/pci/devices")
DEVICES = Path("/dev")

_NVIDIA, _DISPLAY = "0x10de", "0x03"
_SEE = "check the output of nvidia-smi"
_REMEDIES = {
    pynvml.NVML_ERROR_NO_PERMISSION: "let this user read and write /dev/nvidia*",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated: restart the machine",
    pynvml.NVML_ERROR_GPU_IS_LOST: "restart the machine",
    pynvml.NVML_ERROR_RESET_REQUIRED: "restart the machine",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old: update it",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "load NVIDIA's driver: nvidia-smi must work; a container needs --gpus all"
    ),
}
_NO_DRIVER = Missing(
    "gpu",
    "this machine has an NVIDIA GPU but no driver for it",
    "install NVIDIA's driver: nvidia-smi must work; a container needs --gpus all",
)


class NvmlMeter(OpenMeter):
    """Energy, power, utilisation, temperature and clock of NVIDIA GPUs.

    Args:
        indices: NVML's numbers of the GPUs; all where ``None``.
        calibration: factor wattmeter / NVML for energy and power by UUID, with or without the
            prefix ``GPU-``, or one number for all. Other cards are not calibrated.
        power_field: ``"instant"`` or ``"average"``, for cards whose driver has that field.
        all_count: whether these GPUs count even if CUDA_VISIBLE_DEVICES hides them, because the
            user named them.

    Raises:
        SettingsError: a factor is not positive, or the field is unknown.
        MeterError: NVML or one of the GPUs cannot be read.
    """

    name = "nvml"
    library = "NVML"

    def __init__(
        self,
        indices: Sequence[int] | None = None,
        calibration: Mapping[str, float] | float | None = None,
        power_field: str = "instant",
        all_count: bool = False,
    ) -> None:
        self._all_count = all_count
        self._cards: list[Card] = []
        factors, field = factors_by_uuid(calibration), known_power_field(power_field)
        pynvml_open = False
        try:
            pynvml.nvmlInit()
            pynvml_open = True
            self._gpus = [Gpu(index, factors, field) for index in _existing(indices)]
            if not self._gpus:
                raise MeterError("no NVIDIA GPU can be read", "give at least one index")
            self._about = {
                "driver": str(pynvml.nvmlSystemGetDriverVersion()),
                "nvml": str(pynvml.nvmlSystemGetNVMLVersion()),
            }
        except BaseException as error:
            if pynvml_open:
                self.release()
            if isinstance(error, pynvml.NVMLError):
                raise MeterError(f"NVML cannot be read: {error}", _remedy(error)) from error
            raise
        super().__init__([channel for gpu in self._gpus for channel in gpu.channels])
        # Half the update interval of the fastest sensor, so that no value is missed.
        self.interval_s = min(gpu.update_s for gpu in self._gpus) / 2

    def read(self) -> Sequence[Sample]:
        """Read every GPU once: counters first, because they define the edges of windows."""
        energies = [gpu.energy() for gpu in self._gpus]
        powers = [gpu.power() for gpu in self._gpus]
        samples: list[Sample] = []
        for gpu, energy, power in zip(self._gpus, energies, powers, strict=True):
            first, *others = [sample for sample in (energy, power) if sample is not None]
            if any(sample.value is not None for sample in (first, *others)):
                first = replace(first, state=gpu.state())
            samples += [first, *others]
        return samples

    def hidden_from(self, environment: Mapping[str, str]) -> Hidden:
        """The GPUs that CUDA_VISIBLE_DEVICES hides, unless the user named GPUs."""
        said = environment.get(VISIBLE)
        if said is None or self._all_count or self.unreadable:
            return Hidden()
        try:
            self._cards = self._cards or machine_cards()
            seen = visible(environment, self._cards, card_of_instance)
        except pynvml.NVMLError as error:
            seen = Visible(None, f"NVML: {error}")
        setting = f"{VISIBLE}={said}"
        if seen.indices is None:
            return Hidden(note=f"all GPUs count: what {setting} hides is unknown: {seen.why}")
        gone = [gpu.domain for gpu in self._gpus if gpu.index not in seen.indices]
        if not gone:
            return Hidden()
        listed = ", ".join(gone)
        return Hidden(
            frozenset(gone), f"{setting} hides from the measured program, not counted: {listed}"
        )

    def describe(self) -> Mapping[str, str]:
        """Driver and NVML version; name, UUID, power field, power limit and factor of each GPU."""
        about = dict(self._about)
        for gpu in self._gpus:
            about |= {f"{gpu.domain} {key}": value for key, value in gpu.about.items()}
        return about

    def release(self) -> None:
        """Shut NVML down."""
        # If NVML has failed meanwhile, there is nothing to release.
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


@dataclass
class NvmlDetector(Detector):
    """Detects the NVIDIA GPUs that can be read.

    Args:
        calibration: as for `NvmlMeter`.
        power_field: as for `NvmlMeter`.
        gpus: NVML's numbers of the GPUs to read, as a list or as in ``"0,2"``; all where ``None``.
        pci_devices: folder in which Linux lists PCI devices.

    Raises:
        SettingsError: one of them cannot be right.
    """

    calibration: Mapping[str, float] | float | None = None
    power_field: str = "instant"
    gpus: Sequence[int] | str | int | None = None
    pci_devices: str | Path = PCI_DEVICES

    def __post_init__(self) -> None:
        factors_by_uuid(self.calibration)
        known_power_field(self.power_field)
        self._indices = gpu_numbers(self.gpus)

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all readable GPUs; empty without GPU and driver.

        Raises:
            MeterError: the settings name a GPU that does not exist.
        """
        try:
            # Keep NVML open until the meter is: an unused driver may reset its counters.
            with _session():
                return self._detect(_existing(self._indices))
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return [], [Missing("gpu", f"NVML cannot be read: {error}", _remedy(error))]
            return [], [_NO_DRIVER] if _has_card(Path(self.pci_devices)) else []

    def _detect(self, indices: Sequence[int]) -> tuple[Sequence[Meter], Sequence[Missing]]:
        readable, missing = _probe(indices)
        if not readable:
            return [], missing
        try:
            named = self._indices is not None
            meter = NvmlMeter(readable, self.calibration, self.power_field, named)
        except MeterError as error:
            gone = [Missing(f"gpu:{index}", error.message, error.hint) for index in readable]
            return [], [*missing, *gone]
        return [meter], missing


def gpu_index(uuid: str) -> int | None:
    """NVML's number of the GPU with this UUID.

    Args:
        uuid: with or without the prefix ``GPU-``, as other libraries give it.

    Returns:
        ``None`` if no GPU has it, or NVML does not work.
    """
    with suppress(pynvml.NVMLError), _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if plain_uuid(pynvml.nvmlDeviceGetUUID(handle)) == plain_uuid(uuid):
                    return index
    return None


def _existing(indices: Sequence[int] | None) -> Sequence[int]:
    """The given indices, or all."""
    count: int = pynvml.nvmlDeviceGetCount()
    for index in indices or ():
        if not 0 <= index < count:
            raise MeterError(
                f"there is no GPU {index}: NVML counts {count}, from 0",
                "`nvidia-smi -L` lists them",
            )
    return range(count) if indices is None else indices


def _probe(indices: Sequence[int]) -> tuple[list[int], list[Missing]]:
    """Which of these GPUs can be read, and why the others cannot."""
    readable: list[int] = []
    missing: list[Missing] = []
    for index in indices:
        try:
            Gpu(index, {})
        except MeterError as error:
            missing.append(Missing(f"gpu:{index}", error.message, error.hint))
        except pynvml.NVMLError as error:
            missing.append(Missing(f"gpu:{index}", f"NVML: {error}", _remedy(error)))
        else:
            readable.append(index)
    return readable, missing


def _has_card(pci_devices: Path) -> bool:
    """Whether one of the machine's cards is an NVIDIA GPU (class 3: a display controller)."""
    for card in pci_devices.glob("*"):
        with suppress(OSError):
            if (card / "vendor").read_text("ascii").strip() != _NVIDIA:
                continue
            if (card / "class").read_text("ascii").startswith(_DISPLAY):
                return True
    return False


@contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _remedy(error: pynvml.NVMLError) -> str:
    if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
        nodes = sorted(DEVICES.glob("nvidia*"))
        closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
        if closed:
            return f"let this user read and write {' and '.join(closed)}"
    return _REMEDIES.get(error.value, _SEE)


def factors_by_uuid(calibration: object) -> dict[str, float]:
    """Calibration factors by UUID as `plain_uuid` writes it.

    Args:
        calibration: from UUID to factor, or one number for all cards; ``None`` for none.

    Returns:
        One number by `settings.EVERY`.

    Raises:
        SettingsError: it is neither, a factor is not a positive number, or a card is given by
            index, which may change.
    """
    if calibration is None:
        return {}
    factors = calibration_factors(calibration, "nvml:")
    for uuid in factors:
        if re.fullmatch(r"(gpu:)?\d+", uuid):
            raise SettingsError(
                f"nvml: {CALIBRATION}: {uuid!r} is not the UUID of a GPU",
                'write [meter.nvml] calibration = { "GPU-<uuid>" = 1.06 }; '
                "`nvidia-smi -L` lists it",
            )
    return {plain_uuid(uuid): factor for uuid, factor in factors.items()}


def known_power_field(name: object) -> str:
    """A key of `POWER_FIELDS`.

    Raises:
        SettingsError: it is not one.
    """
    if not isinstance(name, str) or name not in POWER_FIELDS:
        raise SettingsError(
            f"nvml: unknown power_field {name!r}", suggestion(str(name), POWER_FIELDS)
        )
    return name


def gpu_numbers(gpus: object) -> tuple[int, ...] | None:
    """NVML's numbers of the GPUs to read, in order and each once; ``None`` for all.

    Args:
        gpus: ``None``, a number, numbers, or a text such as ``"0,2"``.

    Raises:
        SettingsError: it is something else, or does not name a GPU.
    """
    if gpus is None:
        return None
    parts: Sequence[object] = [gpus]
    if isinstance(gpus, str):
        parts = [int(part) if part.strip().isdecimal() else part for part in gpus.split(",")]
    elif isinstance(gpus, Sequence):
        parts = gpus
    numbers = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
    if not numbers or len(numbers) < len(parts) or min(numbers) < 0:
        raise SettingsError(
            f"nvml: gpus = {gpus!r} is not a list of GPU indices",
            "use the indices of `nvidia-smi -L`, for instance gpus = [0, 2] or nvml?gpus=0,2",
        )
    return tuple(sorted(set(numbers)))
