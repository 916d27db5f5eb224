"""The raw data of Yarally et al. (CAIN 2023): two kinds of table, one file per data set.

::

    architecture-<data set>.csv   one row per training
        linear_layers, conv_layers, relu_layers     the configuration
        learning_rate, beta1, beta2                 the hyperparameter set, which identifies rounds
        energy_j, accuracy
    tuning-<data set>.csv         one row per round: means over its repetitions
        network, strategy, hyperparameters          the configuration; 3 or 5 hyperparameters
        round, accuracy
        best_accuracy, energy_j, learning_rate ...  used if present

Rows may be in any order, except that the rounds of an architecture table are numbered in the order
in which their hyperparameter sets first appear. Accuracies may be shares or per cent, rounds may
count from 0 or from 1; several spellings of strategies and networks are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd

from joulelab import formats
from joulelab.errors import DatasetError
from joulelab.tabular.reader import read_table
from joulelab.tabular.table import MISSING, Table

T = TypeVar("T")

FETCH_AGAIN = "fix the line, or download the file again"
CONFIGURATION = ["linear_layers", "conv_layers", "relu"]
SEARCH = ["network", "strategy", "hyperparameters"]
HYPERPARAMETERS = ["learning_rate", "beta1", "beta2"]
IN_THE_FILE = {"relu": "relu_layers"}
"""Columns with a different name in the file."""
ALL_HYPERPARAMETERS = [*HYPERPARAMETERS, "epsilon", "weight_decay"]
ARCHITECTURE_COLUMNS = [
    "linear_layers",
    "conv_layers",
    "relu_layers",
    *HYPERPARAMETERS,
    "energy_j",
    "accuracy",
]
TUNING_COLUMNS = [*SEARCH, "round", "accuracy"]
NETWORKS = {"poly": "DensePolyNN", "linear": "DenseLinearNN", "cnn": "SimpleCNN"}
STRATEGIES = {"random": "random", "grid": "grid", "bayes": "bayesian"}
"""Part of the spelling, in lower case, and the full name."""
TRUE, FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
HUNDRED = 100.0
IN_PERCENT = "accuracies in the file are in per cent"


@dataclass(frozen=True)
class RawData:
    """A table, read and checked.

    Attributes:
        path: of the file.
        frame: one row per training or round. Architecture: `CONFIGURATION`, ``round`` (from 0, in
            order of first appearance within a configuration; missing if a hyperparameter is),
            ``energy_j`` and ``accuracy`` (0 to 1). Tuning: `SEARCH`, ``round`` (from 0),
            ``accuracy``, ``best_accuracy`` and ``energy_j``.
        remarks: notes for the reader: rows left out, another way of counting.
        accuracy_note: how accuracies were interpreted; empty if they are shares.
    """

    path: Path
    frame: pd.DataFrame
    remarks: tuple[str, ...] = ()
    accuracy_note: str = ""


def read_architecture(path: Path) -> RawData:
    """Read the table of the architecture experiment.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or a cell is not valid.
    """
    table = read_table(path, DatasetError)
    table.require(*ARCHITECTURE_COLUMNS)
    accuracies, accuracy_note = _accuracies(table, ["accuracy"])
    frame = pd.DataFrame(
        {
            "linear_layers": _counted(table, "linear_layers"),
            "conv_layers": _counted(table, "conv_layers"),
            "relu": pd.Series(
                _read(table, "relu_layers", _switch, "number of layers"), dtype="boolean"
            ),
            **{name: _numbers(table, name) for name in HYPERPARAMETERS},
            "energy_j": _numbers(table, "energy_j"),
            **accuracies,
        }
    )
    kept, remarks = _complete(table, frame, CONFIGURATION)
    kept = kept.astype({"linear_layers": int, "conv_layers": int, "relu": bool})
    kept["round"] = _rounds_in_order(kept)
    unknown = int(kept["round"].isna().sum())
    if unknown:
        remarks.append(
            f"{formats.count(unknown, 'row')} without a hyperparameter, so the round is unknown"
        )
    return RawData(path, kept, _of_file(table, remarks, accuracy_note), accuracy_note)


def read_tuning(path: Path) -> RawData:
    """Read the table of the tuning experiment.

    Several rows per round count as its repetitions if they have the same hyperparameters.

    Raises:
        DatasetError: the file cannot be read, lacks a column, a cell is not valid, or a round
            occurs twice with different hyperparameters.
    """
    table = read_table(path, DatasetError)
    table.require(*TUNING_COLUMNS)
    scores = [name for name in ("accuracy", "best_accuracy") if table.column(name)]
    accuracies, accuracy_note = _accuracies(table, scores)
    there = [name for name in ALL_HYPERPARAMETERS if table.column(name)]
    unknown = pd.Series(float("nan"), index=range(len(table)))
    frame = pd.DataFrame(
        {
            "network": _named(table, "network", NETWORKS),
            "strategy": _named(table, "strategy", STRATEGIES),
            "hyperparameters": _counted(table, "hyperparameters"),
            "round": _counted(table, "round"),
            **{name: _numbers(table, name) for name in there},
            "energy_j": _numbers(table, "energy_j") if table.column("energy_j") else unknown,
            **accuracies,
        }
    )
    kept, remarks = _complete(table, frame, [*SEARCH, "round"])
    _refuse_two_sets_in_a_round(table, kept, there)
    kept = kept.astype({"hyperparameters": int, "round": int})
    if kept["round"].min() == 1:
        kept["round"] -= 1
        remarks.append("rounds are counted from 1 in the file")
    repeated = int(kept.duplicated([*SEARCH, "round"]).sum())
    if repeated:
        remarks.append("several rows of a round are treated as its repetitions; their mean counts")
    if "best_accuracy" not in kept:
        kept["best_accuracy"] = float("nan")
    return RawData(path, kept, _of_file(table, remarks, accuracy_note), accuracy_note)


def _of_file(table: Table, remarks: Sequence[str], accuracy_note: str) -> tuple[str, ...]:
    everything = [*table.remarks, *remarks, *([accuracy_note] if accuracy_note else [])]
    return tuple(f"{table.path.name}: {remark}" for remark in everything)


def _numbers(table: Table, name: str) -> pd.Series[Any]:
    return pd.Series(table.bounded(table.require(name)[0]), dtype="float")


def _counted(table: Table, name: str) -> pd.Series[Any]:
    return pd.Series(table.bounded(table.require(name)[0], 0, whole=True)).astype("Int64")


def _read(table: Table, name: str, read: Callable[[str], T | None], what: str) -> list[T | None]:
    """Convert the cells of a column one by one; None for missing values.

    Args:
        table: the table of the column.
        name: of the column.
        read: returns the value of a cell, or None if the cell is invalid.
        what: name of a valid value, for the message.

    Raises:
        DatasetError: a cell is invalid.
    """
    found: list[T | None] = []
    for row, cell in enumerate(table.texts(table.require(name)[0])):
        value = None if cell.casefold() in MISSING else read(cell)
        if value is None and cell.casefold() not in MISSING:
            raise table.error(f"{cell[:40]!r} is not a {what}", FETCH_AGAIN, row, name)
        found.append(value)
    return found


def _complete(
    table: Table, frame: pd.DataFrame, columns: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of known configurations, with the file's index, and remarks on the others."""
    remarks = []
    for name in columns:
        missing = int(frame[name].isna().sum())
        if missing:
            remarks.append(
                f"{formats.count(missing, 'row')} without {IN_THE_FILE.get(name, name)} left out"
            )
    kept = frame.dropna(subset=list(columns)).copy()
    if not len(kept):
        raise DatasetError(
            f"{table.path}: no row has a value in each of "
            f"{formats.listing([IN_THE_FILE.get(name, name) for name in columns])}",
            "download the file again",
        )
    return kept, remarks


