"""Findings of a comparison of networks over time, computed from the data."""

from __future__ import annotations

from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.trend import Trend, accuracy_records, yearly
from joulelab.kinds.timeline.points import (
    BEST,
    MODEL,
    accuracy_trend,
    energy_trend,
    network_points,
    random_weights_words,
    relative_growth,
    sizes_words,
    weights_words,
)
from joulelab.kinds.timeline.tables import correlations, networks, points_interval
from joulelab.present import Unavailable
from joulelab.report.effects import SIGNIFICANT_P
from joulelab.report.experiment import Experiment

MOST_NAMED = 8
LEAST_RECORDS = 2


def timeline_findings(experiment: Experiment) -> list[str]:
    """Sentences on energy and accuracy over the years.

    Raises:
        Unavailable: there is no result yet.
    """
    networks(experiment)
    said = [
        _energy(experiment),
        _against_accuracy(experiment),
        *_off_the_trend(experiment),
        _records(experiment),
        _batching(experiment),
        _front(experiment),
        _correlation(experiment),
        f"{weights_words(experiment)} {random_weights_words(experiment)}".rstrip(),
        sizes_words(experiment),
    ]
    return [sentence for sentence in said if sentence]


def _energy(experiment: Experiment) -> str:
    line = energy_trend(experiment)
    if line.reason:
        return f"No trend of energy over the years: {line.reason}."
    energy = f"{experiment.energy.name} per image ({experiment.energy.status})"
    grown = yearly(line)
    reach = formats.interval(grown.low, grown.high, formats.change)
    years = line.residuals["year"]
    over = f"over {formats.count(line.n, 'network')} of {years.min():.0f} to {years.max():.0f}"
    if line.p >= SIGNIFICANT_P:
        return (
            f"{energy.capitalize()} has no clear trend {over}: {formats.change(grown.value)} a "
            f"year, 95 % interval {reach}."
        )
    verb = "grown" if grown.value > 0 else "fallen"
    return (
        f"{energy.capitalize()} at the best batch size has {verb} by "
        f"{formats.percent(abs(grown.value))} a year {over} (95 % interval {reach})."
    )


def _against_accuracy(experiment: Experiment) -> str:
    line, test = accuracy_trend(experiment), relative_growth(experiment)
    if line.reason:
        return ""
    reach = points_interval(line.slope_low, line.slope_high)
    said = f"Published top-1 accuracy changes by {formats.points(line.slope)} a year ({reach})"
    if test.reason:
        return f"{said}."
    of_itself = (
        f"relative to itself by {formats.change(test.accuracy.value)}, energy by "
        f"{formats.change(test.energy.value)}"
    )
    sure = (
        "energy grows faster" if test.p < SIGNIFICANT_P else "whether energy grows faster is open"
    )
    p = formats.p_value(test.p)
    return f"{said}, {of_itself}: {sure} (p {p if p.startswith('<') else f'= {p}'}, one-sided)."


def _off_the_trend(experiment: Experiment) -> list[str]:
    line = energy_trend(experiment)
    if line.reason:
        return []
    outliers = line.residuals[line.residuals["outlier"]]
    if len(outliers):
        named = [_distance(row) for _, row in outliers.sort_values("p_adjusted").iterrows()]
        verb = "is an outlier" if len(named) == 1 else "are outliers"
        return [f"{formats.listing(named)} {verb} of the trend of energy (adjusted p below 0.05)."]
    return [f"No network is an outlier of the trend of energy. {_furthest(line)}"]


def _furthest(line: Trend) -> str:
    order = line.residuals.sort_values("residual")
    low, high = _distance(order.iloc[0]), _distance(order.iloc[-1])
    return f"Furthest from it are {low} and {high}."


def _distance(row: pd.Series[Any]) -> str:
    """``shufflenet_v2_x0_5 (0.081 times the energy of the trend in 2018)``."""
    factor = formats.at_scale(10 ** row["residual"], 1.0)
    return f"{row[MODEL]} ({factor} times the energy of the trend in {row['year']:.0f})"


def _records(experiment: Experiment) -> str:
    """Energy of the most accurate network of its time, first and last."""
    best = accuracy_records(network_points(experiment), BEST)
    if len(best) < LEAST_RECORDS:
        return ""
    first, last = best.iloc[0], best.iloc[-1]
    factor = formats.at_scale(last[BEST] / first[BEST], 1.0)
    gained = formats.points(last["accuracy"] - first["accuracy"])
    return (
        f"The most accurate network of its time took {formats.joules(first[BEST])} in "
        f"{first['year']:.0f} ({first[MODEL]}) and {formats.joules(last[BEST])} in "
        f"{last['year']:.0f} ({last[MODEL]}): {factor} times the energy for {gained}, in "
        f"{formats.count(len(best), 'record')}."
    )


def _batching(experiment: Experiment) -> str:
    points = network_points(experiment)
    known = points.dropna(subset=["saving"]).sort_values("saving", kind="stable")
    if not len(known) or not (known["sizes"] > 1).any():
        return ""
    least, most = known.iloc[0], known.iloc[-1]
    low, high = (formats.percent(row["saving"], 0) for row in (least, most))
    if len(known) == 1:
        return f"Batching saves {low} of the energy per image of {least[MODEL]}."
    middle = formats.percent(known["saving"].median(), 0)
    return (
        f"The best batch size saves {low} ({least[MODEL]}) to {high} ({most[MODEL]}) of the energy "
        f"per image at batch size 1, {middle} for the median network."
    )


def _front(experiment: Experiment) -> str:
    points = network_points(experiment)
    front = points[points["on_front"]].sort_values(BEST)
    if not len(front):
        return ""
    names = [str(name) for name in front[MODEL]]
    if len(names) > MOST_NAMED:
        names = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
    if len(front) == 1:
        return (
            f"No other network has less energy or more accuracy than {names[0]}: "
            f"{_place(front.iloc[0])}."
        )
    return (
        f"No other network has both less energy and more accuracy than {formats.listing(names)}: "
        f"the front goes from {_place(front.iloc[0])} to {_place(front.iloc[-1])}."
    )


def _place(row: pd.Series[Any]) -> str:
    return f"{formats.joules(row[BEST])} at {formats.percent(row['accuracy'])}"


def _correlation(experiment: Experiment) -> str:
    try:
        rows = correlations(experiment).frame
    except Unavailable:
        return ""
    named = {"flops": "FLOPs", "parameters": "parameters"}
    at_best = rows[(rows["energy"] == BEST) & rows["of"].isin(list(named))]
    said = [
        f"{named[row['of']]} {formats.effect(row['rho'])} "
        f"({formats.interval(row['low'], row['high'], formats.effect)})"
        for _, row in at_best.iterrows()
    ]
    rho = "Spearman's \N{GREEK SMALL LETTER RHO} with energy per image over networks"
    return f"{rho}: {', '.join(said)}." if said else ""
