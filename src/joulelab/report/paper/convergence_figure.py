"""Figures 3 to 6 of the paper: the best accuracy so far, round by round."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from joulelab.report.paper.layout import legend_above, panels, require_drawable, set_titles
from joulelab.report.style import GREY, Look, Size, Width, looks, styled

COLUMNS: Mapping[Width, int] = {"screen": 2, "column": 1, "page": 3}
HEIGHTS_IN: Mapping[Width, float] = {"screen": 2.6, "column": 1.8, "page": 1.75}


@dataclass(frozen=True)
class Curve:
    """One line of a convergence panel.

    Attributes:
        label: the strategy.
        best: (rounds,) best score so far; NaN until a round has one.
        optimum_round: from 1; ``None`` where no round has a score.
        low: (rounds,) lower end of the band about the line, NaN where unknown.
        high: (rounds,) upper end.
    """

    label: str
    best: Sequence[float]
    optimum_round: int | None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def convergence_figure(
    panels_by_title: Mapping[str, Sequence[Curve]], score: str, width: Width = "page"
) -> Figure:
    """Best accuracy so far by round: a panel a network, a line a strategy, the optimum marked.

    Args:
        panels_by_title: curves by the title of their panel, ``"DensePolyNN"``; panels are lettered
            where there are several.
        score: ``"mean"`` or ``"max"`` of the repetitions of a round.
        width: of the figure.

    Raises:
        UsageError: there is no curve.
    """
    every = list(itertools.chain(*panels_by_title.values()))
    require_drawable(len(every), "curve")
    known = looks(curve.label for curve in every)
    with styled(width) as size:
        figure, grid = panels(len(panels_by_title), COLUMNS[width], HEIGHTS_IN[width], width)
        set_titles(grid, list(panels_by_title), COLUMNS[width], size)
        for axes, curves in zip(grid, panels_by_title.values(), strict=True):
            _panel(axes, curves, known, size)
            axes.set_xlabel("round")
            if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
                axes.set_ylabel(f"best accuracy so far\n({score} of the repetitions)")
        legend_above(figure, {name: _key(look, size) for name, look in known.items()}, size)
    return figure


def _panel(axes: Axes, curves: Sequence[Curve], known: Mapping[str, Look], size: Size) -> None:
    for curve in curves:
        look = known[curve.label]
        rounds = np.arange(1, len(curve.best) + 1)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(
                rounds, curve.low, curve.high, step="post", color=look.colour, alpha=0.15, lw=0
            )
        axes.plot(
            rounds,
            curve.best,
            color=look.colour,
            linestyle=look.dash,
            drawstyle="steps-post",
            marker=look.marker,
            markersize=1.4 * size.marker_pt,
            markeredgecolor="white",
            markeredgewidth=size.thin_pt,
            markevery=[] if curve.optimum_round is None else [curve.optimum_round - 1],
            label=curve.label,
            clip_on=False,
            zorder=3,
        )
    axes.set_xlim(1, max(2, *(len(curve.best) for curve in curves)) if curves else 2)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y")
    axes.margins(y=0.08)
    if all(np.isnan(np.asarray(curve.best, dtype=float)).all() for curve in curves):
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no round has a score", transform=axes.transAxes, ha="center", color=GREY
        )


def _key(look: Look, size: Size) -> Line2D:
    """How a strategy looks in the legend."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=1.4 * size.marker_pt,
        markeredgecolor="white",
        markeredgewidth=size.thin_pt,
    )
