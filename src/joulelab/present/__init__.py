"""Presentation: tables and figures are declared once, and every renderer shows them.

Tables and figures are data (`Table`, `Column`, `Figure`), declared with `table` and `figure`; a
`View` holds them, and renderers write terminal text, HTML, LaTeX, Markdown, CSV and JSON.
`scatter`, `curves`, `intervals`, `stacked_bars` and `histogram` draw figures, with an `Axis` for
each direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulelab.lazy import importer
from joulelab.present.declared import (
    Declared,
    cached_per_subject,
    figure,
    shown,
    table,
)
from joulelab.present.faults import Unavailable
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

if TYPE_CHECKING:
    from joulelab.present.axes import Axis, Reference
    from joulelab.present.bar_plots import histogram, stacked_bars
    from joulelab.present.curve_plot import curves
    from joulelab.present.interval_plot import intervals
    from joulelab.present.scatter_plot import scatter

__all__ = [
    "Axis",
    "Column",
    "Declared",
    "Facts",
    "Figure",
    "Omitted",
    "Part",
    "Reference",
    "Remark",
    "Section",
    "Table",
    "Unavailable",
    "View",
    "cached_per_subject",
    "curves",
    "figure",
    "histogram",
    "intervals",
    "scatter",
    "shown",
    "stacked_bars",
    "table",
    "words",
]

__getattr__ = importer(
    __name__,
    {
        "Axis": "joulelab.present.axes",
        "Reference": "joulelab.present.axes",
        "curves": "joulelab.present.curve_plot",
        "histogram": "joulelab.present.bar_plots",
        "intervals": "joulelab.present.interval_plot",
        "scatter": "joulelab.present.scatter_plot",
        "stacked_bars": "joulelab.present.bar_plots",
    },
)
