"""The report of a comparison of networks over the years: its figures and its contents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.trend import Trend
from joulelab.kinds.timeline.findings import timeline_findings
from joulelab.kinds.timeline.points import (
    ACCURACY,
    BEST,
    MODEL,
    accuracy_trend,
    energy_trend,
    network_points,
)
from joulelab.kinds.timeline.tables import correlations, distances, networks, trends
from joulelab.present import Figure, Unavailable, figure
from joulelab.present.axes import Axis, Floats, Reference, percent_tick, year_tick
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, GREY, SOLID, VERMILLION, Look, shades
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

BEST_BATCH, BEST_ON_FRONT = "best batch", "best batch, on the Pareto front"
LOOKS = {
    "batch 1": Look(GREY, hollow=True),
    BEST_BATCH: Look(BLUE),
    BEST_ON_FRONT: Look(VERMILLION, "D"),
}
TOP_1 = Axis(ACCURACY, "published top-1", form=percent_tick, bounds=(0, 1))
WITHIN_YEAR, ENDS = 0.28, 0.6
"""Largest offset of a point from its year, and margin at the ends, in years."""


@figure("timeline", "Energy per image and accuracy over the years")
def over_the_years(experiment: Experiment) -> Figure:
    """Energy per image and accuracy by year of publication."""
    networks(experiment)
    points = network_points(experiment)
    if not points[["year", BEST]].notna().all(axis=1).any():
        raise Unavailable("no network has both a year of publication and an energy.")
    energy, accuracy = energy_trend(experiment), accuracy_trend(experiment)
    points = points.assign(
        named=points[MODEL].isin(_named(experiment) | _furthest(experiment)),
        named_below=points[MODEL].isin(_named(experiment)),
    )

    def draw(width: Width) -> Drawing:
        return _years_figure(points, energy, accuracy, energy_label(experiment), width=width)

    note = (
        "Each network at the year of its first public paper, moved sideways within the year where "
        "several share it: alone (hollow) and at its best batch size (filled). The line and its "
        "95 % band are of the best batch size. Named: outliers, the networks furthest from the "
        "line, and the ends of the Pareto front."
    )
    return Figure(draw, note, " ".join(timeline_findings(experiment)[:3]))


@figure("timeline-front", "Accuracy against energy per image")
def accuracy_front(experiment: Experiment) -> Figure:
    """Accuracy against energy per image, with the Pareto front."""
    networks(experiment)
    points = network_points(experiment).dropna(subset=[BEST, ACCURACY])
    if not len(points):
        raise Unavailable("no network has both an energy and a published accuracy.")
    named = points["on_front"] | points[MODEL].isin(_named(experiment) | _furthest(experiment))
    years = points["year"].astype(int).astype(str)

    def draw(width: Width) -> Drawing:
        return scatter(
            points.assign(
                group=years, front=points["on_front"], name=points[MODEL].where(named, "")
            ).sort_values("group"),
            Axis(BEST, energy_label(experiment), units=formats.ENERGY, scale="log", reversed=True),
            TOP_1,
            looks=shades(sorted(years.unique())),
            height_in=4.4,
            width=width,
        )

    front = points[points["on_front"]].sort_values(BEST)
    note = (
        "Better is up and to the right: the energy axis is reversed. No other network beats one on "
        "the front in both. Energy at the best batch size of each network; darker is older."
    )
    steps = [
        f"{row[MODEL]} {formats.joules(row[BEST])} at {formats.percent(row[ACCURACY])}"
        for row in front.to_dict("records")
    ]
    alt = f"Scatter of {formats.count(len(points), 'network')}. The front: {', '.join(steps)}."
    return Figure(draw, note, alt)


def _years_figure(
    points: pd.DataFrame, energy: Trend, accuracy: Trend, label: str, width: Width
) -> Drawing:
    """Energy per image above accuracy, by year, with both trends."""
    known = points.dropna(subset=["year", BEST])
    known = known.assign(
        place=known["year"] + _aside(known),
        group=np.where(known["on_front"], BEST_ON_FRONT, BEST_BATCH),
        joined=known[MODEL],
    )
    alone = known.assign(**{BEST: known["single_j"]}, group="batch 1", named=False)
    upper, lower = pd.concat([alone, known]), known.drop(columns="joined")
    trends = [
        () if one.reason else (_trend(one, form),)
        for one, form in ((energy, lambda log: 10**log), (accuracy, lambda share: share))
    ]
    years = (float(known["year"].min()) - ENDS, float(known["year"].max()) + ENDS)
    return scatter(
        [
            Panel(
                upper.assign(name=upper[MODEL].where(upper["named"], "")),
                references=trends[0],
                height=1.5,
            ),
            Panel(
                lower.assign(name=lower[MODEL].where(lower["named_below"], "")),
                y=TOP_1,
                references=trends[1],
            ),
        ],
        Axis(
            "place",
            "year of the first public paper",
            form=year_tick,
            whole=True,
            limits=years,
            shared=True,
        ),
        Axis(BEST, label, units=formats.ENERGY, scale="log"),
        looks=LOOKS,
        columns=1,
        height_in=2.5,
        width=width,
    )


def _trend(trend: Trend, form: Callable[[Floats], Floats]) -> Reference:
    """A trend with its band, converted to the shown unit."""
    return Reference(
        "trend, best batch",
        at=lambda years: [form(ends) for ends in trend.at(years)],
        colour=BLUE,
        dash=SOLID,
    )


def _aside(rows: pd.DataFrame) -> pd.Series[float]:
    """Offset of each point within its year, so that points of a year do not overlap."""
    by_year = rows.groupby("year")[BEST]
    order, several = by_year.rank(method="first") - 1, by_year.transform("size")
    return WITHIN_YEAR * (2 * order / (several - 1).clip(lower=1) - 1) * (several > 1)


def energy_label(experiment: Experiment) -> str:
    """For an axis, the unit left open: ``net energy per image, {unit} (estimated)``."""
    energy = experiment.energy
    return f"{energy.name} per image, {{unit}} ({energy.status})"


def _named(experiment: Experiment) -> set[str]:
    """Networks named everywhere: the oldest, the ends of the front, outliers."""
    points = network_points(experiment).dropna(subset=[BEST])
    front = points[points["on_front"]].sort_values(BEST)[MODEL]
    ends = front.iloc[[0, -1]] if len(front) else front
    rows = energy_trend(experiment).residuals
    outliers = rows.loc[rows["outlier"].astype(bool), MODEL]
    return {*points[MODEL].head(1), *ends, *outliers}


def _furthest(experiment: Experiment) -> set[str]:
    """The two networks furthest above, and the two furthest below the trend of energy."""
    order = energy_trend(experiment).residuals.sort_values("residual")[MODEL]
    return {*order.head(2), *order.tail(2)}


TIMELINE = Report(
    contents=(over_the_years, accuracy_front, networks, trends, distances, correlations),
    lead=(over_the_years, trends),
    findings=sentences(timeline_findings),
)
