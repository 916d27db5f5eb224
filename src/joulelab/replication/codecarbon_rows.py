"""CodeCarbon's ``emissions.csv``: energy per training or task, from cumulative readings.

CodeCarbon writes a row whenever a tracker is stopped or flushed. All rows of one tracker have the
same ``run_id``, and each has the totals of the tracker **since its start**, not since the previous
row. So with rows i = 1, 2, ... of a run_id in the order of the file::

    timestamp     t_1        t_2        t_3
    duration      d_1   <    d_2   <    d_3         d_i - d_(i-1) = t_i - t_(i-1)
    energy        e_1   <=   e_2   <=   e_3         training i took e_i - e_(i-1)

Averaging the e_i counts the first training again in every later row: that is the trap. Restarted
tasks and trackers reset time but not energy, and the rows of a task file (``task_name``) are not
cumulative: `joulelab.replication.codecarbon_rules` decides row by row. Rows stay in the order of
the file, because local time goes back when summer time ends.

Columns by version: ``run_id`` was ``experiment_id`` in version 1; the parts ``cpu_energy``,
``gpu_energy`` and ``ram_energy``, and their powers, came with version 2. Units there are seconds,
kg, W and kWh; here seconds, grams and joules.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab import formats
from joulelab.analysis.negative_energy import negative_energy
from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rules import Reading, Rule, UndecidedError, rules
from joulelab.tabular.moments import read_moments
from joulelab.tabular.reader import decode, parse_table, read_bytes
from joulelab.tabular.table import MISSING, Table, folded

Values = npt.NDArray[np.float64]

J_PER_KWH = 3.6e6
G_PER_KG = 1e3
NEEDED = ("timestamp", "duration", "emissions", "energy_consumed")
RUN_IDS = ("run_id", "experiment_id")
TASK = "task_name"
OF_RUNS = ("experiment_id", "region", "longitude", "latitude", "pue")
"""Columns of a file of runs that a file of tasks lacks."""
POWERS = ("cpu_power", "gpu_power", "ram_power")
COUNTED = {
    "duration": ("duration_s", 1.0),
    "emissions": ("emissions_g", G_PER_KG),
    "energy_consumed": ("energy_j", J_PER_KWH),
    "cpu_energy": ("cpu_energy_j", J_PER_KWH),
    "gpu_energy": ("gpu_energy_j", J_PER_KWH),
    "ram_energy": ("ram_energy_j", J_PER_KWH),
}
"""CodeCarbon's cumulative columns, with their names and factors here."""
TOTALS = ("energy_j", "emissions_g")
AS_THEY_STAND = "cumulative_"
SINCE_BEFORE = (Rule.GOES_ON, Rule.TIME_ANEW)
"""Rules by which a row's energy is the difference from the previous row."""
MOST_OFF_S = 60.0
"""Difference of clock and tracker that is not remarked."""


@dataclass(frozen=True)
class Trap:
    """The result of a naive reading of a file.

    Attributes:
        rows: of the file.
        trackers: run_ids.
        shared: for each run_id with several cumulative rows, how many it has.
        energy_j: total of the trainings, without impossible ones.
        naive_energy_j: sum of the unchanged rows.
        left_out: number of trainings with an impossible energy.
    """

    rows: int
    trackers: int
    shared: dict[str, int]
    energy_j: float
    naive_energy_j: float
    left_out: int = 0

    @property
    def overstated(self) -> float:
        """Ratio of naive to real energy; 1 if nothing is cumulative."""
        return self.naive_energy_j / self.energy_j if self.shared and self.energy_j else 1.0

    def __str__(self) -> str:
        without = f", {self.left_out} of them with an impossible energy left out"
        rows = formats.count(self.rows, "row") + without * bool(self.left_out)
        if not self.shared:
            return f"{rows}, none of them cumulative: {formats.joules(self.energy_j)} in all"
        of_them = formats.listing([f"{run} ({rows} rows)" for run, rows in self.shared.items()])
        return (
            f"{rows} under {formats.count(self.trackers, 'run_id')}: "
            f"readings are cumulative within {of_them}; differences are used. Unchanged, the rows "
            f"add up to {formats.joules(self.naive_energy_j)}, "
            f"{self.overstated:.2f} times the {formats.joules(self.energy_j)} actually used"
        )


@dataclass(frozen=True)
class CodeCarbonRows:
    """A file of CodeCarbon, by training.

    Attributes:
        path: of the file.
        trainings: one row per row of the file, in its order: ``line``, ``timestamp`` (with its
            offset if one was written), ``run_id``, ``place`` (within the run_id, from 1), ``rule``
            (text; see `joulelab.replication.codecarbon_rules.Rule`), the columns of `COUNTED` that
            the file has, as the rule has them, and the same unchanged with ``cumulative_`` before
            them; ``task`` and ``region`` where there are such (text). Missing values are NaN.
        impossible: energies at or below zero: ``run`` (line and run_id), ``column``, ``value``.
        trap: the result of a naive reading.
        remarks: omissions and observations, in sentences.
    """

    path: Path
    trainings: pd.DataFrame
    impossible: pd.DataFrame
    trap: Trap
    remarks: tuple[str, ...] = ()

    def is_impossible(self, *columns: str) -> npt.NDArray[np.bool_]:
        """(n,) whether a training has an impossible reading, in some columns or in any of them."""
        wrong = self.impossible
        runs = wrong.loc[wrong["column"].isin(columns), "run"] if columns else wrong["run"]
        return pd.Series(_labels(self.trainings)).isin(runs).to_numpy()


