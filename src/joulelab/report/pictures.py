"""The figures of an experiment, each with its caption and with what it shows in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.analysis.assumptions import qq
from joulelab.analysis.convergence import convergence, running_best
from joulelab.analysis.trade_off import pareto
from joulelab.analysis.variation import summarise_variation
from joulelab.present.axes import Axis, Reference, percent_tick
from joulelab.present.bars import histogram, stacked_bars
from joulelab.present.curves import curves
from joulelab.present.intervals import intervals
from joulelab.present.scatter import scatter
from joulelab.present.style import BLACK, SOLID, VERMILLION, Width
from joulelab.report.experiment import Experiment
from joulelab.report.findings import normality_finding, setting
from joulelab.report.ledger import StudyEnergy
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

ACCURACY_AXIS = Axis("accuracy", "accuracy on the test images", bounds=(0, 1))


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
    panels = convergence_panels(
        experiment, rounds(experiment), lambda levels: ", ".join(setting(experiment, levels))
    )
    note = (
        "Best accuracy up to each round; the marker is the round in which a strategy first had its "
        "optimum. A line that rises early has found good hyperparameters at little cost."
    )
    figure = convergence_figure(panels, experiment.score, "screen")
    alt = f"Best accuracy by round. {convergence_words(panels)}."
    return Picture(key, title, note, alt, figure)


def convergence_panels(
    experiment: Experiment, found: pd.DataFrame, title: Callable[[dict[str, Any]], str]
) -> dict[str, pd.DataFrame]:
    """Best score so far by round of each strategy, by the title of its panel.

    Args:
        experiment: with strategies.
        found: its scored rounds, or some of them.
        title: of a panel, from the levels of the factors that its lines have in common.
    """
    others = [name for name in experiment.factors if name != STRATEGY and name in found]
    by = [*others, STRATEGY]
    optima = convergence(found, by=by).dropna(subset=["optimum_round"])
    best = optima[[*by, "optimum_round"]].merge(running_best(found, by=by), on=by)
    panels: dict[str, list[pd.DataFrame]] = {}
    for levels, rows in best.groupby(by, sort=False, dropna=False):
        at = dict(zip(by, levels, strict=True))
        panels.setdefault(title({name: at[name] for name in others}), []).append(
            rows.assign(line=str(at[STRATEGY]), place=range(1, len(rows) + 1))
        )
    return {
        name: pd.concat(lines).assign(marked=lambda rows: rows["place"] == rows["optimum_round"])
        for name, lines in panels.items()
    }


def convergence_figure(panels: Mapping[str, pd.DataFrame], score: str, width: Width) -> Figure:
    """Draw what `convergence_panels` gives, the optimum marked."""
    last = max(int(rows["place"].max()) for rows in panels.values())
    return curves(
        panels,
        Axis("place", "round", whole=True, limits=(1, max(last, 2))),
        Axis("running_best", f"best accuracy so far\n({score} of the repetitions)"),
        step="post",
        width=width,
    )


def convergence_words(panels: Mapping[str, pd.DataFrame]) -> str:
    """What the panels of a convergence figure show, in words."""
    ends = {name: rows.groupby("line", sort=False).tail(1) for name, rows in panels.items()}
    return "; ".join(
        f"{name}: "
        + ", ".join(
            f"{row['line']} {formats.accuracy(row['running_best'])} in round {row['optimum_round']}"
            for row in rows.to_dict("records")
        )
        for name, rows in ends.items()
    )


def energy_picture(experiment: Experiment) -> Picture | Omitted:
    """Mean energy of each configuration."""
    key, title = "energy", "Energy of each configuration"
    table = variations(experiment)
    if isinstance(table, Omitted):
        return Omitted(key, title, table.reason)
    if reason := too_many_drawn(len(table.raw)):
        return Omitted(key, title, reason)
    least, most = table.raw.iloc[0], table.raw.iloc[-1]
    note = (
        f"Mean {experiment.energy.name} of a training over all its rounds and repetitions "
        f"({experiment.energy.status}){_bound(experiment)}."
    )
    alt = (
        f"Mean energy from {formats.joules(least['mean_j'])} ({least['configuration']}) to "
        f"{formats.joules(most['mean_j'])} ({most['configuration']})."
    )
    rows = table.raw.assign(
        row=table.raw["configuration"],
        low_j=table.raw["mean_j"] - table.raw["std_j"],
        high_j=table.raw["mean_j"] + table.raw["std_j"],
    )
    spread = "\nwhiskers: standard deviation of the runs" if (rows["std_j"] > 0).any() else ""
    label = f"mean {experiment.energy.label}{spread}"
    axis = Axis("mean_j", label, units=formats.ENERGY, low="low_j", high="high_j", from_zero=True)
    return Picture(key, title, note, alt, intervals(rows, axis, said=formats.joules))


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
    counts = means["group"].map(means["group"].value_counts()).map(" ({:,})".format)
    points = means.assign(group=means["group"] + counts, front=means["on_front"])
    energy = Axis("energy_j", experiment.energy.label, units=formats.ENERGY, reversed=True)
    figure = scatter(_by_energy(points), energy, ACCURACY_AXIS)
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


def variation_figure(samples: Mapping[str, Sequence[float]], energy: str, width: Width) -> Figure:
    """A histogram of coefficients of variation.

    Args:
        samples: coefficients by data set, NaN where unknown.
        energy: what varies, for instance ``"net energy (estimated)"``.
        width: of the figure.
    """
    mean = float(np.nanmean(np.concatenate([np.asarray(one, float) for one in samples.values()])))
    said = f"mean {formats.at_scale(mean, 0.01)} %"
    return histogram(
        samples,
        Axis("cv", f"coefficient of variation of the {energy}", form=percent_tick),
        "configurations",
        references=[Reference(said, x=mean, colour=BLACK)],
        width=width,
    )


def quantile_picture(experiment: Experiment) -> Picture | Omitted:
    """Q-Q plot of the energies."""
    key, title = "quantiles", "Distribution of the energies"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    points = qq(experiment.measured, energy=str(experiment.energy.column))
    if points.reason:
        return Omitted(key, title, f"{points.reason}.")
    said = normality_finding(experiment)
    line = Reference(
        "normal distribution",
        at=lambda quantile: points.intercept + points.slope * quantile,
        colour=VERMILLION,
        dash=SOLID,
    )
    figure = scatter(
        points.points,
        Axis("quantile", "quantile of the standard normal distribution"),
        Axis("value", experiment.energy.label, units=formats.ENERGY),
        references=[line],
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
    note = "Gross energy by kind of work, idle power included."
    title = "Energy of the study by kind of work"
    gross_j = energy.gross_j
    figure = stacked_bars(
        parts.assign(row=parts["kind"], sum_j=parts["kept_j"] + parts["lost_j"]),
        Axis("sum_j", f"gross energy, {{unit}} ({energy.status})", units=formats.ENERGY),
        {"kept": "kept_j", "failed or interrupted": "lost_j"},
        lambda sum_j: f"{formats.joules(sum_j)}, {formats.percent(sum_j / gross_j, 0)}",
    )
    return Picture("ledger", title, note, f"Bars: {said}.", figure)


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
