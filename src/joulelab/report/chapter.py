"""A chapter: what the report shows of one experiment, by its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulelab.errors import PluginError, UnknownNameError
from joulelab.report import design_tables, factor_effects, pictures, tables
from joulelab.report.experiment import Experiment
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, Table
from joulelab.study.kind import kinds

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


def general_tables(experiment: Experiment) -> list[Table | Omitted]:
    """The tables on energy that need no knowledge of the kind, in the order of the report."""
    makers = [
        factor_effects.effects,
        tables.increases,
        design_tables.dominances,
        tables.variations,
        factor_effects.factor_levels,
        factor_effects.pairs,
    ]
    return [make(experiment) for make in makers]


def general_contents(experiment: Experiment) -> list[Shown]:
    """The figure of energies, and the tables."""
    if experiment.energy.column is None:
        return [Omitted("energy", "Everything about energy", experiment.energy.remarks[0])]
    return [pictures.energy_picture(experiment), *general_tables(experiment)]


GENERAL = Chapter(general_tables, general_contents, lambda _: (), ("kruskal", "increase"))
"""What is shown where the kind is not known here, or has nothing to show of its own."""


def chapter(experiment: Experiment) -> Chapter:
    """What the report shows of an experiment."""
    try:
        found: Chapter | None = kinds.get(experiment.kind).load_report()
    except (UnknownNameError, PluginError):
        found = None
    return found or GENERAL


def trainings(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Those whose runs are trainings."""
    return [one for one in experiments if chapter(one).trains]
