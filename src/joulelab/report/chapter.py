"""A chapter: what the report shows of one experiment, by its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulelab.report.experiment import Experiment
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, Table

Shown = Table | Picture | Omitted | None


@dataclass(frozen=True)
class Chapter:
    """What is shown of an experiment; every function takes one.

    Attributes:
        tables: all of them, for the terminal and for JSON, in order.
        contents: what stands on the page, in order, where a run has finished.
        findings: sentences.
        in_brief: keys of the tables that stand in the terminal at the end of a run.
        trains: its runs are trainings: the findings and tables of CAIN 2023 are asked of it.
    """

    tables: Callable[[Experiment], Sequence[Table | Omitted]]
    contents: Callable[[Experiment], Sequence[Shown]]
    findings: Callable[[Experiment], Sequence[str]]
    in_brief: tuple[str, ...]
    trains: bool = False
