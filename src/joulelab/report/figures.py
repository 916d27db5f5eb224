"""Figures of energy: from data frame to matplotlib `Figure`, without a screen.

Every energy axis says whether its figures were measured or estimated: callers give the label.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from joulelab import formats
from joulelab.report.style import (
    BLACK,
    BLUE,
    DASHES,
    ORANGE,
    VERMILLION,
    energy_axis,
    looks,
    single,
    styled,
)

# Above so many points an SVG is slow to draw; they become an image within it.
MOST_VECTOR_POINTS = 1500


def variation_histogram(variation: Sequence[float], energy: str) -> Figure:
    """How much the energy of equal configurations varies: histogram of the coefficients.

    Args:
        variation: one coefficient a configuration, as a share of 1.
        energy: what varies, for instance ``"net energy (estimated)"``.
    """
    values = 100 * np.asarray(variation)
    mean = float(values.mean())
    with styled():
        figure, axes = single(3.2)
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
    theoretical: Sequence[float],
    ordered: Sequence[float],
    slope: float,
    intercept: float,
    label: str,
) -> Figure:
    """Q-Q plot: where the points leave the line, the values are not normally distributed.

    Args:
        theoretical: quantiles of the standard normal distribution.
        ordered: the values in ascending order.
        slope: of the fitted line.
        intercept: of the fitted line.
        label: of the values, for instance ``"net energy, {unit} (estimated)"``.
    """
    x = np.asarray(theoretical)
    with styled():
        figure, axes = single(3.8)
        axes.plot(
            x,
            ordered,
            linestyle="none",
            marker="o",
            markersize=4,
            color=BLUE,
            rasterized=len(x) > MOST_VECTOR_POINTS,
        )
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, intercept + slope * ends, color=VERMILLION, linewidth=1.8)
        axes.annotate(
            "line: normal distribution", (0.03, 0.93), xycoords="axes fraction", color=VERMILLION
        )
        axes.set_xlabel("quantile of the standard normal distribution")
        energy_axis(axes, "y", label, float(np.max(ordered)))
        axes.grid()
    return figure


def trade_off(
    points: pd.DataFrame, front: pd.DataFrame, energy_label: str, reverse: bool = True
) -> Figure:
    """Energy against accuracy, groups by colour and marker, with the Pareto front.

    Args:
        points: columns ``energy_j``, ``accuracy`` and ``group``.
        front: ``energy_j`` and ``accuracy`` of the points that no other dominates.
        energy_label: label of the energy axis, without its direction, with ``{unit}`` in it.
        reverse: less energy to the right, so that better is up and right (paper, Fig. 8).
    """
    styles = looks(points["group"].astype(str))
    with styled():
        figure, axes = single(4.6)
        for group, part in points.groupby("group", sort=False):
            look = styles[str(group)]
            axes.plot(
                part["energy_j"],
                part["accuracy"],
                linestyle="none",
                marker=look.marker,
                markersize=5.5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                color=look.colour,
                alpha=0.85,
                label=f"{group} ({len(part):,})",
                rasterized=len(points) > MOST_VECTOR_POINTS,
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
        direction = "\n← more energy       axis reversed       less energy →" if reverse else ""
        energy_axis(axes, "x", f"{energy_label}{direction}", float(points["energy_j"].max()))
        axes.set_ylabel("accuracy on the test images")
        axes.grid()
        axes.margins(0.06)
        if reverse:
            axes.invert_xaxis()
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.4)
    return figure


def energy_bars(bars: pd.DataFrame, energy_label: str, spread_label: str) -> Figure:
    """Mean energy of each configuration, least first, with its spread.

    Args:
        bars: columns ``configuration``, ``mean_j``, ``spread_j`` (NaN where unknown).
        energy_label: label of the energy axis, with ``{unit}`` in it.
        spread_label: what the whiskers are.
    """
    rows = bars.sort_values("mean_j", ascending=False)
    names = [textwrap.fill(str(name), 34) for name in rows["configuration"]]
    lines = sum(name.count("\n") + 1 for name in names)
    with styled():
        figure, axes = single(1.2 + 0.2 * lines + 0.14 * len(rows))
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
        energy_axis(axes, "x", f"{energy_label}{whisker_note}", edge)
        axes.grid(axis="x")
    return figure


def ledger_bars(parts: pd.DataFrame, energy_label: str) -> Figure:
    """Where the energy of the study went, by kind of work; what was lost is hatched.

    Args:
        parts: columns ``kind``, ``kept_j``, ``lost_j``; largest first.
        energy_label: label of the energy axis, with ``{unit}`` in it.
    """
    rows = parts.iloc[::-1]
    total_j = float((rows["kept_j"] + rows["lost_j"]).sum())
    with styled():
        figure, axes = single(1.4 + 0.42 * len(rows))
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
        energy_axis(axes, "x", energy_label, float((rows["kept_j"] + rows["lost_j"]).max()))
        axes.grid(axis="x")
    return figure
