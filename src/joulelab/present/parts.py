"""What is shown, apart from how: tables, figures, text, and the views that hold them.

::

    View ── Section ── Table | Figure | Omitted | Facts | Remark | str
                         └ rows (numbers, for JSON and CSV) + columns (how people read them)

A renderer (`terminal`, `html`, `latex`, `markdown`, `data`) draws any of these; whoever makes them
knows nothing of where they will stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from joulelab import formats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

Row = Mapping[str, Any]
Width = Literal["screen", "column", "page"]
"""What a figure is drawn for: a page on a screen, a column of a paper, or its whole width."""
Tone = Literal["good", "doubtful", "bad", ""]
"""How a cell or a remark is coloured, where there are colours."""


@dataclass(frozen=True)
class Column:
    """A column as people read it.

    Attributes:
        heading: above it; the unit is added where `units` are given.
        of: the columns of the rows whose values `form` takes, by default the one that is called as
            the heading; or a function from a row to the text.
        form: from as many values to the text of a cell.
        words: it holds words and not numbers, and is aligned to the left.
        wide: a terminal leaves it out where not all columns fit.
        group: heading above several neighbours.
        units: the column holds numbers in a base unit, and all columns of the table with these
            units share the one in which the largest of their numbers reads well.
        bold: a column of the rows, or a function from a row, that says which cells stand out.
        tone: a function from a row to the colour of a cell.
        macro: what its numbers are called in LaTeX, after the names of the row; or a function from
            a row to the whole name. Empty for words.
    """

    heading: str
    of: str | tuple[str, ...] | Callable[[Row], object] = ""
    form: Callable[..., str] = formats.level
    words: bool = False
    wide: bool = False
    group: str = ""
    units: formats.Units | None = None
    bold: str | Callable[[Row], bool] = ""
    tone: Callable[[Row], Tone] | None = None
    macro: str | Callable[[Row], tuple[str, ...]] = ""

    def values(self, row: Row) -> list[Any]:
        """The values of a row that a cell is made of."""
        if callable(self.of):
            return [self.of(row)]
        names = self.of if isinstance(self.of, tuple) else (self.of or self.heading,)
        return [row[name] for name in names]

    def is_bold(self, row: Row) -> bool:
        """Whether the cell of a row stands out."""
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
        text: as people read it.
        bold: it stands out.
        tone: its colour, where there are colours.
        name: of its number in LaTeX, from the general to the particular; empty for words.
    """

    text: str
    bold: bool = False
    tone: Tone = ""
    name: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: unrounded numbers, and how they are read.

    Attributes:
        rows: a row each; everything in them is in JSON and CSV, shown or not.
        columns: what people see.
        note: one or two sentences on how to read it.
        key: its name in JSON and of files.
        title: what it is.
        shown: the rows as people see them, where these are others than `rows`: fewer, turned, or
            with a `Cell` for what columns do not say alike.
        total: a last row, the sum of the others.
        names: columns of the shown rows that name a row, for the macros of LaTeX.
        folded: long or of interest to few: a page shows it on request.
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
        """Every row as text, the total last where there is one."""
        units = self._shared_units()
        rows = [*records(self.rows if self.shown is None else self.shown)]
        return [
            [self._cell(column, row, units) for column in self.columns]
            for row in [*rows, *([self.total] if self.total is not None else [])]
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

    def _shared_units(self) -> dict[int, tuple[float, str]]:
        rows = [*records(self.rows if self.shown is None else self.shown)]
        rows += [self.total] if self.total is not None else []
        largest: dict[int, float] = {}
        families: dict[int, formats.Units] = {}
        for column in self.columns:
            if column.units is None:
                continue
            families[id(column.units)] = column.units
            known = [abs(one) for row in rows for one in column.values(row) if formats.known(one)]
            largest[id(column.units)] = max([largest.get(id(column.units), 0.0), *known])
        return {key: formats.scale(largest[key] or 1.0, units) for key, units in families.items()}


def stopped(title: str) -> str:
    """A title before its note: with a full stop, unless it ends in a mark of its own."""
    return title if title[-1:] in {"?", "!", "."} else f"{title}."


def records(rows: pd.DataFrame | Sequence[Row]) -> Sequence[Row]:
    """A mapping a row."""
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
        alt: what it shows, for readers who do not see it.
        key: its name, and that of its files.
        title: what it is.
        folded: of interest to few: a page shows it on request.
        drawn_for: where it is drawn for, unless it is asked for elsewhere.
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
    """A table or figure that is left out, or several, and why, in a sentence."""

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
    """What a reader must know of all that follows, in a colour where there are colours."""

    text: str
    tone: Tone = "doubtful"


@dataclass(frozen=True)
class Facts:
    """Names with what is known of each, a line each."""

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
    """What a command or a page shows: the answer first.

    Attributes:
        parts: in order; the first is the answer.
        data: the same for a program, or a function that makes it; the tables by their keys where
            not given.
    """

    parts: Sequence[Part]
    data: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
