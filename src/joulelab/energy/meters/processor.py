"""The processor of this machine, as far as software can tell, and its design power (TDP)."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
from contextlib import suppress
from pathlib import Path

DEFAULT_W_PER_PROCESSOR = 4.0
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_NOISE = re.compile(
    r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$|\b\d+th gen\b|\b\w+-core\b|\bwith radeon.*$", re.I
)


class Processor:
    """The processor of this machine, as far as software can tell.

    Args:
        model: its name.
        sockets: how many there are.
        logical: logical processors of the machine.
        virtual: whether this is a virtual machine.
    """

    def __init__(self, model: str, sockets: int, logical: int, *, virtual: bool) -> None:
        self.model = model
        self.sockets = sockets
        self.logical = logical
        self.virtual = virtual

    @classmethod
    def here(cls) -> Processor:
        """This machine's."""
        cpuinfo = Path("/proc/cpuinfo")
        text = cpuinfo.read_text("utf-8", errors="replace") if cpuinfo.is_file() else ""
        fields = re.findall(r"^(model name|physical id|flags)\s*:\s*(.*)$", text, re.M)
        models = [value for key, value in fields if key == "model name"]
        sockets = {value for key, value in fields if key == "physical id"}
        virtual = any("hypervisor" in value.split() for key, value in fields if key == "flags")
        model = models[0] if models else "unknown processor"
        return cls(model, max(1, len(sockets)), os.cpu_count() or 1, virtual=virtual)

    def power(self, tdp_w: float | None) -> tuple[float, str]:
        """Watts of one busy logical processor, and in words where that is from.

        Args:
            tdp_w: of one socket, where the user knows it.
        """
        source = "TDP given by the user"
        if tdp_w is None:
            tdp_w, source = table_tdp_w(self.model), "TDP from codecarbon's table"
        guest = "; a virtual machine, its share of the processor is unknown" if self.virtual else ""
        if tdp_w is None:
            known = f"codecarbon's default; its table has no {self.model}"
            return DEFAULT_W_PER_PROCESSOR, known + guest
        return tdp_w * self.sockets / self.logical, f"{tdp_w:g} W {source}, {self.model}{guest}"


def usable_processors(cpu_max: Path = CPU_MAX) -> float:
    """How many logical processors this process may keep busy; a container may allow a part of one.

    Args:
        cpu_max: the file in which Linux keeps a container's share: processor time and the period
            in which it may be used, both in microseconds, or ``max`` for all.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        quota_us, period_us = map(float, cpu_max.read_text("ascii").split())
        if quota_us > 0 and period_us > 0:
            allowed = min(allowed, quota_us / period_us)
    return allowed


def table_tdp_w(model: str) -> float | None:
    """Thermal design power in watts from codecarbon's table, for exactly this model.

    Args:
        model: as the system writes it: ``Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz``.
    """
    package = importlib.util.find_spec("codecarbon")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "data" / "hardware" / "cpu_power.csv"
    wanted = _plain(model)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if _plain(row["Name"]) == wanted:
                return float(row["TDP"])
    return None


def _plain(model: str) -> str:
    return " ".join(_NOISE.sub(" ", model).casefold().split())
