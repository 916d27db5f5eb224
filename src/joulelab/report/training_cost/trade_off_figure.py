"""Accuracy against energy of each network, its bases joined, a panel a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from joulelab.report.direct_labels import name_points
from joulelab.report.paper.layout import legend_above, panels, require_drawable, set_titles
from joulelab.report.style import DASHES, GREY, PALE, Size, Width, energy_axis, styled
from joulelab.report.timeline.axes import Values, decades
from joulelab.report.training_cost.energy_figure import TENFOLD, look

HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.2, "column": 2.8, "page": 3.4}
LESS = ", less to the right"
ROOM, LEAST_ROOM = 0.35, 0.01
"""Room around the points as a share of the distance between them, and the least of accuracy."""


def network_trade_off_figure(
    frames: Mapping[str, pd.DataFrame], energy_label: str, width: Width = "screen"
) -> Figure:
    """A point a configuration, a line from the frozen to the trained base of a network.

    Args:
        frames: by data set, columns ``network``, ``base``, ``energy_j`` and ``accuracy``, each with
            its interval, and ``on_front``; a row without both is not drawn.
        energy_label: of the axis, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: no configuration has both.
    """
    known = {t: rows.dropna(subset=["energy_j", "accuracy"]) for t, rows in frames.items()}
    known = {title: rows for title, rows in known.items() if len(rows)}
    require_drawable(sum(map(len, known.values())), "configuration with energy and accuracy")
    with styled(width) as size:
        figure, grid = panels(len(known), 1, HEIGHTS_IN[width], width)
        if list(known) != [""]:
            set_titles(grid, list(known), 1, size)
        entries: dict[str, Artist] = {}
        for axes, rows in zip(grid, known.values(), strict=True):
            entries |= _panel(axes, rows, energy_label, size)
        legend_above(figure, entries, size)
        figure.draw_without_rendering()
        for axes, rows in zip(grid, known.values(), strict=True):
            _name(axes, rows, size)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, energy_label: str, size: Size) -> dict[str, Artist]:
    energies = rows[["energy_j"]].to_numpy(float)
    if energies.max() / energies.min() >= TENFOLD:
        axes.set_xscale("log")
        decades(axes, "x", f"{energy_label}{LESS}", energies)
    else:
        energy_axis(axes, "x", f"{energy_label}{LESS}", float(energies.max()))
    entries: dict[str, Artist] = {}
    for _, pair in rows.groupby("network", sort=False):
        axes.plot(pair["energy_j"], pair["accuracy"], color=PALE, zorder=1)
    for base, some in rows.groupby("base", sort=False):
        entries[f"{base} base"] = _points(axes, some, str(base), size)
    front = rows[rows["on_front"].astype(bool)].sort_values("energy_j")
    (entries["Pareto front"],) = axes.step(
        front["energy_j"],
        front["accuracy"],
        where="post",
        color=GREY,
        linestyle=DASHES[1],
        linewidth=size.thin_pt,
        zorder=1,
    )
    axes.set_ylabel("accuracy on the test images")
    axes.grid()
    _frame(axes, rows)
    axes.invert_xaxis()
    return entries


def _frame(axes: Axes, rows: pd.DataFrame) -> None:
    """Room around the points; an interval that is much wider than they are apart goes beyond."""
    energies, accuracies = (rows[name].to_numpy(float) for name in ("energy_j", "accuracy"))
    low, high = float(accuracies.min()), float(accuracies.max())
    room = max(ROOM * (high - low), LEAST_ROOM)
    axes.set_ylim(max(low - room, -room / 4), min(high + room, 1 + room / 4))
    least_j, most_j = float(energies.min()), float(energies.max())
    if axes.get_xscale() == "log":
        apart = (most_j / least_j) ** (ROOM / 2)
        axes.set_xlim(least_j / apart, most_j * apart)
    else:
        room_j = max(ROOM * (most_j - least_j), ROOM * most_j / 4)
        axes.set_xlim(max(least_j - room_j, 0.0), most_j + room_j)


def _points(axes: Axes, rows: pd.DataFrame, base: str, size: Size) -> Artist:
    colour, marker = look(base)
    reach = [_reach(rows, name, unit) for name, unit in (("energy", "_j"), ("accuracy", ""))]
    drawn = axes.errorbar(
        rows["energy_j"],
        rows["accuracy"],
        xerr=reach[0],
        yerr=reach[1],
        linestyle="none",
        marker=marker,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.3,
        elinewidth=size.thin_pt,
        zorder=3,
    )
    line: Artist = drawn.lines[0]
    return line


def _reach(rows: pd.DataFrame, name: str, unit: str) -> Values:
    """How far intervals go to both sides of their means, (2, rows); 0 where there is none."""
    low, mean, high = (rows[f"{name}{end}{unit}"].to_numpy(float) for end in ("_low", "", "_high"))
    reach: Values = np.nan_to_num(np.stack([mean - low, high - mean]))
    return reach


def _name(axes: Axes, rows: pd.DataFrame, size: Size) -> None:
    """Each network once, at the configuration that reaches most."""
    best = rows.sort_values("accuracy").groupby("network", sort=False).tail(1)
    best = best.sort_values("energy_j")
    shown = rows[["energy_j", "accuracy"]].to_numpy(float)
    points = best[["energy_j", "accuracy"]].to_numpy(float)
    name_points(axes, points, [str(name) for name in best["network"]], shown, size)
