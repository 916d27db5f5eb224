"""Tables of energy booked at several places: intensities, CO2e, and place against configuration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import mean_interval
from joulelab.analysis.places import PlaceEffects
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries
from joulelab.report.places import Booked, Place
from joulelab.report.tables import Omitted, Table


def place_table(places: Sequence[Place], pue: float) -> Table:
    """The intensity of each place with its source and year."""
    rows = [_described(place) for place in places]
    raw = pd.DataFrame(rows).astype({"year": object})
    raw["pue"] = pue
    shown = pd.DataFrame(
        {
            "place": raw["place"],
            "g/kWh": [_figure(row) for row in rows],
            "year": [str(row["year"] or "not stated") for row in rows],
            "source": raw["source"],
        }
    )
    note = f"Carbon intensity of the electricity; PUE {round(pue, 3)}."
    if raw["remark"].nunique() > 1:
        counted = (
            f"{str(remark) or 'not stated'} ({', '.join(alike['place'])})"
            for remark, alike in raw.groupby("remark", sort=False)
        )
        note += f" They do not all count the same: {'; '.join(counted)}."
    return Table("places", "Places", note, raw, shown, ("place", "source", "year"))


def co2e_table(booked: Booked) -> Table | Omitted:
    """CO2e of a run, for each configuration and place."""
    key, title = f"co2e-{booked.name}", f"CO2e of a run by {booked.by} and place: {booked.name}"
    if not booked.levels:
        return Omitted(key, title, "no finished run has a known energy above 0.")
    raw = co2e_means(booked)
    shown = pd.DataFrame(
        {
            booked.by: raw[booked.by].where(~raw[booked.by].duplicated(), ""),
            "place": raw["place"],
            "runs": raw["n"].map(str),
            "CO2e": raw["co2e_g"].map(formats.grams),
            "95 % interval": list(map(_interval, raw["n"], raw["low_g"], raw["high_g"])),
        }
    )
    note = f"Mean over runs with Student's interval; gross energy ({booked.status}) x PUE x "
    note += "intensity. The interval is that of the energy's scatter, not of the intensity."
    unknown = zip(booked.places, booked.reasons, strict=True)
    note += "".join(f" {place.name} unknown: {reason}." for place, reason in unknown if reason)
    return Table(key, title, note, raw, shown, (booked.by, "place", "95 % interval"))


def co2e_means(booked: Booked) -> pd.DataFrame:
    """Mean grams of a run of each level at each place, levels in the order of their runs.

    Returns:
        A row a level and place: the column of `Booked.by`, ``place``, ``n`` (runs), ``co2e_g``
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


def effect_table(booked: Booked) -> Table | Omitted:
    """How large place is against configuration."""
    key = f"effects-{booked.name}"
    title = f"How large place is against {booked.by}: {booked.name}"
    found = booked.effects
    if isinstance(found, str):
        return Omitted(key, title, f"{found}.")
    within = f"runs of one {booked.by}"
    raw = pd.DataFrame(
        [
            ("place", found.eta_place, found.place_ratio, found.lowest_place, found.highest_place),
            (
                booked.by,
                found.eta_configuration,
                found.configuration_ratio,
                found.cheapest,
                found.dearest,
            ),
            (within, found.eta_runs, np.nan, "", ""),
            ("hour of the run", found.eta_rest, np.nan, "", ""),
        ],
        columns=["of", "eta_squared", "ratio", "least", "most"],
    )
    if not any(isinstance(booked.places[at].intensity, IntensitySeries) for at in booked.compared):
        raw = raw[:-1]
    shown = pd.DataFrame(
        {
            "of": raw["of"],
            "η²": raw["eta_squared"].map(formats.effect),
            "most / least": raw["ratio"].map(formats.significant),
            "least": raw["least"],
            "most": raw["most"],
        }
    )
    return Table(key, title, _effect_note(booked, found), raw, shown, ("of", "least", "most"))


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


def _figure(row: dict[str, object]) -> str:
    low, high = (formats.significant(row[f"g_per_kwh_{end}"]) for end in ("low", "high"))  # type: ignore[arg-type]
    return low if low == high else f"{low} to {high}"
