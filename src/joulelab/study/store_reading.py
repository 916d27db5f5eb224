"""Reading a results folder, also while another process writes to it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joulelab.errors import StoreCorruptError, StoreError
from joulelab.file_lock import FileLock
from joulelab.study.database import DATABASE, check_version, explained, version
from joulelab.study.schema import columns_before

REQUESTS = "requests"
"""The folder with a file for each served window."""


@contextlib.contextmanager
def reader(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, also while another process writes.

    Raises:
        StoreError: there is no study in the folder, or it cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise StoreError(f"{folder} holds no study", "name a folder of `joulelab run`")
    # A WAL database in a folder that cannot be written can be read only as immutable.
    immutable = "" if os.access(folder, os.W_OK) else "&immutable=1"
    with explained(folder):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{immutable}", uri=True)
        try:
            check_version(connection, folder)
            yield connection
        finally:
            connection.close()


def read_runs(
    folder: Path, columns: Sequence[str], where: str = "TRUE"
) -> Iterator[tuple[Any, ...]]:
    """Rows of the runs in the order of the plan, one at a time, whatever version wrote them.

    Args:
        folder: with results.
        columns: which of `RUN_COLUMNS`; a row has their values in this order.
        where: a condition in SQL.

    Raises:
        StoreError: as for `reader`.
    """
    with reader(folder) as connection:
        absent = columns_before(version(connection))
        selected = ", ".join(f"{absent.get(name, name)} AS {name}" for name in columns)
        yield from connection.execute(
            f"SELECT {selected} FROM runs WHERE {where} ORDER BY position"
        )


def last_written(folder: Path) -> tuple[tuple[int, int], ...]:
    """Size, and time of change in nanoseconds, of the files of the database that hold something.

    Args:
        folder: with results.
    """
    told = []
    for name in (DATABASE, f"{DATABASE}-wal"):
        with contextlib.suppress(FileNotFoundError):
            about = (folder / name).stat()
            told.append((about.st_size, about.st_mtime_ns))
    return tuple(one for one in told if one[0])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder; empty where none was written yet.

    Raises:
        StoreCorruptError: it is not JSON.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StoreCorruptError(
            f"{path} is not valid JSON: {error}", "restore it, or delete it: the runs are not in it"
        ) from None
    return manifest


def is_running(folder: Path) -> bool:
    """Whether a process writes to the folder now."""
    lock = FileLock(folder / ".lock", make=False)
    try:
        return not lock.try_to_take()
    except OSError:
        return False
    finally:
        lock.give_back()


def data_sets(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a manifest says of each data set that was trained on; the oldest have one only.

    Args:
        manifest: of a results folder.
    """
    if "data_sets" in manifest:
        return list(manifest["data_sets"])
    return [manifest["data"]] if manifest.get("data") else []
