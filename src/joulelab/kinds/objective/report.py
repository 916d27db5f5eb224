"""The report of a search over an objective: what is best, what it cost, when it stopped and why."""

from __future__ import annotations

import json

import pandas as pd

from joulelab import formats
from joulelab.analysis.trade_off import undominated
from joulelab.kinds.searching.report import (
    SEARCH,
    costs,
    in_words,
    searches,
    sign,
    steps,
    under_way,
)
from joulelab.present import (
    Axis,
    Column,
    Figure,
    Table,
    Unavailable,
    curves,
    figure,
    scatter,
    table,
    words,
)
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

LONG = 20


@table("best", "Best values")
def best_values(experiment: Experiment) -> Table:
    """The best values of each search, and their scores on fresh seeds."""
    rows = searches(experiment).assign(
        values=lambda runs: [in_words(json.loads(one)) for one in runs["best"]]
    )
    interval = formats.between(formats.number)
    columns = [
        words("search", "run_id"),
        words("values"),
        Column("score", form=formats.number),
        Column("on fresh seeds", "confirmed", formats.number),
        Column("95 % interval", ("confirmed_low", "confirmed_high"), interval),
        Column("seeds", "confirmations", "{:.0f}".format),
        words("stopped"),
    ]
    note = (
        "The score is what the search saw, and so it is somewhat lucky; the mean on fresh seeds, "
        "which the search did not see, is not."
    )
    return Table(rows, columns, note)


@table("trials", "Trials")
def trial_table(experiment: Experiment) -> Table:
    """A row for every trial: what its steps gave together."""
    rows = trials(experiment)
    rows = rows.assign(values=[in_words(json.loads(one)) for one in rows["values"]])
    columns = [
        Column("trial", form="{:.0f}".format),
        words("values"),
        Column("score", form=formats.number),
        Column("epochs", "end", "{:.0f}".format),
        words("state"),
        Column("gross energy", "energy_j", formats.joules),
        words("reason"),
    ]
    return Table(rows, columns, folded=len(rows) > LONG)


def trials(experiment: Experiment) -> pd.DataFrame:
    """A row for every trial of every search."""
    rows = steps(experiment)
    rows = rows[rows["metric"] == SEARCH].copy()
    by = rows.groupby(["run_id", "trial"], sort=False)
    furthest = by["end"].transform("max")
    scores = rows[rows["end"] == furthest].groupby(["run_id", "trial"])["value"].mean()
    made = by.agg(
        values=("values", "last"),
        end=("end", "max"),
        epochs=("epochs", "sum"),
        state=("state", "last"),
        reason=("reason", "last"),
        energy_j=("energy_j", lambda one: one.sum(skipna=False)),
        duration_s=("duration_s", "sum"),
    )
    return made.join(scores.rename("score")).reset_index()


@figure("curve", "Best score over what was spent")
def best_curve(experiment: Experiment) -> Figure:
    """The best score so far of trials that were trained furthest."""
    rows = steps(experiment)
    rows = rows[(rows["metric"] == SEARCH) & (rows["end"] == rows["end"].max())]
    rows = rows.dropna(subset=["value"])
    if not len(rows):
        raise Unavailable("no trial has a score.")
    one = sign(experiment)
    best = (rows["value"] * one).groupby(rows["run_id"]).cummax() * one
    known = rows["energy_j"].notna().all()
    lines = rows.assign(best=best, line=rows["run_id"])
    if known:
        x = Axis(
            "spent_j",
            f"gross energy, {{unit}} ({experiment.energy.status})",
            units=formats.ENERGY,
            from_zero=True,
        )
    else:
        x = Axis("t_s", "seconds", from_zero=True)
    y = Axis("best", "best score so far")
    return Figure(
        lambda width: curves(lines, x, y, step="post", width=width),
        "Only trials that were trained to the end count.",
        "A curve of the best score.",
    )


@figure("front", "Score against energy per evaluation")
def score_front(experiment: Experiment) -> Figure:
    """Every trial that was trained to the end: its score, and the energy of a full training."""
    rows = trials(experiment)
    rows = rows[rows["end"] == rows["end"].max()].dropna(subset=["score", "energy_j"])
    if not len(rows):
        raise Unavailable("no trial has both a score and an energy.")
    rows = rows.assign(each_j=rows["energy_j"] / rows["epochs"] * rows["end"])
    front = undominated(
        rows["each_j"].to_numpy(float), -sign(experiment) * rows["score"].to_numpy()
    )
    points = rows.assign(front=front, name=rows["trial"].map("trial {}".format).where(front, ""))
    x = Axis(
        "each_j",
        f"gross energy of a training, {{unit}} ({experiment.energy.status})",
        units=formats.ENERGY,
        reversed=True,
    )
    y = Axis("score", "score", reversed=sign(experiment) < 0)
    named = formats.listing(list(points.loc[front, "name"]))
    return Figure(
        lambda width: scatter(points, x, y, width=width),
        "Better is up and to the right. No other trial beats those on the front in both.",
        f"Scatter. Front: {named}.",
    )


def best_finding(experiment: Experiment) -> list[str]:
    """The best values, their confirmation, what it cost, and why it stopped."""
    said = []
    for run in searches(experiment).to_dict("records"):
        values = in_words(json.loads(str(run["best"])))
        confirmed = ""
        if run["confirmed"] == run["confirmed"]:
            seeds = formats.count(int(run["confirmations"]), "fresh seed")
            confirmed = f"; {formats.number(run['confirmed'])} on {seeds}"
        said.append(
            f"The best score is {formats.number(run['score'])} with {values}{confirmed}. The "
            f"search spent {formats.joules(run['energy_gross_j'])} ({run['energy_status']}) and "
            f"{formats.duration(run['duration_s'])}; it stopped because {run['stopped']}."
        )
    return said


OBJECTIVE = Report(
    contents=(best_values, best_curve, score_front, costs, trial_table),
    lead=(best_curve, best_values),
    findings=sentences(best_finding),
    under_way=(under_way,),
)
