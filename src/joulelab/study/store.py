"""The folder that keeps a study: what was planned, what was measured, what was lost.

::

    DIR/study.toml      the resolved study file
    DIR/manifest.json   hardware, drivers, versions, seed, data checksum; one entry a session
    DIR/runs.sqlite     runs, rounds, and the ledger of every attempt
    DIR/traces/         power traces, one Parquet file an attempt
    DIR/report/         what people read

One process writes (a lock that the operating system releases when the holder dies), any number
read. Every change is one transaction of SQLite in WAL mode, so a process killed at any moment
leaves a whole database. Nothing is pickled.

States of a run: planned -> running -> finished | failed; a run found *running* by the next writer
was interrupted, and is planned again. Its attempt stays in the ledger, as *interrupted*, with the
energy that was last heard of.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from joulelab.energy.reading import Measurement, Total
from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreVersionError,
    StoreWriteError,
    TraceError,
)
from joulelab.study.schema import (
    KEYS_SINCE_VERSION_1,
    MIGRATIONS,
    TABLES,
    VERSION,
    columns_before,
)

DATABASE = "runs.sqlite"


@dataclass(frozen=True)
class PlannedRun:
    """The unit that is planned, measured, stored and resumed."""

    run_id: str
    position: int
    block: int
    experiment: str
    kind: str
    configuration: str
    factors: Mapping[str, Any]
    round: int
    repetition: int
    seed: int


class Store:
    """The writer of a results folder. Use `create` or `resume`, and `close` at the end."""

    def __init__(self, folder: Path, lock: FileLock, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._lock = lock
        self._connection = connection
        self._thread_lock = threading.RLock()

    @classmethod
    def open(cls, folder: Path, study: str) -> Store:
        """Begin a new results folder, or go on with one that holds the same study.

        Args:
            folder: created where it does not exist.
            study: the resolved study file.

        Raises:
            StoreBusyError: another process writes to it.
            StoreMismatchError: it holds a different study, or other files.
            StoreCorruptError, StoreVersionError, StoreWriteError: it cannot be used.
        """
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise StoreBusyError(
                    f"another joulelab is running the study in {folder}",
                    "wait for it, or give this one another folder with --out",
                ) from None
            try:
                if not (folder / DATABASE).exists():
                    _check_empty(folder)
                store = cls(folder, lock, _connect(folder))
                store._create_tables()
                if store._query("SELECT 1 FROM runs LIMIT 1"):
                    _check_same(folder, study)
                else:
                    (folder / "study.toml").write_text(study, encoding="utf-8")
                store._migrate()
                store._note_interruptions()
            except BaseException:
                lock.release()
                raise
            return store

    def close(self) -> None:
        """Release the folder. A second call does nothing."""
        with self._thread_lock:
            self._connection.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Runs and rounds

    def plan(self, runs: Sequence[PlannedRun]) -> None:
        """Enter the planned runs; those that are there already stay as they are."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO runs (run_id, position, block, experiment, kind,"
                " configuration, factors, round, repetition, seed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        run.run_id,
                        run.position,
                        run.block,
                        run.experiment,
                        run.kind,
                        run.configuration,
                        json.dumps(dict(run.factors)),
                        run.round,
                        run.repetition,
                        run.seed,
                    )
                    for run in runs
                ],
            )

    def states(self) -> dict[str, str]:
        """The state of every run by its id."""
        return dict(self._query("SELECT run_id, state FROM runs"))

    def engines(self) -> list[str]:
        """Each engine once that finished runs were trained by."""
        return [
            engine
            for (engine,) in self._query(
                "SELECT DISTINCT engine FROM runs WHERE state = 'finished' AND engine IS NOT NULL"
            )
        ]

    def accuracies(self, experiment: str, configuration: str, round_number: int) -> list[float]:
        """Of the finished repetitions of a round, in their order."""
        rows = self._query(
            "SELECT accuracy FROM runs WHERE experiment = ? AND configuration = ? AND round = ?"
            " AND state = 'finished' ORDER BY repetition",
            (experiment, configuration, round_number),
        )
        return [accuracy for (accuracy,) in rows]

    def proposal(
        self, experiment: str, configuration: str, round_number: int
    ) -> dict[str, Any] | None:
        """The hyperparameters that were proposed for a round, if they were."""
        rows = self._query(
            "SELECT hyperparameters FROM rounds"
            " WHERE experiment = ? AND configuration = ? AND round = ?",
            (experiment, configuration, round_number),
        )
        return json.loads(rows[0][0]) if rows else None

    def propose(
        self, experiment: str, configuration: str, round_number: int, values: Mapping[str, Any]
    ) -> None:
        """Keep the hyperparameters of a round, before anything is trained with them."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rounds VALUES (?, ?, ?, ?, NULL)",
                (experiment, configuration, round_number, json.dumps(dict(values))),
            )

    def score(
        self, experiment: str, configuration: str, round_number: int, score: float | None
    ) -> None:
        """Keep the score of a finished round; ``None`` where every repetition failed."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE rounds SET score = ?"
                " WHERE experiment = ? AND configuration = ? AND round = ?",
                (score, experiment, configuration, round_number),
            )

    # The ledger

    def begin(
        self,
        session: int,
        kind: str,
        started_at: float,
        runs: Sequence[PlannedRun],
    ) -> int:
        """Open an entry of the ledger for an attempt at some runs of one group.

        Returns:
            The number of the entry.
        """
        first = runs[0]
        with self._transaction() as connection:
            entry = connection.execute(
                "INSERT INTO ledger (session, kind, state, experiment, configuration, round, runs,"
                " started_at) VALUES (?, ?, 'running', ?, ?, ?, ?, ?)",
                (
                    session,
                    kind,
                    first.experiment,
                    first.configuration,
                    first.round,
                    json.dumps([run.run_id for run in runs]),
                    started_at,
                ),
            ).lastrowid
            connection.executemany(
                "UPDATE runs SET state = 'running', attempts = attempts + 1 WHERE run_id = ?",
                [(run.run_id,) for run in runs],
            )
        return int(entry or 0)

    def book(
        self, session: int, kind: str, measurement: Measurement, total: Total, state: str
    ) -> None:
        """Enter a finished measurement that belongs to no run."""
        with self._transaction() as connection:
            entry = connection.execute(
                "INSERT INTO ledger (session, kind, state, started_at) VALUES (?, ?, ?, ?)",
                (session, kind, state, measurement.started_at),
            ).lastrowid
            self._set_energy(connection, entry, measurement, total)

    def progress(self, entry: int, measurement: Measurement, total: Total) -> None:
        """Keep what an open entry has used so far, in case its process is killed."""
        with self._transaction() as connection:
            self._set_energy(connection, entry, measurement, total)

    def end(
        self,
        entry: int,
        state: str,
        measurement: Measurement,
        total: Total,
        error: str | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Close an entry, and in the same transaction the runs that belong to it.

        Args:
            entry: number that `begin` gave.
            state: ``"finished"``, ``"failed"`` or ``"interrupted"``.
            measurement: of the whole entry.
            total: sum over the domains that count.
            error: what went wrong.
            rows: for each run of the entry its ``run_id`` and the columns to set.
        """
        with self._transaction() as connection:
            self._set_energy(connection, entry, measurement, total)
            connection.execute(
                "UPDATE ledger SET state = ?, error = ? WHERE entry = ?", (state, error, entry)
            )
            for row in rows:
                columns = [column for column in row if column != "run_id"]
                assignments = ", ".join(f"{column} = :{column}" for column in columns)
                connection.execute(f"UPDATE runs SET {assignments} WHERE run_id = :run_id", row)

    def session(self) -> int:
        """The number of the next session: one for each process that works on the study."""
        ((last,),) = self._query("SELECT coalesce(max(session), 0) FROM ledger")
        return int(last) + 1

    def write_trace(self, entry: int, columns: Mapping[str, Any], about: TraceAbout) -> None:
        """Keep the power trace of an attempt as ``traces/<entry>.parquet``."""
        path = self.folder / "traces" / f"{entry}.parquet"
        with _explained(self.folder):
            path.parent.mkdir(exist_ok=True)
        try:
            write_trace(path, columns, about)
        except TraceError as error:
            raise StoreWriteError(error.message, "free disk space and run it again") from error

    # Manifest

    def manifest(self) -> dict[str, Any]:
        """What is known of the conditions so far."""
        return read_manifest(self.folder)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest in one step."""
        with _explained(self.folder):
            path = self.folder / "manifest.json"
            fresh = path.with_suffix(".json.new")
            fresh.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", "utf-8")
            fresh.replace(path)

    @staticmethod
    def _set_energy(
        connection: sqlite3.Connection, entry: int | None, measurement: Measurement, total: Total
    ) -> None:
        connection.execute(
            "UPDATE ledger SET duration_s = ?, energy_gross_j = ?, energy_error_j = ?,"
            " energy_status = ?, measurement = ? WHERE entry = ?",
            (
                measurement.duration_s,
                total.gross_j,
                total.error_j,
                str(total.status),
                json.dumps(measurement.to_dict()),
                entry,
            ),
        )

    def _create_tables(self) -> None:
        if _version(self._connection):
            return
        with self._transaction() as connection:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def _migrate(self) -> None:
        """Bring a folder of an older version up to date, in one transaction for each step."""
        for version in range(_version(self._connection), VERSION):
            with self._transaction() as connection:
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")

    def _note_interruptions(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE ledger SET state = 'interrupted',"
                " error = 'the process ended; energy up to the last sign of life'"
                " WHERE state = 'running'"
            )
            connection.execute("UPDATE runs SET state = 'planned' WHERE state = 'running'")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.folder), self._thread_lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After some errors (disk full) SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _explained(self.folder), self._thread_lock:
            return self._connection.execute(sql, values).fetchall()


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
    with _explained(folder):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{immutable}", uri=True)
        try:
            _check_version(connection, folder)
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
        absent = columns_before(_version(connection))
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
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check found damage")
        _check_version(connection, folder)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(connection: sqlite3.Connection, folder: Path) -> None:
    version = _version(connection)
    if version > VERSION:
        raise StoreVersionError(
            f"{folder} was written by a newer joulelab (store version {version}; this one reads "
            f"{VERSION})",
            "upgrade joulelab, or give another folder with --out",
        )


