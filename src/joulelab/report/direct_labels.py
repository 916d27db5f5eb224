"""Names beside points: each where it covers no point, no other name, and nothing outside the axes.

Places are tried in order around the point, near ones first; a name that fits nowhere is tied to its
point by a line from the free place nearest to it. Where a place lies is only known once the figure
is laid out, so that names are the last thing drawn, and do not change the layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from joulelab.report.style import GREY, POINTS_PER_IN, Size

AROUND = ((1, 1), (1, 0), (0, 1), (0, -1), (1, -1), (-1, -1), (-1, 0), (-1, 1))
"""Directions from a point, the best places for a name first."""
FAR = (1.0, 3.0, 5.5, 8.5)
"""Distances to try, in sizes of a marker."""
TIED = 1.5
"""From this distance on a name needs a line to its point."""
OUTSIDE = 4.0
"""So many times worse is a spot outside the axes than one that is covered."""
STEPS = 20
"""So many spots of a line between two points are kept free."""
SHARE = 0.9
"""Size of a name, as a share of that of small text."""
EDGE: Mapping[int, Literal["left", "center", "right"]] = {-1: "right", 0: "center", 1: "left"}
BASE: Mapping[int, Literal["top", "center", "bottom"]] = {-1: "top", 0: "center", 1: "bottom"}


def name_points(
    axes: Axes,
    points: npt.NDArray[np.float64],
    names: Sequence[str],
    obstacles: npt.NDArray[np.float64],
    size: Size,
) -> None:
    """Write names beside points.

    Args:
        axes: of a figure that is laid out, with everything else drawn.
        points: (names, 2), in data coordinates, joined by a line in this order.
        names: of the points.
        obstacles: (points, 2), every point shown in the axes.
        size: of the figure.
    """
    frame = axes.get_window_extent()
    to_pixels = axes.transData.transform
    taken = _boxes(to_pixels(obstacles), size.marker_pt, size)
    taken += _boxes(_between(to_pixels(points)), size.line_pt, size)
    for point, name in zip(points, names, strict=True):
        taken.append(_write(axes, point, name, taken, frame, size))


def _boxes(places: npt.NDArray[np.float64], wide_pt: float, size: Size) -> list[Bbox]:
    """A box around every place, a little wider than what is drawn there, in pixels."""
    half = 0.6 * wide_pt * size.dpi / POINTS_PER_IN
    return [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in places]


def _between(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Places along the line that joins some, shape (places, 2)."""
    shares = np.linspace(0, 1, STEPS)[1:-1, None]
    parts = [one + shares * (other - one) for one, other in itertools.pairwise(places)]
    return np.concatenate([*parts, np.empty((0, 2))])


def _write(
    axes: Axes,
    point: npt.NDArray[np.float64],
    name: str,
    taken: Sequence[Bbox],
    frame: Bbox,
    size: Size,
) -> Bbox:
    """Write one name in the first free place, or else where it covers least."""
    costs = {}
    for distance, direction in itertools.product(FAR, AROUND):
        tried = _annotation(axes, point, name, distance, direction, size)
        box = tried.get_window_extent()
        tried.remove()
        covered = sum(_overlap(box, other) for other in taken)
        costs[distance, direction] = (covered + OUTSIDE * _outside(box, frame), box)
        if costs[distance, direction][0] == 0:
            break
    (distance, direction), (_, box) = min(costs.items(), key=lambda one: one[1][0])
    written = _annotation(axes, point, name, distance, direction, size)
    if distance > TIED:
        _tie(axes, point, box, size)
    written.set_in_layout(False)
    return box


def _annotation(
    axes: Axes,
    point: npt.NDArray[np.float64],
    name: str,
    distance: float,
    direction: tuple[int, int],
    size: Size,
) -> Annotation:
    away = distance * size.marker_pt
    x, y = direction
    return axes.annotate(
        name,
        (float(point[0]), float(point[1])),
        (x * away, y * away),
        textcoords="offset points",
        fontsize=SHARE * size.small_pt,
        ha=EDGE[x],
        va=BASE[y],
        linespacing=1.0,
    )


def _tie(axes: Axes, point: npt.NDArray[np.float64], box: Bbox, size: Size) -> None:
    """A thin line from a point to the nearest spot of its name's box."""
    x, y = axes.transData.transform(point)
    end = axes.transData.inverted().transform(
        (np.clip(x, box.x0, box.x1), np.clip(y, box.y0, box.y1))
    )
    (line,) = axes.plot(
        [point[0], end[0]],
        [point[1], end[1]],
        color=GREY,
        linewidth=size.thin_pt,
        zorder=1,
        scalex=False,
        scaley=False,
    )
    line.set_in_layout(False)


def _overlap(one: Bbox, other: Bbox) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _outside(box: Bbox, frame: Bbox) -> float:
    """Area of a box that lies outside a frame."""
    return float(box.width * box.height) - _overlap(box, frame)
