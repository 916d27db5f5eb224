"""A thread that samples the stacks of all other threads, and how long each of them ran.

::

    deadlines   |    |    |    |    |    |    |         one in each period, at a random time in it
    samples     .    . .    .  .        .     .         as soon as Python lets the thread in
                a    a b    b  b ...... b     c
                     |-|
                     half of it a's, half of it b's

The time between two samples belongs by halves to the stacks seen at both its ends. If a sample is
late, because code held the interpreter's lock, all the additional time belongs to the later one:
the code that held it. Python lets the sampler in after `SWITCH_S` instead of its usual 5 ms, unless
several threads take turns; otherwise it would see only places where the program gives up the lock
by itself.

A look at the stacks is short, for the program waits meanwhile; what it means is worked out once a
second for all looks since the last time.

Within this time, threads share by the processor time that they used:

- Threads without a Python stack (of BLAS, of autograd) count for those that ran most of the time,
  or else for the thread that waits for them.
- Time in which none ran, and work of child processes, count for the thread that has begun the
  profile, which waits.
"""

from __future__ import annotations

import bisect
import gc
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from types import FrameType
from typing import NamedTuple

from joulelab.kinds.program.events import Marks, marked_phases, open_phases
from joulelab.profiling.clocks import OWN, ThreadClocks
from joulelab.profiling.stacks import CallTree, Node

SWITCH_S = 0.0005
RUNNING = 0.5
"""A thread that ran for this share of the time is the one that drives threads without a stack."""
TURN = 0.1
"""Several threads with more than this share of the processor time of all take turns."""
BATCH_S = 1.0
"""Time after which looks are worked out."""
_STOP_S = 5.0
Part = tuple[Node, float]
"""A stack, and its seconds or its share."""


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
        ran_s: the sum of `ran`.
        waited_s: the sum of `waited`.
    """

    begin_s: float
    end_s: float
    ran: list[Part] = field(default_factory=list)
    waited: list[Part] = field(default_factory=list)
    driving: list[Part] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)
    ran_s: float = field(init=False)
    waited_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.ran_s = sum(seconds for _, seconds in self.ran)
        self.waited_s = sum(seconds for _, seconds in self.waited)

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return self.end_s - self.begin_s


class Switching:
    """Lets the interpreter admit other threads sooner while any sampler wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._wanted: set[int] = set()
        self._usual_s = sys.getswitchinterval()

    def want(self, sampler: Sampler, *, soon: bool) -> None:
        """A sampler wants to be admitted soon, or no longer.

        Args:
            sampler: which.
            soon: whether it does.
        """
        with self._guard:
            before = bool(self._wanted)
            (self._wanted.add if soon else self._wanted.discard)(id(sampler))
            if self._wanted and not before:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual_s, SWITCH_S))
            elif before and not self._wanted:
                self._restore()

    def forget(self) -> None:
        """In a forked process no sampler runs."""
        self._guard = threading.Lock()
        if self._wanted:
            self._wanted.clear()
            self._restore()

    def _restore(self) -> None:
        # The program may have set another one.
        if math.isclose(sys.getswitchinterval(), SWITCH_S):
            sys.setswitchinterval(self._usual_s)


_switching = Switching()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_switching.forget)


def _current_frames() -> dict[int, FrameType]:
    """The frame of every thread, by identifier.

    Until Python 3.11 a garbage collection may begin within `sys._current_frames`, which holds the
    lock of the list of threads. If a finalizer then lets another thread run, and that starts a
    thread or looks too, both wait for ever (python/cpython, gh-106883). So none may begin.
    """
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return sys._current_frames()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        gc.enable()


@dataclass
class PhaseTime:
    """How often a phase occurred, and how long."""

    times: int = 0
    duration_s: float = 0.0


class Look(NamedTuple):
    """The stacks at one time.

    Attributes:
        at_s: on the monotonic clock.
        process_s: processor time of the process until then.
        nodes: the stacks of the threads that ran since the last look, and of the one that waits, by
            thread.
        ran: processor time of each thread since the last look; None where the program has a single
            thread: then it is that of the process.
        own_s: processor time of joulelab's threads since the last look.
    """

    at_s: float
    process_s: float
    nodes: dict[int, Node]
    ran: dict[int, float] | None
    own_s: float


