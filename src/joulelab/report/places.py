"""The energy of an experiment booked at several places: CO2e of its configurations at each.

Gross energy counts, for the whole of it was drawn from the grid. Runs that were trained together
are one measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.comparison import mean_interval
from joulelab.analysis.observations import observations
from joulelab.analysis.places import PlaceEffects, place_effects
from joulelab.energy.carbon.footprint import (
    JOULES_IN_KWH,
    TIMEZONE,
    carbon_intensity,
    checked_pue,
    names_series,
)
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries, mean_intensity
from joulelab.energy.reading import Status
from joulelab.errors import JoulelabError, UsageError
from joulelab.present import Column, Figure, Table, Unavailable, words
from joulelab.present.axes import Axis, tenfold
from joulelab.present.curve_plot import curves
from joulelab.present.parts import Width
from joulelab.present.style import GREY, Look, looks
from joulelab.report.experiment import AVERAGED, GROSS, Experiment

CONFIGURATION = "configuration"
MOST_NAMED = 12
"""Of more lines only the lowest and the highest are named; the others are grey."""
ASIDE, MOST_ASIDE = 0.03, 0.28
"""Offset of each line at a place, and of all of them, so that intervals do not overlap."""


@dataclass(frozen=True)
class Place:
    """A place, or a course of intensities, at which energy is booked.

    Attributes:
        name: as tables have it.
        intensity: of its electricity.
    """

    name: str
    intensity: Intensity | IntensitySeries


@dataclass(frozen=True, eq=False)
class Booked:
    """Every measured run of an experiment at every place.

    Attributes:
        name: of the experiment.
        by: ``configuration``, or the factor whose levels are compared.
        levels: the configuration, or level, of each run, (runs,).
        grams: CO2e, (runs, places); NaN where the intensity is unknown.
        places: in the order in which they were named.
        reasons: of each place, why grams of some run are unknown; empty where all are known.
        status: of the energy: measured, estimated, partly estimated or missing.
        remarks: what to know before reading, in sentences.
    """

    name: str
    by: str
    levels: tuple[str, ...]
    grams: npt.NDArray[np.float64]
    places: tuple[Place, ...]
    reasons: tuple[str, ...]
    status: str
    remarks: tuple[str, ...]

    @cached_property
    def effects(self) -> PlaceEffects:
        """How large place is against configuration.

        A place of which some grams are unknown, or 0, is left out.

        Raises:
            Unavailable: it cannot be said.
        """
        whole = self.compared
        if not self.levels:
            raise Unavailable("no run has a known energy above 0.")
        try:
            return place_effects(
                self.grams[:, whole], self.levels, [self.places[at].name for at in whole]
            )
        except UsageError as error:
            raise Unavailable(f"{error.message}.") from None

    @property
    def compared(self) -> list[int]:
        """The places, by number, whose grams are known and above 0 for every run."""
        usable = (self.grams > 0).all(axis=0)
        return [int(at) for at in np.flatnonzero(usable)]


def named_places(named: Sequence[float | str]) -> tuple[Place, ...]:
    """The places that a user has named, each once.

    Args:
        named: as for `carbon_intensity`.

    Raises:
        UsageError: a place is unknown or has no intensity, or one is given twice.
    """
    places: list[Place] = []
    for one in named:
        places.append(_further(places, one))
    return tuple(places)


def known_places(
    named: Sequence[float | str], *, files: bool = True
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Those of some places that are known, and about each of the others a sentence.

    For a study that has run: tables of another version may lack what it named then.

    Args:
        named: as for `carbon_intensity`.
        files: read those that are files: they lie outside of the results folder.
    """
    places: list[Place] = []
    unknown: list[str] = []
    for one in named:
        if not files and isinstance(one, str) and names_series(one.strip()):
            unknown.append(
                f"Nothing is booked at {one}: this is not the study as you have run it, and no "
                "file that it names is read; `joulelab places` takes it as --place."
            )
            continue
        try:
            places.append(_further(places, one))
        except JoulelabError as error:
            unknown.append(f"Nothing is booked at {one}: {error.message}.")
    return tuple(places), tuple(unknown)


