"""A thread that samples the stacks of all other threads, and how long each of them ran.

::

    deadlines   |    |    |    |    |    |    |         one in each period, at a random time in it
    samples     .    . .    .  .        .     .         as soon as Python lets the thread in
                a    a b    b  b ...... b     c
                     |-|
                     half of it a's, half of it b's

The time between two samples belongs by halves to the stacks seen at both its ends. If a sample is
late, because code held the interpreter's lock, all the additional time belongs to the later one: the
code that held it. Python lets the sampler in after `SWITCH_S` instead of its usual 5 ms; otherwise
it would see only places where the program gives up the lock by itself.

Within this time, threads share by the processor time that they used:

- Threads without a Python stack (of BLAS, of autograd) count for those that ran most of the time, or
  else for the thread that waits for them.
- Time in which none ran, and work of child processes, count for the thread that has begun the
  profile, which waits.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from joulelab.kinds.program.events import Marks, marked_phases, open_phases
from joulelab.profiling.clocks import OWN, ThreadClocks
from joulelab.profiling.stacks import CallTree, Node

SWITCH_S = 0.0005
RUNNING = 0.5
"""A thread that ran for this share of the time is the one that drives threads without a stack."""
_STOP_S = 5.0
Part = tuple[Node, float]


@dataclass
class Interval:
    """What happened between two samples.

    Attributes:
        begin_s: on the monotonic clock.
        end_s: likewise.
        ran: stacks, and the seconds of processor time used in each.
        waited: stacks of the thread that waits, and the seconds in which no thread ran.
        driving: stacks that the devices worked for, and the share of each in the time.
        phases: marked phases, and the share of the time that was in each.
    """

    begin_s: float
    end_s: float
    ran: list[Part] = field(default_factory=list)
    waited: list[Part] = field(default_factory=list)
    driving: list[Part] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return self.end_s - self.begin_s


class Switching:
    """Makes the interpreter let other threads in sooner while any sampler runs."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users = 0
        self._usual_s = sys.getswitchinterval()

    def begin(self) -> None:
        """A sampler starts."""
        with self._guard:
            if not self._users:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual_s, SWITCH_S))
            self._users += 1

    def end(self) -> None:
        """A sampler stops; as before with the last one."""
        with self._guard:
            self._users -= 1
            if not self._users:
                sys.setswitchinterval(self._usual_s)

    def forget(self) -> None:
        """In a forked process no sampler runs."""
        self._guard = threading.Lock()
        if self._users:
            self._users = 0
            sys.setswitchinterval(self._usual_s)


_switching = Switching()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_switching.forget)


@dataclass
class PhaseTime:
    """How often a phase occurred, and how long."""

    times: int = 0
    duration_s: float = 0.0