class Sampler:
    """Samples stacks until it is stopped.

    Args:
        tree: to which the stacks are added.
        rate_hz: samples in a second.
        take: called with the intervals since the last call, in the sampler's thread, and in the end
            in another.

    Attributes:
        samples: number of samples of the thread that has begun the profile, with a stack.
        phases: what the marked phases took.
    """

    def __init__(
        self, tree: CallTree, rate_hz: float, take: Callable[[list[Interval]], None]
    ) -> None:
        self.samples = 0
        self.phases: dict[str, PhaseTime] = {}
        self._tree = tree
        self._period_s = 1.0 / rate_hz
        self._take = take
        self._random = random.Random(0)
        self._waiting = threading.get_ident()
        self._clocks = ThreadClocks(self._waiting)
        self._marking = marked_phases()
        self._marks: Marks = []
        self._looks: list[Look] = []
        self._began_s = 0.0
        self._stop = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"{OWN}profile", daemon=True)

    def start(self) -> None:
        """Begin: the time from now on counts."""
        self._marks = self._marking.__enter__()
        self._look()
        self._began_s = self._looks[0].at_s
        self._stop.acquire()
        _switching.want(self, soon=True)
        self._thread.start()

    def stop(self) -> None:
        """End: the time until now counts."""
        self._stop.release()
        # Not for ever: a signal may have interrupted whoever holds what the thread waits for.
        self._thread.join(_STOP_S)
        self._look()
        self._work_out(last=True)
        self._count([(*one, self._looks[-1].at_s) for one in list(open_phases)])
        self._marking.__exit__(None, None, None)

    def _run(self) -> None:
        start_s, period = time.monotonic(), 0
        due_s = start_s + BATCH_S
        while True:
            next_s = start_s + (period + self._random.random()) * self._period_s
            # A time below 0 would be for ever.
            if self._stop.acquire(timeout=max(0.0, next_s - time.monotonic())):
                self._stop.release()
                return
            self._look()
            now_s = self._looks[-1].at_s
            if now_s >= due_s:
                self._work_out()
                due_s = now_s + BATCH_S
            period = max(period + 1, int((now_s - start_s) / self._period_s))

    def _look(self) -> None:
        frames = _current_frames()
        at_s, waiting, clocks = time.monotonic(), self._waiting, self._clocks
        if clocks.known != frames.keys():
            clocks.learn(frames)
        nodes = {waiting: self._tree.at(frames.get(waiting), of_main=True)}
        ran, own_s = (None, 0.0) if clocks.single else clocks.since_last(frames)
        for ident in ran or ():
            if ident != waiting:
                nodes[ident] = self._tree.at(frames[ident])
        self._looks.append(Look(at_s, time.process_time(), nodes, ran, own_s))

    def _work_out(self, *, last: bool = False) -> None:
        """Turn the looks since the last time into intervals; the last one begins the next."""
        looks, self._looks = self._looks, self._looks[-1:]
        self.samples += sum(one.nodes[self._waiting] is not self._tree.root for one in looks[1:])
        intervals = [self._interval(*both) for both in pairwise(looks)]
        _switching.want(self, soon=not last and not self._take_turns(looks))
        self._mark(intervals)
        self._take(intervals)

    def _take_turns(self, looks: list[Look]) -> bool:
        """Whether several threads of the program run most of the time.

        They would take turns at the interpreter's lock as often as the sampler wants to be let in,
        which costs them more than the samples.
        """
        ran: dict[int, float] = {}
        for look in looks:
            for ident, seconds in (look.ran or {}).items():
                ran[ident] = ran.get(ident, 0.0) + seconds
        all_s = sum(ran.values())
        return sum(seconds > TURN * all_s for seconds in ran.values()) > 1

    def _interval(self, old: Look, new: Look) -> Interval:
        duration_s, used_s = new.at_s - old.at_s, new.process_s - old.process_s
        early = 0.5 * min(1.0, self._period_s / duration_s) if duration_s > 0 else 0.0
        root = self._tree.root

        def parts(ident: int, seconds: float) -> list[Part]:
            first, last = old.nodes.get(ident, root), new.nodes.get(ident, root)
            if first is root or last is root or first is last:
                return [(last if first is root else first, seconds)]
            return [(first, early * seconds), (last, (1.0 - early) * seconds)]

        ran = {self._waiting: used_s} if new.ran is None else dict(new.ran)
        ran_s = sum(ran.values())
        rest_s = used_s - ran_s - new.own_s
        if rest_s > 0:
            if max(ran.values(), default=0.0) >= RUNNING * duration_s:
                ran = {ident: s * (ran_s + rest_s) / ran_s for ident, s in ran.items()}
            else:
                ran[self._waiting] = ran.get(self._waiting, 0.0) + rest_s
            ran_s += rest_s
        driving = self._driving(new, ran, duration_s)
        return Interval(
            old.at_s,
            new.at_s,
            [part for ident, s in ran.items() for part in parts(ident, s)],
            parts(self._waiting, duration_s - ran_s) if ran_s < duration_s else [],
            [part for ident, s in driving.items() for part in parts(ident, s)],
        )

    def _driving(self, look: Look, ran: dict[int, float], duration_s: float) -> dict[int, float]:
        """The threads that devices work for: the one that waits, unless it waits for others."""
        if look.ran is None:
            return {self._waiting: 1.0}
        others = {ident: s for ident, s in ran.items() if ident != self._waiting}
        others_s = sum(others.values())
        code = look.nodes[self._waiting].code
        for_threads = code is not None and code.co_filename == threading.__file__
        if for_threads and others_s >= RUNNING * duration_s > 0:
            return {ident: s / others_s for ident, s in others.items()}
        return {self._waiting: 1.0}

    def _mark(self, intervals: list[Interval]) -> None:
        """Give each interval the share of its time in each phase; count those that have ended."""
        is_open = list(open_phases)
        ended = self._marks[:]
        del self._marks[: len(ended)]
        self._count(ended)
        # A phase may just be between being marked and not being open any more.
        marked = {mark[:2] for mark in ended}
        spans = [*ended, *((*one, math.inf) for one in is_open if one not in marked)]
        for name, begin_s, end_s in spans:
            first = bisect.bisect_right(intervals, begin_s, key=lambda one: one.end_s)
            for interval in intervals[first:]:
                overlap_s = min(end_s, interval.end_s) - max(begin_s, interval.begin_s)
                if overlap_s <= 0:
                    break
                interval.phases.append((name, overlap_s / interval.duration_s))

    def _count(self, ended: Marks) -> None:
        for name, begin_s, end_s in ended:
            phase = self.phases.setdefault(name, PhaseTime())
            phase.times += 1
            phase.duration_s += max(0.0, end_s - max(begin_s, self._began_s))
