"""The report of a training-cost experiment: findings, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.comparison import ratio_of_means
from joulelab.analysis.negative_energy import in_words
from joulelab.kinds.training_cost.configurations import (
    BASE,
    DATASET,
    NETWORK,
    configurations,
    costs,
    impossible_energies,
    label,
    repeated,
    short_datasets,
    shortened,
    sound,
    varied,
)
from joulelab.kinds.training_cost.places import (
    effects_of_place,
    emissions,
    emissions_by_place,
    intensities,
    place_findings,
)
from joulelab.kinds.training_cost.tables import (
    base_effect,
    bases,
    better_proxy,
    configuration_pairs,
    cost_table,
    dataset_correlation,
    dataset_effect,
    efficiency,
    factor_effects,
    factor_interactions,
    flops,
    level_differences,
    proxies,
    sizes,
    time_energy,
    utilisations,
    weights_words,
)
from joulelab.present import Figure, Unavailable, figure
from joulelab.present.axes import Axis, tenfold
from joulelab.present.interval_plot import intervals
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, VERMILLION, Look
from joulelab.report.energy import ACCURACY_AXIS, effect_finding
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

MOST_STEPS = 3
LOOKS = {"trained base": Look(VERMILLION, "o"), "frozen base": Look(BLUE, "D")}
ONE_RUN = (
    "Each configuration was measured once, so there are no intervals and no tests; three or more "
    "repetitions allow both."
)


def cost_findings(experiment: Experiment) -> list[str]:
    """Findings on costs, bases, proxies for energy and places; limitations first."""
    if not len(experiment.runs):
        return []
    found = impossible_energies(experiment)
    said = [
        weights_words(experiment) if experiment.energy.column is not None else "",
        f"{in_words(found, formats.joules)}; left out of everything about energy."
        if len(found)
        else "",
    ]
    try:
        costs(experiment)
    except Unavailable:
        return [sentence for sentence in said if sentence]
    told = sentences(
        lambda one: "" if repeated(one) else ONE_RUN,
        lambda one: list(_fronts(one)),
        _base,
        _effects,
        _dataset,
        better_proxy,
        place_findings,
    )
    return [*filter(None, said), *told(experiment)]


def _fronts(experiment: Experiment) -> Iterator[str]:
    """For each data set the most accurate configuration, and savings at lower accuracy."""
    points = configurations(experiment).dropna(subset=["energy_j", "accuracy"])
    short = short_datasets(list(points[DATASET]))
    for dataset, rows in points.groupby(DATASET, sort=False):
        if len(rows) > 1:
            front = rows[rows["on_front"]].sort_values("accuracy", ascending=False)
            yield _front(experiment, front, short[str(dataset)])


def _front(experiment: Experiment, front: pd.DataFrame, dataset: str) -> str:
    best, others = front.iloc[0], front.iloc[1:]
    reached = (
        f"On {dataset}, {label(experiment, best)} is the most accurate, "
        f"{formats.accuracy(best['accuracy'])} for {formats.joules(best['energy_j'])} "
        f"({experiment.energy.status})"
    )
    if not len(others):
        return f"{reached}, and takes the least energy too."
    if len(others) > MOST_STEPS:
        # The closest ones, and the cheapest one.
        others = pd.concat([others.iloc[: MOST_STEPS - 1], others.iloc[[-1]]])
    steps = [
        f"{label(experiment, row)} takes "
        f"{formats.percent(1 - row['energy_j'] / best['energy_j'])} less"
        f"{_perhaps(experiment, row, best)} at "
        f"{formats.points(row['accuracy'] - best['accuracy'])}"
        for _, row in others.iterrows()
    ]
    return f"{reached}; {', '.join(steps)}."


def _perhaps(experiment: Experiment, one: pd.Series[Any], other: pd.Series[Any]) -> str:
    """A remark if two configurations may have equal energy by Welch's interval of their ratio."""
    runs, energy = sound(experiment).measured, str(experiment.energy.column)
    first, second = (
        list(runs.loc[runs["configuration"] == row["configuration"], energy].dropna())
        for row in (one, other)
    )
    ratio = ratio_of_means(first, second)
    return ", which may be chance," if ratio.low <= 1 <= ratio.high else ""


def _effects(experiment: Experiment) -> list[str]:
    """The factor with the largest effect on energy; nothing without repetitions."""
    if not repeated(experiment):
        return []
    short = short_datasets(list(configurations(experiment)[DATASET]))
    return [shortened(effect_finding(sound(experiment)), short)]


def _base(experiment: Experiment) -> str:
    if BASE not in varied(experiment):
        return ""
    found = base_effect(experiment)
    saved = 1 - 1 / found.ratio
    word = "less" if saved >= 0 else "more"
    pairs = (
        f"over {found.pairs} pairs with the same network and data set"
        if found.pairs > 1
        else "in the only pair with the same network and data set"
    )
    reach = ""
    if formats.known(found.ratio_low):
        low, high = 1 - 1 / found.ratio_low, 1 - 1 / found.ratio_high
        reach = f" (95 % interval of the saving {formats.interval(low, high, _share)}"
        reach += ", which may be chance)" if low <= 0 <= high else ")"
    return (
        f"A frozen base takes {formats.percent(abs(saved))} {word} energy than a trained one"
        f"{reach}, at {formats.points(-found.points)} of accuracy, {pairs}."
    )


def _dataset(experiment: Experiment) -> str:
    found = dataset_correlation(experiment)
    short = short_datasets([found.less, found.more])
    p = formats.p_value(found.p)
    said = (
        f"Point-biserial correlation of energy with the data set, {short[found.more]} against "
        f"{short[found.less]}: r = {formats.effect(found.r)} "
        f"(p {p if p.startswith('<') else f'= {p}'}), {formats.share(found.r**2)} of the "
        "variance of energy"
    )
    if not found.pairs:
        return f"{said}."
    reach = ""
    if formats.known(found.ratio_low):
        ends = formats.interval(found.ratio_low - 1, found.ratio_high - 1, formats.change)
        reach = f" (95 % interval {ends})"
    return (
        f"{said}; at equal network and base {short[found.more]} takes "
        f"{formats.change(found.ratio - 1)} energy{reach}."
    )


def _share(value: float) -> str:
    return formats.signed(formats.percent(value))


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
        "network; whiskers are 95 % intervals over runs, and may go beyond the axes. No other "
        "point of a data set beats those on the Pareto front in both."
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


TRAINING_COST = Report(
    contents=(
        cost_table,
        efficiency,
        energies,
        trade_off,
        intensities,
        emissions_by_place,
        emissions,
        effects_of_place,
        bases,
        factor_effects,
        factor_interactions,
        level_differences,
        configuration_pairs,
        dataset_effect,
        proxies,
        sizes,
        flops,
        time_energy,
        utilisations,
    ),
    lead=(trade_off, cost_table),
    findings=cost_findings,
)
