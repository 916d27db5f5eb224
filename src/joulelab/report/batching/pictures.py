"""The figures of a batching experiment, each with its caption and with what it shows in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import fixed_size, response_column
from joulelab.analysis.trade_off import undominated
from joulelab.report.batching.batch_size_figure import batch_size_figure
from joulelab.report.batching.distribution_figure import batch_distribution_figure
from joulelab.report.batching.front_figure import front_figure
from joulelab.report.batching.runs import (
    arrivals_name,
    asked_limit,
    by_cell,
    by_setting,
    cell_figures,
    cell_name,
    each_column,
    histogram,
    percentile_of,
    requests,
    setting_name,
    tail_name,
)
from joulelab.report.experiment import NET, Experiment, once
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, no_energy

MOST_PANELS = 12


def batch_size_picture(experiment: Experiment) -> Picture | Omitted:
    """Energy per request and response time against batch size, a row for each model."""
    key, title = "batching-size", "Energy and response time against batch size"
    points = cell_points(experiment)
    if not len(points) or points[["energy_j", "mean_s"]].isna().all(axis=None):
        return Omitted(key, title, _nothing(experiment))
    models = {str(model): rows for model, rows in points.groupby("model", sort=False)}
    limit, _ = asked_limit(experiment)
    label = f"{{unit}} per request\n({_basis(experiment)}, {experiment.energy.status})"
    figure = batch_size_figure(models, label, tail_name(experiment), limit)
    note = (
        "Fixed batch sizes by their size, other policies at their mean batch. Left: means with "
        "their 95 % intervals, each model on a scale of its own from 0. Right: all models on one "
        "logarithmic scale. Hollow marks are saturated: their response time grows with the window."
    )
    return Picture(key, title, note, _sizes_in_words(models), figure)


def front_picture(experiment: Experiment) -> Picture | Omitted:
    """Energy per request against response time, with the policies that no other beats."""
    key, title = "batching-front", "Energy against response time: the policies that none beats"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    points = cell_points(experiment).dropna(subset=["energy_j", "tail_s"])
    if not len(points):
        return Omitted(key, title, "no policy has both an energy and a response time.")
    fronts = {
        setting_name(experiment, levels): _efficient(rows)
        for levels, rows in by_setting(experiment, points)
    }
    limit, _ = asked_limit(experiment)
    label = f"{{unit}} per request\n({_basis(experiment)}, {experiment.energy.status})"
    figure = front_figure(fronts, label, tail_name(experiment), limit)
    note = (
        "Better is down and to the left. Joined and named are the policies that no other beats in "
        "both, by means over the repetitions; saturated ones do not take part."
    )
    said = [
        f"{name}: {', '.join(front.loc[front['efficient'], 'policy']) or 'none'}"
        for name, front in fronts.items()
    ]
    return Picture(key, title, note, f"Policies that none beats. {'; '.join(said)}.", figure)


def batch_distribution_picture(experiment: Experiment) -> Picture | Omitted:
    """How large the batches were, of policies without a fixed size."""
    key, title = "batching-distribution", "Batches that the policies took"
    batches = dict(_batches(experiment))
    if not batches:
        return Omitted(key, title, "no policy without a fixed size says which batches it took.")
    shown = dict(list(batches.items())[:MOST_PANELS])
    more = len(batches) - len(shown)
    note = "Share of the batches by size, all repetitions together, in steps of powers of two."
    if more:
        note += f" {formats.count(more, 'further cell')} not shown."
    said = [
        f"{name} mean {formats.significant(_mean(counts))}, largest {max(counts)}"
        for name, counts in shown.items()
    ]
    figure = batch_distribution_figure(shown)
    return Picture(key, title, note, f"Histograms of batches. {'; '.join(said)}.", figure)


@once
def cell_points(experiment: Experiment) -> pd.DataFrame:
    """The cells as the figures show them: model, arrivals, and `batch_size_figure.POINTS`."""
    if not len(experiment.runs):
        return pd.DataFrame()
    cells, column = cell_figures(experiment), each_column(experiment)
    several = "arrivals" in experiment.varied
    names = [arrivals_name(experiment, row) if several else "" for row in _levels(cells)]
    none = pd.Series(np.nan, cells.index)
    return cells[list(experiment.factors)].assign(
        series=names,
        fixed=[fixed_size(policy) is not None for policy in cells["policy"]],
        batch=cells["batch_size"],
        energy_j=none if column is None else cells[column],
        low_j=none if column is None else cells[f"{column}_low"],
        high_j=none if column is None else cells[f"{column}_high"],
        mean_s=cells["response_mean_s"],
        tail_s=_tails(experiment, cells),
        saturated=cells["saturated"] > 0,
    )


def _tails(experiment: Experiment, cells: pd.DataFrame) -> pd.Series[float]:
    """Of each cell the mean over its runs of the percentile that counts."""
    runs, column = requests(experiment), response_column(percentile_of(experiment))
    if column not in runs:
        return pd.Series(np.nan, cells.index)
    factors = list(experiment.factors)
    means = runs.groupby(factors, sort=False)[column].mean().rename("_tail").reset_index()
    merged = cells[factors].merge(means, on=factors, how="left")
    return pd.Series(merged["_tail"].to_numpy(float), cells.index)


def _efficient(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a panel, and which of them no other beats in energy and response time."""
    steady = ~cells["saturated"].astype(bool)
    energy_j = cells["energy_j"].where(steady).to_numpy(float)
    # The front wants more of its second measure, and here less is better.
    best = undominated(energy_j, -cells["tail_s"].to_numpy(float))
    return cells.assign(efficient=best)


def _batches(experiment: Experiment) -> Iterator[tuple[str, dict[int, int]]]:
    """Of each cell without a fixed size, how many batches of each size it took."""
    if not len(experiment.runs) or "batch_histogram" not in experiment.runs:
        return
    for levels, rows in by_cell(experiment, experiment.runs):
        if fixed_size(str(levels["policy"])) is not None:
            continue
        counts: Counter[int] = Counter()
        for told in rows["batch_histogram"]:
            counts.update(histogram(told))
        if counts:
            yield cell_name(experiment, levels), dict(sorted(counts.items()))


def _sizes_in_words(models: dict[str, pd.DataFrame]) -> str:
    said = []
    for model, rows in models.items():
        known = rows.dropna(subset=["energy_j"])
        if len(known):
            ordered = known.sort_values("energy_j")
            least, most = ordered.iloc[0], ordered.iloc[-1]
            said.append(
                f"{model} from {formats.joules(least['energy_j'])} ({least['policy']}) to "
                f"{formats.joules(most['energy_j'])} ({most['policy']})"
            )
    return f"Energy per request: {'; '.join(said)}." if said else "Response times by batch size."


def _levels(cells: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): level for name, level in row.items()} for row in cells.to_dict("records")]


def _mean(counts: dict[int, int]) -> float:
    return sum(size * count for size, count in counts.items()) / sum(counts.values())


def _basis(experiment: Experiment) -> str:
    return "net" if experiment.energy.column == NET else "gross"


def _nothing(experiment: Experiment) -> str:
    if not len(experiment.runs):
        return "no run has finished yet."
    return "no run has answered a request."
