"""``joulelab places``: a study's energy booked elsewhere, and the best hour to start it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cli.starting import StartRequest, StudyStart
from joulelab.energy.carbon.footprint import (
    VARIABLE,
    checked_pue,
    default_place,
    default_pue,
)
from joulelab.energy.carbon.places import FORMS
from joulelab.errors import UnknownNameError, UsageError
from joulelab.present import Omitted, Remark, Table, Unavailable, View
from joulelab.present.data import tables_data
from joulelab.study.results import Results

if TYPE_CHECKING:
    from joulelab.report.experiment import Experiment
    from joulelab.report.places import Booked, Place


def places(
    folder: Path,
    named: Sequence[str],
    by: str,
    pue: float | None,
    start: StartRequest,
    plot: Path | None = None,
) -> View:
    """CO2e by configuration and place, and the best hour to start.

    Args:
        folder: results folder of a study.
        named: places as for `carbon_intensity`; where there are none, that of the settings.
        by: ``configuration``, or a factor.
        pue: power usage effectiveness; that of the settings where not given.
        start: when the study may be started.
        plot: file for a figure of CO2e by place, as PNG, SVG or PDF by the end of its name.

    Raises:
        UsageError: no place is known, a place, factor, PUE or time is impossible, or the work does
            not fit before its deadline.
        StoreError: the folder has no study in it, or it cannot be read.
    """
    from joulelab.present.style import figure_format
    from joulelab.report.places import named_places

    start.check()
    if plot is not None:
        figure_format(plot)
    pue = checked_pue(default_pue() if pue is None else pue)
    results = Results.open(folder)
    known = named_places(_named(named, needed=start.series is None))
    bookings = _book(results, known, by, pue)
    tables = _tables(bookings, known, pue)
    findings = _findings(bookings)
    remarks = [f"{booked.name}: {remark}" for booked in bookings for remark in booked.remarks]
    begun = StudyStart.search(results, start.series, start, pue) if start.series else None
    if plot is not None:
        _write_figure(plot, bookings)
    return View(
        [*tables, *findings, *map(Remark, remarks), *(begun.sentences() if begun else ())],
        {
            "folder": str(folder),
            "by": by,
            "pue": pue,
            "tables": {
                table.key: data | ({"note": table.note} if isinstance(table, Table) else {})
                for table, data in zip(tables, tables_data(tables).values(), strict=True)
            },
            "findings": findings,
            "remarks": remarks,
            "plot": None if plot is None else str(plot),
            "start": begun.to_dict() if begun else None,
        },
    )


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
    bookings: Sequence[Booked], named: Sequence[Place], pue: float
) -> list[Table | Omitted]:
    """The tables of all bookings."""
    from joulelab.report.places import co2e_table, effect_table, place_table

    if not named:
        return []
    tables: list[Table | Omitted] = [place_table(named, pue)]
    for booked in bookings:
        tables.append(_or_why(co2e_table, booked, f"co2e-{booked.name}", "CO2e of a run"))
        tables.append(_or_why(effect_table, booked, f"effects-{booked.name}", "How large place is"))
    return tables


def _or_why(
    make: Callable[[Booked], Table], booked: Booked, key: str, title: str
) -> Table | Omitted:
    try:
        return make(booked)
    except Unavailable as error:
        return Omitted(key, f"{title}: {booked.name}", error.reason)


def _findings(bookings: Sequence[Booked]) -> list[str]:
    """How far place moves the grams of each experiment, where that can be said."""
    from joulelab.report.places import place_finding

    said = [(booked.name, place_finding(booked)) for booked in bookings]
    named = "" if len(bookings) == 1 else "{}: "
    return [f"{named.format(name)}{sentence}" for name, sentence in said if sentence]


def _write_figure(path: Path, bookings: Sequence[Booked]) -> None:
    """Draw CO2e by place, a panel an experiment.

    Raises:
        UsageError: nothing is known that could be drawn, or the file cannot be written.
    """
    from joulelab.present.style import write
    from joulelab.report.places import co2e_figure

    alone = len(bookings) == 1
    panels = {"" if alone else booked.name: booked for booked in bookings}
    if not panels:
        raise UsageError("there is nothing to draw: no place is named", "--place NLD --place TWN")
    try:
        write(co2e_figure(panels).draw("screen"), path)
    except Unavailable as error:
        raise UsageError(f"there is nothing to draw: {error.reason}", "leave out --plot") from None


def _with_factor(found: Sequence[Experiment], by: str) -> list[Experiment]:
    if by == "configuration":
        return list(found)
    those = [one for one in found if by in one.factors]
    if not those:
        factors = dict.fromkeys(factor for one in found for factor in one.factors)
        raise UnknownNameError("factor of this study", by, ["configuration", *factors])
    return those
