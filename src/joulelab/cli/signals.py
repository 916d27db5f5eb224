"""Signals: keep them on the main thread, and let SIGTERM end like Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")


@contextmanager
def for_the_main_thread() -> Iterator[None]:
    """Threads that are started within, by libraries when they are imported, get no signals.

    A signal goes to any thread that has not blocked it, and wakes only that one from its waiting.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    wanted = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does from now on: measurements are kept."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # Ctrl-C is ignored, as by what a shell starts in the background
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
