"""The energy of a training-cost experiment at the places that its study file names.

Gross energy counts here, for all of it was drawn from the grid. Where there are many
configurations, the networks are compared instead, and the rest counts as the scatter of their runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from joulelab import formats
from joulelab.report.experiment import Experiment, once
from joulelab.report.pictures import Picture
from joulelab.report.place_picture import KEY, co2e_picture, place_finding
from joulelab.report.place_tables import co2e_table, effect_table, place_table
from joulelab.report.places import CONFIGURATION, Booked, Place, book, known_places
from joulelab.report.tables import Omitted, Table
from joulelab.report.training_cost.configurations import (
    BASE,
    DATASET,
    NETWORK,
    short_datasets,
    varied,
)

MOST_CONFIGURATIONS = 12
MOST_PANELS = 6
PLACES = "The same energy at other places"


@dataclass(frozen=True)
class AskedPlaces:
    """Where the energy is booked.

    Attributes:
        places: those whose intensity is known.
        pue: power usage effectiveness of all.
        unknown: a sentence on each of the others.
    """

    places: tuple[Place, ...]
    pue: float
    unknown: tuple[str, ...]


@once
def asked_places(experiment: Experiment) -> AskedPlaces | None:
    """The places in the experiment's table of the study file; ``None`` where it names none."""
    table = experiment.table
    if not table.get("places"):
        return None
    places, unknown = known_places(table["places"], files=experiment.own)
    return AskedPlaces(places, float(table.get("pue", 1.0)), unknown)


def place_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Intensities, CO2e, and place against what was trained; none where no place was named."""
    asked = asked_places(experiment)
    if asked is None:
        return []
    if not asked.places or not len(experiment.runs):
        said = " ".join(asked.unknown) or "no run has finished yet."
        return [Omitted("places", PLACES, said)]
    booked = _booked(experiment, asked, _compared(experiment))
    places = place_table(asked.places, asked.pue)
    note = " ".join([places.note, *asked.unknown, *booked.remarks])
    grams = co2e_table(booked)
    if isinstance(grams, Table):
        grams = replace(grams, folded=True)
    effects = _all_effects(experiment, asked, booked)
    return [replace(places, note=note), *(_named(table) for table in (grams, effects))]


def place_picture(experiment: Experiment) -> Picture | Omitted | None:
    """CO2e by place, a line a network, a panel a base and data set."""
    asked = asked_places(experiment)
    if asked is None or not asked.places or not len(experiment.runs):
        return None
    by = NETWORK if NETWORK in varied(experiment) else CONFIGURATION
    panels = {title: _booked(part, asked, by) for title, part in _parts(experiment, by).items()}
    picture = co2e_picture(panels)
    if isinstance(picture, Omitted):
        return Omitted(KEY, picture.title, picture.reason)
    return picture


def place_findings(experiment: Experiment) -> list[str]:
    """How far place moves the grams and how far the network does; places no longer known."""
    asked = asked_places(experiment)
    if asked is None:
        return []
    if not asked.places or not len(experiment.runs):
        return list(asked.unknown)
    by = NETWORK if NETWORK in varied(experiment) else CONFIGURATION
    return [*filter(None, [place_finding(_booked(experiment, asked, by))]), *asked.unknown]


def _booked(experiment: Experiment, asked: AskedPlaces, by: str) -> Booked:
    return book(experiment, asked.places, asked.pue, by)


def _compared(experiment: Experiment) -> str:
    several = experiment.runs[CONFIGURATION].nunique() > MOST_CONFIGURATIONS
    return NETWORK if several and NETWORK in varied(experiment) else CONFIGURATION


def _parts(experiment: Experiment, by: str) -> dict[str, Experiment]:
    """The experiment by base and data set, by title; whole where these are too many."""
    apart = [factor for factor in varied(experiment) if factor in {BASE, DATASET}]
    groups = list(experiment.runs.groupby(apart)) if apart else []
    if by != NETWORK or not 1 < len(groups) <= MOST_PANELS:
        return {"": experiment}
    short = short_datasets(list(experiment.runs[DATASET]))
    return {
        ", ".join(short.get(str(level), str(level)) for level in levels): replace(
            experiment, runs=runs
        )
        for levels, runs in groups
    }


def _all_effects(experiment: Experiment, asked: AskedPlaces, booked: Booked) -> Table | Omitted:
    """Place against configuration, and against each factor that varies."""
    whole = booked if booked.by == CONFIGURATION else _booked(experiment, asked, CONFIGURATION)
    table = effect_table(whole)
    factors = varied(experiment)
    if isinstance(table, Omitted) or len(factors) <= 1:
        return table
    parts = [effect_table(_booked(experiment, asked, factor)) for factor in factors]
    rows = [(t.raw.iloc[[1]], t.shown.iloc[[1]]) for t in parts if isinstance(t, Table)]
    note = (
        f"{table.note} {formats.listing(factors).capitalize()} are parts of configuration, each "
        "over all runs at its levels."
    )
    return replace(
        table,
        title=f"How large place is against {formats.listing([CONFIGURATION, *factors])}",
        raw=_after_second(table.raw, [raw for raw, _ in rows]),
        shown=_after_second(table.shown, [shown for _, shown in rows]),
        note=note,
    )


def _after_second(table: pd.DataFrame, rows: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.iloc[:2], *rows, table.iloc[2:]], ignore_index=True)


def _named(table: Table | Omitted) -> Table | Omitted:
    """With a key that does not hold the name of the experiment: it stands in its own chapter."""
    return replace(table, key=f"place-{table.key.partition('-')[0]}")
