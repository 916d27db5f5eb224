"""Figures 7 and 8 of the paper: the variation of energy, and energy against accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from joulelab import formats
from joulelab.report.paper.layout import (
    legend_above,
    panels,
    require_drawable,
    set_titles,
    spread,
)
from joulelab.report.style import (
    BLACK,
    DASHES,
    MOST_VECTOR_POINTS,
    Look,
    Size,
    Width,
    energy_axis,
    looks,
    single,
    styled,
)

MOST_BINS, FEWEST_BINS = 20, 5
VARIATION_HEIGHTS_IN: Mapping[Width, float] = {"screen": 3.4, "column": 2.2, "page": 2.4}
TRADE_OFF_HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.2, "column": 2.6, "page": 2.7}
TRADE_OFF_COLUMNS: Mapping[Width, int] = {"screen": 1, "column": 1, "page": 2}
# The share of a panel's height above its points in which clusters are named.
STRIP = 0.12


def variation_figure(
    variation: Mapping[str, Sequence[float]], energy: str, width: Width = "column"
) -> Figure:
    """Figure 7: how much the energy of equal configurations varies, a histogram.

    Args:
        variation: by data set, one coefficient of variation a configuration, as a share of 1; NaN
            where there is none.
        energy: what varies, for instance ``"net energy (estimated)"``.
        width: of the figure.

    Raises:
        UsageError: no coefficient is known.
    """
    known = {
        name: 100 * values[np.isfinite(values)]
        for name, values in ((name, np.asarray(v, dtype=float)) for name, v in variation.items())
    }
    values = np.concatenate([*known.values(), np.empty(0)])
    require_drawable(len(values), "coefficient of variation")
    # An odd number of bins has equal values in the middle of one.
    several = min(MOST_BINS, max(FEWEST_BINS, len(values) // 2)) if np.ptp(values) else FEWEST_BINS
    bins = np.histogram_bin_edges(values, several)
    shown = looks(known)
    with styled(width) as size:
        figure, axes = single(VARIATION_HEIGHTS_IN[width], width)
        base = np.zeros(len(bins) - 1)
        entries: dict[str, Artist] = {}
        for name, look in shown.items():
            heights, _ = np.histogram(known[name], bins)
            axes.bar(bins[:-1], heights, np.diff(bins), base, align="edge", **_filled(look))
            base += heights
            entries[name] = Patch(**_filled(look))
        mean = float(values.mean())
        axes.axvline(mean, color=BLACK, linestyle=DASHES[1])
        said = f"mean {formats.at_scale(mean / 100, 0.01)} %"
        entries[said] = Line2D([], [], color=BLACK, linestyle=DASHES[1])
        axes.set_xlabel(
            size.wrapped(f"coefficient of variation of the {energy}, %", 0.8), linespacing=1.1
        )
        axes.set_ylabel("configurations")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(axis="y")
        legend_above(figure, entries if len(known) > 1 else {said: entries[said]}, size)
    return figure


def _filled(look: Look) -> dict[str, Any]:
    return {"facecolor": look.colour, "edgecolor": "white", "hatch": look.hatch}


@dataclass(frozen=True)
class Cloud:
    """One panel of energy against accuracy.

    Attributes:
        points: columns ``energy_j``, ``accuracy`` and ``group``; a row with a NaN is not drawn.
        front: ``energy_j`` and ``accuracy`` of the points that no other dominates, or ``None``.
        marks: short names written above the groups' points, by group: ``{"4 layers": "E+"}``.
    """

    points: pd.DataFrame
    front: pd.DataFrame | None = None
    marks: Mapping[str, str] | None = None


def trade_off_figure(
    clouds: Mapping[str, Cloud], energy_label: str, width: Width = "page", reverse: bool = True
) -> Figure:
    """Figure 8: energy against accuracy, groups by colour and marker, with the Pareto front.

    Args:
        clouds: what each panel shows, by its title, for instance the data set.
        energy_label: label of the energy axis, without its direction, with ``{unit}`` in it.
        width: of the figure.
        reverse: less energy to the right, so that better is up and right.

    Raises:
        UsageError: no point has both an energy and an accuracy.
    """
    clouds = {
        title: replace(cloud, points=cloud.points.dropna(subset=["energy_j", "accuracy"]))
        for title, cloud in clouds.items()
    }
    every = [cloud.points for cloud in clouds.values()]
    require_drawable(sum(map(len, every)), "point with energy and accuracy")
    shown = looks(itertools.chain(*(points["group"].astype(str) for points in every)))
    heights_in, columns = TRADE_OFF_HEIGHTS_IN[width], TRADE_OFF_COLUMNS[width]
    with styled(width) as size:
        figure, grid = panels(len(clouds), columns, heights_in, width)
        entries: dict[str, Artist] = {}
        set_titles(grid, list(clouds), columns, size)
        for axes, cloud in zip(grid, clouds.values(), strict=True):
            entries |= _scatter(axes, cloud.points, shown, size, alone=len(clouds) == 1)
            if cloud.front is not None:
                entries |= _front(axes, cloud.front, size, alone=len(clouds) == 1)
            _energy_against_accuracy(axes, cloud.points, energy_label, reverse)
            _marks(axes, cloud.points, cloud.marks or {}, shown)
        legend_above(figure, entries, size)
    return figure


def _energy_against_accuracy(
    axes: Axes, points: pd.DataFrame, energy_label: str, reverse: bool
) -> None:
    ends = "\n← more energy      axis reversed      less energy →" if reverse else ""
    energy_axis(axes, "x", f"{energy_label}{ends}", float(points["energy_j"].abs().max()))
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel("accuracy on the test images")
    axes.grid()
    axes.margins(0.06)
    if reverse:
        axes.invert_xaxis()


def _scatter(
    axes: Axes, points: pd.DataFrame, shown: Mapping[str, Look], size: Size, alone: bool
) -> dict[str, Artist]:
    entries: dict[str, Artist] = {}
    small = len(points) > MOST_VECTOR_POINTS
    for group, part in points.groupby(points["group"].astype(str), sort=False):
        look = shown[str(group)]
        label = f"{group} ({len(part):,})" if alone else str(group)
        (entries[label],) = axes.plot(
            part["energy_j"],
            part["accuracy"],
            linestyle="none",
            marker=look.marker,
            markersize=(0.7 if small else 0.9) * size.marker_pt,
            markeredgecolor="white",
            markeredgewidth=0.2 if small else 0.4,
            color=look.colour,
            alpha=0.85,
            label=label,
            rasterized=small,
        )
    return entries


def _front(axes: Axes, front: pd.DataFrame, size: Size, alone: bool) -> dict[str, Artist]:
    along = front.sort_values("energy_j")
    label = f"Pareto front ({len(front):,})" if alone else "Pareto front"
    (line,) = axes.plot(
        along["energy_j"],
        along["accuracy"],
        color=BLACK,
        linewidth=0.8 * size.line_pt,
        linestyle=DASHES[1],
        marker="o",
        markersize=1.5 * size.marker_pt,
        markerfacecolor="none",
        markeredgewidth=0.8 * size.line_pt,
        label=label,
    )
    return {label: line}


def _marks(
    axes: Axes, points: pd.DataFrame, marks: Mapping[str, str], shown: Mapping[str, Look]
) -> None:
    """Name clusters above their middle, in a strip that is kept free of points."""
    groups = points["group"].astype(str)
    named = [group for group in dict.fromkeys(groups) if group in marks]
    if not named:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + STRIP * (high - low))
    first, last = axes.get_xlim()
    middles = [float(points.loc[groups == group, "energy_j"].median()) for group in named]
    wanted = [min(max((middle - first) / (last - first), 0.05), 0.95) for middle in middles]
    for group, place in zip(named, spread(wanted, 0.12), strict=True):
        axes.text(
            place,
            0.985,
            marks[group],
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontweight="bold",
            color=shown[group].colour,
        )
