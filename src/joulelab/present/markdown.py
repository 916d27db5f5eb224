"""Markdown: tables with pipes, as GitHub, GitLab and pandoc read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from joulelab.files import safe_name
from joulelab.present.parts import (
    Cell,
    Facts,
    Figure,
    Omitted,
    Part,
    Remark,
    Section,
    Table,
    stopped,
)

CODE = re.compile(r"(`[^`]+`)")
SPECIAL = re.compile(r"[\\|*`\[\]$]|<(?=[A-Za-z/!?])")
"""What would be markup: not the sign in ``p < 0.05``."""


def escape(text: str) -> str:
    r"""Text within a cell or a heading.

    >>> print(escape("a | <b> *c* < d"))
    a \| \<b> \*c\* < d
    """
    return SPECIAL.sub(r"\\\g<0>", text).replace("\n", " ")


def prose(text: str) -> str:
    r"""Sentences, in which backticks mark code.

    >>> print(prose("`run *` of *x*"))
    `run *` of \*x\*
    """
    parts = CODE.split(text)
    return "".join(part if CODE.fullmatch(part) else escape(part) for part in parts)


def table(made: Table) -> str:
    """A table with its title above and its note below."""
    headings = [
        f"{column.group}: {heading}" if column.group else heading
        for column, heading in zip(made.columns, made.headings(), strict=True)
    ]
    lines = [
        *([f"**{escape(stopped(made.title))}**", ""] if made.title else []),
        _line([escape(heading) for heading in headings]),
        _line([":---" if column.words else "---:" for column in made.columns]),
        *(_line([_cell(cell) for cell in row]) for row in made.cells()),
        *(["", prose(made.note)] if made.note else []),
    ]
    return "\n".join(lines)


def page(title: str, parts: Sequence[Part], figures: str, level: int = 1) -> str:
    """Parts under a heading.

    Args:
        title: the heading.
        parts: contents.
        figures: the folder with the figures, relative to the file.
        level: of the heading.
    """
    return "\n\n".join(_parts(title, parts, figures, level)) + "\n"


def _parts(title: str, parts: Sequence[Part], figures: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {escape(title)}"
    for part in parts:
        if isinstance(part, Section):
            yield from _parts(part.title, part.parts, figures, level + 1)
        elif isinstance(part, Table):
            yield table(part)
        elif isinstance(part, Figure):
            picture = f"![{escape(part.alt)}]({figures}/{safe_name(part.key)}.svg)"
            yield f"{picture}\n\n**{escape(stopped(part.title))}** {prose(part.note)}"
        elif isinstance(part, Omitted):
            yield f"**{escape(part.title)}** {part.verb}: {prose(part.reason)}"
        elif isinstance(part, Facts):
            yield "\n".join(f"- {escape(name)}: {prose(value)}" for name, value in part.pairs)
        else:
            yield prose(part.text if isinstance(part, Remark) else part)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.bold else escape(cell.text)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
