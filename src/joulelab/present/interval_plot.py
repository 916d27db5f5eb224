"""Named rows, each with a value and an interval: the one figure of means with their spread.

::

    intervals(
        means.assign(row=means["configuration"]),
        Axis("mean_j", "mean net energy, {unit}", "low_j", "high_j", units=formats.ENERGY),
        said=formats.joules,
    )

Optional columns of a row besides the value:

==========  ============================================================================
row         its name, at the left; rows with the same name share a line
group       colour, marker and legend entry
inner_low   lower end of a second, narrower interval, drawn as a bar
inner_high  its upper end
second      a second value, drawn as a stroke
==========  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from joulelab import formats
from joulelab.present.axes import Axis, Floats, Reference
from joulelab.present.panels import (
    Canvas,
    Panel,
    Panels,
    as_panels,
    complete,
    group_looks,
    require_drawable,
)
from joulelab.present.parts import Width
from joulelab.present.style import BLACK, GREY, VERMILLION, Look, Size, styled

ABSENT: Mapping[str, Any] = {
    "row": "",
    "group": "",
    "inner_low": np.nan,
    "inner_high": np.nan,
    "second": np.nan,
}
"""Defaults of absent columns."""
NAMES = 0.3
"""Share of the width for the names of the rows, of one panel or of the first of several."""
APART = 0.36
"""Distance of groups within a row, in rows."""
IN_VIEW = 4.0
"""Whiskers are shown up to this multiple of the span of the values, including text."""
SAID = 0.16
"""Margin at the right for the text of each row, as a share of the axis."""


def intervals(
    panels: Panels,
    x: Axis,
    *,
    looks: Mapping[str, Look] | None = None,
    references: Sequence[Reference] = (),
    order: Sequence[str] = (),
    said: Callable[[float], str] | None = None,
    legend: Mapping[str, str] | None = None,
    width: Width = "screen",
) -> Figure:
    """Draw a dot with an interval in each named row, the first at the top.

    Args:
        panels: the rows, with the columns above; unknown values are marked.
        x: the value, with the ends of its interval.
        looks: of groups; default: in order.
        references: lines and bands in all panels.
        order: names of the rows from top to bottom; default: order of appearance.
        said: formats the text next to a dot from its value.
        legend: descriptions of ``value``, ``interval``, ``inner`` and ``second``.
        width: of the figure.

    Raises:
        UsageError: no value is known.
    """
    y = Axis("", "")
    shown = [complete(one, ABSENT) for one in as_panels(panels, x, y)]
    require_drawable(sum(int(one.rows[x.of].notna().sum()) for one in shown), x)
    rows = list(order) or list(dict.fromkeys(name for one in shown for name in one.rows["row"]))
    if said is not None:
        shown = [
            replace(one, x=replace(one.axes[0], room=max(x.room, SAID), beyond=IN_VIEW))
            for one in shown
        ]
    by_group = group_looks(shown, "group", looks)
    with styled(width) as size:
        names = [size.wrapped(name, NAMES) for name in rows]
        shown = [replace(one, y=Axis("", "", names=tuple(names), shared=True)) for one in shown]
        lines = len(names) * max(name.count("\n") + 1 for name in names)  # rows are equally high
        spaced = 0.6 * len(names) * max(1, len(by_group) / 1.5)
        canvas = Canvas(shown, width, size, None, size.line_in(lines + spaced + 4))
        for axes, panel in canvas:
            for place, (group, look) in enumerate(by_group.items()):
                aside = APART * (place / max(len(by_group) - 1, 1) - 0.5) * (len(by_group) > 1)
                those = panel.rows[panel.rows["group"] == group]
                at = np.array([rows.index(name) for name in those["row"]]) + aside
                _draw(axes, panel, those, at, look, said, size)
                if group:
                    canvas.entries[group] = Line2D([], [], linestyle="none", **look.marks())
        canvas.entries |= _legend(legend or {}, by_group[next(iter(by_group))], size)
        canvas.finish(references, "x")
        for axes, _ in canvas:
            axes.invert_yaxis()
    return canvas.figure


def _draw(
    axes: Axes,
    panel: Panel,
    rows: pd.DataFrame,
    at: Floats,
    look: Look,
    said: Callable[[float], str] | None,
    size: Size,
) -> None:
    x = panel.axes[0]
    values, reach = x.values(rows), x.reach(rows)
    inner = rows[["inner_low", "inner_high"]].to_numpy(float)
    boxed = np.isfinite(inner).all(axis=1)
    style: dict[str, Any] = {"linestyle": "none", "elinewidth": size.line_pt}
    style |= _dot(look, boxed=bool(boxed.any()))
    axes.errorbar(values, at, xerr=reach if reach.any() else None, ecolor=look.colour, **style)
    axes.barh(at[boxed], np.diff(inner[boxed])[:, 0], 0.4, inner[boxed, 0], color=look.colour)
    axes.vlines(rows["second"], at - 0.25, at + 0.25, color=VERMILLION, lw=size.line_pt, zorder=3)
    for value, reaches, place in zip(values, values + reach[1], at, strict=True):
        known = formats.known(value)
        text = formats.UNKNOWN if not known else said(value) if said else ""
        axes.annotate(
            text,
            (reaches if known else 0.01, place),
            (0.9 * size.marker_pt, 0),
            xycoords="data" if known else ("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=None if known else GREY,
        )


def _dot(look: Look, *, boxed: bool) -> dict[str, Any]:
    """Style of a value: a white diamond on its bar, if any."""
    on_bar = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": BLACK}
    return look.marks() | {"zorder": 4} | (on_bar if boxed else {})


def _legend(said: Mapping[str, str], look: Look, size: Size) -> dict[str, Artist]:
    """The legend entries of the elements of a row."""
    keys: dict[str, Artist] = {
        "interval": Line2D([], [], color=look.colour, linewidth=size.line_pt),
        "inner": Patch(facecolor=look.colour),
        "second": Line2D(
            [], [], color=VERMILLION, linestyle="none", marker="|", mec=VERMILLION, ms=7
        ),
        "value": Line2D([], [], linestyle="none", **_dot(look, boxed="inner" in said)),
    }
    return {said[what]: key for what, key in keys.items() if what in said}
