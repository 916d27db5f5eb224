"""Effects of configurations and places on grams of CO2 equivalent.

::

    y_rp = ln(grams of run r if it had been run at place p)     r = 1 ... R, p = 1 ... P
    SS_total = SS_place + SS_configuration + SS_runs + SS_rest

    SS_place         = R sum_p (mean of p - mean)^2
    SS_configuration = P sum_c n_c (mean of c - mean)^2             n_c runs of configuration c
    SS_runs          = P sum_r (mean of r - mean of its c)^2
    eta squared      = SS / SS_total

Every run is evaluated at every place, so the two factors are crossed and the parts add up for any
n_c. Grams are energy x PUE x intensity: on a log scale the energy and a constant intensity add, so
place and configuration do not interact, SS_rest is 0, and the effect of a place is exact, without
measurement error. SS_rest is above 0 only for a series of intensities, where runs of different
hours have different values.

These are shares of the variance of this study at these places, not general properties: a p for a
chosen list of places would be meaningless. PUE is a common factor and changes none of them.
Classical two-way analysis of variance: Fisher, Statistical Methods for Research Workers, 1925; eta
squared: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulelab.analysis.rounding import Values, constant
from joulelab.errors import UsageError

LEAST = 2


@dataclass(frozen=True)
class PlaceEffects:
    """Shares of the variance of ln(grams) between places and between configurations.

    Attributes:
        places: names, in the order given.
        configurations: names, in the order in which they occur.
        runs: number of runs.
        eta_place: share of the variance between places, 0 to 1.
        eta_configuration: share between configurations.
        eta_runs: share between runs of one configuration.
        eta_rest: share due to runs at different hours with a series of intensities; otherwise 0.
        place_ratio: geometric mean of the highest place over the lowest.
        highest_place: the place with the most grams.
        lowest_place: the place with the fewest.
        configuration_ratio: the same for configurations.
        dearest: the configuration with the most grams.
        cheapest: the configuration with the fewest.
        repeated: whether a configuration has at least two runs, so that run-to-run spread is
            separate from configurations.
    """

    places: tuple[str, ...]
    configurations: tuple[str, ...]
    runs: int
    eta_place: float
    eta_configuration: float
    eta_runs: float
    eta_rest: float
    place_ratio: float
    highest_place: str
    lowest_place: str
    configuration_ratio: float
    dearest: str
    cheapest: str
    repeated: bool


def place_effects(
    grams: npt.ArrayLike, configurations: Sequence[str], places: Sequence[str]
) -> PlaceEffects:
    """Split the variance of ln(grams) into places, configurations and runs.

    Args:
        grams: CO2 equivalent of each run at each place, (runs, places), positive, in any one unit.
        configurations: configuration of each run, (runs,).
        places: names, (places,).

    Raises:
        UsageError: only one place or one configuration, a value is not positive and finite, or all
            are equal.
        ValueError: the lengths do not fit together.

    >>> found = place_effects([[1.0, 4.0], [2.0, 8.0]], ["small", "large"], ["here", "there"])
    >>> round(found.place_ratio, 6), round(found.configuration_ratio, 6)   # (ln 4)^2 to (ln 2)^2
    (4.0, 2.0)
    >>> round(found.eta_place, 3), round(found.eta_configuration, 3)
    (0.8, 0.2)
    """
    logs = _logarithms(grams, len(configurations), len(places))
    names = tuple(dict.fromkeys(configurations))
    _check_choice(names, places)
    total = float(((logs - logs.mean()) ** 2).sum())
    if constant(logs, 1.0):
        raise UsageError("the grams are the same everywhere: there is no variance to divide")
    by_place, by_run = logs.mean(axis=0), logs.mean(axis=1)  # (places,), (runs,)
    index = np.array([names.index(name) for name in configurations])
    counts = np.bincount(index)  # (configurations,)
    by_configuration = np.bincount(index, weights=by_run) / counts
    between_places = len(logs) * float(((by_place - logs.mean()) ** 2).sum())
    between = len(places) * float((counts * (by_configuration - logs.mean()) ** 2).sum())
    within = len(places) * float(((by_run - by_configuration[index]) ** 2).sum())
    rest = logs - by_run[:, None] - by_place[None, :] + logs.mean()  # (runs, places)
    return PlaceEffects(
        places=tuple(places),
        configurations=names,
        runs=len(logs),
        eta_place=between_places / total,
        eta_configuration=between / total,
        eta_runs=within / total,
        eta_rest=float((rest**2).sum()) / total,
        place_ratio=_ratio(by_place),
        highest_place=places[int(by_place.argmax())],
        lowest_place=places[int(by_place.argmin())],
        configuration_ratio=_ratio(by_configuration),
        dearest=names[int(by_configuration.argmax())],
        cheapest=names[int(by_configuration.argmin())],
        repeated=len(logs) > len(names),
    )


def _logarithms(grams: npt.ArrayLike, runs: int, places: int) -> Values:
    values = np.asarray(grams, float)
    if values.shape != (runs, places):
        raise ValueError(f"grams of shape {values.shape} for {runs} runs at {places} places")
    if not (np.isfinite(values) & (values > 0)).all():
        raise UsageError(
            "logarithms need positive grams", "leave out values that are 0, negative or unknown"
        )
    logarithms: Values = np.log(values)
    return logarithms


def _check_choice(configurations: Sequence[str], places: Sequence[str]) -> None:
    if len(set(places)) != len(places):
        raise UsageError("a place occurs twice", "name each place once")
    if len(places) < LEAST:
        raise UsageError(
            "only one place: its influence cannot be computed", "name two or more places"
        )
    if len(configurations) < LEAST:
        raise UsageError(
            "only one configuration: nothing to compare places with",
            "use a study with two or more configurations",
        )


def _ratio(logarithms: Values) -> float:
    """The ratio of the largest to the smallest value, from logarithms."""
    return math.exp(float(np.ptp(logarithms)))
