"""``joulelab analyze``: the statistics of a study on anybody's table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab import formats
from joulelab.present import Remark, View

if TYPE_CHECKING:
    from joulelab.replication.runs_table import Kind, RunsTable
    from joulelab.report.experiment import Experiment


def analysis(
    kind: Kind,
    file: Path,
    factors: Sequence[str],
    energy: tuple[str | None, str | None],
    out: Path | None,
) -> View:
    """Analyse a table.

    Args:
        kind: ``"architecture"`` or ``"tuning"``.
        file: a CSV file.
        factors: columns that are factors; found where none are named.
        energy: its column, found where not named, and its unit, as the column says where not given.
        out: a folder for the pages, tables and figures of the paper, where it is wanted.

    Raises:
        DatasetError: the file cannot be read, or a cell is not what it should be.
        UsageError: a column is missing, or no column is a factor.
    """
    from joulelab.replication.runs_table import read_runs
    from joulelab.report.claims import data, details
    from joulelab.report.kinds import report_of
    from joulelab.report.pages import claimed, experiment_tables, write_side_pages

    table = read_runs(file, kind, factors, *energy)
    experiment = _experiment(table, kind)
    found = claimed([experiment])
    page = write_side_pages(file.name, [experiment], out) if out is not None else None
    return View(
        [
            f"{file.name}: {formats.count(len(table.frame), 'row')}, factors "
            f"{formats.listing(list(table.factors))}",
            *map(Remark, experiment.energy.remarks),
            *experiment_tables(experiment),
            *map(details, found),
            *([f"report: {page}"] if page else []),
        ],
        lambda: {
            "file": str(file),
            "kind": kind,
            "rows": len(table.frame),
            "factors": list(table.factors),
            "energy": table.energy,
            "remarks": list(table.remarks),
            "tables": report_of(experiment).data(experiment),
            "claims": data(found),
            **({"report": str(page)} if page else {}),
        },
    )


def _experiment(table: RunsTable, kind: Kind) -> Experiment:
    from joulelab.report.experiment import experiment_of_table

    return experiment_of_table(
        table.frame,
        name=kind,
        kind=kind,
        dataset=table.path.stem.removeprefix(f"{kind}-"),
        factors=table.factors,
        energy=table.energy,
        remarks=table.remarks,
    )
