"""Safe file access in shared folders: atomic writes, no symbolic links, locks, file names.

In a folder that others can write to, or that came from others, joulelab never writes through an
existing link: it writes a new file next to the old one and replaces the old one once the new one is
complete. One process holds a file lock, and the system releases it when that process dies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME_LENGTH = 80
"""Longest file name without suffix; with folder and suffix it fits every file system."""
TRY_S = 0.05
"""Time between two attempts to take a lock."""
_BYTE = 1 << 30
"""Windows locks bytes and not files: this one, which is never written."""
_WORDS = 4096
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def safe_name(text: str, taken: MutableMapping[str, str] | None = None) -> str:
    """A safe file name, without suffix, for a name chosen by a user.

    Valid characters stay, each run of other characters becomes a hyphen. A name that lost letters,
    is too long or taken, or is a device on Windows ends with part of the SHA-256 of the text.

    Args:
        text: as the user wrote it.
        taken: names in the same folder, case-insensitive, each with its text; the new name is
            added. Two texts never get the same name.

    >>> safe_name("layers-conv_layers by relu")
    'layers-conv-layers-by-relu'
    >>> safe_name("Maße")
    'Ma-e-237a99e3'
    """
    taken = {} if taken is None else taken
    name = re.sub(r"[^A-Za-z0-9.]+", "-", text)
    lost = any(letter.isalnum() and not letter.isascii() for letter in text)
    odd = lost or not name.strip("-.") or name[0] in "-." or _RESERVED.fullmatch(name)
    if odd or len(name) > NAME_LENGTH or taken.get(name.casefold(), text) != text:
        name = shortened(name.lstrip("-."), text, NAME_LENGTH)
    taken[name.casefold()] = text
    return name


def shortened(name: str, text: str, length: int) -> str:
    """A name cut to a length, with eight hexadecimal digits of a text's SHA-256 at its end."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: length - 9].strip('-')}-{digest}".lstrip("-")


def state_folder() -> Path:
    """The user's folder for program state, usually ``~/.local/state``.

    Raises:
        FileNotFoundError: the user has no home.
    """
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise FileNotFoundError(
            errno.ENOENT, "is not a folder: you have no home folder", "~"
        ) from error


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a regular file with a single hard link.

    Args:
        path: of the file; folders in it may be links.
        flags: as for ``os.open``; do not truncate here, but once the file is known to be safe.
        mode: of a new file.

    Returns:
        The descriptor.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    try:
        number = os.open(path, flags | _NO_LINKS | _NO_WAIT, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from None
    about = os.fstat(number)
    if stat.S_ISREG(about.st_mode) and about.st_nlink <= 1:
        return number
    os.close(number)
    raise OSError(errno.EPERM, "is not a regular file with a single link", str(path))


@contextmanager
def replacing(path: Path, *, sync: bool = False, private: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to; it replaces `path` once complete.

    Args:
        path: of the file.
        sync: wait until it is on the disk.
        private: only the user may read a new file; an existing one keeps its mode.

    Raises:
        OSError: it cannot be written; the old file stays.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # left by a killed process, or a planted link
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS
    number = os.open(fresh, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            if private and path.exists():
                shutil.copymode(path, fresh)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file; the old one stays until the new one is complete.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def check_writable(path: Path, *, replaced: bool = False) -> None:
    """Try whether a file can be written, without touching it.

    Args:
        path: of the file; a link stands for what it leads to, a pipe or device for itself.
        replaced: whether it will be written with `replacing`, beside what is there now.

    Raises:
        OSError: it cannot be written, or is not a regular file and would be replaced.
    """
    path = Path(os.path.realpath(path))  # unlike `resolve`, also of a link that leads to itself
    exists = path.exists()
    regular = not exists or path.is_file()
    if replaced and not regular:
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if exists and regular:
        os.close(os.open(path, os.O_WRONLY))
    if replaced or not exists:
        tempfile.TemporaryFile(dir=path.parent).close()


def check_folder_writable(folder: Path) -> None:
    """Try whether files can be written into a folder; one that does not exist is not made.

    Raises:
        OSError: they cannot.
    """
    folder = Path(os.path.realpath(folder))
    there = next(one for one in (folder, *folder.parents) if one.exists())
    tempfile.TemporaryFile(dir=there).close()


def links_within(folder: Path) -> list[Path]:
    """All links to folders below a folder; none is followed."""
    return [
        Path(at) / name
        for at, folders, _ in os.walk(folder)
        for name in folders
        if (Path(at) / name).is_symlink()
    ]


class FileLock:
    """A lock file, in which the holder can leave a note for others.

    The file must be a regular file with a single link. It stays when the lock is released. A forked
    child of the holder does not hold the lock.

    Args:
        path: of the file; its folder must exist.
        mode: of a new file, regardless of the umask; ``None`` to follow the umask.
        make: create the file if missing.
    """

    def __init__(self, path: Path, mode: int | None = None, *, make: bool = True) -> None:
        self.path = path
        self._mode = mode
        self._make = make
        self._file: int | None = None
        _LOCKS.add(self)

    def check(self) -> None:
        """Open the file, and close it again.

        Raises:
            OSError: the file cannot be opened, or is not an ordinary file.
        """
        if self._file is None:
            os.close(self._opened())

    def try_to_take(self) -> bool:
        """Take the lock if it is free; returns whether it is held now.

        Raises:
            OSError: the file cannot be opened, or is not an ordinary file.
        """
        while self._file is None:
            file = self._opened()
            if not _lock(file):
                os.close(file)
                return False
            if _is_still(self.path, file):
                self._file = file
            else:  # it was deleted meanwhile, and others would lock a different file
                os.close(file)
        return True

    def take(self) -> None:
        """Wait for the lock and take it.

        Raises:
            OSError: as for `try_to_take`.
        """
        while not self.try_to_take():
            time.sleep(TRY_S)

    def give_back(self) -> None:
        """Release the lock, if held."""
        if self._file is not None:
            _unlock(self._file)
            self._forget()

    def leave_word(self, words: str) -> None:
        """Write a note for waiting processes; only the holder may call this."""
        if self._file is None:
            return
        with suppress(OSError):  # another user's file, not writable
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, words.encode("utf-8", "replace")[:_WORDS])

    def words(self) -> str:
        """The holder's note; anyone with write permission may have written it."""
        try:
            file = open_regular(self.path, os.O_RDONLY)
        except OSError:
            return ""
        try:
            return os.read(file, _WORDS).decode("utf-8", "replace")
        finally:
            os.close(file)

    def holder(self) -> int | None:
        """Process id of the holder according to the system; ``None`` if unknown.

        Unlike the note in the file, this cannot be forged.
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
        """The file; opened, or created if missing.

        Linux refuses to open with O_CREAT a file that another user made in a shared folder.
        """
        while True:
            with suppress(FileNotFoundError):
                return self._found()
            if not self._make:
                raise FileNotFoundError(2, "no such file", str(self.path))
            with suppress(FileExistsError):
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
        """Close the file; after a fork the parent keeps the lock."""
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
