"""The figures of an experiment, each with its caption and with what it shows in words."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.analysis.assumptions import qq
from joulelab.analysis.convergence import running_best
from joulelab.analysis.trade_off import pareto
from joulelab.analysis.variation import summarise_variation
from joulelab.report import figures
from joulelab.report.experiment import Experiment
from joulelab.report.findings import normality_finding, setting
from joulelab.report.ledger import StudyEnergy
from joulelab.report.paper.convergence_figure import Curve, convergence_figure
from joulelab.report.paper.figures import Cloud, trade_off_figure, variation_figure
from joulelab.report.tables import (
    STRATEGY,
    Omitted,
    found_clusters,
    no_energy,
    optima,
    rounds,
    too_many_drawn,
    variations,
)


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        key: name of its files.
        title: what it is.
        note: one or two sentences on how to read it.
        alt: what it shows, for readers who do not see it.
        figure: as drawn.
    """

    key: str
    title: str
    note: str
    alt: str
    figure: Figure


def convergence_picture(experiment: Experiment) -> Picture | Omitted:
    """Best accuracy so far, round by round."""
    key, title = "convergence", "Convergence of the strategies"
    table = optima(experiment)
    if isinstance(table, Omitted):
        return Omitted(key, title, table.reason)
    others = [factor for factor in experiment.factors if factor != STRATEGY]
    best = running_best(rounds(experiment), by=[*others, STRATEGY])
    panels: dict[str, list[Curve]] = {}
    for row in table.raw.to_dict("records"):
        levels = {factor: row[factor] for factor in others}
        here = (
            best[[*others, STRATEGY]].eq(pd.Series({**levels, STRATEGY: row[STRATEGY]})).all(axis=1)
        )
        curve = Curve(
            str(row[STRATEGY]), list(best.loc[here, "running_best"]), int(row["optimum_round"])
        )
        panels.setdefault(", ".join(setting(experiment, levels)), []).append(curve)
    note = (
        "Best accuracy up to each round; the marker is the round in which a strategy first had its "
        "optimum. A line that rises early has found good hyperparameters at little cost."
    )
    said = [
        f"{panel}: "
        + ", ".join(
            f"{c.label} {formats.accuracy(c.best[-1])} in round {c.optimum_round}" for c in lines
        )
        for panel, lines in panels.items()
    ]
    figure = convergence_figure(panels, experiment.score, "screen")
    return Picture(key, title, note, f"Best accuracy by round. {'; '.join(said)}.", figure)


def energy_picture(experiment: Experiment) -> Picture | Omitted:
    """Mean energy of each configuration."""
    key, title = "energy", "Energy of each configuration"
    table = variations(experiment)
    if isinstance(table, Omitted):
        return Omitted(key, title, table.reason)
    if reason := too_many_drawn(len(table.raw)):
        return Omitted(key, title, reason)
    bars = table.raw.rename(columns={"std_j": "spread_j"})
    least, most = bars.iloc[0], bars.iloc[-1]
    note = (
        f"Mean {experiment.energy.name} of a training over all its rounds and repetitions "
        f"({experiment.energy.status}){_bound(experiment)}."
    )
    alt = (
        f"Mean energy from {formats.joules(least['mean_j'])} ({least['configuration']}) to "
        f"{formats.joules(most['mean_j'])} ({most['configuration']})."
    )
    label = f"mean {experiment.energy.label}"
    figure = figures.energy_bars(bars, label, "standard deviation of the runs")
    return Picture(key, title, note, alt, figure)


