"""What the reports of searches have in common: their steps, and where the energy went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.search_cost import best_so_far
from joulelab.budget import parse_budget
from joulelab.kinds.searching.booked import JUDGING, KIND
from joulelab.kinds.searching.journal import STEPS, read_journal
from joulelab.kinds.searching.spent import Spent, total_spent
from joulelab.kinds.searching.tables import Line, curve_columns, steps_of
from joulelab.kinds.searching.workload import OUTPUTS
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment

SEARCH = "search"
"""Purpose of a step that is not a confirmation."""
NOTHING_YET = "no search has finished yet."
WORKS = ("finished", "paused", "pruned", "failed", "timed out", "confirmation")
"""What becomes of a training, in the order of the ledger's table."""
EXACT = 1e-6


def sign(experiment: Experiment) -> float:
    """1 where higher scores are better, else -1."""
    return -1.0 if experiment.table.get("direction") == "minimize" else 1.0


def searches(experiment: Experiment) -> pd.DataFrame:
    """The finished searches, a row each.

    Raises:
        Unavailable: there is none.
    """
    if not len(experiment.runs):
        raise Unavailable(NOTHING_YET)
    return experiment.runs


def steps(experiment: Experiment) -> pd.DataFrame:
    """A row for every step of the finished searches.

    Raises:
        Unavailable: there is none.
    """
    names = searches(experiment)["run_id"]
    rows = experiment.curves()
    rows = rows[rows["run_id"].isin(names)] if len(rows) else rows
    if not len(rows):
        raise Unavailable(NOTHING_YET)
    return rows.rename(columns={"step": "trial"})


def search_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """The steps that a search decided on, with ``complete``: whether the training is at its end."""
    own = rows[rows["metric"] == SEARCH]
    return own.assign(complete=own["state"] == "finished")


def works(rows: pd.DataFrame) -> pd.Series[Any]:
    """What became of the training that a step is part of.

    A training that was frozen and continued to its end is finished; one that was never continued
    is paused.
    """
    training = [rows[name] for name in ("run_id", "metric", "trial", "repetition")]
    ended = rows["state"].groupby(training, sort=False).transform("last")
    return ended.where(rows["metric"] == SEARCH, "confirmation")


def work_parts(experiment: Experiment) -> pd.DataFrame:
    """Steps, epochs, time and energy by strategy and by what became of the work."""
    runs = searches(experiment)
    strategy = runs.set_index("run_id")[STRATEGY]
    rows = steps(experiment)
    rows = rows.assign(work=works(rows), steps=1, strategy=rows["run_id"].map(strategy))
    parts = [
        rows.groupby([STRATEGY, "work"], sort=False)
        .agg(
            steps=("steps", "sum"),
            epochs=("epochs", "sum"),
            duration_s=("duration_s", "sum"),
            energy_j=("energy_j", _sum),
        )
        .reset_index()
    ]
    for name, work in (("interrupted", "interrupted"), ("tuner", "the tuner")):
        parts.append(
            runs.groupby(STRATEGY, sort=False)
            .agg(duration_s=(f"{name}_s", "sum"), energy_j=(f"{name}_j", _sum))
            .reset_index()
            .assign(work=work)
        )
    parts.append(judging(experiment))
    whole = pd.concat(parts, ignore_index=True)
    order = [*WORKS, "interrupted", "the tuner", JUDGING]
    place = whole["work"].map({work: at for at, work in enumerate(order)})
    listed = [*experiment.table.get("strategies", ()), *runs[STRATEGY].unique()]
    named = whole[STRATEGY].map({name: at for at, name in enumerate(dict.fromkeys(listed))})
    return whole.assign(place=place, named=named).sort_values(
        ["named", "place"], ignore_index=True
    )[[STRATEGY, "work", "steps", "epochs", "duration_s", "energy_j"]]


def judging(experiment: Experiment) -> pd.DataFrame:
    """Time and energy of judging by strategy, from the ledger; no row without any."""
    ledger = booked(experiment, JUDGING)
    return (
        ledger.groupby(STRATEGY, sort=False)
        .agg(duration_s=("duration_s", "sum"), energy_j=("energy_gross_j", _sum))
        .reset_index()
        .assign(work=JUDGING)
    )


def booked(experiment: Experiment, kind: str) -> pd.DataFrame:
    """Entries of the ledger of one kind, with the strategy that they are about."""
    runs, ledger = searches(experiment), experiment.ledger()
    if not len(ledger):
        return pd.DataFrame({STRATEGY: [], "duration_s": [], "energy_gross_j": []})
    of = runs.drop_duplicates("configuration").set_index("configuration")[STRATEGY]
    rows = ledger[ledger["kind"] == kind]
    return rows.assign(strategy=rows["configuration"].map(of))


def _sum(values: pd.Series[Any]) -> float:
    """The sum; unknown if a part of it is."""
    return float(values.astype(float).sum(skipna=False))


