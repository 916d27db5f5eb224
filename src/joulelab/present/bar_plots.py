"""Bar plots: stacked parts, histograms, and shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from joulelab.present.axes import Axis, Reference, percent_tick
from joulelab.present.panels import Canvas, Panel, as_panels, require_drawable
from joulelab.present.parts import Width
from joulelab.present.style import BLUE, Look, looks, styled

MOST_BINS, FEWEST_BINS = 20, 5
SAID = 0.28
"""Margin at the right for the text of each row, as a share of the axis."""
TOP = 1.35
"""Height of the axis of shares, with margin for notes above the bars."""
FEW_NAMES = 6
PANEL_IN = 1.7
COLUMNS: Mapping[Width, int] = {"screen": 3, "column": 2, "page": 3}


def stacked_bars(
    rows: pd.DataFrame,
    x: Axis,
    parts: Mapping[str, str],
    said: Callable[[float], str],
    *,
    width: Width = "screen",
) -> Figure:
    """Rows of stacked parts, the first row at the top.

    Args:
        rows: column ``row``, names of the rows, that of their sum, and those of the parts.
        x: the sum.
        parts: column of each part by its legend name; parts that are 0 everywhere are omitted. All
            but the first are hatched.
        said: formats the text next to a row from its sum.
        width: of the figure.

    Raises:
        UsageError: there are no rows.
    """
    names = tuple(rows["row"].astype(str))
    y = Axis("", "", names=names)
    shown = as_panels(rows, replace(x, from_zero=True, room=SAID), y)
    there = {part: column for part, column in parts.items() if (rows[column] != 0).any()}
    with styled(width) as size:
        canvas = Canvas(shown, width, size, None, size.line_in(2.2 * len(names) + 4))
        (axes,) = canvas.grid
        left, at = np.zeros(len(rows)), np.arange(len(rows))
        for part, look in looks(there).items():
            axes.barh(at, rows[there[part]], 0.66, left, **_filled(look))
            left += rows[there[part]].to_numpy(float)
            canvas.entries[part] = Patch(**_filled(look))
        for total, place in zip(x.values(rows), at, strict=True):
            axes.annotate(
                said(total),
                (total, place),
                (5, 0),
                textcoords="offset points",
                va="center",
            )
        if len(there) == 1:
            canvas.entries.clear()
        canvas.finish((), "x")
        axes.invert_yaxis()
    return canvas.figure


def histogram(
    samples: Mapping[str, Sequence[float]],
    x: Axis,
    count: str,
    *,
    references: Sequence[Reference] = (),
    width: Width = "screen",
) -> Figure:
    """Histograms of samples, one above the other.

    Args:
        samples: values by name of the sample, NaN where unknown.
        x: the value; the name of its column does not matter.
        count: noun for the counts, for instance ``configurations``.
        references: lines and bands.
        width: of the figure.

    Raises:
        UsageError: no value is known.
    """
    values = pd.DataFrame(
        [(name, value) for name, those in samples.items() for value in those],
        columns=["sample", x.of],
    ).dropna()
    require_drawable(len(values), x)
    # With an odd number of bins equal values are in the middle of one.
    spread = float(np.ptp(values[x.of]))
    several = min(MOST_BINS, max(FEWEST_BINS, len(values) // 2)) if spread else FEWEST_BINS
    bins = np.histogram_bin_edges(values[x.of], several)
    counts = {
        name: np.histogram(those[x.of], bins)[0]
        for name, those in values.groupby("sample", sort=False)
    }
    y = Axis(
        "",
        count,
        from_zero=True,
        whole=True,
        limits=(0, 1.05 * np.sum([*counts.values()], axis=0).max()),
    )
    shown = as_panels(
        [Panel(values, height=0.8)],
        replace(
            x,
            limits=(bins[0] - 0.05 * (bins[-1] - bins[0]), bins[-1] + 0.05 * (bins[-1] - bins[0])),
        ),
        y,
    )
    with styled(width) as size:
        canvas = Canvas(shown, width, size)
        (axes,) = canvas.grid
        base = np.zeros(several)
        for name, look in looks(map(str, counts)).items():
            axes.bar(bins[:-1], counts[name], np.diff(bins), base, align="edge", **_filled(look))
            base += counts[name]
            canvas.entries[name] = Patch(**_filled(look))
        if len(counts) == 1:
            canvas.entries.clear()
        canvas.finish(references, "y")
    return canvas.figure


def share_bars(
    panels: Mapping[str, Mapping[str, float]],
    x: str,
    y: str,
    notes: Mapping[str, str],
    *,
    width: Width = "screen",
) -> Figure:
    """Shares of a whole by named class, one panel each.

    Args:
        panels: by title, the share of each class by its name; all have the same classes.
        x: meaning of the classes.
        y: meaning of the shares.
        notes: notes above the bars, by title.
        width: of the figure.

    Raises:
        UsageError: there are no panels.
    """
    require_drawable(len(panels), Axis(y, ""))
    classes = list(next(iter(panels.values())))
    step = 1 if len(classes) <= FEW_NAMES + 1 else 2
    names = tuple(name if n % step == 0 else "" for n, name in enumerate(classes))
    across = Axis("", x, names=names, shared=True)
    up = Axis("share", y, form=percent_tick, limits=(0, TOP), shared=True)
    given = [Panel(pd.DataFrame({"share": list(s.values())}), title) for title, s in panels.items()]
    with styled(width) as size:
        canvas = Canvas(as_panels(given, across, up), width, size, COLUMNS[width], PANEL_IN)
        for axes, panel in canvas:
            axes.bar(range(len(classes)), panel.rows["share"], 0.8, color=BLUE)
            axes.text(
                0.97,
                0.98,
                notes.get(panel.title, ""),
                transform=axes.transAxes,
                ha="right",
                va="top",
            )
        canvas.finish((), "y")
    return canvas.figure


def _filled(look: Look) -> dict[str, Any]:
    return {"facecolor": look.colour, "edgecolor": "white", "hatch": look.hatch}
