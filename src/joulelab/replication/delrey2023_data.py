"""The raw data of del Rey et al. (SEAA 2023): power traces, and the table of runs.

A trace is Parquet or CSV, one row per sample::

    run           name of a training run
    environment   machine; model: network                        optional
    t_s           seconds since the beginning of the run
    power_w       power of the GPU
    utilisation_pct                                              optional
    power_limit_w                                                optional, for TDP x time

A file counts as traces if it has the columns ``t_s`` and ``power_w``; without a column ``run`` it
is one run, named after the file. Samples without time or power are left out, and so are those that
step back in time (some of the authors' files end with one of each); the power across a gap is a
straight line.

A trace has no epochs and no power limit. Its row in the table of runs, ``runs.csv``, is the row of
the same network with the nearest duration and energy: the authors summed the samples, which gives
about 0.3 % more than the integral. A row must be within 2 % in both; with a larger tolerance,
several rows would match.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from joulelab import formats
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.analysis.rounding import Values
from joulelab.errors import DatasetError, UsageError
from joulelab.replication.published import files_in
from joulelab.tabular.reader import read_table
from joulelab.tabular.table import MISSING, Table

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
NEEDED = ("t_s", "power_w")
NUMBERS = (*NEEDED, "utilisation_pct", "power_limit_w")
WORDS = ("run", "environment", "model")
HUNDRED = 100.0
WANTED = "traces: CSV or Parquet with the columns run, environment, model, t_s and power_w"
LONG_GAPS = 5.0
"""A gap is long if it lasts this many times the usual time between samples."""

RUNS_FILE = "runs.csv"
NEAR = 0.02
RUNS_COLUMNS = {
    "training_duration_(h)": 3600.0,
    "energy_(mj)": 1e6,
    "max_power_limit_(w)": 1.0,
    "average_memory_used_(mb)": 1e-3,
    "trained_epochs": 1.0,
}
"""Numeric columns of the table of runs, in the order of `TableRow`, with conversion factors."""
ENVIRONMENTS = {
    "cloud": "cloud",
    "local-v2": "local ml engineer/gamer",
    "local-v1": "local normal user",
}
"""Names of an environment in the traces and in the table."""
LIMITS_W = {"cloud": 350.0, "local-v2": 240.0, "local-v1": 60.0}
MEMORY_GB = {"cloud": 24.0, "local-v2": 8.0, "local-v1": 2.0}
"""For the paper's GPUs (RTX 3090, RTX 3070, GTX 750 Ti), if there is no table."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run from the traces.

    Attributes:
        name: name of the run.
        environment: machine; empty if the file does not say.
        model: network; empty if the file does not say.
        trace: its power.
        times_s: times of all usable samples of utilisation, shape (samples,).
        utilisation: 0 to 1, same shape; empty if unknown.
        limit_w: power limit of the GPU; None if the file does not say.
    """

    name: str
    environment: str
    model: str
    trace: PowerTrace
    times_s: Values
    utilisation: Values
    limit_w: float | None = None

    def mean_utilisation(self, seen_s: float) -> float | None:
        """Mean utilisation of the part seen, 0 to 1; None if unknown.

        Args:
            seen_s: seconds since the first sample of power.
        """
        early = self.utilisation[self.times_s <= self.trace.time_s[0] + seen_s]
        return float(early.mean()) if len(early) else None


def read_runs_of_folder(folder: Path) -> tuple[list[TrainingRun], list[str]]:
    """Read all runs of all traces in a folder, with remarks for the reader.

    Raises:
        UsageError: the folder does not exist, or has no traces.
        DatasetError: a file cannot be read, a value is not a number, or a run occurs twice.
    """
    files = [one for one in files_in(folder, WANTED) if one.suffix.casefold() in SUFFIXES]
    runs: dict[str, TrainingRun] = {}
    remarks: list[str] = []
    for path in files:
        table = _read(path)
        if table is None:
            continue
        remarks += [f"{path.name}: {one}" for one in table.remarks]
        for run in _runs(table, remarks):
            if run.name in runs:
                raise DatasetError(
                    f"{path}: the run {run.name!r} is also in another file of the folder",
                    "keep only one of the two files in the folder",
                )
            runs[run.name] = run
    if not runs:
        raise UsageError(f"no power traces in {folder}", f"looked for {WANTED}")
    return list(runs.values()), remarks


def _read(path: Path) -> Table | None:
    """The table of a file; None if it has no samples of power."""
    table = read_table(path, DatasetError)
    there = [name for name in NEEDED if table.column(name) is not None]
    if "power_w" not in there:
        return None
    if len(there) < len(NEEDED):
        raise DatasetError(f"{path}: it has power_w but no column 't_s'", f"needed: {WANTED}")
    return table


def _runs(table: Table, remarks: list[str]) -> Iterator[TrainingRun]:
    import pandas as pd

    path, numbers = table.path, _checked_numbers(table)
    found = {name: table.column(name) for name in WORDS}
    texts = {name: table.texts(column) for name, column in found.items() if column is not None}
    words = pd.DataFrame(texts, index=numbers.index)
    names = words["run"] if "run" in words else words.index.map(lambda _: path.stem)
    for name, rows in numbers.groupby(np.asarray(names, dtype=object), sort=False):
        first = words.loc[rows.index[0]]
        try:
            trace = PowerTrace.of(rows["t_s"], rows["power_w"])
        except UsageError as error:
            remarks.append(f"{path.name}: run {name!r} is left out: {error.message}")
            continue
        remarks += [f"{path.name}, run {name}: {one}" for one in _remarks(trace, len(rows))]
        known = rows[["t_s", "utilisation_pct"]].dropna()
        limits = rows["power_limit_w"].dropna()
        yield TrainingRun(
            str(name),
            str(first.get("environment", "")),
            str(first.get("model", "")),
            trace,
            known["t_s"].to_numpy(dtype=float),
            known["utilisation_pct"].to_numpy(dtype=float).clip(0.0, HUNDRED) / HUNDRED,
            float(limits.max()) if len(limits) else None,
        )


def _checked_numbers(table: Table) -> pd.DataFrame:
    """The numeric columns; one that the file does not have is filled with NaN."""
    import pandas as pd

    columns: dict[str, Values] = {}
    for name in NUMBERS:
        column = table.column(name)
        if column is None:
            columns[name] = np.full(len(table), np.nan)
            continue
        columns[name] = table.numbers(column, missing=MISSING).values
        negative = columns[name] < 0
        if name != "t_s" and negative.any():
            at = int(np.argmax(negative))
            said = f"{table.texts(column)[at]!r} is not a number from 0"
            raise table.error(said, "fix the row, or download the file again", at, name)
    return pd.DataFrame(columns)


def _remarks(trace: PowerTrace, rows: int) -> Iterator[str]:
    dropped = rows - len(trace.time_s)
    if dropped:
        yield f"{formats.count(dropped, 'sample')} without time or power, or back in time, left out"
    between_s = np.diff(trace.time_s)
    gaps = between_s[between_s > LONG_GAPS * np.median(between_s)]
    if len(gaps):
        yield (
            f"{formats.count(len(gaps), 'gap')} of {formats.duration(float(gaps.sum()))} together, "
            "bridged by straight lines"
        )


@dataclass(frozen=True)
class TableRow:
    """A run in the table; None where a value is missing."""

    environment: str
    model: str
    duration_s: float | None
    energy_j: float | None
    limit_w: float | None
    memory_gb: float | None
    epochs: float | None


def read_table_of_runs(folder: Path) -> list[TableRow]:
    """The rows of ``runs.csv`` in a folder; none if the file does not exist.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or a cell is not valid.
    """
    path = folder / RUNS_FILE
    if not path.is_file():
        return []
    table = read_table(path, DatasetError)
    environment, model, *columns = table.require(
        "training_environment", "architecture", *RUNS_COLUMNS
    )
    names = (map(str.casefold, table.texts(name)) for name in (environment, model))
    numbers = (
        [None if math.isnan(value) else size * value for value in table.bounded(name, 0.0).tolist()]
        for name, size in zip(columns, RUNS_COLUMNS.values(), strict=True)
    )
    return [TableRow(*row) for row in zip(*names, *numbers, strict=True)]


def row_of(run: TrainingRun, rows: Sequence[TableRow]) -> TableRow | None:
    """The row of a run; None if no row is close enough in duration and energy.

    Args:
        run: the run with its trace.
        rows: rows of the table.
    """
    near = [
        (distance, position)
        for position, row in enumerate(rows)
        if row.model == run.model.casefold()
        if (distance := _distance(run, row)) is not None and distance <= NEAR
    ]
    return rows[min(near)[1]] if near else None


def limit_w(run: TrainingRun, rows: Sequence[TableRow]) -> float | None:
    """The power limit of a run's GPU: from its trace, the table, or the paper's machines.

    Args:
        run: the run with its trace.
        rows: rows of the table.
    """
    if run.limit_w is not None:
        return run.limit_w
    for row in _same_machine(run, rows):
        if row.limit_w is not None:
            return row.limit_w
    return LIMITS_W.get(run.environment.casefold())


def memory_gb(run: TrainingRun, rows: Sequence[TableRow]) -> float | None:
    """Mean GPU memory of runs of this network on this machine.

    Args:
        run: the run with its trace.
        rows: rows of the table; without one, the full memory of the paper's GPU is used.
    """
    known = [
        row.memory_gb
        for row in _same_machine(run, rows)
        if row.memory_gb is not None and row.model == run.model.casefold()
    ]
    return sum(known) / len(known) if known else MEMORY_GB.get(run.environment.casefold())


def _same_machine(run: TrainingRun, rows: Sequence[TableRow]) -> list[TableRow]:
    environment = run.environment.casefold()
    names = {environment, ENVIRONMENTS.get(environment)}
    return [row for row in rows if row.environment in names]


def _distance(run: TrainingRun, row: TableRow) -> float | None:
    """The larger relative difference between a row and a run, of duration and energy."""
    if row.duration_s is None or row.energy_j is None:
        return None
    duration = abs(row.duration_s / run.trace.duration_s - 1.0)
    return max(duration, abs(row.energy_j / run.trace.energy_j - 1.0))
