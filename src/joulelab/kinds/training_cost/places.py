"""CO2e of a training-cost experiment at the places in its study file.

Gross energy counts here, because all of it came from the grid. With many configurations, networks
are compared instead, and the rest counts as scatter of their runs.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd

from joulelab import formats
from joulelab.kinds.training_cost.configurations import (
    BASE,
    DATASET,
    NETWORK,
    short_datasets,
    varied,
)
from joulelab.present import Figure, Table, Unavailable, cached_per_subject, figure, table
from joulelab.report.experiment import Experiment
from joulelab.report.places import (
    CONFIGURATION,
    Booked,
    Place,
    book,
    co2e_figure,
    co2e_table,
    effect_table,
    known_places,
    place_finding,
    place_table,
)

MOST_CONFIGURATIONS = 12
MOST_PANELS = 6


@dataclass(frozen=True)
class AskedPlaces:
    """The places of the evaluation.

    Attributes:
        places: places with known intensity.
        pue: power usage effectiveness of all.
        unknown: a sentence on each of the others.
    """

    places: tuple[Place, ...]
    pue: float
    unknown: tuple[str, ...]


@cached_per_subject
def asked_places(experiment: Experiment) -> AskedPlaces | None:
    """The places in the experiment's table of the study file; ``None`` if there are none."""
    table = experiment.table
    if not table.get("places"):
        return None
    places, unknown = known_places(table["places"], files=experiment.own)
    return AskedPlaces(places, float(table.get("pue", 1.0)), unknown)


@table("places", "The same energy at other places")
def intensities(experiment: Experiment) -> Table:
    """The intensity of each place."""
    asked = _asked(experiment)
    made = place_table(asked.places, asked.pue)
    booked = _booked(experiment, asked, _compared(experiment))
    note = " ".join([made.note, *asked.unknown, *booked.remarks])
    return replace(made, note=note)


@table("place-co2e", "CO2e of a run by place", folded=True)
def emissions(experiment: Experiment) -> Table:
    """CO2e of a run, for each configuration or network and place."""
    asked = _asked(experiment)
    return replace(co2e_table(_booked(experiment, asked, _compared(experiment))), key="")


@table("place-effects", "Effect of place against configuration")
def effects_of_place(experiment: Experiment) -> Table:
    """Place against configuration, and against each factor that varies."""
    asked, factors = _asked(experiment), varied(experiment)
    made = replace(effect_table(_booked(experiment, asked, CONFIGURATION)), key="")
    if len(factors) <= 1:
        return made
    parts = []
    for factor in factors:
        with suppress(Unavailable):
            parts.append(effect_table(_booked(experiment, asked, factor)).frame.iloc[[1]])
    rows = made.frame
    note = (
        f"{made.note} {formats.listing(factors).capitalize()} are parts of configuration, each "
        "over all runs at its levels."
    )
    return replace(
        made,
        title=f"Effect of place against {formats.listing([CONFIGURATION, *factors])}",
        rows=pd.concat([rows.iloc[:2], *parts, rows.iloc[2:]], ignore_index=True),
        note=note,
    )


@figure("place-picture", "CO2e of a run by place")
def emissions_by_place(experiment: Experiment) -> Figure:
    """CO2e by place, one line per network, one panel per base and data set."""
    asked = _asked(experiment)
    by = NETWORK if NETWORK in varied(experiment) else CONFIGURATION
    panels = {title: _booked(part, asked, by) for title, part in _parts(experiment, by).items()}
    return co2e_figure(panels)


def _asked(experiment: Experiment) -> AskedPlaces:
    """The places of an experiment with finished runs, at least one of them known.

    Raises:
        Unavailable: no place was given (not reported), or none is known.
    """
    asked = asked_places(experiment)
    if asked is None:
        raise Unavailable("")
    if not asked.places or not len(experiment.runs):
        raise Unavailable(" ".join(asked.unknown) or "no run has finished yet.")
    return asked


def place_findings(experiment: Experiment) -> list[str]:
    """Effects of place and of network on CO2e; and unknown places."""
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
    """The experiment split by base and data set, by title; not split if these are too many."""
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
