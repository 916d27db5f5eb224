"""The powercap tree of Linux: which RAPL zones there are, and which of their files are closed.

::

    /sys/class/powercap/
      intel-rapl:0      name package-0          cpu:0    within psys:*, wall
      intel-rapl:0:0    name core               core:0   within cpu:0, psys:*, wall
      intel-rapl:0:1    name uncore             uncore:0 within cpu:0, psys:*, wall
      intel-rapl:0:2    name dram               dram:0   within psys:*, wall
      intel-rapl:1      name psys               psys:0   within wall
      intel-rapl-mmio:0 the same package by a second way, left out

AMD has the same tree, driver name included, with packages and cores only.

A zone is read by three files: ``name``, ``energy_uj`` and ``max_energy_range_uj``. Linux gives
``energy_uj`` to root alone; some distributions and administrators close another one, or a folder on
the way. What the user may not read is named file by file, and so is the command that opens it.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joulelab.energy.counter import highest_possible_w
from joulelab.energy.meter import Missing
from joulelab.energy.meters.processor import Processor

POWERCAP = Path("/sys/class/powercap")
POWERCAP_VARIABLE = "JOULELAB_POWERCAP"
NAME, ENERGY, RANGE = "name", "energy_uj", "max_energy_range_uj"
FOR_GOOD = (
    "until the machine starts anew; for good by a udev rule or a line in /etc/sysfs.d, see "
    "docs/energy.md"
)

_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?")
_NAME = re.compile(r"(package|psys|core|uncore|dram)(?:-(.+))?")
_FAMILIES = {"package": "cpu"}
_LIMITS = ("constraint_*_power_limit_uw", "constraint_*_max_power_uw")


@dataclass(frozen=True)
class Zone:
    """One powercap zone: its folder, and the domain that it is here.

    Attributes:
        folder: of its files.
        name: its own, as ``package-0``.
        domain: what it is called here.
        within: the domains that contain it.
    """

    folder: Path
    name: str
    domain: str
    within: tuple[str, ...]

    @property
    def limit_w(self) -> float | None:
        """The highest power that it can draw in watts, that of its constraints in force.

        ``None`` where it has none, or where its firmware says without limit by some thousand watts.
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
    """All RAPL zones by their place in the tree, without those of the duplicate mmio tree.

    Args:
        root: the powercap folder. Subzones lie beside their zone, as in ``/sys/class/powercap``,
            or within it, as in ``/sys/devices/virtual/powercap/intel-rapl``.
    """
    folders = _folders(root)
    names = {key: name for key, path in folders.items() if (name := _read_name(path)) is not None}
    # A part of a zone without a name is a part of nobody knows which processor.
    known = {
        key: name
        for key, name in names.items()
        if _NAME.fullmatch(name) and (_parent(key) not in folders or _parent(key) in names)
    }
    psys = tuple(domain for name in known.values() if (domain := _top(name)).startswith("psys:"))
    return [_zone(key, names, folders[key], psys) for key in known]


def closed_zones(root: Path) -> list[Missing]:
    """The zones of which nobody can tell what they are, because not even their name can be read.

    Args:
        root: as for `find_zones`.
    """
    closed = _closed_folders(root)
    if not closed and _may(root, os.F_OK) and not _may(root, os.R_OK):
        closed = [root]
    if closed:
        remedy = _chmod("a+rx", closed)
        reason = f"no permission to look into {_listed(closed)}"
        return [Missing("cpu", reason, f"{remedy} ({FOR_GOOD})")]
    # A zone of its own is a processor, or the platform; what a part of one is nobody knows.
    return [
        Missing("cpu" if key.count(":") == 1 else key, *no_permission(folder))
        for key, folder in _folders(root).items()
        if _read_name(folder) is None and any(_closed(folder))
    ]


def no_permission(folder: Path) -> tuple[str, str]:
    """Which files of a zone this user may not read, in words, and the command that opens them.

    Args:
        folder: of the zone.
    """
    on_the_way, files = _closed(folder)
    if not on_the_way and not files:
        return (
            f"{folder} may not be read, whatever the modes of its files say",
            f"a container or a security module forbids it: mount the folder read-only and name it "
            f"in {POWERCAP_VARIABLE}",
        )
    # What lies behind a closed folder cannot be seen: all of it is named.
    reason = (
        f"no permission to enter {_listed(on_the_way)}"
        if on_the_way
        else f"no permission to read {_listed(files)}"
    )
    commands = [_chmod(mode, paths) for mode, paths in (("a+x", on_the_way), ("a+r", files))]
    return reason, f"{' && '.join(filter(None, commands))} ({FOR_GOOD})"


def absent(root: Path) -> Missing:
    """Why there are no zones, as far as can be told from here.

    Args:
        root: the powercap folder.
    """
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
        # A subzone is called core or dram on every socket; its package tells them apart.
        domain = f"{name}:{_top(parent).partition(':')[2]}"
    family, _, number = domain.partition(":")
    package = (f"cpu:{number}",) if family in ("core", "uncore") else ()
    return Zone(folder, name, domain, _containers(family, package, psys))


def _parent(key: str) -> str:
    """The zone that a part belongs to; of a zone of its own that zone."""
    return ":".join(key.split(":")[:2])


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
        return (folder / NAME).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None  # a zone that is closed, or that vanished while the tree was listed


def _number(path: Path) -> int | None:
    """A whole number in a file; ``None`` where there is none, or the kernel knows none."""
    with suppress(OSError, ValueError):
        return int(path.read_text("ascii"))
    return None


def _closed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders on the way to a zone that this user may not enter, and its files not readable."""
    on_the_way = _closed_folders(folder)
    files = [path for name in (NAME, ENERGY, RANGE) if not _may(path := folder / name, os.R_OK)]
    # A file that is not there is no matter of permission, where its folder can be looked into.
    return on_the_way, [path for path in files if on_the_way or _may(path, os.F_OK)]


def _closed_folders(folder: Path) -> list[Path]:
    real = Path(os.path.realpath(folder))
    way = (*reversed(real.parents), real)
    return [path for path in way if _may(path, os.F_OK) and not _may(path)]


def _may(path: Path, mode: int = os.X_OK) -> bool:
    """Unlike a look at the file itself this never raises; what lies in a closed folder is not."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _chmod(mode: str, paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    return " ".join(["sudo chmod", mode, *(shlex.quote(str(path)) for path in paths)])


def _listed(paths: Iterable[Path]) -> str:
    return " and ".join(str(path) for path in paths)
