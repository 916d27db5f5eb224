"""Figures of networks over the years: from data frame to matplotlib `Figure`, without a screen.

::

    energy per image   o        hollow: batch 1
    (log)              |  . '   filled: best batch; diamonds are on the Pareto front
                       *'       line: trend, with its band
    ---------------------------
    top-1                 . '
                       *'
                       2012 ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from joulelab.report.paper.layout import legend_above, require_drawable
from joulelab.report.style import (
    BLACK,
    BLUE,
    GREY,
    SIZES,
    VERMILLION,
    Size,
    Width,
    styled,
)
from joulelab.report.timeline.axes import decades, name_networks, percent_axis

Values = npt.NDArray[np.float64]
HEIGHTS_IN: Mapping[Width, float] = {"screen": 6.4, "column": 4.4, "page": 5.0}
MOST_YEARS: Mapping[Width, int] = {"screen": 12, "column": 6, "page": 12}
WITHIN_YEAR = 0.28
"""So far from its year a point may be moved to either side, as a share of a year."""
ENDS = 0.6


@dataclass(frozen=True)
class Line:
    """A line over the years with its band: `at` gives value, low and high; or why there is none."""

    at: Callable[[Values], tuple[Values, Values, Values]]
    reason: str


def years_figure(
    points: pd.DataFrame, energy: Line, accuracy: Line, energy_label: str, width: Width = "screen"
) -> Figure:
    """Energy per image and accuracy of networks by year, with both trends.

    Args:
        points: columns ``model``, ``year``, ``single_j`` and ``best_j`` (joules an image at batch 1
            and at the best batch), ``accuracy`` (0 to 1), ``on_front`` and ``named``; NaN where
            unknown.
        energy: the trend of the decimal logarithm of ``best_j``.
        accuracy: that of the accuracy.
        energy_label: of the energy axis, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: no network has a year and an energy.
    """
    rows = points.dropna(subset=["year", "best_j"])
    require_drawable(len(rows), "network with a year and an energy")
    rows = rows.assign(place=rows["year"] + _aside(rows))
    years = np.linspace(rows["year"].min() - ENDS / 2, rows["year"].max() + ENDS / 2, 100)
    with styled(width) as size:
        figure = Figure(figsize=(SIZES[width].width_in, HEIGHTS_IN[width]), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        entries = _energies(upper, rows, size)
        if not energy.reason:
            entries |= _trend(upper, years, tuple(10**end for end in energy.at(years)))
        upper.set_yscale("log")
        energies = rows[["single_j", "best_j"]].to_numpy(float)
        decades(upper, "y", energy_label, energies)
        known = rows.dropna(subset=["accuracy"])
        _marked(lower, known, "accuracy", size)
        if not accuracy.reason:
            _trend(lower, years, accuracy.at(years))
        percent_axis(lower)
        lower.set_ylabel("published top-1")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=MOST_YEARS[width]))
        lower.set_xlabel("year of the first public paper")
        lower.set_xlim(rows["year"].min() - ENDS, rows["year"].max() + ENDS)
        for axes in (upper, lower):
            axes.grid(axis="y")
            axes.margins(y=0.12)
        legend_above(figure, entries, size)
        figure.draw_without_rendering()
        in_the_way = [*_stems(rows), *_along(years, energy, lambda log: 10**log)]
        name_networks(upper, rows, "best_j", size, in_the_way)
        below = known.assign(named=known["named_below"])
        name_networks(lower, below, "accuracy", size, _along(years, accuracy))
    return figure


def _aside(rows: pd.DataFrame) -> Values:
    """How far each point is moved within its year: those of a year stand apart, in their order."""
    moved = np.zeros(len(rows))
    years = rows["year"].to_numpy(float)
    for year in np.unique(years):
        here = np.flatnonzero(years == year)
        order = rows["best_j"].to_numpy(float)[here].argsort(kind="stable").argsort()
        moved[here] = WITHIN_YEAR * (2 * order / max(len(here) - 1, 1) - 1) * (len(here) > 1)
    return moved


def _energies(axes: Axes, rows: pd.DataFrame, size: Size) -> dict[str, Artist]:
    """Both energies of each network, tied to each other."""
    both = rows.dropna(subset=["single_j"])
    entries: dict[str, Artist] = {}
    if len(both):
        axes.vlines(
            both["place"], both["best_j"], both["single_j"], color=GREY, lw=size.thin_pt, zorder=1
        )
        (entries["batch 1"],) = axes.plot(
            both["place"],
            both["single_j"],
            linestyle="none",
            marker="o",
            markersize=0.75 * size.marker_pt,
            color=GREY,
            markerfacecolor="white",
            zorder=2,
        )
    return entries | _marked(axes, rows, "best_j", size)


def _marked(axes: Axes, rows: pd.DataFrame, value: str, size: Size) -> dict[str, Artist]:
    """The networks, those on the front apart."""
    entries: dict[str, Artist] = {}
    front = rows["on_front"].astype(bool)
    kinds: Sequence[tuple[str, Any, dict[str, Any]]] = (
        ("best batch", ~front, {"marker": "o", "color": BLUE}),
        (
            "best batch, on the Pareto front",
            front,
            {"marker": "D", "color": VERMILLION, "markeredgecolor": BLACK},
        ),
    )
    for name, some, style in kinds:
        if some.any():
            (entries[name],) = axes.plot(
                rows.loc[some, "place"],
                rows.loc[some, value],
                linestyle="none",
                markeredgewidth=size.thin_pt,
                zorder=3,
                **style,
            )
    return entries


def _stems(rows: pd.DataFrame) -> list[Values]:
    """Spots along the lines between both energies of a network, which no name should cover."""
    both = rows.dropna(subset=["single_j"])
    places, logs = both["place"].to_numpy(float), np.log(both[["best_j", "single_j"]].to_numpy())
    shares = np.linspace(0, 1, 6)[1:]
    return [
        np.stack([places, np.exp(logs[:, 0] + share * (logs[:, 1] - logs[:, 0]))], axis=1)
        for share in shares
    ]


def _along(
    years: Values, line: Line, scale: Callable[[Values], Values] = lambda value: value
) -> list[Values]:
    """Spots along a trend, shape (points, 2)."""
    return [] if line.reason else [np.stack([years, scale(line.at(years)[0])], axis=1)]


def _trend(axes: Axes, years: Values, line: tuple[Values, ...]) -> dict[str, Artist]:
    value, low, high = line
    axes.fill_between(years, low, high, color=BLUE, alpha=0.15, linewidth=0, zorder=0)
    (drawn,) = axes.plot(years, value, color=BLUE, zorder=1)
    return {"trend, best batch": drawn}