@table("cost", "Where the energy of the searches went")
def costs(experiment: Experiment) -> Table:
    """Steps, epochs, time and energy by what became of a training; the tuner's own; judging."""
    parts = work_parts(experiment)
    own = parts["work"] != JUDGING
    whole_j = parts["energy_j"].where(own).groupby(parts[STRATEGY]).transform("sum")
    parts["share"] = (parts["energy_j"] / whole_j).where(own & (whole_j > 0))
    note = (
        "Every joule of the searches. Finished: trainings that went to their end; paused: frozen, "
        "and never continued. Shares are of a search, to which the judging of its choice does not "
        f"belong. Energy is {experiment.energy.status}.{_checked(experiment, parts)}"
    )
    if parts[STRATEGY].nunique() > 1:
        return _by_strategy(parts, note)
    number = formats.or_dash("{:,.0f}".format)
    columns = [
        words("work"),
        Column("steps", form=number),
        Column("epochs", form=number),
        Column("time", "duration_s", formats.duration),
        Column("gross energy", "energy_j", formats.joules),
        Column("share", form=formats.percent),
    ]
    return Table(parts, columns, note, shown=_known(parts))


def _known(parts: pd.DataFrame) -> pd.DataFrame:
    """Without work that took nothing."""
    return parts[~(parts["duration_s"] == 0)]


def _by_strategy(parts: pd.DataFrame, note: str) -> Table:
    """A row for every strategy, a column for every kind of work."""
    energies = _known(parts).pivot_table(
        values="energy_j",
        index=STRATEGY,
        columns="work",
        aggfunc=lambda one: one.sum(skipna=False),  # an unknown energy is not 0
        sort=False,
    )
    named = [work for work in dict.fromkeys(parts["work"]) if work in energies]
    named = [*(one for one in named if one != JUDGING), *(one for one in named if one == JUDGING)]
    shown = energies.loc[list(dict.fromkeys(parts[STRATEGY]))].reset_index()
    columns = [
        words("strategy"),
        *(
            Column(work, form=formats.or_dash("{:,.4g}".format), units=formats.ENERGY)
            for work in named
        ),
    ]
    return Table(parts, columns, note, shown=shown)


def _checked(experiment: Experiment, parts: pd.DataFrame) -> str:
    """How the steps compare with the ledger, once all searches have ended; in a sentence."""
    ledger = booked(experiment, KIND)
    if len(experiment.pending) or experiment.failed or not len(ledger):
        return ""
    booked_j = _sum(ledger["energy_gross_j"])
    trained = ~parts["work"].isin(["the tuner", JUDGING])
    trained_j = _sum(parts.loc[trained, "energy_j"])
    if not formats.known(booked_j) or not formats.known(trained_j):
        return ""
    same = abs(booked_j - trained_j) <= EXACT * max(booked_j, trained_j)
    said = "the same" if same else f"not the {formats.joules(trained_j)} of the steps"
    return f" The ledger of the study has {formats.joules(booked_j)} for the trials, {said}."


@table("under-way", "Searches in progress")
def under_way(experiment: Experiment) -> Table:
    """What the searches that have not ended have found and spent so far, by their journals."""
    if experiment.folder is None:
        raise Unavailable("")
    rows = []
    for run in experiment.pending.to_dict("records"):
        path = experiment.folder / OUTPUTS / f"{int(run['position']) + 1:05d}" / STEPS
        lines = read_journal(path)
        if steps_of(lines):
            rows.append({"run_id": run["run_id"], **_so_far(experiment, lines)})
    if not rows:
        raise Unavailable("")
    columns = [
        words("search", "run_id"),
        Column("trials", form="{:.0f}".format),
        Column("finished", form="{:.0f}".format),
        Column("best so far", "best", formats.or_dash(formats.number)),
        Column("epochs", form="{:,.0f}".format, wide=True),
        Column("gross energy", "energy_j", formats.joules),
        words("of the budget", "of"),
    ]
    note = (
        "Trials begun, and trained to the end; the best mean score of those at the end. A search "
        "goes on from here when the same command is run again."
    )
    return Table(rows, columns, note)


def _so_far(experiment: Experiment, lines: Sequence[Line]) -> dict[str, Any]:
    """A search in progress, from its journal."""
    rows = pd.DataFrame(curve_columns(lines, sign(experiment))).rename(columns={"step": "trial"})
    own = search_steps(rows.assign(run_id=""))
    best = best_so_far(own, "t_s", higher_is_better=sign(experiment) > 0)["now"]
    spent = total_spent(
        Spent.from_dict(line[part])
        for line in lines
        for part in ("spent", "tuner", "lost")
        if part in line
    )
    of = "no budget"
    if text := experiment.table.get("budget"):
        budget = parse_budget(str(text))
        full = float(own.loc[own["complete"], "end"].max())  # epochs of a full training
        amount = spent.amount(budget.unit, full)
        words = budget.words(amount if formats.known(amount) else None)
        # A count says its noun once: "204 of 270 epochs".
        of = f"{words.removesuffix(f' {budget.unit}')} of {budget}"
    return {
        "trials": own["trial"].nunique(),
        "finished": own.loc[own["complete"], "trial"].nunique(),
        "best": float(best.iloc[-1]) if len(best) else np.nan,
        "epochs": spent.epochs,
        "energy_j": spent.joules,
        "duration_s": spent.seconds,
        "of": of,
    }


def in_words(values: dict[str, Any]) -> str:
    """Values as ``rate = 0.01, width = 64``."""
    return ", ".join(
        f"{name} = {formats.number(one) if isinstance(one, float) else one}"
        for name, one in values.items()
    )
