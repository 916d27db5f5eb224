"""Processor time of the threads of this process, and of its child processes.

Linux names the clock of a thread by its number t as ~t * 8 + 6; a thread that has ended then has no
clock, where asking for it by its handle would be undefined. Without such clocks, as on macOS, a
thread counts as running if it has moved since the last sample.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType

import psutil

from joulelab.energy.meters.processor import descendants

OWN = "joulelab-"
"""Beginning of the names of joulelab's threads, which are not part of the program."""


class ThreadClocks:
    """Processor time of each thread since the last look.

    Args:
        waiting: identifier of the thread that counts where no other one ran.

    Attributes:
        known: identifiers of all threads with a Python stack, joulelab's own included.
        single: whether the program has no thread but the one that waits.
    """

    def __init__(self, waiting: int) -> None:
        self.known: set[int] = set()
        self.single = True
        self._waiting = waiting
        self._clocks: dict[int, int | None] = {}
        self._own: set[int] = set()
        self._last_s: dict[int, float] = {}
        self._last_at: dict[int, tuple[int, int]] = {}
        self._looked_s = time.monotonic()

    def learn(self, frames: Mapping[int, FrameType]) -> None:
        """Find the clocks of new threads, and forget threads that have ended.

        Args:
            frames: the innermost frame of each thread, by its identifier.
        """
        for ident in self.known - frames.keys():
            self._forget(ident)
        threads = {thread.ident: thread for thread in threading.enumerate()}
        was_single = self.single
        for ident in frames.keys() - self.known:
            thread = threads.get(ident)
            self._clocks[ident] = _clock(ident, thread)
            if thread is not None and thread.name.startswith(OWN):
                self._own.add(ident)
        self.known = set(frames)
        self.single = not self.known - self._own - {self._waiting}
        if was_single and not self.single:
            # The clocks were not looked at: begin to.
            self._ran_s(self._waiting, frames)
            for ident in self._own:
                self._ran_s(ident, frames)

    def since_last(self, frames: Mapping[int, FrameType]) -> tuple[dict[int, float], float]:
        """Seconds of each thread of the program that ran, and of all threads of joulelab.

        Args:
            frames: as of `learn`, with the same threads.
        """
        ran: dict[int, float] = {}
        own_s = 0.0
        for ident in frames:
            if ident in self._own:
                own_s += self._ran_s(ident, frames)
            elif (seconds := self._ran_s(ident, frames)) > 0:
                ran[ident] = seconds
        self._looked_s = time.monotonic()
        return ran, own_s

    def _ran_s(self, ident: int, frames: Mapping[int, FrameType]) -> float:
        clock = self._clocks[ident]
        if clock is None:
            at, before = (id(frames[ident]), frames[ident].f_lasti), self._last_at.get(ident)
            self._last_at[ident] = at
            return time.monotonic() - self._looked_s if before not in (None, at) else 0.0
        try:
            now_s = time.clock_gettime(clock)
        except OSError:  # it has ended, and another one has its identifier
            self._forget(ident)
            self.known.discard(ident)
            return 0.0
        # A thread that is new began at 0.
        ran_s = now_s - self._last_s.get(ident, 0.0)
        self._last_s[ident] = now_s
        return ran_s

    def _forget(self, ident: int) -> None:
        self._own.discard(ident)
        for known in (self._clocks, self._last_s, self._last_at):
            known.pop(ident, None)


def _clock(ident: int, thread: threading.Thread | None) -> int | None:
    if sys.platform == "linux" and thread is not None and thread.native_id is not None:
        return ~thread.native_id << 3 | 6
    if hasattr(time, "pthread_getcpuclockid"):
        # Of a thread that has a stack at this moment, and so has not ended.
        return time.pthread_getcpuclockid(ident)
    return None


class Children:
    """Processor time of child processes, living and ended, since the last look."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last_s = self._now_s()

    def since_last(self) -> float:
        """In seconds; 0 where a process has gone whose time nobody has taken over."""
        last_s, self._last_s = self._last_s, self._now_s()
        return max(0.0, self._last_s - last_s)

    def _now_s(self) -> float:
        ended = os.times()
        living_s = 0.0
        for child in descendants(self._process):
            with suppress(psutil.Error):
                living_s += sum(child.cpu_times()[:4])
        return ended.children_user + ended.children_system + living_s
