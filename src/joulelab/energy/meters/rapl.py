"""Processors by RAPL: the energy counters of Intel and AMD in Linux's powercap tree.

::

    /sys/class/powercap/
      intel-rapl:0      name package-0          cpu:0    within psys:*, wall
      intel-rapl:0:0    name core               core:0   within cpu:0, psys:*, wall
      intel-rapl:0:1    name uncore             uncore:0 within cpu:0, psys:*, wall
      intel-rapl:0:2    name dram               dram:0   within psys:*, wall
      intel-rapl:1      name psys               psys:0   within wall
      intel-rapl-mmio:0 the same package by a second interface, ignored

AMD has the same tree, driver name included, with packages and cores only. A zone is read by three
files: ``name``, ``energy_uj`` and ``max_energy_range_uj``. By default only root can read
``energy_uj``; some distributions and administrators also restrict other files or folders. The error
lists the unreadable files and the command that opens them.

The counters are microjoules and wrap at ``max_energy_range_uj``, which is 2^32 units of the
processor: 262 kJ on Intel, 65 kJ on AMD; at 240 W that is once in 18 or 4.5 minutes.
`joulelab.energy.counter` corrects a wrap between two samples and distinguishes it from a reset. Two
wraps between two samples look like one or none: a window with a gap in which that may have happened
is an estimate (`joulelab.energy.standstill`).

The counters do not report load. The first package also gives a utilisation: the share of the
logical processors available to this process that it kept busy since the last sample, from its
processor time and that of its ended children. Living children are not included: they would need a
look into the process table at every sample.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from joulelab.energy.counter import Counter, highest_possible_w
from joulelab.energy.meter import Channel, Detector, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters.processor import (
    Load,
    Processor,
    own_processor_time_s,
    usable_processors,
)
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

TICK_S = 0.001
RELATIVE_ERROR = 0.05
REMARK = (
    "RAPL: 5 % is an assumption, the vendors state no bound; it follows a wattmeter closely (Khan "
    "et al., ACM TOMPECS 2018)"
)
DRAM_RELATIVE_ERROR = 1.57
DRAM_REMARK = (
    "RAPL of memory: on servers 10 to 157 % off a reference on the rails at 1 kHz, most at little "
    "load (Broadwell, Ice Lake: An Experimental Setup to Evaluate RAPL Energy Counters for "
    "Heterogeneous Memory, ICPE 2024, doi:10.1145/3629526.3645052)"
)
MICRO = 1e-6

_LONGEST_COUNTER = 32
POWERCAP = Path("/sys/class/powercap")
POWERCAP_VARIABLE = "JOULELAB_POWERCAP"
NAME, ENERGY, RANGE = "name", "energy_uj", "max_energy_range_uj"
FOR_GOOD = (
    "until the next reboot; for a permanent change use a udev rule or a line in /etc/sysfs.d, see "
    "joulelab help energy"
)
_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?")
_NAME = re.compile(r"(package|psys|core|uncore|dram)(?:-(.+))?")
_FAMILIES = {"package": "cpu"}
_LIMITS = ("constraint_*_power_limit_uw", "constraint_*_max_power_uw")


class RaplMeter(OpenMeter):
    """The energy counters of the processors of this machine.

    Args:
        root: the powercap folder; ``None`` for `JOULELAB_POWERCAP`, else the system's.
        readers: the open counters, where some zones of the folder cannot be read.

    Raises:
        MeterError: there is no zone, or one cannot be read.
    """

    name = "rapl"

    def __init__(self, root: Path | None = None, readers: Sequence[_Reader] = ()) -> None:
        self._readers = list(readers)
        if not readers:
            root = root or powercap_root()
            self._readers, missing = _opened(find_zones(root))
            if missing:
                self.release()
                raise MeterError(missing[0].reason, missing[0].remedy)
            if not self._readers:
                raise MeterError(f"no RAPL zone in {root}", "the kernel module is intel_rapl_msr")
        super().__init__([_channel(reader) for reader in self._readers])
        self._load = Load(usable_processors())
        domains = enumerate(channel.domain for channel in self.channels)
        packages = (number for number, domain in domains if domain.startswith("cpu:"))
        self._first_package = next(packages, None)

    def read(self) -> Sequence[Sample]:
        """Read every counter, and the load reported with the first package."""
        samples = [reader.read() for reader in self._readers]
        if self._first_package is not None:
            load = self._load.since_last(own_processor_time_s(), time.monotonic())
            energy_j = samples[self._first_package].value
            if load is not None and energy_j is not None:
                samples[self._first_package] = Sample(energy_j, "", {"utilisation": load})
        return samples

    def describe(self) -> Mapping[str, str]:
        """The zone of each domain, and where its counter wraps."""
        return {
            reader.zone.domain: f"{reader.zone.name}, {reader.zone.folder.name}, "
            f"wraps at {reader.range_uj / 1e6:.0f} J"
            for reader in self._readers
        }

    def release(self) -> None:
        """Close the counters' files."""
        for reader in self._readers:
            reader.close()


