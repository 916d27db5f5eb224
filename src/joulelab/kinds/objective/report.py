"""The report of a search over an objective: what is best, what it cost, when it stopped and why."""

from __future__ import annotations

from joulelab.present import Column, Table, table, words
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report


@table("trials", "Trials")
def trial_table(experiment: Experiment) -> Table:
    rows = experiment.curves()
    return Table(rows, [Column("trial", "step")])


OBJECTIVE = Report(contents=(trial_table,))
