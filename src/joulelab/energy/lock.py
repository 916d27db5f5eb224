"""A lock per device: two measured runs on one device never overlap.

The operating system holds it and releases it when its holder dies, however it dies.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from joulelab.errors import DeviceBusyError

EVERYBODY = 0o666


def _lock_folder() -> Path:
    """A folder in which every user of the machine may open every lock."""
    if own := os.environ.get("JOULELAB_LOCK_DIR"):
        folder = Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    # Not the temporary folder itself: Linux refuses to open files of others in a sticky folder.
    folder = Path(tempfile.gettempdir()) / "joulelab-locks"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    return folder


class DeviceLock:
    """The lock of one device of this machine, for all users of it.

    Args:
        device: its domain, for instance ``"gpu:0"`` or ``"cpu"``.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        folder = _lock_folder()
        name = f"joulelab-{device.replace(':', '-')}"
        self._holder = folder / f"{name}.pid"
        self._lock = FileLock(folder / f"{name}.lock", mode=EVERYBODY)

    def acquire(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> None:
        """Take the lock.

        Args:
            wait: wait for the holder, or refuse at once.
            on_wait: told, in words, who is being waited for.

        Raises:
            DeviceBusyError: somebody else measures on the device, and `wait` is false.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            who = f"{self._who()} is measuring on {self.device}"
            if not wait:
                raise DeviceBusyError(who, "wait for it to end, or stop it") from None
            if on_wait is not None:
                on_wait(f"{who}; waiting for it")
            self._lock.acquire()
        self._holder.write_text(str(os.getpid()), "utf-8")

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        self._lock.release()

    def __enter__(self) -> DeviceLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _who(self) -> str:
        try:
            pid = self._holder.read_text("utf-8")
        except OSError:
            pid = ""
        # Empty in the moment in which the lock changes hands.
        return f"process {pid}" if pid else "another process"
