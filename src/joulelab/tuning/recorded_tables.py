"""Recorded trials from what ships with joulelab, and from files.

::

    recorded("fashion-mnist-10k/DensePolyNN")
    recorded("mine.csv", variables=["rate", "width"], score="accuracy")
    recorded("tuning-cifar10.csv", where={"network": "DensePolyNN", "hyperparameters": 3})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.errors import UsageError, quoted, suggestion
from joulelab.optional import require
from joulelab.tuning.recorded import (
    ENERGY,
    EPOCH,
    EPOCHS,
    REPETITION,
    SECONDS,
    STATUS,
    RecordedTrials,
)

SHIPPED = {"fashion-mnist-10k": ("DensePolyNN", "SimpleCNN")}
"""Learning curves on 10,000 training images: the networks of each table."""
TABLES = resources.files("joulelab.tuning") / "tables"
VALIDATION, TEST = "validation_accuracy", "test_accuracy"
SCORES = (VALIDATION, "score", "accuracy", TEST)
"""Columns that are taken for the score, in this order, where none is named."""
NOT_VARIABLES = {
    *SCORES,
    *(ENERGY, SECONDS, EPOCHS, EPOCH, REPETITION, STATUS),
    *("best_accuracy", "loss", "train_loss", "processor_s", "duration_s", "stack_size"),
    *("unit_size", "strategy", "hyperparameters", "round", "trial", "seed", "run_id", "started_at"),
}
"""Columns that are not taken for variables unless they are named."""
SUFFIXES = (".csv", ".parquet")
EMPTY = ["", "NaN", "nan", "NA", "N/A", "n/a", "NULL", "null", "<NA>"]
"""Cells of a CSV file that are missing. ``None`` is a level: of a penalty, say."""


def is_shipped(reference: str) -> bool:
    """Whether a reference names a table that comes with joulelab."""
    return reference.partition("/")[0] in SHIPPED


def check_shipped(reference: str) -> None:
    """Check that a table comes with joulelab.

    Raises:
        UsageError: it does not.
    """
    file, _, network = reference.partition("/")
    if network not in SHIPPED[file]:
        raise UsageError(
            f"{quoted(reference)} is not a shipped table: there are no curves of {quoted(network)}",
            f"tables: {_shipped_names()}",
        )


def recorded(
    reference: str | Path,
    variables: Sequence[str] | None = None,
    score: str | None = None,
    judged: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> RecordedTrials:
    """A table of recorded trials.

    Args:
        reference: ``"fashion-mnist-10k/DensePolyNN"``, or a CSV or Parquet file.
        variables: columns with the values; default: every column that varies and is not known as
            something else.
        score: column that a search sees, higher is better; default: the first that is there of
            `SCORES`.
        judged: column by which the choice of a search is judged; default: ``test_accuracy`` beside
            a ``validation_accuracy``, else the score.
        where: of each of these columns, the value of the rows that count.

    Raises:
        UsageError: there is no such table or column, or it cannot be searched.
    """
    name = str(reference)
    if is_shipped(name):
        frame, network = _shipped(name)
        where = {**network, **(where or {})}
    else:
        frame = read_file(Path(reference))
        name = Path(reference).name
    return table_of(frame, name, variables, score, judged, where)


def table_of(
    frame: pd.DataFrame,
    name: str,
    variables: Sequence[str] | None = None,
    score: str | None = None,
    judged: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> RecordedTrials:
    """A table from a frame, named for errors; for the other arguments see `recorded`."""
    rows = selected(frame, name, where or {})
    if len(rows) < 2:  # noqa: PLR2004 - a search needs a choice
        raise UsageError(
            f"{name} has {formats.count(len(rows), 'row')}: there is nothing to search",
            "give a table with two different trials at least",
        )
    if score is None:
        score = next((one for one in SCORES if one in rows), None)
        if score is None:
            raise UsageError(
                f"{name} has no column of scores that is known by its name",
                f'name it: score = "...", one of {", ".join(map(str, rows.columns))}',
            )
    if judged is None:
        judged = TEST if score == VALIDATION and TEST in rows else score
    if variables is None:
        others = {*NOT_VARIABLES, *(where or {}), score, judged}
        variables = [
            str(one) for one in rows if one not in others and rows[one].nunique(dropna=False) > 1
        ]
        if not variables:
            raise UsageError(
                f"{name} has no column with different values that may be a variable",
                f'name them: variables = ["..."], of {", ".join(map(str, rows.columns))}',
            )
    return RecordedTrials(rows, variables, score, judged, name)


def selected(frame: pd.DataFrame, name: str, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a frame that have some values.

    Raises:
        UsageError: there is no such column, or no such row.
    """
    rows = frame
    for column, value in where.items():
        if column not in rows:
            raise UsageError(
                f"{name} has no column {quoted(column)}",
                suggestion(column, [str(one) for one in frame.columns]),
            )
        there = rows[column]
        rows = rows[there.astype(str) == str(value) if isinstance(value, str) else there == value]
        if rows.empty:
            known = ", ".join(sorted({str(one) for one in there.dropna().unique()})[:8])
            raise UsageError(
                f"{name} has no row with {column} = {quoted(value)}", f"{column}: {known}"
            )
    return rows


def read_file(path: Path) -> pd.DataFrame:
    """The frame of a CSV or Parquet file.

    Raises:
        UsageError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(
            f"no recorded trials are at {path}",
            f"give a CSV or Parquet file, the results folder of a study, or {_shipped_names()}",
        )
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is not a table that can be read", "give a CSV or Parquet file")
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, keep_default_na=False, na_values=EMPTY)
        require("pyarrow", user=str(path))
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # those of pandas and pyarrow derive from ValueError
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path} cannot be read: {said}", "check the file") from error


def _shipped(name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """A shipped frame, and the network in it."""
    check_shipped(name)
    require("pyarrow", user=f"the table {name}")
    file, _, network = name.partition("/")
    with resources.as_file(TABLES / f"{file}.parquet") as path:
        if not path.is_file():
            raise UsageError(
                f"the table {file} is missing from this installation", "install joulelab again"
            )
        return pd.read_parquet(path), {"network": network}


def _shipped_names() -> str:
    return ", ".join(f"{file}/{network}" for file, all_ in SHIPPED.items() for network in all_)
