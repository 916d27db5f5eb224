"""``joulelab compare``: two studies side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from joulelab.cli.output import data_console, print_json
from joulelab.study.results import Results

if TYPE_CHECKING:
    from joulelab.report.tables import Omitted, Table


def print_comparison(first: Path, second: Path, *, as_json: bool) -> None:
    """Print what differs, how configurations compare, and which claims agree.

    Args:
        first: results folder of A.
        second: results folder of B.
        as_json: JSON instead of tables on standard output.

    Raises:
        StoreError: a folder has no study in it, or it cannot be read.
    """
    from joulelab.report.study_comparison import compare_studies
    from joulelab.report.text import print_table

    found = compare_studies(Results.open(first), Results.open(second))
    tables = [found.conditions, *found.configurations, found.claims]
    if as_json:
        print_json(
            {
                "a": str(first),
                "b": str(second),
                "tables": {table.key: _plain(table) for table in tables},
                "remarks": list(found.remarks),
            }
        )
        return
    console = data_console()
    console.print(Text(f"A: {first}\nB: {second}"), soft_wrap=True)
    for table in tables:
        print_table(table, console)
    for remark in found.remarks:
        console.print(Text(remark, style="yellow"), soft_wrap=True)


def _plain(table: Table | Omitted) -> Any:  # noqa: ANN401 - rows of any shape
    from joulelab.report.tables import Table

    if not isinstance(table, Table):
        return {"title": table.title, "omitted": table.reason}
    return {
        "title": table.title,
        "rows": json.loads(table.raw.to_json(orient="records", double_precision=15)),
    }
