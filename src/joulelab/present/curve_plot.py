"""Lines over rounds, time, batch sizes or places: the one figure of curves.

::

    curves(
        best.assign(line=best["strategy"]),
        x=Axis("round", "round", whole=True),
        y=Axis("best", "best accuracy so far"),
        step="post",
    )

Optional columns of a point besides the two values:

======  =================================================================================
line    its line, which determines look and legend entry
marked  whether it has a marker; default: all points
hollow  reason for a hollow marker, shown in the legend; empty for a filled one
name    of the line, written next to the axes at its last point, instead of a legend
======  =================================================================================

A line without a dash in its look is drawn as points only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from joulelab.present.axes import Axis, Reference, draw_intervals
from joulelab.present.labels import name_end, part
from joulelab.present.panels import (
    PANEL_HEIGHTS_IN,
    Canvas,
    Panel,
    Panels,
    as_panels,
    complete,
    group_looks,
    parts,
)
from joulelab.present.parts import Width
from joulelab.present.style import GREY, SOLID, Look, Size, styled

ABSENT: Mapping[str, Any] = {"line": "", "marked": True, "hollow": "", "name": ""}
"""Defaults of absent columns."""
NAMES = 0.23
"""Share of the width for names next to the axes."""
MOST_POINTS = 300
"""Lines through more points are thin."""
LARGER = 1.5
"""Scale of isolated markers, or markers without a line, so that they show below others."""

Step = Literal["pre", "post"]


def curves(
    panels: Panels,
    x: Axis,
    y: Axis,
    *,
    looks: Mapping[str, Look] | None = None,
    references: Sequence[Reference] = (),
    step: Step | Mapping[str, Step] | None = None,
    width: Width = "screen",
    columns: int | None = None,
) -> Figure:
    """Draw lines with their markers, their bands or whiskers, and their names.

    Args:
        panels: the points in order along their lines, with the columns above; unknown values are
            gaps. Intervals of `y` are whiskers if every point has a marker, else a band.
        x: the horizontal axis.
        y: the vertical axis.
        looks: of lines; default: in order.
        references: lines and bands in all panels.
        step: whether a value holds until the next point, or since the previous one; for all lines
            or by line.
        width: of the figure.
        columns: panels side by side.

    Raises:
        UsageError: there are no points.
    """
    shown = [complete(one, ABSENT) for one in as_panels(panels, x, y)]
    by_line = group_looks(shown, "line", looks)
    steps = step if isinstance(step, Mapping) else dict.fromkeys(by_line, step)
    with styled(width) as size:
        canvas = Canvas(shown, width, size, columns, _height_in(shown, width, size))
        names = []
        for axes, panel in canvas:
            for line, rows in parts(panel.rows, "line"):
                drawn = _curve(axes, panel, rows, by_line[line], steps.get(line), size)
                drawn.set_label(line)
                if line:
                    key = _key(drawn, by_line[line], marked=bool(rows["marked"].any()))
                    canvas.entries.setdefault(line, key)
            names.append(_name(axes, panel, by_line, size))
            if not panel.rows[panel.axes[1].of].notna().any():
                middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center"}
                axes.text(0.5, 0.5, "no known value", color=GREY, **middle)
        for reason in dict.fromkeys(why for one in shown for why in one.rows["hollow"] if why):
            style = Look(GREY, hollow=True).marks()
            canvas.entries[reason] = Line2D([], [], linestyle="none", **style)
        if any(names):
            canvas.entries.clear()
        canvas.finish(references, "y" if x.names else "both")
        for (axes, _), those in zip(canvas, names, strict=True):
            part(axes, those)
        if any(names):
            canvas.unfix_layout()
    return canvas.figure


def _height_in(panels: Sequence[Panel], width: Width, size: Size) -> float | None:
    """The height of a panel with room for all names."""
    written = [size.wrapped(name, NAMES) for one in panels for name in _ends(one)["name"]]
    if not written:
        return None
    several = max(len(_ends(one)) for one in panels)
    lines = several * max(name.count("\n") + 1 for name in written)
    foot = max((len(name) for one in panels for name in one.axes[0].names), default=0)
    least = PANEL_HEIGHTS_IN[width] + size.line_in(0.3 * foot)
    return max(least, size.line_in(1.3 * lines + 3 + 0.3 * foot))


def _ends(panel: Panel) -> pd.DataFrame:
    """The last known point of each line that has a name."""
    known = panel.rows.dropna(subset=[axis.of for axis in panel.axes])
    return known[known["name"] != ""].groupby("line", sort=False).tail(1)


def _curve(
    axes: Axes, panel: Panel, rows: pd.DataFrame, look: Look, step: Step | None, size: Size
) -> Line2D:
    x, y = panel.axes
    places, values = x.values(rows), y.values(rows)
    marked = rows["marked"].to_numpy(bool)
    empty = marked & (rows["hollow"] != "").to_numpy(bool)
    if marked.all():
        draw_intervals(axes, x, y, rows, look)
    elif y.reach(rows).any():
        below, above = y.reach(rows)
        band: dict[str, Any] = {"color": look.colour, "alpha": 0.22, "linewidth": 0, "step": step}
        axes.fill_between(places, values - below, values + above, **band)
    beside = bool(panel.rows["name"].any())  # many thin and pale lines
    larger = 1.0 if look.dash and marked.all() else LARGER
    if beside and not rows["name"].any():
        larger = 0.5
    style = look.marks() | {"markersize": larger * size.marker_pt}
    (line,) = axes.plot(
        places,
        values,
        **style
        | {
            "color": to_rgba(look.colour, 0.5 if beside else 1.0),
            "markerfacecolor": look.colour,
            "marker": look.marker if (marked & ~empty).any() else "None",
            "linestyle": "none" if look.dash is None else SOLID if beside else look.dash,
            "linewidth": size.thin_pt if beside or len(rows) > MOST_POINTS else size.line_pt,
            "drawstyle": f"steps-{step}" if step else "default",
            "markevery": np.flatnonzero(marked & ~empty).tolist(),
            "clip_on": not x.limits,
            "zorder": 3 if look.dash else 2,
        },
    )
    if empty.any():
        style |= replace(look, hollow=True).marks()
        axes.plot(places[empty], values[empty], linestyle="none", zorder=3, **style)
    return line


def _key(line: Line2D, look: Look, *, marked: bool) -> Line2D:
    """The legend entry of a line, with its marker if any point has one."""
    style = look.marks() | {"markersize": line.get_markersize()}
    if not marked:
        style["marker"] = "None"
    return Line2D([], [], linestyle=look.dash or "none", linewidth=line.get_linewidth(), **style)


def _name(axes: Axes, panel: Panel, looks: Mapping[str, Look], size: Size) -> list[Annotation]:
    """Names next to the axes, at the last point of each line."""
    x, y = panel.axes
    return [
        name_end(
            axes,
            (float(row[x.of]), float(row[y.of])),
            size.wrapped(row["name"], NAMES),
            looks[row["line"]].colour,
            size,
        )
        for row in _ends(panel).to_dict("records")
    ]
