"""Energy booked at several places: its figure with caption, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.present.axes import Axis, tenfold
from joulelab.present.curves import curves
from joulelab.present.style import GREY, Look, looks
from joulelab.report.pictures import Picture
from joulelab.report.place_tables import co2e_means
from joulelab.report.places import Booked
from joulelab.report.tables import Omitted

KEY = "place-picture"
MOST_NAMED = 12
"""Of more lines only the lowest and the highest are named; the others are grey."""
ASIDE, MOST_ASIDE = 0.03, 0.28
"""How far each line is moved at a place, and all of them, so that intervals can be told apart."""


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


def place_figure(frames: Mapping[str, pd.DataFrame], label: str) -> Figure:
    """Draw CO2e by place, places and levels from least to most grams.

    Grams are energy x intensity, so that on a logarithmic axis lines of places with one figure each
    are parallel: their rise is what the place does, the distance between them what the level does.

    Args:
        frames: by title, columns ``level``, ``place``, ``co2e_g``, ``low_g`` and ``high_g`` (NaN
            where there is no interval); a row whose grams are unknown or 0 is not drawn.
        label: of the axis of grams, with ``{unit}`` in it.

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
