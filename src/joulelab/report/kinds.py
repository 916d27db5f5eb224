"""TEMPORARY until the registry of kinds has reports."""

from joulelab.report import effects, energy, resource_use, search
from joulelab.report.experiment import Experiment
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
"""What trainings cost, whatever was varied."""
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
    findings=sentences(energy.effect_finding),
    side_pages=PAPER_PAGES,
)


def report_of(experiment: Experiment) -> Report:
    """What an experiment shows."""
    from joulelab.report.batching.report import BATCHING
    from joulelab.report.timeline.report import TIMELINE
    from joulelab.report.training_cost.report import TRAINING_COST

    known = {"batching": BATCHING, "timeline": TIMELINE, "training-cost": TRAINING_COST}
    return known.get(experiment.kind, TUNING if "strategy" in experiment.factors else ARCHITECTURE)
