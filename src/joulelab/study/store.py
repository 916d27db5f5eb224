"""The results folder of a study: plan, measurements, and the ledger.

::

    DIR/study.toml      the resolved study file
    DIR/manifest.json   hardware, drivers, versions, seed, data checksum; one entry per session
    DIR/now.json        what is waited for, while a session runs
    DIR/runs.sqlite     runs, rounds, and the ledger of every attempt
    DIR/traces/         power traces, one gzipped CSV file per attempt
    DIR/requests/       served requests, one gzipped CSV file per window
    DIR/curves/         metrics reported during a run, one gzipped CSV file per run
    DIR/outputs/        what a program has printed and written, one folder per run
    DIR/code/           copies of plug-ins and of the user's programs
    DIR/report/         the report

One process writes (a lock that the operating system releases when the holder dies), any number
read. Every change is one SQLite transaction in WAL mode, so a killed process leaves a consistent
database. Nothing is pickled.

States of a run: planned -> running -> finished | failed; a run found *running* by the next writer
was interrupted, and is planned again. Its attempt stays in the ledger as *interrupted*, with its
last reported energy.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.errors import (
    StoreBusyError,
    StoreError,
    StoreMismatchError,
    StoreWriteError,
    TraceError,
    quoted,
)
from joulelab.files import TRY_S, FileLock, write_whole
from joulelab.study.database import DATABASE, connect, explained, version
from joulelab.study.run_tables import SUFFIX, write_run_table
from joulelab.study.schema import (
    INTERRUPTED_INDEX,
    KEYS_SINCE_VERSION_1,
    MIGRATIONS,
    TABLES,
    VERSION,
)
from joulelab.study.store_reading import CURVES, REQUESTS, check_folder, read_manifest, read_study

TRACES = "traces"
"""Folder with one file per attempt."""

HEARD_OF = (
    "CASE WHEN duration_s IS NULL THEN 'no heartbeat had come: its energy is unknown'"
    " ELSE 'energy up to the last heartbeat' END"
)
"""How much of the energy of an entry is booked whose process has ended, in SQL."""


@dataclass(frozen=True)
class PlannedRun:
    """A unit that is planned, measured, stored and resumed."""

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
        """Create a results folder, or resume one with the same study.

        Args:
            folder: created if missing.
            study: the resolved study file.

        Raises:
            StoreBusyError: another process writes to it.
            StoreMismatchError: it holds a different study, or other files.
            StoreCorruptError, StoreVersionError, StoreWriteError: it cannot be used.
        """
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            # A reader that asks whether the study runs may hold it for a moment.
            if not (lock.try_to_take() or _soon(lock)):
                raise StoreBusyError(
                    f"another joulelab is already running the study in {folder}",
                    "wait for it, or choose another folder with --out",
                )
            with contextlib.ExitStack() as undone:
                undone.callback(lock.give_back)
                _check_no_links(folder)
                if not (folder / DATABASE).exists():
                    _check_empty(folder)
                store = cls(folder, lock, connect(folder))
                undone.callback(store.close)
                store._create_tables()
                if store._query("SELECT 1 FROM runs LIMIT 1"):
                    _check_same(folder, study)
                    store._migrate()
                    check_folder(folder)
                else:
                    write_whole(folder / "study.toml", study)
                    store._migrate()
                store._note_interruptions()
                undone.pop_all()
            return store

    def close(self) -> None:
        """Release the folder. A second call has no effect."""
        with self._thread_lock:
            self._connection.close()
        self._lock.give_back()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the folder; what was under way is interrupted."""
        with contextlib.suppress(StoreError):  # the disk is full: the next writer notes it
            self._note_interruptions()
        self.close()

    # Runs and rounds

    def plan(self, runs: Sequence[PlannedRun]) -> None:
        """Enter the planned runs; existing ones are unchanged."""
        names = [field.name for field in fields(PlannedRun)]
        statement = (
            f"INSERT OR IGNORE INTO runs ({', '.join(names)})"
            f" VALUES ({', '.join(f':{name}' for name in names)})"
        )
        with self._transaction() as connection:
            connection.executemany(
                statement,
                [{**vars(run), "factors": json.dumps(dict(run.factors))} for run in runs],
            )

    def states(self) -> dict[str, str]:
        """The state of every run by its id."""
        return dict(self._query("SELECT run_id, state FROM runs"))

    def block_sessions(self) -> list[tuple[int, int]]:
        """Blocks, and the sessions in which runs of them have finished."""
        return [
            (int(block), int(session))
            for block, session in self._query(
                "SELECT DISTINCT block, last_session FROM runs"
                " WHERE state IN ('finished', 'failed') AND last_session IS NOT NULL"
            )
        ]

    def finished_values(
        self, column: str, round_of: tuple[str, str, int] | None = None
    ) -> list[Any]:
        """The values of finished runs in a column, in the order of the plan, without nulls.

        Args:
            column: of the runs.
            round_of: experiment, configuration and number of the round; default: all runs.
        """
        where = (
            "" if round_of is None else " AND experiment = ? AND configuration = ? AND round = ?"
        )
        rows = self._query(
            f"SELECT {column} FROM runs WHERE state = 'finished' AND {column} IS NOT NULL{where}"
            " ORDER BY position",
            round_of or (),
        )
        return [value for (value,) in rows]

    def proposed(
        self, experiment: str, configuration: str, round_number: int
    ) -> tuple[dict[str, Any], float | None] | None:
        """The hyperparameters of a round, if proposed, and its score, if known."""
        rows = self._query(
            "SELECT hyperparameters, score FROM rounds"
            " WHERE experiment = ? AND configuration = ? AND round = ?",
            (experiment, configuration, round_number),
        )
        return (json.loads(rows[0][0]), rows[0][1]) if rows else None

    def propose(
        self, experiment: str, configuration: str, round_number: int, values: Mapping[str, Any]
    ) -> None:
        """Store the hyperparameters of a round, before training."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rounds VALUES (?, ?, ?, ?, NULL)",
                (experiment, configuration, round_number, json.dumps(dict(values))),
            )

    def score(
        self, experiment: str, configuration: str, round_number: int, score: float | None
    ) -> None:
        """Store the score of a finished round; ``None`` if every repetition failed."""
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
                "UPDATE runs SET state = 'running', attempts = attempts + 1, last_session = ?"
                " WHERE run_id = ?",
                [(session, run.run_id) for run in runs],
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
        """Store the energy of an open entry so far, in case its process is killed."""
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
        *,
        part: bool = False,
    ) -> None:
        """Close an entry and its runs in one transaction.

        Args:
            entry: number from `begin`.
            state: ``"finished"``, ``"failed"`` or ``"interrupted"``.
            measurement: of the whole entry.
            total: sum over the domains that count.
            error: what went wrong.
            rows: for each run of the entry its ``run_id`` and the columns to set.
            part: the entry is a part of its run, which goes on: it does not count as an attempt.
        """
        with self._transaction(durable=True) as connection:
            self._set_energy(connection, entry, measurement, total)
            connection.execute(
                "UPDATE ledger SET state = ?, error = ? WHERE entry = ?", (state, error, entry)
            )
            if part and state != "interrupted":
                connection.execute("UPDATE ledger SET runs = '[]' WHERE entry = ?", (entry,))
            for row in rows:
                columns = [column for column in row if column != "run_id"]
                assignments = ", ".join(f"{column} = :{column}" for column in columns)
                connection.execute(f"UPDATE runs SET {assignments} WHERE run_id = :run_id", row)

    def interrupted(self, kind: str, run_id: str) -> list[dict[str, Any]]:
        """The interrupted entries of a run: number, beginning, duration and energy.

        Args:
            kind: of the entries.
            run_id: of the run.
        """
        energy = ("energy_gross_j", "energy_error_j", "energy_status")
        names = ("entry", "started_at", "duration_s", *energy)
        rows = self._query(
            f"SELECT {', '.join(names)}, runs FROM ledger WHERE state = 'interrupted' AND kind = ?",
            (kind,),
        )
        mine = [row[:-1] for row in rows if run_id in json.loads(row[-1])]
        return [dict(zip(names, row, strict=True)) for row in mine]

    def session(self) -> int:
        """The number of the next session; each process that works on the study is a session."""
        ((last,),) = self._query("SELECT coalesce(max(session), 0) FROM ledger")
        return int(last) + 1

    def write_trace(self, entry: int, columns: Mapping[str, Any], about: TraceAbout) -> None:
        """Store the power trace of an attempt as ``traces/<entry>.csv.gz``."""
        path = self.folder / TRACES / f"{entry}{SUFFIX}"
        with explained(self.folder):
            path.parent.mkdir(exist_ok=True)
        try:
            write_trace(path, columns, about)
        except TraceError as error:
            raise StoreWriteError(error.message, "free disk space and run it again") from error

    def write_table(self, folder: str, entry: int, run_id: str, columns: Mapping[str, Any]) -> None:
        """Store a table of a run as ``<folder>/<entry>.csv.gz``.

        Args:
            folder: `REQUESTS` or `CURVES`.
            entry: of the attempt.
            run_id: of the run.
            columns: one value per row each.
        """
        path = self.folder / folder / f"{entry}{SUFFIX}"
        with explained(self.folder):
            path.parent.mkdir(exist_ok=True)
            write_run_table(path, run_id, columns)

    def write_file(self, folder: str, entry: int, content: bytes) -> None:
        """Store a trace or a table that was written elsewhere.

        Args:
            folder: `TRACES`, `REQUESTS` or `CURVES`.
            entry: of the attempt.
            content: of the file.
        """
        with explained(self.folder):
            (self.folder / folder).mkdir(exist_ok=True)
            write_whole(self.folder / folder / f"{entry}{SUFFIX}", content)

    # Manifest

    def manifest(self) -> dict[str, Any]:
        """The conditions so far."""
        return read_manifest(self.folder)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest in one step."""
        with explained(self.folder):
            text = json.dumps(manifest, indent=2, sort_keys=True)
            write_whole(self.folder / "manifest.json", f"{text}\n")

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

    def give_up(self, entry: int, error: str) -> None:
        """Close an entry whose process has ended; its energy is what was last heard of, if any.

        Args:
            entry: number from `begin`.
            error: why.
        """
        with self._transaction() as connection:
            connection.execute(
                "UPDATE ledger SET state = 'interrupted', error = ? || '; ' ||"
                f" {HEARD_OF} WHERE entry = ?",
                (error, entry),
            )
            connection.execute(
                "UPDATE runs SET state = 'planned' WHERE state = 'running' AND run_id IN"
                " (SELECT value FROM ledger, json_each(ledger.runs) WHERE entry = ?)",
                (entry,),
            )

    def known_of(self, runs: Sequence[PlannedRun]) -> dict[str, list[dict[str, Any]]]:
        """What a worker has to know to go on with a group, as rows by table.

        These are its runs that have ended, the rounds of its configuration so far, and the
        interrupted attempts.

        Args:
            runs: of the group.
        """
        first, rounds = runs[0], sorted({run.round for run in runs})
        planned = ", ".join(field.name for field in fields(PlannedRun))
        marks = ", ".join("?" * len(rounds))
        wanted = {
            "runs": (
                f"{planned}, state, attempts, engine, accuracy",
                f"state IN ('finished', 'failed') AND round IN ({marks})",
                rounds,
            ),
            "rounds": ("*", "TRUE", []),
            "ledger": ("*", "state = 'interrupted'", []),
        }
        found = {}
        for table, (columns, kept, values) in wanted.items():
            cursor = self._connection.execute(
                f"SELECT {columns} FROM {table}"
                f" WHERE experiment = ? AND configuration = ? AND {kept}",
                (first.experiment, first.configuration, *values),
            )
            names = [one[0] for one in cursor.description]
            found[table] = [dict(zip(names, row, strict=True)) for row in cursor]
        return found

    def _note_interruptions(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE ledger SET state = 'interrupted', error = 'the process ended; ' ||"
                f" {HEARD_OF} WHERE state = 'running'"
            )
            connection.execute("UPDATE runs SET state = 'planned' WHERE state = 'running'")

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


