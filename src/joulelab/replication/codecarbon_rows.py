"""CodeCarbon's ``emissions.csv``: energy per training, from readings that go on counting.

CodeCarbon writes a row whenever a tracker is stopped or flushed. All rows of one tracker have the
same ``run_id``, and each holds what the tracker has counted **since it was started**, not since the
row before. So with rows i = 1, 2, ... of a run_id in order of time::

    timestamp     t_1        t_2        t_3
    duration      d_1   <    d_2   <    d_3         d_i - d_(i-1) = t_i - t_(i-1)
    energy        e_1   <=   e_2   <=   e_3         training i took e_i - e_(i-1)

Whoever averages the e_i books the first training again in every later row: that is the trap. A
run_id whose rows each have a tracker's time of their own (d_i <= t_i - t_(i-1)) is not cumulative
and is taken as it stands; one that is neither is refused. Which of them it is, is found from
durations and timestamps, row by row, and not assumed.

Columns by version: ``run_id`` was ``experiment_id`` in version 1; the parts ``cpu_energy``,
``gpu_energy`` and ``ram_energy`` came with version 2. Units there are seconds, kg and kWh; here
seconds, grams and joules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab import formats
from joulelab.analysis.impossible import impossible
from joulelab.errors import DatasetError
from joulelab.replication.csv_table import CsvTable, read_csv_table

Values = npt.NDArray[np.float64]

J_PER_KWH = 3.6e6
G_PER_KG = 1e3
NEEDED = ("timestamp", "duration", "emissions", "energy_consumed")
RUN_IDS = ("run_id", "experiment_id")
COUNTED = {
    "duration": ("duration_s", 1.0),
    "emissions": ("emissions_g", G_PER_KG),
    "energy_consumed": ("energy_j", J_PER_KWH),
    "cpu_energy": ("cpu_energy_j", J_PER_KWH),
    "gpu_energy": ("gpu_energy_j", J_PER_KWH),
    "ram_energy": ("ram_energy_j", J_PER_KWH),
}
"""CodeCarbon's columns that count up, and what they are called and multiplied by here."""
TOTALS = ("energy_j", "emissions_g")
AS_THEY_STAND = "cumulative_"
TIMESTAMP_SLACK_S = 2.0
"""Timestamps are whole seconds, and a row is written a moment after its reading."""


@dataclass(frozen=True)
class Trap:
    """What a naive reading of a file would make of it.

    Attributes:
        rows: of the file.
        trackers: run_ids.
        shared: for each run_id with several cumulative rows, how many it has.
        energy_j: what the trainings took together.
        naive_energy_j: what the rows as they stand add up to.
    """

    rows: int
    trackers: int
    shared: dict[str, int]
    energy_j: float
    naive_energy_j: float

    @property
    def overstated(self) -> float:
        """How many times the real energy the naive one is; 1 where nothing is cumulative."""
        return self.naive_energy_j / self.energy_j if self.shared and self.energy_j else 1.0

    def __str__(self) -> str:
        if not self.shared:
            return f"{formats.count(self.rows, 'row')}, none of them cumulative"
        of_them = formats.listing([f"{run} ({rows} rows)" for run, rows in self.shared.items()])
        return (
            f"{formats.count(self.rows, 'row')} under {formats.count(self.trackers, 'run_id')}: "
            f"readings go on counting within {of_them}; differences are taken. As they stand the "
            f"rows add up to {formats.joules(self.naive_energy_j)}, "
            f"{self.overstated:.2f} times the {formats.joules(self.energy_j)} that were used"
        )


@dataclass(frozen=True)
class CodeCarbonRows:
    """A file of CodeCarbon, training by training.

    Attributes:
        path: of the file.
        trainings: a row a row of the file, in order of time: ``line``, ``timestamp``, ``run_id``,
            ``place`` (within the run_id, from 1), the columns of `COUNTED` that the file has, as
            differences, and the same as they stand with ``cumulative_`` before them; ``region``
            where there is one (text). What is missing is NaN.
        impossible: differences of energy at or below zero: ``run`` (line and run_id), ``column``,
            ``value``.
        trap: what a naive reading would have made of it.
    """

    path: Path
    trainings: pd.DataFrame
    impossible: pd.DataFrame
    trap: Trap


