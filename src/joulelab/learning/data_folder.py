"""The data folder, downloads, and helpers of data set loaders."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulelab.errors import DatasetError, UsageError, one_line, quoted

TRAIN = ("train", "training")
TEST = ("test", "testing")
IN_PLACE_OF_TEST = ("validation", "val", "valid", "dev")
"""Names of the parts of a data set on disk, in order of search."""

TIMEOUT_S = 15.0
"""Timeout of a download."""


def data_folder(data_dir: Path | None) -> Path:
    """The data folder: the given one, else ``joulelab/data`` in the user's cache.

    Raises:
        DatasetError: the given folder does not exist.
    """
    if data_dir is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "joulelab" / "data"
    folder = data_dir.expanduser()
    if not folder.is_dir():
        raise DatasetError(
            f"the data folder {folder} does not exist",
            "give --data-dir (or JOULELAB_DATA) an existing folder",
        )
    return folder


def refuse_argument(name: str, argument: str) -> None:
    """Check that nothing follows the name of a data set that takes no argument.

    Args:
        name: of the data set.
        argument: what follows its colon.

    Raises:
        UsageError: something does.
    """
    if argument:
        raise UsageError(
            f"the data set {name} takes no argument {quoted(argument)}", f"write {name}"
        )


def find_folder(path: str, data_dir: Path | None) -> Path:
    """The folder in the argument of a data set.

    Args:
        path: a relative path is relative to the data folder if it exists there, else to the current
            folder.
        data_dir: the data folder.

    Raises:
        DatasetError: the folder does not exist.
    """
    if not path:
        raise DatasetError(
            "the data set needs a folder after its colon", "for instance folder:/data/birds"
        )
    given = Path(path).expanduser()
    candidates = [given] if data_dir is None else [data_dir.expanduser() / given, given]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise DatasetError(
        f"no folder {' or '.join(map(str, dict.fromkeys(candidates)))}",
        "check the path; a relative one counts from --data-dir, then from the current folder",
    )


def standing_in(part: str) -> tuple[str, ...]:
    """A remark if accuracy is computed on a part other than test.

    Args:
        part: name of the part.
    """
    if part.lower() not in IN_PLACE_OF_TEST:
        return ()
    return (f"it has no test part: accuracy is computed on {part}",)


@contextmanager
def downloading(name: str, folder: Path, needs: str) -> Iterator[None]:
    """Let a library download into a folder with a timeout; failures become `DatasetError`.

    Libraries download without a timeout, so Python's default socket timeout is set during the
    download.

    Args:
        name: the data set.
        folder: folder of its files; created if missing.
        needs: files that the folder must contain to avoid the download.

    Raises:
        DatasetError: no network, timeout, no permission, or unexpected content.
    """
    before = socket.getdefaulttimeout()
    present = set(folder.iterdir()) if folder.is_dir() else set()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:  # each library, protocol and archive fails differently
        _remove_empty_folders(folder, present)
        what = one_line(error) or type(error).__name__
        raise DatasetError(
            f"{name} is not in {folder} and cannot be downloaded there: {what}",
            f"give --data-dir a folder that has {needs}, or a writable one while connected to the "
            "network",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _remove_empty_folders(folder: Path, present: set[Path]) -> None:
    """Remove empty folders that a failed download created."""
    if not folder.is_dir():
        return
    for entry in set(folder.iterdir()) - present:
        for path in sorted([entry, *entry.rglob("*")], reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
