"""Energy of each network with its interval, bases apart, a panel a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from joulelab.report.paper.layout import legend_above, panels, require_drawable, set_titles
from joulelab.report.style import BLUE, GREEN, PURPLE, VERMILLION, Size, Width, energy_axis, styled
from joulelab.report.timeline.axes import decades

TENFOLD = 10.0
COLUMNS: Mapping[Width, int] = {"screen": 2, "column": 1, "page": 3}
LOOKS = ((VERMILLION, "o"), (BLUE, "D"), (GREEN, "s"), (PURPLE, "^"))
"""Colour and marker of each base, in the order of `BASES`."""
BASES = ("trained", "frozen")
APART = 0.32
"""How far apart the bases of a network stand, in rows."""


def network_energy_figure(
    frames: Mapping[str, pd.DataFrame], energy_label: str, width: Width = "screen"
) -> Figure:
    """Dots with intervals, a row a network, the one that takes least at the top.

    Args:
        frames: by data set, columns ``network``, ``base``, ``energy_j``, ``energy_low_j`` and
            ``energy_high_j`` (NaN where there is no interval); a row without energy is not drawn.
        energy_label: of the axis, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: no energy is known.
    """
    known = {title: rows.dropna(subset=["energy_j"]) for title, rows in frames.items()}
    known = {title: rows for title, rows in known.items() if len(rows)}
    require_drawable(sum(map(len, known.values())), "configuration with energy")
    every = pd.concat(list(known.values()))
    order = _by_energy(every)
    bases = [base for base in BASES if base in set(every["base"])]
    logarithmic = bool(every["energy_j"].max() / every["energy_j"].min() >= TENFOLD)
    with styled(width) as size:
        height_in = size.line_in(1.6 * len(order) + 4)
        figure, grid = panels(len(known), COLUMNS[width], height_in, width)
        if list(known) != [""]:
            set_titles(grid, list(known), COLUMNS[width], size)
        entries: dict[str, Artist] = {}
        for number, (axes, rows) in enumerate(zip(grid, known.values(), strict=True)):
            entries |= _dots(axes, rows, order, bases, size)
            named = number % COLUMNS[width] == 0
            axes.set_yticks(range(len(order)), order if named else [""] * len(order))
            axes.set_ylim(len(order) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            _scale(axes, every, energy_label, logarithmic=logarithmic)
            axes.grid(axis="x")
        if len(entries) > 1:
            legend_above(figure, {f"{base} base": entries[base] for base in entries}, size)
    return figure


def look(base: str) -> tuple[str, str]:
    """Colour and marker of a base.

    >>> look("trained") != look("frozen")
    True
    """
    return LOOKS[BASES.index(base) if base in BASES else len(BASES)]


def _by_energy(rows: pd.DataFrame) -> list[str]:
    """Networks by the geometric mean of their configurations."""
    means = rows.assign(log=np.log(rows["energy_j"])).groupby("network", sort=False)["log"].mean()
    return [str(name) for name in means.sort_values(kind="stable").index]


def _dots(
    axes: Axes, rows: pd.DataFrame, order: list[str], bases: list[str], size: Size
) -> dict[str, Artist]:
    entries: dict[str, Artist] = {}
    for number, base in enumerate(bases):
        those = rows[rows["base"] == base]
        if not len(those):
            continue
        aside = APART * (number - (len(bases) - 1) / 2)
        places = [order.index(str(network)) + aside for network in those["network"]]
        low_j, mean_j, high_j = (
            those[name].to_numpy(float) for name in ("energy_low_j", "energy_j", "energy_high_j")
        )
        colour, marker = look(base)
        drawn = axes.errorbar(
            mean_j,
            places,
            xerr=np.nan_to_num(np.stack([mean_j - low_j, high_j - mean_j])),
            linestyle="none",
            marker=marker,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.3,
            elinewidth=size.line_pt,
            capsize=0.4 * size.marker_pt,
        )
        entries[base] = drawn.lines[0]
    return entries


def _scale(axes: Axes, every: pd.DataFrame, label: str, *, logarithmic: bool) -> None:
    """The same axis of energy in every panel; an interval that reaches 0 goes beyond it."""
    least_j, most_j = float(every["energy_j"].min()), float(every["energy_j"].max())
    top_j = float(np.nanmax(every[["energy_j", "energy_high_j"]].to_numpy(float)))
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(least_j / 1.6, min(top_j, 3 * most_j) * 1.3)
        decades(axes, "x", label, every[["energy_j"]].to_numpy(float))
    else:
        axes.set_xlim(0, 1.05 * min(top_j, 3 * most_j))
        energy_axis(axes, "x", label, most_j)
