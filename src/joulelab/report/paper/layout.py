"""How the parts of a figure are laid out: panels, their titles, one legend, labels kept apart."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from joulelab.errors import UsageError
from joulelab.report.style import SIZES, Size, Width


def panels(
    count: int, columns: int, panel_height_in: float, width: Width
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of axes, the last row not always full.

    Args:
        count: how many panels.
        columns: at most so many side by side.
        panel_height_in: of one of them; `legend_above` adds its own.
        width: of the figure.
    """
    across = min(count, columns)
    rows = -(-count // across)
    figure = Figure(figsize=(SIZES[width].width_in, rows * panel_height_in), layout="constrained")
    every = list(figure.subplots(rows, across, squeeze=False).flat)
    for axes in every[count:]:
        axes.remove()
    return figure, every[:count]


def panel_titles(titles: Sequence[str]) -> list[str]:
    """Titles of panels as the paper has them: ``(a) DensePolyNN``; one alone has no letter.

    Args:
        titles: without letters.

    >>> panel_titles(["DensePolyNN", "SimpleCNN"])
    ['(a) DensePolyNN', '(b) SimpleCNN']
    """
    if len(titles) == 1:
        return list(titles)
    return [f"({_letters(number)}) {title}".rstrip() for number, title in enumerate(titles)]


def set_titles(grid: Sequence[Axes], titles: Sequence[str], columns: int, size: Size) -> None:
    """Give each panel its lettered title, on as many lines as its width asks for.

    Args:
        grid: the panels.
        titles: theirs, without letters.
        columns: at most so many panels side by side.
        size: of the figure.
    """
    # Numbers and a label stand beside the axes, and a title is written larger than they are.
    share = 0.8 / min(len(grid), columns) * size.small_pt / size.text_pt
    for axes, title in zip(grid, panel_titles(titles), strict=True):
        axes.set_title(size.wrapped(title, share))


def _letters(number: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab`` ..."""
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("a") + last)


def legend_above(figure: Figure, entries: Mapping[str, Artist], size: Size) -> None:
    """One legend for all panels, above them, in as many columns as its longest entry allows.

    The figure grows by what the legend takes.
    """
    if not entries:
        return
    names = [textwrap.fill(name, size.letters(0.8)) for name in entries]
    longest = max(len(line) for name in names for line in name.split("\n"))
    # A handle and the gaps beside it are as wide as some seven letters.
    columns = max(1, min(len(names), int(size.letters(0.97) / (longest + 7))))
    lines = -(-len(names) // columns) * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + size.line_in(lines + 0.5))
    figure.legend(
        list(entries.values()),
        names,
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        handletextpad=0.5,
        columnspacing=1.2,
        borderaxespad=0.0,
    )


def spread(places: Sequence[float], least: float, top: float = 1.0) -> list[float]:
    """The places moved apart to a least distance, in the same order, as little as possible.

    Args:
        places: wanted positions, 0 to 1.
        least: distance between neighbours.
        top: the highest position allowed; the lowest is 0.

    >>> [round(place, 2) for place in spread([0.5, 0.5, 0.9], 0.2)]
    [0.4, 0.6, 0.9]
    """
    wanted = np.asarray(places, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = least * np.arange(len(wanted))
    # With the distances taken out, "in order and apart" is just "never falling".
    free = isotonic_regression(wanted[order] - steps).x
    placed = np.empty(len(wanted))
    placed[order] = np.clip(free, 0.0, max(top - steps[-1], 0.0)) + steps
    return [float(place) for place in placed]


def require_drawable(count: int, what: str) -> None:
    """Refuse an empty figure.

    Raises:
        UsageError: there is nothing to draw.
    """
    if not count:
        raise UsageError(f"a figure of no {what}", f"draw it where at least one {what} is known")