def _labels(rows: pd.DataFrame) -> list[str]:
    """Names of rows in messages."""
    return [f"line {line} ({run})" for line, run in zip(rows["line"], rows["run_id"], strict=True)]


def read_emissions(path: Path) -> CodeCarbonRows:
    """Read an ``emissions.csv`` and compute the energy of each row.

    Args:
        path: of the file.

    Raises:
        DatasetError: the file cannot be read, a column is absent, a cell is not valid, or the
            meaning of a row is ambiguous.
    """
    table = emissions_table(path)
    rows, remarks = _rows(table)
    counted = [name for name, _ in COUNTED.values() if name in rows]
    rows = rows.rename(columns={name: AS_THEY_STAND + name for name in counted})
    rows["rule"] = _ruled(table, rows)
    if "run_id" not in rows:
        begun = ~rows["rule"].isin(SINCE_BEFORE)
        rows["run_id"] = [f"tracker {number}" for number in begun.cumsum()]
        remarks.append("run_id is missing: trackers are distinguished by energies and durations")
    before = rows.groupby("run_id", sort=False)
    for name in counted:
        those = (Rule.GOES_ON,) if name == "duration_s" else SINCE_BEFORE
        earlier = before[AS_THEY_STAND + name].shift()
        standing = rows[AS_THEY_STAND + name]
        rows[name] = standing - earlier.where(rows["rule"].isin(those), 0.0)
    rows["place"] = before.cumcount() + 1
    remarks += _clock_remarks(rows)
    energies = [name for name in counted if name != "duration_s"]
    # A processor without readings has 0 in all rows; only totals must be above 0.
    wrong = negative_energy(rows.assign(label=_labels(rows)), energies, "label")
    wrong = wrong[(wrong["value"] < 0) | wrong["column"].isin(TOTALS)].reset_index(drop=True)
    ordered = [name for name in rows if name not in {"at_s", "stated_w", "has_offset"}]
    return CodeCarbonRows(path, rows[ordered], wrong, _trap(rows), tuple(remarks))


def emissions_table(path: Path) -> Table:
    """The rows of a file, also of one to which another version has appended its own columns.

    Args:
        path: of the file.

    Raises:
        DatasetError: the file cannot be read.
    """
    text, _ = decode(path, read_bytes(path, DatasetError), DatasetError)
    lines = text.split("\n")
    starts = [at for at, line in enumerate(lines) if _is_header(line)]
    if len(starts) <= 1:
        return parse_table(path, text.encode(), DatasetError)
    ends = [*starts[1:], len(lines)]
    parts = [
        # Blank lines keep the numbers of the lines below.
        parse_table(
            path, ("\n" * start + "\n".join(lines[start:end]) + "\n").encode(), DatasetError
        )
        for start, end in zip(starts, ends, strict=True)
        if any(line.strip() for line in lines[start + 1 : end])
    ]
    if not parts:
        raise DatasetError(f"{path} has headers but no rows", "record or export it again")
    said = f"{formats.count(len(starts) - 1, 'more header line')} left out"
    columns = {name: one for part in parts for name, one in part.headings.items()}
    whole = replace(
        parts[0],
        frame=pd.concat([part.frame for part in parts], ignore_index=True),
        headings=columns,
        lines=[line for part in parts for line in part.lines],
        twice=frozenset().union(*(part.twice for part in parts)),
    )
    return whole.remarked(*(one for part in parts for one in part.remarks), said)


def _is_header(line: str) -> bool:
    names = {folded(name.strip('" \ufeff')) for name in line.replace(";", ",").split(",")}
    return set(NEEDED) <= names


def _rows(table: Table) -> tuple[pd.DataFrame, list[str]]:
    """The rows unchanged, in this program's units, each once."""
    columns = dict(zip(NEEDED, table.require(*NEEDED), strict=True))
    remarks = list(table.remarks)
    again = table.frame.duplicated().to_numpy()
    if again.any():
        remarks.append(f"{formats.count(int(again.sum()), 'duplicate row')} left out")
        table = table.rows(~again)
    stamps = table.texts(columns["timestamp"])
    moments = read_moments(table, columns["timestamp"], UTC)
    _require_values(table, columns["timestamp"], moments.since_1970_s)
    at_s = moments.since_1970_s
    written = [_moment(text, at) for text, at in zip(stamps, at_s.tolist(), strict=True)]
    data: dict[str, object] = {
        "line": list(table.lines) or list(range(1, len(table) + 1)),
        "timestamp": pd.Series(written, dtype=object),
    }
    if (run_ids := _run_ids(table)) is not None:
        data["run_id"] = run_ids
    if task := table.column(TASK):
        data["task"] = table.texts(task)
    for column, (name, factor) in COUNTED.items():
        if found := table.column(column):
            values = table.numbers(found, missing=MISSING).values
            if column in NEEDED:
                _require_values(table, found, values)
            data[name] = factor * values
    if region := table.column("region"):
        data["region"] = table.texts(region)
    data["at_s"] = at_s
    data["has_offset"] = [one.tzinfo is not None for one in written]
    data["stated_w"] = _stated_w(table)
    return pd.DataFrame(data), remarks


