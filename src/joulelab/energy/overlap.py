"""Measurements that overlap on a device: within this process, and with other processes.

Within one process each window learns of the others::

    outer   [------------------------------]     contains the others: fine, but it learns that
    a          [-----------]                     two within it overlap
    b                 [-----------]              overlaps a: the joules of that time are in both

A window is inside another one if it was opened in the other's block, or in a task started there,
and closed before it. All other windows open at the same time share joules, so the sum of their
energies counts these twice. Threads start without an enclosing block: their windows overlap, also
with the one of the thread that started them.

Between processes, each process has a small file that the others read::

    A   [------------------------]          shares the device; learns of B when it closes, although
    B          [--------]                   B came later and has gone before

Only one process holds a device's lock. Processes that share the device, and child processes of the
holder, do not hold it. So each process has its own file next to the locks: its pid and those of its
ancestors, its devices, and its start and end on the machine-wide monotonic clock. Only that process
writes the file; others read it. A process that ends while another one measures leaves its file for
the other to read; the next process of the same user removes it. A process and its ancestors may
measure at the same time: the one is inside the other.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, count
from pathlib import Path
from typing import Any

import psutil

from joulelab.energy.lock import shared_folder
from joulelab.energy.measurement import Measurement

NAMED = 3
"""Number of windows named in a remark; the rest is counted."""
# Weak references: a block that can no longer be left, for instance of a generator that refused to
# close, does not stay open.
_OPEN: list[weakref.ref[Span]] = []
_GUARD = threading.Lock()
_INNERMOST: ContextVar[weakref.ref[Span] | None] = ContextVar("innermost window", default=None)
PREFIX, SUFFIX = "joulelab-window-", ".json"
LONGEST = 4096
LONGEST_LABEL = 80
SETTLED_NS = 100_000_000
"""Longer than the time resolution of folder changes on a file system."""
_NUMBERS = count()


class Span:
    """An open window of this process.

    Args:
        label: of the window.
        devices: on which it measures.
        outer: the window within which it was opened, if that is still open.
    """

    def __init__(self, label: str, devices: frozenset[str], outer: Span | None) -> None:
        self.label = label
        self.devices = devices
        self.outer = outer
        self.closed = False
        self._beside: dict[Span, None] = {}
        self._within: dict[Span, None] = {}

    @property
    def around(self) -> Iterator[Span]:
        """The enclosing windows, innermost first."""
        span = self.outer
        while span is not None:
            yield span
            span = span.outer

    def overlaps(self, other: Span) -> None:
        """Register the overlap of two windows, also with the windows around both."""
        self._beside[other] = other._beside[self] = None
        both = set(self.around) & set(other.around)
        for outer in both:
            outer._within[self] = outer._within[other] = None

    @property
    def flags(self) -> list[str]:
        """Remarks so far."""
        flags = []
        if self._beside:
            on = sorted(set().union(*(self.devices & other.devices for other in self._beside)))
            flags.append(
                f"overlaps {_named(list(self._beside))} on {', '.join(on)}: the energy of that "
                "time is in each of them: do not add them up"
            )
        if self._within:
            flags.append(
                f"{_named(list(self._within))} within it overlap: do not add up their energies"
            )
        return flags


def begin(label: str, devices: frozenset[str]) -> Span:
    """A window opens.

    Args:
        label: of the window.
        devices: on which it measures.
    """
    outer = _innermost()
    while outer is not None and outer.closed:
        outer = outer.outer
    span = Span(label, devices, outer)
    with _GUARD:
        around = set(span.around)
        for other in _open():
            if other not in around and other.devices & devices:
                span.overlaps(other)
        _OPEN.append(weakref.ref(span))
    _INNERMOST.set(weakref.ref(span))
    return span


def end(span: Span) -> None:
    """A window closes; a second call has no effect.

    Args:
        span: the result of `begin`.
    """
    with _GUARD:
        if span.closed:
            return
        span.closed = True
        for other in _open():
            # It was opened inside this one and is still open.
            if span in other.around and other.devices & span.devices:
                span.overlaps(other)
    if _innermost() is span:
        _INNERMOST.set(weakref.ref(span.outer) if span.outer is not None else None)


def _open() -> list[Span]:
    """The open windows; call with the lock held."""
    _OPEN[:] = [one for one in _OPEN if (span := one()) is not None and not span.closed]
    return [span for one in _OPEN if (span := one()) is not None]


def _innermost() -> Span | None:
    found = _INNERMOST.get()
    return None if found is None else found()


def _named(spans: list[Span]) -> str:
    labels = list(dict.fromkeys(span.label for span in spans))
    shown = ", ".join(repr(label) if label else "a window" for label in labels[:NAMED])
    rest = len(spans) - len(labels[:NAMED])
    return f"{shown} and {rest} more" if rest else shown


def _forget_after_fork() -> None:
    """Windows of the parent process do not belong to a forked process."""
    global _GUARD  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _GUARD = threading.Lock()
    _OPEN.clear()
    _INNERMOST.set(None)


@dataclass(frozen=True)
class Stay:
    """A process's record of its measurement.

    Attributes:
        pid: process id.
        started_by: pids of its ancestors.
        label: what it measures.
        devices: on which.
        began_s: on the monotonic clock.
        ended_s: the same; ``None`` while it runs.
    """

    pid: int
    started_by: tuple[int, ...]
    label: str
    devices: tuple[str, ...]
    began_s: float
    ended_s: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it still runs; false if its process died."""
        return self.ended_s is None and psutil.pid_exists(self.pid)

    def since(self, moment_s: float) -> bool:
        """Whether it ran at that time or later, as far as known."""
        return self.lasts or max(self.began_s, self.ended_s or 0.0) >= moment_s

    def meets(self, other: Stay) -> bool:
        """Whether two measurements on a device overlapped in time."""
        first, second = sorted((self, other), key=lambda stay: stay.began_s)
        return bool({*self.devices} & {*other.devices}) and first.since(second.began_s)


