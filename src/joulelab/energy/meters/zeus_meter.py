"""Zeus as a meter for AMD GPUs, Apple silicon and Jetson, which other meters cannot read.

Zeus is an optional extra and slow to import. So a few files are checked first for such devices:

========== =================================================================
AMD        a card of vendor 0x1002 in ``/sys/class/drm``
Jetson     a Tegra chip in ``/proc/device-tree/compatible``
Apple      macOS on arm64
NVIDIA     only with ``zeus?nvidia=true``, to compare with the meter ``nvml``
========== =================================================================

AMD GPUs are numbered by HIP, as torch numbers them; where the machine has NVIDIA's driver too, they
are ``gpu:amd0`` and so on, because ``gpu:0`` is NVIDIA's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from joulelab.energy.meter import Detector, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters.settings import check_truth
from joulelab.energy.meters.zeus_devices import (
    AMD,
    NVIDIA,
    TICK_S,
    Device,
    Maker,
    apple_device,
    first_line,
    gpu_device,
    jetson_device,
)
from joulelab.errors import MeterError

DRM = "/sys/class/drm"
DEVICE_TREE = "/proc/device-tree"
NVIDIA_DRIVER = "/proc/driver/nvidia"
INSTALL = "pip install 'joulelab[zeus]'"
_AMD_VENDOR = "0x1002"
_AMD_REMEDY = "`amd-smi list` must show it: ROCm 6.2 or later, and the amdsmi of its version"
_TEGRA = b"nvidia,tegra"

Opened = tuple[list[Device], list[Missing]]


class ZeusMeter(OpenMeter):
    """A meter over devices read by Zeus.

    Args:
        devices: at least one; released when the meter is closed.
    """

    name = "zeus"
    library = "Zeus"
    interval_s = TICK_S / 2

    def __init__(self, devices: Sequence[Device]) -> None:
        super().__init__([channel for one in devices for channel in one.channels])
        self._devices = list(devices)
        self._about = {"zeus": _version("zeus"), "amdsmi": _version("amdsmi")}
        for one in devices:
            self._about |= one.about

    def read(self) -> Sequence[Sample]:
        """Read every device once."""
        return [sample for one in self._devices for sample in one.sample()]

    def describe(self) -> Mapping[str, str]:
        """Versions; names and sensors of the devices."""
        return self._about

    def release(self) -> None:
        """Release the devices."""
        self._devices.clear()


@dataclass
class ZeusDetector(Detector):
    """Detects devices that only Zeus can read.

    Args:
        nvidia: whether to read NVIDIA GPUs through Zeus too.
        drm: folder in which Linux lists graphics cards.
        device_tree: folder in which Linux describes the board.
        nvidia_driver: folder in which NVIDIA's driver describes itself.

    Raises:
        SettingsError: `nvidia` is not a boolean.
    """

    nvidia: bool = False
    drm: str | Path = DRM
    device_tree: str | Path = DEVICE_TREE
    nvidia_driver: str | Path = NVIDIA_DRIVER

    def __post_init__(self) -> None:
        check_truth("zeus: nvidia", self.nvidia)

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all that Zeus reads; empty if there is nothing."""
        sought = list(self._sought())
        if sought and importlib.util.find_spec("zeus") is None:
            return [], [
                Missing(one.family, f"{one.words} that needs zeus", INSTALL) for one in sought
            ]
        devices: list[Device] = []
        missing: list[Missing] = []
        for one in sought:
            try:
                with _quiet():
                    opened, gone = one.open()
            except MeterError as error:
                missing.append(Missing(one.family, error.message, error.hint))
            except Exception as error:  # of Zeus, or of a library or driver below it
                reason = f"{one.words} that Zeus cannot open: {first_line(error)}"
                missing.append(Missing(one.family, reason, one.remedy))
            else:
                devices += opened
                missing += gone
        return [ZeusMeter(devices)] if devices else [], missing

    def _sought(self) -> Iterator[_Sought]:
        """Devices that the machine seems to have, by a cheap check."""
        if self.nvidia:
            yield _Sought("gpu", "an NVIDIA GPU", "`nvidia-smi` must show it", _open_nvidia)
        if _has_amd(Path(self.drm)):
            prefix = "gpu:amd" if Path(self.nvidia_driver).exists() else "gpu:"
            open_amd = functools.partial(_open_amd, prefix)
            yield _Sought("gpu", "an AMD GPU", _AMD_REMEDY, open_amd)
        if platform.system() == "Darwin" and platform.machine() == "arm64":
            yield _Sought("cpu", "Apple silicon", INSTALL, _open_apple)
        if _is_tegra(Path(self.device_tree)):
            yield _Sought("cpu", "a Jetson", "`tegrastats` must show power", _open_jetson)


@dataclass(frozen=True)
class _Sought:
    """A device that the machine seems to have, and how Zeus opens it."""

    family: str
    words: str
    remedy: str
    open: Callable[[], Opened]


def _open_nvidia() -> Opened:
    gpus = _part("zeus.device.gpu").NVIDIAGPUs()
    return _gpus(gpus, "gpu:", NVIDIA)


def _open_amd(prefix: str) -> Opened:
    if not _part("zeus.device.gpu").amdsmi_is_available():
        raise MeterError("an AMD GPU, and amdsmi cannot be used", _AMD_REMEDY)
    return _gpus(_amd_gpus(), prefix, AMD)


@functools.cache
def _amd_gpus() -> object:
    """AMD's GPUs; opened once, because that takes half a second per counter.

    Never released: that would shut amdsmi down for other users in this process.
    """
    gpus: object = _part("zeus.device.gpu").AMDGPUs()
    return gpus


def _gpus(owner: object, prefix: str, maker: Maker) -> Opened:
    """The GPUs that can be read, and why the others cannot.

    Args:
        owner: Zeus' collection of them.
        prefix: of their domains.
        maker: their vendor.
    """
    devices: list[Device] = []
    missing = []
    for gpu in getattr(owner, "gpus", ()):
        domain = f"{prefix}{gpu.gpu_index}"
        try:
            devices.append(gpu_device(gpu, domain, maker, owner))
        except MeterError as error:
            missing.append(Missing(domain, error.message, error.hint))
    return devices, missing


def _open_apple() -> Opened:
    return [apple_device(_part("zeus.device.soc").get_soc())], []


def _open_jetson() -> Opened:
    """The rails that Zeus finds; its only public access is through its own process."""
    jetson = _part("zeus.device.soc.jetson").Jetson
    discover = getattr(jetson, "_discover_available_metrics", None)
    if discover is None:
        raise MeterError(
            f"zeus {_version('zeus')} does not expose the rails of a Jetson",
            "pip install 'zeus>=0.16,<0.17'",
        )
    return [jetson_device(discover(jetson.__new__(jetson)))], []


def _part(name: str) -> ModuleType:
    return importlib.import_module(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Zeus's log messages during opening out of the user's log."""
    logger = logging.getLogger("zeus")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _has_amd(drm: Path) -> bool:
    for vendor in drm.glob("*/device/vendor"):
        with suppress(OSError):
            if vendor.read_text("ascii").strip() == _AMD_VENDOR:
                return True
    return False


def _is_tegra(device_tree: Path) -> bool:
    try:
        return _TEGRA in (device_tree / "compatible").read_bytes()
    except OSError:
        return False


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
