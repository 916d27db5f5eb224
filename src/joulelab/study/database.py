"""The SQLite database of a results folder: opening it, its version, and its errors in words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from joulelab.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreVersionError,
    StoreWriteError,
)

VERSION = 3

KEYS_SINCE_VERSION_1 = {"precision": "fp32", "rounds_together": 1, "mix_engines": False}
"""Keys that a study file of version 1 does not have, with what it meant."""

RUN_COLUMNS = {
    "run_id": "TEXT PRIMARY KEY",
    "position": "INTEGER NOT NULL",
    "block": "INTEGER NOT NULL",
    "experiment": "TEXT NOT NULL",
    "kind": "TEXT NOT NULL",
    "configuration": "TEXT NOT NULL",
    "factors": "TEXT NOT NULL",
    "round": "INTEGER NOT NULL",
    "repetition": "INTEGER NOT NULL",
    "seed": "INTEGER NOT NULL",
    "state": "TEXT NOT NULL DEFAULT 'planned'"
    " CHECK (state IN ('planned', 'running', 'finished', 'failed'))",
    "attempts": "INTEGER NOT NULL DEFAULT 0",
    "dataset": "TEXT",
    "protocol": "TEXT",
    "engine": "TEXT",
    "precision": "TEXT",
    "group_size": "INTEGER",
    "device": "TEXT",
    "scale": "REAL",
    "hyperparameters": "TEXT",
    "accuracy": "REAL",
    "train_loss": "REAL",
    "diverged": "INTEGER",
    "steps": "INTEGER",
    "parameters": "INTEGER",
    "flops": "REAL",
    "placement": "TEXT",
    "metrics": "TEXT",
    "energy_gross_j": "REAL",
    "energy_idle_j": "REAL",
    "energy_net_j": "REAL",
    "energy_error_j": "REAL",
    "energy_status": "TEXT",
    "energy_source": "TEXT",
    "energy_domains": "TEXT",
    "utilisation_mean": "REAL",
    "utilisation": "TEXT",
    "measurement": "TEXT",
    "duration_s": "REAL",
    "started_at": "REAL",
    "error": "TEXT",
}
"""A row a run, the same columns for every kind of experiment; JSON where a value has parts."""

ADDED = {
    2: {
        # The only engine of version 1 had torch's defaults.
        "precision": "CASE WHEN engine IS NULL THEN NULL WHEN device = 'cpu' THEN 'fp32'"
        " ELSE 'torch-default' END",
    },
    3: {
        # Nothing was thinned yet, nothing counted, and nobody asked how busy the device was.
        "scale": "CASE WHEN engine IS NULL THEN NULL ELSE 1.0 END",
        "flops": "NULL",
        "utilisation_mean": "NULL",
        "utilisation": "NULL",
    },
}
"""Columns of runs that a version has added, each with what it is for older rows."""


def columns_before(version: int) -> dict[str, str]:
    """The columns that a store of this version lacks, each with what to select in its place."""
    return {
        name: value
        for later, columns in ADDED.items()
        if later > version
        for name, value in columns.items()
    }


MIGRATIONS = {
    version - 1: tuple(
        statement
        for name, value in columns.items()
        for statement in (
            f"ALTER TABLE runs ADD COLUMN {name} {RUN_COLUMNS[name]}",
            f"UPDATE runs SET {name} = {value}",
        )
    )
    for version, columns in ADDED.items()
}
"""What makes of each version the next."""

TABLES = (
    f"CREATE TABLE runs ({', '.join(f'{name} {kind}' for name, kind in RUN_COLUMNS.items())})"
    " STRICT",
    "CREATE INDEX runs_by_round ON runs (experiment, configuration, round)",
    """CREATE TABLE rounds (
        experiment TEXT NOT NULL,
        configuration TEXT NOT NULL,
        round INTEGER NOT NULL,
        hyperparameters TEXT NOT NULL,
        score REAL,
        PRIMARY KEY (experiment, configuration, round)
    ) STRICT""",
    """CREATE TABLE ledger (
        entry INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'interrupted')),
        experiment TEXT,
        configuration TEXT,
        round INTEGER,
        runs TEXT NOT NULL DEFAULT '[]',
        started_at REAL NOT NULL,
        duration_s REAL,
        energy_gross_j REAL,
        energy_error_j REAL,
        energy_status TEXT NOT NULL DEFAULT 'missing',
        measurement TEXT,
        error TEXT
    ) STRICT""",
)


DATABASE = "runs.sqlite"


def connect(folder: Path) -> sqlite3.Connection:
    """A connection that writes; the database is made where it is not there.

    Raises:
        sqlite3.Error: it is damaged, or cannot be opened; `explained` says it in words.
        StoreVersionError: a newer joulelab wrote it.
    """
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check found damage")
        check_version(connection, folder)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 where there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, folder: Path) -> None:
    """See that this joulelab can read the tables.

    Raises:
        StoreVersionError: a newer joulelab wrote them.
        StoreCorruptError: nobody did.
    """
    found = version(connection)
    if found < 0:
        raise StoreCorruptError(
            f"{folder / DATABASE} has the store version {found}, which there never was",
            "restore it from a copy",
        )
    if found > VERSION:
        raise StoreVersionError(
            f"{folder} was written by a newer joulelab (store version {found}; this one reads "
            f"{VERSION})",
            "upgrade joulelab, or give another folder with --out",
        )


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(folder, error) from error
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            "free space or mend the permissions, then run the same command again: nothing is lost",
        ) from error


def store_error(folder: Path, error: sqlite3.Error) -> StoreError:
    """What SQLite says, in words.

    Args:
        folder: with results.
        error: about its database.
    """
    path = folder / DATABASE
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return StoreWriteError(
            f"{path} cannot be written: {error}",
            "free disk space, then run the same command again: what had finished is kept",
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return StoreWriteError(f"{path} cannot be opened: {error}", "mend the permissions")
    if code == sqlite3.SQLITE_BUSY:
        return StoreBusyError(f"{path} is locked: {error}", "close the program that holds it")
    return StoreCorruptError(
        f"{path} is damaged: {error}",
        "nothing was changed; restore it from a copy, or start anew with --out",
    )
