"""Where data sets are looked for and downloaded to, and what their loaders share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulelab.errors import DatasetError, UsageError, quoted

TRAIN = ("train", "training")
TEST = ("test", "testing")
IN_PLACE_OF_TEST = ("validation", "val", "valid", "dev")
"""How the parts of a data set are called on a disk, in the order in which they are looked for."""

TIMEOUT_S = 15.0
"""How long a download waits for an answer."""


def data_folder(data_dir: Path | None) -> Path:
    """The folder with data: the one that was given, else ``joulelab/data`` in the user's cache.

    Raises:
        DatasetError: one was given, and it is not there.
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
    """The folder that the argument of a data set names.

    Args:
        path: a relative one counts from the data folder if it is there, else from the current one.
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
    """A remark where accuracy is computed on a part that is not called test.

    Args:
        part: as it is called.
    """
    if part.lower() not in IN_PLACE_OF_TEST:
        return ()
    return (f"it has no test part: accuracy is computed on {part}",)


@contextmanager
def downloading(name: str, folder: Path, needs: str) -> Iterator[None]:
    """Let a library download into a folder, with bounded waiting; its failures become ours.

    Libraries that download do so without a timeout of their own, so the one that Python gives to
    new sockets is set for the time of the download.

    Args:
        name: the data set.
        folder: where its files go; made if it is not there.
        needs: what the folder must contain for the data set to be found without a download.

    Raises:
        DatasetError: no network, no answer in time, no permission, or not what was expected.
    """
    before = socket.getdefaulttimeout()
    present = set(folder.iterdir()) if folder.is_dir() else set()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:  # each library, protocol and archive has its own way to fail
        _remove_empty_folders(folder, present)
        what = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{name} is not in {folder} and cannot be downloaded there: {what}",
            f"give --data-dir a folder that has {needs}, or a writable one while connected to the "
            "network",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _remove_empty_folders(folder: Path, present: set[Path]) -> None:
    """Undo what a failed download prepared: folders that were not there before, and are empty."""
    if not folder.is_dir():
        return
    for entry in set(folder.iterdir()) - present:
        for path in sorted([entry, *entry.rglob("*")], reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
