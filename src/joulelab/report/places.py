"""The energy of an experiment booked at several places: CO2e of its configurations at each.

Gross energy counts, for the whole of it was drawn from the grid. Runs that were trained together
are one measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab import formats
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
from joulelab.report.experiment import AVERAGED, GROSS, Experiment

CONFIGURATION = "configuration"


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
        remarks: what a reader must know, in sentences.
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
    def effects(self) -> PlaceEffects | str:
        """How large place is against configuration, or in words why that cannot be said.

        A place of which some grams are unknown, or 0, is left out.
        """
        whole = self.compared
        if not self.levels:
            return "no run has a known energy above 0"
        try:
            return place_effects(
                self.grams[:, whole], self.levels, [self.places[at].name for at in whole]
            )
        except UsageError as error:
            return error.message

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
        UsageError: one is no place, or has no figure, or two are the same.
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
