"""``joulelab places``: the CO2e of a study in other places, and its best start time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.cli.options import parse_duration_s
from joulelab.cli.output import check_figure
from joulelab.energy.carbon.footprint import (
    JOULES_IN_KWH,
    VARIABLE,
    checked_pue,
    default_place,
    default_pue,
)
from joulelab.energy.carbon.intensity import moment
from joulelab.energy.carbon.intensity_file import read_intensity
from joulelab.energy.carbon.places import FORMS
from joulelab.energy.carbon.start_time import BestStart, best_start
from joulelab.errors import UnknownNameError, UsageError
from joulelab.present import Omitted, Remark, Table, Unavailable, View
from joulelab.present.data import tables_data
from joulelab.study.results import Results
from joulelab.tabular.local_time import read_zone

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
        named: places as for `carbon_intensity`; default: the place in the settings.
        by: ``configuration``, or a factor.
        pue: power usage effectiveness; default: that in the settings.
        start: when the study may be started.
        plot: file for a figure of CO2e by place, PNG, SVG or PDF by its suffix.

    Raises:
        UsageError: the place is unknown, a place, factor, PUE or time is impossible, or the work
            does not fit before its deadline.
        StoreError: the folder has no study in it, or it cannot be read.
    """
    from joulelab.report.places import named_places

    start.check()
    check_figure(plot)
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
    """The experiments with the compared factor, booked at every place."""
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
    """The effect of place on the grams of each experiment, where known."""
    from joulelab.report.places import place_finding

    said = [(booked.name, place_finding(booked)) for booked in bookings]
    named = "" if len(bookings) == 1 else "{}: "
    return [f"{named.format(name)}{sentence}" for name, sentence in said if sentence]


