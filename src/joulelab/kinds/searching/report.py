"""What the reports of searches have in common: their steps, and where the energy went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.experiment import Experiment

SEARCH = "search"
"""Purpose of a step that is not a confirmation."""


def searches(experiment: Experiment) -> pd.DataFrame:
    """The finished searches, a row each.

    Raises:
        Unavailable: there is none.
    """
    if not len(experiment.runs):
        raise Unavailable("no search has finished yet.")
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
        raise Unavailable("no search has finished yet.")
    return rows.rename(columns={"step": "trial"})


@table("cost", "Where the energy of the search went")
def costs(experiment: Experiment) -> Table:
    """Steps, epochs, time and energy by what became of a step; the tuner's own."""
    rows = steps(experiment)
    kind = rows["state"].where(rows["metric"] == SEARCH, "confirmation")
    parts = (
        rows.assign(work=kind, steps=1)
        .groupby("work", sort=False)
        .agg(
            steps=("steps", "sum"),
            epochs=("epochs", "sum"),
            duration_s=("duration_s", "sum"),
            energy_j=("energy_j", lambda one: one.sum(skipna=False)),
        )
        .reset_index()
    )
    runs = searches(experiment)
    for name, work in (("tuner", "the tuner"), ("interrupted", "interrupted")):
        parts.loc[len(parts)] = {
            "work": work,
            "steps": np.nan,
            "epochs": np.nan,
            "duration_s": runs[f"{name}_s"].sum(),
            "energy_j": runs[f"{name}_j"].astype(float).sum(skipna=False),
        }
    whole_j = parts["energy_j"].sum()
    parts["share"] = parts["energy_j"] / whole_j if whole_j > 0 else np.nan
    number = formats.or_dash("{:,.0f}".format)
    columns = [
        words("steps that were", "work"),
        Column("steps", form=number),
        Column("epochs", form=number),
        Column("time", "duration_s", formats.duration),
        Column("gross energy", "energy_j", formats.joules),
        Column("share", form=formats.percent),
    ]
    return Table(parts, columns, f"Energy is {experiment.energy.status}.")


def in_words(values: dict[str, Any]) -> str:
    """Values as ``rate = 0.01, width = 64``."""
    return ", ".join(
        f"{name} = {formats.number(one) if isinstance(one, float) else one}"
        for name, one in values.items()
    )
