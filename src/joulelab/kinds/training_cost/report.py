"""What an experiment on the cost of training shows."""

from joulelab.kinds.training_cost.figures import energies, trade_off
from joulelab.kinds.training_cost.findings import cost_findings
from joulelab.kinds.training_cost.places import (
    effects_of_place,
    emissions,
    emissions_by_place,
    intensities,
)
from joulelab.kinds.training_cost.tables import (
    bases,
    configuration_pairs,
    cost_table,
    dataset_effect,
    efficiency,
    factor_effects,
    factor_interactions,
    flops,
    level_differences,
    proxies,
    sizes,
    time_energy,
    utilisations,
)
from joulelab.report.report import Report

TRAINING_COST = Report(
    contents=(
        cost_table,
        efficiency,
        energies,
        trade_off,
        intensities,
        emissions_by_place,
        emissions,
        effects_of_place,
        bases,
        factor_effects,
        factor_interactions,
        level_differences,
        configuration_pairs,
        dataset_effect,
        proxies,
        sizes,
        flops,
        time_energy,
        utilisations,
    ),
    lead=(trade_off, cost_table),
    findings=cost_findings,
)
