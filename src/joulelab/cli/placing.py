"""``joulelab places``: a study's energy booked elsewhere, and the best hour to start it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from joulelab.cli.measuring import check_picture
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
    from joulelab.report.places import Booked, Place
    from joulelab.report.tables import Omitted, Table


def print_places(
    folder: Path,
    named: Sequence[str],
    by: str,
    pue: float | None,
    start: StartRequest,
    plot: Path | None = None,
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
        plot: file for a figure of CO2e by place, as PNG, SVG or PDF by the end of its name.
        as_json: JSON instead of tables on standard output.

    Raises:
        UsageError: no place is known, a place, factor, PUE or time is impossible, or the work does
            not fit before its deadline.
        StoreError: the folder has no study in it, or it cannot be read.
    """
    from joulelab.report.places import named_places

    start.check()
    check_picture(plot)
    pue = checked_pue(default_pue() if pue is None else pue)
    results = Results.open(folder)
    places = named_places(_named(named, needed=start.series is None))
    bookings = _book(results, places, by, pue)
    tables, remarks = _tables(bookings, places, pue)
    findings = _findings(bookings)
    begun = Beginning.search(results, start.series, start, pue) if start.series else None
    if plot is not None:
        _write_figure(plot, bookings)
    if not as_json:
        _print(tables, findings, remarks, begun)
        return
    print_json(
        {
            "folder": str(folder),
            "by": by,
            "pue": pue,
            "tables": {table.key: _plain(table) for table in tables},
            "findings": findings,
            "remarks": remarks,
            "plot": None if plot is None else str(plot),
            "start": begun.to_dict() if begun else None,
        }
    )


def _print(
    tables: Sequence[Table | Omitted],
    findings: Sequence[str],
    remarks: Sequence[str],
    begun: Beginning | None,
) -> None:
    from joulelab.report.text import WIDTH, print_table

    console = data_console()
    width = min(WIDTH, console.width)
    for table in tables:
        print_table(table, console)
    for sentence in findings:
        console.print()
        console.print(Text(sentence), width=width)
    for remark in remarks:
        console.print(Text(remark, style="yellow"), soft_wrap=True)
    if begun is not None:
        console.print()
        for sentence in begun.sentences():
            console.print(Text(sentence), width=width)


def _named(named: Sequence[str], *, needed: bool) -> list[float | str]:
    if named:
        return list(named)
    place = default_place() if needed else None
    if place is None and needed:
        raise UsageError("no place is named", f"--place NLD, or {VARIABLE}; {FORMS}")
    return [] if place is None else [place]


def _book(results: Results, places: Sequence[Place], by: str, pue: float) -> list[Booked]:
    """All experiments that have what is compared, at every place."""
    from joulelab.report.experiment import experiments
    from joulelab.report.places import book

    if not places:
        return []
    return [book(one, places, pue, by) for one in _with_factor(experiments(results), by)]


def _tables(
    bookings: Sequence[Booked], places: Sequence[Place], pue: float
) -> tuple[list[Table | Omitted], list[str]]:
    """The tables of all bookings, and remarks."""
    from joulelab.report.place_tables import co2e_table, effect_table, place_table

    if not places:
        return [], []
    tables: list[Table | Omitted] = [place_table(places, pue)]
    remarks: list[str] = []
    for booked in bookings:
        tables += [co2e_table(booked), effect_table(booked)]
        remarks += [f"{booked.name}: {remark}" for remark in booked.remarks]
    return tables, remarks


def _findings(bookings: Sequence[Booked]) -> list[str]:
    """How far place moves the grams of each experiment, where that can be said."""
    from joulelab.report.place_picture import place_finding

    said = [(booked.name, place_finding(booked)) for booked in bookings]
    named = "" if len(bookings) == 1 else "{}: "
    return [f"{named.format(name)}{sentence}" for name, sentence in said if sentence]


def _write_figure(path: Path, bookings: Sequence[Booked]) -> None:
    """Draw CO2e by place, a panel an experiment.

    Raises:
        UsageError: nothing is known that could be drawn, or the file cannot be written.
    """
    from joulelab.present.style import write
    from joulelab.report.pictures import Picture
    from joulelab.report.place_picture import co2e_picture

    alone = len(bookings) == 1
    panels = {"" if alone else booked.name: booked for booked in bookings}
    if not panels:
        raise UsageError("there is nothing to draw: no place is named", "--place NLD --place TWN")
    picture = co2e_picture(panels)
    if not isinstance(picture, Picture):
        raise UsageError(f"there is nothing to draw: {picture.reason}", "leave out --plot")
    write(picture.figure, path)


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
