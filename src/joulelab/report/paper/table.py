"""A table as a paper prints it: headings in groups, cells that know their number's name.

One `PaperTable` gives HTML, Markdown and LaTeX alike (`joulelab.report.paper.latex`,
`joulelab.report.paper.markdown`), so that the three never differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: as people read it.
        name: what the number is called, from the general to the particular, for instance
            ``("fashion-mnist", "SimpleCNN", "grid", "3", "accuracy")``; empty for words.
        bold: it stands out.
    """

    text: str
    name: tuple[str, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Column:
    """Heading of a column, and of the group of neighbours that it belongs to.

    Attributes:
        heading: of the column.
        group: above the headings of several columns; empty for none.
        words: it holds words and not numbers.
    """

    heading: str
    group: str = ""
    words: bool = False


@dataclass(frozen=True)
class PaperTable:
    """A numbered table.

    Attributes:
        number: roman, as in the paper.
        title: what it shows.
        note: how to read it.
        columns: headings.
        rows: as many cells each as there are columns.
        raw: the unrounded numbers.
    """

    number: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    raw: pd.DataFrame = field(compare=False)

    @property
    def key(self) -> str:
        """``table-iii``: its name in files and in JSON."""
        return f"table-{self.number.lower()}"

    @property
    def named(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Name and text of every number."""
        for row in self.rows:
            for cell in row:
                if cell.name:
                    yield (self.key, *cell.name), cell.text


def spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """The groups of headings, left to right, with their widths in columns.

    >>> spans([Column("network"), Column("E+", "digits"), Column("E-", "digits")])
    [('', 1), ('digits', 2)]
    """
    found: list[tuple[str, int]] = []
    for column in columns:
        if found and found[-1][0] == column.group:
            found[-1] = (column.group, found[-1][1] + 1)
        else:
            found.append((column.group, 1))
    return found