def _check_empty(folder: Path) -> None:
    if others := sorted(p.name for p in folder.iterdir() if p.name not in {".lock", "study.toml"}):
        raise StoreMismatchError(
            f"{folder} holds other files ({', '.join(others[:3])} ...) and no study",
            "give an empty or a new folder with --out",
        )


def _check_same(folder: Path, study: str) -> None:
    try:
        stored = tomllib.loads((folder / "study.toml").read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StoreCorruptError(
            f"{folder / 'study.toml'} cannot be read: {error}",
            "restore it, or give another folder with --out",
        ) from None
    stored = {**KEYS_SINCE_VERSION_1, **stored}
    wanted = {**KEYS_SINCE_VERSION_1, **tomllib.loads(study)}
    if stored != wanted:
        raise StoreMismatchError(
            f"{folder} holds a different study: {_difference(stored, wanted)}",
            "run it with the same settings, or give another folder with --out",
        )


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    for key in [*stored, *(key for key in wanted if key not in stored)]:
        old, new = stored.get(key, "nothing"), wanted.get(key, "nothing")
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                return _difference(old, new, f"{prefix}{key}.")
        elif old != new:
            return f"{prefix}{key} is {old!r} there and {new!r} here"
    return ""


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _store_error(folder, error) from error
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            "free space or mend the permissions, then run the same command again: nothing is lost",
        ) from error


def _store_error(folder: Path, error: sqlite3.Error) -> StoreError:
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
