"""Follow a results folder: everything once, then only what has changed.

Rows of the ledger are numbered, and a run changes only with an entry of the ledger. So a change of
a study with 25,000 runs is a few rows: entries that are new or were open, and their runs.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulelab.errors import StoreError
from joulelab.study.database import DATABASE, version
from joulelab.study.schema import COLUMNS, columns_before
from joulelab.study.store_reading import TICK_NS, last_written, read_rows, reader

Row = Mapping[str, Any]
RUN_COLUMNS = (
    "run_id",
    "experiment",
    "configuration",
    "round",
    "state",
    "accuracy",
    "energy_gross_j",
    "energy_net_j",
    "energy_status",
    "duration_s",
    "started_at",
    "error",
)
RECENT = 300
"""Entries of the ledger that are read at first; those before are added up by the database."""
MOST_FAILED = 50
AT_ONCE = 500
_SUMS = (
    "SELECT kind, state, energy_status, coalesce({too_short}, 0), count(*), sum(runs != '[]'),"
    " count(energy_gross_j), total(energy_gross_j),"
    " CASE WHEN count(energy_error_j) = count(energy_gross_j) THEN total(energy_error_j) END,"
    " total(duration_s) FROM ledger WHERE entry <= ? AND state != 'running' GROUP BY 1, 2, 3, 4"
)
_LAST = "SELECT (SELECT max(rowid) FROM runs), (SELECT max(entry) FROM ledger)"


@dataclass(frozen=True)
class Booked:
    """Closed entries of the ledger of one kind, state and status, added up.

    Attributes:
        kind: of work.
        state: ``finished``, ``failed`` or ``interrupted``.
        status: of their energy.
        too_short: sensors have read them, and they are estimated only because they were too short.
        entries: their number.
        attempts: number of those that are about runs, and have not ended as a part of one.
        known: number of entries with an energy.
        joules: gross, of these.
        error_j: sum of their bounds; None where one is unknown.
        seconds: of all.
    """

    kind: str
    state: str
    status: str
    too_short: bool
    entries: int
    attempts: int
    known: int
    joules: float
    error_j: float | None
    seconds: float

    @classmethod
    def of(cls, entry: Row) -> Booked:
        """A single entry."""
        joules = entry["energy_gross_j"]
        return cls(
            entry["kind"],
            entry["state"],
            entry["energy_status"],
            bool(entry["too_short"]),
            1,
            int(bool(entry["runs"])),
            int(joules is not None),
            joules or 0.0,
            0.0 if joules is None else entry["energy_error_j"],
            entry["duration_s"] or 0.0,
        )


@dataclass
class Changes:
    """What has changed in a folder.

    Attributes:
        afresh: everything is here; what was known before is void.
        runs: rows of `RUN_COLUMNS`, and ``metrics`` if asked for, in the order of the plan.
        entries: rows of the ledger, in their order.
        booked: sums of the closed entries before these; only with `afresh`.
        failed: the last failed entries before these; only with `afresh`.
        damage: what cannot be read, in sentences.
    """

    afresh: bool
    runs: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    booked: list[Booked] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


class Follower:
    """Reads what has changed since the last time.

    Args:
        folder: with results.

    Attributes:
        values: whether runs are read with their values, which takes longer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = False
        self._seen: tuple[Any, ...] = ()
        self._settled = False
        self._file: tuple[int, ...] | None = None
        self._last_run = self._last_entry = 0
        self._open: set[int] = set()
        self._running: set[str] = set()

    def read(self) -> Changes | None:
        """What has changed; ``None`` if nothing has.

        Raises:
            StoreError: there is no study, or it cannot be read.
        """
        seen, file = self._written()
        if seen == self._seen and self._settled:
            return None
        with reader(self.folder) as connection:
            last_run, last_entry = (one or 0 for one in connection.execute(_LAST).fetchone())
        afresh = (
            file != self._file or min(last_run - self._last_run, last_entry - self._last_entry) < 0
        )
        found = self._everything(last_entry) if afresh else self._news()
        self._running = {row["run_id"] for row in found.runs if row["state"] == "running"}
        # Some may have been added since the last was looked up.
        numbers = (entry["entry"] for entry in found.entries)
        self._last_run, self._last_entry = last_run, max(last_entry, *numbers, 0)
        self._file = file
        # A file that is written twice within a clock tick has the same time.
        self._settled = all(time.time_ns() - changed > TICK_NS for _, changed in seen)
        self._seen = seen
        return found

    def begin_again(self) -> None:
        """Read everything the next time."""
        self._seen, self._file = (), None

    def _written(self) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
        """When the database was written, and which one it is; a new one may get the old number."""
        try:
            first = (self.folder / "study.toml").stat()
            number = (self.folder / DATABASE).stat().st_ino
            return last_written(self.folder), (number, first.st_ino, first.st_mtime_ns)
        except OSError:
            raise StoreError(
                f"{self.folder} does not hold a study", "it may have been moved or deleted"
            ) from None

    def _everything(self, last_entry: int) -> Changes:
        found = Changes(afresh=True)
        base = last_entry - RECENT
        with reader(self.folder) as connection:
            absent = columns_before(version(connection), "ledger")
            sums = _SUMS.format(too_short=absent.get("too_short", "too_short"))
            found.booked = [Booked(*row) for row in connection.execute(sums, (base,))]
        recent = ("entry > ? OR state = 'running'", [base])
        found.entries = self._rows("ledger", *recent, found)
        found.failed = self._rows(
            "ledger",
            "entry IN (SELECT entry FROM ledger WHERE entry <= ? AND state = 'failed'"
            " ORDER BY entry DESC LIMIT ?)",
            [base, MOST_FAILED],
            found,
        )
        self._note_open(found.entries)
        found.runs = self._rows("runs", "TRUE", [], found)
        return found

    def _news(self) -> Changes:
        found = Changes(afresh=False)
        marks = ", ".join("?" * len(self._open))
        found.entries = self._rows(
            "ledger",
            f"entry > ? OR entry IN ({marks})",
            [self._last_entry, *sorted(self._open)],
            found,
        )
        self._note_open(found.entries)
        found.runs = self._rows("runs", "rowid > ?", [self._last_run], found)
        known = {row["run_id"] for row in found.runs}
        found.runs += self._changed_runs(found, known)
        return found

    def _changed_runs(self, found: Changes, known: set[str]) -> list[Row]:
        """The runs of changed entries, and those that were running."""
        named = {run for entry in found.entries for run in entry["runs"]} | self._running
        rows: list[Row] = []
        for some in _batches(sorted(named - known)):
            rows += self._rows("runs", f"run_id IN ({', '.join('?' * len(some))})", some, found)
        # A part of a run has the place of its run, and no longer its name.
        places = {
            (entry["experiment"], entry["configuration"], entry["round"])
            for entry in found.entries
            if not entry["runs"] and entry["configuration"] is not None
        }
        for place in sorted(places):
            where = "experiment = ? AND configuration = ? AND round = ?"
            rows += [
                row
                for row in self._rows("runs", where, list(place), found)
                if row["run_id"] not in known | named
            ]
        return rows

    def _note_open(self, entries: Iterable[Row]) -> None:
        self._open = {entry["entry"] for entry in entries if entry["state"] == "running"}

    def _rows(self, table: str, where: str, values: Sequence[Any], found: Changes) -> list[Row]:
        columns = tuple(COLUMNS["ledger"])
        if table == "runs":
            columns = (*RUN_COLUMNS, "metrics") if self.values else RUN_COLUMNS
        chunks = read_rows(
            self.folder,
            table,
            lambda damage: found.damage.append(damage.message),
            where,
            values,
            columns,
        )
        return list(itertools.chain.from_iterable(chunks))


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for garbage meanwhile: what is read stays, and each look takes longer."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _batches(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[at : at + AT_ONCE] for at in range(0, len(values), AT_ONCE))
