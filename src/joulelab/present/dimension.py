"""Two searches where only one of three variables matters (Figure 9 of CAIN 2023).

The cubes are drawn in cabinet projection, in which the front is undistorted and depth goes up and
to the right at half its length::

    across = x1 + d cos(a) x2        upwards = x3 + d sin(a) x2        d = 0.5, a = 35 degrees

So a point's shadow on the front edge of the floor is directly above the same x1 in the response
curve below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from joulelab.present.panels import lettered
from joulelab.present.parts import Width
from joulelab.present.style import GREY, PALE, Look, Size, looks, styled

Floats = NDArray[np.float64]

HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.6, "column": 7.2, "page": 4.3}
DEPTH = 0.5
ANGLE = math.radians(35)
ACROSS, UPWARDS = DEPTH * math.cos(ANGLE), DEPTH * math.sin(ANGLE)
AROUND = 0.06


@dataclass(frozen=True)
class Tried:
    """The trials of one search.

    Attributes:
        title: name of the search.
        points: (n, 3), between 0 and 1; the first variable matters.
        responses: (n,).
        said: text next to the response.
    """

    title: str
    points: Floats
    responses: Floats
    said: str


def dimension_figure(
    searches: Sequence[Tried], response: Callable[[Floats], Floats], width: Width = "page"
) -> Figure:
    """The trials of two searches, and their values of the important variable.

    Args:
        searches: both of them.
        response: of the first variable.
        width: of the figure; in a column the searches are stacked.
    """
    known = looks(search.title for search in searches)
    titles = lettered([search.title for search in searches])
    across = 1 if width == "column" else 2
    with styled(width) as size:
        figure = Figure(figsize=(size.width_in, HEIGHTS_IN[width]), layout="constrained")
        rows = 2 * len(searches) // across
        ratios = [2.0, 1.0] * (rows // 2)
        grid = figure.subplots(rows, across, squeeze=False, height_ratios=ratios)
        for number, search in enumerate(searches):
            column = number % across
            row = 2 * (number // across)
            cube, curve = grid[row, column], grid[row + 1, column]
            _cube(cube, search, known[search.title], size)
            cube.set_title(titles[number])
            _response(curve, response, search, known[search.title], size)
            curve.set_ylabel("" if column else "response")
    return figure


def projected(points: Floats) -> Floats:
    """Points in the plane of the paper.

    Args:
        points: (..., 3), x1 to the right, x2 into the paper, x3 upwards.

    Returns:
        (..., 2).
    """
    x1, x2, x3 = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x1 + ACROSS * x2, x3 + UPWARDS * x2], axis=-1)


def _cube(axes: Axes, search: Tried, look: Look, size: Size) -> None:
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    pairs = itertools.combinations(corners, 2)
    edges = [pair for pair in pairs if np.abs(pair[0] - pair[1]).sum() == 1]
    floor, front = search.points * (1.0, 1.0, 0.0), search.points * (1.0, 0.0, 0.0)
    shadows = np.stack([search.points, floor, front], axis=1)
    for lines, style in (
        (np.array(edges), {"colors": GREY}),
        (shadows, {"colors": look.colour, "alpha": 0.3}),
    ):
        axes.add_collection(
            LineCollection(list(projected(lines)), linewidths=size.thin_pt, **style)
        )
    _rounds(axes, projected(search.points), search, look, size)
    axes.set_ylim(-2 * AROUND, 1 + UPWARDS + AROUND)
    axes.set_axis_off()
    axes.text(1 + ACROSS / 2 + 0.05, UPWARDS / 2 - 0.02, "x2", ha="left", va="top")
    axes.text(-0.03, 0.5, "x3", ha="right", va="center")


def _rounds(axes: Axes, places: Floats, search: Tried, look: Look, size: Size) -> None:
    """One marker per round, with a tick on the axis of the important variable."""
    style: dict[str, Any] = {"linestyle": "none", "color": look.colour, "clip_on": False}
    axes.plot(
        *places.T,
        marker=look.marker,
        label="rounds",
        zorder=3,
        **style,
    )
    axes.plot(
        search.points[:, 0],
        np.zeros(len(search.points)),
        marker="|",
        markeredgecolor=look.colour,
        markersize=2.2 * size.marker_pt,
        markeredgewidth=size.line_pt,
        label="values tried",
        zorder=4,
        **style,
    )
    axes.set_xlim(-AROUND, 1 + ACROSS + AROUND)


def _response(
    axes: Axes, response: Callable[[Floats], Floats], search: Tried, look: Look, size: Size
) -> None:
    x1 = np.linspace(0.0, 1.0, 401)
    axes.plot(x1, response(x1), color=GREY, label="response")
    axes.vlines(search.points[:, 0], 0, search.responses, color=PALE, linewidth=size.thin_pt)
    _rounds(axes, np.stack([search.points[:, 0], search.responses], axis=1), search, look, size)
    axes.set_ylim(0, 1.1)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("x1, the variable that matters", x=(0.5 + AROUND) / (1 + ACROSS + 2 * AROUND))
    axes.spines["bottom"].set_bounds(0, 1)
    axes.text(1 + AROUND, 0.95, search.said, va="top", linespacing=1.25)
