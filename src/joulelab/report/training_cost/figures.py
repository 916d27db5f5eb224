"""The figures of what training costs, with their captions."""

from __future__ import annotations

import pandas as pd

from joulelab import formats
from joulelab.present import Figure, Unavailable, figure
from joulelab.report.experiment import Experiment
from joulelab.report.training_cost.configurations import (
    DATASET,
    costs,
    label,
    short_datasets,
    varied,
)
from joulelab.report.training_cost.energy_figure import network_energy_figure
from joulelab.report.training_cost.trade_off_figure import network_trade_off_figure


@figure("training-energy", "Energy of each network")
def energies(experiment: Experiment) -> Figure:
    """Energy of each network, bases apart."""
    points = costs(experiment).dropna(subset=["energy_j"])
    least, most = points.iloc[0], points.iloc[-1]
    note = (
        f"Mean {experiment.energy.name} of a training ({experiment.energy.status}) with the 95 % "
        "interval over runs, where there is one."
    )
    alt = (
        f"From {formats.joules(least['energy_j'])} ({label(experiment, least, dataset=True)}) to "
        f"{formats.joules(most['energy_j'])} ({label(experiment, most, dataset=True)})."
    )
    panels, axis = _by_dataset(experiment, points), experiment.energy.label
    return Figure(lambda _: network_energy_figure(panels, axis), note, alt)


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
    panels, axis = _by_dataset(experiment, points), experiment.energy.label
    return Figure(lambda _: network_trade_off_figure(panels, axis), note, alt)


def _by_dataset(experiment: Experiment, points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The configurations of each data set by its name; a single one has no title."""
    if DATASET not in varied(experiment):
        return {"": points}
    short = short_datasets(list(points[DATASET]))
    return {short[str(name)]: rows for name, rows in points.groupby(DATASET, sort=False)}
