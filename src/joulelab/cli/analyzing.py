"""``joulelab analyze``: the statistics of a study on anybody's table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from joulelab import formats
from joulelab.cli.output import data_console, print_json

if TYPE_CHECKING:
    from joulelab.replication.runs_table import Kind, RunsTable
    from joulelab.report.experiment import Experiment


def analyze(
    kind: Kind,
    file: Path,
    factors: Sequence[str],
    energy: tuple[str | None, str | None],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Analyse a table and print what was found.

    Args:
        kind: ``"architecture"`` or ``"tuning"``.
        file: a CSV file.
        factors: columns that are factors; found where none are named.
        energy: its column, found where not named, and its unit, as the column says where not given.
        out: a folder for the pages, tables and figures of the paper, where it is wanted.
        as_json: JSON instead of tables on standard output.

    Raises:
        DatasetError: the file cannot be read, or a cell is not what it should be.
        UsageError: a column is missing, or no column is a factor.
    """
    from joulelab.replication.runs_table import read_runs
    from joulelab.report.claims import data, scopes
    from joulelab.report.page import tables_data, write_tables_report
    from joulelab.report.text import print_claims, print_tables

    table = read_runs(file, kind, factors, *energy)
    experiment = _experiment(table, kind)
    claimed = scopes([experiment])
    page = write_tables_report(file.name, [experiment], out) if out is not None else None
    if as_json:
        print_json(
            {
                "file": str(file),
                "kind": kind,
                "rows": len(table.frame),
                "factors": list(table.factors),
                "energy": table.energy,
                "remarks": list(table.remarks),
                "tables": tables_data(experiment),
                "claims": data(claimed),
                **({"report": str(page)} if page else {}),
            }
        )
        return
    console = data_console()
    said = f"{file.name}: {formats.count(len(table.frame), 'row')}, factors {_words(table.factors)}"
    console.print(Text(said, style="bold"), soft_wrap=True)
    print_tables(experiment, console)
    print_claims(claimed, console, whole=True)
    if page is not None:
        print(f"report: {page}")


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


def _words(factors: Sequence[str]) -> str:
    return formats.listing(list(factors))
