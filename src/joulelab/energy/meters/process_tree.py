"""Processor time and memory: of this process and its descendants, or of the whole machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

LOOKING_SHARE, EDGE_SHARE = 0.0005, 0.02
"""Of a processor's time, that may go into looking for descendants, usually and at edges."""
_PROC = Path("/proc")


class ProcessTree:
    """Processor time and memory of this process and its descendants.

    The time of a descendant that has ended lives on in the time of the parent that waited for it,
    so the sum over the living, each with its ended children, only grows. It falls for one sample
    where a descendant ends between the looks at its parent and at itself, and for good where an
    orphan ends: so the first fall is waited out, and the second believed. Looking for them
    costs time that grows with threads and processes, so the more it costs the rarer it is. One that
    is found late brings all of its time at once: at the edges of windows it is looked more often.
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
        """Let the next `usage` look for descendants, unless it has just been done."""
        self._share = EDGE_SHARE

    def _living(self) -> Iterator[tuple[float, int]]:
        for child in self._children:
            try:
                times, memory = child.cpu_times(), child.memory_info().rss
            except psutil.Error:
                continue  # it has ended since the last look
            yield sum(times[:4]), memory


class Machine:
    """Processor time and memory of everything that runs here."""

    def __init__(self) -> None:
        self._total_s = 0.0

    def look_soon(self) -> None:
        """Everything is in sight already."""

    def usage(self) -> tuple[float, int]:
        """Processor time in seconds, which never falls, and memory in use in bytes."""
        times = psutil.cpu_times()
        # What a guest of this machine uses is in user and nice already.
        parts = ("user", "nice", "system", "irq", "softirq")
        busy_s = sum(getattr(times, part, 0.0) for part in parts)
        self._total_s = max(self._total_s, busy_s)
        memory = psutil.virtual_memory()
        return self._total_s, memory.total - memory.available


def own_processor_time_s() -> float:
    """Processor time of this process and its children that have ended; reads no file."""
    ended = os.times()
    # process_time has a resolution of nanoseconds where the process table has 10 ms.
    return time.process_time() + ended.children_user + ended.children_system


class Load:
    """Which share of some processors was busy since it was last asked.

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
        """The share, 0 to 1; ``None`` the first time, and where no time has passed.

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

    Linux lists the children of each thread, which costs some 20 microseconds a thread; elsewhere
    the table of all processes is read, which costs milliseconds.
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