def _soon(lock: FileLock) -> bool:
    """Whether a lock is free a moment later, and taken."""
    time.sleep(TRY_S)
    return lock.try_to_take()


def _check_no_links(folder: Path) -> None:
    """Check that writes stay in the folder and do not follow links."""
    written = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", TRACES, "code", REQUESTS, CURVES)
    if links := [name for name in written if (folder / name).is_symlink()]:
        raise StoreWriteError(
            f"{folder / links[0]} is a link: writing would change its target",
            "if the study is yours, replace the link with its target",
        )


def _check_empty(folder: Path) -> None:
    if others := sorted(p.name for p in folder.iterdir() if p.name not in {".lock", "study.toml"}):
        raise StoreMismatchError(
            f"{folder} holds other files ({', '.join(others[:3])} ...) but no study",
            "choose an empty or a new folder with --out",
        )


def _check_same(folder: Path, study: str) -> None:
    stored = _comparable(read_study(folder))
    wanted = _comparable(tomllib.loads(study))
    if stored != wanted:
        raise StoreMismatchError(
            f"{folder} holds a different study: {_difference(stored, wanted)}",
            "run it with the same settings, or choose another folder with --out",
        )


def _comparable(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study without the paths of its plug-ins, whose content is compared apart, and engine."""
    study = {key: value for key, value in study.items() if key != "execution"}
    plugins = study.get("plugins")
    count = {"plugins": formats.count(len(plugins), "file")} if isinstance(plugins, list) else {}
    return {**KEYS_SINCE_VERSION_1, **study, **count}


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    for key in [*stored, *(key for key in wanted if key not in stored)]:
        old, new = stored.get(key, "nothing"), wanted.get(key, "nothing")
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                return _difference(old, new, f"{prefix}{key}.")
        elif old != new:
            return f"{prefix}{key} is {quoted(old)} there and {quoted(new)} here"
    return ""