def trade_off_picture(experiment: Experiment) -> Picture | Omitted:
    """Energy against accuracy, with the clusters and the Pareto front."""
    key, title = "trade-off", "Energy against accuracy"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    found = found_clusters(experiment)
    factor = found.factor if found is not None else None
    by = ["configuration", "round", *([factor] if factor else [])]
    means = pareto(experiment.runs, by=by, energy=str(experiment.energy.column))
    means = means[means["n"] > 0].rename(
        columns={"energy_mean_j": "energy_j", "accuracy_mean": "accuracy"}
    )
    if not len(means):
        return Omitted(key, title, "no run has both an energy and an accuracy.")
    marks = {} if found is None else {found.low: "E\N{MINUS SIGN}: ", found.high: "E+: "}
    means["group"] = (
        [f"{marks.get(level, '')}{factor} = {formats.level(level)}" for level in means[factor]]
        if factor
        else "all"
    )
    front = means[means["on_front"]]
    one, other = front.iloc[0], front.iloc[-1]
    note = (
        "Each point is one set of hyperparameters of one configuration, the mean of its "
        "repetitions. Better is up and to the right: the energy axis is reversed. Points on the "
        "Pareto front are beaten by no other in both energy and accuracy."
    )
    alt = (
        f"Scatter of {formats.count(len(means), 'point')}. The Pareto front goes from "
        f"{formats.joules(one['energy_j'])} at accuracy {formats.accuracy(one['accuracy'])} to "
        f"{formats.joules(other['energy_j'])} at {formats.accuracy(other['accuracy'])}."
    )
    cloud = Cloud(_by_energy(means), front)
    figure = trade_off_figure({"": cloud}, experiment.energy.label, "screen")
    return Picture(key, title, note, alt, figure)


def variation_picture(experiment: Experiment) -> Picture | Omitted:
    """Histogram of the coefficients of variation."""
    key, title = "variation", "Variation of energy within a configuration"
    table = variations(experiment)
    if isinstance(table, Omitted):
        return Omitted(key, title, table.reason)
    summary = summarise_variation(table.raw)
    if not summary.n:
        why = "; ".join(dict.fromkeys(table.raw["reason"]))
        return Omitted(key, title, f"no configuration has a coefficient of variation ({why}).")
    said = (
        f"Coefficient of variation of {formats.count(summary.n, 'configuration')}: mean "
        f"{formats.percent(summary.mean, 2)}, maximum {formats.percent(summary.maximum, 2)}"
    )
    note = f"{said}. Below 1 %, hyperparameters and chance hardly move the energy."
    energy = f"{experiment.energy.name} ({experiment.energy.status})"
    figure = variation_figure({experiment.name: list(table.raw["cv"])}, energy, "screen")
    return Picture(key, title, note, f"Histogram. {said}.", figure)


def quantile_picture(experiment: Experiment) -> Picture | Omitted:
    """Q-Q plot of the energies."""
    key, title = "quantiles", "Distribution of the energies"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    points = qq(experiment.measured, energy=str(experiment.energy.column))
    if points.reason:
        return Omitted(key, title, f"{points.reason}.")
    said = normality_finding(experiment)
    figure = figures.quantile_plot(
        list(points.points["quantile"]),
        list(points.points["value"]),
        points.slope,
        points.intercept,
        experiment.energy.label,
    )
    return Picture(key, title, f"Q-Q plot of all runs. {said}", f"Q-Q plot. {said}", figure)


def ledger_picture(energy: StudyEnergy) -> Picture | None:
    """Where the energy of the study went; ``None`` where none is known."""
    if energy.gross_j is None or energy.gross_j <= 0:
        return None
    parts = energy.parts[energy.parts["unknown"] < energy.parts["entries"]]
    said = ", ".join(
        f"{row['kind']} {formats.percent((row['kept_j'] + row['lost_j']) / energy.gross_j, 0)}"
        for row in parts.to_dict("records")
    )
    label = f"gross energy, {{unit}} ({energy.status})"
    note = "Gross energy by kind of work, idle power included."
    title = "Energy of the study by kind of work"
    return Picture("ledger", title, note, f"Bars: {said}.", figures.ledger_bars(parts, label))


def _by_energy(means: pd.DataFrame) -> pd.DataFrame:
    """The points with the groups of little energy first."""
    order = means.groupby("group")["energy_j"].mean().rank()
    return means.sort_values("group", key=lambda group: group.map(order), kind="stable")


def _bound(experiment: Experiment) -> str:
    """The error bound of the meters, as a typical share of a run's gross energy."""
    share = (experiment.runs["energy_error_j"] / experiment.runs["energy_gross_j"]).median()
    if not formats.known(share):
        return "; the error of the meters is unknown"
    return f"; the meters' error bound is ± {formats.percent(share)} of the gross energy (median)"
