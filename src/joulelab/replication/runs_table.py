"""Anybody's table of runs: which columns are factors, and what the others are.

::

    architecture   a row a training:  energy_j, accuracy, and factors of any name
    tuning         a row a round or a training:  strategy, round, accuracy, and further factors

Known columns that are no factors: ``round``, ``repetition``, ``configuration``, ``best_accuracy``,
``duration_s``, ``utilisation_mean``, ``flops``, and the hyperparameters ``learning_rate``,
``beta1``, ``beta2``, ``epsilon``, ``weight_decay``. Every other column is a factor, unless it has
more than 20 different values that are numbers: such a column is left alone, and that is said. With
factors named, only these are.

Without a column ``round``, rows of a configuration with the same hyperparameters are a round, in
the order of their first appearance; without hyperparameters either, all rows are one round. A
column ``relu_layers`` whose values are 0 and something else becomes the factor ``relu``, off or on,
for the number of ReLU layers only repeats that of the convolutional layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from joulelab import formats
from joulelab.errors import UsageError, suggestion
from joulelab.replication.csv_table import CsvTable, column_name, read_csv_table

Kind = Literal["architecture", "tuning"]

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
MEASURES = ("duration_s", "utilisation_mean", "flops", "best_accuracy")
PLACES = ("round", "repetition", "configuration")
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
        DatasetError: the file cannot be read, or a cell is not what it should be.
        UsageError: a column that is needed or named is not there, or no column is a factor.
    """
    table = read_csv_table(path)
    table.require(["accuracy"] if kind == "architecture" else ["strategy", "round", "accuracy"])
    joules = _energy(table, kind, energy)
    remarks: list[str] = []
    frame = _measures(table, joules, remarks)
    named = [column_name(factor) for factor in factors] or _found_factors(table, joules, remarks)
    for factor in named:
        if factor not in table.columns:
            raise UsageError(
                f"{path} has no column {factor!r}", suggestion(factor, list(table.columns))
            )
        name, levels = _levels(factor, table.columns[factor])
        frame[name] = pd.Series(levels, dtype=object)
    chosen = [name for name in frame.columns if name not in _measured(frame, joules)]
    if not chosen:
        raise UsageError(f"no column of {path} is a factor", "name one that is there with --factor")
    if "strategy" in chosen:
        chosen = ["strategy", *(name for name in chosen if name != "strategy")]
    frame["round"] = _rounds(table, frame, chosen)
    kept = frame.dropna(subset=chosen)
    if without := len(frame) - len(kept):
        remarks.append(f"{formats.count(without, 'row')} without a level of every factor left out.")
    constant = [name for name in chosen if kept[name].nunique() <= 1]
    if constant:
        remarks.append(f"Constant, and so without an effect: {formats.listing(constant)}.")
    return RunsTable(path, kept.reset_index(drop=True), tuple(chosen), joules, tuple(remarks))


def _energy(table: CsvTable, kind: Kind, named: str | None) -> str | None:
    if named is not None:
        table.require([column_name(named)])
        return column_name(named)
    found = next((name for name in ENERGIES if name in table.columns), None)
    if found is None and kind == "architecture":
        raise UsageError(
            f"{table.path} has no column with an energy: {', '.join(ENERGIES)}",
            "name it with --energy",
        )
    return found


def _measures(table: CsvTable, energy: str | None, remarks: list[str]) -> pd.DataFrame:
    """Numbers of every row, and what is missing among them."""
    accuracy = pd.Series(table.numbers("accuracy", 0.0, HUNDRED), dtype=float)
    if (accuracy > 1).sum() > accuracy.notna().sum() / 2:
        remarks.append("Accuracies in the file are taken to be in per cent.")
        accuracy /= HUNDRED
    elif (accuracy > 1).any():
        row = int((accuracy > 1).to_numpy().argmax())
        raise table.error(row, "accuracy", "above 1, and most accuracies are shares of 1")
    columns = {"accuracy": accuracy}
    for name in (*([energy] if energy else []), *HYPERPARAMETERS, *MEASURES):
        if name in table.columns:
            columns[name] = pd.Series(table.numbers(name), dtype=float)
    for name in ("accuracy", *([energy] if energy else [])):
        if missing := int(columns[name].isna().sum()):
            remarks.append(
                f"{formats.count(missing, 'row')} without {name} left out of what needs it."
            )
    return pd.DataFrame(columns)


def _measured(frame: pd.DataFrame, energy: str | None) -> set[str]:
    return {"accuracy", str(energy), *HYPERPARAMETERS, *MEASURES} & set(map(str, frame.columns))


def _found_factors(table: CsvTable, energy: str | None, remarks: list[str]) -> list[str]:
    known = {"accuracy", energy, *ENERGIES, *HYPERPARAMETERS, *MEASURES, *PLACES}
    found, alone = [], []
    for name, cells in table.columns.items():
        if name in known:
            continue
        different = set(cells) - {""}
        if len(different) > MOST_LEVELS and all(_number(cell) is not None for cell in different):
            alone.append(f"{name} ({len(different):,} different values)")
        else:
            found.append(name)
    if alone:
        remarks.append(f"Taken for no factor: {formats.listing(alone)}; --factor says otherwise.")
    return found


def _levels(name: str, cells: Sequence[str]) -> tuple[str, list[Any]]:
    """The name of a factor, and its level in every row."""
    levels = [_level(cell) for cell in cells]
    numbers = {level for level in levels if isinstance(level, int)}
    if name == "relu_layers" and numbers and None not in {*levels} and 0 in numbers:
        return "relu", [bool(level) for level in levels]
    return name, levels


def _level(cell: str) -> bool | int | float | str | None:
    """A level: a truth value, a number or a word.

    >>> _level("3.0"), _level("true"), _level("SimpleCNN"), _level("")
    (3, True, 'SimpleCNN', None)
    """
    if not cell:
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
    if "round" in table.columns:
        rounds = pd.Series(table.whole_numbers("round"), dtype="Int64")
        return rounds - int(rounds.min()) if rounds.notna().any() else rounds
    sets = [name for name in HYPERPARAMETERS if name in frame and frame[name].notna().any()]
    if not sets:
        return pd.Series(0, index=frame.index)
    rounds = pd.Series(0, index=frame.index)
    for _, rows in frame.groupby(list(factors), dropna=False, sort=False):
        numbered = rows.groupby(sets, dropna=False, sort=False).ngroup()
        rounds[rows.index] = numbered.to_numpy()
    return rounds
