"""The store of a worker, which passes on what is entered; and the store that receives it.

::

    RunRecorder, Ledger, workload          as in one process
      └ RelayStore     in memory, with what is given of the configuration
          └ line  {"enter": "end", "entry": 3, ...}  ──►  Receiver ── Store

Only the runner writes the results folder. A line is JSON; the numbers of entries are the worker's,
and the receiver knows the store's.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status, Total
from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.execution.node_time import NodeTime
from joulelab.files import FileLock
from joulelab.study.planned_run import PlannedRun
from joulelab.study.run_tables import SUFFIX, write_run_table
from joulelab.study.store import Store
from joulelab.study.stored_files import TRACES
from joulelab.study.stored_ledger import KEPT, Ending

Line = dict[str, Any]
FIRST_ENTRY = 1 << 40
"""Numbers of a worker's own entries; those of the store are smaller."""


class RelayStore(Store):
    """A store in memory that passes on what is entered.

    Args:
        folder: of results, where workloads keep their files; its database is not opened.
        session: number of the worker's session.
        send: takes each line.
    """

    def __init__(self, folder: Path, session: int, send: Callable[[Line], None]) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        super().__init__(folder, FileLock(folder / ".lock"), connection)
        self._session = session
        self._send = send
        self._create_tables()
        self._number_from_here()

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()

    def give(self, runs: Sequence[PlannedRun], given: Mapping[str, Sequence[Line]]) -> None:
        """Enter what is known of a group before it is carried out.

        Args:
            runs: of the group.
            given: rows by table, of this configuration.
        """
        with self._transaction() as connection:
            for table in ("runs", "rounds", "ledger"):
                connection.execute(f"DELETE FROM {table}")
        self._number_from_here()
        self.plan(runs)
        with self._transaction() as connection:
            for table, rows in given.items():
                for row in rows:
                    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
                    connection.execute(
                        f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", row
                    )

    def _number_from_here(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO ledger (entry, session, kind, state, started_at)"
                " VALUES (?, 0, 'given', 'finished', 0)",
                (FIRST_ENTRY,),
            )

    def session(self) -> int:
        """The number that the runner has given."""
        return self._session

    def propose(
        self, experiment: str, configuration: str, round_number: int, values: Mapping[str, Any]
    ) -> None:
        """As `Store.propose`."""
        super().propose(experiment, configuration, round_number, values)
        key = [experiment, configuration, round_number]
        self._send({"enter": "propose", "key": key, "values": dict(values)})

    def score(
        self, experiment: str, configuration: str, round_number: int, score: float | None
    ) -> None:
        """As `Store.score`."""
        super().score(experiment, configuration, round_number, score)
        key = [experiment, configuration, round_number]
        self._send({"enter": "score", "key": key, "score": score})

    def begin(self, session: int, kind: str, started_at: float, runs: Sequence[PlannedRun]) -> int:
        """As `Store.begin`."""
        entry = super().begin(session, kind, started_at, runs)
        ids = [run.run_id for run in runs]
        self._send({"enter": "begin", "entry": entry, "kind": kind, "at": started_at, "runs": ids})
        return entry

    def book(
        self, session: int, kind: str, measurement: Measurement, total: Total, state: str
    ) -> None:
        """As `Store.book`."""
        self._send({"enter": "book", "kind": kind, "state": state, **_energy(measurement, total)})

    def so_far(self, session: int, kind: str, measurement: Measurement, total: Total) -> None:
        """As `Store.so_far`."""
        self._send({"enter": "so_far", "kind": kind, **_energy(measurement, total)})

    def progress(self, entry: int, measurement: Measurement, total: Total) -> None:
        """As `Store.progress`."""
        self._send({"enter": "progress", "entry": entry, **_energy(measurement, total)})

    def end(self, entry: int, ending: Ending) -> None:
        """As `Store.end`."""
        super().end(entry, ending)
        self._send(
            {
                "enter": "end",
                "entry": entry,
                "state": ending.state,
                "error": ending.error,
                "rows": [dict(row) for row in ending.rows],
                "part": ending.part,
                **_energy(ending.measurement, ending.total),
            }
        )

    def write_trace(self, entry: int, columns: Mapping[str, Any], about: TraceAbout) -> None:
        """As `Store.write_trace`."""
        self._send_file(TRACES, entry, lambda path: write_trace(path, columns, about))

    def write_table(self, folder: str, entry: int, run_id: str, columns: Mapping[str, Any]) -> None:
        """As `Store.write_table`."""
        self._send_file(folder, entry, lambda path: write_run_table(path, run_id, columns))

    def _send_file(self, folder: str, entry: int, write: Callable[[Path], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="joulelab-") as temporary:
            path = Path(temporary) / f"file{SUFFIX}"
            write(path)
            content = base64.b64encode(path.read_bytes()).decode("ascii")
        self._send({"enter": "file", "entry": entry, "folder": folder, "content": content})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Not a worker's to write."""
        raise AssertionError("only the runner writes the manifest")


class Receiver:
    """Enters the lines of one worker into the store.

    Args:
        store: of the results folder.
        session: of the worker.
        runs: of the study, by id.

    Attributes:
        time: of the node of the worker.
        begun: when each entry that is open was begun, seconds since the epoch.
    """

    def __init__(self, store: Store, session: int, runs: Mapping[str, PlannedRun]) -> None:
        self._store = store
        self._session = session
        self._runs = runs
        self.time = NodeTime()
        self.begun: dict[int, float] = {}
        self._entries: dict[int, int] = {}
        self._heard: tuple[Measurement, Total] | None = None
        self._beside: dict[float | None, Line] = {}
        self._booked: deque[float | None] = deque(maxlen=KEPT)

    def enter(self, line: Line) -> None:
        """Enter a line.

        Args:
            line: as a `RelayStore` has sent it.
        """
        getattr(self, f"_{line['enter']}")(line)

    def give_up(self, error: str) -> None:
        """Note that what was under way was interrupted, with the energy that was heard of.

        Args:
            error: why.
        """
        for entry in self._entries.values():
            self._store.give_up(entry, error)
        if self._entries and self._heard is not None:
            self.time.ran(*self._heard)
        for line in self._beside.values():
            self._enter_beside(line, "interrupted")
        self._entries.clear()
        self._beside.clear()
        self.begun.clear()

    def _propose(self, line: Line) -> None:
        experiment, configuration, number = line["key"]
        self._store.propose(experiment, configuration, number, line["values"])

    def _score(self, line: Line) -> None:
        experiment, configuration, number = line["key"]
        self._store.score(experiment, configuration, number, line["score"])

    def _begin(self, line: Line) -> None:
        runs = [self._runs[one] for one in line["runs"]]
        entry = self._store.begin(self._session, line["kind"], line["at"], runs)
        self._entries[line["entry"]] = entry
        self.begun[line["entry"]] = line["at"]

    def _so_far(self, line: Line) -> None:
        begun_at = line["measurement"]["started_at"]
        if begun_at not in self._booked:  # by a line that has overtaken this one
            self._beside[begun_at] = line

    def _book(self, line: Line) -> None:
        begun_at = line["measurement"]["started_at"]
        self._beside.pop(begun_at, None)
        self._booked.append(begun_at)
        self._enter_beside(line, line["state"])

    def _enter_beside(self, line: Line, state: str) -> None:
        def book(measurement: Measurement, total: Total) -> None:
            self._store.book(self._session, line["kind"], measurement, total, state)

        self.time.book(*measured(line), book)

    def _progress(self, line: Line) -> None:
        self._heard = measured(line)
        self._store.progress(self._entries[line["entry"]], *self._heard)

    def _end(self, line: Line) -> None:
        entry = self._entries.pop(line["entry"])
        self.begun.pop(line["entry"], None)
        energy = measured(line)
        self.time.ran(*energy)
        rest = (line["error"], line["rows"], line["part"])
        self._store.end(entry, Ending(line["state"], *energy, *rest))

    def _file(self, line: Line) -> None:
        content = base64.b64decode(line["content"])
        self._store.write_file(line["folder"], self._entries[line["entry"]], content)


def _energy(measurement: Measurement, total: Total) -> Line:
    return {"measurement": measurement.to_dict(), "total": asdict(total)}


def measured(line: Line) -> tuple[Measurement, Total]:
    """The measurement of a line, and the sum over the domains that count."""
    plain = line["total"]
    total = Total(
        **{
            **plain,
            "status": Status(plain["status"]),
            "domains": tuple(plain["domains"]),
            "sources": tuple(plain["sources"]),
        }
    )
    return Measurement.from_dict(line["measurement"]), total


def encoded(line: Mapping[str, Any]) -> str:
    """A line as JSON, with its end."""
    return json.dumps(line, separators=(",", ":")) + "\n"
