"""``joulelab status``, ``report`` and ``export``: what stands in a results folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from joulelab import formats
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.errors import StoreWriteError
from joulelab.files import replacing
from joulelab.study.results import Results
from joulelab.study.store_reading import is_running

if TYPE_CHECKING:
    import pandas as pd

MOST_SAID = 20
"""Rows that are left out of an export, and named one by one."""
PARTLY = 4
JOINT_FOLDER = Path("joulelab-out") / "paper"


def print_status(folder: Path, *, as_json: bool) -> None:
    """Print how many runs of each experiment are in which state, and what failed."""
    results = Results.open(folder)
    runs, ledger = results.to_frame(), results.ledger_frame()
    states = ["planned", "running", "finished", "failed"]
    counts = {
        str(name): {state: int((frame["state"] == state).sum()) for state in states}
        for name, frame in runs.groupby("experiment", sort=False)
    }
    failed = runs[runs["state"] == "failed"]
    failures = dict(zip(failed["run_id"], failed["error"], strict=True))
    interrupted = ledger[ledger["state"] == "interrupted"]
    known = ledger["energy_gross_j"].dropna()
    joules = float(known.sum()) if len(known) else None
    writing = is_running(folder)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "study": results.spec["name"],
                "writing": writing,
                "runs": counts,
                "failures": failures,
                "interrupted_attempts": len(interrupted),
                "ledger_energy_gross_j": joules,
            }
        )
        return
    console = data_console()
    table = Table(title=f"{results.spec['name']} in {folder}", title_justify="left")
    table.add_column("experiment")
    for state in states:
        table.add_column(state, justify="right")
    for name, by_state in counts.items():
        table.add_row(name, *(str(by_state[state]) for state in states))
    console.print(table)
    console.print(
        f"{'running now' if writing else 'not running'}; energy booked so far, all kinds of work: "
        f"{formats.joules(joules)} gross; interrupted attempts: {len(interrupted)}",
        soft_wrap=True,
    )
    for run_id, error in failures.items():
        console.print(f"failed: {run_id}: {error}", soft_wrap=True, markup=False)


def print_report(folder: Path, *, as_json: bool) -> None:
    """Write ``report/index.html`` anew and print its tables."""
    from joulelab.report.experiment import experiments
    from joulelab.report.page import report_data, write_report
    from joulelab.report.text import print_summary

    results = Results.open(folder)
    found = experiments(results)
    page = write_report(results, found)
    if as_json:
        print_json({"folder": str(folder), "report": str(page), **report_data(results, found)})
        return
    print_summary(results, data_console(), found)
    print(f"report: {page}")


def print_joint_report(folders: Sequence[Path], out: Path | None, *, as_json: bool) -> None:
    """Write the report of each study, and the claims, tables and figures of all together.

    Args:
        folders: results folders.
        out: where to write what is together; ``joulelab-out/paper`` where not given.
        as_json: JSON instead of tables on standard output.
    """
    from joulelab.report.claims import data, scopes
    from joulelab.report.experiment import experiments
    from joulelab.report.page import write_joint_report, write_report
    from joulelab.report.text import print_claims

    studies = [Results.open(folder) for folder in folders]
    found = [experiments(results) for results in studies]
    pages = [str(write_report(*study)) for study in zip(studies, found, strict=True)]
    every = [one for of_study in found for one in of_study]
    page = write_joint_report(studies, every, out or JOINT_FOLDER)
    claimed = scopes(every)
    if as_json:
        print_json({"report": str(page), "reports": pages, "claims": data(claimed)})
        return
    print_claims(claimed, data_console())
    print()
    for written in (*pages, page):
        print(f"report: {written}")


def export_table(folder: Path, file_format: str, table: str, out: Path | None) -> int:
    """Write one table of a study; what is damaged is left out, and said.

    Args:
        folder: the results folder.
        file_format: ``"csv"`` or ``"parquet"``.
        table: ``"runs"``, ``"energy"``, ``"rounds"``, ``"ledger"``, ``"requests"`` or
            ``"predictions"``.
        out: the file; without it CSV goes to standard output, and Parquet beside the runs.

    Returns:
        The exit code: 0, or 4 where anything was left out.

    Raises:
        StoreWriteError: the file cannot be written.
        StoreCorruptError: nothing of the table can be read.
    """
    results = Results.open(folder, salvage=True)
    frame = {
        "runs": results.to_frame,
        "energy": results.energy_frame,
        "rounds": results.rounds_frame,
        "ledger": results.ledger_frame,
        "requests": results.requests_frame,
        "predictions": results.predictions_frame,
    }[table]()
    if file_format == "csv" and out is None:
        frame.to_csv(sys.stdout, index=False)
    else:
        path = out or folder / f"{table}.{file_format}"
        _write(frame, path, file_format, own=out is not None)
        print(path)
    return _say_left_out(results.left_out)


def _write(frame: pd.DataFrame, path: Path, file_format: str, *, own: bool) -> None:
    """Write a table; a path of the user's `own` may be a pipe or a link, one in the folder not."""
    from pyarrow import ArrowException

    try:
        with path.open("wb") if own else replacing(path) as file:
            if file_format == "csv":
                frame.to_csv(file, index=False)
            else:
                frame.to_parquet(file, index=False)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}", "give another file with --out"
        ) from error
    except (ArrowException, UnicodeError, ValueError) as error:
        raise StoreWriteError(
            f"{path} cannot be written as {file_format}: {error}",
            "Parquet needs one type a column: export it as CSV",
        ) from error


def _say_left_out(left_out: Sequence[str]) -> int:
    """On standard error, for the table itself may be on standard output."""
    if not left_out:
        return 0
    console = progress_console()
    count = formats.count(len(left_out), "place")
    console.print(f"not all of it could be read; {count} left out:", style="red", soft_wrap=True)
    for said in left_out[:MOST_SAID]:
        console.print(f"  {said}", markup=False, soft_wrap=True)
    if (more := len(left_out) - MOST_SAID) > 0:
        console.print(f"  and {more:,} more", soft_wrap=True)
    return PARTLY
