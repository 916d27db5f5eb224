"""The critical-difference diagram: mean ranks, and which of them do not differ.

Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006), figure 1:
treatments stand on an axis of mean ranks, here the best at the left, and a bar joins those that
the test does not tell apart::

                1         2         3         4
                |----|----|---|-----|-----|---|
                     |        =============         not told apart
    A (1.5) ---------+        |     |     +-------- D (3.6)
    B (2.4) ------------------+     +-------------- C (3.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.present.style import BLUE, GREY, VERMILLION, Size, Width, styled

# Shares of the width: names on either side, and what stays free beside them.
NAMES, GAP = 0.3, 0.012
# Heights in lines of small text, from the axis downwards; then upwards.
FIRST_BAR, BETWEEN_BARS, BEFORE_NAMES, BETWEEN_NAMES = 0.6, 0.55, 1.1, 0.35
AXIS_TEXT, DIFFERENCE = 1.8, 2.3
FEWEST = 2


def critical_difference_figure(
    mean_ranks: Mapping[str, float],
    critical_difference: float | None,
    groups_not_different: Sequence[Sequence[str]],
    test: str = "",
    width: Width = "column",
) -> Figure:
    """Mean ranks of treatments, with bars that join those that do not differ.

    Args:
        mean_ranks: by treatment, 1 the best.
        critical_difference: of Nemenyi's test, in ranks; ``None`` where a test without one was
            made, for instance Wilcoxon's with Holm's correction.
        groups_not_different: names of treatments that the test does not tell apart; a group within
            another has no bar of its own.
        test: said underneath, for instance ``"Nemenyi, 12 configurations, p < 0.05"``.
        width: of the figure.

    Raises:
        UsageError: fewer than two treatments, a rank that is unknown, or a group with a name that
            has no rank.
    """
    _check(mean_ranks, groups_not_different)
    bars = joined(mean_ranks, groups_not_different)
    with styled(width) as size:
        sides = _sides(mean_ranks, size)
        first = FIRST_BAR + BETWEEN_BARS * len(bars) + BEFORE_NAMES
        said = size.wrapped(test, 0.95) if test else ""
        bottom = first + max(sum(map(_lines, side.values())) for side in sides)
        end = bottom + (said.count("\n") + 1.3 if said else 0)
        top = AXIS_TEXT + (DIFFERENCE if critical_difference is not None else 0)
        figure = Figure(figsize=(size.width_in, size.line_in(top + end)))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(end, -top))
        axes.set_axis_off()
        last = max(len(mean_ranks), math.ceil(1 + (critical_difference or 0)))
        axis = _RankAxis(last)
        _axis(axes, axis, size)
        if critical_difference is not None:
            _difference(axes, axis, critical_difference, size)
        for side, names in enumerate(sides):
            _names(axes, axis, mean_ranks, names, first, right=bool(side), size=size)
        for row, (best, worst) in enumerate(bars):
            at = FIRST_BAR + BETWEEN_BARS * row
            ends = [axis.place(best) - GAP, axis.place(worst) + GAP]
            axes.plot(ends, [at, at], color=VERMILLION, lw=2.4 * size.line_pt, label="bar")
        axes.text(0.5, bottom, said, fontsize=size.small_pt, ha="center", va="top")
    return figure


def joined(
    mean_ranks: Mapping[str, float], groups: Sequence[Sequence[str]]
) -> list[tuple[float, float]]:
    """Best and worst rank of each group of two or more that lies within no other, best first.

    >>> joined({"a": 1.2, "b": 1.8, "c": 3.0}, [["a", "b"], ["b"], ["b", "c"], ["a"]])
    [(1.2, 1.8), (1.8, 3.0)]
    """
    spans = sorted(
        {
            (min(mean_ranks[name] for name in group), max(mean_ranks[name] for name in group))
            for group in groups
            if len(set(group)) >= FEWEST
        }
    )
    return [
        (low, high)
        for low, high in spans
        if not any((a, b) != (low, high) and a <= low and high <= b for a, b in spans)
    ]


@dataclass(frozen=True)
class _RankAxis:
    """Ranks from 1 to `last` between the names on both sides."""

    last: int

    def place(self, rank: float) -> float:
        """Where a rank stands across the figure, 0 to 1."""
        first, final = NAMES + 3 * GAP, 1 - NAMES - 3 * GAP
        return first + (final - first) * (rank - 1) / (self.last - 1)


def _check(mean_ranks: Mapping[str, float], groups: Iterable[Iterable[str]]) -> None:
    if len(mean_ranks) < FEWEST:
        raise UsageError(
            f"a critical-difference diagram of {formats.count(len(mean_ranks), 'treatment')}",
            "give it at least 2",
        )
    for name, rank in mean_ranks.items():
        if not formats.known(rank) or not 1 <= rank <= len(mean_ranks):
            raise UsageError(
                f"{name} has a mean rank of {rank}",
                f"give each of {len(mean_ranks)} treatments a rank from 1 to {len(mean_ranks)}",
            )
    for name in (name for group in groups for name in group):
        if name not in mean_ranks:
            raise UsageError(f"{name} has no mean rank", "treatments: " + ", ".join(mean_ranks))


def _sides(mean_ranks: Mapping[str, float], size: Size) -> tuple[dict[str, str], dict[str, str]]:
    """The better half for the left, the other for the right, as they are written; outer first."""
    ordered = sorted(mean_ranks, key=lambda name: mean_ranks[name])
    written = {
        name: size.wrapped(f"{name} ({formats.significant(mean_ranks[name])})", NAMES)
        for name in ordered
    }
    half = (len(ordered) + 1) // 2
    left, right = ordered[:half], ordered[half:][::-1]
    return {name: written[name] for name in left}, {name: written[name] for name in right}


def _lines(text: str) -> float:
    return text.count("\n") + 1 + BETWEEN_NAMES


def _axis(axes: Axes, axis: _RankAxis, size: Size) -> None:
    ends = [axis.place(1), axis.place(axis.last)]
    axes.plot(ends, [0, 0], color=GREY, linewidth=size.thin_pt)
    for rank in MaxNLocator(8, integer=True).tick_values(1, axis.last):
        if 1 <= rank <= axis.last:
            place = axis.place(rank)
            axes.plot([place, place], [0, -0.3], color=GREY, linewidth=size.thin_pt)
            axes.text(
                place, -0.4, formats.tick(rank), fontsize=size.small_pt, ha="center", va="bottom"
            )
    axes.text(ends[0] - 2 * GAP, -0.4, "mean rank", fontsize=size.small_pt, ha="right", va="bottom")


def _difference(axes: Axes, axis: _RankAxis, difference: float, size: Size) -> None:
    """The critical difference as a length, above the axis."""
    first, last = axis.place(1), axis.place(1 + difference)
    at = -AXIS_TEXT - 0.6
    axes.errorbar(
        (first + last) / 2,
        at,
        xerr=(last - first) / 2,
        fmt="none",
        ecolor=BLUE,
        elinewidth=size.line_pt,
        capsize=2,
        capthick=size.line_pt,
    )
    axes.text(
        first,
        at - 0.4,
        f"critical difference {formats.significant(difference)}",
        fontsize=size.small_pt,
        ha="left",
        va="bottom",
    )


def _names(
    axes: Axes,
    axis: _RankAxis,
    mean_ranks: Mapping[str, float],
    names: Mapping[str, str],
    first: float,
    right: bool,
    size: Size,
) -> None:
    """A line from each rank down and outwards to its name; the outermost first, so none cross."""
    edge, inwards = (1 - NAMES, -1) if right else (NAMES, 1)
    at = first
    for name, text in names.items():
        middle = at + (_lines(text) - BETWEEN_NAMES - 1) / 2
        place = axis.place(mean_ranks[name])
        axes.plot(
            [place, place, edge + inwards * GAP],
            [0, middle, middle],
            color=BLUE,
            linewidth=size.line_pt,
            marker="o",
            markevery=[0],
            label=name,
            zorder=3,
        )
        axes.text(
            edge, middle, text, fontsize=size.small_pt, ha="left" if right else "right", va="center"
        )
        at += _lines(text)
