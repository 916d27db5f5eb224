"""The critical-difference diagram: mean ranks, and groups that do not differ.

Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006), figure 1:
treatments are on an axis of mean ranks, here the best at the left, and bars join those that the
test does not distinguish::

                1         2         3         4
                |----|----|---|-----|-----|---|
                     |        =============         not distinguished
    A (1.5) ---------+        |     |     +-------- D (3.6)
    B (2.4) ------------------+     +-------------- C (3.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.present.parts import Width
from joulelab.present.style import BLUE, GREY, VERMILLION, Size, styled

# Shares of the width for names on either side, and for the margin.
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
        critical_difference: of Nemenyi's test, in ranks; ``None`` for a test without one, for
            instance Wilcoxon's with Holm's correction.
        groups_not_different: names of treatments that the test does not distinguish; a group within
            another one has no bar.
        test: text below, for instance ``"Nemenyi, 12 configurations, p < 0.05"``.
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
        last = max(len(mean_ranks), math.ceil(1 + (critical_difference or 0)))
        axes = figure.add_axes((0, 0, 1, 1), xlim=_across(last), ylim=(end, -top))
        axes.set_axis_off()
        _axis(axes, last, size)
        if critical_difference is not None:
            _difference(axes, critical_difference, size)
        for side, names in enumerate(sides):
            _names(axes, mean_ranks, names, first, right=bool(side), size=size)
        for row, (best, worst) in enumerate(bars):
            at = FIRST_BAR + BETWEEN_BARS * row
            ends = [best - _ranks(axes, GAP), worst + _ranks(axes, GAP)]
            axes.plot(ends, [at, at], color=VERMILLION, lw=2.4 * size.line_pt, label="bar")
        axes.text(
            0.5,
            bottom,
            said,
            transform=axes.get_yaxis_transform(),
            ha="center",
            va="top",
        )
    return figure


def _across(last: int) -> tuple[float, float]:
    """The ranks at the left and right edge of a figure with room for names on both sides."""
    beside = NAMES + 3 * GAP
    room = beside * (last - 1) / (1 - 2 * beside)
    return 1 - room, last + room


def _ranks(axes: Axes, share: float) -> float:
    """Number of ranks in a share of the width."""
    left, right = axes.get_xlim()
    return share * (right - left)


def joined(
    mean_ranks: Mapping[str, float], groups: Sequence[Sequence[str]]
) -> list[tuple[float, float]]:
    """Best and worst rank of each maximal group of two or more, best first.

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
    """The better half for the left, the other for the right; outer first."""
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


def _axis(axes: Axes, last: int, size: Size) -> None:
    axes.plot([1, last], [0, 0], color=GREY, linewidth=size.thin_pt)
    ticks = [t for t in MaxNLocator(8, integer=True).tick_values(1, last) if 1 <= t <= last]
    axes.vlines(ticks, -0.3, 0, color=GREY, linewidth=size.thin_pt)
    texts = [(rank, formats.tick(rank), "center") for rank in ticks]
    for rank, text, side in [*texts, (1 - _ranks(axes, 2 * GAP), "mean rank", "right")]:
        axes.text(rank, -0.4, text, ha=side, va="bottom")


def _difference(axes: Axes, difference: float, size: Size) -> None:
    """The critical difference as a length, above the axis."""
    at = -AXIS_TEXT - 0.6
    axes.plot([1, 1 + difference], [at, at], color=BLUE, marker="|", mec=BLUE)
    said = f"critical difference {formats.significant(difference)}"
    axes.text(1, at - 0.4, said, va="bottom")


def _names(
    axes: Axes,
    mean_ranks: Mapping[str, float],
    names: Mapping[str, str],
    first: float,
    right: bool,
    size: Size,
) -> None:
    """A line from each rank down and outwards to its name; the outermost first, so none cross."""
    left, end = axes.get_xlim()
    edge = (end - _ranks(axes, NAMES)) if right else (left + _ranks(axes, NAMES))
    inner = edge + (-1 if right else 1) * _ranks(axes, GAP)
    at = first
    for name, text in names.items():
        middle = at + (_lines(text) - BETWEEN_NAMES - 1) / 2
        rank = mean_ranks[name]
        axes.plot(
            [rank, rank, inner],
            [0, middle, middle],
            color=BLUE,
            marker="o",
            markevery=[0],
            label=name,
            zorder=3,
        )
        side = "left" if right else "right"
        axes.text(edge, middle, text, ha=side, va="center")
        at += _lines(text)
