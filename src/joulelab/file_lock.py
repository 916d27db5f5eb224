"""A lock on a file: held by one process, and released by the system when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from pathlib import Path

from joulelab.files import open_regular

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TRY_S = 0.05
"""Time between two tries of who waits."""
_BYTE = 1 << 30
"""Windows locks bytes and not files: this one, which is never written."""
_WORDS = 4096


class FileLock:
    """A lock on a file of its own, in which its holder may leave word for others.

    The file is opened through no link and has to be an ordinary one, with one name. It stays when
    the lock is given back. A child that is forked from the holder does not hold it.

    Args:
        path: of the file; its folder must be there.
        mode: of the file, where it is made, whatever the umask says; ``None`` for what that says.
        make: make the file where it is not there.
    """

    def __init__(self, path: Path, mode: int | None = None, *, make: bool = True) -> None:
        self.path = path
        self._mode = mode
        self._make = make
        self._file: int | None = None
        _LOCKS.add(self)

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def check(self) -> None:
        """Open the file, and close it again.

        Raises:
            OSError: the file cannot be opened, or is no ordinary file.
        """
        if self._file is None:
            os.close(self._opened())

    def try_to_take(self) -> bool:
        """Take the lock if nobody holds it; whether it is held now.

        Raises:
            OSError: the file cannot be opened, or is no ordinary file.
        """
        while self._file is None:
            file = self._opened()
            if not _lock(file):
                os.close(file)
                return False
            if _is_still(self.path, file):
                self._file = file
            else:  # somebody has deleted it meanwhile, and others would lock another
                os.close(file)
        return True

    def take(self) -> None:
        """Take the lock, and wait for its holder.

        Raises:
            OSError: as for `try_to_take`.
        """
        while not self.try_to_take():
            time.sleep(TRY_S)

    def give_back(self) -> None:
        """Release it; nothing happens where it is not held."""
        if self._file is not None:
            _unlock(self._file)
            self._forget()

    def leave_word(self, words: str) -> None:
        """Write into the file, for those who wait; only the holder does."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # of another user, who lets nobody write
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, words.encode("utf-8", "replace")[:_WORDS])

    def words(self) -> str:
        """What the holder has written; anybody may have, who may write the file."""
        try:
            file = open_regular(self.path, os.O_RDONLY)
        except OSError:
            return ""
        try:
            return os.read(file, _WORDS).decode("utf-8", "replace")
        finally:
            os.close(file)

    def holder(self) -> int | None:
        """The process that holds it, as the system says; ``None`` where it does not say.

        Other than the words in the file, nobody can make this up.
        """
        try:
            inode = str(self.path.stat(follow_symlinks=False).st_ino)
            table = Path("/proc/locks").read_text("utf-8")
        except OSError:
            return None
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF; where others wait: 1: -> FLOCK ...
        for line in map(str.split, table.splitlines()):
            if line[1:2] == ["FLOCK"] and line[5].rpartition(":")[2] == inode:
                return int(line[4])
        return None

    def __enter__(self) -> FileLock:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def __del__(self) -> None:
        self.give_back()

    def _opened(self) -> int:
        """The file; opened first and made only then.

        Linux lets nobody open, in order to make it, what another has made in a folder for all.
        """
        while True:
            with contextlib.suppress(FileNotFoundError):
                return self._found()
            if not self._make:
                raise FileNotFoundError(2, "there is no such file", str(self.path))
            with contextlib.suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                file = open_regular(self.path, flags, 0o666 if self._mode is None else self._mode)
                if self._mode is not None and sys.platform != "win32":
                    os.fchmod(file, self._mode)
                return file

    def _found(self) -> int:
        try:
            return open_regular(self.path, os.O_RDWR)
        except PermissionError:
            return open_regular(self.path, os.O_RDONLY)  # a lock needs no more

    def _forget(self) -> None:
        """Close the file; in a forked child the parent goes on holding the lock."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _lock(file: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(file, _BYTE, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, _BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)


def _is_still(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(file))
    except OSError:
        return False


_LOCKS: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_LOCKS):
        lock._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
