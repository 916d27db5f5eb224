"""The beat of a load: a thread that says to the event loop, at each due time, which one is due.

An event loop wakes in whole milliseconds (epoll), which is long beside a small network's answer; a
thread that waits for a lock with a deadline is woken within some tens of microseconds. It waits
for the clock and nothing else, so no answer, however slow, moves a later request.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Pacer:
    """Calls back into the running event loop at given times, within ``with Pacer(...)``.

    Args:
        due_s: (n,) seconds after `start_s`, never decreasing.
        start_s: on the monotonic clock, which is that of the event loop.
        when_due: called in the event loop with the number of each time.
    """

    def __init__(
        self, due_s: NDArray[np.float64], start_s: float, when_due: Callable[[int], None]
    ) -> None:
        self._due_s = due_s
        self._start_s = start_s
        self._when_due = when_due
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="joulelab pacing", daemon=True)

    def __enter__(self) -> Pacer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        for number, due_s in enumerate(self._due_s):
            if self._ended.wait(max(0.0, self._start_s + float(due_s) - time.monotonic())):
                return
            self._loop.call_soon_threadsafe(self._when_due, number)
