"""``joulelab places``: a study's energy booked elsewhere, and the best hour to start it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from joulelab.cli.output import data_console, print_json
from joulelab.cli.starting import Beginning, StartRequest
from joulelab.energy.carbon.footprint import (
    VARIABLE,
    checked_pue,
    default_place,
    default_pue,
)
from joulelab.energy.carbon.places import FORMS
from joulelab.errors import UnknownNameError, UsageError
from joulelab.study.results import Results

if TYPE_CHECKING:
    from joulelab.report.experiment import Experiment
    from joulelab.report.places import Place
    from joulelab.report.tables import Omitted, Table


def print_places(
    folder: Path,
    named: Sequence[str],
    by: str,
    pue: float | None,
    start: StartRequest,
    *,
    as_json: bool,
) -> None:
    """Print CO2e by configuration and place, and the best hour to start.

    Args:
        folder: results folder of a study.
        named: places as for `carbon_intensity`; where there are none, that of the settings.
        by: ``configuration``, or a factor.
        pue: power usage effectiveness; that of the settings where not given.
        start: when the study may be started.
        as_json: JSON instead of tables on standard output.

    Raises:
        UsageError: no place is known, a place, factor, PUE or time is impossible, or the work does
            not fit before its deadline.
        StoreError: the folder has no study in it, or it cannot be read.
    """
    from joulelab.report.places import named_places
    from joulelab.report.text import WIDTH, print_table

    start.check()
    pue = checked_pue(default_pue() if pue is None else pue)
    results = Results.open(folder)
    places = named_places(_named(named, needed=start.series is None))
    tables, remarks = _tables(results, places, by, pue)
    begun = Beginning.search(results, start.series, start, pue) if start.series else None
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "by": by,
                "pue": pue,
                "tables": {table.key: _plain(table) for table in tables},
                "remarks": remarks,
                "start": begun.to_dict() if begun else None,
            }
        )
        return
    console = data_console()
    for table in tables:
        print_table(table, console)
    for remark in remarks:
        console.print(Text(remark, style="yellow"), soft_wrap=True)
    if begun is not None:
        console.print()
        for sentence in begun.sentences():
            console.print(Text(sentence), width=min(WIDTH, console.width))


def _named(named: Sequence[str], *, needed: bool) -> list[float | str]:
    if named:
        return list(named)
    place = default_place() if needed else None
    if place is None and needed:
        raise UsageError("no place is named", f"--place NLD, or {VARIABLE}; {FORMS}")
    return [] if place is None else [place]


def _tables(
    results: Results, places: Sequence[Place], by: str, pue: float
) -> tuple[list[Table | Omitted], list[str]]:
    """The tables of all experiments that have what is compared, and remarks."""
    from joulelab.report.experiment import experiments
    from joulelab.report.place_tables import co2e_table, effect_table, place_table
    from joulelab.report.places import book

    if not places:
        return [], []
    tables: list[Table | Omitted] = [place_table(places, pue)]
    remarks: list[str] = []
    for experiment in _with_factor(experiments(results), by):
        booked = book(experiment, places, pue, by)
        tables += [co2e_table(booked), effect_table(booked)]
        remarks += [f"{experiment.title}: {remark}" for remark in booked.remarks]
    return tables, remarks


def _with_factor(found: Sequence[Experiment], by: str) -> list[Experiment]:
    if by == "configuration":
        return list(found)
    those = [one for one in found if by in one.factors]
    if not those:
        factors = dict.fromkeys(factor for one in found for factor in one.factors)
        raise UnknownNameError("factor of this study", by, ["configuration", *factors])
    return those


def _plain(table: Table | Omitted) -> dict[str, Any]:
    from joulelab.report.tables import Table

    if not isinstance(table, Table):
        return {"title": table.title, "omitted": table.reason}
    return {"title": table.title, "note": table.note, "rows": table.raw.to_dict("records")}
