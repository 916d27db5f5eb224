"""How things are shown: declare a table or a figure once, and it stands everywhere alike.

Tables and figures are data (`Table`, `Column`, `Figure`), declared with `table` and `figure`; a
`View` holds them, and one renderer each writes terminal text, HTML, LaTeX, Markdown, CSV and JSON.
"""

from joulelab.present.declared import Declared, Unavailable, figure, once_each, shown, table
from joulelab.present.parts import (
    Column,
    Facts,
    Figure,
    Omitted,
    Part,
    Remark,
    Section,
    Table,
    View,
    words,
)

__all__ = [
    "Column",
    "Declared",
    "Facts",
    "Figure",
    "Omitted",
    "Part",
    "Remark",
    "Section",
    "Table",
    "Unavailable",
    "View",
    "figure",
    "once_each",
    "shown",
    "table",
    "words",
]
