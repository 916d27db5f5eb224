"""The figures of a batching experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.batching import fixed_size, response_column
from joulelab.analysis.front import undominated
from joulelab.kinds.batching.runs import (
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
from joulelab.present import Figure, Unavailable, cached_per_subject, figure
from joulelab.present.axes import Axis, Reference, time_tick
from joulelab.present.bar_plots import share_bars
from joulelab.present.curve_plot import curves
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, DOTTED, GREY, INK, SOLID, Look, looks
from joulelab.report.experiment import NET, Experiment, energy_column

MOST_PANELS = 12
FIXED, SATURATED = "fixed(n)", "saturated"
TIME = Axis("mean_s", "response time", high="tail_s", form=time_tick, scale="log", shared=True)


@figure("batching-size", "Energy and response time against batch size")
def batch_sizes(experiment: Experiment) -> Figure:
    """Energy per request and response time against batch size, a row for each model."""
    points = cell_points(experiment)
    if not len(points) or points[["energy_j", "mean_s"]].isna().all(axis=None):
        raise Unavailable(_nothing(experiment))
    models = {str(model): rows for model, rows in points.groupby("model", sort=False)}
    said = f"mean, whisker to the {tail_name(experiment)}"
    panels: list[Panel] = []
    for model, rows in models.items():
        lines = rows.assign(
            line=_group(rows), hollow=np.where(rows["saturated"], SATURATED, "")
        ).sort_values(["fixed", "batch"], ascending=[False, True])
        energies, times = lines.dropna(subset=["energy_j"]), lines.dropna(subset=["mean_s"])
        panels += [
            Panel(energies, model, height=0.8),
            Panel(
                times, said if not panels else "", y=TIME, references=_limit(experiment), height=0.8
            ),
        ]

    def draw(width: Width) -> Drawing:
        return curves(
            panels,
            Axis("batch", "batch size", scale="doubling", shared=True),
            Axis(
                "energy_j",
                _label(experiment),
                units=formats.ENERGY,
                low="low_j",
                high="high_j",
                from_zero=True,
            ),
            looks=_looks(points),
            columns=2,
            width=width,
        )

    note = (
        "Fixed batch sizes by their size, other policies at their mean batch. Left: means with "
        "their 95 % intervals, each model on a scale of its own from 0. Right: all models on one "
        "logarithmic scale. Hollow marks are saturated: their response time grows with the window."
    )
    return Figure(draw, note, _sizes_in_words(models))


@figure("batching-front", "Energy against response time: the policies that none beats")
def front(experiment: Experiment) -> Figure:
    """Energy per request against response time, with the Pareto front of policies."""
    energy_column(experiment)
    points = cell_points(experiment).dropna(subset=["energy_j", "tail_s"])
    if not len(points):
        raise Unavailable("no policy has both an energy and a response time.")
    fronts = {
        setting_name(experiment, levels): _efficient(rows)
        for levels, rows in by_setting(experiment, points)
    }
    panels = [
        Panel(
            rows.assign(
                group=np.where(rows["saturated"], SATURATED, "kept up"),
                front=rows["efficient"],
                name=rows["policy"].where(rows["efficient"], ""),
            ),
            name,
        )
        for name, rows in fronts.items()
    ]

    def draw(width: Width) -> Drawing:
        return scatter(
            panels,
            replace(
                TIME,
                of="tail_s",
                low="",
                high="",
                shared=False,
                label=f"response time, {tail_name(experiment)}",
            ),
            Axis("energy_j", _label(experiment), units=formats.ENERGY, scale="auto"),
            looks={SATURATED: Look(GREY, hollow=True), "kept up": Look(BLUE)},
            references=[replace(one, x=one.y, y=None) for one in _limit(experiment)],
            columns=2,
            width=width,
        )

    note = (
        "Better is down and to the left. Joined and named are the policies that no other beats in "
        "both, by means over the repetitions; saturated ones do not take part."
    )
    said = [
        f"{name}: {', '.join(cells.loc[cells['efficient'], 'policy']) or 'none'}"
        for name, cells in fronts.items()
    ]
    return Figure(draw, note, f"Policies that none beats. {'; '.join(said)}.")


@figure("batching-distribution", "Batches that the policies took", folded=True)
def batch_distribution(experiment: Experiment) -> Figure:
    """Distribution of batch sizes, for policies without a fixed size."""
    batches = dict(_batches(experiment))
    if not batches:
        raise Unavailable("no policy without a fixed size says which batches it took.")
    shown = dict(list(batches.items())[:MOST_PANELS])
    more = len(batches) - len(shown)
    note = "Share of the batches by size, all repetitions together, in steps of powers of two."
    if more:
        note += f" {formats.count(more, 'further cell')} not shown."
    said = [
        f"{name} mean {formats.significant(_mean(counts))}, largest {max(counts)}"
        for name, counts in shown.items()
    ]
    last = int(np.ceil(np.log2(max(size for counts in shown.values() for size in counts))))

    def draw(width: Width) -> Drawing:
        return share_bars(
            {name: _by_powers(counts, last) for name, counts in shown.items()},
            "batch size, up to",
            "batches",
            {name: f"mean {formats.significant(_mean(counts))}" for name, counts in shown.items()},
            width=width,
        )

    return Figure(draw, note, f"Histograms of batches. {'; '.join(said)}.")


@cached_per_subject
def cell_points(experiment: Experiment) -> pd.DataFrame:
    """The cells as the figures show them.

    Returns:
        The factors, and columns ``series`` (arrivals, where they vary), ``fixed`` (whether the
        policy is of fixed size), ``batch`` (its size), ``energy_j`` per request with its interval
        ``low_j`` and ``high_j``, ``mean_s`` and ``tail_s`` of the response time, ``saturated``.
    """
    if not len(experiment.runs):
        return pd.DataFrame()
    cells = cell_figures(experiment)
    try:
        column = each_column(experiment)
    except Unavailable:
        column = None
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
    """For each cell the mean over its runs of the relevant percentile."""
    runs, column = requests(experiment), response_column(percentile_of(experiment))
    if column not in runs:
        return pd.Series(np.nan, cells.index)
    factors = list(experiment.factors)
    means = runs.groupby(factors, sort=False)[column].mean().rename("_tail").reset_index()
    merged = cells[factors].merge(means, on=factors, how="left")
    return pd.Series(merged["_tail"].to_numpy(float), cells.index)


def _efficient(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a panel, with the Pareto front in energy and response time."""
    steady = ~cells["saturated"].astype(bool)
    energy_j = cells["energy_j"].where(steady).to_numpy(float)
    # The front maximises its second measure, but here less is better.
    best = undominated(energy_j, -cells["tail_s"].to_numpy(float))
    return cells.assign(efficient=best)


