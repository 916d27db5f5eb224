"""Processor time of the threads of this process, and of its child processes.

Linux names the clock of a thread by its number t as ~t * 8 + 6; a thread that has ended then has no
clock, where asking for it by its handle would be undefined. Without such clocks, as on macOS, a
thread counts as running if it has moved since the last sample.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType

from joulelab.energy.meters.processor import ProcessTree

OWN = "joulelab-"
"""Beginning of the names of joulelab's threads, which are not part of the program."""
_LEAST_S = 1e-3
"""Differences between two clocks below this are not work of a child process."""


class ThreadClocks:
    """Processor time of each thread since the last look."""

    def __init__(self) -> None:
        self._clocks: dict[int, int | None] = {}
        self._own: set[int] = set()
        self._last_s: dict[int, float] = {}
        self._last_at: dict[int, tuple[int, int]] = {}
        self._process_s = time.process_time()

    def since_last(
        self, frames: Mapping[int, FrameType], passed_s: float
    ) -> tuple[dict[int, float], float]:
        """Seconds of each thread of the program that ran, and of threads without a Python stack.

        Args:
            frames: the innermost frame of each thread, by its identifier.
            passed_s: since the last look.
        """
        if self._clocks.keys() != frames.keys():
            self._learn(frames)
        ran: dict[int, float] = {}
        all_s = 0.0
        for ident, frame in frames.items():
            ran_s = self._ran_s(ident, frame, passed_s)
            all_s += ran_s
            if ran_s > 0 and ident not in self._own:
                ran[ident] = ran_s
        process_s = time.process_time()
        rest_s = max(0.0, process_s - self._process_s - all_s)
        self._process_s = process_s
        return ran, rest_s

    def _ran_s(self, ident: int, frame: FrameType, passed_s: float) -> float:
        clock = self._clocks[ident]
        if clock is None:
            at, before = (id(frame), frame.f_lasti), self._last_at.get(ident)
            self._last_at[ident] = at
            return passed_s if before not in (None, at) else 0.0
        try:
            now_s = time.clock_gettime(clock)
        except OSError:  # it has ended, and another one has its identifier
            del self._clocks[ident]
            return 0.0
        # A thread that was not there at the last look began at 0.
        ran_s = now_s - self._last_s.get(ident, 0.0)
        self._last_s[ident] = now_s
        return ran_s

    def _learn(self, frames: Mapping[int, FrameType]) -> None:
        """Find the clocks of new threads, and forget threads that have ended."""
        for ident in self._clocks.keys() - frames.keys():
            del self._clocks[ident]
            self._last_s.pop(ident, None)
            self._last_at.pop(ident, None)
            self._own.discard(ident)
        known = {thread.ident: thread for thread in threading.enumerate()}
        for ident in frames.keys() - self._clocks.keys():
            thread = known.get(ident)
            self._last_s.pop(ident, None)
            self._clocks[ident] = _clock(ident, thread)
            if thread is not None and thread.name.startswith(OWN):
                self._own.add(ident)


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
        self._tree = ProcessTree()
        self._last_s = self._now_s()

    def since_last(self) -> float:
        """In seconds."""
        now_s = self._now_s()
        ran_s = now_s - self._last_s
        if ran_s < _LEAST_S:
            return 0.0
        self._last_s = now_s
        return ran_s

    def _now_s(self) -> float:
        return self._tree.usage()[0] - time.process_time()
