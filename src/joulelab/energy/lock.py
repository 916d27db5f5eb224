"""A lock per device: two measured runs on one device never overlap.

The operating system releases a lock when its holder dies. Each device has two files,
``joulelab-gpu-0.lock`` and ``joulelab-gpu-0.next``::

    take .next ─ wait for .lock ─ release .next ─ measure ─ release .lock

A waiting process holds ``.next``, so a process that has just measured and wants to continue queues
behind it; otherwise it would win the lock every time.

The files are in a folder where all users can lock them but cannot remove or replace the files of
others: ``/run/lock``, else ``/tmp`` if it belongs to root and has the sticky bit. Links are not
followed. The content of a lock is only a note for waiting processes; whether the holder is an
ancestor of this process is asked of the system. If such a folder is not usable, a folder of the
user is used, with a warning.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from joulelab.errors import DeviceBusyError, MeterError
from joulelab.files import FileLock, state_folder

VARIABLE = "JOULELAB_LOCK_DIR"
EVERYBODY = 0o666
SHARED = (Path("/run/lock"), Path("/tmp"))
LONGEST_LABEL = 80

log = logging.getLogger(__name__)


class DeviceLock:
    """The lock of one device of this machine, shared by all its users.

    The lock is reentrant within a process, because its windows may overlap, and shared with
    ancestor processes: `joulelab measure -- joulelab run ...` must not wait for itself.

    Args:
        device: its domain, for instance ``"gpu:0"`` or ``"cpu"``.
        label: what is measured, shown to waiting processes.
    """

    def __init__(self, device: str, label: str = "") -> None:
        self.device = device
        self.label = label
        self._holds = False

    def acquire(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> None:
        """Take the lock; a second call has no effect.

        Args:
            wait: wait for the holder, or raise at once.
            on_wait: called with a description of the holder.

        Raises:
            DeviceBusyError: another process measures on the device, and `wait` is false.
            MeterError: no usable folder for locks.
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
        """Release the lock, if held."""
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


class DeviceLocks:
    """The locks of several devices; a context manager that releases them.

    All processes take them in the order of their names, so no two wait for each other.

    Args:
        names: of the devices.
        label: as of `DeviceLock`.
    """

    def __init__(self, names: Collection[str], label: str = "") -> None:
        self._locks = [DeviceLock(one, label) for one in sorted(set(names))]

    def acquire(self, *, on_wait: Callable[[str], None] | None = None) -> None:
        """Take all, and wait for their holders; for arguments and errors see `DeviceLock`."""
        for lock in self._locks:
            lock.acquire(on_wait=on_wait)

    def __enter__(self) -> DeviceLocks:
        return self

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()


def devices_of(domains: Iterable[str]) -> list[str]:
    """The devices whose locks domains need: each GPU its own, all else ``"cpu"``; sorted.

    >>> devices_of(["gpu:1", "dram:0", "wall"])
    ['cpu', 'gpu:1']
    """
    return sorted({domain if domain.startswith("gpu:") else "cpu" for domain in domains})


class _Held:
    """This process's state of one device's lock."""

    def __init__(self, device: str) -> None:
        self.taking = threading.RLock()
        self.count = 0
        self._device = device
        self._process = os.getpid()
        self._lock: FileLock | None = None

    def of_this_process(self) -> bool:
        return self._process == os.getpid()

    def take(self, label: str, *, wait: bool, on_wait: Callable[[str], None] | None) -> None:
        lock, turn = self._files()
        try:
            if turn.try_to_take() and lock.try_to_take():
                self._keep(lock, label)
                return
            # While a lock changes hands its holder is unknown.
            pid, what = _holder(lock)
            if pid in _ancestors():
                return
            who = f"process {pid}" if pid else "another process"
            busy = f"{who}{what} is measuring on {self._device}"
            if not wait:
                raise DeviceBusyError(busy, "wait until it ends, or stop it")
            if on_wait is not None:
                on_wait(f"{busy}; waiting for it")
            turn.take()
            lock.take()
            self._keep(lock, label)
        except OSError as error:
            raise self._no_lock([error]) from error
        finally:
            turn.give_back()

    def give_back(self) -> None:
        if self._lock is not None:
            # Emptied first: a process that finds the lock held without a note waits, and does not
            # report a dead holder.
            self._lock.leave_word("")
            self._lock.give_back()
            self._lock = None

    def _keep(self, lock: FileLock, label: str) -> None:
        lock.leave_word(f"{os.getpid()}\n{label}")
        self._lock = lock

    def _files(self) -> tuple[FileLock, FileLock]:
        """The lock and the queue file, in the first folder where both can be opened.

        Raises:
            MeterError: there is none.
        """
        name = f"joulelab-{self._device.replace(':', '-')}"
        failures: list[OSError] = []
        for folder, mode in _folders():
            files = [FileLock(folder / f"{name}.{end}", mode) for end in ("lock", "next")]
            try:
                _make(folder, mode)
                for file in files:
                    file.check()
            except OSError as error:
                failures.append(error)
                continue
            if failures:
                _say_once(_in_words(failures[0]), folder)
            return files[0], files[1]
        raise self._no_lock(failures)

    def _no_lock(self, failures: Sequence[OSError]) -> MeterError:
        why = "; ".join(map(_in_words, failures)) or "no folder is usable"
        return MeterError(
            f"{self._device} cannot be locked: {why}",
            f"set {VARIABLE} to a folder that you can write to",
        )


