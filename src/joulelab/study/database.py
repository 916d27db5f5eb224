"""The SQLite database of a results folder: opening, version, transactions and error messages."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from joulelab.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreVersionError,
    StoreWriteError,
)
from joulelab.study.schema import INTERRUPTED_INDEX, MIGRATIONS, TABLES, VERSION

DATABASE = "runs.sqlite"


def connect(folder: Path) -> sqlite3.Connection:
    """A writable connection; creates the database if missing.

    Raises:
        sqlite3.Error: it is damaged, or cannot be opened; `explained` converts it to a message.
        StoreVersionError: a newer joulelab wrote it.
    """
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check found damage")
        check_version(connection, folder)
        connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 if there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, folder: Path) -> None:
    """Check that this joulelab can read the tables.

    Raises:
        StoreVersionError: a newer joulelab wrote them.
        StoreCorruptError: the version does not exist.
    """
    found = version(connection)
    if found < 0:
        raise StoreCorruptError(
            f"{folder / DATABASE} has the store version {found}, which does not exist",
            "restore it from a copy",
        )
    if found > VERSION:
        raise StoreVersionError(
            f"{folder} was written by a newer joulelab (store version {found}; this one reads "
            f"{VERSION})",
            "upgrade joulelab, or choose another folder with --out",
        )


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system into a `StoreError` with a hint."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(folder, error) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreWriteError(
            f"{error.filename or folder} is a file, not a folder",
            "choose another folder with --out",
        ) from error
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            _remedy(folder, error),
        ) from error


def _remedy(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free disk space, then run the same command again: nothing is lost"
    if not (folder / DATABASE).exists():
        return "choose another folder with --out"
    return "fix the permissions, then run the same command again: nothing is lost"


def store_error(folder: Path, error: sqlite3.Error) -> StoreError:
    """An SQLite error as a `StoreError`.

    Args:
        folder: with results.
        error: about its database.
    """
    path = folder / DATABASE
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return StoreWriteError(
            f"{path} cannot be written: {error}",
            "free disk space, then run the same command again: finished runs are kept",
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return StoreWriteError(f"{path} cannot be opened: {error}", "fix the permissions")
    if code == sqlite3.SQLITE_BUSY:
        return StoreBusyError(f"{path} is locked: {error}", "close the program that locks it")
    return StoreCorruptError(
        f"{path} is damaged: {error}",
        "nothing was changed; restore it from a copy, or start over with --out",
    )


class Database:
    """A database that one process writes, and any of its threads.

    Args:
        folder: with results.
        connection: to its database.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._thread_lock = threading.RLock()

    def close(self) -> None:
        """Close the connection. A second call has no effect."""
        with self._thread_lock:
            self._connection.close()

    def _create_tables(self) -> None:
        if version(self._connection):
            return
        with self._transaction() as connection:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def _migrate(self) -> None:
        """Upgrade a folder of an older version, one transaction per step."""
        for old in range(version(self._connection), VERSION):
            with self._transaction() as connection:
                for statement in MIGRATIONS[old]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {old + 1}")
        with self._transaction() as connection:
            connection.execute(INTERRUPTED_INDEX)

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; a durable one is on disk when it ends, with all before it.

        The others survive a killed process, but not a power failure. Waiting for the disk takes
        longer than everything else around a short run.
        """
        with explained(self.folder), self._thread_lock:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After some errors (disk full) SQLite rolls back automatically.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with explained(self.folder), self._thread_lock:
            return self._connection.execute(sql, values).fetchall()
