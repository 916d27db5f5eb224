"""Anybody's table of runs: which columns are factors, and what the others are.

::

    architecture   a row a training:  energy_j, accuracy, and factors of any name
    tuning         a row a round or a training:  strategy, round, accuracy, and further factors

Known columns that are no factors: ``round``, ``repetition``, ``configuration``, ``best_accuracy``,
``duration_s``, ``utilisation_mean``, ``flops``, and the hyperparameters ``learning_rate``,
``beta1``, ``beta2``, ``epsilon``, ``weight_decay``. Every other column with values is a factor,
unless it has more than 20 different ones that are numbers or another one in every row: such a
column is left alone, and that is said. With factors named, only these are, and in a search the
strategy. In the column of a factor ``none`` is a level; empty cells, ``-``, ``na``, ``n/a``,
``nan`` and ``null`` are missing.

Without a column ``round``, rows of a configuration with the same hyperparameters are a round, in
the order of their first appearance: in the table where every configuration has the same sets, else
in the configuration; without hyperparameters either, all rows are one round. A column
``relu_layers`` whose values are 0 and something else becomes the factor ``relu``, off or on, for
the number of ReLU layers only repeats that of the convolutional layers.

An export of joulelab is understood (`joulelab.replication.exported`): its factors are known, of its
runs those that have finished count, and runs that were trained together (``group_size``,
``started_at``) share a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from joulelab import formats
from joulelab.errors import UsageError, suggestion
from joulelab.replication.csv_table import MISSING, CsvTable, column_name, read_csv_table
from joulelab.replication.exported import is_exported, runs_of_kind

Kind = Literal["architecture", "tuning"]

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
MEASURES = ("duration_s", "utilisation_mean", "flops", "best_accuracy")
PLACES = ("round", "repetition", "configuration")
TOGETHER = ("group_size", "started_at")
STATES = frozenset({"planned", "running", "finished", "failed"})
"""Of a run, in an export of joulelab."""
WITHOUT_LEVEL = MISSING - {"none"}
ENERGIES = ("energy_j", "energy_net_j", "energy_gross_j")
"""Columns that hold the energy of a run, the first that is there."""
MOST_LEVELS = 20
HUNDRED = 100.0


@dataclass(frozen=True)
class RunsTable:
    """A table of runs, ready to be analysed.

    Attributes:
        path: of the file.
        frame: a row a run: ``round`` (from 0), ``accuracy`` (0 to 1), the factors, the energy and
            whatever measures there are.
        factors: columns with levels.
        energy: column in joules; ``None`` where there is none.
        remarks: what was left out or understood in some way, in sentences.
    """

    path: Path
    frame: pd.DataFrame
    factors: tuple[str, ...]
    energy: str | None
    remarks: tuple[str, ...]


def read_runs(
    path: Path, kind: Kind, factors: Sequence[str] = (), energy: str | None = None
) -> RunsTable:
    """Read a table of runs.

    Args:
        path: a CSV file.
        kind: which experiment it is of.
        factors: columns that are factors; found where none are named.
        energy: column in joules; found where not named.

    Raises:
        DatasetError: the file cannot be read or lacks a column, or a cell is not what it should be.
        UsageError: a column that was named is not there or cannot be a factor, there is no energy
            or no factor, or no row has a level of every factor.
    """
    table = read_csv_table(path)
    remarks: list[str] = []
    named = [column_name(factor) for factor in factors]
    if is_exported(table):
        table, exported = runs_of_kind(table, kind, remarks)
        if not len(table):
            raise UsageError(f"{path} has no run of kind {kind!r}", "name the kind that it has")
        named = named or exported
    table.require(["accuracy"] if kind == "architecture" else ["strategy", "round", "accuracy"])
    joules = _energy(table, kind, energy)
    frame = _measures(table, joules)
    named = named or _found_factors(table, joules, remarks)
    if kind == "tuning" or "strategy" in named:
        named = ["strategy", *named]
    chosen = []
    for factor in dict.fromkeys(named):
        _require_factor(table, factor, joules)
        name, levels = _levels(factor, table)
        frame[name] = pd.Series(levels, dtype=object)
        chosen.append(name)
    if not chosen:
        raise UsageError(f"no column of {path} is a factor", "name one that is there with --factor")
    frame["round"] = _rounds(table, frame, chosen)
    kept = _whole(table, frame, chosen, remarks)
    _remark_on_values(kept, joules, remarks)
    constant = [name for name in chosen if kept[name].nunique() <= 1]
    if constant:
        remarks.append(f"Constant, and so without an effect: {formats.listing(constant)}.")
    return RunsTable(path, kept.reset_index(drop=True), tuple(chosen), joules, tuple(remarks))


def _energy(table: CsvTable, kind: Kind, named: str | None) -> str | None:
    if named is not None:
        if column_name(named) not in table.columns:
            raise _absent(table, named)
        return column_name(named)
    found = next((name for name in ENERGIES if name in table.columns), None)
    if found is None and kind == "architecture":
        raise UsageError(
            f"{table.path} has no column with an energy: {', '.join(ENERGIES)}",
            "name it with --energy",
        )
    return found


def _absent(table: CsvTable, name: str) -> UsageError:
    known = suggestion(column_name(name), list(table.columns))
    return UsageError(f"{table.path} has no column {name!r}", known)


def _require_factor(table: CsvTable, name: str, energy: str | None) -> None:
    if name not in table.columns:
        raise _absent(table, name)
    if name in {"accuracy", "round", energy}:
        raise UsageError(f"the column {name!r} is no factor", "name another one with --factor")


def _measures(table: CsvTable, energy: str | None) -> pd.DataFrame:
    """Numbers of every row."""
    accuracy = table.numbers("accuracy", 0.0, HUNDRED)
    columns: dict[str, pd.Series[Any]] = {"accuracy": pd.Series(accuracy, dtype=float)}
    for name in (*([energy] if energy else []), *HYPERPARAMETERS, *MEASURES):
        if name in table.columns:
            columns[name] = pd.Series(table.numbers(name), dtype=float)
    if all(name in table.columns for name in TOGETHER):
        columns["group_size"] = pd.Series(table.numbers("group_size"), dtype=float)
        columns["started_at"] = pd.Series(table.columns["started_at"], dtype=object)
    if "energy_status" in table.columns:
        columns["energy_status"] = pd.Series(table.columns["energy_status"], dtype=object)
    return pd.DataFrame(columns)


def _whole(
    table: CsvTable, frame: pd.DataFrame, factors: Sequence[str], remarks: list[str]
) -> pd.DataFrame:
    """Rows of finished runs with a round and a level of every factor; accuracies from 0 to 1."""
    above = frame["accuracy"] > 1
    if above.sum() > frame["accuracy"].notna().sum() / 2:
        remarks.append("Accuracies in the file are taken to be in per cent.")
        frame["accuracy"] /= HUNDRED
    elif above.any():
        row = int(above.to_numpy().argmax())
        raise table.error(row, "accuracy", "above 1, and most accuracies are shares of 1")
    states = table.columns.get("state", [])
    if states and set(states) <= STATES:
        done = pd.Series([state == "finished" for state in states])
        if not done.all():
            said = formats.count(int((~done).sum()), "run")
            remarks.append(f"{said} that did not finish left out.")
        frame = frame[done]
    kept = frame.dropna(subset=list(factors))
    if without := len(frame) - len(kept):
        remarks.append(f"{formats.count(without, 'row')} without a level of every factor left out.")
    whole = kept[kept["round"].notna()]
    if without := len(kept) - len(whole):
        remarks.append(f"{formats.count(without, 'row')} without a round left out.")
    if not len(whole):
        raise UsageError(
            f"no row of {table.path} is complete: {' '.join(remarks)}",
            "name the factors that every run has with --factor",
        )
    return whole.astype({"round": int})


def _remark_on_values(runs: pd.DataFrame, energy: str | None, remarks: list[str]) -> None:
    for name in ("accuracy", *([energy] if energy else [])):
        if missing := int(runs[name].isna().sum()):
            remarks.append(
                f"{formats.count(missing, 'row')} without {name} left out of what needs it."
            )


def _found_factors(table: CsvTable, energy: str | None, remarks: list[str]) -> list[str]:
    known = {"accuracy", energy, *ENERGIES, *HYPERPARAMETERS, *MEASURES, *PLACES, *TOGETHER}
    found, alone = [], []
    for name, cells in table.columns.items():
        different = {cell for cell in cells if cell.casefold() not in WITHOUT_LEVEL}
        if name in known or not different:
            continue
        numbers = all(_number(cell) is not None for cell in different)
        if len(different) > MOST_LEVELS and (numbers or len(different) == len(table)):
            alone.append(f"{name} ({len(different):,} different values)")
        else:
            found.append(name)
    if alone:
        remarks.append(f"Taken for no factor: {formats.listing(alone)}; --factor says otherwise.")
    return found


def _levels(name: str, table: CsvTable) -> tuple[str, list[Any]]:
    """The name of a factor, and its level in every row."""
    levels = [_level(cell) for cell in table.columns[name]]
    if name == "relu_layers" and "relu" not in table.columns:
        counts = {level for level in levels if level is not None}
        if 0 in counts and len(counts) > 1 and all(isinstance(level, int) for level in counts):
            return "relu", [None if level is None else bool(level) for level in levels]
    return name, levels


def _level(cell: str) -> bool | int | float | str | None:
    """A level: a truth value, a number or a word.

    >>> _level("3.0"), _level("true"), _level("SimpleCNN"), _level("")
    (3, True, 'SimpleCNN', None)
    """
    if cell.casefold() in WITHOUT_LEVEL:
        return None
    if cell.casefold() in {"true", "false"}:
        return cell.casefold() == "true"
    number = _number(cell)
    if number is None:
        return cell
    return int(number) if number.is_integer() else number


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if number - number == 0 else None


def _rounds(table: CsvTable, frame: pd.DataFrame, factors: Sequence[str]) -> pd.Series[Any]:
    """Rounds from 0, also where the file counts from 1."""
    if "round" in table.columns:
        rounds = pd.Series(table.whole_numbers("round"), dtype="Int64")
        return rounds if (rounds == 0).any() else rounds - 1
    sets = [
        name
        for name in HYPERPARAMETERS
        if name not in factors and name in frame and frame[name].notna().any()
    ]
    if not sets:
        return pd.Series(0, index=frame.index)
    rounds = frame.groupby(sets, dropna=False, sort=False).ngroup()
    whole = frame.dropna(subset=list(factors))
    known = rounds[whole.index].groupby([whole[name] for name in factors], sort=False)
    if (known.nunique() == rounds[whole.index].nunique()).all():
        return rounds
    for _, rows in whole.groupby(list(factors), sort=False):
        rounds[rows.index] = rows.groupby(sets, dropna=False, sort=False).ngroup()
    return rounds
