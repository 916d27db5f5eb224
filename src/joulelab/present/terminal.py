"""Views in a terminal, at most 80 columns wide, or as plain text.

Numbers are never broken, and words only if a single one is too long; minor columns are omitted if
not all columns fit.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from joulelab.present.parts import Cell, Facts, Omitted, Part, Remark, Section, Table, View

WIDTH = 80
GAP = 2
"""Blanks between two columns."""
LEAST = 20
"""Minimum width of text next to a long name."""
LONG = 20
"""Number of rows above which a foldable table is folded."""
STYLES = {"good": "green", "doubtful": "yellow", "bad": "red", "": ""}


def print_view(view: View, console: Console, *, notes: bool = True) -> None:
    """Print a view.

    Args:
        view: its contents.
        console: where to print.
        notes: whether to print the notes of tables.
    """
    for number, part in enumerate(view.parts):
        print_part(part, console, notes=notes, first=not number)


def print_part(
    part: Part,
    console: Console,
    *,
    notes: bool = True,
    first: bool = False,
    width: int | None = None,
) -> None:
    """Print one part of a view; figures are only named.

    Args:
        part: its contents.
        console: where to print.
        notes: whether to print the notes of tables.
        first: whether it is the first part, without a blank line above.
        width: width in columns; default: the console's, at most 80.
    """
    width = width or min(WIDTH, console.width)
    if isinstance(part, Section):
        console.print()
        console.print(Text(part.title, style="bold"), width=width)
        for inner in part.parts:
            print_part(inner, console, notes=notes, width=width)
    elif isinstance(part, Table):
        _print_table(part, console, width, notes=notes, above=int(not first))
    elif isinstance(part, Omitted):
        console.print(Text(f"{part.title} {part.verb}: {part.reason}", style="dim"), width=width)
    elif isinstance(part, Remark):
        console.print(Text(_wrapped(part.text, width), style=STYLES[part.tone]), soft_wrap=True)
    elif isinstance(part, Facts):
        longest = max((cell_len(name) for name, _ in part.pairs), default=0)
        for name, value in part.pairs:
            indented = textwrap.indent(
                _wrapped(value, width - longest - GAP), " " * (longest + GAP)
            )
            console.print(Text(f"{name:{longest + GAP}}{indented.lstrip()}"), soft_wrap=True)
    elif isinstance(part, str):
        console.print(Text(_wrapped(part, width)), soft_wrap=True)


def height(parts: Sequence[Part]) -> int:
    """Lines that parts take in the user's terminal."""
    console = Console(file=(out := io.StringIO()), color_system=None, highlight=False)
    print_view(View(parts), console)
    return len(out.getvalue().splitlines())


def _wrapped(text: str, width: int) -> str:
    """Text wrapped at words: a path, or a command to copy, is never broken."""
    return "\n".join(
        textwrap.fill(line, max(width, LEAST), break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def renderable(table: Table, width: int = WIDTH) -> RenderableType:
    """A table for a live display, with its note."""
    drawn = _drawn(table, width)
    return Group(drawn, Text(table.note, style="dim")) if table.note else drawn


def to_text(*parts: Part) -> str:
    """Parts as plain text, at full width."""
    out = io.StringIO()
    console = Console(file=out, width=10_000, color_system=None, highlight=False)
    for part in parts:
        if isinstance(part, Table):
            console.print(_drawn(part, 10_000))
            if part.note:
                console.print(Text(part.note))
        else:
            print_part(part, console, width=console.width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _print_table(table: Table, console: Console, width: int, *, notes: bool, above: int) -> None:
    cells = len(table.rows if table.shown is None else table.shown)
    if table.folded and cells > LONG:
        console.print(Padding(Text(table.title, style="italic"), (above, 0, 0, 0)), width=width)
        console.print(Text(f"{cells} rows; --json has them."), width=width)
    else:
        below = int(notes and bool(table.note))
        console.print(Padding(_drawn(table, width), (above, 0, below, 0)), width=width)
    if notes and table.note:
        console.print(Text(table.note, style="dim"), width=width)


def _drawn(table: Table, room: int) -> RenderableType:
    """The title, which may be wider than the table, and the table."""
    grid = _grid(table, room)
    return Group(Text(table.title, style="italic"), grid) if table.title else grid


def _grid(table: Table, room: int) -> RichTable:
    drawn = RichTable(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    headings = [
        f"{column.group}, {heading}" if column.group else heading
        for column, heading in zip(table.columns, table.headings(), strict=True)
    ]
    cells = table.cells()
    kept = list(range(len(headings)))
    texts = [[row[at].text for row in cells] for at in kept]
    natural = [max(map(cell_len, [*texts[at], headings[at]])) for at in kept]
    if sum(natural) + GAP * (len(kept) - 1) > room:
        kept = [at for at in kept if not table.columns[at].wide]
    widths = _widths(
        [(headings[at], texts[at], table.columns[at].words) for at in kept],
        room - GAP * (len(kept) - 1),
    )
    for at, width in zip(kept, widths, strict=True):
        justify: JustifyMethod = "left" if table.columns[at].words else "right"
        drawn.add_column(Text(headings[at]), justify=justify, width=width, overflow="fold")
    for number, row in enumerate(cells):
        total = table.total is not None and number == len(cells) - 1
        if total:
            drawn.add_section()
        drawn.add_row(*(_text(row[at], bold=total) for at in kept))
    return drawn


def _text(cell: Cell, *, bold: bool) -> Text:
    tone = STYLES.get(cell.tone, "")
    return Text(cell.text, style=f"{'bold ' * (cell.bold or bold)}{tone}".strip())


def _widths(columns: Sequence[tuple[str, Sequence[str], bool]], room: int) -> list[int]:
    """Widths that break no number and, unless a word alone is too long, no word.

    Headings are wrapped before cells.

    Args:
        columns: heading, cells, and whether these are words, which may be wrapped.
        room: for all columns without the gaps between them.
    """
    widths, of_cells, least = [], [], []
    for heading, cells, words in columns:
        whole = [word for cell in cells for word in cell.split()] if words else cells
        widths.append(max(map(cell_len, [*cells, heading])))
        least.append(max(map(cell_len, [*whole, *heading.split()]), default=1))
        of_cells.append(max([least[-1], *map(cell_len, cells)]))
    while sum(widths) > room:
        broad = [at for at in range(len(widths)) if widths[at] > of_cells[at]]
        broad = broad or [at for at in range(len(widths)) if widths[at] > least[at]]
        # As a last resort the longest words are broken.
        broad = broad or [at for at in range(len(widths)) if columns[at][2] and widths[at] > 1]
        if not broad:
            break
        widths[max(broad, key=lambda at: widths[at])] -= 1
    return widths