def _write_figure(path: Path, bookings: Sequence[Booked]) -> None:
    """Draw CO2e by place, one panel per experiment.

    Raises:
        UsageError: nothing can be drawn, or the file cannot be written.
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


@dataclass(frozen=True)
class StartRequest:
    """When a study may start, as given on the command line.

    Attributes:
        series: file of intensity over time.
        duration: how long it takes; default: the measured duration of the study.
        within: deadline, counted from `first`; default: the end of the series.
        first: earliest start, ISO 8601; default: the start of the series.
        timezone: of times without an offset, in the series and in `first`; default: UTC.
    """

    series: Path | None = None
    duration: str | None = None
    within: str | None = None
    first: str | None = None
    timezone: str | None = None

    def check(self) -> None:
        """Raise a UsageError if a start is requested without a series of intensities."""
        given = {"--duration": self.duration, "--within": self.within, "--from": self.first}
        option = next((option for option, value in given.items() if value is not None), None)
        if self.series is None and option is not None:
            raise UsageError(
                f"{option} needs a series of intensities to search for a start",
                "name one: --start intensity.csv",
            )


@dataclass(frozen=True)
class StudyStart:
    """The best start of a study, with the grams at its mean power.

    Attributes:
        best: the start, and the intensities of others.
        power_w: mean gross power over the ledger of the study; ``None`` if unknown.
        pue: power usage effectiveness.
        series_end_s: end of the series, seconds since the epoch.
        beyond_s: seconds from there to the deadline; 0 if it comes earlier.
        estimated: share of the best window with intensities that the source estimated.
    """

    best: BestStart
    power_w: float | None
    pue: float
    series_end_s: float
    beyond_s: float
    estimated: float

    @classmethod
    def search(cls, results: Results, path: Path, asked: StartRequest, pue: float) -> StudyStart:
        """Find the best start of a study.

        Args:
            results: of the study, for its duration and power.
            path: of the file of intensity over time.
            asked: when it may start.
            pue: power usage effectiveness.

        Raises:
            UsageError: the file or a time is wrong, the duration is unknown, or the work does not
                fit.
        """
        zone = None if asked.timezone is None else read_zone(asked.timezone)
        series = read_intensity(path.expanduser(), zone)
        ledger = results.ledger_frame()
        duration_s = float(ledger["duration_s"].sum())
        if asked.duration is not None:
            duration_s = parse_duration_s(asked.duration, "--duration")
        if duration_s <= 0:
            raise UsageError("the study has not run yet: its duration is unknown", "--duration 6h")
        first_s = series.start_s if asked.first is None else _instant_s(asked.first, zone or UTC)
        deadline_s = series.end_s
        if asked.within is not None:
            deadline_s = first_s + parse_duration_s(asked.within, "--within")
        elif first_s >= deadline_s:
            raise UsageError(
                f"{series.source} ends {moment(deadline_s)}, not after --from",
                "take a series that ends later",
            )
        booked = ledger[ledger["energy_gross_j"].notna() & (ledger["duration_s"] > 0)]
        energy_j = float(booked["energy_gross_j"].sum())
        best = best_start(series, duration_s, first_s, deadline_s)
        return cls(
            best,
            power_w=energy_j / float(booked["duration_s"].sum()) if energy_j > 0 else None,
            pue=pue,
            series_end_s=series.end_s,
            beyond_s=max(deadline_s - series.end_s, 0.0),
            estimated=series.estimated_share(best.start_s, best.start_s + duration_s),
        )

    def grams(self, g_per_kwh: float | None) -> float | None:
        """CO2e of the study at a mean intensity; ``None`` if its power is unknown."""
        if self.power_w is None or g_per_kwh is None:
            return None
        return self.power_w * self.best.duration_s / JOULES_IN_KWH * self.pue * g_per_kwh

    def sentences(self) -> Iterator[str]:
        """The best start, what it saves, and what remains unknown."""
        best = self.best
        yield (
            f"Best start: {moment(best.start_s)}, {formats.significant(best.g_per_kwh)} g/kWh on "
            f"average ({best.source}), for {formats.duration(best.duration_s)} of work at constant "
            f"power that starts from {moment(best.earliest_s)} to {moment(best.latest_s)}."
        )
        yield self._against("starting at once", best.at_once_g_per_kwh, best.saved)
        worst = f"the worst start, {moment(best.worst_start_s)}"
        yield self._against(worst, best.worst_g_per_kwh, best.saved_of_worst)
        if self.power_w is None:
            yield "Grams are unknown because the energy of the study is; the shares do not need it."
        else:
            yield (
                f"{formats.grams(self.grams(best.g_per_kwh))} CO2e at the study's mean gross power "
                f"of {formats.watts(self.power_w)} and PUE {round(self.pue, 3)}."
            )
        if self.estimated > 0:
            yield f"Its intensity is estimated, or forecast, for {formats.share(self.estimated)}."
        if self.beyond_s > 0:
            yield f"The deadline lies beyond the series, which ends {moment(self.series_end_s)}."
        if best.unknown_share > 0:
            share = formats.share(best.unknown_share) if best.unknown_share < 1 else "Nearly all"
            yield (
                f"{share} of the starts reach into a time of unknown intensity and are left out; "
                "a better one may be among them."
            )

    def _against(self, what: str, g_per_kwh: float | None, saved: float | None) -> str:
        if g_per_kwh is None or saved is None:
            return f"Against {what}: unknown, because the intensity is not known for all of it."
        grams, least = self.grams(g_per_kwh), self.grams(self.best.g_per_kwh)
        less = "" if grams is None or least is None else f", {formats.grams(grams - least)}"
        intensity = f"{formats.significant(g_per_kwh)} g/kWh"
        return f"Against {what} ({intensity}) it saves {formats.percent(saved)}{less}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        best = self.best
        return {
            **asdict(best),
            "start": datetime.fromtimestamp(best.start_s, UTC).isoformat(),
            "worst_start": datetime.fromtimestamp(best.worst_start_s, UTC).isoformat(),
            "saved": best.saved,
            "saved_of_worst": best.saved_of_worst,
            "power_w": self.power_w,
            "co2e_g": self.grams(best.g_per_kwh),
            "at_once_co2e_g": self.grams(best.at_once_g_per_kwh),
            "worst_co2e_g": self.grams(best.worst_g_per_kwh),
            "deadline_beyond_series_s": self.beyond_s,
            "estimated_share": self.estimated,
        }


def _instant_s(text: str, zone: tzinfo) -> float:
    """Seconds since the epoch of an ISO 8601 time; `zone` applies if it has no offset."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--from {text!r} is not a time", "write 2024-05-01T12:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
