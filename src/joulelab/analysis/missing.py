"""Runs without a value: which columns must be there, and how many runs are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.errors import UsageError, suggestion

ENERGY = "energy_net_j"
"""The column that holds the energy of a run unless the caller names another one."""


@dataclass(frozen=True)
class Complete:
    """The rows in which nothing is missing.

    Attributes:
        rows: a copy, with a fresh index; the numeric columns asked for are floats.
        dropped: number of rows left out.
    """

    rows: pd.DataFrame
    dropped: int


def names(columns: str | Sequence[str]) -> list[str]:
    """One column name, or several, as a list."""
    return [columns] if isinstance(columns, str) else list(columns)


def require_columns(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Check that a frame has all the columns.

    Raises:
        UsageError: it lacks one.
    """
    for column in columns:
        if column not in frame.columns:
            raise UsageError(
                f"the data frame has no column {column!r}", suggestion(column, map(str, frame))
            )


def numbers(frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column as floats, shape (rows,); whatever is missing or infinite is NaN.

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
    """Leave out the rows in which a value is missing, and count them.

    Args:
        frame: a row a run.
        numeric: columns that must hold a finite number.
        present: columns that must hold anything at all, for instance a factor.

    Raises:
        UsageError: a column is absent, or a numeric one holds something else.

    >>> frame = pd.DataFrame({"energy_net_j": [810.0, None, 830.0], "relu": [True, True, None]})
    >>> complete(frame, ["energy_net_j"], ["relu"]).dropped
    2
    """
    require_columns(frame, [*numeric, *present])
    rows = frame.assign(**{column: numbers(frame, column) for column in numeric})
    whole = rows.dropna(subset=[*numeric, *present]).reset_index(drop=True)
    return Complete(whole, len(frame) - len(whole))
