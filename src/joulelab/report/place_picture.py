"""Energy booked at several places: its figure with caption, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.report.pictures import Picture
from joulelab.report.place_figure import MOST_NAMED, place_figure
from joulelab.report.place_tables import co2e_means
from joulelab.report.places import Booked
from joulelab.report.tables import Omitted

KEY = "place-picture"


def co2e_picture(panels: Mapping[str, Booked]) -> Picture | Omitted:
    """CO2e of a run by place, a line a level, a panel for each of some bookings.

    Args:
        panels: by title; one alone may have an empty title.
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
        return Omitted(KEY, title, "no run has an energy above 0 at a place of known intensity.")
    status = Status.of_set(one.status for one in panels.values())
    figure = place_figure(frames, f"CO2e of a run, {{unit}} ({status})")
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
    return Picture(KEY, title, _note(every, by), alt.strip(), figure)


def place_finding(booked: Booked) -> str:
    """How far place moves the grams, and how far what is compared does; or nothing.

    ``Place moves CO2e 9.7 times (Poland over Sweden), network 2.1 times (vgg16 over resnet18).``
    """
    found = booked.effects
    if isinstance(found, str):
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
