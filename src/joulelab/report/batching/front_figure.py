"""Energy per request against response time: which policies does no other beat?

A panel for each model and arrival process, for whoever runs one chooses a policy and not a model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from joulelab.analysis.batching import Limit
from joulelab.report.direct_labels import name_points
from joulelab.report.paper.layout import legend_above, panels, require_drawable
from joulelab.report.style import BLUE, GREY, VERMILLION, Size, Width, energy_axis, styled
from joulelab.report.time_axis import limit_key, limit_line, time_axis

FRONT_IN = 2.35
COLUMNS = 2
TENFOLD = 10.0
BEST = "no other policy beats it"
ROOM = 0.25
"""Of the logarithmic range of the times, to the right of it."""


def front_figure(
    fronts: Mapping[str, pd.DataFrame],
    energy_label: str,
    tail: str,
    limit: Limit | None = None,
    width: Width = "screen",
) -> Figure:
    """Energy per request against response time; efficient policies are joined and named.

    Args:
        fronts: by title of the panel its policies: columns ``policy``, ``energy_j``, ``tail_s``,
            ``saturated`` and ``efficient`` (no other that kept up takes less and answers sooner).
        energy_label: of the energy axis, with ``{unit}`` in it.
        tail: of the response times, for instance ``99th percentile``.
        limit: of the response time, drawn as a line.
        width: of the figure.

    Raises:
        UsageError: no policy has both an energy and a response time.
    """
    known = {title: cells.dropna(subset=["energy_j", "tail_s"]) for title, cells in fronts.items()}
    require_drawable(sum(map(len, known.values())), "policy with energy and response time")
    with styled(width) as size:
        figure, grid = panels(len(known), COLUMNS, FRONT_IN, width)
        entries: dict[str, Artist] = {}
        for axes, (title, cells) in zip(grid, known.items(), strict=True):
            entries |= _front(axes, cells, size)
            if limit is not None:
                limit_line(axes, "x", limit.seconds, size)
            axes.set_title(title, fontsize=size.small_pt)
            _front_scales(axes, cells, energy_label, size)
        for axes in grid[-COLUMNS:]:
            axes.set_xlabel(f"response time, {tail}", fontsize=size.small_pt)
        legend_above(figure, entries | limit_key(str(limit) if limit else None, size), size)
        figure.draw_without_rendering()
        for axes, cells in zip(grid, known.values(), strict=True):
            _name(axes, cells, size)
    return figure


def _name(axes: Axes, cells: pd.DataFrame, size: Size) -> None:
    """Name the policies that no other beats, clear of all points and of the line between them."""
    places = ["tail_s", "energy_j"]
    efficient = cells[cells["efficient"]].sort_values("tail_s")
    points = efficient[places].to_numpy(float)
    names = [str(policy).replace(", ", ",\n") for policy in efficient["policy"]]
    name_points(axes, points, names, cells[places].to_numpy(float), size)


def _front(axes: Axes, cells: pd.DataFrame, size: Size) -> dict[str, Artist]:
    efficient = cells["efficient"].astype(bool)
    saturated = cells["saturated"].astype(bool)
    front = cells[efficient].sort_values("tail_s")
    axes.plot(front["tail_s"], front["energy_j"], color=BLUE, linewidth=size.thin_pt, zorder=2)
    entries: dict[str, Artist] = {}
    for name, some, style in (
        (BEST, efficient, {"marker": "o", "color": BLUE}),
        ("beaten in both", ~efficient & ~saturated, {"marker": "s", "color": VERMILLION}),
        ("saturated", saturated, {"marker": "o", "color": GREY, "markerfacecolor": "white"}),
    ):
        if some.any():
            (entries[name],) = axes.plot(
                cells.loc[some, "tail_s"],
                cells.loc[some, "energy_j"],
                linestyle="none",
                zorder=4 if name == BEST else 3,
                **style,  # type: ignore[arg-type]
            )
    return entries


def _front_scales(axes: Axes, cells: pd.DataFrame, energy_label: str, size: Size) -> None:
    energies, times = cells["energy_j"], cells["tail_s"]
    if len(cells) and times.min() > 0:
        axes.set_xscale("log")
        # Names stand to the right of their points.
        axes.set_xlim(times.min() / 2, times.max() * 2 * (times.max() / times.min()) ** ROOM)
        time_axis(axes, "x")
    if len(cells) and energies.min() > 0 and energies.max() / energies.min() >= TENFOLD:
        axes.set_yscale("log")
        axes.set_ylim(energies.min() / 1.6, energies.max() * 1.6)
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.margins(y=0.18)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    energy_axis(axes, "y", energy_label, float(energies.max()) if len(cells) else np.nan)
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.label.set_fontsize(size.small_pt)
    axes.grid()
