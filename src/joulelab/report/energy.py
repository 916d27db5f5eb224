"""What the trainings of an experiment cost: by configuration, by factor, and against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.assumptions import normality, qq
from joulelab.analysis.factor_increase import factor_increase
from joulelab.analysis.trade_off import Clusters, clusters, pareto
from joulelab.analysis.variation import summarise_variation, variation
from joulelab.present import (
    Column,
    Figure,
    Table,
    Unavailable,
    cached_per_subject,
    figure,
    table,
    words,
)
from joulelab.present.axes import Axis, Reference, percent_tick
from joulelab.present.bar_plots import histogram
from joulelab.present.interval_plot import intervals
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLACK, SOLID, VERMILLION
from joulelab.report.effects import FIXED, SIGNIFICANT_P, STRATEGY, effects, sentence
from joulelab.report.experiment import Experiment, energy_column

ACCURACY_AXIS = Axis("accuracy", "accuracy on the test images", bounds=(0, 1))
MOST_DRAWN = 200
"""With more configurations no figure has room for the names."""
MOST = 0.5
"""From this eta squared on, a factor explains most of the energy."""


def check_drawn(count: int) -> None:
    """Refuse to draw configurations one by one where there are too many.

    Raises:
        Unavailable: there are more than `MOST_DRAWN`.
    """
    if count > MOST_DRAWN:
        raise Unavailable(f"{count:,} configurations are too many to distinguish; see the table.")


def _energy_of(experiment: Experiment) -> str:
    """``net energy of a training (estimated)``."""
    return f"{experiment.energy.name} of {experiment.each} ({experiment.energy.status})"


@table("increase", "Mean increase in energy by factor")
def increases(experiment: Experiment) -> Table:
    """How much more energy the upper level of each factor costs."""
    energy = energy_column(experiment)
    whole = factor_increase(experiment.measured, experiment.varied, energy)
    rows = whole[whole["increase_percent"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(sentence(whole["reason"], "no factor has two levels"))
    columns = [
        words("factor"),
        words("from", "low"),
        words("to", "high"),
        Column("energy, from", "low_mean_j", formats.joules),
        Column("energy, to", "high_mean_j", formats.joules),
        Column("increase", "increase_percent", lambda percent: formats.change(percent / 100)),
    ]
    note = (
        f"Mean {_energy_of(experiment)} at the two levels, over all levels of the other factors. "
        "Named levels are sorted by mean energy."
    )
    return Table(rows, columns, note)


@cached_per_subject
def found_clusters(experiment: Experiment) -> Clusters:
    """E- and E+ by the factor that moves the energy most.

    Raises:
        Unavailable: no factor has two levels whose runs have an energy.
    """
    energy = energy_column(experiment)
    found = (
        clusters(experiment.runs, experiment.varied, energy=energy) if experiment.varied else None
    )
    if found is None or found.reason:
        raise Unavailable("no factor has two levels whose runs have an energy.")
    return found


@table("clusters", "Runs of high and of low energy (Table V)")
def cluster_table(experiment: Experiment) -> Table:
    """Table V: what the runs of high and of low energy reach."""
    found = found_clusters(experiment)
    columns = [
        words("cluster", form=formats.signed),
        words(str(found.factor), "level"),
        Column("runs", "n", "{:,}".format),
        Column("mean energy", "energy_mean_j", formats.joules),
        Column("mean acc.", "accuracy_mean", formats.accuracy),
        Column("max acc.", "accuracy_max", formats.accuracy),
        Column("std acc.", "accuracy_std", formats.accuracy),
    ]
    note = (
        f"The clusters are the levels of {found.factor}, the factor that moves the energy most. "
        f"Energy is {_energy_of(experiment)}; accuracy "
        "(acc.) is that of single trainings."
    )
    if found.between:
        note += f" {formats.count(found.between, 'run')} at levels in between are in neither."
    return Table(found.table.iloc[::-1].reset_index(drop=True), columns, note)


@table("variation", "Energy of each configuration and its variation", folded=True)
def variations(experiment: Experiment) -> Table:
    """How much the energy of a configuration varies from run to run."""
    rows = variation(experiment.measured, energy=energy_column(experiment))
    rows = rows[rows["n"] > 0].sort_values("mean_j", ignore_index=True)
    columns = [
        words("configuration"),
        Column("runs", "n", "{:,}".format),
        Column("mean energy", "mean_j", formats.joules),
        Column("std", "std_j", formats.joules),
        Column("CV", "cv", formats.percent),
    ]
    note = (
        f"{_energy_of(experiment).capitalize()}. The "
        "coefficient of variation (CV) is the standard deviation over the mean, over all rounds "
        "and repetitions."
    )
    if len(single := rows[rows["cv"].isna()]):
        why = "; ".join(dict.fromkeys(single["reason"]))
        note += f" No CV for {formats.count(len(single), 'configuration')}: {why}."
    return Table(rows, columns, note)


@figure("energy", "Energy of each configuration")
def energy_by_configuration(experiment: Experiment) -> Figure:
    """Mean energy of each configuration."""
    rows = variations(experiment).frame
    check_drawn(len(rows))
    least, most = rows.iloc[0], rows.iloc[-1]
    note = (
        f"Mean {experiment.energy.name} of {experiment.each} over all its rounds and repetitions "
        f"({experiment.energy.status}){_bound(experiment)}."
    )
    alt = (
        f"Mean energy from {formats.joules(least['mean_j'])} ({least['configuration']}) to "
        f"{formats.joules(most['mean_j'])} ({most['configuration']})."
    )
    bars = rows.assign(
        row=rows["configuration"],
        low_j=rows["mean_j"] - rows["std_j"],
        high_j=rows["mean_j"] + rows["std_j"],
    )
    spread = "\nwhiskers: standard deviation of the runs" if (rows["std_j"] > 0).any() else ""
    label = f"mean {experiment.energy_label}{spread}"
    axis = Axis("mean_j", label, units=formats.ENERGY, low="low_j", high="high_j", from_zero=True)
    return Figure(lambda width: intervals(bars, axis, said=formats.joules, width=width), note, alt)


def _bound(experiment: Experiment) -> str:
    """The error bound of the meters, as a typical share of a run's gross energy."""
    share = (experiment.runs["energy_error_j"] / experiment.runs["energy_gross_j"]).median()
    if not formats.known(share):
        return "; the error of the meters is unknown"
    return f"; the meters' error bound is ± {formats.percent(share)} of the gross energy (median)"


