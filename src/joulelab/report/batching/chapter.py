"""The chapter of a batching experiment."""

from __future__ import annotations

from joulelab.report.batching.effects import (
    energy_effects,
    energy_interactions,
    policy_effects,
    policy_pairs,
    response_effects,
    response_interactions,
)
from joulelab.report.batching.findings import batching_findings
from joulelab.report.batching.pictures import (
    batch_distribution_picture,
    batch_size_picture,
    front_picture,
)
from joulelab.report.batching.tables import choice_table, energy_cells, response_cells
from joulelab.report.chapter import Chapter, Shown
from joulelab.report.experiment import Experiment
from joulelab.report.tables import Omitted, Table


def batching_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Every table, in the order of the report."""
    makers = (
        choice_table,
        energy_cells,
        response_cells,
        energy_effects,
        policy_effects,
        energy_interactions,
        response_effects,
        response_interactions,
        policy_pairs,
    )
    return [make(experiment) for make in makers]


def batching_contents(experiment: Experiment) -> list[Shown]:
    """Tables and figures in the order of the page."""
    choice, energy, response, *tests = batching_tables(experiment)
    return [
        choice,
        front_picture(experiment),
        energy,
        batch_size_picture(experiment),
        response,
        batch_distribution_picture(experiment),
        *tests,
    ]


BATCHING = Chapter(
    batching_tables,
    batching_contents,
    batching_findings,
    ("batching-choice", "batching-energy", "batching-response"),
)