def _further(places: Sequence[Place], named: float | str) -> Place:
    """One more place; a UsageError where it is none, or one of those already named."""
    intensity = carbon_intensity(named)
    if isinstance(intensity, IntensitySeries):
        name = Path(str(named).partition(TIMEZONE)[0]).name
    else:
        name = intensity.place or f"{intensity.g_per_kwh:g} g/kWh"
    if name in [place.name for place in places]:
        raise UsageError(f"the place {name} is named twice", "name each place once")
    return Place(name, intensity)


def book(experiment: Experiment, places: Sequence[Place], pue: float, by: str) -> Booked:
    """Book the gross energy of every run at every place.

    Args:
        experiment: with its finished runs.
        places: at least one.
        pue: power usage effectiveness, the same for all.
        by: ``configuration``, or a factor of the experiment.

    Raises:
        UsageError: the PUE is impossible.
    """
    pue = checked_pue(pue)
    runs = experiment.runs
    energy_j = runs[GROSS] if len(runs) else pd.Series(dtype=float)
    usable = runs[energy_j > 0]
    remarks = []
    if "energy_status" in usable and (replayed := usable["energy_status"] == Status.REPLAYED).any():
        usable = usable[~replayed]
        count = formats.count(int(replayed.sum()), "run")
        remarks.append(f"{count} left out: replayed energies were spent before, elsewhere.")
    impossible = experiment.impossible + int((energy_j <= 0).sum())
    if unknown := int(energy_j.isna().sum()) - experiment.impossible:
        remarks.append(f"{formats.count(unknown, 'run')} without a figure of energy left out.")
    if impossible:
        remarks.append(f"{formats.count(impossible, 'run')} with an energy of 0 or below left out.")
    measured = usable
    if len(usable) and (usable["group_size"].fillna(1) > 1).any():
        unit = [CONFIGURATION, "started_at"]
        measured = observations(usable, unit, GROSS, AVERAGED).table
        remarks.append(
            f"Runs trained together are one measurement: {len(usable):,} became {len(measured):,}."
        )
    columns = [_grams(measured, place, pue) for place in places]
    return Booked(
        name=experiment.title,
        by=by,
        levels=tuple(formats.level(level) for level in measured[by]) if len(measured) else (),
        grams=np.column_stack([grams for grams, _ in columns]),
        places=tuple(places),
        reasons=tuple(reason for _, reason in columns),
        status=Status.of_set(measured["energy_status"]) if len(measured) else "missing",
        remarks=tuple(remarks),
    )


def _grams(runs: pd.DataFrame, place: Place, pue: float) -> tuple[npt.NDArray[np.float64], str]:
    """Grams of each run at a place, (runs,), and why some are unknown."""
    if not len(runs):
        return np.empty(0), ""
    if isinstance(place.intensity, Intensity):
        return runs[GROSS].to_numpy(float) / JOULES_IN_KWH * pue * place.intensity.g_per_kwh, ""
    found = [
        mean_intensity(place.intensity, started_at if started_at > 0 else None, duration_s)
        for started_at, duration_s in zip(runs["started_at"], runs["duration_s"], strict=True)
    ]
    g_per_kwh = np.array([np.nan if mean is None else mean for mean, _ in found])
    reason = next((reason for mean, reason in found if mean is None), "")
    return runs[GROSS].to_numpy(float) / JOULES_IN_KWH * pue * g_per_kwh, reason


