"""The chapter of an experiment whose runs are trainings: search, layers, energy, effort."""

from __future__ import annotations

from joulelab.report import design_tables, effort, factor_effects, pictures, search_tables, tables
from joulelab.report.chapter import Chapter, Shown
from joulelab.report.experiment import Experiment
from joulelab.report.findings import training_findings
from joulelab.report.search_pictures import rank_picture
from joulelab.report.tables import Omitted, Table

SEARCH_TABLES = {True: (tables.optima, search_tables.uncertainty, search_tables.ranks), False: ()}


def training_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Every table, in the order of the report."""
    makers = [
        *SEARCH_TABLES[tables.STRATEGY in experiment.factors],
        design_tables.assumptions,
        factor_effects.effects,
        tables.increases,
        design_tables.dominances,
        design_tables.factor_interactions,
        tables.cluster_table,
        tables.variations,
        factor_effects.factor_levels,
        factor_effects.pairs,
        effort.time_energy_table,
        effort.flops_table,
        effort.utilisation_table,
    ]
    return [make(experiment) for make in makers]


def training_contents(experiment: Experiment) -> list[Shown]:
    """Tables and figures in the order of the page."""
    made: dict[str, Shown] = {one.key: one for one in training_tables(experiment)}
    search: list[Shown] = (
        [
            pictures.convergence_picture(experiment),
            made["optima"],
            made["optimum-uncertainty"],
            rank_picture(experiment),
            made["ranks"],
        ]
        if "optima" in made
        else []
    )
    if experiment.energy.column is None:
        said = Omitted("energy", "Everything about energy", experiment.energy.remarks[0])
        return [*search, said]
    return [
        *search,
        pictures.energy_picture(experiment),
        made["assumptions"],
        pictures.quantile_picture(experiment),
        made["kruskal"],
        made["increase"],
        made["dominance"],
        made["interactions"],
        pictures.trade_off_picture(experiment),
        made["clusters"],
        pictures.variation_picture(experiment),
        made["variation"],
        made["posthoc-levels"],
        made["posthoc"],
        effort.time_energy_picture(experiment),
        made["time-energy"],
        made["flops"],
        effort.utilisation_picture(experiment),
        made["utilisation"],
    ]


TRAINING = Chapter(
    training_tables,
    training_contents,
    training_findings,
    ("optima", "kruskal", "increase", "clusters"),
    trains=True,
)
