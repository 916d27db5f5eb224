"""The ledger in the database of a results folder: one entry for each attempt and all other work."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.study.database import Database
from joulelab.study.planned_run import PlannedRun

HEARD_OF = (
    "CASE WHEN duration_s IS NULL THEN 'no heartbeat had come: its energy is unknown'"
    " ELSE 'energy up to the last heartbeat' END"
)
"""How much of the energy of an entry is booked whose process has ended, in SQL."""
KEPT = 64
"""Windows beside runs of which it is known that they are booked."""


@dataclass(frozen=True)
class Ending:
    """How an attempt has ended.

    Attributes:
        state: ``"finished"``, ``"failed"`` or ``"interrupted"``.
        measurement: of the whole entry.
        total: sum over the domains that count.
        error: what went wrong.
        rows: for each run of the entry its ``run_id`` and the columns to set.
        part: the entry is a part of its run, which goes on: it does not count as an attempt.
    """

    state: str
    measurement: Measurement
    total: Total
    error: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    part: bool = False


class StoredLedger(Database):
    """The table of the ledger, and with it the state of the runs that its entries are about."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        super().__init__(folder, connection)
        self._beside: dict[float | None, int] = {}
        self._booked: deque[float | None] = deque(maxlen=KEPT)

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
        self._enter_beside(session, kind, measurement, total, state)

    def so_far(self, session: int, kind: str, measurement: Measurement, total: Total) -> None:
        """Enter what work beside runs has taken so far, in case its process is killed.

        Args:
            session: that works.
            kind: of the work; `book`, with which the whole is entered in the end, may change it.
            measurement: of the part.
            total: sum over the domains that count.
        """
        with self._thread_lock:
            if measurement.started_at not in self._booked:  # since it was measured
                self._enter_beside(session, kind, measurement, total, "running")

    def _enter_beside(
        self, session: int, kind: str, measurement: Measurement, total: Total, state: str
    ) -> None:
        begun_at = measurement.started_at
        with self._thread_lock:
            entry = self._beside.get(begun_at)
            with self._transaction() as connection:
                if entry is None:
                    entry = connection.execute(
                        "INSERT INTO ledger (session, kind, state, started_at) VALUES (?, ?, ?, ?)",
                        (session, kind, state, begun_at),
                    ).lastrowid
                else:
                    connection.execute(
                        "UPDATE ledger SET kind = ?, state = ? WHERE entry = ?",
                        (kind, state, entry),
                    )
                self._set_energy(connection, entry, measurement, total)
            if state == "running":
                self._beside[begun_at] = int(entry or 0)
            else:
                self._beside.pop(begun_at, None)
                self._booked.append(begun_at)

    def progress(self, entry: int, measurement: Measurement, total: Total) -> None:
        """Store the energy of an open entry so far, in case its process is killed."""
        with self._transaction() as connection:
            self._set_energy(connection, entry, measurement, total)

    def end(self, entry: int, ending: Ending) -> None:
        """Close an entry and its runs in one transaction.

        Args:
            entry: number from `begin`.
            ending: of the attempt.
        """
        with self._transaction(durable=True) as connection:
            self._set_energy(connection, entry, ending.measurement, ending.total)
            connection.execute(
                "UPDATE ledger SET state = ?, error = ? WHERE entry = ?",
                (ending.state, ending.error, entry),
            )
            if ending.part and ending.state != "interrupted":
                connection.execute("UPDATE ledger SET runs = '[]' WHERE entry = ?", (entry,))
            for row in ending.rows:
                columns = [column for column in row if column != "run_id"]
                assignments = ", ".join(f"{column} = :{column}" for column in columns)
                connection.execute(f"UPDATE runs SET {assignments} WHERE run_id = :run_id", row)

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

    def interrupted(self, kind: str, run_id: str) -> list[dict[str, Any]]:
        """The interrupted entries of a run: number, beginning, duration and energy.

        Args:
            kind: of the entries.
            run_id: of the run.
        """
        energy = ("energy_gross_j", "energy_error_j", "energy_status", "too_short")
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

    def _forget(self) -> None:
        """Drop what another study has booked that came to no plan, when a folder is taken over."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM ledger")

    def _note_interruptions(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE ledger SET state = 'interrupted', error = 'the process ended; ' ||"
                f" {HEARD_OF} WHERE state = 'running'"
            )
            connection.execute("UPDATE runs SET state = 'planned' WHERE state = 'running'")

    @staticmethod
    def _set_energy(
        connection: sqlite3.Connection, entry: int | None, measurement: Measurement, total: Total
    ) -> None:
        connection.execute(
            "UPDATE ledger SET duration_s = ?, energy_gross_j = ?, energy_error_j = ?,"
            " energy_status = ?, too_short = ?, measurement = ? WHERE entry = ?",
            (
                measurement.duration_s,
                total.gross_j,
                total.error_j,
                str(total.status),
                total.too_short,
                json.dumps(measurement.to_dict()),
                entry,
            ),
        )
