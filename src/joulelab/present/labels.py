"""Placement of point and line names, and of the legend, without overlaps.

Names of points are tried at positions around the point, near ones first; otherwise a line ties the
name at the nearest free position to its point. Names of lines are at the right of the axes, moved
apart. Positions are only known after layout, so names of points are drawn last and do not change
the layout.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from joulelab.present.axes import Floats
from joulelab.present.style import GREY, POINTS_PER_IN, Size

AROUND = ((1, 1), (1, 0), (0, 1), (0, -1), (1, -1), (-1, -1), (-1, 0), (-1, 1))
"""Directions from a point, the best places for a name first."""
FAR = (1.0, 3.0, 5.5, 8.5, 12.0)
"""Distances to try, in sizes of a marker."""
TIED = 1.5
"""From this distance on a name needs a line to its point."""
OUTSIDE = 4.0
"""Penalty factor of a position outside the axes relative to a covered one."""
UNCLEAR = 0.4
"""Penalty of a name nearer to another point, or of a line through another name, as a covered share.
"""
EQUAL = 1e-9
SHARE = 0.9
"""Size of a point's name, as a share of that of small text; in print no text is below 7 pt."""
LEAST_PT = 7.0
WIDEST = 0.3
"""Share of the figure's width above which a name is wrapped."""
EDGE: Mapping[int, Literal["left", "center", "right"]] = {-1: "right", 0: "center", 1: "left"}
BASE: Mapping[int, Literal["top", "center", "bottom"]] = {-1: "top", 0: "center", 1: "bottom"}


def name_points(axes: Axes, points: Floats, names: Sequence[str], size: Size) -> None:
    """Write names next to points.

    Args:
        axes: of a figure that is laid out, with everything else drawn.
        points: (names, 2), in data coordinates.
        names: of the points; empty ones are not written.
        size: of the figure.
    """
    if not any(names):
        return
    frame = np.array(axes.get_window_extent().extents)
    namer = _Namer(axes, size, frame, axes.transData.transform(points), _taken(axes, size))
    for point, name in zip(points, names, strict=True):
        if name:
            namer.write(point, size.wrapped(name, WIDEST))


@dataclass
class _Namer:
    """Writes names into axes, one after the other; all positions are in pixels.

    Attributes:
        axes: that are laid out.
        size: of the figure.
        frame: box of the axes.
        points: (points, 2), all shown points.
        taken: (n, 4), boxes of drawn elements.
        written: (names, 4), boxes of the names so far.
    """

    axes: Axes
    size: Size
    frame: Floats
    points: Floats
    taken: Floats
    written: Floats = field(default_factory=lambda: np.empty((0, 4)))

    def write(self, point: Floats, name: str) -> None:
        """Write a name at the first free position, or where it covers least."""
        text = self.axes.annotate(
            name,
            (float(point[0]), float(point[1])),
            (0, 0),
            textcoords="offset points",
            fontsize=max(SHARE * self.size.small_pt, LEAST_PT),
            linespacing=1.0,
            zorder=5,
            # Legible even across a line.
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.3},
        )
        text.set_in_layout(False)
        extent, place = text.get_window_extent(), self.axes.transData.transform(point)
        wide_high = np.array([extent.width, extent.height])
        marker = self.size.marker_pt * self.size.dpi / POINTS_PER_IN
        least, chosen = np.inf, (FAR[0], np.array(AROUND[0]))
        for far, way in itertools.product(FAR, map(np.array, AROUND)):
            corner = place + way * far * marker + (way - 1) / 2 * wide_high
            box = np.concatenate([corner, corner + wide_high])
            tie = np.stack([place, place.clip(box[:2], box[2:])])
            cost = self._cost(box, tie, tied=far > TIED)
            if cost < least - EQUAL:
                least, chosen, best = cost, (far, way), (box, tie)
            if least <= EQUAL:
                break
        far, way = chosen
        text.set_position(tuple(way * far * self.size.marker_pt))
        text.set_horizontalalignment(EDGE[way[0]])
        text.set_verticalalignment(BASE[way[1]])
        self.written = np.vstack([self.written, best[0]])
        if far > TIED:
            self._tie(best[1])

    def _cost(self, box: Floats, tie: Floats, *, tied: bool) -> float:
        """Penalty of a position for a name, by covered area; 0 is free."""
        area = float(np.prod(box[2:] - box[:2]))
        covered = _overlap(box, np.vstack([self.taken, self.written])).sum()
        cost = covered + OUTSIDE * (area - _overlap(box, self.frame[None]).sum())
        if tied:
            crossed = [_overlap(spot, self.written).any() for spot in _along(tie, 4.0, 1.0)]
            unclear = any(crossed)
        else:
            away = np.hypot(*(self.points - self.points.clip(box[:2], box[2:])).T)
            unclear = bool((away < np.hypot(*(tie[1] - tie[0])) - 1).any())
        return float(cost + UNCLEAR * area * unclear)

    def _tie(self, ends: Floats) -> None:
        """A thin line from a point to its name."""
        x, y = self.axes.transData.inverted().transform(ends).T
        line = Line2D(x, y, color=GREY, linewidth=self.size.thin_pt, zorder=1)
        line.set_in_layout(False)
        self.axes.add_artist(line)
        self.taken = np.vstack([self.taken, _along(ends, 4.0, 1.0)])