def place_table(places: Sequence[Place], pue: float) -> Table:
    """The intensity of each place with its source and year."""
    raw = pd.DataFrame([_described(place) for place in places]).astype({"year": object})
    raw["pue"] = pue
    columns = [
        words("place"),
        Column("g/kWh", ("g_per_kwh_low", "g_per_kwh_high"), _g_per_kwh),
        words("year", form=lambda year: str(year or "not stated")),
        words("source"),
    ]
    note = f"Carbon intensity of the electricity; PUE {round(pue, 3)}."
    if raw["remark"].nunique() > 1:
        counted = (
            f"{str(remark) or 'not stated'} ({', '.join(alike['place'])})"
            for remark, alike in raw.groupby("remark", sort=False)
        )
        note += f" They do not all count the same: {'; '.join(counted)}."
    return Table(raw, columns, note, "places", "Places")


def co2e_table(booked: Booked) -> Table:
    """CO2e of a run, for each configuration and place.

    Raises:
        Unavailable: no energy is known.
    """
    if not booked.levels:
        raise Unavailable("no finished run has a known energy above 0.")
    rows = co2e_means(booked)
    # A level stands before its first place only.
    shown = rows.assign(level=rows[booked.by].where(~rows[booked.by].duplicated(), ""))
    columns = [
        words(booked.by, "level"),
        words("place"),
        Column("runs", "n", str),
        Column("CO2e", "co2e_g", formats.grams),
        words("95 % interval", ("n", "low_g", "high_g"), form=_interval),
    ]
    note = (
        f"Mean over runs with Student's interval; gross energy ({booked.status}) x PUE x "
        "intensity. The interval is that of the energy's scatter, not of the intensity."
    )
    unknown = zip(booked.places, booked.reasons, strict=True)
    note += "".join(f" {place.name} unknown: {reason}." for place, reason in unknown if reason)
    title = f"CO2e of a run by {booked.by} and place: {booked.name}"
    return Table(rows, columns, note, f"co2e-{booked.name}", title, shown)


def co2e_means(booked: Booked) -> pd.DataFrame:
    """Mean grams of a run of each level at each place, levels in the order of their runs.

    Returns:
        One row per level and place: the column of `Booked.by`, ``place``, ``n`` (runs), ``co2e_g``
        with ``low_g`` and ``high_g`` (95 %, Student; missing of a single run), and ``reason``: why
        the grams are unknown, which they are where those of one run are.
    """
    runs_of: dict[str, list[int]] = {}
    for run, level in enumerate(booked.levels):
        runs_of.setdefault(level, []).append(run)
    rows = [
        {booked.by: level, "place": place.name, **_mean(booked, runs, at)}
        for level, runs in runs_of.items()
        for at, place in enumerate(booked.places)
    ]
    columns = [booked.by, "place", "n", "co2e_g", "low_g", "high_g", "reason"]
    return pd.DataFrame(rows, columns=columns)


def effect_table(booked: Booked) -> Table:
    """How large place is against configuration.

    Raises:
        Unavailable: that cannot be said.
    """
    found = booked.effects
    rows = pd.DataFrame(
        [
            ("place", found.eta_place, found.place_ratio, found.lowest_place, found.highest_place),
            (
                booked.by,
                found.eta_configuration,
                found.configuration_ratio,
                found.cheapest,
                found.dearest,
            ),
            (f"runs of one {booked.by}", found.eta_runs, np.nan, "", ""),
            ("hour of the run", found.eta_rest, np.nan, "", ""),
        ],
        columns=["of", "eta_squared", "ratio", "least", "most"],
    )
    if not any(isinstance(booked.places[at].intensity, IntensitySeries) for at in booked.compared):
        rows = rows[:-1]
    columns = [
        words("of"),
        Column("η²", "eta_squared", formats.effect),
        Column("most / least", "ratio", formats.significant),
        words("least"),
        words("most"),
    ]
    title = f"How large place is against {booked.by}: {booked.name}"
    return Table(rows, columns, _effect_note(booked, found), f"effects-{booked.name}", title)


