"""Figures: from data frame to matplotlib `Figure`, without a screen and without global state.

Colours are those of Okabe and Ito, which readers with any colour vision can tell apart; a marker or
a dash always says the same as the colour. Every energy axis says whether its figures are measured.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from joulelab.report import formats

# Okabe and Ito's palette without yellow, which print loses; in the order of contrast.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
GREY = "#767676"
INK = "#222222"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 3)),
    (0, (2, 3)),
)

WIDTH_IN = 7.0
STYLE: Mapping[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # The same figure gives the same file, so that two reports can be compared.
    "svg.hashsalt": "joulelab",
}


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
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    styles = _styles(curve.label for curves in panels.values() for curve in curves)
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(WIDTH_IN + 1.4 * (columns - 1), 2.9 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            _convergence_panel(axes, curves, styles)
            axes.set_title(title)
            axes.set_xlabel("round")
            axes.set_ylabel(f"best accuracy so far\n({score} of the repetitions)")
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
    return figure


def _convergence_panel(
    axes: Axes, curves: Sequence[Curve], styles: Mapping[str, tuple[int, str]]
) -> None:
    most = max(len(curve.best) for curve in curves)
    for curve in curves:
        number, colour = styles[curve.label]
        rounds = np.arange(1, len(curve.best) + 1)
        axes.plot(
            rounds,
            curve.best,
            color=colour,
            linestyle=DASHES[number],
            linewidth=1.8,
            drawstyle="steps-post",
            marker=MARKERS[number],
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
    _label_lines(axes, curves, styles)


def _label_lines(
    axes: Axes, curves: Sequence[Curve], styles: Mapping[str, tuple[int, str]]
) -> None:
    """Name each line at its right end, moved apart where the lines end close together."""
    low, high = axes.get_ylim()
    ends = [(curve.best[-1] - low) / (high - low) for curve in curves]
    for curve, height in zip(curves, spread(ends, min(0.24, 1.0 / len(curves))), strict=True):
        number, colour = styles[curve.label]
        axes.plot(
            [1.04],
            [height],
            transform=axes.transAxes,
            marker=MARKERS[number],
            color=colour,
            markersize=7,
            clip_on=False,
        )
        axes.annotate(
            f"{curve.label}\n{formats.accuracy(curve.best[-1])}, round {curve.optimum_round}",
            (1.07, height),
            xycoords="axes fraction",
            va="center",
            fontsize=9,
            linespacing=1.1,
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """The heights moved apart to a least distance, in the same order, within 0 to 1.

    Args:
        heights: wanted positions, 0 to 1.
        least: distance between neighbours.
    """
    order = np.argsort(np.asarray(heights), kind="stable")
    placed = np.asarray(heights, dtype=float)[order]
    steps = least * np.arange(len(placed))
    # Least squares under the distances is isotonic regression of what is left without them.
    placed = _isotonic(placed - steps)
    top = 1 - steps[-1]
    moved = np.clip(placed, 0.0, max(top, 0.0)) + steps
    result = np.empty(len(moved))
    result[order] = moved
    return [float(height) for height in result]


def _isotonic(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest sequence that never falls, by pooling adjacent violators."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])


def variation_histogram(variation: Sequence[float], energy: str) -> Figure:
    """How much the energy of equal configurations varies: histogram of the coefficients.

    Args:
        variation: one coefficient a configuration, as a share of 1.
        energy: what varies, for instance ``"net energy (estimated)"``.
    """
    values = 100 * np.asarray(variation)
    mean = float(values.mean())
    with mpl.rc_context(dict(STYLE)):
        figure, axes = _single(3.2)
        bins = np.histogram_bin_edges(values, bins=min(20, max(4, len(values) // 2)))
        axes.hist(values, bins=list(bins), color=BLUE, edgecolor="white")
        axes.axvline(mean, color=VERMILLION, linestyle=DASHES[1], linewidth=1.8)
        right = mean > (bins[0] + bins[-1]) / 2
        axes.annotate(
            f"mean {mean:.2g} %",
            (mean, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if right else 5, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="bottom",
        )
        axes.set_xlabel(f"coefficient of variation of the {energy}, %")
        axes.set_ylabel("configurations")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
    return figure


def quantile_plot(
    theoretical: Sequence[float], ordered: Sequence[float], slope: float, intercept: float, label: str
) -> Figure:
    """Q-Q plot: where the points leave the line, the values are not normally distributed.

    Args:
        theoretical: quantiles of the standard normal distribution.
        ordered: the values in ascending order.
        slope: of the fitted line.
        intercept: of the fitted line.
        label: of the values, for instance ``"net energy, J (estimated)"``.
    """
    x = np.asarray(theoretical)
    with mpl.rc_context(dict(STYLE)):
        figure, axes = _single(3.8)
        axes.plot(
            x, ordered, linestyle="none", marker="o", markersize=4, color=BLUE, rasterized=len(x) > 500
        )
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, intercept + slope * ends, color=VERMILLION, linewidth=1.8)
        axes.annotate(
            "normal distribution",
            (float(ends[0]), float(intercept + slope * ends[0])),
            xytext=(0.03, 0.93),
            textcoords="axes fraction",
            color=VERMILLION,
            va="center",
        ).set_in_layout(False)
        axes.set_xlabel("quantile of the standard normal distribution")
        axes.set_ylabel(label)
        _thousands(axes, "y")
        axes.grid()
    return figure


def trade_off(
    points: pd.DataFrame, front: pd.DataFrame, energy_label: str, reverse: bool = True
) -> Figure:
    """Energy against accuracy, groups by colour and marker, with the Pareto front.

    Args:
        points: columns ``energy_j``, ``accuracy`` and ``group``.
        front: ``energy_j`` and ``accuracy`` of the points that no other dominates.
        energy_label: label of the energy axis without the remark on its direction.
        reverse: less energy to the right, so that better is up and right (paper, Fig. 8).
    """
    styles = _styles(points["group"])
    with mpl.rc_context(dict(STYLE)):
        figure, axes = _single(4.6)
        for group, part in points.groupby("group", sort=False):
            number, colour = styles[str(group)]
            axes.plot(
                part["energy_j"],
                part["accuracy"],
                linestyle="none",
                marker=MARKERS[number],
                markersize=5.5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                color=colour,
                alpha=0.85,
                label=f"{group} ({len(part):,})",
                rasterized=len(points) > 1500,  # noqa: PLR2004 - an SVG of more is slow to draw
            )
        along = front.sort_values("energy_j")
        axes.plot(
            along["energy_j"],
            along["accuracy"],
            color=BLACK,
            linewidth=1.3,
            linestyle=DASHES[1],
            marker="o",
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=1.3,
            label=f"Pareto front ({len(front):,})",
        )
        direction = "\n← more energy (axis reversed) less energy →" if reverse else ""
        axes.set_xlabel(f"{energy_label}{direction}")
        axes.set_ylabel("accuracy on the test images")
        _thousands(axes, "x")
        axes.grid()
        axes.margins(0.06)
        if reverse:
            axes.invert_xaxis()
        figure.legend(loc="outside upper left", ncols=3 if len(styles) > 1 else 2, handletextpad=0.4)
    return figure


def energy_bars(bars: pd.DataFrame, energy_label: str, spread_label: str) -> Figure:
    """Mean energy of each configuration, least first, with its spread.

    Args:
        bars: columns ``configuration``, ``mean_j``, ``spread_j`` (NaN where unknown).
        energy_label: label of the energy axis.
        spread_label: what the whiskers are.
    """
    rows = bars.sort_values("mean_j", ascending=False)
    names = [textwrap.fill(str(name), 34) for name in rows["configuration"]]
    lines = sum(name.count("\n") + 1 for name in names)
    with mpl.rc_context(dict(STYLE)):
        figure, axes = _single(1.2 + 0.2 * lines + 0.14 * len(rows))
        places = np.arange(len(rows))
        axes.barh(places, rows["mean_j"], color=BLUE, height=0.66)
        whiskers = rows["spread_j"].fillna(0.0)
        if (whiskers > 0).any():
            axes.errorbar(
                rows["mean_j"], places, xerr=whiskers, fmt="none", ecolor=BLACK, capsize=3, lw=1.2
            )
        edge = float((rows["mean_j"] + whiskers).max())
        for place, mean, whisker in zip(places, rows["mean_j"], whiskers, strict=True):
            axes.annotate(
                formats.joules(mean),
                (max(mean + whisker, 0.0), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.set_xlim(min(0.0, float((rows["mean_j"] - whiskers).min())), edge * 1.16)
        whisker_note = f"\nwhiskers: {spread_label}" if (whiskers > 0).any() else ""
        axes.set_xlabel(f"{energy_label}{whisker_note}")
        _thousands(axes, "x")
        axes.grid(axis="x")
    return figure


def ledger_bars(parts: pd.DataFrame, energy_label: str) -> Figure:
    """Where the energy of the study went, by kind of work; what was lost is hatched.

    Args:
        parts: columns ``kind``, ``kept_j``, ``lost_j``; largest first.
        energy_label: label of the energy axis.
    """
    rows = parts.iloc[::-1]
    total_j = float((rows["kept_j"] + rows["lost_j"]).sum())
    with mpl.rc_context(dict(STYLE)):
        figure, axes = _single(1.4 + 0.42 * len(rows))
        places = np.arange(len(rows))
        axes.barh(places, rows["kept_j"], color=BLUE, height=0.66, label="kept")
        if (rows["lost_j"] > 0).any():
            axes.barh(
                places,
                rows["lost_j"],
                left=rows["kept_j"],
                color=ORANGE,
                hatch="///",
                edgecolor="white",
                height=0.66,
                label="failed or interrupted",
            )
            figure.legend(loc="outside upper left", ncols=2)
        for place, sum_j in zip(places, rows["kept_j"] + rows["lost_j"], strict=True):
            share = sum_j / total_j if total_j > 0 else None
            axes.annotate(
                f"{formats.joules(sum_j)}, {formats.percent(share, 0)}",
                (sum_j, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_yticks(places, list(rows["kind"]))
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.28 * float((rows["kept_j"] + rows["lost_j"]).max()) or 1)
        axes.set_xlabel(energy_label)
        _thousands(axes, "x")
        axes.grid(axis="x")
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(dict(STYLE)):
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write the figure as ``<name>.svg`` and ``<name>.png``, and give back the SVG."""
    picture = svg(figure)
    (folder / f"{name}.svg").write_bytes(picture)
    figure.savefig(folder / f"{name}.png", dpi=160)
    return picture


def _single(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _styles(labels: object) -> dict[str, tuple[int, str]]:
    """A number for marker and dash, and a colour, by label."""
    names = dict.fromkeys(str(label) for label in labels)  # type: ignore[attr-defined]
    return {name: (n, COLOURS[n]) for name, n in zip(names, itertools.cycle(range(len(COLOURS))))}


def _thousands(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}".replace("-", "−")))
