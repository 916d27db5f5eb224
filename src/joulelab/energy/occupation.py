"""The devices of a process while it measures: their locks, and its note to other processes.

::

    windows       [----]  [--]       [-----------]
    devices    ---[------------+]----[------------+]---      + KEPT_S, in the recorder's thread

A program that measures step after step would otherwise spend milliseconds on locks each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from joulelab.energy.lock import DeviceLock
from joulelab.energy.options import Busy
from joulelab.energy.overlap import Presence
from joulelab.errors import DeviceBusyError, MeterError

KEPT_S = 0.5
"""How long devices stay locked after the last window."""


class Occupation:
    """Holds devices while any window is open on them.

    Args:
        devices: in the order in which all processes lock them.
        busy: what to do if another program measures on a device.
        on_wait: called with a description of the process waited for.
        keep: whether devices stay locked for `KEPT_S`, until `release_unused` is called.
    """

    def __init__(
        self,
        devices: Sequence[str],
        busy: Busy,
        on_wait: Callable[[str], None] | None,
        *,
        keep: bool,
    ) -> None:
        self._busy = busy
        self._on_wait = on_wait
        self._keep = keep
        self._locks = [DeviceLock(device) for device in devices]
        self._presence = Presence(devices)
        self._windows = 0
        self._taken = False
        self._free_since_s = 0.0
        self._flags: list[str] = []
        self._guard = threading.Lock()

    def enter(self, label: str) -> list[str]:
        """Lock the devices for one more window.

        Args:
            label: shown to waiting processes.

        Returns:
            Flags: who else measures on them.

        Raises:
            DeviceBusyError: another process does, and `busy` is ``"refuse"``.
        """
        with self._guard:
            if not self._taken:
                self._flags = self._take(label)
                self._presence.label = label
                self._presence.enter()
                self._taken = True
            self._windows += 1
            return list(self._flags)

    def leave(self) -> None:
        """Note that a window has closed."""
        with self._guard:
            self._windows -= 1
            self._free_since_s = time.monotonic()
            # Shared devices are checked again, and a thread that rarely wakes releases nothing.
            if not self._windows and (self._flags or not self._keep):
                self._release()

    def release_unused(self) -> None:
        """Release the devices if no window was open for `KEPT_S`."""
        with self._guard:
            if not self._windows and time.monotonic() - self._free_since_s > KEPT_S:
                self._release()

    def release(self) -> None:
        """Release the devices, although windows may be open."""
        with self._guard:
            self._release()

    def others(self, since_s: float) -> list[str]:
        """Flags: other processes that measured on one of the devices.

        Args:
            since_s: since this time on the monotonic clock.
        """
        return self._presence.flags(since_s)

    def _take(self, label: str) -> list[str]:
        flags = []
        try:
            for lock in self._locks:
                lock.label = label
                try:
                    lock.acquire(wait=self._busy == "wait", on_wait=self._on_wait)
                except MeterError as error:
                    if self._busy != "share":
                        raise
                    as_well = " as well" if isinstance(error, DeviceBusyError) else ""
                    flags.append(f"{error.message}{as_well}")
        except BaseException:
            for lock in self._locks:
                lock.release()
            raise
        return flags

    def _release(self) -> None:
        if self._taken:
            self._taken = False
            self._presence.leave(self._free_since_s)
            for lock in self._locks:
                lock.release()
