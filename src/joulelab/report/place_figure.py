"""CO2e by place, a line a network (or another level): how far each of the two moves the grams.

Places stand from left to right in the order of their grams. Grams are energy x intensity, so that
on a logarithmic axis lines of places with one figure each are parallel: their rise is what the
place does, the distance between them what the network does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from joulelab import formats
from joulelab.report.paper.layout import require_drawable, set_titles, spread
from joulelab.report.style import COLOURS, GREY, MARKERS, Size, Width, styled

Values = npt.NDArray[np.float64]

MOST_NAMED = 12
"""Of more lines only the lowest and the highest are named; the others are grey."""
TENFOLD = 10.0
"""From this ratio of most to least on, grams stand on a logarithmic axis."""
NAMES = 0.26
"""Share of the width for the names of the lines."""
UPRIGHT = 0.9
"""Of the room of a place, what its name may take before it is written aslant."""
ASIDE, MOST_ASIDE = 0.03, 0.28
"""How far each line is moved at a place, and all of them, so that intervals can be told apart."""
LEAST_HEIGHT_IN: Mapping[Width, float] = {"screen": 3.0, "column": 2.2, "page": 2.4}


def place_figure(panels: Mapping[str, pd.DataFrame], label: str, width: Width = "screen") -> Figure:
    """CO2e of a run at each place.

    Args:
        panels: by title a frame with ``level``, ``place``, ``co2e_g``, ``low_g`` and ``high_g``
            (NaN where there is no interval); a row whose grams are unknown or 0 is not drawn.
        label: of the axis of grams, with ``{unit}`` in it.
        width: of the figure.

    Raises:
        UsageError: nothing is known.
    """
    known = {title: rows[rows["co2e_g"] > 0] for title, rows in panels.items()}
    require_drawable(sum(map(len, known.values())), "run with known grams")
    known = {title: rows for title, rows in known.items() if len(rows)}
    every = pd.concat(list(known.values()))
    order, shown = _by_grams(every, "place"), _looks(_by_grams(every, "level"))
    logarithmic = bool(every["co2e_g"].max() / every["co2e_g"].min() >= TENFOLD)
    courses = [_courses(rows, order, shown) for rows in known.values()]
    with styled(width) as size:
        aslant = _aslant(order, size)
        # Names of places stand below every panel.
        foot_in = size.line_in(0.45 * max(map(len, order)) + 1 if aslant else 3)
        tall = [_height_in(lines, size, LEAST_HEIGHT_IN[width]) for lines in courses]
        high = [height_in + foot_in for height_in in tall]
        figure = Figure(figsize=(size.width_in, sum(high)), layout="constrained")
        grid = list(figure.subplots(len(high), 1, squeeze=False, height_ratios=high)[:, 0])
        if list(known) != [""]:
            set_titles(grid, list(known), 1, size)
        for axes, lines, height_in in zip(grid, courses, tall, strict=True):
            for line in lines:
                _draw(axes, line, size)
            # One scale in every panel, so that they can be compared.
            _grams_axis(axes, every, label, logarithmic=logarithmic)
            _place_axis(axes, order, size, aslant=aslant)
            _name_lines(axes, [line for line in lines if line.named], size, height_in)
    return figure


@dataclass(frozen=True)
class _Course:
    """A level from place to place.

    Attributes:
        level: its name.
        places: where it stands along the axis, (places,).
        grams: there, (places,).
        reach: how far its interval goes down and up, (2, places); 0 where there is none.
        colour: of the line.
        marker: of its points.
        named: whether its name stands beside it.
    """

    level: str
    places: Values
    grams: Values
    reach: Values
    colour: str
    marker: str
    named: bool


def _courses(
    rows: pd.DataFrame, order: Sequence[str], shown: Mapping[str, tuple[str, str]]
) -> list[_Course]:
    """The levels of a panel from least to most grams."""
    levels = _by_grams(rows, "level")
    several = max(len(levels) - 1, 1)
    aside = min(ASIDE * len(levels), MOST_ASIDE)
    at = {place: number for number, place in enumerate(order)}
    parts = dict(iter(rows.groupby("level", sort=False)))
    found = []
    for number, level in enumerate(levels):
        there = parts[level].sort_values("place", key=lambda place: place.map(at))
        figures = there[["co2e_g", "low_g", "high_g"]].to_numpy(float)
        moved = aside * (number / several - 0.5)
        places = np.array([at[place] + moved for place in there["place"]])
        named = len(levels) <= MOST_NAMED or number in {0, len(levels) - 1}
        colour, marker = shown[level] if named else (GREY, MARKERS[0])
        reach = np.nan_to_num(np.abs(figures[:, [1, 2]] - figures[:, [0]]).T)
        found.append(_Course(level, places, figures[:, 0], reach, colour, marker, named))
    return found


def _by_grams(rows: pd.DataFrame, column: str) -> list[str]:
    """Places, or levels, from least to most grams, by geometric means."""
    means = rows.assign(log=np.log(rows["co2e_g"])).groupby(column, sort=False)["log"].mean()
    return [str(name) for name in means.sort_values(kind="stable").index]


def _looks(levels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each level; where colours come again, markers are others."""
    several = len(COLOURS)
    return {
        level: (COLOURS[i % several], MARKERS[(i + i // several) % len(MARKERS)])
        for i, level in enumerate(levels)
    }


def _height_in(lines: Sequence[_Course], size: Size, least_in: float) -> float:
    """So high that all names have room one above the other."""
    names = [_name(line, size) for line in lines if line.named]
    return max(least_in, size.line_in(_longest(names) * len(names) + 2))


def _name(line: _Course, size: Size) -> str:
    return size.wrapped(line.level, NAMES - 0.03)


def _longest(names: Sequence[str]) -> int:
    """The most lines of text that a name has."""
    return max(name.count("\n") + 1 for name in names)


def _aslant(places: Sequence[str], size: Size) -> bool:
    """Whether the names of the places are too long to stand side by side."""
    room = UPRIGHT * size.letters((1 - NAMES - 0.12) / len(places))
    return any(len(word) > room for place in places for word in place.split())


def _draw(axes: Axes, line: _Course, size: Size) -> None:
    axes.plot(
        line.places, line.grams, color=line.colour, linewidth=size.thin_pt, alpha=0.45, zorder=1
    )
    axes.errorbar(
        line.places,
        line.grams,
        yerr=line.reach if line.named and line.reach.any() else None,
        linestyle="none",
        marker=line.marker,
        markersize=(0.9 if line.named else 0.4) * size.marker_pt,
        color=line.colour,
        markeredgecolor="white",
        markeredgewidth=0.3,
        elinewidth=size.thin_pt,
        capsize=0.3 * size.marker_pt,
        zorder=3 if line.named else 2,
    )


def _grams_axis(axes: Axes, rows: pd.DataFrame, label: str, *, logarithmic: bool) -> None:
    most_g, least_g = float(rows["co2e_g"].max()), float(rows["co2e_g"].min())
    # Intervals far wider than the grams are apart go on beyond the axes.
    top_g = min(float(np.nanmax(rows[["co2e_g", "high_g"]].to_numpy(float))), 3 * most_g)
    unit_g, unit = formats.scale(most_g, formats.MASS)
    if logarithmic:
        axes.set_yscale("log")
        low_g = float(rows["low_g"].where(rows["low_g"] > 0).min())
        bottom_g = max(low_g, least_g / 3) if formats.known(low_g) else least_g
        axes.set_ylim(bottom_g / 1.3, top_g * 1.3)
        subs = (1.0,) if top_g / bottom_g >= TENFOLD**2 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(10, subs=subs, numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.08 * top_g)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda grams, _: formats.tick(grams / unit_g)))
    axes.set_ylabel(label.format(unit=unit))
    axes.grid(axis="y")


def _place_axis(axes: Axes, order: Sequence[str], size: Size, *, aslant: bool) -> None:
    if aslant:
        axes.set_xticks(range(len(order)), order, rotation=35, ha="right", rotation_mode="anchor")
    else:
        share = (1 - NAMES - 0.12) / len(order)
        axes.set_xticks(range(len(order)), [size.wrapped(place, share) for place in order])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(order) - 0.5)


def _name_lines(axes: Axes, lines: Sequence[_Course], size: Size, height_in: float) -> None:
    """Each line's name beside the axes, moved apart and tied to its last point."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [(float(line.places[-1]), float(line.grams[-1])) for line in lines]
    heights = [float(to_axes.transform(end)[1]) for end in ends]
    names = [_name(line, size) for line in lines]
    least = size.line_in(1) / height_in * _longest(names)
    for line, name, end, height in zip(lines, names, ends, spread(heights, least), strict=True):
        axes.annotate(
            name,
            end,
            (1.03, height),
            textcoords="axes fraction",
            fontsize=size.small_pt,
            color=line.colour,
            va="center",
            linespacing=1.0,
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": size.thin_pt,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )
