"""Figures of energy: from data frame to matplotlib `Figure`, without a screen.

Every energy axis says whether its figures were measured or estimated: callers give the label.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.report.style import (
    BLACK,
    BLUE,
    MOST_VECTOR_POINTS,
    ORANGE,
    VERMILLION,
    Width,
    energy_axis,
    single,
    styled,
)

QUANTILE_HEIGHTS_IN: Mapping[Width, float] = {"screen": 3.8, "column": 2.4, "page": 2.8}


def quantile_plot(
    theoretical: Sequence[float],
    ordered: Sequence[float],
    slope: float,
    intercept: float,
    label: str,
    width: Width = "screen",
) -> Figure:
    """Q-Q plot: where the points leave the line, the values are not normally distributed.

    Args:
        theoretical: quantiles of the standard normal distribution.
        ordered: the values in ascending order.
        slope: of the fitted line.
        intercept: of the fitted line.
        label: of the values, for instance ``"net energy, {unit} (estimated)"``.
        width: of the figure.
    """
    x = np.asarray(theoretical)
    with styled(width) as size:
        figure, axes = single(QUANTILE_HEIGHTS_IN[width], width)
        axes.plot(
            x,
            ordered,
            linestyle="none",
            marker="o",
            markersize=0.7 * size.marker_pt,
            color=BLUE,
            rasterized=len(x) > MOST_VECTOR_POINTS,
        )
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, intercept + slope * ends, color=VERMILLION)
        axes.annotate(
            "line: normal distribution", (0.03, 0.93), xycoords="axes fraction", color=VERMILLION
        )
        axes.set_xlabel("quantile of the standard normal distribution")
        energy_axis(axes, "y", label, float(np.max(ordered)))
        axes.grid()
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
