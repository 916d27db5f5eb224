"""The critical-difference diagram of search strategies."""

from __future__ import annotations

from joulelab import formats
from joulelab.present.ranks import critical_difference_figure
from joulelab.report.experiment import Experiment
from joulelab.report.pictures import Picture
from joulelab.report.search_tables import alike, ranking
from joulelab.report.tables import Omitted


def rank_picture(experiment: Experiment) -> Picture | Omitted:
    """Mean ranks of the strategies, those that do not differ joined by a bar."""
    key, title = "ranks-diagram", "Mean ranks of the strategies"
    made = ranking([experiment])
    if isinstance(made, str):
        return Omitted(key, title, f"{made}.")
    treatments = made.treatments
    ranks = dict(zip(treatments["treatment"].astype(str), treatments["mean_rank"], strict=True))
    test = f"Nemenyi, {formats.count(made.blocks, 'configuration')}, p < 0.05"
    figure = critical_difference_figure(
        ranks, made.critical_difference, alike(made), test, "screen"
    )
    listed = formats.listing([f"{name} {rank:.2f}" for name, rank in ranks.items()])
    note = "Rank 1 is best; a bar joins strategies whose ranks do not differ."
    return Picture(key, title, note, f"Mean ranks: {listed}.", figure)