class Presence:
    """Record of this process while it measures on some devices; also a context manager.

    Args:
        devices: as `joulelab.energy.lock` names them.
        label: what it measures, for others.
    """

    def __init__(self, devices: Sequence[str], label: str = "") -> None:
        self.devices = tuple(devices)
        self.label = label
        self._path: Path | None = None
        self._stay: Stay | None = None
        self._empty_since_ns = 0

    def __enter__(self) -> Presence:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def enter(self) -> None:
        """Record the start; if no file can be written, others do not learn of it."""
        label = "".join(one for one in self.label if one.isprintable())[:LONGEST_LABEL]
        self._stay = Stay(
            os.getpid(), _started_by(os.getpid()), label, self.devices, time.monotonic()
        )
        folder = shared_folder()
        if folder is not None:
            name = f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}{SUFFIX}"
            self._path = folder / name
            with suppress(OSError):
                self._path.unlink()  # of a dead process with the same pid
            self._write(self._path, self._stay)

    def leave(self, ended_s: float | None = None) -> None:
        """Record the end.

        Args:
            ended_s: time of the end on the monotonic clock; default: now.
        """
        path, stay, self._path, self._stay = self._path, self._stay, None, None
        if path is None or stay is None or stay.pid != os.getpid():
            return
        others = [one for one in _stays(path.parent) if one[1].pid != os.getpid()]
        lasting = [one for _, one in others if one.lasts]
        ended = replace(stay, ended_s=time.monotonic() if ended_s is None else ended_s)
        with suppress(OSError):
            path.unlink()
        if lasting:
            self._write(path, ended)
        for other_path, other in others:
            if not other.lasts and not any(one.meets(other) for one in lasting):
                with suppress(OSError):
                    other_path.unlink()

    def flags(self, since_s: float) -> list[str]:
        """Other processes that measured on one of the devices.

        Args:
            since_s: since this time on the monotonic clock.
        """
        own = self._stay
        if own is None or self._path is None:
            return []
        started: list[Stay] = []
        flags = []
        for stay in self._others(self._path.parent):
            common = [device for device in self.devices if device in stay.devices]
            if not common or stay.pid in own.started_by or not stay.since(since_s):
                continue
            if own.pid in stay.started_by:
                started.append(stay)
                continue
            what = f" ({stay.label})" if stay.label else ""
            flags += [f"process {stay.pid}{what} is measuring on {one} as well" for one in common]
        if any(
            one.pid != other.pid and one.meets(other) for one, other in combinations(started, 2)
        ):
            numbers = ", ".join(str(pid) for pid in sorted({one.pid for one in started}))
            flags.append(
                f"processes {numbers} within it measured at the same time: do not add up their "
                "energies"
            )
        return flags

    def _others(self, folder: Path) -> list[Stay]:
        """Records of other processes; an empty folder is read again when it changes."""
        with suppress(OSError):
            changed_ns = folder.stat().st_mtime_ns
            if changed_ns == self._empty_since_ns:
                return []
            others = [stay for _, stay in _stays(folder) if stay.pid != os.getpid()]
            settled = time.time_ns() - changed_ns > SETTLED_NS
            self._empty_since_ns = changed_ns if settled and not others else 0
            return others
        return []

    def flagged(self, measurement: Measurement, since_s: float) -> Measurement:
        """A measurement with remarks on other processes.

        Args:
            measurement: of a window.
            since_s: its start on the monotonic clock.
        """
        flags = dict.fromkeys((*measurement.flags, *self.flags(since_s)))
        return replace(measurement, flags=tuple(flags))

    @staticmethod
    def _write(path: Path, stay: Stay) -> None:
        words = json.dumps({name: value for name, value in vars(stay).items() if value is not None})
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with suppress(OSError):
            file = os.open(path, flags, 0o644)
            try:
                os.write(file, words.encode())
            finally:
                os.close(file)


def _stays(folder: Path) -> Iterator[tuple[Path, Stay]]:
    """Records of processes; other files are skipped."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                stay = _read(entry.path)
                if stay is not None:
                    yield Path(entry.path), stay


def _read(path: str) -> Stay | None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.open(path, flags)
        try:
            said: Any = json.loads(os.read(file, LONGEST))
        finally:
            os.close(file)
        ended_s = said.get("ended_s")
        stay = Stay(
            int(said["pid"]),
            tuple(int(pid) for pid in said["started_by"]),
            "".join(one for one in str(said["label"]) if one.isprintable())[:LONGEST_LABEL],
            tuple(str(device) for device in said["devices"]),
            float(said["began_s"]),
            None if ended_s is None else float(ended_s),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    # The clock restarts with the machine: times in the future are from before.
    return stay if stay.began_s <= time.monotonic() and stay.pid > 0 else None


@cache
def _started_by(pid: int) -> tuple[int, ...]:
    with suppress(psutil.Error):
        return tuple(process.pid for process in psutil.Process(pid).parents())
    return ()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