def _accuracies(table: Table, names: Sequence[str]) -> tuple[dict[str, pd.Series[Any]], str]:
    """The accuracy columns as shares of 1, and a note if the file has them in per cent.

    They are in per cent if most values are above 1; no network of this study is right in less than
    one image of a hundred.
    """
    columns = {
        name: pd.Series(table.bounded(table.require(name)[0], 0.0, HUNDRED)) for name in names
    }
    in_percent = bool(columns[names[0]].median() > 1)
    if not in_percent:
        for name, values in columns.items():
            if (values > 1).any():
                row = int((values > 1).to_numpy().argmax())
                what = f"{values[row]:g} is above 1, but most accuracies are shares of 1"
                raise table.error(what, FETCH_AGAIN, row, name)
    unit = HUNDRED if in_percent else 1.0
    series = {name: values / unit for name, values in columns.items()}
    return series, IN_PERCENT if in_percent else ""


def _switch(cell: str) -> bool | None:
    """Whether there are ReLU layers, from their number or a truth value.

    >>> _switch("4"), _switch("0"), _switch("False"), _switch("perhaps")
    (True, False, False, None)
    """
    word = cell.casefold()
    if word in TRUE | FALSE:
        return word in TRUE
    try:
        layers = float(cell)
    except ValueError:
        return None
    return layers > 0 if layers >= 0 else None


def _named(table: Table, column: str, spellings: dict[str, str]) -> pd.Series[Any]:
    """A column of names, ignoring case, blanks, hyphens and additions."""

    def read(cell: str) -> str | None:
        letters = re.sub("[^a-z]", "", cell.casefold())
        return next((name for piece, name in spellings.items() if piece in letters), None)

    values = _read(table, column, read, f"{column} of the study: {', '.join(spellings.values())}")
    return pd.Series(values, dtype=object)


def _rounds_in_order(frame: pd.DataFrame) -> pd.Series[Any]:
    """The index of each row's hyperparameter set within its configuration, from 0."""
    rounds = pd.Series(pd.NA, index=frame.index, dtype="Int64")
    known = frame.dropna(subset=HYPERPARAMETERS)
    for _, rows in known.groupby(CONFIGURATION):
        rounds[rows.index] = rows.groupby(HYPERPARAMETERS, sort=False).ngroup().to_numpy()
    return rounds


def _refuse_two_sets_in_a_round(
    table: Table, frame: pd.DataFrame, hyperparameters: Sequence[str]
) -> None:
    key = [*SEARCH, "round"]
    firsts = frame.groupby(key)[list(hyperparameters)].transform("first")
    # A missing value never differs: three hyperparameters leave two columns empty.
    given = frame[list(hyperparameters)]
    wrong = ((given != firsts) & given.notna() & firsts.notna()).any(axis=1)
    if wrong.any():
        at = frame.loc[wrong].iloc[0]
        same = frame.index[(frame[key] == at[key]).all(axis=1)]
        raise table.error(
            f"round {at['round']} of this configuration has other hyperparameters "
            f"on {table.line(_row(same[0]))}",
            "give every round of a configuration its own number",
            _row(at.name),
            "round",
        )


def _row(label: object) -> int:
    """The row of the file with this index label."""
    return int(cast(int, label))
