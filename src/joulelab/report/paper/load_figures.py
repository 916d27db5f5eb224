"""How busy the device was, and whether a shorter time meant less energy (section VII-C).

The paper saw a load of 40 to 60 % and remarked that a model that trains faster need not take less
energy. Both can be looked at: the spread of utilisation, and energy against time, where equal power
is a straight line from the origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from joulelab import formats
from joulelab.report.paper.layout import legend_above, require_drawable, spread
from joulelab.report.style import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    VERMILLION,
    Size,
    Width,
    energy_axis,
    single,
    styled,
)

PAPER_LOAD = (0.4, 0.6)
"""The share of time in which the GPU of CAIN 2023 was busy."""
NAMES = 0.34
QUANTILES = ["p5", "p25", "p50", "p75", "p95"]
# From this ratio of greatest to least on, an axis is logarithmic.
TENFOLD = 10.0
PARTS, AGREES = "time and energy part", "time and energy agree"
# More names than that crowd the figure.
MOST_NAMED = 6
TIME_ENERGY_HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.4, "column": 2.7, "page": 3.2}


def utilisation_figure(load: pd.DataFrame, device: str = "GPU", width: Width = "column") -> Figure:
    """Utilisation of each configuration: its mean, middle half and middle 90 %; least first.

    Args:
        load: columns ``configuration``, ``mean``, ``p5``, ``p25``, ``p50``, ``p75`` and ``p95``,
            as shares of 1 over time; a row with an unknown mean is named and said to be unknown.
        device: whose.
        width: of the figure.

    Raises:
        UsageError: no utilisation is known.
    """
    require_drawable(int(load["mean"].notna().sum()), "utilisation")
    rows = load.sort_values("mean", na_position="last", kind="stable")
    with styled(width) as size:
        names = [size.wrapped(str(name), NAMES) for name in rows["configuration"]]
        lines = sum(name.count("\n") + 1.3 for name in names)
        figure, axes = single(size.line_in(lines + 4), width)
        places = _places(names)
        axes.axvspan(*PAPER_LOAD, color=ORANGE, alpha=0.2, lw=0, zorder=0)
        for place, row in zip(places, rows.to_dict("records"), strict=True):
            _box(axes, place, {str(key): value for key, value in row.items()}, size)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0, labelsize=size.small_pt)
        axes.set_ylim(places[-1] + 1, places[0] - 1)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set_xlabel(f"utilisation of the {device}")
        axes.grid(axis="x")
        legend_above(
            figure,
            {
                "5 to 95 % of the time": Line2D([], [], color=BLUE),
                "25 to 75 %": Patch(facecolor=BLUE),
                "median": Line2D(
                    [], [], color=VERMILLION, linestyle="none", marker="|", ms=7, mew=size.line_pt
                ),
                "mean": _mean_key(size),
                "40 to 60 %, the paper": Patch(facecolor=ORANGE, alpha=0.2),
            },
            size,
        )
    return figure


def _places(names: Sequence[str]) -> list[float]:
    """Middles of names one under another, in lines."""
    heights = np.array([name.count("\n") + 1.3 for name in names])
    return [float(place) for place in np.cumsum(heights) - heights / 2]


def _box(axes: Axes, place: float, row: Mapping[str, float], size: Size) -> None:
    if not formats.known(row["mean"]):
        axes.text(0.01, place, formats.UNKNOWN, color=GREY, fontsize=size.small_pt, va="center")
        return
    if all(formats.known(row[name]) for name in QUANTILES):
        axes.plot([row["p5"], row["p95"]], [place, place], color=BLUE)
        axes.barh(place, row["p75"] - row["p25"], 0.7, row["p25"], color=BLUE)
        axes.plot([row["p50"]] * 2, [place - 0.35, place + 0.35], color=VERMILLION, zorder=3)
    key = _mean_key(size)
    key.set_data([row["mean"]], [place])
    key.set_zorder(4)
    key.set_clip_on(False)
    axes.add_line(key)


def _mean_key(size: Size) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker="D",
        markersize=0.9 * size.marker_pt,
        color="white",
        markeredgecolor=BLACK,
        markeredgewidth=size.thin_pt,
        label="mean",
    )


@dataclass(frozen=True)
class Cost:
    """Time and energy of one configuration.

    Attributes:
        name: of the configuration.
        duration_s: mean duration of a run.
        energy_j: mean energy of a run.
        duration_error_s: half the width of its interval; NaN where unknown.
        energy_error_j: the same of the energy.
        parts: its time and its energy say different things, so it is named in the figure.
    """

    name: str
    duration_s: float
    energy_j: float
    duration_error_s: float = np.nan
    energy_error_j: float = np.nan
    parts: bool = False


def time_energy_figure(
    costs: Sequence[Cost],
    energy_label: str,
    power_w: float | None = None,
    width: Width = "column",
) -> Figure:
    """Time against energy, a point a configuration, with the line of equal power.

    Both axes are logarithmic where all values are above 0 and those of one axis differ tenfold.

    Args:
        costs: one a configuration; one with an unknown time or energy is not drawn.
        energy_label: with ``{unit}`` where the unit belongs.
        power_w: of the line; left out, the median of energy over time. Of the configurations whose
            time and energy part, the six furthest from it are named.
        width: of the figure.

    Raises:
        UsageError: no configuration has both a time and an energy.
    """
    known = [c for c in costs if formats.known(c.duration_s) and formats.known(c.energy_j)]
    require_drawable(len(known), "configuration with time and energy")
    if power_w is None:
        power_w = _middle_power(known)
    with styled(width) as size:
        figure, axes = single(TIME_ENERGY_HEIGHTS_IN[width], width)
        entries = {}
        for parts, colour, marker in ((False, BLUE, "o"), (True, VERMILLION, "s")):
            some = [cost for cost in known if cost.parts == parts]
            if some:
                entries[PARTS if parts else AGREES] = _points(axes, some, colour, marker, size)
        _scales(axes, known)
        if power_w is not None:
            entries[f"equal power, {formats.watts(power_w)}"] = _equal_power(axes, power_w)
        axes.set_xlabel("time of a run, s")
        energy_axis(axes, "y", energy_label, max(abs(cost.energy_j) for cost in known))
        axes.grid()
        _label(axes, _furthest(known, power_w), figure.get_figheight(), size)
        legend_above(figure, entries, size)
    return figure


def _points(axes: Axes, costs: Sequence[Cost], colour: str, marker: str, size: Size) -> Line2D:
    errors = np.array([(cost.duration_error_s, cost.energy_error_j) for cost in costs])
    times = [cost.duration_s for cost in costs]
    energies = [cost.energy_j for cost in costs]
    axes.errorbar(
        times,
        energies,
        xerr=np.nan_to_num(errors[:, 0]),
        yerr=np.nan_to_num(errors[:, 1]),
        fmt="none",
        ecolor=colour,
        elinewidth=size.thin_pt,
        alpha=0.6,
    )
    (line,) = axes.plot(
        times,
        energies,
        linestyle="none",
        marker=marker,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.3,
    )
    return line


def _scales(axes: Axes, costs: Sequence[Cost]) -> None:
    values = np.array([(cost.duration_s, cost.energy_j) for cost in costs])
    if (values > 0).all() and (ratio := (values.max(axis=0) / values.min(axis=0)).max()) >= TENFOLD:
        subs = (1.0,) if ratio >= TENFOLD**2 else (1.0, 2.0, 5.0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(10, subs=subs, numticks=7))
            axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.tick(value)))
    axes.margins(0.1)


def _middle_power(costs: Sequence[Cost]) -> float | None:
    """The median power; ``None`` where no run took any time."""
    powers = [cost.energy_j / cost.duration_s for cost in costs if cost.duration_s > 0]
    return float(np.median(powers)) if powers else None


def _furthest(costs: Sequence[Cost], power_w: float | None) -> list[Cost]:
    """Of those that part, the ones with the most, or the least, energy for their time."""
    some = [cost for cost in costs if cost.parts]
    if power_w is None:
        return some[:MOST_NAMED]
    expected_j = {cost.name: power_w * cost.duration_s for cost in some}
    some.sort(key=lambda cost: -abs(cost.energy_j / (expected_j[cost.name] or np.inf) - 1))
    return some[:MOST_NAMED]


def _equal_power(axes: Axes, power_w: float) -> Line2D:
    """The line on which energy is power times time, over the times that are shown."""
    first, last = axes.get_xlim()
    low, high = axes.get_ylim()
    (line,) = axes.plot(
        [first, last], [power_w * first, power_w * last], color=GREY, linestyle=DASHES[1], zorder=1
    )
    axes.set_xlim(first, last)
    axes.set_ylim(low, high)
    return line


def _label(axes: Axes, costs: Sequence[Cost], height_in: float, size: Size) -> None:
    """Name configurations beside the axes, each tied to its point by a line."""
    if not costs:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((c.duration_s, c.energy_j))[1]) for c in costs]
    names = [size.wrapped(cost.name, NAMES - 0.06) for cost in costs]
    line = size.line_in(1) / (0.7 * height_in)
    least = line * max(name.count("\n") + 1 for name in names)
    for cost, name, height in zip(costs, names, spread(heights, least, 0.95), strict=True):
        axes.annotate(
            name,
            (cost.duration_s, cost.energy_j),
            (1.05, height),
            textcoords="axes fraction",
            fontsize=size.small_pt,
            va="center",
            linespacing=1.0,
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": size.thin_pt,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )
