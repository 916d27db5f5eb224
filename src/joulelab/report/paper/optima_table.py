"""Table III of Yarally et al. (CAIN 2023): the optima of the strategies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.convergence import convergence
from joulelab.report import tables as page_tables
from joulelab.report.experiment import Experiment
from joulelab.report.paper.kinds import COUNT, factors_of, records
from joulelab.report.paper.table import Cell, Column, PaperTable
from joulelab.report.tables import STRATEGY, Omitted

NOT_COUNTED = 0
"""Stands for the number of hyperparameters where that is no factor."""


def optima_table(number: str, title: str, searches: Sequence[Experiment]) -> PaperTable | Omitted:
    """Optimum accuracy and round of every strategy, data sets side by side."""
    by = [name for name in factors_of(searches, ("network", STRATEGY)) if name != COUNT]
    found = []
    for one in searches:
        table = convergence(page_tables.rounds(one), by=list(one.factors))
        absent: dict[str, Any] = dict.fromkeys(set(by) - set(one.factors), formats.DASH)
        absent |= {} if COUNT in one.factors else {COUNT: NOT_COUNTED}
        scored = table.dropna(subset=["optimum_round"])
        if len(scored):
            found.append(scored.assign(dataset=one.dataset, **absent))
    if not found:
        return Omitted(f"table-{number.lower()}", f"Table {number}. {title}", "no round is scored.")
    raw = pd.concat(found, ignore_index=True)
    raw["optimum_round"] = raw["optimum_round"].astype(int)
    best = _best_of(raw, [name for name in by if name != STRATEGY])
    # As in the paper, five hyperparameters stand before three.
    settings = sorted({(row["dataset"], row[COUNT]) for row in records(raw)}, key=more_first)
    columns = [Column(name, words=True) for name in by]
    for dataset, count in settings:
        group = f"{dataset}, {count} hyperparameters" if count != NOT_COUNTED else str(dataset)
        columns += [Column("accuracy", group), Column("round", group)]
    rows = []
    for levels, of_levels in raw.groupby(by, sort=False):
        cells = [Cell(formats.level(level)) for level in levels]
        at = {(row["dataset"], row[COUNT]): row for row in records(of_levels)}
        for place in settings:
            cells += _optimum_cells(at.get(place), by, best)
        rows.append(tuple(cells))
    rows.sort(key=lambda row: row[0].text)
    note = (
        "Optimum accuracy, and the round in which it was reached first. Bold: the highest accuracy "
        "and the fewest rounds among the strategies."
    )
    return PaperTable(number, title, note, tuple(columns), tuple(rows), raw)


def _optimum_cells(
    row: Mapping[Hashable, Any] | None, by: Sequence[str], best: Mapping[object, tuple[float, int]]
) -> list[Cell]:
    if row is None:
        return [Cell(formats.DASH), Cell(formats.DASH)]
    name = (str(row["dataset"]), *(str(row[level]) for level in by), str(row[COUNT]))
    accuracy, rounds = best[_setting(row, [level for level in by if level != STRATEGY])]
    return [
        Cell(
            formats.accuracy(row["optimum_accuracy"]),
            (*name, "accuracy"),
            row["optimum_accuracy"] == accuracy,
        ),
        Cell(str(row["optimum_round"]), (*name, "round"), row["optimum_round"] == rounds),
    ]


def _best_of(raw: pd.DataFrame, by: Sequence[str]) -> dict[object, tuple[float, int]]:
    """The highest accuracy and the fewest rounds of each setting."""
    found: dict[object, tuple[float, int]] = {}
    for row in records(raw):
        accuracy, rounds = found.get(_setting(row, by), (-1.0, row["optimum_round"]))
        found[_setting(row, by)] = (
            max(accuracy, row["optimum_accuracy"]),
            min(rounds, row["optimum_round"]),
        )
    return found


def _setting(row: Mapping[Hashable, Any], by: Sequence[str]) -> tuple[object, ...]:
    return (row["dataset"], row[COUNT], *(row[name] for name in by))


def more_first(place: tuple[Any, Any]) -> tuple[str, float, str]:
    """Order of pairs of a data set and a number of hyperparameters, which may be a word."""
    dataset, count = place
    return str(dataset), -count if isinstance(count, int | float) else 0.0, str(count)
