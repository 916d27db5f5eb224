"""Findings of training experiments: results of strategies, and costs of trainings."""

from joulelab.report import effects, energy, resource_use, search
from joulelab.report.paper_pages import PAPER_PAGES
from joulelab.report.report import Report, sentences

ENERGY = (
    energy.energy_by_configuration,
    effects.assumptions,
    energy.quantile_plot,
    effects.effects,
    energy.increases,
    effects.dominances,
    effects.factor_interactions,
    energy.trade_off,
    energy.cluster_table,
    energy.variation_histogram,
    energy.variations,
    effects.level_differences,
    effects.configuration_pairs,
    resource_use.time_energy_points,
    resource_use.time_energy,
    resource_use.flops,
    resource_use.utilisation_ranges,
    resource_use.utilisations,
)
"""Costs of trainings, for any factors."""
SEARCH = (
    search.convergence_curves,
    search.optima,
    search.optimum_certainty,
    search.rank_diagram,
    search.ranks,
)
TUNING = Report(
    contents=(*SEARCH, *ENERGY),
    lead=(search.convergence_curves, search.optima),
    findings=sentences(search.search_finding, energy.effect_finding),
    side_pages=PAPER_PAGES,
)
ARCHITECTURE = Report(
    contents=ENERGY,
    lead=(energy.trade_off, energy.cluster_table),
    side_pages=PAPER_PAGES,
)
