"""The processor of this machine: its design power and its load, and memory in use."""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from joulelab.energy.rank_notes import other_processes
from joulelab.energy.ranks import here

DEFAULT_W_PER_PROCESSOR = 4.0
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_NOISE = re.compile(
    r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$|\b\d+th gen\b|\b\w+-core\b|\bwith radeon.*$", re.I
)
LOOKING_SHARE, EDGE_SHARE = 0.0005, 0.02
"""Share of processor time for finding descendants, usually and at edges."""
_PROC = Path("/proc")


class Processor:
    """The processor of this machine, as seen by software.

    Args:
        model: its name.
        sockets: number of sockets.
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
        """Watts of one busy logical processor, and the origin of the number.

        Args:
            tdp_w: of one socket, if the user knows it.
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
    """Number of logical processors available to this process; may be fractional in a container.

    Args:
        cpu_max: Linux's file with a container's share: processor time and the period in which it
            may be used, both in microseconds, or ``max`` for all.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        quota_us, period_us = map(float, cpu_max.read_text("ascii").split())
        if quota_us > 0 and period_us > 0:
            allowed = min(allowed, quota_us / period_us)
    return allowed


@cache
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


class ProcessTree:
    """Processor time and memory of this process and its descendants, and of the other ranks here.

    A parent that waits for an ended child takes over its time, so the sum over living processes,
    each with its ended children, only grows. It falls for one sample if a descendant ends between
    reading its parent and itself, and permanently if an orphan ends; so the first fall is ignored
    and the second accepted. Finding descendants takes time that grows with threads and processes:
    the longer it takes, the less often it is done. A descendant found late adds all of its time at
    once, so at the edges of windows the search is more frequent.
    """

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._children: list[psutil.Process] = []
        self._looked_at_s, self._cost_s = -math.inf, 0.0
        self._share = LOOKING_SHARE
        self._sum_s = 0.0
        self._total_s = 0.0
        self._fell = False

    def usage(self) -> tuple[float, int]:
        """Processor time in seconds, which never falls, and resident memory in bytes."""
        now_s = time.monotonic()
        if now_s >= self._looked_at_s + self._cost_s / self._share:
            self._children = descendants(self._own)
            for rank in other_processes(here()):
                self._children += [rank, *descendants(rank)]
            self._looked_at_s, self._cost_s = now_s, time.monotonic() - now_s
        self._share = LOOKING_SHARE
        seconds = own_processor_time_s()
        resident = self._own.memory_info().rss
        for times, memory in self._living():
            seconds += times
            resident += memory
        if seconds < self._sum_s and not self._fell:
            self._fell = True
        else:
            self._fell = False
            self._total_s += max(0.0, seconds - self._sum_s)
            self._sum_s = seconds
        return self._total_s, resident

    def look_soon(self) -> None:
        """Make the next `usage` look for descendants, unless that was just done."""
        self._share = EDGE_SHARE

    def _living(self) -> Iterator[tuple[float, int]]:
        for child in self._children:
            try:
                times, memory = child.cpu_times(), child.memory_info().rss
            except psutil.Error:
                continue  # it has ended since the last search
            yield sum(times[:4]), memory


class Machine:
    """Processor time and memory of everything that runs here."""

    def __init__(self) -> None:
        self._total_s = 0.0

    def look_soon(self) -> None:
        """Nothing to do: everything is visible."""

    def usage(self) -> tuple[float, int]:
        """Processor time in seconds, which never falls, and memory in use in bytes."""
        times = psutil.cpu_times()
        # The time of guests is already part of user and nice.
        parts = ("user", "nice", "system", "irq", "softirq")
        busy_s = sum(getattr(times, part, 0.0) for part in parts)
        self._total_s = max(self._total_s, busy_s)
        memory = psutil.virtual_memory()
        return self._total_s, memory.total - memory.available


def own_processor_time_s() -> float:
    """Processor time of this process and its ended children; reads no file."""
    ended = os.times()
    # process_time has a resolution of nanoseconds where the process table has 10 ms.
    return time.process_time() + ended.children_user + ended.children_system


class Load:
    """The share of some processors that was busy since the last call.

    ::

        u_i = min(1, (T_i - T_{i-1}) / (n (t_i - t_{i-1})))

    T is processor time in seconds, t the monotonic clock, n the number of processors. At most 1: a
    descendant's time comes in steps of 10 ms, and in one piece where it was found late.

    >>> load = Load(processors=4)
    >>> load.since_last(10.0, now_s=0.0) is None
    True
    >>> load.since_last(11.0, now_s=0.5)
    0.5

    Args:
        processors: n.
    """

    def __init__(self, processors: float) -> None:
        self._processors = processors
        self._last: tuple[float, float] | None = None

    def since_last(self, busy_s: float, now_s: float) -> float | None:
        """The share, 0 to 1; ``None`` at the first call, and if no time has passed.

        Args:
            busy_s: processor time until now, which never falls.
            now_s: on the monotonic clock.
        """
        last, self._last = self._last, (busy_s, now_s)
        if last is None or now_s <= last[1]:
            return None
        return min(1.0, (busy_s - last[0]) / (self._processors * (now_s - last[1])))


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """All living descendants of a process.

    Linux lists the children of each thread, at about 20 microseconds per thread; elsewhere the
    table of all processes is read, which takes milliseconds.
    """
    if not _lists_children(process.pid):
        return process.children(recursive=True)
    found: list[psutil.Process] = []
    parents = [process.pid]
    while parents:
        for pid in _children(parents.pop()):
            with suppress(psutil.Error):
                found.append(psutil.Process(pid))
                parents.append(pid)
    return found


def _lists_children(pid: int) -> bool:
    """Whether this kernel lists children (CONFIG_PROC_CHILDREN)."""
    return (_PROC / str(pid) / "task" / str(pid) / "children").exists()


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(_PROC / str(pid) / "task"):  # noqa: PTH208 - names, not paths
            with suppress(OSError):
                listed = (_PROC / str(pid) / "task" / thread / "children").read_text("ascii")
                children += [int(word) for word in listed.split()]
    return children
