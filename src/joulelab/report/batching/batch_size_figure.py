"""Energy and response time against batch size, a row of panels for each model.

A filled mark is a cell that kept up, a hollow one a saturated cell, whatever its colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from joulelab import formats
from joulelab.analysis.batching import Limit
from joulelab.report.paper.layout import legend_above, require_drawable
from joulelab.report.style import GREY, Look, Size, Width, energy_axis, looks, styled
from joulelab.report.time_axis import limit_key, limit_line, time_axis

FIXED = "fixed(n)"
ROW_IN = 1.75
MOST_TICKS = 6
HEADROOM = 1.12
LARGER = 1.5
POINTS = (
    "series",
    "policy",
    "fixed",
    "batch",
    "energy_j",
    "low_j",
    "high_j",
    "mean_s",
    "tail_s",
    "saturated",
)
"""Columns of the cells of a panel: series (arrivals), whether the policy is of fixed size, batch
size, energy per request with its interval, mean and percentile of the response time."""


def batch_size_figure(
    models: Mapping[str, pd.DataFrame],
    energy_label: str,
    tail: str,
    limit: Limit | None = None,
    width: Width = "screen",
) -> Figure:
    """Energy per request and response time against batch size, a row of panels for each model.

    Args:
        models: by name its cells, with the columns of `POINTS`.
        energy_label: of the energy axis, with ``{unit}`` in it.
        tail: what the whiskers of the response times reach to, for instance ``99th percentile``.
        limit: of the response time, drawn as a line.
        width: of the figure.

    Raises:
        UsageError: no cell has an energy or a response time.
    """
    every = pd.concat(list(models.values()), ignore_index=True) if models else pd.DataFrame()
    known = every.dropna(subset=["energy_j", "mean_s"], how="all") if len(every) else every
    require_drawable(len(known), "cell with an energy or a response time")
    shown = _looks(every)
    with styled(width) as size:
        figure = Figure(figsize=(size.width_in, ROW_IN * len(models)), layout="constrained")
        grid = figure.subplots(len(models), 2, squeeze=False, sharex=True, sharey="none")
        entries: dict[str, Artist] = {}
        for (left, right), (name, cells) in zip(grid, models.items(), strict=True):
            for group, look in shown.items():
                some = cells[_group(cells) == group]
                if len(some):
                    entries |= {group: _energies(left, some, look, size)}
                    _responses(right, some, look, size)
            left.set_title(name, fontsize=size.small_pt)
            _energy_scale(left, cells, energy_label, size)
            if limit is not None:
                limit_line(right, "y", limit.seconds, size)
            right.set_ylabel("response time", fontsize=size.small_pt)
        figure.align_ylabels(grid[:, 0])
        _share_times(grid[:, 1], every, limit.seconds if limit else None)
        _share_sizes(list(grid.flat), every)
        for axes in grid[-1]:
            axes.set_xlabel("batch size", fontsize=size.small_pt)
        grid[0, 1].set_title(f"mean, whisker to the {tail}", fontsize=size.small_pt)
        keys = entries | _saturated_key(every) | limit_key(str(limit) if limit else None, size)
        legend_above(figure, keys, size)
    return figure


def _group(cells: pd.DataFrame) -> pd.Series[str]:
    """What a mark stands for: its policy, or all of fixed size, and the arrivals if several."""
    policy = _policy(cells)
    named = policy + ", " + cells["series"]
    return named.where(cells["series"] != "", policy)


def _policy(cells: pd.DataFrame) -> pd.Series[str]:
    return cells["policy"].where(~cells["fixed"].astype(bool), FIXED)


def _looks(cells: pd.DataFrame) -> dict[str, Look]:
    """A marker for each policy; a colour and a dash for each arrival process, if several."""
    fixed = cells["fixed"].astype(bool)
    ordered = pd.concat([cells[fixed], cells[~fixed]])
    by_group = looks(_group(ordered))
    if cells["series"].nunique() <= 1:
        return by_group
    by_series, by_policy = looks(ordered["series"]), looks(_policy(ordered))
    return {
        group: replace(by_series[series], marker=by_policy[policy].marker)
        for group, series, policy in zip(
            _group(ordered), ordered["series"], _policy(ordered), strict=True
        )
    }


def _energies(axes: Axes, cells: pd.DataFrame, look: Look, size: Size) -> Line2D:
    known = cells.dropna(subset=["batch", "energy_j"]).sort_values("batch")
    below = (known["energy_j"] - known["low_j"]).fillna(0.0)
    above = (known["high_j"] - known["energy_j"]).fillna(0.0)
    _whiskers(axes, known, "energy_j", np.array([below, above]), look, size)
    return _marks(axes, known, "energy_j", look)


def _responses(axes: Axes, cells: pd.DataFrame, look: Look, size: Size) -> None:
    known = cells.dropna(subset=["batch", "mean_s"]).sort_values("batch")
    reach = (known["tail_s"] - known["mean_s"]).clip(lower=0).fillna(0.0)
    _whiskers(axes, known, "mean_s", np.array([0.0 * reach, reach]), look, size)
    _marks(axes, known, "mean_s", look)


def _whiskers(
    axes: Axes,
    cells: pd.DataFrame,
    column: str,
    reach: npt.NDArray[np.float64],
    look: Look,
    size: Size,
) -> None:
    axes.errorbar(
        cells["batch"],
        cells[column],
        yerr=reach,
        fmt="none",
        ecolor=look.colour,
        elinewidth=size.thin_pt,
        capsize=2,
        capthick=size.thin_pt,
    )


def _marks(axes: Axes, cells: pd.DataFrame, column: str, look: Look) -> Line2D:
    """Policies of fixed size joined by a line, hollow marks where the queue grew."""
    joined = bool(cells["fixed"].all())
    dash = look.dash if joined else (0, ())
    width_pt = mpl.rcParams["lines.linewidth"] if joined else 0.0
    # At light load a greedy server takes single requests: its larger mark shows under fixed(1).
    larger = 1.0 if joined else LARGER
    marker_pt = larger * mpl.rcParams["lines.markersize"]
    style = Line2D(
        [],
        [],
        color=look.colour,
        linestyle=dash,
        linewidth=width_pt,
        marker=look.marker,
        markersize=marker_pt,
    )
    if joined:
        axes.plot(cells["batch"], cells[column], color=look.colour, linestyle=dash, zorder=3)
    saturated = cells["saturated"].astype(bool)
    for some, face in ((cells[~saturated], look.colour), (cells[saturated], "white")):
        axes.plot(
            some["batch"],
            some[column],
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markerfacecolor=face,
            markersize=marker_pt,
            zorder=4 if joined else 2,
        )
    return style


def _energy_scale(axes: Axes, cells: pd.DataFrame, label: str, size: Size) -> None:
    """From 0, so that heights compare; in the unit of the panel."""
    values = cells[["energy_j", "low_j", "high_j"]].to_numpy(float)
    known = values[np.isfinite(values)]
    least, largest = (known.min(), known.max()) if len(known) else (math.nan, math.nan)
    if formats.known(largest) and largest > 0:
        axes.set_ylim(min(0.0, 1.1 * least), HEADROOM * largest)
    energy_axis(axes, "y", label, float(largest))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.label.set_fontsize(size.small_pt)
    axes.grid()


def _share_times(column: Iterable[Axes], cells: pd.DataFrame, limit_s: float | None) -> None:
    """One logarithmic axis of time for all models."""
    times = cells[["mean_s", "tail_s"]].to_numpy(float).ravel()
    times = np.append(times, limit_s if limit_s is not None else np.nan)
    times = times[np.isfinite(times) & (times > 0)]
    for axes in column:
        if len(times):
            axes.set_yscale("log")
            axes.set_ylim(times.min() / 1.6, times.max() * 1.6)
            time_axis(axes, "y")
        axes.grid()


def _share_sizes(grid: Iterable[Axes], cells: pd.DataFrame) -> None:
    sizes = cells["batch"].dropna()
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return
    low, high = np.floor(np.log2(sizes.min())), np.ceil(np.log2(sizes.max()))
    step = 2 if high - low > MOST_TICKS else 1
    ticks = 2.0 ** np.arange(low, high + 1, step)
    for axes in grid:
        axes.set_xscale("log", base=2)
        axes.set_xlim(2 ** (low - 0.4), 2 ** (high + 0.4))
        axes.set_xticks(ticks, [formats.tick(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())


def _saturated_key(cells: pd.DataFrame) -> dict[str, Artist]:
    if not cells["saturated"].any():
        return {}
    hollow = Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none")
    return {"saturated": hollow}