@figure("trade-off", "Energy against accuracy")
def trade_off(experiment: Experiment) -> Figure:
    """Energy against accuracy, with the clusters and the Pareto front."""
    energy = energy_column(experiment)
    try:
        found = found_clusters(experiment)
    except Unavailable:
        found = None
    factor = found.factor if found is not None else None
    by = ["configuration", "round", *([factor] if factor else [])]
    means = pareto(experiment.runs, by=by, energy=energy)
    means = means[means["n"] > 0].rename(
        columns={"energy_mean_j": "energy_j", "accuracy_mean": "accuracy"}
    )
    if not len(means):
        raise Unavailable("no run has both an energy and an accuracy.")
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
        "repetitions. Better is up and to the right: the energy axis is reversed. No other "
        "point beats those on the Pareto front in both energy and accuracy."
    )
    alt = (
        f"Scatter of {formats.count(len(means), 'point')}. The Pareto front goes from "
        f"{formats.joules(one['energy_j'])} at accuracy {formats.accuracy(one['accuracy'])} to "
        f"{formats.joules(other['energy_j'])} at {formats.accuracy(other['accuracy'])}."
    )
    counts = means["group"].map(means["group"].value_counts()).map(" ({:,})".format)
    points = means.assign(group=means["group"] + counts, front=means["on_front"])
    # The groups of little energy first.
    order = points.groupby("group")["energy_j"].mean().rank()
    points = points.sort_values("group", key=lambda group: group.map(order), kind="stable")
    axis = Axis("energy_j", experiment.energy_label, units=formats.ENERGY, reversed=True)
    return Figure(lambda width: scatter(points, axis, ACCURACY_AXIS, width=width), note, alt)


