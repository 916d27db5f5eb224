"""Effects with their confidence intervals, one under another (a forest plot)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.report.paper.layout import require_drawable
from joulelab.report.style import BLUE, GREY, Size, Width, single, styled

NAMES = 0.36
# Beyond that ratio of ends, tens are what a logarithmic axis has to show.
DECADES = 30.0


@dataclass(frozen=True)
class Effect:
    """One line of the figure.

    Attributes:
        name: what is estimated.
        value: the estimate; NaN where there is none.
        low: lower end of its confidence interval; NaN where unknown.
        high: upper end.
        reason: why there is no estimate, in words.
        group: heading above it and those that follow with the same.
    """

    name: str
    value: float
    low: float
    high: float
    reason: str = ""
    group: str = ""


def interval_figure(
    effects: Sequence[Effect],
    label: str,
    reference: float | None = None,
    words: Callable[[float], str] = formats.significant,
    logarithmic: bool = False,
    width: Width = "column",
) -> Figure:
    """Estimates and intervals; those that leave the reference out are filled, others hollow.

    Args:
        effects: from top to bottom.
        label: of the axis, for instance ``"ratio of net energies, 95 % interval"``.
        reference: where there is no effect: 1 for a ratio, 0 for a difference.
        words: how a value is written at the right.
        logarithmic: for ratios, so that half and twice are equally far from 1.
        width: of the figure.

    Raises:
        UsageError: no effect is known, or one is not above 0 on a logarithmic axis.
    """
    known = [effect for effect in effects if formats.known(effect.value)]
    require_drawable(len(known), "effect")
    ends = _ends(known, reference)
    if logarithmic and min(ends) <= 0:
        raise UsageError(
            f"{label}: {formats.number(min(ends))} has no place on a logarithmic axis",
            "draw it with logarithmic=False",
        )
    with styled(width) as size:
        rows = _rows(effects, size)
        depth = rows[-1].top + rows[-1].lines
        figure, axes = single(size.line_in(depth + 3.5), width)
        for row in rows:
            _draw(axes, row, reference, words, size)
        if reference is not None:
            axes.axvline(reference, color=GREY, linewidth=size.line_pt, zorder=1)
        axes.set_yticks([row.middle for row in rows], [row.text for row in rows], linespacing=1.0)
        for text, row in zip(axes.get_yticklabels(), rows, strict=True):
            text.set_fontweight("bold" if row.effect is None else "normal")
        axes.tick_params(axis="y", length=0, labelsize=size.small_pt)
        axes.set_ylim(depth, 0)
        _value_axis(axes, ends, logarithmic)
        axes.set_xlabel(size.wrapped(label, 0.7), linespacing=1.1)
        axes.grid(axis="x")
    return figure


@dataclass(frozen=True)
class _Row:
    """A heading, or an effect: what is written, how high, and where it begins, in lines."""

    text: str
    top: float
    lines: float
    effect: Effect | None

    @property
    def middle(self) -> float:
        return self.top + self.lines / 2


def _rows(effects: Sequence[Effect], size: Size) -> list[_Row]:
    rows: list[_Row] = []
    top, group = 0.0, ""
    for effect in effects:
        entries: list[tuple[str, Effect | None]] = [(effect.name, effect)]
        if effect.group != group:
            entries.insert(0, (effect.group, None))
            group = effect.group
        for name, what in entries:
            text = size.wrapped(name, NAMES)
            beside = "" if what is None or formats.known(what.value) else _why(what, size)
            lines = max(text.count("\n"), beside.count("\n")) + 1.4
            rows.append(_Row(text, top, lines, what))
            top += lines
    return rows


def _draw(
    axes: Axes, row: _Row, reference: float | None, words: Callable[[float], str], size: Size
) -> None:
    effect = row.effect
    if effect is None:
        return
    beside: dict[str, Any] = {"va": "center", "fontsize": size.small_pt}
    if not formats.known(effect.value):
        place, why = axes.get_yaxis_transform(), _why(effect, size)
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(0.02, row.middle, why, transform=place, color=GREY, bbox=ground, **beside)
        return
    bounded = formats.known(effect.low) and formats.known(effect.high)
    apart = reference is not None and bounded and not effect.low <= reference <= effect.high
    if bounded:
        axes.plot([effect.low, effect.high], [row.middle] * 2, color=BLUE, zorder=2)
    axes.plot(
        [effect.value],
        [row.middle],
        marker="s",
        color=BLUE if apart else "white",
        markeredgecolor=BLUE,
        markeredgewidth=size.line_pt,
        label=effect.name,
        zorder=3,
    )
    ends = f" [{words(effect.low)}, {words(effect.high)}]" if bounded else ", no interval"
    axes.text(
        1.02,
        row.middle,
        formats.signed(f"{words(effect.value)}{ends}"),
        transform=axes.get_yaxis_transform(),
        **beside,
    )


def _why(effect: Effect, size: Size) -> str:
    """Why an effect has no value, as it is written."""
    return size.wrapped(effect.reason or formats.UNKNOWN, 0.4)


def _ends(known: Sequence[Effect], reference: float | None) -> tuple[float, float]:
    values = [value for effect in known for value in (effect.low, effect.value, effect.high)]
    shown = [value for value in (*values, reference) if formats.known(value)]
    return min(shown), max(shown)


def _value_axis(axes: Axes, ends: tuple[float, float], logarithmic: bool) -> None:
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        subs = (1.0,) if ends[1] / ends[0] > DECADES else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=9))
        half = 0.05 * (np.log(ends[1] / ends[0]) or 1.0)
        axes.set_xlim(ends[0] * np.exp(-half), ends[1] * np.exp(half))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        half = 0.05 * ((ends[1] - ends[0]) or abs(ends[1]) or 1.0)
        axes.set_xlim(ends[0] - half, ends[1] + half)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.tick(value)))
