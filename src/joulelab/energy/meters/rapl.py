"""Processors by RAPL: the energy counters of Intel and AMD, as Linux's powercap tree shows them.

::

    /sys/class/powercap/
      intel-rapl:0      name package-0          cpu:0    within psys:*, wall
      intel-rapl:0:0    name core               core:0   within cpu:0, psys:*, wall
      intel-rapl:0:1    name uncore             uncore:0 within cpu:0, psys:*, wall
      intel-rapl:0:2    name dram               dram:0   within psys:*, wall
      intel-rapl:1      name psys               psys:0   within wall
      intel-rapl-mmio:0 the same package by a second way, left out

AMD has the same tree, driver name included, with packages and cores only. The counters are
microjoules and wrap at ``max_energy_range_uj``, which is 2^32 units of the processor: 262 kJ on
Intel, 65 kJ on AMD; at 240 W that is once in 18 or 4.5 minutes. A wrap between two samples is
undone here. Two wraps between two samples look like one or none and cannot be told from them, so
the longest gap between samples must stay below those times; at ten samples a second it does by a
factor of thousands.

The counters say nothing of the load. Beside the first package goes a utilisation: the share of the
logical processors that this process may use which it kept busy since the sample before, by its
processor time and that of its ended children. Its living children would cost a look into the
process table at every sample.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.meters.process_tree import Load, own_processor_time_s
from joulelab.energy.meters.processor import Processor, usable_processors
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

POWERCAP = Path("/sys/class/powercap")
POWERCAP_VARIABLE = "JOULELAB_POWERCAP"
TICK_S = 0.001
RELATIVE_ERROR = 0.05
REMARK = (
    "RAPL: 5 % is an assumption, its makers state no bound; it follows a wattmeter closely (Khan "
    "et al., ACM TOMPECS 2018)"
)
DRAM_RELATIVE_ERROR = 1.57
DRAM_REMARK = (
    "RAPL of memory: on servers 10 to 157 % off a reference on the rails at 1 kHz, most at little "
    "load (Broadwell, Ice Lake: An Experimental Setup to Evaluate RAPL Energy Counters for "
    "Heterogeneous Memory, ICPE 2024, doi:10.1145/3629526.3645052)"
)
IMPOSSIBLE_W = 10_000.0
"""More than any zone can use: a counter that seems to is not wrapping but starting anew."""

_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?")
_NAME = re.compile(r"(package|psys|core|uncore|dram)(?:-(.+))?")
_FAMILIES = {"package": "cpu"}
_LONGEST_COUNTER = 32


class WrappingCounter:
    """Joules since the first value of a counter that starts again at 0 after its range.

    Args:
        range_uj: microjoules after which it wraps.
        first_uj: its value now.
        at_s: the moment of that value on the monotonic clock.
    """

    def __init__(self, range_uj: int, first_uj: int, at_s: float) -> None:
        self._range_uj = range_uj
        self._last_uj = first_uj
        self._last_s = at_s
        self._total_uj = 0
        self._reset = False

    def advance(self, value_uj: int, at_s: float) -> float | None:
        """Take a new value.

        Args:
            value_uj: of the counter, in microjoules.
            at_s: its moment on the monotonic clock.

        Returns:
            Joules since the first value, which never fall. ``None``, and from then on always,
            where the counter has not wrapped but been reset: what it lost then is unknown. A reset
            is a step back by less than half the range that as a wrap would be an impossible power.
        """
        step_uj = (value_uj - self._last_uj) % self._range_uj
        back = value_uj < self._last_uj and step_uj > self._range_uj / 2
        if back and step_uj / 1e6 > IMPOSSIBLE_W * (at_s - self._last_s):
            self._reset = True
        self._total_uj += step_uj
        self._last_uj, self._last_s = value_uj, at_s
        return None if self._reset else self._total_uj / 1e6


@dataclass(frozen=True)
class Zone:
    """One powercap zone: its folder, and the domain that it is here."""

    folder: Path
    name: str
    domain: str
    within: tuple[str, ...]


class RaplMeter(Meter):
    """The energy counters of the processors of this machine.

    Args:
        root: the powercap folder; that of `JOULELAB_POWERCAP`, or of the system, where ``None``.
        zones: only these of `find_zones`; all where ``None``.

    Raises:
        MeterError: there is no zone, or one cannot be read.
    """

    name = "rapl"

    def __init__(self, root: Path | None = None, zones: Sequence[Zone] | None = None) -> None:
        root = root or powercap_root()
        wanted = find_zones(root) if zones is None else zones
        if not wanted:
            raise MeterError(f"no RAPL zone in {root}", "the kernel module is intel_rapl_msr")
        self._readers: list[_Reader] = []
        try:
            for zone in wanted:
                self._readers.append(_Reader(zone))
        except (OSError, ValueError) as error:
            self.close()
            raise MeterError(f"{zone.folder} cannot be read: {error}", _remedy(zone)) from error
        self._channels = tuple(_channel(zone) for zone in wanted)
        self._load = Load(usable_processors())
        packages = (n for n, zone in enumerate(wanted) if zone.domain.startswith("cpu:"))
        self._first_package = next(packages, None)

    @property
    def channels(self) -> Sequence[Channel]:
        """One counter for each zone."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """Read every counter, and the load that goes with the first package."""
        samples = [reader.read() for reader in self._readers]
        if self._first_package is not None:
            load = self._load.since_last(own_processor_time_s(), time.monotonic())
            energy_j = samples[self._first_package].value
            if load is not None and energy_j is not None:
                samples[self._first_package] = Sample(energy_j, "", {"utilisation": load})
        return samples

    def describe(self) -> Mapping[str, str]:
        """Which zone each domain is, and where its counter wraps."""
        return {
            reader.zone.domain: f"{reader.zone.name}, {reader.zone.folder.name}, "
            f"wraps at {reader.range_uj / 1e6:.0f} J"
            for reader in self._readers
        }

    def close(self) -> None:
        """Close the counters' files."""
        for reader in self._readers:
            reader.close()


