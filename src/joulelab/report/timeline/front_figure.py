"""Accuracy against energy per image: which networks does no other beat, and how old are they?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from joulelab.report.paper.layout import legend_above, require_drawable
from joulelab.report.style import BLACK, DASHES, GREY, Size, Width, single, styled
from joulelab.report.timeline.axes import Values, decades, name_networks, percent_axis

HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.8, "column": 3.0, "page": 3.4}
FEW_YEARS = 6
# viridis without its palest end, which print loses.
SHADES = LinearSegmentedColormap.from_list("years", colormaps["viridis"](np.linspace(0, 0.88, 64)))


def accuracy_energy_figure(
    points: pd.DataFrame, energy_label: str, width: Width = "screen"
) -> Figure:
    """Accuracy against energy per image, less energy to the right; the front is joined and named.

    Args:
        points: columns ``model``, ``year``, ``best_j``, ``accuracy``, ``on_front`` and ``named``.
        energy_label: of the energy axis, without its direction, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: no network has an energy and an accuracy.
    """
    rows = points.dropna(subset=["best_j", "accuracy"])
    require_drawable(len(rows), "network with energy and accuracy")
    with styled(width) as size:
        figure, axes = single(HEIGHTS_IN[width], width)
        front = rows[rows["on_front"]].sort_values("best_j")
        (step,) = axes.step(
            front["best_j"],
            front["accuracy"],
            where="post",
            color=GREY,
            linestyle=DASHES[1],
            linewidth=size.thin_pt,
            zorder=1,
        )
        entries = _shaded(figure, axes, rows, size) | {"Pareto front": step}
        axes.set_xscale("log")
        decades(axes, "x", f"{energy_label}, less to the right", rows[["best_j"]].to_numpy(float))
        percent_axis(axes)
        axes.set_ylabel("published top-1")
        axes.grid()
        axes.margins(0.1)
        axes.invert_xaxis()
        legend_above(figure, entries, size)
        figure.draw_without_rendering()
        rows = rows.assign(place=rows["best_j"])
        name_networks(axes, rows, "accuracy", size, [_along(front)])
    return figure


def _along(front: pd.DataFrame) -> Values:
    """Spots along the upright parts of the front, which no name should cover, (spots, 2)."""
    energies, accuracies = (front[name].to_numpy(float) for name in ("best_j", "accuracy"))
    up = np.linspace(accuracies[:-1], accuracies[1:], 12)  # (spots, steps)
    return np.stack([np.broadcast_to(energies[1:], up.shape).ravel(), up.ravel()], axis=1)


def _shaded(figure: Figure, axes: Axes, rows: pd.DataFrame, size: Size) -> dict[str, Artist]:
    """The networks in the shade of their year, those on the front as diamonds."""
    first, last = int(rows["year"].min()), int(rows["year"].max())
    norm = BoundaryNorm(np.arange(first, last + 2) - 0.5, SHADES.N)
    front = rows["on_front"].astype(bool)
    entries: dict[str, Artist] = {}
    for name, some, marker in (
        ("on the Pareto front", front, "D"),
        ("beaten by another in both", ~front, "o"),
    ):
        if some.any():
            drawn = axes.scatter(
                rows.loc[some, "best_j"],
                rows.loc[some, "accuracy"],
                s=(1.15 * size.marker_pt) ** 2,
                c=rows.loc[some, "year"],
                cmap=SHADES,
                norm=norm,
                marker=marker,
                edgecolors=BLACK if marker == "D" else "white",
                linewidths=size.thin_pt if marker == "D" else 0.3,
                zorder=3,
            )
            entries[name] = Line2D(
                [], [], linestyle="none", marker=marker, color=GREY, markeredgecolor=BLACK
            )
    if last > first:
        _years_bar(figure, axes, drawn, range(first, last + 1))
    return entries


def _years_bar(figure: Figure, axes: Axes, drawn: ScalarMappable, years: range) -> None:
    """The shade of each year; where there are many, every other one has its number."""
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30)
    step = 1 if len(years) <= FEW_YEARS else 2
    bar.set_ticks(list(years[::-step][::-1]))
    bar.minorticks_off()
    bar.ax.tick_params(length=0)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda year, _: f"{year:.0f}"))
    bar.outline.set_visible(False)
