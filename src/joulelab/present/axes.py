"""Axes: data, scale, limits, ticks and units; reference lines and bands.

An axis names the column of a data frame::

    energy = Axis("energy_j", "net energy, {unit}", units=formats.ENERGY, scale="auto")

Values are in base units (joules, grams, seconds); the largest one determines the unit of the axis.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams, ticker
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from joulelab import formats
from joulelab.present.style import DASHED, GREY, LETTER, POINTS_PER_IN, Dash, Look, Size

Floats = npt.NDArray[np.float64]
Which = Literal["x", "y"]

TENFOLD = 10.0
"""From this ratio of largest to smallest on, ``auto`` is logarithmic."""
BEYOND = 0.35
"""How far intervals may extend an axis, as a share of the span of values; they are cut off
there."""
STEPS = (1, 2, 2.5, 5, 10)
"""Distances of ticks on a linear axis, times a power of ten."""
FEWEST_DECADES = 0.6
"""Over fewer decades, a logarithmic axis has linear ticks."""
MULTIPLES = ((2.0, (1.0,)), (1.0, (1.0, 3.0)), (0.0, (1.0, 2.0, 5.0)))
"""Multiples of powers of ten with ticks, by number of decades."""
MILLISECONDS_BELOW_S = 0.1
UPRIGHT = 0.8
"""Share of its room that a name below the axis may take before it is slanted."""


@dataclass(frozen=True)
class Axis:
    """One axis of a figure.

    Attributes:
        of: column of the values.
        label: text; ``{unit}`` is replaced if there are `units`.
        low: column of the lower ends of intervals; empty for none.
        high: column of the upper ends.
        units: `formats.ENERGY`, `formats.MASS` or others: the largest value chooses one.
        form: formats a tick value in the chosen unit.
        scale: ``auto`` is logarithmic if all values are above 0 and differ tenfold; ``doubling``
            has a tick at each power of two.
        reversed: whether values decrease to the right; the label says so.
        from_zero: whether the axis includes 0.
        whole: whether ticks are whole numbers.
        bounds: possible range of values, such as 0 to 1 for a share.
        limits: first and last value shown; default: from the values.
        room: margin around the values, as a share of their span.
        beyond: how far intervals beyond the values are shown, as a share of the span.
        shared: whether all panels have the same scale.
        names: names of the values 0, 1, 2 ..., instead of numbers.
    """

    of: str
    label: str
    low: str = ""
    high: str = ""
    units: formats.Units | None = None
    form: Callable[[float], str] = formats.tick
    scale: Literal["linear", "log", "auto", "doubling"] = "linear"
    reversed: bool = False
    from_zero: bool = False
    whole: bool = False
    bounds: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    room: float = 0.07
    beyond: float = BEYOND
    shared: bool = False
    names: tuple[str, ...] = ()

    def values(self, rows: pd.DataFrame) -> Floats:
        """The values."""
        return rows[self.of].to_numpy(float)

    def reach(self, rows: pd.DataFrame) -> Floats:
        """Lengths of intervals below and above the values, (2, rows); 0 without intervals."""
        values = self.values(rows)
        low, high = (rows[end].to_numpy(float) if end else values for end in (self.low, self.high))
        reach: Floats = np.nan_to_num(np.stack([values - low, high - values])).clip(min=0.0)
        return reach


@dataclass(frozen=True)
class Reference:
    """A reference line or band.

    Attributes:
        label: in the legend; empty for none.
        x: of a vertical line, or of the left edge of a band.
        y: of a horizontal line, or of the lower edge of a band.
        to: the other edge of a band.
        at: function of any other line, from (n,) positions to values, or to values and band edges.
        colour: of line and band.
        dash: of a line.
        if_near: drawn only if it is near the values; others extend the axis.
    """

    label: str = ""
    x: float | None = None
    y: float | None = None
    to: float | None = None
    at: Callable[[Floats], Floats | Sequence[Floats]] | None = None
    colour: str = GREY
    dash: Dash = DASHED
    if_near: bool = False

    def stretches(self, which: Which) -> list[float]:
        """The values that an axis must include to show the reference."""
        value = self.x if which == "x" else self.y
        ends = () if value is None or self.if_near else (value, self.to)
        return [float(end) for end in ends if formats.known(end)]


def time_tick(seconds: float) -> str:
    """A time at a tick.

    >>> time_tick(0.01), time_tick(0.3), time_tick(100.0)
    ('10 ms', '0.3 s', '100 s')
    """
    if seconds < MILLISECONDS_BELOW_S:
        return f"{formats.tick(1e3 * seconds)} ms"
    return f"{formats.tick(seconds)} s"


def percent_tick(share: float) -> str:
    """A share of 1 at a tick, with decimals if needed.

    >>> percent_tick(0.575), percent_tick(0.8)
    ('57.5 %', '80 %')
    """
    return f"{formats.tick(round(100 * share, 6))} %"


def year_tick(year: float) -> str:
    """A year at a tick, without a comma.

    >>> year_tick(2012.0)
    '2012'
    """
    return f"{year:.0f}"


def tenfold(values: Iterable[float]) -> bool:
    """Whether all values are above 0 and the largest is at least ten times the smallest."""
    known = [value for value in values if formats.known(value)]
    return bool(known) and min(known) > 0 and max(known) >= TENFOLD * min(known)


def set_scale(
    axes: Axes, which: Which, axis: Axis, frames: Iterable[pd.DataFrame], stretch: Iterable[float]
) -> bool:
    """Set the scale, limits and label of an axis.

    Args:
        axes: whose axis.
        which: ``x`` or ``y``.
        axis: its contents.
        frames: the rows of this panel, or of all panels that share the axis.
        stretch: additional values it must include.

    Returns:
        Whether it is logarithmic.
    """
    frames = [rows for rows in frames if axis.of in rows]
    stretch = [*stretch]
    values = np.concatenate([*(axis.values(rows) for rows in frames), stretch])
    values = values[np.isfinite(values)]
    reaches = [axis.values(rows) + [[-1], [1]] * axis.reach(rows) for rows in frames]
    ends = np.concatenate([*(reach.ravel() for reach in reaches), values])
    logarithmic = _logarithmic(axis, values)
    if logarithmic:
        base = 2 if axis.scale == "doubling" else 10
        (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=base)
    limits = axis.limits or _limits(axis, values, ends, logarithmic=logarithmic)
    (axes.set_xlim if which == "x" else axes.set_ylim)(*(limits[::-1] if axis.reversed else limits))
    unit, size = "", 1.0
    if axis.units is not None:
        largest = float(np.abs(values).max()) if len(values) else 0.0
        # If all values are 0, use the base unit.
        size, unit = formats.scale(largest or 1.0, axis.units)
    drawn = axes.xaxis if which == "x" else axes.yaxis
    drawn.set_major_formatter(ticker.FuncFormatter(lambda value, _: axis.form(value / size)))
    ends_said = "\n← more      axis reversed      less →" if axis.reversed else ""
    drawn.set_label_text(axis.label.replace("{unit}", unit) + ends_said)
    return logarithmic


def _logarithmic(axis: Axis, values: Floats) -> bool:
    if axis.scale == "auto":
        return tenfold(values)
    return axis.scale != "linear" and bool(len(values)) and bool(values.min() > 0)


def _limits(axis: Axis, values: Floats, ends: Floats, *, logarithmic: bool) -> tuple[float, float]:
    """The limits of an axis: all values with a margin, and the near part of intervals."""
    if axis.names:
        return -0.5, len(axis.names) - 0.5
    if not len(values):
        return 0.0, 1.0
    if axis.scale == "doubling" and logarithmic:
        return _doublings(values)
    if logarithmic:
        values, ends = np.log10(values), np.log10(ends[ends > 0])
    low, high = float(values.min()), float(values.max())
    if axis.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or (1.0 if logarithmic else 0.1 * abs(high) or 1.0)
    near = ends[np.isfinite(ends)].clip(low - axis.beyond * span, high + axis.beyond * span)
    reached = (
        max(min(float(near.min()), low), low - axis.beyond * span),
        float(max(near.max(), high)),
    )
    room = axis.room * span
    first = 0.0 if axis.from_zero and low == 0.0 else reached[0] - room
    last = 0.0 if axis.from_zero and high == 0.0 else reached[1] + room
    if axis.bounds is not None:
        least, most = axis.bounds
        first, last = max(first, least - 0.1 * span), min(last, most + 0.1 * span)
    return (10**first, 10**last) if logarithmic else (first, last)


def _doublings(values: Floats) -> tuple[float, float]:
    low, high = math.floor(np.log2(values.min())), math.ceil(np.log2(values.max()))
    return 2.0 ** (low - 0.4), 2.0 ** (high + 0.4)


def set_ticks(axes: Axes, which: Which, axis: Axis, size: Size) -> None:
    """Set as many ticks as fit.

    Args:
        axes: with its scale, of a figure with its final size.
        which: of the two axes.
        axis: its contents.
        size: of the figure.
    """
    drawn = axes.xaxis if which == "x" else axes.yaxis
    box = axes.get_window_extent()
    room_pt = (box.width if which == "x" else box.height) * POINTS_PER_IN / size.dpi
    # A number needs seven letters horizontally, two lines vertically.
    label_pt = LETTER * float(drawn.label.get_fontsize())
    lines = [
        textwrap.fill(line, int(1.3 * room_pt / label_pt))
        for line in drawn.get_label_text().split("\n")
    ]
    drawn.set_label_text("\n".join(lines))
    several = int(room_pt / (size.small_pt * (7 * LETTER if which == "x" else 2.2)))
    several = min(max(several, 2), 8)
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    if axis.names:
        _set_names(axes, which, axis.names, size)
    elif axis.scale == "doubling" and drawn.get_scale() == "log":
        first, last = math.ceil(np.log2(low)), math.floor(np.log2(high))
        step = -(-(last - first + 1) // (several + 1))
        drawn.set_major_locator(ticker.FixedLocator([2.0**n for n in range(first, last + 1, step)]))
        drawn.set_minor_locator(ticker.NullLocator())
    elif drawn.get_scale() == "log" and (decades := math.log10(high / low)) >= FEWEST_DECADES:
        subs = next(multiples for least, multiples in MULTIPLES if decades >= least)
        drawn.set_major_locator(ticker.LogLocator(10, subs=subs, numticks=several + 3))
        drawn.set_minor_formatter(ticker.NullFormatter())
    else:
        drawn.set_minor_locator(ticker.NullLocator())
        drawn.set_major_locator(
            ticker.MaxNLocator(several, steps=STEPS, integer=axis.whole, min_n_ticks=1)
        )


def _set_names(axes: Axes, which: Which, names: tuple[str, ...], size: Size) -> None:
    """Names instead of numbers; slanted below the axes if there is no room."""
    if which == "y":
        axes.set_yticks(range(len(names)), names)
    else:
        share = axes.get_position().width / sum(map(bool, names))
        if any(len(word) > UPRIGHT * size.letters(share) for n in names for word in n.split()):
            axes.set_xticks(
                range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor"
            )
        else:
            axes.set_xticks(
                range(len(names)), [size.wrapped(name, UPRIGHT * share) for name in names]
            )
    axes.tick_params(axis=which, length=0)


def draw_intervals(axes: Axes, x: Axis, y: Axis, rows: pd.DataFrame, look: Look) -> None:
    """Draw the intervals of points in both directions, if any."""
    reaches = [axis.reach(rows) if axis.low or axis.high else None for axis in (x, y)]
    if any(reach is not None for reach in reaches):
        across, up = reaches
        style = {"fmt": "none", "ecolor": look.colour, "elinewidth": rcParams["axes.linewidth"]}
        axes.errorbar(x.values(rows), y.values(rows), up, across, **style)


def draw_reference(axes: Axes, one: Reference, size: Size) -> Mapping[str, Artist]:
    """Draw a reference into axes with final limits; returns its legend entry."""
    style: dict[str, Any] = {
        "color": one.colour,
        "linewidth": size.thin_pt if one.colour == GREY else size.line_pt,
        "linestyle": one.dash,
    }
    band: dict[str, Any] = {"facecolor": one.colour, "alpha": 0.16, "linewidth": 0}
    low, high = sorted(axes.get_xlim())
    key: Artist = Line2D([], [], **style)
    if one.to is not None:
        span = axes.axvspan if one.x is not None else axes.axhspan
        span(one.x if one.x is not None else one.y or 0.0, one.to, zorder=0, **band)
        key = Patch(**band)
    elif one.x is not None:
        axes.axvline(one.x, zorder=2, **style)
    elif one.y is not None:
        bottom, top = sorted(axes.get_ylim())
        if not one.if_near or bottom <= one.y <= top:
            axes.axhline(one.y, zorder=2, **style)
    elif one.at is not None:
        spaced = np.geomspace if axes.get_xscale() == "log" else np.linspace
        places = spaced(low, high, 200)
        values, *edges = np.atleast_2d(np.asarray(one.at(places)))
        axes.plot(places, values, zorder=1, scalex=False, scaley=False, **style)
        if edges:
            axes.fill_between(places, *edges, zorder=0, **band)
    return {one.label: key} if one.label else {}