class Sampler:
    """Samples stacks until it is stopped.

    Args:
        tree: to which the stacks are added.
        rate_hz: samples in a second.
        take: called with each interval, in the sampler's thread, and in the end in another.

    Attributes:
        samples: number of samples of the thread that has begun the profile, with a stack.
        phases: what the marked phases took.
    """

    def __init__(self, tree: CallTree, rate_hz: float, take: Callable[[Interval], None]) -> None:
        self.samples = 0
        self.phases: dict[str, PhaseTime] = {}
        self._tree = tree
        self._period_s = 1.0 / rate_hz
        self._take = take
        self._random = random.Random(0)
        self._waiting = threading.get_ident()
        self._clocks = ThreadClocks()
        self._marking = marked_phases()
        self._marks: Marks = []
        self._nodes: dict[int, Node] = {}
        self._began_s = self._last_s = 0.0
        self._stop = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"{OWN}profile", daemon=True)

    def start(self) -> None:
        """Begin: the time from now on counts."""
        self._marks = self._marking.__enter__()
        self._began_s = self._last_s = time.monotonic()
        self._look(first=True)
        self._stop.acquire()
        _switching.begin()
        self._thread.start()

    def stop(self) -> None:
        """End: the time until now counts."""
        if not self._stop.locked():
            return
        self._stop.release()
        # Not for ever: a signal may have interrupted whoever holds what the thread waits for.
        self._thread.join(_STOP_S)
        _switching.end()
        self._look()
        self._count([(name, begin_s, self._last_s) for name, begin_s in list(open_phases)])
        self._marking.__exit__(None, None, None)

    def _run(self) -> None:
        start_s, period = time.monotonic(), 0
        while True:
            due_s = start_s + (period + self._random.random()) * self._period_s
            # -1 would wait for ever.
            if self._stop.acquire(timeout=max(0.0, due_s - time.monotonic())):
                self._stop.release()
                return
            self._look()
            period = max(period + 1, int((time.monotonic() - start_s) / self._period_s))

    def _look(self, *, first: bool = False) -> None:
        frames = sys._current_frames()
        now_s = time.monotonic()
        interval = Interval(self._last_s, now_s)
        ran, rest_s = self._clocks.since_last(frames, interval.duration_s)
        before, self._nodes = self._nodes, self._seen(frames, ran)
        self._last_s = now_s
        if not first:
            self._share(interval, before, ran, rest_s)
            interval.phases = self._phases(interval)
            self._take(interval)

    def _seen(self, frames: dict[int, FrameType], ran: dict[int, float]) -> dict[int, Node]:
        """The nodes of the threads that ran, and of the one that waits."""
        found = {}
        for ident in {self._waiting, *ran}:
            node = self._tree.at(frames.get(ident), of_main=ident == self._waiting)
            if node is not self._tree.root:
                found[ident] = node
        self.samples += self._waiting in found
        return found

    def _share(
        self, interval: Interval, before: dict[int, Node], ran: dict[int, float], rest_s: float
    ) -> None:
        duration_s = interval.duration_s
        early = 0.5 * min(1.0, self._period_s / duration_s) if duration_s > 0 else 0.0

        def parts(ident: int, seconds: float) -> list[Part]:
            old, new = before.get(ident), self._nodes.get(ident)
            if old is None or new is None or old is new:
                return [(new or old or self._tree.root, seconds)]
            return [(old, early * seconds), (new, (1.0 - early) * seconds)]

        if rest_s > 0:
            ran = dict(ran)
            all_s = sum(ran.values())
            if max(ran.values(), default=0.0) >= RUNNING * duration_s:
                ran = {ident: s * (all_s + rest_s) / all_s for ident, s in ran.items()}
            else:
                ran[self._waiting] = ran.get(self._waiting, 0.0) + rest_s
        for ident, seconds in ran.items():
            interval.ran += parts(ident, seconds)
        idle_s = duration_s - sum(ran.values())
        if idle_s > 0:
            interval.waited = parts(self._waiting, idle_s)
        interval.driving = self._driving(interval, parts, ran)

    def _driving(
        self,
        interval: Interval,
        parts: Callable[[int, float], list[Part]],
        ran: dict[int, float],
    ) -> list[Part]:
        """A device works for the thread that waits, unless that waits for another thread."""
        others_s = sum(s for ident, s in ran.items() if ident != self._waiting)
        node = self._nodes.get(self._waiting)
        code = node.code if node is not None else None
        for_threads = code is not None and code.co_filename == threading.__file__
        if for_threads and others_s >= RUNNING * interval.duration_s:
            return [
                part
                for ident, s in ran.items()
                if ident != self._waiting
                for part in parts(ident, s / others_s)
            ]
        return parts(self._waiting, 1.0)

    def _phases(self, interval: Interval) -> list[tuple[str, float]]:
        """Shares of the interval in each phase; counts those that have ended."""
        ended = self._marks[:]
        del self._marks[: len(ended)]
        self._count(ended)
        if interval.duration_s <= 0:
            return []
        # A phase may just be between being marked and not being open any more.
        marked = {mark[:2] for mark in ended}
        now_open = [(*one, interval.end_s) for one in list(open_phases) if one not in marked]
        return [
            (name, overlap_s / interval.duration_s)
            for name, begin_s, end_s in (*ended, *now_open)
            if (overlap_s := min(end_s, interval.end_s) - max(begin_s, interval.begin_s)) > 0
        ]

    def _count(self, ended: Marks) -> None:
        for name, begin_s, end_s in ended:
            phase = self.phases.setdefault(name, PhaseTime())
            phase.times += 1
            phase.duration_s += max(0.0, end_s - max(begin_s, self._began_s))
