"""What a batching experiment shows."""

from joulelab.kinds.batching.figures import batch_distribution, batch_sizes, front
from joulelab.kinds.batching.findings import batching_findings
from joulelab.kinds.batching.tables import (
    chosen_policies,
    energy_effects,
    energy_interactions,
    energy_of_cells,
    policy_effects,
    policy_pairs,
    response_effects,
    response_interactions,
    response_of_cells,
)
from joulelab.report.report import Report

BATCHING = Report(
    contents=(
        chosen_policies,
        front,
        energy_of_cells,
        batch_sizes,
        response_of_cells,
        batch_distribution,
        energy_effects,
        policy_effects,
        energy_interactions,
        response_effects,
        response_interactions,
        policy_pairs,
    ),
    lead=(front, chosen_policies),
    findings=batching_findings,
)
