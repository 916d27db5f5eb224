"""The panels of a figure: their grid, titles, axes, references and the one legend above them.

Every figure function takes its data as one data frame, as data frames by the title of their panel
(lettered if there are several, as in papers), or as `Panel` objects, which may have different axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from joulelab.errors import UsageError
from joulelab.present.axes import Axis, Reference, Which, draw_reference, set_scale, set_ticks
from joulelab.present.labels import legend_above
from joulelab.present.parts import Width
from joulelab.present.style import Look, Size, fix_layout, looks

HEIGHTS_IN: Mapping[Width, float] = {"screen": 4.2, "column": 2.7, "page": 3.2}
PANEL_HEIGHTS_IN: Mapping[Width, float] = {"screen": 2.3, "column": 1.8, "page": 1.8}
COLUMNS: Mapping[Width, int] = {"screen": 2, "column": 1, "page": 3}
"""Height of a single panel, of one of several, and number of panels side by side."""
FIRST, LETTERS = "a", 26
WHICH: tuple[Which, Which] = ("x", "y")


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        rows: what it shows.
        title: above it.
        x: what its axis shows, if different from the other panels.
        y: the same for the vertical axis.
        references: of this panel alone.
        height: as a share of the others'.
    """

    rows: pd.DataFrame
    title: str = ""
    x: Axis | None = None
    y: Axis | None = None
    references: tuple[Reference, ...] = ()
    height: float = 1.0

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Both axes of a panel from `as_panels`."""
        assert self.x is not None
        assert self.y is not None
        return self.x, self.y


Panels = pd.DataFrame | Mapping[str, pd.DataFrame] | Sequence[Panel]


def as_panels(given: Panels, x: Axis, y: Axis) -> list[Panel]:
    """The panels, each with its axes; titles of a mapping are lettered.

    Raises:
        UsageError: there is nothing to draw.
    """
    if isinstance(given, pd.DataFrame):
        given = [Panel(given)]
    elif isinstance(given, Mapping):
        titles = lettered(list(given))
        given = [Panel(rows, t) for t, rows in zip(titles, given.values(), strict=True)]
    made = [replace(one, x=one.x or x, y=one.y or y) for one in given]
    require_drawable(sum(len(one.rows) for one in made), x, y)
    return made


def complete(panel: Panel, absent: Mapping[str, Any]) -> Panel:
    """The panel with all columns; absent ones get a constant value.

    A column of words has only words.
    """
    rows = panel.rows.copy()
    for name, value in absent.items():
        if name not in rows:
            rows[name] = value
        elif isinstance(value, str):
            rows[name] = rows[name].fillna("").astype(str)
    return replace(panel, rows=rows)


def parts(rows: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows by their value in a column of words, in order of appearance."""
    for name, those in rows.groupby(column, sort=False):
        yield str(name), those


def known(panels: Iterable[Panel], x: Axis, y: Axis) -> list[Panel]:
    """The panels without the rows that lack one of the two values.

    Raises:
        UsageError: there is nothing to draw.
    """
    left = [
        replace(one, rows=one.rows.dropna(subset=[axis.of for axis in one.axes if axis.of]))
        for one in panels
    ]
    require_drawable(sum(len(one.rows) for one in left), x, y)
    return left


def require_drawable(count: int, *axes: Axis) -> None:
    """Refuse an empty figure.

    Raises:
        UsageError: there is nothing to draw.
    """
    if not count:
        what = " and ".join(axis.of for axis in axes if axis.of)
        raise UsageError(f"nothing to draw: no row has {what}", "omit the figure")


def lettered(titles: Sequence[str]) -> list[str]:
    """Lettered panel titles; a single one has no letter.

    >>> lettered(["DensePolyNN", "SimpleCNN"])
    ['(a) DensePolyNN', '(b) SimpleCNN']
    """
    if len(titles) == 1:
        return list(titles)
    return [f"({_letters(number)}) {title}".rstrip() for number, title in enumerate(titles)]


