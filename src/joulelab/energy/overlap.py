"""Measurements that overlap on a device: within this process, and with other processes.

Within one process each window is told of the others::

    outer   [------------------------------]     contains the others: no fault, and it is told that
    a          [-----------]                     two within it overlap
    b                 [-----------]              overlaps a: the joules of that time are in both

A window within another one is its part: one that was opened inside the block of the other, or in a
task that was started there, and closed before it. All others that are open at the same time hold
the same joules twice, and so does the sum of their energies. Threads begin with no block around
them: windows of several threads overlap, that of the thread which has started them among them.

Between processes a small file of each process tells the others::

    A   [------------------------]          shares the device; learns of B when it closes, although
    B          [--------]                   B came later and has gone before

A device's lock is held by one process. Those that share it with the holder, and those that the
holder has started, do not hold it, so each process has a file of its own beside the locks: its
number and those it was started from, its devices, when it began and when it ended, on the monotonic
clock, which is one for the whole machine. Others read it, and nobody writes it but its process. A
process that ends while another one measures leaves the file, to be read at the end of that; the
next one of the same user clears it away. A process and those it was started from measure one within
the other, which is not a fault.
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
"""So many windows are named in a remark, the rest is counted."""
# Weak, so that a block which nobody can leave any more, of a generator that refused to be closed,
# is open no longer.
_OPEN: list[weakref.ref[Span]] = []
_GUARD = threading.Lock()
_INNERMOST: ContextVar[weakref.ref[Span] | None] = ContextVar("innermost window", default=None)
PREFIX, SUFFIX = "joulelab-window-", ".json"
LONGEST = 4096
LONGEST_LABEL = 80
SETTLED_NS = 100_000_000
"""Longer than a file system takes to give a folder a new time of change."""
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
        """The windows that contain this one, the next one first."""
        span = self.outer
        while span is not None:
            yield span
            span = span.outer

    def overlaps(self, other: Span) -> None:
        """Two windows have found each other; those around both are told."""
        self._beside[other] = other._beside[self] = None
        both = set(self.around) & set(other.around)
        for outer in both:
            outer._within[self] = outer._within[other] = None

    @property
    def flags(self) -> list[str]:
        """What is to be said of it until now."""
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
    """A window closes; a second call does nothing.

    Args:
        span: as `begin` gave it.
    """
    with _GUARD:
        if span.closed:
            return
        span.closed = True
        for other in _open():
            # It was opened within this one, and goes on after it.
            if span in other.around and other.devices & span.devices:
                span.overlaps(other)
    if _innermost() is span:
        _INNERMOST.set(weakref.ref(span.outer) if span.outer is not None else None)


def _open() -> list[Span]:
    """The windows that are open now; called under the guard."""
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
    """The windows of the process that this one was forked from are not its own."""
    global _GUARD  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _GUARD = threading.Lock()
    _OPEN.clear()
    _INNERMOST.set(None)


@dataclass(frozen=True)
class Stay:
    """What a process says of its measuring.

    Attributes:
        pid: its number.
        started_by: numbers of the processes that it was started from.
        label: what it measures.
        devices: on which.
        began_s: on the monotonic clock.
        ended_s: the same; ``None`` while it goes on.
    """

    pid: int
    started_by: tuple[int, ...]
    label: str
    devices: tuple[str, ...]
    began_s: float
    ended_s: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it goes on; one whose process has died does not."""
        return self.ended_s is None and psutil.pid_exists(self.pid)

    def since(self, moment_s: float) -> bool:
        """Whether it went on at that moment or after it, as far as that is known."""
        return self.lasts or max(self.began_s, self.ended_s or 0.0) >= moment_s

    def meets(self, other: Stay) -> bool:
        """Whether two stays on one device had a moment in common."""
        first, second = sorted((self, other), key=lambda stay: stay.began_s)
        return bool({*self.devices} & {*other.devices}) and first.since(second.began_s)


class Presence:
    """This process, for as long as it measures on some devices; also a context manager.

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
        """Say that it begins; where no file can be had others do not learn of it."""
        label = "".join(one for one in self.label if one.isprintable())[:LONGEST_LABEL]
        self._stay = Stay(
            os.getpid(), _started_by(os.getpid()), label, self.devices, time.monotonic()
        )
        folder = shared_folder()
        if folder is not None:
            name = f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}{SUFFIX}"
            self._path = folder / name
            with suppress(OSError):
                self._path.unlink()  # of a process of this number that died long ago
            self._write(self._path, self._stay)

    def leave(self, ended_s: float | None = None) -> None:
        """Say that it has ended.

        Args:
            ended_s: when that was, on the monotonic clock; just now where not given.
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
        """Who else has measured on one of the devices.

        Args:
            since_s: from this moment on, on the monotonic clock.
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
        """What other processes say; a folder in which nobody was is looked into when it changes."""
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
        """A measurement with what is to be said of others.

        Args:
            measurement: of a window.
            since_s: its opening on the monotonic clock.
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
    """What processes say of themselves; what is not such a file is passed over."""
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
    # A clock that begins anew with the machine: what lies ahead is from before.
    return stay if stay.began_s <= time.monotonic() and stay.pid > 0 else None


@cache
def _started_by(pid: int) -> tuple[int, ...]:
    with suppress(psutil.Error):
        return tuple(process.pid for process in psutil.Process(pid).parents())
    return ()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
