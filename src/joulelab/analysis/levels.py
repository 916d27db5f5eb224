"""Levels of a factor, in order, and the two that a comparison of low with high means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from joulelab.analysis.missing import names, require_columns

Level: TypeAlias = bool | int | float | str


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

    Numbers and truth values are ordered by size. Names have no order of their own, so there the
    lowest is the level with the lowest mean energy and the highest the one with the highest.

    Args:
        frame: a row a run, without missing values; at least one row.
        factor: column of the levels.
        energy: column in joules.

    >>> runs = pd.DataFrame({"network": ["small", "small", "big"], "j": [1.0, 2.0, 9.0]})
    >>> extremes(runs, "network", "j")
    ('small', 'big')
    """
    found = levels(frame[factor])
    if not all(isinstance(level, int | float) for level in found):
        means = {level: float(frame.loc[frame[factor] == level, energy].mean()) for level in found}
        found.sort(key=lambda level: means[level])
    return found[0], found[-1]


def groups(
    frame: pd.DataFrame, by: str | Sequence[str]
) -> Iterator[tuple[dict[str, Level], pd.DataFrame]]:
    """The rows of each combination of levels, in order, with those levels by column.

    A missing level is a level like any other, so that no row is lost. Without columns there is one
    group: the whole frame.

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


def label(key: dict[str, Level]) -> Level:
    """The name of a configuration: its level, or as text all of them where there are several.

    >>> label({"conv_layers": 4}), label({"conv_layers": 4, "relu": True})
    (4, 'conv_layers=4, relu=True')
    """
    if len(key) == 1:
        return next(iter(key.values()))
    return ", ".join(f"{column}={level}" for column, level in key.items())


def _plain(level: object) -> Level:
    return cast(Level, level.item() if isinstance(level, np.generic) else level)