class RaplDetector(Detector):
    """Finds the zones that can be read.

    Args:
        root: as for `RaplMeter`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or powercap_root()

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all readable zones, and why others, or all, cannot be read."""
        readable: list[Zone] = []
        missing: list[Missing] = []
        zones = find_zones(self._root)
        if not zones:
            return [], [_absent(self._root)]
        for zone in zones:
            try:
                _Reader(zone).close()
            except PermissionError:
                reason = f"no permission to read {zone.folder / 'energy_uj'}"
                missing.append(Missing(zone.domain, reason, _remedy(zone)))
            except (OSError, ValueError) as error:
                missing.append(Missing(zone.domain, f"{zone.folder} cannot be read: {error}"))
            else:
                readable.append(zone)
        if not readable:
            return [], missing
        try:
            return [RaplMeter(self._root, readable)], missing
        except MeterError as error:
            gone = [Missing(zone.domain, error.message, error.hint) for zone in readable]
            return [], [*missing, *gone]


def powercap_root() -> Path:
    """The folder of the zones: `JOULELAB_POWERCAP`, else the system's."""
    return Path(os.environ.get(POWERCAP_VARIABLE) or POWERCAP)


def find_zones(root: Path) -> list[Zone]:
    """All RAPL zones by their place in the tree, without those of the duplicate mmio tree.

    Args:
        root: the powercap folder. Subzones lie beside their zone, as in ``/sys/class/powercap``,
            or within it, as in ``/sys/devices/virtual/powercap/intel-rapl``.
    """
    folders: dict[str, Path] = {}
    for folder in (*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")):
        if _ZONE.fullmatch(folder.name):
            folders.setdefault(folder.name, folder)
    ordered = sorted(folders.items(), key=lambda item: [int(n) for n in item[0].split(":")[1:]])
    names = {key: name for key, folder in ordered if (name := _read_name(folder)) is not None}
    psys = tuple(domain for name in names.values() if (domain := _top(name)).startswith("psys:"))
    return [_zone(key, names, folders[key], psys) for key in names if _NAME.fullmatch(names[key])]


def _zone(key: str, names: Mapping[str, str], folder: Path, psys: tuple[str, ...]) -> Zone:
    name = names[key]
    domain = _top(name)
    parent = names.get(f"intel-rapl:{key.split(':')[1]}", "")
    if key.count(":") > 1 and _NAME.fullmatch(parent):
        # A subzone is called core or dram on every socket; its package tells them apart.
        domain = f"{name}:{_top(parent).partition(':')[2]}"
    family, _, number = domain.partition(":")
    package = (f"cpu:{number}",) if family in ("core", "uncore") else ()
    return Zone(folder, name, domain, _containers(family, package, psys))


def _containers(family: str, package: tuple[str, ...], psys: tuple[str, ...]) -> tuple[str, ...]:
    return ("wall",) if family == "psys" else (*package, *psys, "wall")


def _top(name: str) -> str:
    """The domain of a zone by its own name: package-1 is cpu:1, psys is psys:0."""
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    return f"{_FAMILIES.get(match[1], match[1])}:{match[2] or 0}"


def _read_name(folder: Path) -> str | None:
    try:
        return (folder / "name").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None  # a zone that vanished while the tree was listed


def _channel(zone: Zone) -> Channel:
    memory = zone.domain.startswith("dram:")
    return Channel(
        domain=zone.domain,
        source="rapl",
        kind="counter",
        status=Status.MEASURED,
        relative_error=DRAM_RELATIVE_ERROR if memory else RELATIVE_ERROR,
        tick_s=TICK_S,
        within=zone.within,
        remark=DRAM_REMARK if memory else REMARK,
    )


def _absent(root: Path) -> Missing:
    """Why there are no zones, as far as can be told from here."""
    if platform.system() != "Linux":
        return Missing("cpu", f"RAPL is read under Linux, and this is {platform.system()}")
    if Processor.here().virtual:
        return Missing(
            "cpu",
            f"no RAPL in {root}: a virtual machine does not see its host's counters",
            "measure on the host, or by a plug, with shelly:ADDRESS among the meters",
        )
    return Missing(
        "cpu",
        f"no RAPL in {root}",
        "sudo modprobe intel_rapl_msr (AMD too); in a container mount the folder read-only and "
        f"name it in {POWERCAP_VARIABLE}",
    )


def _remedy(zone: Zone) -> str:
    return (
        f"sudo chmod a+r {zone.folder / 'energy_uj'} (until the machine starts anew; for good by a "
        "udev rule or a line in /etc/sysfs.d, see docs/energy.md)"
    )


class _Reader:
    """The open counter of one zone."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.range_uj = int((zone.folder / "max_energy_range_uj").read_text("utf-8"))
        if self.range_uj <= 0:
            raise ValueError(f"max_energy_range_uj is {self.range_uj}")
        self._file: int | None = os.open(zone.folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._counter = WrappingCounter(self.range_uj, self._now_uj(), time.monotonic())
        except BaseException:
            self.close()
            raise

    def read(self) -> Sample:
        """Joules since the meter was opened."""
        if self._file is None:
            return Sample(None, "closed")
        try:
            energy_j = self._counter.advance(self._now_uj(), time.monotonic())
        except (OSError, ValueError) as error:
            return Sample(None, f"{self.zone.folder.name} cannot be read: {error}")
        if energy_j is None:
            return Sample(None, f"{self.zone.folder.name} was reset: what it lost is unknown")
        return Sample(energy_j)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _now_uj(self) -> int:
        if self._file is None:
            raise ValueError("closed")
        text = _read(self._file)
        if not text.strip():
            raise ValueError("the counter is empty")
        return int(text)


def _read(file: int) -> bytes:
    """The first bytes of an open file, read without giving up the interpreter's lock.

    `os.pread` gives it up, and beside a busy thread it takes 5 ms to get it back: with a counter
    for each zone that is longer than a sample may be late. The kernel answers in microseconds.
    """
    if _pread is None:
        return os.pread(file, _LONGEST_COUNTER, 0)
    buffer = ctypes.create_string_buffer(_LONGEST_COUNTER)
    count = _pread(file, buffer, _LONGEST_COUNTER, 0)
    if count < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[:count]


def _find_pread() -> Callable[..., int] | None:
    """The C library's pread with a 64-bit offset, called with the interpreter's lock held."""
    try:
        function = ctypes.PyDLL(None, use_errno=True).pread64
    except (AttributeError, OSError, TypeError):
        return None  # no glibc
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
    function.restype = ctypes.c_ssize_t
    return cast("Callable[..., int]", function)


_pread = _find_pread()
