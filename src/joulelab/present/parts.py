"""Contents independent of rendering: tables, figures, text, and views.

::

    View ── Section ── Table | Figure | Omitted | Facts | Remark | str
                         └ rows (numbers, for JSON and CSV) + columns (how they are shown)

A renderer (`terminal`, `html`, `latex`, `markdown`, `data`) draws any of these; their authors need
not know where they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from joulelab import formats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

Row = Mapping[str, Any]
Width = Literal["screen", "column", "page"]
"""Target width of a figure: a page on a screen, a column of a paper, or its whole width."""
Tone = Literal["good", "doubtful", "bad", ""]
"""Colour of a cell or a remark, where supported."""


@dataclass(frozen=True)
class Column:
    """A shown column.

    Attributes:
        heading: heading; the unit is added if `units` are given.
        of: columns of the rows that are passed to `form`, by default the one named like the
            heading; or a function from a row to the text.
        form: function from these values to the text of a cell; default: missing is a dash.
        words: whether it has words, not numbers, and is left-aligned.
        wide: whether a narrow terminal omits it.
        group: heading above several adjacent columns.
        units: units of its numbers, which are in the base unit; all columns of the table with these
            units share the unit that suits the largest number.
        bold: a column of the rows, or a function from a row, that marks bold cells.
        tone: a function from a row to the colour of a cell.
        macro: name of its numbers in LaTeX, after the names of the row; or a function from a row to
            the whole name. Empty for words.
    """

    heading: str
    of: str | tuple[str, ...] | Callable[[Row], object] = ""
    form: Callable[..., str] = formats.cell
    words: bool = False
    wide: bool = False
    group: str = ""
    units: formats.Units | None = None
    bold: str | Callable[[Row], bool] = ""
    tone: Callable[[Row], Tone] | None = None
    macro: str | Callable[[Row], tuple[str, ...]] = ""

    def values(self, row: Row) -> list[Any]:
        """The values of a row for a cell."""
        if callable(self.of):
            return [self.of(row)]
        names = self.of if isinstance(self.of, tuple) else (self.of or self.heading,)
        return [row[name] for name in names]

    def is_bold(self, row: Row) -> bool:
        """Whether the cell of a row is bold."""
        return bool(self.bold(row) if callable(self.bold) else self.bold and row[self.bold])


def words(
    heading: str,
    of: str | tuple[str, ...] | Callable[[Row], object] = "",
    **more: Any,  # noqa: ANN401 - the other fields of a column
) -> Column:
    """A column of words, aligned to the left."""
    return Column(heading, of, words=True, **more)


@dataclass(frozen=True)
class Cell:
    """One cell as text.

    Attributes:
        text: shown text.
        bold: whether it is bold.
        tone: its colour, where supported.
        name: of its number in LaTeX, from the general to the particular; empty for words.
    """

    text: str
    bold: bool = False
    tone: Tone = ""
    name: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: unrounded numbers and their display.

    Attributes:
        rows: the data; all of it is in JSON and CSV, shown or not.
        columns: shown columns.
        note: one or two sentences on how to read it.
        key: its name in JSON and of files.
        title: what it is.
        shown: the shown rows, if different from `rows`: fewer, transposed, or with `Cell` objects.
        total: a last row, the sum of the others.
        names: columns of the shown rows that identify a row, for LaTeX macros.
        folded: whether a page folds it, because it is long or of minor interest.
    """

    rows: pd.DataFrame | Sequence[Row]
    columns: Sequence[Column]
    note: str = ""
    key: str = ""
    title: str = ""
    shown: pd.DataFrame | Sequence[Row] | None = None
    total: Row | None = None
    names: tuple[str, ...] = ()
    folded: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def headings(self) -> list[str]:
        """The headings, with the units that the columns share."""
        units = self._shared_units()
        return [
            f"{column.heading} ({units[id(column.units)][1]})" if column.units else column.heading
            for column in self.columns
        ]

    def cells(self) -> list[list[Cell]]:
        """Every row as text, the total last, if any."""
        units = self._shared_units()
        return [
            [self._cell(column, row, units) for column in self.columns] for row in self._shown_rows
        ]

    def groups(self) -> list[tuple[str, int]]:
        """Headings above several columns, left to right, with their widths in columns."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    def _cell(self, column: Column, row: Row, units: Mapping[int, tuple[float, str]]) -> Cell:
        values = column.values(row)
        if isinstance(values[0], Cell):
            cell = values[0]
            return replace(cell, name=(self.key, *cell.name) if cell.name else ())
        if column.units is not None:
            text = formats.at_scale(values[0], units[id(column.units)][0])
        elif callable(column.of):
            text = str(values[0])
        else:
            text = column.form(*values)
        tone: Tone = column.tone(row) if column.tone else ""
        name: tuple[str, ...] = ()
        if callable(column.macro):
            name = column.macro(row)
        elif column.macro:
            name = (*(str(row[one]) for one in self.names), column.macro)
        return Cell(text, column.is_bold(row), tone, (self.key, *name) if name else ())

    @cached_property
    def _shown_rows(self) -> list[Row]:
        """The shown rows, the total last, if any."""
        rows = records(self.rows if self.shown is None else self.shown)
        return [*rows, *([self.total] if self.total is not None else [])]

    def _shared_units(self) -> dict[int, tuple[float, str]]:
        largest: dict[int, float] = {}
        families: dict[int, formats.Units] = {}
        for column in self.columns:
            if column.units is None:
                continue
            families[id(column.units)] = column.units
            known = [
                abs(one)
                for row in self._shown_rows
                for one in column.values(row)
                if formats.known(one)
            ]
            largest[id(column.units)] = max([largest.get(id(column.units), 0.0), *known])
        return {key: formats.scale(largest[key] or 1.0, units) for key, units in families.items()}


def stopped(title: str) -> str:
    """A title before its note: with a full stop, unless it ends with punctuation."""
    return title if title[-1:] in {"?", "!", "."} else f"{title}."


def records(rows: pd.DataFrame | Sequence[Row]) -> Sequence[Row]:
    """One mapping per row."""
    if isinstance(rows, Sequence):
        return rows
    found: list[Row] = rows.to_dict("records")  # type: ignore[assignment]  # keys are names
    return found


@dataclass(frozen=True)
class Figure:
    """A figure, which is drawn when it is rendered.

    Attributes:
        draw: draws it for a screen, a column or a page.
        note: one or two sentences on how to read it.
        alt: alternative text.
        key: its name, and that of its files.
        title: what it is.
        folded: whether a page folds it, because it is of minor interest.
        drawn_for: default target width.
    """

    draw: Callable[[Width], Drawing]
    note: str
    alt: str
    key: str = ""
    title: str = ""
    folded: bool = False
    drawn_for: Width = "screen"


@dataclass(frozen=True)
class Omitted:
    """One or more omitted tables or figures, with the reason in a sentence."""

    key: str
    title: str
    reason: str
    several: bool = False

    @property
    def verb(self) -> str:
        """Between title and reason."""
        return "are left out" if self.several else "is left out"


@dataclass(frozen=True)
class Remark:
    """A remark on everything that follows, coloured where supported."""

    text: str
    tone: Tone = "doubtful"


@dataclass(frozen=True)
class Facts:
    """Names with values, one line each."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """Parts under a heading.

    Attributes:
        title: the heading.
        parts: in order.
        folded: a page shows it on request.
    """

    title: str
    parts: Sequence[Part]
    folded: bool = False


Part = str | Remark | Facts | Table | Figure | Omitted | Section


@dataclass(frozen=True)
class View:
    """The contents of a command's output or a page: the answer first.

    Attributes:
        parts: in order; the first is the answer.
        data: the same for a program, or a function that makes it; default: the tables by key.
    """

    parts: Sequence[Part]
    data: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