def _effect_note(booked: Booked, found: PlaceEffects) -> str:
    note = (
        f"η²: shares of the variance of ln(CO2e) of {formats.count(found.runs, 'run')} at "
        f"{formats.count(len(found.places), 'place')}; ratios are of geometric means. CO2e is "
        "energy x intensity, so on logarithms the two add, and the effect of a place with one "
        "figure is exact: it is that of the figure, and depends on which places are named."
    )
    if not found.repeated:
        note += (
            f" Each {booked.by} has one run: its share holds the scatter from run to run as well."
        )
    left = [place.name for at, place in enumerate(booked.places) if at not in booked.compared]
    if left:
        note += f" Left out, for grams that are unknown or 0: {', '.join(left)}."
    return note


def _interval(runs: int, low_g: float, high_g: float) -> str:
    return formats.grams_range(low_g, high_g) if runs > 1 else "no interval"


def _mean(booked: Booked, runs: Sequence[int], at: int) -> dict[str, object]:
    """Mean grams of some runs at a place; unknown where those of one of them are."""
    grams = booked.grams[runs, at]
    if not np.isfinite(grams).all():
        unknown = {"co2e_g": np.nan, "low_g": np.nan, "high_g": np.nan}
        return {"n": len(grams), **unknown, "reason": booked.reasons[at]}
    mean = mean_interval(list(grams))
    return {
        "n": mean.n,
        "co2e_g": mean.value,
        "low_g": mean.low,
        "high_g": mean.high,
        "reason": "",
    }


def _described(place: Place) -> dict[str, object]:
    intensity = place.intensity
    common: dict[str, Any] = {
        "place": place.name,
        "source": intensity.source,
        "remark": intensity.remark,
    }
    if isinstance(intensity, Intensity):
        g = intensity.g_per_kwh
        return {**common, "g_per_kwh_low": g, "g_per_kwh_high": g, "year": intensity.year}
    known = [g for g in intensity.g_per_kwh if g is not None]
    year = datetime.fromtimestamp(intensity.start_s, UTC).year
    low, high = (min(known), max(known)) if known else (None, None)
    if guessed := intensity.estimated_share(intensity.start_s, intensity.end_s):
        common["source"] += f", {formats.share(guessed)} of it estimated there"
    return {**common, "g_per_kwh_low": low, "g_per_kwh_high": high, "year": year}


def _g_per_kwh(low: float | None, high: float | None) -> str:
    least, most = formats.significant(low), formats.significant(high)
    return least if least == most else f"{least} to {most}"


def co2e_figure(panels: Mapping[str, Booked]) -> Figure:
    """CO2e of a run by place, a line a level, a panel for each of some bookings.

    Args:
        panels: by title; one alone may have an empty title.

    Raises:
        Unavailable: no run has an energy at a place of known intensity.
    """
    by = "configuration" if len({one.by for one in panels.values()}) > 1 else _first(panels).by
    title = f"CO2e of a run by place and {by}"
    frames = {
        name: co2e_means(booked).rename(columns={booked.by: "level"})
        for name, booked in panels.items()
    }
    every = pd.concat(list(frames.values()))
    drawn = every[every["co2e_g"] > 0]
    if not len(drawn):
        raise Unavailable("no run has an energy above 0 at a place of known intensity.")
    status = Status.of_set(one.status for one in panels.values())
    least, most = (drawn.loc[drawn["co2e_g"] == end].iloc[0] for end in _ends(drawn))
    alt = (
        f"From {formats.grams(least['co2e_g'])} ({least['level']}, {least['place']}) to "
        f"{formats.grams(most['co2e_g'])} ({most['level']}, {most['place']}). "
        + " ".join(
            f"{name}: {said}" if name else said
            for name, said in ((name, place_finding(one)) for name, one in panels.items())
            if said
        )
    )
    return Figure(
        lambda width: _lines_by_place(frames, f"CO2e of a run, {{unit}} ({status})", width),
        _note(every, by),
        alt.strip(),
        title=title,
    )


