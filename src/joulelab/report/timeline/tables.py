"""Energy per image of networks over the years: its tables, and what they say.

After the timeline of Yarally et al. ("Batching for Green AI", SEAA 2023): energy rises far more
steeply than accuracy, with ShuffleNetV2 as the exception.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.correlation import rank_correlation
from joulelab.analysis.trend import OUTLIER_P, Trend, yearly
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table, no_energy
from joulelab.report.timeline.points import (
    ACCURACY,
    BEST,
    MODEL,
    SINGLE,
    accuracy_trend,
    energy_trend,
    network_points,
    relative_growth,
    single_trend,
    sizes_words,
    weights_words,
)

MILLION = 1e6
NETWORKS = "Energy per image of each network"
FIGURES = {SINGLE: "energy, batch 1", BEST: "energy, best batch"}


def timeline_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Every table of a comparison over time, in the order of the report."""
    makers = (network_table, trend_table, distance_table, correlation_table)
    return [make(experiment) for make in makers]


@once
def network_table(experiment: Experiment) -> Table | Omitted:
    """Year, source, accuracy and size of each network, and its joules an image."""
    key, title = "timeline-networks", NETWORKS
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    raw = network_points(experiment)
    if not raw[BEST].notna().any():
        return Omitted(key, title, "no run has an energy above 0 and a number of images.")
    shown = pd.DataFrame(
        {
            "network": raw[MODEL].map(str),
            "year": raw["year"].map(_year),
            "source": raw["source"].fillna(formats.UNKNOWN),
            "weights": raw["weights"].fillna(formats.UNKNOWN),
            "top-1": raw[ACCURACY].map(formats.percent),
            "FLOPs": raw["flops"].map(formats.operations),
            "parameters, M": raw["parameters"].map(lambda n: formats.at_scale(n, MILLION)),
            "at batch 1": raw[SINGLE].map(formats.joules),
            "interval, batch 1": _ranges(raw, "single"),
            "at best batch": raw[BEST].map(formats.joules),
            "interval, best": _ranges(raw, "best"),
            "best size": raw["best_size"].map(lambda n: formats.DASH if pd.isna(n) else f"{n:,}"),
            "saving": raw["saving"].map(lambda part: formats.signed(formats.percent(part, 0))),
        }
    )
    text = ("network", "source", "weights", "interval, batch 1", "interval, best")
    wide = ("source", "weights", "parameters, M", "interval, batch 1", "interval, best", "FLOPs")
    bold = frozenset((int(row), "network") for row in raw.index[raw["on_front"]])
    return Table(key, title, _network_note(experiment), raw, shown, text, bold, wide=wide)


@once
def trend_table(experiment: Experiment) -> Table | Omitted:
    """How energy per image and accuracy change a year."""
    key, title = "timeline-trends", "Change of energy per image and accuracy by year of publication"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    lines = {
        SINGLE: single_trend(experiment),
        BEST: energy_trend(experiment),
        ACCURACY: accuracy_trend(experiment),
    }
    if all(line.reason for line in lines.values()):
        return Omitted(key, title, f"{lines[BEST].reason}.")
    raw = pd.DataFrame([_trend_row(name, line) for name, line in lines.items()])
    raw = raw[raw["reason"] == ""].reset_index(drop=True)
    form = [formats.points if name == ACCURACY else formats.change for name in raw["figure"]]
    shown = pd.DataFrame(
        {
            "figure": raw["figure"].map({**FIGURES, ACCURACY: "published top-1"}),
            "a year": [how(value) for how, value in zip(form, raw["a_year"], strict=True)],
            "95 % interval": [
                points_interval(low, high)
                if how is formats.points
                else formats.interval(low, high, how)
                for how, low, high in zip(form, raw["low"], raw["high"], strict=True)
            ],
            "p": raw["p"].map(formats.p_value),
            "networks": raw["n"].map(str),
        }
    )
    return Table(key, title, _trend_note(experiment), raw, shown, ("figure", "95 % interval"))


@once
def distance_table(experiment: Experiment) -> Table | Omitted:
    """How far each network lies from the trend of energy, and which are outliers."""
    key, title = "timeline-distances", "Distance of each network from the trend of energy"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    line = energy_trend(experiment)
    if line.reason:
        return Omitted(key, title, f"{line.reason}.")
    raw = line.residuals.sort_values("residual", ignore_index=True)
    raw["energy_j"], raw["trend_j"] = 10 ** raw["value"], 10 ** raw["trend"]
    raw["ratio"] = 10 ** raw["residual"]
    shown = pd.DataFrame(
        {
            "network": raw[MODEL].map(str),
            "year": raw["year"].map(_year),
            "energy": raw["energy_j"].map(formats.joules),
            "trend": raw["trend_j"].map(formats.joules),
            "over the trend": raw["ratio"].map(lambda ratio: formats.at_scale(ratio, 1.0)),
            "studentised residual": raw["studentised"].map(formats.statistic),
            "adjusted p": raw["p_adjusted"].map(formats.p_value),
        }
    )
    note = (
        "Energy per image at the best batch size over what the trend has for the year. Each "
        "network is held against the line through all others; p is adjusted for "
        f"{formats.count(line.n, 'network')} by Bonferroni. Bold: below {OUTLIER_P}."
    )
    bold = frozenset((int(row), "network") for row in raw.index[raw["outlier"]])
    return Table(key, title, note, raw, shown, ("network",), bold, folded=True)


