"""The report of a search over an objective: what is best, what it cost, when it stopped and why."""

from __future__ import annotations

import json

from joulelab import formats
from joulelab.kinds.searching.front import (
    front_finding,
    front_table,
    hypervolume_curve,
    score_front,
    trials,
)
from joulelab.kinds.searching.growing import unasked_words
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


def best_finding(experiment: Experiment) -> list[str]:
    """The best values, their confirmation, what it cost, and why it stopped."""
    said = []
    for run in searches(experiment).to_dict("records"):
        values = in_words(json.loads(str(run["best"])))
        at = f" with {values}" if values else ""
        confirmed = ""
        if formats.known(run["confirmed"]):
            seeds = formats.count(int(run["confirmations"]), "fresh seed")
            confirmed = f"; {formats.number(run['confirmed'])} on {seeds}"
        said.append(
            f"The best score is {formats.number(run['score'])}{at}{confirmed}. The "
            f"search spent {formats.joules(run['energy_gross_j'])} ({run['energy_status']}) and "
            f"{formats.duration(run['duration_s'])}; it stopped because {run['stopped']}."
        )
        if isinstance(short := run.get("shortfall"), str):
            said.append(f"{short[0].upper()}{short[1:]}: {run['advice']}.")
        if isinstance(unasked := run.get("unasked"), str):
            said.append(
                f"No trial asked for {unasked_words(json.loads(unasked))}, which the given space "
                "has: searching it was in vain."
            )
    return said


OBJECTIVE = Report(
    contents=(
        best_values,
        best_curve,
        score_front,
        front_table,
        hypervolume_curve,
        costs,
        trial_table,
    ),
    lead=(best_curve, best_values),
    findings=sentences(best_finding, front_finding),
    under_way=(under_way,),
)
