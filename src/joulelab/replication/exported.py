"""What ``joulelab export`` writes: its runs of one kind of experiment, and their factors.

An export has its identity first, then the factors, then everything else::

    run_id, position, block, experiment, kind, configuration,  strategy, relu, ...,  round, ...

So its factors need not be named. Rows of another kind, and the factors that only these have, are
left out.
"""

from __future__ import annotations

from joulelab import formats
from joulelab.replication.csv_table import CsvTable

IDENTITY = ("run_id", "position", "block", "experiment", "kind", "configuration")


def is_exported(table: CsvTable) -> bool:
    """Whether the columns are those of an export."""
    return tuple(table.columns)[: len(IDENTITY)] == IDENTITY and "round" in table.columns


def runs_of_kind(table: CsvTable, kind: str, remarks: list[str]) -> tuple[CsvTable, list[str]]:
    """The runs of a kind of experiment, and the columns of its factors.

    Args:
        table: an export.
        kind: ``"architecture"`` or ``"tuning"``.
        remarks: what is left out is added to these.

    Returns:
        The table without the other rows, and the factors; both may be empty.
    """
    kept = [row for row, cell in enumerate(table.columns["kind"]) if cell == kind]
    if others := len(table) - len(kept):
        remarks.append(f"{formats.count(others, 'run')} of another kind of experiment left out.")
    columns = {name: [cells[row] for row in kept] for name, cells in table.columns.items()}
    names = list(columns)
    between = names[len(IDENTITY) : names.index("round")]
    factors = [name for name in between if any(columns[name])]
    return CsvTable(table.path, columns, [table.lines[row] for row in kept]), factors
