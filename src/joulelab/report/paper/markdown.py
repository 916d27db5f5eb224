"""Markdown: tables with pipes, as GitHub, GitLab and pandoc read them."""

from __future__ import annotations

from joulelab.report.paper.table import Cell, PaperTable


def escape(text: str) -> str:
    r"""Text within a cell.

    >>> print(escape("a | b"))
    a \| b
    """
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def table(made: PaperTable) -> str:
    """A table with its title above and its note below."""
    headings = [
        f"{column.group}: {column.heading}" if column.group else column.heading
        for column in made.columns
    ]
    rule = [":---" if column.words else "---:" for column in made.columns]
    lines = [
        f"**Table {made.number}. {escape(made.title)}.**",
        "",
        _line([escape(heading) for heading in headings]),
        _line(rule),
        *(_line([_cell(cell) for cell in row]) for row in made.rows),
        "",
        escape(made.note),
    ]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.bold else escape(cell.text)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