def _lines_by_place(frames: Mapping[str, pd.DataFrame], label: str, width: Width) -> Drawing:
    """Draw CO2e by place, places and levels from least to most grams.

    Grams are energy x intensity, so that on a logarithmic axis lines of places with one figure each
    are parallel: their rise is what the place does, the distance between them what the level does.

    Args:
        frames: by title, columns ``level``, ``place``, ``co2e_g``, ``low_g`` and ``high_g`` (NaN
            where there is no interval); a row whose grams are unknown or 0 is not drawn.
        label: of the axis of grams, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: nothing is known.
    """
    known = {title: rows[rows["co2e_g"] > 0] for title, rows in frames.items()}
    known = {title: rows for title, rows in known.items() if len(rows)}
    every = pd.concat([*known.values(), pd.DataFrame(columns=["co2e_g", "place", "level"])])
    places, levels = _by_grams(every, "place"), _by_grams(every, "level")
    shown = looks(levels)
    few = len(levels) <= MOST_NAMED
    named = levels if few else [levels[0], levels[-1]]
    return curves(
        {title: _lines(rows, places, set(named)) for title, rows in known.items()},
        Axis("at", "", names=tuple(places), shared=True),
        Axis(
            "co2e_g",
            label,
            "low_g",
            "high_g",
            units=formats.MASS,
            scale="auto",
            from_zero=not tenfold(every["co2e_g"]),
            shared=True,
        ),
        looks={level: shown[level] if level in named else Look(GREY) for level in levels},
        columns=1,
        width=width,
    )


def _lines(rows: pd.DataFrame, places: list[str], named: set[str]) -> pd.DataFrame:
    """The levels of a panel from least to most grams, each a little aside of the one before."""
    levels = _by_grams(rows, "level")
    aside = min(ASIDE * len(levels), MOST_ASIDE) / max(len(levels) - 1, 1)
    order = rows["level"].map(levels.index)
    at = rows["place"].map(places.index) + aside * (order - (len(levels) - 1) / 2)
    names = rows["level"].where(rows["level"].isin(named), "")
    lines = rows.assign(line=rows["level"], at=at, name=names, order=order)
    return lines.sort_values(["order", "at"])


def _by_grams(rows: pd.DataFrame, column: str) -> list[str]:
    """Places, or levels, from least to most grams, by geometric means."""
    means = rows.assign(log=np.log(rows["co2e_g"].astype(float)))
    order = means.groupby(column, sort=False)["log"].mean().sort_values(kind="stable")
    return [str(name) for name in order.index]


def place_finding(booked: Booked) -> str:
    """How far place moves the grams, and how far what is compared does; or nothing.

    ``Place moves CO2e 9.7 times (Poland over Sweden), network 2.1 times (vgg16 over resnet18).``
    """
    try:
        found = booked.effects
    except Unavailable:
        return ""
    return (
        f"Place moves CO2e {formats.significant(found.place_ratio)} times ({found.highest_place} "
        f"over {found.lowest_place}), {booked.by} "
        f"{formats.significant(found.configuration_ratio)} times ({found.dearest} over "
        f"{found.cheapest})."
    )


def _note(rows: pd.DataFrame, by: str) -> str:
    note = (
        "Places from least to most grams; rising lines are what the place does, the distance "
        f"between them what {by} does. Whiskers: 95 % interval of the mean over runs."
    )
    if rows["level"].nunique() > MOST_NAMED:
        note += " Named: the lines of least and of most grams."
    left = rows[~(rows["co2e_g"] > 0)]
    if len(left):
        where = ", ".join(dict.fromkeys(left["place"]))
        note += f" Not drawn, for grams that are unknown or 0: {where}."
    return note


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    return float(rows["co2e_g"].min()), float(rows["co2e_g"].max())


def _first(panels: Mapping[str, Booked]) -> Booked:
    return next(iter(panels.values()))
