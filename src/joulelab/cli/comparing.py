"""``joulelab compare``: two studies side by side."""

from __future__ import annotations

from pathlib import Path

from joulelab.present import Remark, View
from joulelab.present.data import tables_data
from joulelab.report.study_comparison import compare_studies
from joulelab.study.results import Results


def comparison(first: Path, second: Path) -> View:
    """What differs, how configurations compare, and which claims agree.

    Args:
        first: results folder of A.
        second: results folder of B.

    Raises:
        StoreError: a folder has no study in it, or it cannot be read.
    """
    found = compare_studies(Results.open(first), Results.open(second))
    tables = [found.conditions, *found.configurations, found.claims]
    return View(
        [f"A: {first}\nB: {second}", *tables, *map(Remark, found.remarks)],
        {
            "a": str(first),
            "b": str(second),
            "tables": tables_data(tables),
            "remarks": list(found.remarks),
        },
    )
