"""The report of green tuning: what each strategy reached, and what it took."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.kinds.green_tuning.compared import PROBLEM, Cost, compared, with_problem
from joulelab.kinds.green_tuning.equal_cost import (
    best_curve,
    equal_table,
    rank_diagram,
    rank_finding,
    ranks,
)
from joulelab.kinds.green_tuning.optimism import optimism, optimism_finding
from joulelab.kinds.green_tuning.targets import (
    MAIN,
    reached,
    survival_curves,
    target_epochs,
    target_table,
)
from joulelab.kinds.searching.front import (
    front_finding,
    front_table,
    hypervolume_curve,
    score_front,
)
from joulelab.kinds.searching.report import costs, in_words, under_way
from joulelab.present import Column, Table, table, words
from joulelab.present.parts import Row, records
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

SHARE = f"{100 * MAIN:g} % of the best score"
BASELINE = "random"
"""The strategy that others are compared with, where it is there."""
LONG = 20
ACCURACY = formats.or_dash("{:.4f}".format)


@table("strategies", "What each strategy reached, and what it took")
def strategies(experiment: Experiment) -> Table:
    """A row for every strategy on every problem."""
    rows = by_strategy(experiment)
    columns = [
        words(PROBLEM),
        words(STRATEGY),
        Column("searches", form="{:.0f}".format, wide=True),
        Column("judged", "accuracy", ACCURACY),
        Column("lowest", form=ACCURACY, wide=True),
        Column("highest", form=ACCURACY, wide=True),
        Column("epochs", form="{:,.0f}".format),
        Column("gross energy", "energy_j", formats.joules),
        Column("tuner's", "share", formats.percent),
    ]
    note = (
        "Medians over searches. Judged: the mean accuracy of fresh trainings of what a search "
        "chose, on the test images, apart from its budget. Tuner's: the share of its own work. "
        f"Energy is {experiment.energy.status}."
    )
    return Table(rows, columns, note)


def by_strategy(experiment: Experiment) -> pd.DataFrame:
    """Medians over the searches of each strategy on each problem."""
    runs = with_problem(experiment)
    whole_j = runs["energy_gross_j"].astype(float)
    runs = runs.assign(share=runs["tuner_j"].astype(float) / whole_j.where(whole_j > 0))
    return (
        runs.groupby([PROBLEM, STRATEGY], sort=False)
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
    rows = with_problem(experiment).assign(
        values=lambda runs: [in_words(json.loads(one)) for one in runs["best"]]
    )
    columns = [
        words(PROBLEM),
        words(STRATEGY),
        words("values"),
        Column("judged", "accuracy", ACCURACY),
        Column("standard deviation", "judged_sd", ACCURACY, wide=True),
        Column("trainings", "judged", "{:.0f}".format, wide=True),
        words("stopped", wide=True),
    ]
    return Table(rows, columns, folded=len(rows) > LONG)


def target_findings(experiment: Experiment) -> list[str]:
    """On each problem, which strategy had 99 % of the best known score for the least."""
    rows = reached(experiment)
    rows = rows[rows["share"] == MAIN]
    said, first = [], []
    for problem, own in _by_problem(rows):
        where = f"{problem}: " if problem else ""
        there = [row for row in own if formats.known(row["cost"])]
        if there:
            best = min(there, key=lambda row: float(row["cost"]))
            first.append(str(best[STRATEGY]))
            said.append(f"{where}{_best(experiment, best, own)}")
        else:
            said.append(f"{where}no strategy reached {SHARE} in half of its searches.")
    if len(said) > 1 and rows[STRATEGY].nunique() > 1 and first:
        order = sorted(dict.fromkeys(first), key=first.count, reverse=True)
        counts = formats.listing([f"{name} on {first.count(name)}" for name in order])
        name = compared(experiment).cost.name
        said.insert(0, f"{SHARE} at the least {name}: {counts} of {len(said)} problems.")
    return said


def _by_problem(rows: pd.DataFrame) -> list[tuple[str, Sequence[Row]]]:
    return [(str(problem), records(own)) for problem, own in rows.groupby(PROBLEM, sort=False)]


def _best(experiment: Experiment, best: Row, own: Sequence[Row]) -> str:
    """What the best strategy on a problem took, beside the baseline, and how it was judged."""
    cost = compared(experiment).cost
    medians = by_strategy(experiment).set_index([PROBLEM, STRATEGY])["accuracy"]
    accuracy = medians.get((best[PROBLEM], best[STRATEGY]), np.nan)
    judged = f"; judged {formats.accuracy(accuracy)}" if formats.known(accuracy) else ""
    in_searches = f" in {_of(best)} searches" if best["searches"] > 1 else ""
    return (
        f"{best[STRATEGY]} reached {SHARE} with {cost.words(best['cost'])} "
        f"({experiment.energy.status}){_against(best, own, cost) or in_searches}{judged}."
    )


def _of(row: Row) -> str:
    return f"{row['reached']} of {row['searches']}"


def _against(best: Row, own: Sequence[Row], cost: Cost) -> str:
    """The best strategy's cost as a share of the baseline's, or of the next one's."""
    others = [row for row in own if row[STRATEGY] != best[STRATEGY]]
    named = [row for row in others if row[STRATEGY] == BASELINE]
    known = [row for row in others if formats.known(row["cost"])]
    rest = named or sorted(known, key=lambda row: float(row["cost"])) or others
    if not rest:
        return ""
    other = rest[0]
    if not formats.known(other["cost"]):
        return f"; {other[STRATEGY]} takes more than {cost.words(other['cost_least'])}"
    part = formats.share(best["cost"] / other["cost"])
    return f", {part} of {other[STRATEGY]}'s {cost.words(other['cost'])}"


def missed_findings(experiment: Experiment) -> list[str]:
    """On each problem, the searches that did not reach 99 % of the best known score, with why."""
    rows = reached(experiment)
    said = []
    for problem, own in _by_problem(rows[rows["share"] == MAIN]):
        missed = [row for row in own if row["reached"] < row["searches"]]
        if not missed:
            continue
        each = formats.listing(
            [
                f"{row['searches'] - row['reached']} of {row['searches']} of {row[STRATEGY]}"
                f"{_came(row['came'])}"
                for row in missed
            ]
        )
        where = f"{problem}: " if problem else ""
        why = "; ".join(
            dict.fromkeys(why for row in missed for why in str(row["why_not"]).split("; "))
        )
        said.append(f"{where}searches that ended without {SHARE}: {each}. Why: {why}.")
    return said


def _came(share: float) -> str:
    """How far the searches came."""
    return f" (at most {formats.percent(share)})" if formats.known(share) else " (nothing finished)"


GREEN_TUNING = Report(
    contents=(
        best_curve,
        strategies,
        target_table,
        target_epochs,
        survival_curves,
        equal_table,
        rank_diagram,
        ranks,
        optimism,
        score_front,
        front_table,
        hypervolume_curve,
        costs,
        chosen,
    ),
    lead=(best_curve, strategies),
    findings=sentences(
        target_findings, front_finding, rank_finding, optimism_finding, missed_findings
    ),
    under_way=(under_way,),
)
