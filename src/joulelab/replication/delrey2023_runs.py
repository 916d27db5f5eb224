"""The table of runs of del Rey et al., ``runs.csv``, and what it says about a trace.

A trace has no epochs and no power limit. Its row in the table is that of the same network whose
duration and energy are nearest to its own: the authors summed the same samples, which gives some
0.3 % more than the integral. A row counts only within 2 % in both; it is not unique otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulelab.errors import DatasetError
from joulelab.replication.delrey2023_traces import TrainingRun
from joulelab.tabular.reader import read_table
from joulelab.tabular.table import Table

FILE = "runs.csv"
NEAR = 0.02
SECONDS_PER_HOUR = 3600.0
JOULES_PER_MJ = 1e6
MB_PER_GB = 1e3
COLUMNS = (
    "training_environment",
    "architecture",
    "training_duration_(h)",
    "max_power_limit_(w)",
    "average_memory_used_(mb)",
    "energy_(mj)",
    "trained_epochs",
)
ENVIRONMENTS = {
    "cloud": "cloud",
    "local-v2": "local ml engineer/gamer",
    "local-v1": "local normal user",
}
"""What the traces call an environment, and what the table does."""
LIMITS_W = {"cloud": 350.0, "local-v2": 240.0, "local-v1": 60.0}
MEMORY_GB = {"cloud": 24.0, "local-v2": 8.0, "local-v1": 2.0}
"""Of the paper's GPUs (RTX 3090, RTX 3070, GTX 750 Ti), where there is no table."""


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
    """The rows of ``runs.csv`` in a folder; none where it is not there.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or a cell is not what it should be.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    table = read_table(path, DatasetError)
    environment, model, duration_h, limit, memory_mb, energy_mj, epochs = table.require(*COLUMNS)
    columns = zip(
        [cell.casefold() for cell in table.texts(environment)],
        [cell.casefold() for cell in table.texts(model)],
        _numbers(table, duration_h, SECONDS_PER_HOUR),
        _numbers(table, energy_mj, JOULES_PER_MJ),
        _numbers(table, limit),
        _numbers(table, memory_mb, 1.0 / MB_PER_GB),
        _numbers(table, epochs),
        strict=True,
    )
    return [TableRow(*row) for row in columns]


def row_of(run: TrainingRun, rows: Sequence[TableRow]) -> TableRow | None:
    """The row of a run; None where no row is near enough in duration and energy.

    Args:
        run: with its trace.
        rows: of the table.
    """
    near = [
        (distance, position)
        for position, row in enumerate(rows)
        if row.model == run.model.casefold()
        if (distance := _distance(run, row)) is not None and distance <= NEAR
    ]
    return rows[min(near)[1]] if near else None


def limit_w(run: TrainingRun, rows: Sequence[TableRow]) -> float | None:
    """The power limit of a run's GPU: of its trace, of the table, or of the paper's machines.

    Args:
        run: with its trace.
        rows: of the table.
    """
    if run.limit_w is not None:
        return run.limit_w
    for row in _same_machine(run, rows):
        if row.limit_w is not None:
            return row.limit_w
    return LIMITS_W.get(run.environment.casefold())


def memory_gb(run: TrainingRun, rows: Sequence[TableRow]) -> float | None:
    """The GPU memory that runs of this network take on this machine, on average.

    Args:
        run: with its trace.
        rows: of the table; without one, all memory of the paper's GPU.
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
    """How far duration and energy of a row are from those of a run, as the larger share."""
    if row.duration_s is None or row.energy_j is None:
        return None
    duration = abs(row.duration_s / run.trace.duration_s - 1.0)
    return max(duration, abs(row.energy_j / run.trace.energy_j - 1.0))


def _numbers(table: Table, name: str, size: float = 1.0) -> list[float | None]:
    values = table.bounded(name, 0.0).tolist()
    return [None if math.isnan(value) else size * value for value in values]
