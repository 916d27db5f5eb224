"""Frames of runs and of results: columns, missing values, groups of rows, levels of a factor.

A frame of runs has one row per run. A run without a value that a statistic needs is dropped and
counted. A frame of results has the same columns even without rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from joulelab.analysis.rounding import Values
from joulelab.errors import UsageError, suggestion

ENERGY = "energy_net_j"
"""The default column of a run's energy."""

Level: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class Complete:
    """The rows in which nothing is missing.

    Attributes:
        rows: a copy, with a fresh index; the numeric columns asked for are floats.
        dropped: number of dropped rows.
    """

    rows: pd.DataFrame
    dropped: int


def names(columns: str | Sequence[str]) -> list[str]:
    """One column name, or several, as a list."""
    return [columns] if isinstance(columns, str) else list(columns)


def require_columns(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Check that a frame has all the columns.

    Raises:
        UsageError: a column is absent.
    """
    for column in columns:
        if column not in frame.columns:
            raise UsageError(
                f"the data frame has no column {column!r}", suggestion(column, map(str, frame))
            )


def numbers(frame: pd.DataFrame, column: str) -> Values:
    """A column as floats, shape (rows,); missing and infinite values are NaN.

    Raises:
        UsageError: the column is absent or holds something that is not a number.
    """
    require_columns(frame, [column])
    try:
        values = pd.to_numeric(frame[column]).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"column {column!r} does not hold numbers: {error}", "name a column with numbers"
        ) from None
    return np.where(np.isfinite(values), values, np.nan)


def complete(frame: pd.DataFrame, numeric: Sequence[str], present: Sequence[str] = ()) -> Complete:
    """Drop the rows with missing values, and count them.

    Args:
        frame: one row per run.
        numeric: columns that must hold a finite number.
        present: columns that must not be missing, for instance a factor.

    Raises:
        UsageError: a column is absent, or a numeric one holds something else.

    >>> frame = pd.DataFrame({"energy_net_j": [810.0, None, 830.0], "relu": [True, True, None]})
    >>> complete(frame, ["energy_net_j"], ["relu"]).dropped
    2
    """
    require_columns(frame, [*numeric, *present])
    values = {column: numbers(frame, column) for column in numeric}
    whole = np.ones(len(frame), bool)
    for found in values.values():
        whole &= ~np.isnan(found)
    for column in present:
        if column not in values:
            whole &= frame[column].notna().to_numpy()
    rows = (frame if whole.all() else frame[whole]).reset_index(drop=True)
    for column, found in values.items():
        rows[column] = found[whole]
    return Complete(rows, len(frame) - len(rows))


def results(
    rows: Iterable[Mapping[str, object]],
    columns: str,
    keys: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> pd.DataFrame:
    """A frame of results.

    Args:
        rows: values by column; absent columns are missing values.
        columns: names of the columns, separated by spaces.
        keys: columns before those, for instance the ones that identify a group.
        whole: columns of whole numbers that may be missing.

    >>> results([{"factor": "relu", "h": 4.0, "df": 1}], "factor h df", whole=["df"])
      factor    h  df
    0   relu  4.0   1
    """
    frame = pd.DataFrame(list(rows), columns=[*keys, *columns.split()])
    for column in whole:  # `astype` of the frame would copy every column apart
        frame[column] = frame[column].astype("Int64")
    return frame


def groups(
    frame: pd.DataFrame, by: str | Sequence[str]
) -> Iterator[tuple[dict[str, Level], pd.DataFrame]]:
    """The rows of each combination of levels, in order, with those levels by column.

    A missing level counts as a level, so no row is lost. Without columns there is one group: the
    whole frame.

    Raises:
        UsageError: the frame lacks a column.
    """
    columns = names(by)
    require_columns(frame, columns)
    if not columns:
        yield {}, frame
        return
    for key, rows in frame.groupby(columns, sort=True, dropna=False, observed=True):
        yield dict(zip(columns, map(_plain, key), strict=True)), rows


def label(key: Mapping[str, Level]) -> Level:
    """The name of a configuration: its level, or a text with all levels if there are several.

    >>> label({"conv_layers": 4}), label({"conv_layers": 4, "relu": True})
    (4, 'conv_layers=4, relu=True')
    """
    if len(key) == 1:
        return next(iter(key.values()))
    return ", ".join(f"{column}={level}" for column, level in key.items())


def levels(column: pd.Series[Any]) -> list[Level]:
    """The levels that occur, in order: numbers and truth values by size, anything else as text.

    >>> levels(pd.Series([7, 3, 7]))
    [3, 7]
    """
    found = [_plain(level) for level in column.dropna().unique()]
    if all(isinstance(level, int | float) for level in found):
        return sorted(found)
    return sorted(found, key=str)


def extremes(frame: pd.DataFrame, factor: str, energy: str) -> tuple[Level, Level]:
    """The lowest and the highest level of a factor.

    Numbers and truth values are ordered by size. Text has no order: the lowest level is then the
    one with the lowest mean energy, and the highest the one with the highest.

    Args:
        frame: one row per run, without missing values; at least one row.
        factor: column of the levels.
        energy: column in joules.

    >>> runs = pd.DataFrame({"network": ["small", "small", "big"], "j": [1.0, 2.0, 9.0]})
    >>> extremes(runs, "network", "j")
    ('small', 'big')
    """
    found = levels(frame[factor])
    if not all(isinstance(level, int | float) for level in found):
        found.sort(key=lambda level: float(frame.loc[frame[factor] == level, energy].mean()))
    return found[0], found[-1]


def _plain(level: object) -> Level:
    return cast(Level, level.item() if isinstance(level, np.generic) else level)