def _letters(number: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab`` ..."""
    before, last = divmod(number, LETTERS)
    return (_letters(before - 1) if before else "") + chr(ord(FIRST) + last)


def group_looks(
    panels: Iterable[Panel], column: str, given: Mapping[str, Look] | None
) -> dict[str, Look]:
    """A look for each group of all panels: the one given, or the next in order."""
    groups = [str(name) for one in panels for name in one.rows[column].unique()]
    return looks(groups) | dict(given or {})


@dataclass
class Canvas:
    """A figure with its panels during drawing.

    Attributes:
        panels: the panels.
        width: of the figure.
        size: that goes with it.
        columns: panels side by side.
        height_in: of one panel.
        figure: without axes labels and legend until `finish`.
        grid: the axes of the panels.
        entries: of the legend so far.
    """

    panels: Sequence[Panel]
    width: Width
    size: Size
    columns: int | None = None
    height_in: float | None = None
    figure: Figure = field(init=False)
    grid: list[Axes] = field(init=False)
    entries: dict[str, Artist] = field(default_factory=dict)

    def __post_init__(self) -> None:
        several = len(self.panels)
        self.columns = min(several, self.columns or COLUMNS[self.width])
        heights = HEIGHTS_IN if several == 1 else PANEL_HEIGHTS_IN
        rows = [self.panels[i : i + self.columns] for i in range(0, several, self.columns)]
        ratios = [row[0].height for row in rows]
        height_in = (self.height_in or heights[self.width]) * sum(ratios)
        self.figure = Figure(figsize=(self.size.width_in, height_in), layout="constrained")
        axes = self.figure.subplots(len(rows), self.columns, squeeze=False, height_ratios=ratios)
        self.grid = list(axes.flat)[:several]
        for empty in list(axes.flat)[several:]:
            empty.remove()
        text_pt = self.size.text_pt if several == 1 else self.size.small_pt
        # Numbers and a label are next to the axes.
        share = 0.82 / self.columns * self.size.small_pt / text_pt
        for one, panel in zip(self.grid, self.panels, strict=True):
            one.set_title(self.size.wrapped(panel.title, share), fontsize=text_pt)
            one.xaxis.label.set_fontsize(text_pt)
            one.yaxis.label.set_fontsize(text_pt)

    def __iter__(self) -> Iterator[tuple[Axes, Panel]]:
        return iter(zip(self.grid, self.panels, strict=True))

    def finish(self, references: Iterable[Reference] = (), grid: str = "both") -> None:
        """Give all axes their scales and ticks, draw references and legend, and fix the layout.

        Args:
            references: of all panels.
            grid: axis of the grid lines: ``x``, ``y`` or ``both``.
        """
        references = tuple(references)
        for axes, panel in self:
            for number, which in enumerate(WHICH):
                axis = panel.axes[number]
                those = [one for one in self.panels if one.axes[number] == axis]
                those = those if axis.shared else [panel]
                every = [r for one in those for r in (*references, *one.references)]
                stretch = [value for one in every for value in one.stretches(which)]
                set_scale(axes, which, axis, [one.rows for one in those], stretch)
        legend_above(self.figure, self._references(references), self.size)
        if any(panel.axes[0].names for panel in self.panels):
            # The number of names that fit below the axes depends on their width.
            self.figure.draw_without_rendering()
        for axes, panel in self:
            for which, axis in zip(WHICH, panel.axes, strict=True):
                set_ticks(axes, which, axis, self.size)
            axes.grid(axis=grid)  # type: ignore[arg-type]
        self._say_once()
        self.figure.align_ylabels(self.grid[:: self.columns])
        fix_layout(self.figure)

    def unfix_layout(self) -> None:
        """Have the figure laid out again when it is written, because more has been added."""
        self.figure.set_layout_engine("constrained")

    def _references(self, references: tuple[Reference, ...]) -> dict[str, Artist]:
        """The entries of the legend, with those of the references drawn here."""
        entries = dict(self.entries)
        for axes, panel in self:
            for one in (*references, *panel.references):
                entries |= draw_reference(axes, one, self.size)
        return entries

    def _say_once(self) -> None:
        """Omit labels, and ticks of a shared axis, that the next panel repeats."""
        columns = self.columns or 1
        same = {
            "x": len({axes.get_xlabel() for axes in self.grid}) == 1,
            "y": len({axes.get_ylabel() for axes in self.grid}) == 1,
        }
        for number, (axes, panel) in enumerate(self):
            if same["x"] and number + columns < len(self.grid):
                axes.set_xlabel("")
                axes.tick_params(axis="x", labelbottom=not panel.axes[0].shared)
            if same["y"] and number % columns:
                axes.set_ylabel("")
                axes.tick_params(axis="y", labelleft=not panel.axes[1].shared)
