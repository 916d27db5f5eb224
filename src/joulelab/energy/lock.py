"""A lock per device: two measured runs on one device never overlap.

The operating system holds it and releases it when its holder dies, however it dies.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from joulelab.errors import DeviceBusyError

EVERYBODY = 0o666
SIGN_S = 1.0
"""How often who waits says so."""
GIVING_WAY_S = 0.3
"""Longer than the time between two tries of who waits."""


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

    A process holds it once, however often it asks: windows within one program may overlap. So do a
    process and those it was started from: `joulelab measure -- joulelab run ...` must not wait for
    itself.

    Args:
        device: its domain, for instance ``"gpu:0"`` or ``"cpu"``.
        label: what is measured, for those who wait.
    """

    def __init__(self, device: str, label: str = "") -> None:
        self.device = device
        self.label = label
        self._holds = False

    def acquire(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> None:
        """Take the lock; a second call does nothing.

        Args:
            wait: wait for the holder, or refuse at once.
            on_wait: told, in words, who is being waited for.

        Raises:
            DeviceBusyError: somebody else measures on the device, and `wait` is false.
        """
        if self._holds:
            return
        held = _held(self.device)
        with held.taking:
            if not held.count:
                held.take(self.label, wait=wait, on_wait=on_wait)
            held.count += 1
            self._holds = True

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if not self._holds:
            return
        self._holds = False
        held = _held(self.device)
        with held.taking:
            held.count -= 1
            if not held.count:
                held.give_back()

    def __enter__(self) -> DeviceLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Held:
    """What this process has of one device's lock."""

    def __init__(self, device: str, folder: Path) -> None:
        name = f"joulelab-{device.replace(':', '-')}"
        self.taking = threading.RLock()
        self.count = 0
        self._device = device
        self._process = os.getpid()
        self._holder = folder / f"{name}.pid"
        self._waiting = folder / f"{name}.waiting"
        # Any thread may close a window, so any thread may give the lock back.
        self._lock = FileLock(folder / f"{name}.lock", mode=EVERYBODY, thread_local=False)

    def of_this_process(self) -> bool:
        return self._process == os.getpid()

    def take(self, label: str, *, wait: bool, on_wait: Callable[[str], None] | None) -> None:
        try:
            self._give_way()
            self._lock.acquire(timeout=0)
        except Timeout:
            pid, what = self._who()
            if pid in _ancestors():
                return
            who = f"process {pid}" if pid else "another process"
            what = f" ({what})" if what else ""
            busy = f"{who}{what} is measuring on {self._device}"
            if not wait:
                raise DeviceBusyError(busy, "wait for it to end, or stop it") from None
            if on_wait is not None:
                on_wait(f"{busy}; waiting for it")
            self._wait()
        self._holder.write_text(f"{os.getpid()}\n{label}", "utf-8")

    def _wait(self) -> None:
        while True:
            self._waiting.write_text(str(os.getpid()), "utf-8")
            with suppress(Timeout):
                self._lock.acquire(timeout=SIGN_S)
                break
        self._waiting.unlink(missing_ok=True)

    def _give_way(self) -> None:
        """Let somebody who has waited go first: who holds and takes again at once always wins."""
        with suppress(OSError):
            if time.time() - self._waiting.stat().st_mtime < 2 * SIGN_S:
                time.sleep(GIVING_WAY_S)

    def give_back(self) -> None:
        if self._lock.is_locked:
            # Emptied first: who finds the lock held and no name waits, and asks no dead process.
            self._holder.write_text("", "utf-8")
            self._lock.release()

    def _who(self) -> tuple[int, str]:
        """Process and label of the holder; 0 in the moment in which the lock changes hands."""
        try:
            pid, _, label = self._holder.read_text("utf-8").partition("\n")
            return int(pid), label
        except (OSError, ValueError):
            return 0, ""


_HELD: dict[tuple[Path, str], _Held] = {}
_HELD_LOCK = threading.Lock()


def _held(device: str) -> _Held:
    folder = _lock_folder()
    with _HELD_LOCK:
        held = _HELD.get((folder, device))
        if held is None or not held.of_this_process():
            held = _HELD[folder, device] = _Held(device, folder)
        return held


def _ancestors() -> set[int]:
    return {process.pid for process in psutil.Process().parents()}
