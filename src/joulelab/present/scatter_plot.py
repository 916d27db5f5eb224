"""Points in a plane of two values: the one figure of trade-offs.

::

    scatter(
        runs.assign(group=runs["network"], front=runs["on_front"]),
        x=Axis("energy_j", "net energy of a training, {unit}", units=formats.ENERGY, reversed=True),
        y=Axis("accuracy", "accuracy on the test images"),
    )

Optional columns of a point besides the two values:

======  =========================================================================
group   colour, marker and legend entry
front   whether it is on the Pareto front, which is drawn as steps through rings
name    written next to it; empty for none
joined  points with the same value are joined by a thin line
mark    of a whole group: a short name in bold above its middle
======  =========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from joulelab.present.axes import Axis, Floats, Reference, draw_intervals
from joulelab.present.labels import name_points, spread
from joulelab.present.panels import (
    Canvas,
    Panel,
    Panels,
    as_panels,
    complete,
    group_looks,
    known,
    parts,
)
from joulelab.present.parts import Width
from joulelab.present.style import BLACK, DASHED, GREY, MOST_VECTOR_POINTS, Look, Size, styled

ABSENT: Mapping[str, Any] = {"group": "", "front": False, "name": "", "joined": "", "mark": ""}
"""Defaults of absent columns."""
FRONT = "Pareto front"
NAMED_ROOM = 0.18
"""Margin around points if some are named, as a share of their span."""
STRIP = 0.14
"""Share of the height, above the points, in which groups are named."""


def scatter(
    panels: Panels,
    x: Axis,
    y: Axis,
    *,
    looks: Mapping[str, Look] | None = None,
    references: Sequence[Reference] = (),
    width: Width = "screen",
    columns: int | None = None,
    height_in: float | None = None,
) -> Figure:
    """Draw points with their intervals, groups, names and the Pareto front.

    Args:
        panels: the points, with the columns above; rows without both values are not drawn.
        x: the horizontal axis.
        y: the vertical axis.
        looks: of groups; default: in order.
        references: lines and bands in all panels.
        width: of the figure.
        columns: panels side by side.
        height_in: of one panel.

    Raises:
        UsageError: there are no points.
    """
    shown = [_roomy(complete(one, ABSENT)) for one in known(as_panels(panels, x, y), x, y)]
    groups = group_looks(shown, "group", looks)
    with styled(width) as size:
        canvas = Canvas(shown, width, size, columns, height_in)
        for axes, panel in canvas:
            for name, rows in parts(panel.rows, "joined"):
                if name:
                    style: dict[str, Any] = {"color": GREY, "alpha": 0.6, "zorder": 1}
                    axes.plot(*_places(panel, rows), linewidth=size.thin_pt, **style)
            for group, rows in parts(panel.rows, "group"):
                line = _points(axes, panel, rows, groups[group], size)
                line.set_label(group)
                if group:
                    canvas.entries.setdefault(group, line)
            if panel.rows["front"].any():
                canvas.entries[FRONT] = _front(axes, panel, size)
        canvas.finish(references)
        for axes, panel in canvas:
            _mark(canvas, axes, panel, groups)
            places = np.stack(_places(panel, panel.rows), axis=1)
            name_points(axes, places, list(panel.rows["name"]), size)
    return canvas.figure


def _roomy(panel: Panel) -> Panel:
    """A panel whose axes have room for the names of its points."""
    if not panel.rows["name"].any():
        return panel
    x, y = (replace(axis, room=max(axis.room, NAMED_ROOM)) for axis in panel.axes)
    return replace(panel, x=x, y=y)


def _places(panel: Panel, rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Coordinates of the points of some rows."""
    x, y = panel.axes
    return x.values(rows), y.values(rows)


def _points(axes: Axes, panel: Panel, rows: pd.DataFrame, look: Look, size: Size) -> Line2D:
    """Markers with their intervals; very many are small, and an image within a vector file."""
    many = len(panel.rows) > MOST_VECTOR_POINTS
    draw_intervals(axes, *panel.axes, rows, look)
    style: dict[str, Any] = {"linestyle": "none", "rasterized": many, "zorder": 3} | look.marks()
    if len(rows) == len(panel.rows):  # markers of one look need no edges
        style["markeredgecolor"] = look.colour
    if many:
        style |= {"markersize": 0.7 * size.marker_pt, "markeredgewidth": 0.2, "alpha": 0.85}
    (line,) = axes.plot(*_places(panel, rows), **style)
    return line


def _front(axes: Axes, panel: Panel, size: Size) -> Line2D:
    """The front as steps."""
    x, _ = panel.axes
    along = panel.rows[panel.rows["front"]].sort_values(x.of)
    (line,) = axes.step(
        *_places(panel, along),
        where="post",
        color=BLACK,
        linestyle=DASHED,
        linewidth=size.thin_pt,
        marker="o",
        markersize=1.7 * size.marker_pt,
        markerfacecolor="none",
        markeredgecolor=BLACK,
        markeredgewidth=1.2 * size.thin_pt,
        label=FRONT,
        zorder=4,
    )
    return line


def _mark(canvas: Canvas, axes: Axes, panel: Panel, groups: Mapping[str, Look]) -> None:
    """Name groups above their middle, in a strip without points."""
    marks = panel.rows.drop_duplicates("group").set_index("group")["mark"]
    marks = marks[marks != ""]
    if not len(marks):
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + STRIP * (high - low))
    canvas.unfix_layout()  # for other ticks
    (first, last), x = axes.get_xlim(), panel.axes[0]
    middles = panel.rows.groupby("group")[x.of].median().loc[marks.index]
    wanted = ((middles - first) / (last - first)).clip(0.05, 0.95)
    for (group, mark), place in zip(marks.items(), spread(list(wanted), 0.12), strict=True):
        axes.text(
            place,
            0.985,
            mark,
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontweight="bold",
            color=groups[str(group)].colour,
        )