def read_emissions(path: Path) -> CodeCarbonRows:
    """Read an ``emissions.csv`` and take the differences within each run_id.

    Args:
        path: of the file.

    Raises:
        DatasetError: the file cannot be read, a column is absent, a cell is not what it should be,
            or the rows of a run_id are neither cumulative nor trainings by themselves.
    """
    table = read_csv_table(path)
    rows = _rows(table)
    counted = [name for name, _ in COUNTED.values() if name in rows]
    rows = rows.rename(columns={name: AS_THEY_STAND + name for name in counted})
    cumulative = pd.Series(False, index=rows.index)
    for run_id, group in rows.groupby("run_id", sort=False):
        cumulative[group.index] = _is_cumulative(path, str(run_id), group)
    before = rows.groupby("run_id", sort=False)
    for name in counted:
        standing = rows[AS_THEY_STAND + name]
        earlier = before[AS_THEY_STAND + name].shift().where(cumulative, 0.0)
        rows[name] = standing - earlier.where(before.cumcount() > 0, 0.0)
    rows["place"] = before.cumcount() + 1
    energies = [name for name in counted if name != "duration_s"]
    label = [f"line {line} ({run})" for line, run in zip(rows["line"], rows["run_id"], strict=True)]
    # A processor without readings has 0 in all rows; only totals must be above 0.
    wrong = impossible(rows.assign(label=label), energies, "label")
    wrong = wrong[(wrong["value"] < 0) | wrong["column"].isin(TOTALS)].reset_index(drop=True)
    return CodeCarbonRows(path, rows, wrong, _trap(rows, cumulative))


def _rows(table: CsvTable) -> pd.DataFrame:
    """The rows in order of time, as they stand, in this program's units."""
    run_id = next((name for name in RUN_IDS if name in table.columns), RUN_IDS[0])
    table.require([*NEEDED[:1], run_id, *NEEDED[1:]])
    stamps = table.values("timestamp", _moment, "a moment such as 2022-05-22T22:33:20")
    data: dict[str, Sequence[object]] = {
        "line": table.lines,
        "timestamp": [_required(table, row, "timestamp", one) for row, one in enumerate(stamps)],
        "run_id": [
            _required(table, row, run_id, cell or None)
            for row, cell in enumerate(table.columns[run_id])
        ],
    }
    for column, (name, factor) in COUNTED.items():
        if column in table.columns:
            values = table.numbers(column)
            if column in NEEDED:
                for row, one in enumerate(values):
                    _required(table, row, column, one)
            data[name] = [np.nan if one is None else factor * one for one in values]
    if "region" in table.columns:
        data["region"] = table.columns["region"]
    return pd.DataFrame(data).sort_values("timestamp", kind="stable", ignore_index=True)


def _required(table: CsvTable, row: int, column: str, value: object) -> object:
    if value is None:
        raise table.error(row, column, "there is no value")
    return value


def _moment(cell: str) -> pd.Timestamp | None:
    try:
        moment = pd.Timestamp(cell)
    except ValueError:
        return None
    return None if pd.isna(moment) else moment.tz_localize(None)


def _is_cumulative(path: Path, run_id: str, group: pd.DataFrame) -> bool:
    """Whether the rows of a run_id go on counting; see the head of this module."""
    if len(group) == 1:
        return False
    duration = group[AS_THEY_STAND + "duration_s"].to_numpy(float)
    apart = np.diff(group["timestamp"].to_numpy()) / np.timedelta64(1, "s")
    later, grown = duration[1:], np.diff(duration)
    rises = bool((grown >= 0).all())
    alone = bool((later <= apart + TIMESTAMP_SLACK_S).all())
    if rises and not (alone and _misses(later, apart) < _misses(grown, apart)):
        return True
    if alone:
        return False
    where = int(np.argmax(grown < 0)) + 1
    raise DatasetError(
        f"{path}, line {group['line'].iloc[where]}: the duration falls within run_id {run_id}, and "
        "is longer than the time since the row before",
        "rows of different trackers have been mixed: give each tracker's rows a run_id of their "
        "own, or leave them out",
    )


def _misses(seconds: Values, apart: Values) -> float:
    """By how much durations miss the times between rows, in all."""
    return float(np.abs(seconds - apart).sum())


def _trap(rows: pd.DataFrame, cumulative: pd.Series[bool]) -> Trap:
    shared = rows[cumulative].groupby("run_id", sort=False).size()
    return Trap(
        rows=len(rows),
        trackers=int(rows["run_id"].nunique()),
        shared={str(run): int(count) for run, count in shared.items()},
        energy_j=float(rows["energy_j"].sum()),
        naive_energy_j=float(rows[AS_THEY_STAND + "energy_j"].sum()),
    )
