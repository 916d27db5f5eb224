"""Several kinds of machines in one experiment: what they used, and whether factors act alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.interaction import TIMES, interactions
from joulelab.analysis.posthoc import holm
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.experiment import Experiment, energy_column

MACHINE = "machine"
SIGNIFICANT_P = 0.05
LOGARITHM = "logarithm"


def machines_of(runs: pd.DataFrame) -> list[str]:
    """The kinds of machines of some runs, where there are several; else empty.

    Args:
        runs: one row per run.
    """
    if MACHINE not in runs:
        return []
    found = [str(one) for one in runs[MACHINE].dropna().unique()]
    return found if len(found) > 1 else []


@table("machines", "Machines")
def machines(experiment: Experiment) -> Table:
    """What each kind of machine used, and whether the factors act differently on them.

    Machines of different speed differ by a factor: interactions are tested on logarithms.

    Raises:
        Unavailable: there is one kind of machine.
    """
    runs, column = experiment.measured, energy_column(experiment)
    found = machines_of(runs)
    if not found:
        raise Unavailable("")
    rows = [
        {
            "machine": name,
            "nodes": mine["node"].nunique(),
            "runs": len(mine),
            "blocks": mine["block"].nunique(),
            "mean_j": mine[column].mean(),
            "mean_s": mine["duration_s"].mean(),
        }
        for name, mine in runs.groupby(MACHINE)
    ]
    columns = [
        words("machine"),
        Column("nodes", form=str),
        Column("runs", form=str),
        Column("blocks", form=str),
        Column("mean energy", "mean_j", formats.joules),
        Column("mean duration", "mean_s", formats.duration),
    ]
    return Table(rows, columns, f"{_together(experiment, column)} {WITHIN}")


WITHIN = (
    "Each block was carried out on one kind of machine; factors are tested among runs of the same."
)


def _together(experiment: Experiment, column: str) -> str:
    """Which factors act differently on the machines."""
    runs = experiment.measured
    logged = runs.assign(**{LOGARITHM: np.log(runs[column].where(runs[column] > 0))})
    tested = {}
    for factor in experiment.varied:
        effects = interactions(logged, [factor, MACHINE], LOGARITHM)
        row = effects[effects["effect"] == f"{factor}{TIMES}{MACHINE}"]
        if len(row) and np.isfinite(row["art_p"].iloc[0]):
            tested[factor] = float(row["art_p"].iloc[0])
    if not tested:
        return "Whether factors act differently on them cannot be tested with these runs."
    adjusted = dict(zip(tested, holm(np.array(list(tested.values()))), strict=True))
    differ = [factor for factor, p in adjusted.items() if p < SIGNIFICANT_P]
    least = formats.p_value(min(adjusted.values()))
    if not differ:
        return f"No factor acts differently on the machines (smallest adjusted p {least})."
    listed = formats.listing(differ)
    return (
        f"{listed} act{'s' * (len(differ) == 1)} differently on the machines (smallest adjusted p "
        f"{least}): look at each machine apart."
    )