@figure("variation", "Variation of energy within a configuration")
def variation_histogram(experiment: Experiment) -> Figure:
    """Histogram of the coefficients of variation."""
    rows = variations(experiment).frame
    summary = summarise_variation(rows)
    if not summary.n:
        why = "; ".join(dict.fromkeys(rows["reason"]))
        raise Unavailable(f"no configuration has a coefficient of variation ({why}).")
    said = (
        f"Coefficient of variation of {formats.count(summary.n, 'configuration')}: mean "
        f"{formats.percent(summary.mean, 2)}, maximum {formats.percent(summary.maximum, 2)}"
    )
    energy = f"{experiment.energy.name} ({experiment.energy.status})"
    return Figure(
        lambda width: variation_figure({experiment.name: list(rows["cv"])}, energy, width),
        f"{said}. Below 1 %, hyperparameters and chance hardly move the energy.",
        f"Histogram. {said}.",
    )


def variation_figure(samples: Mapping[str, Sequence[float]], energy: str, width: Width) -> Drawing:
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


@figure("quantiles", "Distribution of the energies", folded=True)
def quantile_plot(experiment: Experiment) -> Figure:
    """Q-Q plot of the energies."""
    points = qq(experiment.measured, energy=energy_column(experiment))
    if points.reason:
        raise Unavailable(f"{points.reason}.")
    said = _normality_words(experiment)
    line = Reference(
        "normal distribution",
        at=lambda quantile: points.intercept + points.slope * quantile,
        colour=VERMILLION,
        dash=SOLID,
    )
    return Figure(
        lambda width: scatter(
            points.points,
            Axis("quantile", "quantile of the standard normal distribution"),
            Axis("value", experiment.energy_label, units=formats.ENERGY),
            references=[line],
            width=width,
        ),
        f"Q-Q plot of all runs. {said}",
        f"Q-Q plot. {said}",
    )


def _normality_words(experiment: Experiment) -> str:
    """What Shapiro and Wilk say of the energies."""
    row = normality(experiment.measured, energy=energy_column(experiment)).iloc[0]
    if row["reason"]:
        return f"No test of normality: {row['reason']}."
    note = f" ({row['note']})" if row["note"] else ""
    verdict = (
        "the energies of all configurations together are not normally distributed, which is why "
        "rank tests are used"
        if row["p"] < SIGNIFICANT_P
        else "nothing speaks against a normal distribution; rank tests are valid all the same"
    )
    p = formats.p_value(row["p"])
    equals = p if p.startswith("<") else f"= {p}"
    return f"Shapiro-Wilk: W = {formats.accuracy(row['w'])}, p {equals}{note}; {verdict}."


def effect_finding(experiment: Experiment) -> str:
    """Which factor moves the energy, by how much, and what that does to the accuracy.

    Raises:
        Unavailable: no effect can be tested.
    """
    rows = effects(experiment).frame
    moving = rows[rows[f"{FIXED}p"] < SIGNIFICANT_P]
    held = " with the other factors held fixed" if len(rows) > 1 else ""
    if not len(moving):
        return (
            f"No factor of {experiment.name} moves the energy significantly (Kruskal-Wallis"
            f"{held}, smallest p {formats.p_value(rows[f'{FIXED}p'].min())})."
        )
    # Of those that move it, the one to which most of all spread is due.
    strongest = moving.iloc[int(moving["eta_squared"].to_numpy().argmax())]
    factor, share = str(strongest["factor"]), strongest["eta_squared"]
    verb = "explains most of" if share >= MOST else "moves"
    most = "" if verb.startswith("explains") or len(rows) == 1 else " most"
    fixed = f"η² = {formats.effect(strongest[f'{FIXED}eta_squared'])}{held}"
    size = f"{fixed}, {strongest[f'{FIXED}magnitude']}"
    said = (
        f"In {experiment.name}, {factor} {verb} the {experiment.energy.status} energy{most} "
        f"({size}{f'; {formats.effect(share)} of all runs' if held else ''})"
    )
    try:
        costs = increases(experiment).frame
        found = found_clusters(experiment)
    except Unavailable:
        return f"{said}."
    if (costs["factor"] == factor).any():
        row = costs[costs["factor"] == factor].iloc[0]
        said += (
            f": {formats.level(row['high'])} instead of {formats.level(row['low'])} means "
            f"{formats.change(row['increase_percent'] / 100)} energy"
        )
    if found.factor == factor:
        # A search tries bad hyperparameters too, so there only the best accuracy says anything.
        which = "max" if STRATEGY in experiment.factors else "mean"
        low, high = found.table[f"accuracy_{which}"]
        word = {"max": "best", "mean": "mean"}[which]
        said += f" and {formats.points(high - low)} of {word} accuracy"
    return f"{said}."