def _taken(axes: Axes, size: Size) -> Floats:
    """Boxes, (n, 4), in pixels, that cover the markers and lines in some axes."""
    pixels_per_pt = size.dpi / POINTS_PER_IN
    spaced = 0.5 * size.small_pt * pixels_per_pt
    boxes = []
    for line in axes.lines:
        places = line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float))
        if line.get_marker() not in {"None", "", None}:
            boxes.append(_around(places, 0.52 * line.get_markersize() * pixels_per_pt))
        if line.get_linestyle() != "None":
            if line.get_drawstyle() == "steps-post":
                corners = np.stack([places[1:, 0], places[:-1, 1]], axis=1)
                places = np.insert(places, np.arange(1, len(places)), corners, axis=0)
            boxes.append(_along(places, spaced, 0.6 * line.get_linewidth() * pixels_per_pt))
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for segment in collection.get_segments():
                places = axes.transData.transform(np.asarray(segment, dtype=float))
                boxes.append(_along(places, spaced, 0.6 * size.line_pt * pixels_per_pt))
    found: Floats = np.concatenate([np.empty((0, 4)), *boxes])
    return found[np.isfinite(found).all(axis=1)]


def _around(places: Floats, half: float) -> Floats:
    boxes: Floats = np.concatenate([places - half, places + half], axis=1)
    return boxes


def _along(places: Floats, spaced: float, half: float) -> Floats:
    """Boxes along a polyline."""
    spots = []
    for one, other in itertools.pairwise(places):
        length = np.hypot(*(other - one))
        if np.isfinite(length):
            spots.append(np.linspace(one, other, max(2, int(min(length, 5e3) / spaced) + 1)))
    return _around(np.concatenate([np.empty((0, 2)), *spots]), half)


def _overlap(box: Floats, others: Floats) -> Floats:
    """Overlap areas of a box with others, (n,), in square pixels."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared: Floats = width.clip(min=0) * height.clip(min=0)
    return shared


def name_end(
    axes: Axes, end: tuple[float, float], name: str, colour: str, size: Size
) -> Annotation:
    """Write a name to the right of the axes, tied to the end of a line; `part` moves it."""
    return axes.annotate(
        name,
        end,
        (1.03, 0.5),
        textcoords="axes fraction",
        color=colour,
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


def part(axes: Axes, names: Sequence[Annotation]) -> None:
    """Move names next to the axes of a laid-out figure apart, as little as possible."""
    if not names:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform(name.xy)[1]) for name in names]
    # An annotation's own extent has its arrow in it.
    tall = max(super(Annotation, name).get_window_extent().height for name in names)
    least = 1.1 * tall / axes.get_window_extent().height
    for name, height in zip(names, spread(wanted, least), strict=True):
        name.set_position((1.03, height))


def spread(places: Sequence[float], least: float, top: float = 1.0) -> list[float]:
    """Positions moved apart to a minimum distance, in the same order, as little as possible.

    Args:
        places: wanted positions, 0 to 1.
        least: distance between neighbours.
        top: the highest position allowed; the lowest is 0.

    >>> [round(place, 2) for place in spread([0.5, 0.5, 0.9], 0.2)]
    [0.4, 0.6, 0.9]
    """
    from scipy.optimize import isotonic_regression

    wanted = np.asarray(places, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = least * np.arange(len(wanted))
    # With distances subtracted, the constraint is a non-decreasing order.
    free = isotonic_regression(wanted[order] - steps).x
    placed = np.empty(len(wanted))
    placed[order] = np.clip(free, 0.0, max(top - steps[-1], 0.0)) + steps
    return [float(place) for place in placed]


def legend_above(figure: Figure, entries: Mapping[str, Artist], size: Size) -> None:
    """One legend for all panels, above them, in as many columns as its longest entry allows.

    The figure grows by what the legend takes.
    """
    if not entries:
        return
    names = [textwrap.fill(name, size.letters(0.8)) for name in entries]
    longest = max(len(line) for name in names for line in name.split("\n"))
    # A handle and its gaps are about seven letters wide.
    columns = max(1, min(len(names), int(size.letters(0.97) / (longest + 7))))
    lines = -(-len(names) // columns) * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + size.line_in(lines + 0.5))
    figure.legend(
        list(entries.values()),
        names,
        loc="outside upper center",
        ncols=columns,
    )
