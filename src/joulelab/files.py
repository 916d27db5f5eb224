"""Files where others may have been first: written whole, opened through no link, named safely.

What is written into a folder that somebody else can write to, or has sent, is never written through
a link that lies there: the new file is made beside the old one, and takes its place once it is
whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

NAME_LENGTH = 80
"""Of a file's name without its end: with a folder and an end it fits every file system."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def safe_name(text: str, taken: MutableMapping[str, str] | None = None) -> str:
    """The name of a file for what a user has called something, without its end.

    What is fit for a name stays as it is, with a hyphen for each stretch of other characters. A
    name that has lost letters, is too long or taken, or means a device on Windows, ends in a part
    of the SHA-256 of the text.

    Args:
        text: as the user wrote it.
        taken: names in the same folder, without regard to capitals, each with its text; this one is
            entered. No two texts get the same name.

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
    """Where what this user's programs keep for themselves lies: ``~/.local/state`` as a rule.

    Raises:
        FileNotFoundError: the user has no home.
    """
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "is no folder: you have no home", "~") from error


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file that is no link, no pipe or device, and has one name only.

    Args:
        path: of the file; folders in it may be links.
        flags: as of ``os.open``; what is written over must be cut later, once it is known.
        mode: of a file that is made.

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
    raise OSError(errno.EPERM, "is no ordinary file with one name", str(path))


@contextmanager
def replacing(path: Path, *, sync: bool = False, private: bool = False) -> Iterator[IO[bytes]]:
    """A file to write into, which takes the place of `path` once it is whole.

    Args:
        path: of the file.
        sync: wait until it is on the disk.
        private: only the user may read a new file, and one that is there keeps its mode.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a process that was killed, or a link that somebody planted
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
    """Write a file; the old one stands until the new one is whole.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def links_within(folder: Path) -> list[Path]:
    """Every link to a folder in a folder, and in the folders in it; none of them is followed."""
    return [
        Path(at) / name
        for at, folders, _ in os.walk(folder)
        for name in folders
        if (Path(at) / name).is_symlink()
    ]
