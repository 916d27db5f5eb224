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
last reported energy; so does longer work beside runs (loading, idle time, calibration).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from joulelab.errors import StoreBusyError, StoreError
from joulelab.files import TRY_S, FileLock, write_whole
from joulelab.study.database import DATABASE, connect, explained
from joulelab.study.planned_run import PlannedRun
from joulelab.study.store_reading import check_folder
from joulelab.study.stored_files import StoredFiles
from joulelab.study.stored_ledger import StoredLedger
from joulelab.study.stored_runs import StoredRuns
from joulelab.study.study_folder import check_empty, check_no_links, check_same


class Store(StoredRuns, StoredLedger, StoredFiles):
    """The writer of a results folder. Use `open`, and `close` at the end."""

    def __init__(self, folder: Path, lock: FileLock, connection: sqlite3.Connection) -> None:
        super().__init__(folder, connection)
        self._lock = lock

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
                check_no_links(folder)
                if not (folder / DATABASE).exists():
                    check_empty(folder)
                store = cls(folder, lock, connect(folder))
                undone.callback(store.close)
                store._create_tables()
                if store._query("SELECT 1 FROM runs LIMIT 1"):
                    check_same(folder, study)
                    store._migrate()
                    check_folder(folder)
                else:
                    store._migrate()
                    path = folder / "study.toml"
                    if not path.is_file() or path.read_text("utf-8") != study:
                        store._forget()
                    write_whole(path, study)
                store._note_interruptions()
                undone.pop_all()
            return store

    def close(self) -> None:
        """Release the folder. A second call has no effect."""
        super().close()
        self._lock.give_back()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the folder; what was under way is interrupted."""
        with contextlib.suppress(StoreError):  # the disk is full: the next writer notes it
            self._note_interruptions()
        self.close()

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


def _soon(lock: FileLock) -> bool:
    """Whether a lock is free a moment later, and taken."""
    time.sleep(TRY_S)
    return lock.try_to_take()
