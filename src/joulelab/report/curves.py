"""Convergence curves: the best accuracy so far, round by round."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from joulelab import formats
from joulelab.report.style import WIDTH_IN, Look, looks, styled

MOST_IN_A_COLUMN = 3


@dataclass(frozen=True)
class Curve:
    """One line of a convergence panel.

    Attributes:
        label: the strategy.
        best: best score so far, a value a round.
        optimum_round: from 1.
    """

    label: str
    best: Sequence[float]
    optimum_round: int


def convergence(panels: Mapping[str, Sequence[Curve]], score: str) -> Figure:
    """Best accuracy so far by round: a panel a network, a line a strategy, the optimum marked.

    Args:
        panels: curves by the title of their panel.
        score: ``"mean"`` or ``"max"`` of the repetitions of a round.
    """
    columns = 1 if len(panels) <= MOST_IN_A_COLUMN else 2
    rows = -(-len(panels) // columns)
    drawn = looks(curve.label for curve in itertools.chain(*panels.values()))
    with styled():
        figure = Figure(figsize=(WIDTH_IN + 1.4 * (columns - 1), 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            _panel(axes, curves, drawn)
            axes.set_title(title)
            axes.set_xlabel("round")
            axes.set_ylabel(f"best accuracy so far\n({score} of the repetitions)")
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
    return figure


def _panel(axes: Axes, curves: Sequence[Curve], drawn: Mapping[str, Look]) -> None:
    most = max(len(curve.best) for curve in curves)
    for curve in curves:
        look = drawn[curve.label]
        rounds = np.arange(1, len(curve.best) + 1)
        axes.plot(
            rounds,
            curve.best,
            color=look.colour,
            linestyle=look.dash,
            linewidth=1.8,
            drawstyle="steps-post",
            marker=look.marker,
            markersize=8,
            markeredgecolor="white",
            markevery=[curve.optimum_round - 1],
            label=curve.label,
            clip_on=False,
            zorder=3,
        )
    axes.set_xlim(1, max(most, 2))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))
    axes.grid(axis="y")
    axes.margins(y=0.08)
    _label_lines(axes, curves, drawn)


def _label_lines(axes: Axes, curves: Sequence[Curve], drawn: Mapping[str, Look]) -> None:
    """Name each line at its right end, moved apart where the lines end close together."""
    low, high = axes.get_ylim()
    ends = [(curve.best[-1] - low) / (high - low) for curve in curves]
    for curve, height in zip(
        curves, spread(ends, min(0.2, 0.9 / len(curves)), top=0.93), strict=True
    ):
        look = drawn[curve.label]
        axes.plot(
            [1.05],
            [height],
            transform=axes.transAxes,
            marker=look.marker,
            color=look.colour,
            markersize=7,
            clip_on=False,
        )
        axes.annotate(
            f"{curve.label}\n{formats.accuracy(curve.best[-1])}, round {curve.optimum_round}",
            (1.09, height),
            xycoords="axes fraction",
            va="center",
            fontsize=9,
            linespacing=1.1,
        )


def spread(heights: Sequence[float], least: float, top: float = 1.0) -> list[float]:
    """The heights moved apart to a least distance, in the same order, as little as possible.

    Args:
        heights: wanted positions, 0 to 1.
        least: distance between neighbours.
        top: the highest position allowed; the lowest is 0.

    >>> [round(height, 2) for height in spread([0.5, 0.5, 0.9], 0.2)]
    [0.4, 0.6, 0.9]
    """
    wanted = np.asarray(heights, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = least * np.arange(len(wanted))
    # With the distances taken out, "in order and apart" is just "never falling".
    free = isotonic_regression(wanted[order] - steps).x
    placed = np.empty(len(wanted))
    placed[order] = np.clip(free, 0.0, max(top - steps[-1], 0.0)) + steps
    return [float(height) for height in placed]