def _run_ids(table: Table) -> list[str] | None:
    """The tracker of each row; ``None`` if no column gives it."""
    for name in RUN_IDS:
        column = table.column(name)
        texts = table.texts(column) if column else []
        if not any(texts):
            continue
        if name != RUN_IDS[0] and table.column("cpu_energy"):
            continue  # from version 2 on all trackers of an experiment have the same
        if "" in texts:
            raise table.error(
                "the value is missing",
                "give the row the run_id of its tracker",
                texts.index(""),
                name,
            )
        return texts
    return None


def _stated_w(table: Table) -> Values:
    """(n,) power that each row states for all parts together; NaN where it does not."""
    stated = np.zeros(len(table))
    for name in POWERS:
        if column := table.column(name):
            stated += np.nan_to_num(table.numbers(column).values)
    return np.where(stated > 0, stated, np.nan)


def _require_values(table: Table, column: str, values: Values) -> None:
    without = np.flatnonzero(~np.isfinite(values))
    if len(without):
        raise table.error("the value is missing", "remove the row", int(without[0]), column)


def _moment(text: str, at_s: float) -> datetime:
    """A timestamp as it was written, with its offset if it has one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None)


def _ruled(table: Table, rows: pd.DataFrame) -> pd.Series[Any]:
    """The rule of each row.

    Raises:
        DatasetError: it is ambiguous.
    """
    ruled: pd.Series[Any] = pd.Series(Rule.FIRST, index=rows.index, dtype=object)
    of_runs = any(table.column(name) is not None for name in OF_RUNS)
    trackers = rows.groupby("run_id", sort=False) if "run_id" in rows else [("", rows)]
    for run_id, group in trackers:
        tasks = group["task"] != "" if "task" in group else pd.Series(False, index=group.index)
        if tasks.any() and not tasks.all():
            raise DatasetError(
                f"{table.path}, line {group['line'][~tasks].iloc[0]}: a row of a whole run is "
                "among rows of its tasks, which it includes",
                "import the files of runs and tasks separately",
            )
        if tasks.all():
            ruled[group.index] = Rule.TASK
            continue
        try:
            ruled[group.index] = rules(
                [_reading(row) for row in group.to_dict("records")],
                by_design=bool(run_id) and of_runs,
            )
        except UndecidedError as error:
            line, where = group["line"].iloc[error.place], f" within run_id {run_id}" * bool(run_id)
            reason = error.reason.replace("falls", f"falls{where}", 1)
            raise DatasetError(f"{table.path}, line {line}: {reason}", error.remedy) from None
    return ruled


def _reading(row: Mapping[Hashable, Any]) -> Reading:
    stated_w = float(row["stated_w"])
    return Reading(
        float(row[AS_THEY_STAND + "duration_s"]),
        float(row[AS_THEY_STAND + "energy_j"]),
        stated_w if stated_w > 0 else None,
        float(row["at_s"]),
        bool(row["has_offset"]),
    )


def _clock_remarks(rows: pd.DataFrame) -> list[str]:
    """Rows where the clock moved differently from the tracker."""
    goes_on = rows["rule"] == Rule.GOES_ON
    apart_s = rows.groupby("run_id", sort=False)["at_s"].diff()
    off_s = apart_s - rows["duration_s"]
    remarks = []
    for at in rows.index[goes_on & (off_s.abs() > MOST_OFF_S)]:
        more = float(off_s[at]) > 0
        remarks.append(
            f"line {rows['line'][at]}: {formats.duration(abs(float(off_s[at])))} "
            f"{'more' if more else 'less'} on the clock than was counted: "
            f"{'the machine was suspended, or ' if more else ''}the clock was changed"
        )
    return remarks


def _trap(rows: pd.DataFrame) -> Trap:
    shared = rows[rows["rule"].isin(SINCE_BEFORE)].groupby("run_id", sort=False).size() + 1
    sound = rows[rows["energy_j"] > 0]
    return Trap(
        rows=len(rows),
        trackers=int(rows["run_id"].nunique()),
        shared={str(run): int(count) for run, count in shared.items()},
        energy_j=float(sound["energy_j"].sum()),
        naive_energy_j=float(rows[AS_THEY_STAND + "energy_j"].sum()),
        left_out=len(rows) - len(sound),
    )
