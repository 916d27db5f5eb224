"""Tables of energy per image of networks over the years.

After the timeline of Yarally et al. ("Batching for Green AI", SEAA 2023): energy rises far more
steeply than accuracy, with ShuffleNetV2 as the exception.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.correlation import rank_correlation
from joulelab.analysis.trend import OUTLIER_P, Trend, yearly
from joulelab.kinds.timeline.points import (
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
)
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.experiment import Experiment, energy_column

MILLION = 1e6
FIGURES = {SINGLE: "energy, batch 1", BEST: "energy, best batch"}


@table("timeline-networks", "Energy per image of each network")
def networks(experiment: Experiment) -> Table:
    """Year, source, accuracy and size of each network, and its joules per image."""
    energy_column(experiment)
    rows = network_points(experiment)
    if not rows[BEST].notna().any():
        raise Unavailable("no run has an energy above 0 and a number of images.")
    columns = [
        words("network", MODEL, bold="on_front"),
        Column("year", form=_year),
        words("source", form=_known_word, wide=True),
        words("weights", form=_known_word, wide=True),
        Column("top-1", ACCURACY, formats.percent),
        Column("FLOPs", "flops", formats.operations, wide=True),
        Column("parameters, M", "parameters", lambda n: formats.at_scale(n, MILLION), wide=True),
        Column("at batch 1", SINGLE, formats.joules),
        words("interval, batch 1", ("single_low_j", "single_high_j"), form=energy_range, wide=True),
        Column("at best batch", BEST, formats.joules),
        words("interval, best", ("best_low_j", "best_high_j"), form=energy_range, wide=True),
        Column("best size", "best_size", lambda n: formats.DASH if pd.isna(n) else f"{n:,}"),
        Column("saving", form=lambda part: formats.signed(formats.percent(part, 0))),
    ]
    return Table(rows, columns, _network_note(experiment))


@table("timeline-trends", "Change of energy per image and accuracy by year of publication")
def trends(experiment: Experiment) -> Table:
    """Change of energy per image and accuracy per year."""
    energy_column(experiment)
    lines = {
        SINGLE: single_trend(experiment),
        BEST: energy_trend(experiment),
        ACCURACY: accuracy_trend(experiment),
    }
    if all(line.reason for line in lines.values()):
        raise Unavailable(f"{lines[BEST].reason}.")
    rows = pd.DataFrame([_trend_row(name, line) for name, line in lines.items()])
    rows = rows[rows["reason"] == ""].reset_index(drop=True)
    columns = [
        words("figure", form=lambda name: {**FIGURES, ACCURACY: "published top-1"}[name]),
        Column(
            "a year",
            ("figure", "a_year"),
            lambda name, value: (formats.points if name == ACCURACY else formats.change)(value),
        ),
        words(
            "95 % interval",
            ("figure", "low", "high"),
            form=lambda name, low, high: (
                points_interval(low, high)
                if name == ACCURACY
                else formats.interval(low, high, formats.change)
            ),
        ),
        Column("p", form=formats.p_value),
        Column("networks", "n", str),
    ]
    return Table(rows, columns, _trend_note(experiment))


@table("timeline-distances", "Distance of each network from the trend of energy", folded=True)
def distances(experiment: Experiment) -> Table:
    """Deviation of each network from the trend of energy, and outliers."""
    energy_column(experiment)
    line = energy_trend(experiment)
    if line.reason:
        raise Unavailable(f"{line.reason}.")
    rows = line.residuals.sort_values("residual", ignore_index=True)
    rows["energy_j"], rows["trend_j"] = 10 ** rows["value"], 10 ** rows["trend"]
    rows["ratio"] = 10 ** rows["residual"]
    columns = [
        words("network", MODEL, bold="outlier"),
        Column("year", form=_year),
        Column("energy", "energy_j", formats.joules),
        Column("trend", "trend_j", formats.joules),
        Column("over the trend", "ratio", lambda ratio: formats.at_scale(ratio, 1.0)),
        Column("studentised residual", "studentised", formats.statistic),
        Column("adjusted p", "p_adjusted", formats.p_value),
    ]
    note = (
        "Energy per image at the best batch size over what the trend has for the year. Each "
        "network is held against the line through all others; p is adjusted for "
        f"{formats.count(line.n, 'network')} by Bonferroni. Bold: below {OUTLIER_P}."
    )
    return Table(rows, columns, note)


@table("timeline-correlations", "Do FLOPs or parameters tell the energy?")
def correlations(experiment: Experiment) -> Table:
    """Whether FLOPs or parameters order networks by energy."""
    energy_column(experiment)
    points = network_points(experiment)
    rows = pd.DataFrame(
        [
            {"of": of, "energy": energy, **vars(rank_correlation(points, of, energy))}
            for of in ("flops", "parameters", ACCURACY)
            for energy in (SINGLE, BEST)
        ]
    )
    reasons = rows["reason"]
    rows = rows[reasons == ""].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(f"{'; '.join(dict.fromkeys(reasons))}.")
    named = {"flops": "FLOPs", "parameters": "parameters", ACCURACY: "published top-1"}
    columns = [
        words("of", form=lambda name: named[name]),
        words("with", "energy", form=lambda name: FIGURES[name]),
        Column("Spearman's \N{GREEK SMALL LETTER RHO}", "rho", formats.effect),
        words("95 % interval", ("low", "high"), form=formats.between(formats.effect)),
        Column("networks", "n", str),
    ]
    note = (
        "1: the same order. FLOPs count products and convolutions of one image's forward pass, "
        "two for a multiplication and an addition; what memory and kernels that wait cost is not "
        "in them."
    )
    return Table(rows, columns, note)


def _network_note(experiment: Experiment) -> str:
    said = [
        f"{experiment.energy.name.capitalize()} ({experiment.energy.status}) over images, mean of "
        "the repetitions with the 95 % interval of Student. The year is that of the first public "
        "paper. FLOPs of one image's forward pass. Bold: on the Pareto front of accuracy and "
        "energy at the best batch size.",
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
        "depends on the choice of networks, which is not a random sample."
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


def energy_range(low: float, high: float) -> str:
    """An interval of energies in one unit; no energy is below 0."""
    return formats.joules_range(max(low, 0.0), high) if formats.known(low) else formats.DASH


def _known_word(word: object) -> str:
    return word if isinstance(word, str) else formats.UNKNOWN


def points_interval(low: float, high: float) -> str:
    """Both ends of a difference of accuracies: ``1.1 to 2.5 points``."""
    return f"{formats.interval(100 * low, 100 * high, lambda end: formats.decimals(end, 1))} points"


def _year(value: float) -> str:
    return str(int(value)) if np.isfinite(value) else formats.UNKNOWN
