"""A logarithmic axis of times, which are written as people say them, and the line of a limit."""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from joulelab import formats
from joulelab.report.style import INK, Size

MULTIPLES = ((2.0, (1.0,)), (1.0, (1.0, 3.0)), (0.0, (1.0, 2.0, 5.0)))
"""Over so many decades, ticks at which multiples of powers of ten."""
MILLISECONDS_BELOW_S = 0.1
DOTS = (0, (1, 2))


def time_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Few ticks on an axis that is logarithmic and has its limits.

    Args:
        axes: whose axis.
        which: of the two.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    decades = math.log10(high / low)
    subs = next(multiples for least, multiples in MULTIPLES if decades >= least)
    axis.set_major_locator(LogLocator(10, subs=subs, numticks=9))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: time_tick(value)))


def time_tick(seconds: float) -> str:
    """A time at an axis: ``10 ms``, ``0.3 s``, ``100 s``.

    >>> time_tick(0.01), time_tick(0.3), time_tick(100.0)
    ('10 ms', '0.3 s', '100 s')
    """
    return (
        f"{formats.tick(1e3 * seconds)} ms"
        if seconds < MILLISECONDS_BELOW_S
        else f"{formats.tick(seconds)} s"
    )


def limit_line(axes: Axes, which: Literal["x", "y"], limit_s: float, size: Size) -> None:
    """Draw a limit of the response time across the axes.

    Args:
        axes: with times on one axis.
        which: the axis of the times.
        limit_s: the limit.
        size: of the figure.
    """
    draw = axes.axvline if which == "x" else axes.axhline
    draw(limit_s, color=INK, linewidth=size.thin_pt, linestyle=DOTS)


def limit_key(limit: str | None, size: Size) -> dict[str, Line2D]:
    """The entry of a limit, in words, in a legend; none where there is no limit."""
    if limit is None:
        return {}
    line = Line2D([], [], color=INK, linewidth=size.thin_pt, linestyle=DOTS)
    return {f"limit, {limit}": line}
