"""Actual against predicted energy: on the line the prediction was right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab.report.direct_labels import name_points
from joulelab.report.paper.layout import legend_above, require_drawable
from joulelab.report.style import BLUE, DASHES, GREY, VERMILLION, Width, single, styled
from joulelab.report.timeline.axes import decades

LEAST = 3
"""Fewer configurations are no figure."""
MOST_NAMED = 6
MARGIN = 1.25
HEIGHTS_IN: Mapping[Width, float] = {"screen": 5.2, "column": 3.2, "page": 3.6}


def prediction_figure(points: pd.DataFrame, energy_label: str, width: Width = "screen") -> Figure:
    """A point a configuration, with the range that was predicted.

    Args:
        points: columns ``configuration``, ``predicted``, ``low``, ``high``, ``actual`` in joules
            and ``covered``, as of `joulelab.analysis.prediction.scores`.
        energy_label: of both axes, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: no configuration has both energies.
    """
    rows = points[points["ratio"].notna()]
    require_drawable(len(rows), "predicted energy")
    outside = ~rows["covered"].fillna(True).to_numpy(bool)
    with styled(width) as size:
        figure, axes = single(HEIGHTS_IN[width], width)
        values = rows[["predicted", "actual"]].to_numpy(float)
        ends = np.array([values.min() / MARGIN, values.max() * MARGIN])
        (line,) = axes.plot(ends, ends, color=GREY, linestyle=DASHES[1], linewidth=size.thin_pt)
        entries = {"as predicted": line}
        for label, some, colour, marker in (
            ("within its range", ~outside, BLUE, "o"),
            ("outside its range", outside, VERMILLION, "D"),
        ):
            if not some.any():
                continue
            part = rows[some]
            reach = [part["predicted"] - part["low"], part["high"] - part["predicted"]]
            entries[label] = axes.errorbar(
                part["predicted"],
                part["actual"],
                xerr=np.nan_to_num(np.array(reach)),
                fmt=marker,
                color=colour,
                ecolor=colour,
                elinewidth=size.thin_pt,
            )[0]
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(*ends)
        decades(axes, "x", f"predicted {energy_label}", values)
        decades(axes, "y", f"actual {energy_label}", values)
        axes.grid()
        legend_above(figure, entries, size)
        figure.draw_without_rendering()
        furthest = np.argsort(-np.abs(np.log(rows["ratio"].to_numpy(float))))[:MOST_NAMED]
        named = set(furthest[outside[furthest]].tolist())
        names = [
            str(name) if number in named else ""
            for number, name in enumerate(rows["configuration"])
        ]
        name_points(axes, values, names, values, size)
    return figure
