"""The report of green tuning: what each strategy reached, and what it took."""

from __future__ import annotations

from joulelab.present import Column, Table, table
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report


@table("searches", "Searches")
def searches(experiment: Experiment) -> Table:
    rows = experiment.runs
    return Table(rows, [Column("strategy", "strategy"), Column("accuracy", "accuracy")])


GREEN_TUNING = Report(contents=(searches,))
