"""How large the batches were that policies without a fixed size took."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.report.paper.layout import panels, require_drawable
from joulelab.report.style import BLUE, Width, styled

PANEL_IN = 1.7
COLUMNS: Mapping[Width, int] = {"screen": 3, "column": 2, "page": 3}
FEW_TICKS = 6
SHARE = 0.9
TOP = 135
"""Percent; room for the mean above the bars."""


def batch_distribution_figure(
    batches: Mapping[str, Mapping[int, int]], width: Width = "screen"
) -> Figure:
    """How large the batches were that a policy took, a panel for each cell.

    Args:
        batches: by title of the panel, how many batches there were of each size.
        width: of the figure.

    Raises:
        UsageError: no batch is known.
    """
    known = {title: counts for title, counts in batches.items() if sum(counts.values())}
    require_drawable(len(known), "distribution of batches")
    largest = max(size for counts in known.values() for size in counts)
    last = int(np.ceil(np.log2(max(largest, 1))))
    with styled(width) as size:
        columns = COLUMNS[width]
        figure, grid = panels(len(known), columns, PANEL_IN, width)
        for axes, (title, counts) in zip(grid, known.items(), strict=True):
            heights = _by_powers(counts, last)
            axes.bar(range(last + 1), heights, color=BLUE, width=0.8)
            mean = sum(n * many for n, many in counts.items()) / sum(counts.values())
            axes.annotate(
                f"mean {formats.significant(mean)}",
                (0.97, 0.98),
                xycoords="axes fraction",
                ha="right",
                va="top",
                fontsize=SHARE * size.small_pt,
            )
            axes.set_title(size.wrapped(title, 0.75 / columns), fontsize=SHARE * size.small_pt)
            axes.set_xticks(range(last + 1), _powers(last), fontsize=SHARE * size.small_pt)
            axes.set_ylim(0, TOP)
            axes.set_yticks([0, 50, 100])
            axes.grid(axis="y")
        for axes in grid[-columns:]:
            axes.set_xlabel("batch size, up to", fontsize=size.small_pt)
        for axes in grid[::columns]:
            axes.set_ylabel("batches, %", fontsize=size.small_pt)
    return figure


def _by_powers(counts: Mapping[int, int], last: int) -> list[float]:
    """Percent of the batches whose size is at most 1, 2, 4 ... and above the one before."""
    found = np.zeros(last + 1)
    for size, count in counts.items():
        found[int(np.ceil(np.log2(size)))] += count
    return [float(share) for share in 100 * found / found.sum()]


def _powers(last: int) -> list[str]:
    """Every power of two where they fit, else every second."""
    step = 1 if last <= FEW_TICKS else 2
    return [str(2**power) if power % step == 0 else "" for power in range(last + 1)]
