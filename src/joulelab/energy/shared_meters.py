"""The meters that all measurements of a process with the same options share, until it ends."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Unpack

from joulelab.energy.open_meters import OpenMeters
from joulelab.energy.options import Options

_SHARED: dict[str, OpenMeters] = {}
_SHARED_LOCK = threading.Lock()


def shared_meters(**options: Unpack[Options]) -> OpenMeters:
    """The meters of this process with these options; opened on first use.

    Args:
        options: see `joulelab.energy.options.Options`.

    Raises:
        MeterError, UsageError: as `OpenMeters`.
    """
    key = f"{os.getpid()} {sorted(options.items(), key=lambda item: item[0])!r}"
    with _SHARED_LOCK:
        if key not in _SHARED:
            _SHARED[key] = OpenMeters(**options)
        return _SHARED[key]


def close_shared() -> None:
    """Close all shared meters; happens automatically at program exit."""
    with _SHARED_LOCK:
        while _SHARED:
            key, meters = _SHARED.popitem()
            if key.startswith(f"{os.getpid()} "):
                meters.close()


def _forget_after_fork() -> None:
    """A forked process has no sampling thread and opens its own meters."""
    global _SHARED_LOCK  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _SHARED_LOCK = threading.Lock()
    _SHARED.clear()


atexit.register(close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