@dataclass
class RaplDetector(Detector):
    """Detects the zones that can be read.

    Args:
        root: as for `RaplMeter`.
    """

    root: str | Path | None = None

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all readable zones, and why others, or all, cannot be read."""
        root = Path(self.root) if self.root else powercap_root()
        missing = closed_zones(root)
        zones = find_zones(root)
        if not zones:
            return [], missing or [absent(root)]
        readers, closed = _opened(zones)
        return [RaplMeter(root, readers)] if readers else [], [*missing, *closed]


def _opened(zones: Iterable[Zone]) -> tuple[list[_Reader], list[Missing]]:
    """The counters that can be read, and why the others cannot."""
    readers: list[_Reader] = []
    missing: list[Missing] = []
    for zone in zones:
        try:
            readers.append(_Reader(zone))
        except PermissionError:
            missing.append(Missing(zone.domain, *no_permission(zone.folder)))
        except (OSError, ValueError) as error:
            missing.append(Missing(zone.domain, f"{zone.folder} cannot be read: {error}"))
    return readers, missing


def _channel(reader: _Reader) -> Channel:
    zone = reader.zone
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
        range_j=reader.range_uj * MICRO,
        limit_w=zone.limit_w,
    )


class _Reader:
    """The open counter of one zone."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.range_uj = int((zone.folder / RANGE).read_text("utf-8"))
        if self.range_uj <= 0:
            raise ValueError(f"{RANGE} is {self.range_uj}")
        self._counter = Counter(
            zone.folder.name,
            limit_w=lambda: zone.limit_w or highest_possible_w(zone.domain),
            range_j=self.range_uj * MICRO,
            tick_s=TICK_S,
        )
        self._file: int | None = os.open(zone.folder / ENERGY, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._opened_j = self._now_j()
            self._counter.take(self._opened_j, time.monotonic())
        except BaseException:
            self.close()
            raise

    def read(self) -> Sample:
        """Joules since the meter was opened."""
        try:
            sample = self._counter.take(self._now_j(), time.monotonic())
        except (OSError, ValueError) as error:
            return Sample(None, f"{self.zone.folder.name} cannot be read: {error}")
        return sample if sample.value is None else Sample(sample.value - self._opened_j)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _now_j(self) -> float:
        if self._file is None:
            raise ValueError("closed")
        text = _read(self._file)
        if not text.strip():
            raise ValueError("the counter is empty")
        return int(text) * MICRO


def _read(file: int) -> bytes:
    """The first bytes of an open file, read without releasing the GIL.

    `os.pread` releases it, and next to a busy thread it takes 5 ms to reacquire: with one counter
    per zone a sample would be late. The kernel answers in microseconds.
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
    """The C library's pread with a 64-bit offset, called while holding the GIL."""
    try:
        function = ctypes.PyDLL(None, use_errno=True).pread64
    except (AttributeError, OSError, TypeError):
        return None  # no glibc
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
    function.restype = ctypes.c_ssize_t
    return cast("Callable[..., int]", function)


_pread = _find_pread()


@dataclass(frozen=True)
class Zone:
    """One powercap zone: its folder and its domain.

    Attributes:
        folder: of its files.
        name: kernel name, such as ``package-0``.
        domain: its domain.
        within: the domains that contain it.
    """

    folder: Path
    name: str
    domain: str
    within: tuple[str, ...]

    @property
    def limit_w(self) -> float | None:
        """The highest power in watts, from its active constraints.

        ``None`` if it has none, or if the firmware reports thousands of watts for no limit.
        """
        in_force = _LIMITS if _number(self.folder / "enabled") != 0 else _LIMITS[1:]
        said_w = [
            uw / 1e6
            for pattern in in_force
            for path in self.folder.glob(pattern)
            if (uw := _number(path))
        ]
        limit_w = max(said_w, default=math.inf)
        return limit_w if limit_w < highest_possible_w(self.domain) else None


def powercap_root() -> Path:
    """The folder of the zones: `JOULELAB_POWERCAP`, else the system's."""
    return Path(os.environ.get(POWERCAP_VARIABLE) or POWERCAP)


def find_zones(root: Path) -> list[Zone]:
    """All RAPL zones by their place in the tree, except the duplicate mmio tree.

    Args:
        root: the powercap folder. Subzones are next to their zone, as in ``/sys/class/powercap``,
            or inside it, as in ``/sys/devices/virtual/powercap/intel-rapl``.
    """
    folders = _folders(root)
    names = {key: name for key, path in folders.items() if (name := _read_name(path)) is not None}
    # If the zone has no readable name, the processor of its parts is unknown.
    known = {
        key: name
        for key, name in names.items()
        if _NAME.fullmatch(name) and (_parent(key) not in folders or _parent(key) in names)
    }
    psys = tuple(domain for name in known.values() if (domain := _top(name)).startswith("psys:"))
    return [_zone(key, names, folders[key], psys) for key in known]


def closed_zones(root: Path) -> list[Missing]:
    """The zones that cannot be identified because their name is unreadable.

    Args:
        root: as for `find_zones`.
    """
    closed = _closed_folders(root)
    if not closed and _may(root, os.F_OK) and not _may(root, os.R_OK):
        closed = [root]
    if closed:
        remedy = _chmod("a+rx", closed)
        reason = f"no permission to list {_listed(closed)}"
        return [Missing("cpu", reason, f"{remedy} ({FOR_GOOD})")]
    # A top-level zone is a processor or the platform; a part of one is unknown.
    return [
        Missing("cpu" if key.count(":") == 1 else key, *no_permission(folder))
        for key, folder in _folders(root).items()
        if _read_name(folder) is None and any(_closed(folder))
    ]


def no_permission(folder: Path) -> tuple[str, str]:
    """The unreadable files of a zone, in words, and the command that opens them.

    Args:
        folder: of the zone.
    """
    on_the_way, files = _closed(folder)
    if not on_the_way and not files:
        return (
            f"{folder} cannot be read, whatever the modes of its files",
            "a container or a security module denies access: mount the folder read-only and set "
            f"its path in {POWERCAP_VARIABLE}",
        )
    # The content of a closed folder is invisible: name everything in it.
    reason = (
        f"no permission to enter {_listed(on_the_way)}"
        if on_the_way
        else f"no permission to read {_listed(files)}"
    )
    commands = [_chmod(mode, paths) for mode, paths in (("a+x", on_the_way), ("a+r", files))]
    return reason, f"{' && '.join(filter(None, commands))} ({FOR_GOOD})"


def absent(root: Path) -> Missing:
    """Why there are no zones, as far as visible from here.

    Args:
        root: the powercap folder.
    """
    if platform.system() != "Linux":
        return Missing("cpu", f"RAPL can be read on Linux only, this is {platform.system()}")
    if Processor.here().virtual:
        return Missing(
            "cpu",
            f"no RAPL in {root}: a virtual machine does not see its host's counters",
            "measure on the host, or with a plug (shelly:ADDRESS among the meters)",
        )
    return Missing(
        "cpu",
        f"no RAPL in {root}",
        "sudo modprobe intel_rapl_msr (AMD too); in a container mount the folder read-only and set "
        f"its path in {POWERCAP_VARIABLE}",
    )


def _folders(root: Path) -> dict[str, Path]:
    """The folders of the zones, by key, in the order of their numbers."""
    folders: dict[str, Path] = {}
    for folder in (*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")):
        if _ZONE.fullmatch(folder.name):
            folders.setdefault(folder.name, folder)
    keys = sorted(folders, key=lambda key: [int(number) for number in key.split(":")[1:]])
    return {key: folders[key] for key in keys}


def _zone(key: str, names: Mapping[str, str], folder: Path, psys: tuple[str, ...]) -> Zone:
    name = names[key]
    domain = _top(name)
    parent = names.get(_parent(key), "")
    if key.count(":") > 1 and _NAME.fullmatch(parent):
        # A subzone is called core or dram on every socket; the package gives the number.
        domain = f"{name}:{_top(parent).partition(':')[2]}"
    family, _, number = domain.partition(":")
    package = (f"cpu:{number}",) if family in ("core", "uncore") else ()
    return Zone(folder, name, domain, _containers(family, package, psys))


def _parent(key: str) -> str:
    """The top-level zone of a zone."""
    return ":".join(key.split(":")[:2])


def _containers(family: str, package: tuple[str, ...], psys: tuple[str, ...]) -> tuple[str, ...]:
    return ("wall",) if family == "psys" else (*package, *psys, "wall")


def _top(name: str) -> str:
    """The domain of a zone by its kernel name: package-1 is cpu:1, psys is psys:0."""
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    return f"{_FAMILIES.get(match[1], match[1])}:{match[2] or 0}"


def _read_name(folder: Path) -> str | None:
    try:
        return (folder / NAME).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None  # a zone that is closed, or that vanished while the tree was listed


def _number(path: Path) -> int | None:
    """The integer in a file; ``None`` if there is none."""
    with suppress(OSError, ValueError):
        return int(path.read_text("ascii"))
    return None


def _closed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The parent folders of a zone that this user cannot enter, and its unreadable files."""
    on_the_way = _closed_folders(folder)
    files = [path for name in (NAME, ENERGY, RANGE) if not _may(path := folder / name, os.R_OK)]
    # A missing file is not a permission problem if its folder can be listed.
    return on_the_way, [path for path in files if on_the_way or _may(path, os.F_OK)]


def _closed_folders(folder: Path) -> list[Path]:
    real = Path(os.path.realpath(folder))
    way = (*reversed(real.parents), real)
    return [path for path in way if _may(path, os.F_OK) and not _may(path)]


def _may(path: Path, mode: int = os.X_OK) -> bool:
    """Unlike access to the file this never raises; files in a closed folder count as missing."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _chmod(mode: str, paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    return " ".join(["sudo chmod", mode, *(shlex.quote(str(path)) for path in paths)])


def _listed(paths: Iterable[Path]) -> str:
    return " and ".join(str(path) for path in paths)