def shared_folder() -> Path | None:
    """The shared folder for lock notes; ``None`` if there is none."""
    if own := os.environ.get(VARIABLE):
        return Path(own) if os.path.isdir(own) else None  # noqa: PTH112 - Path raises on odd names
    return next(filter(_is_shared, SHARED), None)


def _folders() -> Iterator[tuple[Path, int]]:
    """Candidate folders of the lock, best first, with the mode of the files."""
    if own := os.environ.get(VARIABLE):
        yield Path(own), EVERYBODY
    else:
        yield from ((folder, EVERYBODY) for folder in SHARED if _is_shared(folder))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    with suppress(FileNotFoundError):
        yield (Path(runtime) if runtime else state_folder()) / "joulelab-locks", 0o600


def _is_shared(folder: Path) -> bool:
    """Whether all users can create files in it, but cannot remove those of others.

    All users get the same answer, hence the same folder.
    """
    try:
        about = folder.lstat()
    except OSError:
        return False
    wanted = stat.S_IFDIR | stat.S_ISVTX | stat.S_IWOTH
    return about.st_mode & wanted == wanted and about.st_uid == 0


def _make(folder: Path, mode: int) -> None:
    """Create the folder that the user has set, or the user's own; check the owner of the latter."""
    if folder in SHARED:
        return
    if mode == EVERYBODY:
        folder.mkdir(parents=True, exist_ok=True)
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_mine(folder):
        raise PermissionError(1, "is not a folder that only you can write to", str(folder))


def _is_mine(folder: Path) -> bool:
    about = folder.lstat()
    if not hasattr(os, "getuid"):  # Windows, where home folders are private
        return stat.S_ISDIR(about.st_mode)
    only_mine = about.st_uid == os.getuid() and not about.st_mode & 0o022
    return only_mine and stat.S_ISDIR(about.st_mode)


def _holder(lock: FileLock) -> tuple[int | None, str]:
    """Process id of the holder, and in brackets what it measures, if that can be trusted.

    If others can write to the lock, its note cannot be trusted.
    """
    told, _, label = lock.words().partition("\n")
    named = int(told) if re.fullmatch("[0-9]{1,9}", told) else None
    pid = lock.holder()
    if pid is None and _is_mine(lock.path.parent):
        pid = named
    label = "".join(one for one in label if one.isprintable())[:LONGEST_LABEL]
    return pid, f" ({label})" if label and pid == named else ""


def _in_words(error: OSError) -> str:
    return f"{error.filename} {error.strerror or 'cannot be opened'}"


def _say_once(failure: str, folder: Path) -> None:
    if failure not in _SAID:
        _SAID.add(failure)
        log.warning(
            "lock %s; using one in %s instead, which does not exclude users of the first",
            failure,
            folder,
        )


_SAID: set[str] = set()
_HELD: dict[str, _Held] = {}
_HELD_LOCK = threading.Lock()


def _held(device: str) -> _Held:
    with _HELD_LOCK:
        held = _HELD.get(device)
        if held is None or not held.of_this_process():
            held = _HELD[device] = _Held(device)
        return held


def _ancestors() -> set[int]:
    return {process.pid for process in psutil.Process().parents()}
