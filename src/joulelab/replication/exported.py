"""What ``joulelab export`` writes: its runs of one kind of experiment, and their factors.

An export has its identity first, then the factors, then everything else::

    run_id, position, block, experiment, kind, configuration,  strategy, relu, ...,  round, ...

So its factors need not be named. Rows of another kind, and the factors that only these have, are
left out.
"""

from __future__ import annotations

from joulelab import formats
from joulelab.tabular.table import Table, folded

IDENTITY = ("run_id", "position", "block", "experiment", "kind", "configuration")


def is_exported(table: Table) -> bool:
    """Whether the columns are those of an export."""
    names = [folded(name) for name in table.headings]
    return tuple(names[: len(IDENTITY)]) == IDENTITY and "round" in names


def runs_of_kind(table: Table, kind: str, remarks: list[str]) -> tuple[Table, list[str]]:
    """The runs of a kind of experiment, and the columns of its factors.

    Args:
        table: an export.
        kind: ``"architecture"`` or ``"tuning"``.
        remarks: what is left out is added to these.

    Returns:
        The table without the other rows, and the factors; both may be empty.
    """
    names = list(table.headings)
    kinds = table.texts(names[IDENTITY.index("kind")])
    kept = [row for row, cell in enumerate(kinds) if cell == kind]
    if others := len(table) - len(kept):
        remarks.append(f"{formats.count(others, 'run')} of another kind of experiment left out.")
    found = table.rows(kept)
    between = names[len(IDENTITY) : [folded(name) for name in names].index("round")]
    return found, [name for name in between if any(found.texts(name))]
