"""The figures of a program's report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.front import undominated
from joulelab.kinds.program.measures import (
    PHASE,
    factors,
    means,
    measures,
    pairs,
    phases,
    runs_of,
)
from joulelab.present import Figure, Unavailable, figure
from joulelab.present.axes import Axis
from joulelab.present.bar_plots import stacked_bars
from joulelab.present.curve_plot import curves
from joulelab.present.interval_plot import intervals
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.report.energy import check_drawn
from joulelab.report.experiment import Experiment

MOST_PANELS = 6
MOST_LINES = 8
"""With more configurations a figure of curves shows the mean by level of the first factor."""


@figure("phase-energy", "Gross energy by phase")
def phase_bars(experiment: Experiment) -> Figure:
    """The energy of the phases as stacked bars."""
    rows = phases(experiment).dropna(subset=["energy_j"])
    if not len(rows):
        raise Unavailable("the energy of the phases is unknown.")
    names = {f"{PHASE}{name}": name for name in rows["phase"]}
    wide = rows.pivot(index="configuration", columns="phase", values="energy_j").fillna(0.0)
    wide = wide.add_prefix(PHASE)  # a phase may be called "total"
    bars = wide.assign(row=wide.index, total=wide[[*names]].sum(axis=1))
    check_drawn(len(bars))
    axis = Axis("total", "mean gross energy of a run, {unit}", units=formats.ENERGY)
    note = "Means over the runs; phases that nest count in each."
    return Figure(
        lambda width: stacked_bars(
            bars, axis, {name: key for key, name in names.items()}, formats.joules, width=width
        ),
        note,
        f"Stacked bars of {formats.count(len(names), 'phase')}.",
    )


@figure("trade-off", "Trade-off and Pareto front")
def trade_off(experiment: Experiment) -> Figure:
    """Two measures against each other, with the configurations that no other beats in both."""
    panels = []
    for x, y in pairs(experiment)[:MOST_PANELS]:
        points = means(experiment).dropna(subset=[x.column, y.column])
        if not len(points):
            continue
        front = undominated(
            x.sign * points[x.column].to_numpy(float), -y.sign * points[y.column].to_numpy(float)
        )
        name = points["configuration"].where(front, "")
        rows = points.assign(front=front, name=name)
        x_axis = replace(x.axis(experiment), reversed=x.better == "min")
        y_axis = replace(y.axis(experiment), reversed=y.better == "min")
        panels.append(Panel(rows, y.name, x_axis, y_axis))
    if not panels:
        raise Unavailable("no configuration has two measures.")
    fronts = [
        f"{one.title}: {formats.listing(list(one.rows.loc[one.rows['front'], 'configuration']))}"
        for one in panels
    ]
    note = (
        "Means over the repetitions with 95 % intervals. Better is up and to the right: an axis on "
        "which less is better is reversed. No other configuration beats those on the Pareto "
        "front in both."
    )
    if len(panels) == 1:
        panels = [replace(panels[0], title="")]
    return Figure(
        lambda width: scatter(panels, *panels[0].axes, columns=1, height_in=3.4, width=width),
        note,
        f"Scatter. Front: {'; '.join(fronts)}.",
    )


@figure("metrics", "Every measure by configuration")
def by_configuration(experiment: Experiment) -> Figure:
    """A dot with its interval for each configuration and measure."""
    rows = means(experiment)
    check_drawn(len(rows))
    panels = [
        Panel(rows.assign(row=rows["configuration"]), one.name, one.axis(experiment))
        for one in measures(experiment)[:MOST_PANELS]
        if rows[one.column].notna().any()
    ]
    note = "Means over the repetitions with 95 % intervals."
    axis = panels[0].x
    assert axis is not None
    return Figure(lambda width: intervals(panels, axis, width=width), note, "Dots with intervals.")


@figure("curves", "Metrics while the programs ran")
def metric_curves(experiment: Experiment) -> Figure:
    """The reported metrics over steps: means over runs."""
    reported = experiment.curves()
    if not len(reported):
        raise Unavailable("")
    runs = runs_of(experiment)
    by = "configuration" if runs["configuration"].nunique() <= MOST_LINES else None
    by = by or next(iter(factors(experiment)), "configuration")
    levels = runs[by].map(formats.level)
    lines = levels if by == "configuration" else f"{by} = " + levels
    drawn = reported[np.isfinite(reported["value"])]  # a loss that diverges is infinite
    known = drawn.merge(runs[["run_id"]].assign(line=lines), on="run_id")
    panels = []
    for metric, rows in known.groupby("metric", sort=False):
        points = rows.groupby(["line", "step"])["value"].mean().reset_index()
        panels.append(Panel(points, str(metric), y=Axis("value", str(metric))))
    if not panels:
        raise Unavailable("no finished run has reported a metric.")
    shown = panels[:MOST_PANELS]

    def draw(width: Width) -> Drawing:
        return curves(shown, Axis("step", "step", whole=True), Axis("value", ""), width=width)

    titles = formats.listing([one.title for one in panels])
    return Figure(draw, "Means over the runs.", f"Curves of {titles}.")
