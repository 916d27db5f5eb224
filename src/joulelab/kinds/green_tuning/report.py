"""The report of green tuning: what each strategy reached, and what it took."""

from __future__ import annotations

import json

import pandas as pd

from joulelab import formats
from joulelab.kinds.searching.report import costs, in_words, searches, steps
from joulelab.present import (
    Axis,
    Column,
    Figure,
    Table,
    Unavailable,
    curves,
    figure,
    table,
    words,
)
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

PROBLEM = ["network", "hyperparameters"]
"""Columns of what is tuned; the rest of a configuration is how."""


@table("strategies", "What each strategy reached, and what it took")
def strategies(experiment: Experiment) -> Table:
    """A row for every strategy on every network."""
    rows = by_strategy(experiment)
    percent = formats.or_dash("{:.4f}".format)
    columns = [
        words("network"),
        Column("hyperparameters", form="{:.0f}".format),
        words("strategy"),
        Column("searches", form="{:.0f}".format),
        Column("accuracy, judged", "accuracy", percent),
        Column("lowest", form=percent),
        Column("highest", form=percent),
        Column("as searched", "score", percent),
        Column("epochs", form="{:,.0f}".format),
        Column("gross energy", "energy_j", formats.joules),
        Column("tuner's share", "share", formats.percent),
    ]
    note = (
        "Medians over searches. An accuracy is the mean of fresh trainings of what a search chose, "
        f"on the test images, apart from its budget. Energy is {experiment.energy.status}."
    )
    return Table(rows, columns, note)


def by_strategy(experiment: Experiment) -> pd.DataFrame:
    """Medians over the searches of each strategy on each network."""
    runs = searches(experiment)
    runs = runs.assign(share=runs["tuner_j"] / runs["energy_gross_j"])
    return (
        runs.groupby([*PROBLEM, "strategy"], sort=False)
        .agg(
            searches=("run_id", "size"),
            accuracy=("accuracy", "median"),
            lowest=("accuracy", "min"),
            highest=("accuracy", "max"),
            score=("score", "median"),
            epochs=("epochs", "median"),
            energy_j=("energy_gross_j", "median"),
            share=("share", "median"),
        )
        .reset_index()
    )


@table("chosen", "What each search chose")
def chosen(experiment: Experiment) -> Table:
    """A row for every search."""
    rows = searches(experiment).assign(
        values=lambda runs: [in_words(json.loads(one)) for one in runs["best"]]
    )
    columns = [
        words("network"),
        words("strategy"),
        words("values"),
        Column("accuracy, judged", "accuracy", "{:.4f}".format),
        Column("standard deviation", "judged_sd", formats.or_dash("{:.4f}".format)),
        Column("trainings", "judged", "{:.0f}".format),
        words("stopped"),
    ]
    return Table(rows, columns)


@figure("curve", "Best accuracy so far over energy")
def best_curve(experiment: Experiment) -> Figure:
    """The best accuracy of a finished trial so far, a line for every search."""
    rows = steps(experiment)
    rows = rows[rows["end"] == rows["end"].max()].dropna(subset=["value"])
    if not len(rows) or not rows["energy_j"].notna().all():
        raise Unavailable("no finished trial has both an accuracy and an energy.")
    runs = searches(experiment).set_index("run_id")
    several = len(runs[PROBLEM].drop_duplicates()) > 1
    named = runs["strategy"]
    if several:
        named = runs["strategy"] + ", " + runs["network"] + ", " + runs["hyperparameters"].map(str)
    lines = rows.assign(
        best=rows.groupby("run_id")["value"].cummax(), line=rows["run_id"].map(named)
    )
    lines = lines.sort_values("spent_j").drop_duplicates(["line", "spent_j"])
    x = Axis(
        "spent_j",
        f"gross energy, {{unit}} ({experiment.energy.status})",
        units=formats.ENERGY,
        from_zero=True,
    )
    y = Axis("best", "best accuracy so far")
    return Figure(
        lambda width: curves(lines, x, y, step="post", width=width),
        "Accuracy on what the search sees; only trials that were trained to the end count.",
        "A line for every strategy.",
    )


def finding(experiment: Experiment) -> list[str]:
    """The strategy with the best judged accuracy on each network, and what it took."""
    said = []
    for _, rows in by_strategy(experiment).groupby(PROBLEM, sort=False):
        best = rows.sort_values("accuracy").iloc[-1]
        others = "" if len(rows) == 1 else f", the best of {len(rows)} strategies"
        said.append(
            f"{best['network']}, {formats.count(int(best['hyperparameters']), 'hyperparameter')}: "
            f"{best['strategy']} reached {best['accuracy']:.4f}{others}, with "
            f"{best['epochs']:,.0f} epochs and {formats.joules(best['energy_j'])} "
            f"({experiment.energy.status})."
        )
    return said


GREEN_TUNING = Report(
    contents=(strategies, best_curve, chosen, costs),
    lead=(best_curve, strategies),
    findings=sentences(finding),
)