@once
def correlation_table(experiment: Experiment) -> Table | Omitted:
    """Whether FLOPs or parameters put networks into the order of their energy."""
    key, title = "timeline-correlations", "Do FLOPs or parameters tell the energy?"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    points = network_points(experiment)
    raw = pd.DataFrame(
        [
            {"of": of, "energy": energy, **vars(rank_correlation(points, of, energy))}
            for of in ("flops", "parameters", ACCURACY)
            for energy in (SINGLE, BEST)
        ]
    )
    reasons = raw["reason"]
    raw = raw[reasons == ""].reset_index(drop=True)
    if not len(raw):
        return Omitted(key, title, f"{'; '.join(dict.fromkeys(reasons))}.")
    named = {"flops": "FLOPs", "parameters": "parameters", ACCURACY: "published top-1"}
    shown = pd.DataFrame(
        {
            "of": raw["of"].map(named),
            "with": raw["energy"].map(FIGURES),
            "Spearman's \N{GREEK SMALL LETTER RHO}": raw["rho"].map(formats.effect),
            "95 % interval": formats.intervals(raw["low"], raw["high"], formats.effect),
            "networks": raw["n"].map(str),
        }
    )
    note = (
        "1: the same order. FLOPs count products and convolutions of one image's forward pass, "
        "two for a multiplication and an addition; what memory and kernels that wait cost is not "
        "in them."
    )
    return Table(key, title, note, raw, shown, ("of", "with", "95 % interval"))


def _network_note(experiment: Experiment) -> str:
    said = [
        f"{experiment.energy.name.capitalize()} ({experiment.energy.status}) over images, mean of "
        "the repetitions with the 95 % interval of Student. The year is that of the first public "
        "paper. FLOPs of one image's forward pass. Bold: on the Pareto front of accuracy and "
        "energy at the best batch size.",
        weights_words(experiment),
        sizes_words(experiment),
    ]
    points = network_points(experiment)
    if without := int(points[BEST].isna().sum()):
        said.append(f"{formats.count(without, 'network')} without a figure of energy.")
    if left_out := int(points["dropped"].sum()):
        said.append(f"{formats.count(left_out, 'run')} without an energy above 0 left out.")
    return " ".join(filter(None, said))


def _trend_note(experiment: Experiment) -> str:
    test = relative_growth(experiment)
    said = (
        "Least squares through the logarithm of energy, and through the accuracy, of each network "
        "by its year; intervals robust against unequal scatter (HC3). They say how far a slope "
        "depends on the networks compared, which are no random sample."
    )
    if test.reason:
        return said
    return (
        f"{said} Relative to itself, accuracy grows by {formats.change(test.accuracy.value)} a "
        f"year and energy at the best batch by {formats.change(test.energy.value)}; that energy "
        f"grows no faster has p {formats.p_value(test.p)} (one-sided)."
    )


def _trend_row(name: str, line: Trend) -> dict[str, object]:
    if name == ACCURACY:
        a_year = (line.slope, line.slope_low, line.slope_high)
    else:
        growth = yearly(line)
        a_year = (growth.value, growth.low, growth.high)
    return {
        "figure": name,
        "slope": line.slope,
        **dict(zip(("a_year", "low", "high"), a_year, strict=True)),
        "p": line.p,
        "n": line.n,
        "years": line.years,
        "reason": line.reason,
    }


def _ranges(raw: pd.DataFrame, name: str) -> list[str]:
    ends = zip(raw[f"{name}_low_j"], raw[f"{name}_high_j"], strict=True)
    form: Callable[[float, float], str] = formats.joules_range
    return [form(max(low, 0.0), high) if formats.known(low) else formats.DASH for low, high in ends]


def points_interval(low: float, high: float) -> str:
    """Both ends of a difference of accuracies: ``1.1 to 2.5 points``."""
    return f"{formats.interval(100 * low, 100 * high, lambda end: formats.decimals(end, 1))} points"


def _year(value: float) -> str:
    return str(int(value)) if np.isfinite(value) else formats.UNKNOWN
