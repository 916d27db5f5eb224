"""The figures of a comparison over time: both figures by year, and one against the other."""

from __future__ import annotations

from joulelab import formats
from joulelab.present import Figure, Unavailable, figure
from joulelab.report.experiment import Experiment
from joulelab.report.timeline.findings import timeline_findings
from joulelab.report.timeline.front_figure import accuracy_energy_figure
from joulelab.report.timeline.points import (
    ACCURACY,
    BEST,
    MODEL,
    accuracy_trend,
    energy_trend,
    network_points,
)
from joulelab.report.timeline.tables import networks
from joulelab.report.timeline.years_figure import Line, years_figure


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
    note = (
        "Each network at the year of its first public paper, moved sideways within the year where "
        "several share it: alone (hollow) and at its best batch size (filled). The line and its "
        "95 % band are of the best batch size. Named: outliers, the networks furthest from the "
        "line, and the ends of the Pareto front."
    )
    lines = Line(energy.at, energy.reason), Line(accuracy.at, accuracy.reason)
    return Figure(
        lambda _: years_figure(points, *lines, energy_label(experiment)),
        note,
        " ".join(timeline_findings(experiment)[:3]),
    )


@figure("timeline-front", "Accuracy against energy per image")
def accuracy_front(experiment: Experiment) -> Figure:
    """Accuracy against energy per image, with the Pareto front."""
    networks(experiment)
    points = network_points(experiment).dropna(subset=[BEST, ACCURACY])
    if not len(points):
        raise Unavailable("no network has both an energy and a published accuracy.")
    named = points["on_front"] | points[MODEL].isin(_named(experiment) | _furthest(experiment))
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
    return Figure(
        lambda _: accuracy_energy_figure(points.assign(named=named), energy_label(experiment)),
        note,
        alt,
    )


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
