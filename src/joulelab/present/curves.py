"""Lines over rounds, time, batch sizes or places: the one figure of curves.

::

    curves(
        best.assign(line=best["strategy"]),
        x=Axis("round", "round", whole=True),
        y=Axis("best", "best accuracy so far"),
        step="post",
    )

Beside the two values, columns of these names say more of a point; each may be absent:

======  =================================================================================
line    which line it belongs to: its look, and its entry in the legend
marked  whether it has a marker; every point has one where the column is absent
hollow  why its marker is white inside, which the legend says; empty for a filled one
name    of the line, written beside the axes at its last point; then there is no legend
======  =================================================================================

A line whose look has no dash is points alone.
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

from joulelab.present.axes import Axis, Floats, Reference
from joulelab.present.labels import name_end, part
from joulelab.present.panels import (
    PANEL_HEIGHTS_IN,
    Canvas,
    Panel,
    Panels,
    as_panels,
    group_looks,
)
from joulelab.present.style import GREY, Look, Size, Width, styled

ABSENT: Mapping[str, Any] = {"line": "", "marked": True, "hollow": "", "name": ""}
"""What a point has where its column is absent."""
NAMES = 0.23
"""Share of the width for names beside the axes."""
MOST_POINTS = 300
"""Lines through more points are thin."""
LARGER = 1.5
"""How much larger markers that no line joins are: they stand below the others and still show."""

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
        panels: the points in the order of their lines, with the columns above; a value that is
            unknown is a gap. Intervals of `y` are whiskers where every point has a marker, else a
            band.
        x: what the level axis shows.
        y: what the upright axis shows.
        looks: of lines, where they should not be given in order.
        references: lines and bands in all panels.
        step: whether a value stands until the next point, or since the one before; of all lines or
            by line.
        width: of the figure.
        columns: panels side by side.

    Raises:
        UsageError: there is no point.
    """
    shown = [_complete(one) for one in as_panels(panels, x, y)]
    steps = step if isinstance(step, Mapping) else {}
    every = step if isinstance(step, str) else None
    by_line = group_looks(shown, "line", looks)
    with styled(width) as size:
        canvas = Canvas(shown, width, size, columns, _height_in(shown, width, size))
        names = []
        for axes, panel in canvas:
            for line, rows in panel.rows.groupby("line", sort=False):
                look = by_line[str(line)]
                drawn = _curve(axes, panel, rows, look, steps.get(str(line), every), size)
                drawn.set_label(str(line))
                if line:
                    canvas.entries.setdefault(str(line), _key(drawn, look))
            names.append(_name(axes, panel, by_line, size))
            if not panel.rows[panel.axes[1].of].notna().any():
                _say_unknown(axes)
        why = {str(reason): None for one in shown for reason in one.rows["hollow"] if reason}
        for reason in why:
            style: dict[str, Any] = {"marker": "o", "color": GREY, "markerfacecolor": "white"}
            canvas.entries[reason] = Line2D([], [], linestyle="none", **style)
        if any(names):
            canvas.entries.clear()
        canvas.finish(references, "y" if x.names or every else "both")
        for (axes, _), those in zip(canvas, names, strict=True):
            part(axes, those)
    return canvas.figure


def _complete(panel: Panel) -> Panel:
    """A panel whose rows have all columns."""
    absent = {name: none for name, none in ABSENT.items() if name not in panel.rows}
    rows = panel.rows.assign(**absent)
    return replace(panel, rows=rows.assign(line=rows["line"].astype(str)))


def _height_in(panels: Sequence[Panel], width: Width, size: Size) -> float | None:
    """The height of a panel, so that all names have room one above another, and below it."""
    written = [size.wrapped(str(name), NAMES) for one in panels for name in _ends(one)["name"]]
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
    hollow = (rows["hollow"] != "").to_numpy(bool) | look.hollow
    named = bool(rows["name"].any())
    if y.low or y.high:
        _spread(axes, places, values, y.reach(rows), look, size, band=not marked.all(), step=step)
    pale = bool(panel.rows["name"].any())
    filled = np.flatnonzero(marked & ~hollow)
    marker_pt = size.marker_pt * (1.2 if not marked.all() else 1.0 if look.dash else LARGER)
    style: dict[str, Any] = {
        "marker": look.marker if marked.any() else "",
        "markersize": marker_pt if named or not pale else 0.5 * marker_pt,
        "markeredgecolor": look.colour,
    }
    (line,) = axes.plot(
        places,
        values,
        color=to_rgba(look.colour, 0.5 if pale else 1.0),
        linestyle=look.dash if look.dash and not pale else "-" if look.dash else "none",
        linewidth=size.thin_pt if pale or len(rows) > MOST_POINTS else size.line_pt,
        drawstyle=f"steps-{step}" if step else "default",
        markevery=[int(place) for place in filled],
        markerfacecolor=look.colour,
        markeredgewidth=size.thin_pt,
        clip_on=not x.limits,
        zorder=3 if look.dash else 2,
        **style,
    )
    empty = marked & hollow
    if empty.any():
        axes.plot(
            places[empty],
            values[empty],
            linestyle="none",
            markerfacecolor="white",
            zorder=4 if look.dash else 2.5,
            **style,
        )
    return line


def _spread(
    axes: Axes,
    places: Floats,
    values: Floats,
    reach: Floats,
    look: Look,
    size: Size,
    *,
    band: bool,
    step: Step | None,
) -> None:
    """The intervals of a line."""
    if band:
        axes.fill_between(
            places,
            values - reach[0],
            values + reach[1],
            step=step,
            color=look.colour,
            alpha=0.22,
            linewidth=0,
        )
    elif reach.any():
        axes.errorbar(
            places,
            values,
            yerr=reach,
            fmt="none",
            ecolor=look.colour,
            elinewidth=size.thin_pt,
            capsize=0.4 * size.marker_pt,
            capthick=size.thin_pt,
        )


def _key(line: Line2D, look: Look) -> Line2D:
    """How a line looks in the legend: with its marker, whichever points have one."""
    return Line2D(
        [],
        [],
        color=line.get_color(),
        linestyle=look.dash or "none",
        linewidth=line.get_linewidth(),
        marker=line.get_marker(),
        markersize=line.get_markersize(),
        markeredgecolor=line.get_markeredgecolor(),
    )


def _name(axes: Axes, panel: Panel, looks: Mapping[str, Look], size: Size) -> list[Annotation]:
    """Names beside the axes, from the last point of each line that has one."""
    x, y = panel.axes
    return [
        name_end(
            axes,
            (float(row[x.of]), float(row[y.of])),
            size.wrapped(str(row["name"]), NAMES),
            looks[str(row["line"])].colour,
            size,
        )
        for row in _ends(panel).to_dict("records")
    ]


def _say_unknown(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no known value", transform=axes.transAxes, ha="center", color=GREY)
