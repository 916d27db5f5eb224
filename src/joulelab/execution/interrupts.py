"""Ctrl-C at a moment when it does no harm: between two lines of workers, not within one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM that come within the block have their effect after it.

    Python interrupts the main thread alone; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    try:
        for one in NUMBERS:
            if signal.getsignal(one) not in (signal.SIG_IGN, None):  # None: not one of Python
                before[one] = signal.getsignal(one)
                signal.signal(one, lambda *told: came.append(told))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in came:
            handler = before[number]
            if callable(handler):
                handler(number, frame)
            else:
                os.kill(os.getpid(), number)
