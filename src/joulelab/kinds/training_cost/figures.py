"""The figures of what training costs, with their captions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.kinds.training_cost.configurations import (
    BASE,
    DATASET,
    NETWORK,
    costs,
    label,
    short_datasets,
    varied,
)
from joulelab.present import Figure, Unavailable, figure
from joulelab.present.axes import Axis, tenfold
from joulelab.present.interval_plot import intervals
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, VERMILLION, Look
from joulelab.report.energy import ACCURACY_AXIS
from joulelab.report.experiment import Experiment

LOOKS = {"trained base": Look(VERMILLION, "o"), "frozen base": Look(BLUE, "D")}


@figure("training-energy", "Energy of each network")
def energies(experiment: Experiment) -> Figure:
    """Energy of each network, bases apart."""
    points = costs(experiment).dropna(subset=["energy_j"])
    least, most = points.iloc[0], points.iloc[-1]
    note = (
        f"Mean {experiment.energy.name} of {experiment.each} ({experiment.energy.status}) with the "
        "95 % interval over runs, where there is one."
    )
    alt = (
        f"From {formats.joules(least['energy_j'])} ({label(experiment, least, dataset=True)}) to "
        f"{formats.joules(most['energy_j'])} ({label(experiment, most, dataset=True)})."
    )
    rows = points.assign(row=points[NETWORK], group=points[BASE] + " base")
    logs = points.assign(log=np.log(points["energy_j"])).groupby(NETWORK, sort=False)["log"]

    def draw(width: Width) -> Drawing:
        return intervals(
            _by_dataset(experiment, rows),
            replace(
                _energy(experiment),
                scale="auto",
                from_zero=not tenfold(points["energy_j"]),
                shared=True,
            ),
            looks=LOOKS,
            order=[str(name) for name in logs.mean().sort_values(kind="stable").index],
            width=width,
        )

    return Figure(draw, note, alt)


@figure("training-trade-off", "Accuracy against energy")
def trade_off(experiment: Experiment) -> Figure:
    """Accuracy against energy, with the Pareto front of each data set."""
    points = costs(experiment).dropna(subset=["energy_j", "accuracy"])
    if not len(points):
        raise Unavailable("no run has both an energy and an accuracy.")
    front = points[points["on_front"]]
    note = (
        "Better is up and to the right: the energy axis is reversed. A line joins the bases of a "
        "network; whiskers are 95 % intervals over runs, and may go beyond the axes. Points on the "
        "Pareto front are beaten by no other on their data set in both."
    )
    steps = [
        f"{label(experiment, row, dataset=True)} {formats.joules(row['energy_j'])} at "
        f"{formats.accuracy(row['accuracy'])}"
        for _, row in front.iterrows()
    ]
    alt = f"Scatter of {formats.count(len(points), 'configuration')}. Front: {'; '.join(steps)}."
    best = points.groupby([NETWORK, DATASET])["accuracy"].transform("idxmax") == points.index
    rows = points.assign(
        group=points[BASE] + " base",
        front=points["on_front"],
        joined=points[NETWORK],
        name=points[NETWORK].where(best, ""),
    )

    def draw(width: Width) -> Drawing:
        return scatter(
            _by_dataset(experiment, rows),
            replace(_energy(experiment), scale="auto", reversed=True),
            replace(ACCURACY_AXIS, low="accuracy_low", high="accuracy_high"),
            looks=LOOKS,
            columns=1,
            height_in=3.6,
            width=width,
        )

    return Figure(draw, note, alt)


def _energy(experiment: Experiment) -> Axis:
    label = experiment.energy_label
    return Axis("energy_j", label, units=formats.ENERGY, low="energy_low_j", high="energy_high_j")


def _by_dataset(experiment: Experiment, points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The configurations of each data set by its name; a single one has no title."""
    if DATASET not in varied(experiment):
        return {"": points}
    short = short_datasets(list(points[DATASET]))
    return {short[str(name)]: rows for name, rows in points.groupby(DATASET, sort=False)}