def _batches(experiment: Experiment) -> Iterator[tuple[str, dict[int, int]]]:
    """For each cell without a fixed size, the number of batches of each size."""
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


def _by_powers(counts: dict[int, int], last: int) -> dict[str, float]:
    """Share of batches with sizes up to 1, 2, 4 ... and above the previous limit."""
    found = np.zeros(last + 1)
    for size, count in counts.items():
        found[int(np.ceil(np.log2(size)))] += count
    return {str(2**power): float(share) for power, share in enumerate(found / found.sum())}


def _group(cells: pd.DataFrame) -> pd.Series[str]:
    """The meaning of a mark: its policy, or all of fixed size, and the arrivals if several."""
    policy = cells["policy"].where(~cells["fixed"].astype(bool), FIXED)
    return (policy + ", " + cells["series"]).where(cells["series"] != "", policy)


def _looks(cells: pd.DataFrame) -> dict[str, Look]:
    """A marker for each policy; a colour and a dash for each arrival process, if several.

    Only policies of fixed size are joined by a line.
    """
    ordered = cells.sort_values("fixed", ascending=False, kind="stable")
    policies = ordered["policy"].where(~ordered["fixed"].astype(bool), FIXED)
    by_policy, by_series = looks(policies), looks(ordered["series"])
    several = len(by_series) > 1
    return {
        group: replace(
            by_series[series] if several else by_policy[policy],
            marker=by_policy[policy].marker,
            dash=(by_series[series].dash if several else SOLID) if policy == FIXED else None,
        )
        for group, series, policy in zip(_group(ordered), ordered["series"], policies, strict=True)
    }


def _limit(experiment: Experiment) -> tuple[Reference, ...]:
    """The limit on response time, if the study has one."""
    limit, _ = asked_limit(experiment)
    if limit is None:
        return ()
    return (Reference(f"limit, {limit}", y=limit.seconds, colour=INK, dash=DOTTED),)


def _label(experiment: Experiment) -> str:
    return f"{{unit}} per request\n({_basis(experiment)}, {experiment.energy.status})"


def _basis(experiment: Experiment) -> str:
    return "net" if experiment.energy.column == NET else "gross"


def _nothing(experiment: Experiment) -> str:
    if not len(experiment.runs):
        return "no run has finished yet."
    return "no run has answered a request."
