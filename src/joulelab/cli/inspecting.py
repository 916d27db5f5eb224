"""``joulelab status``, ``report`` and ``export``: the contents of a results folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.cli.options import OUTPUT_FOLDER
from joulelab.cli.output import check_file, check_folder, say, write_frame
from joulelab.present import Column, Facts, Remark, Table, View, words
from joulelab.study.manifest import machine_of
from joulelab.study.now import read_now
from joulelab.study.results import Results
from joulelab.study.store_reading import is_running

if TYPE_CHECKING:
    import pandas as pd

    from joulelab.report.ledger import ReportedStudy
    from joulelab.study.listener import WorkerNow

MOST_SAID = 20
"""Most skipped rows that an export names one by one."""
PARTLY = 4
STATES = ("planned", "running", "finished", "failed")
NOUNS = {"energy": "energy readings", "ledger": "entries in its ledger"}
JOINT_FOLDER = OUTPUT_FOLDER / "paper"


def status(folder: Path) -> View:
    """The number of runs in each state by experiment, what workers do, and what failed."""
    results = Results.open(folder)
    runs, ledger = results.to_frame(), results.ledger_frame()
    writing = is_running(folder)
    if not writing:  # its process was killed: the next one will note the same
        runs["state"] = runs["state"].replace("running", "planned")
        ledger["state"] = ledger["state"].replace("running", "interrupted")
    counts = {
        str(name): {state: int((frame["state"] == state).sum()) for state in STATES}
        for name, frame in runs.groupby("experiment", sort=False)
    }
    failed = runs[runs["state"] == "failed"]
    failures = dict(zip(failed["run_id"], failed["error"], strict=True))
    nodes = dict(zip(failed["run_id"], failed["node"], strict=True))
    many = runs["node"].nunique() > 1
    interrupted = int(((ledger["state"] == "interrupted") & (ledger["runs"] != "[]")).sum())
    known = ledger["energy_gross_j"].dropna()
    joules = float(known.sum()) if len(known) else None
    unknown = int((ledger["energy_gross_j"].isna() & (ledger["state"] != "running")).sum())
    now = read_now(folder) if writing else None
    rows = [{"experiment": name, **by_state} for name, by_state in counts.items()]
    columns = [words("experiment"), *(Column(state, form=str) for state in STATES)]
    workers = _workers(results, runs, ledger, now.workers if now else (), writing=writing)
    waiting = now.waiting if now and now.workers else None
    queue = "" if waiting is None else f"; {formats.count(waiting, 'run')} not given to a worker"
    return View(
        [
            Table(rows, columns, title=f"{results.spec['name']} in {folder}"),
            *([_workers_table(workers)] if len(workers) > 1 or waiting is not None else ()),
            f"{'running now' if writing else 'not running'}{queue}; energy so far, including "
            f"setup and idle: {formats.joules(joules)} gross{_without(unknown)}; "
            f"interrupted attempts: {interrupted}",
            *([f"now: {now.doing}"] if now is not None and now.doing else ()),
            *(
                f"failed: {run_id}{f' on {nodes[run_id]}' if many else ''}: {error}"
                for run_id, error in failures.items()
            ),
        ],
        {
            "folder": str(folder),
            "study": results.spec["name"],
            "writing": writing,
            "runs": counts,
            "failures": failures,
            "interrupted_attempts": interrupted,
            "ledger_energy_gross_j": joules,
            "ledger_unknown": unknown,
            "sessions": workers,
            "waiting_runs": waiting,
        },
    )


def _without(unknown: int) -> str:
    """What is not in a sum of the ledger."""
    if not unknown:
        return ""
    from joulelab.report.ledger import without  # with what draws figures

    return without(unknown)


def _workers(
    results: Results,
    runs: pd.DataFrame,
    ledger: pd.DataFrame,
    now: Sequence[WorkerNow],
    *,
    writing: bool,
) -> list[dict[str, Any]]:
    """A row for each session: where it works, what it has done and what it does.

    Workers that have not loaded the study yet are no sessions of the manifest; they come last.
    """
    ended = runs[runs["state"].isin(["finished", "failed"])]
    last = ended.groupby("session").size()
    joules = ledger.groupby("session")["energy_gross_j"].sum(min_count=1)
    goes_on = (ledger["state"] == "running") & (ledger["runs"] != "[]")
    doing = ledger[goes_on].set_index("session")["runs"]
    at_work = {one.session: one for one in now}
    sessions = {one["session"]: one for one in results.manifest.get("sessions", ())}
    rows = []
    for number in [*sessions, *(one for one in at_work if one not in sessions)]:
        one, worker = sessions.get(number, {}), at_work.get(number)
        machine = machine_of(one)
        state = "ended" if one.get("ended_at") else "not running"
        if worker is not None:
            state = f"{worker.name}: {worker.words}"
        elif writing and number in doing.index:
            state = ", ".join(json.loads(doing.loc[[number]].iloc[-1]))
        rows.append(
            {
                "session": number,
                "node": machine["node"] or (worker.node if worker else None) or None,
                "machine": machine["machine"],
                "runs": int(last.get(number, 0)) if len(last) else None,
                "energy_gross_j": _number(joules.get(number)),
                "doing": state,
            }
        )
    return rows


def _workers_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = [
        Column("session", form=str),
        words("node", lambda row: row["node"] or formats.DASH),
        words("machine", lambda row: row["machine"] or formats.DASH),
        Column("runs", form=formats.or_dash(str)),
        Column("energy", "energy_gross_j", units=formats.ENERGY),
        words("doing"),
    ]
    return Table(rows, columns, title="Sessions")


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)  # noqa: PLR0124 - NaN


def report(folder: Path) -> View:
    """Rewrite the report of a study, and show all of its tables."""
    from joulelab.report.ledger import ReportedStudy
    from joulelab.report.pages import study_view

    return reported(ReportedStudy(Results.open(folder)), study_view)


def reported(study: ReportedStudy, make: Callable[[ReportedStudy], View]) -> View:
    """Write the report of a study, and show it.

    Args:
        study: unchanged.
        make: what is shown of it.
    """
    from joulelab.report.pages import report_data, write_report

    page = write_report(study)
    told = {"folder": str(study.results.folder), "report": str(page)}
    return View(
        [*make(study).parts, Facts([("report", str(page))])], lambda: {**told, **report_data(study)}
    )


def joint_report(folders: Sequence[Path], out: Path | None) -> View:
    """Write the report of each study, and a joint one with claims, tables and figures.

    Args:
        folders: results folders.
        out: folder of the joint report; default: ``joulelab-out/paper``.
    """
    from joulelab.report.claims import data, overview
    from joulelab.report.conditions import remarks
    from joulelab.report.ledger import ReportedStudy
    from joulelab.report.pages import claimed, not_joint, write_report, write_side_pages
    from joulelab.report.paper_tables import NOT_OF_PAPER

    check_folder(out)
    studies = [ReportedStudy(Results.open(folder)) for folder in folders]
    every = [one for study in studies for one in study.experiments]
    name = formats.listing([study.name for study in studies])
    said = [f"{study.name}: {remark}" for study in studies for remark in remarks(study)]
    page = write_side_pages(name, every, out or JOINT_FOLDER, said)
    pages = [str(write_report(study)) for study in studies]
    found = claimed(every)
    joint = None if page is None else str(page)
    written = [*pages, joint] if joint else pages
    left_out = not_joint(every) if joint else [f"No joint page: {NOT_OF_PAPER}."]
    return View(
        [
            *map(overview, found),
            *map(Remark, left_out),
            Facts([("report", one) for one in written]),
        ],
        {
            "report": joint,
            "reports": pages,
            "claims": data(found),
            **({"remarks": left_out} if left_out else {}),
        },
    )


def export_table(folder: Path, file_format: str, table: str, out: Path | None) -> int:
    """Write one table of a study; skip damaged rows and list them on standard error.

    Args:
        folder: the results folder.
        file_format: ``"csv"`` or ``"parquet"``.
        table: ``"runs"``, ``"energy"``, ``"rounds"``, ``"ledger"``, ``"requests"``, ``"curves"`` or
            ``"predictions"``.
        out: the file; default: standard output for CSV, the results folder for Parquet.

    Returns:
        The exit code: 0, or 4 if anything was skipped.

    Raises:
        StoreWriteError: the file cannot be written.
        StoreCorruptError: nothing of the table can be read.
    """
    if out is not None:
        check_file(out)
    results = Results.open(folder, salvage=True)
    frame = {
        "runs": results.to_frame,
        "energy": results.energy_frame,
        "rounds": results.rounds_frame,
        "ledger": results.ledger_frame,
        "requests": results.requests_frame,
        "curves": results.curves_frame,
        "predictions": results.predictions_frame,
    }[table]()
    if frame.empty:
        say(
            f"{results.spec['name']} has no {NOUNS.get(table, table)}: the table is empty", "yellow"
        )
    if file_format == "csv" and out is None:
        frame.to_csv(sys.stdout, index=False)
    else:
        path = out or folder / f"{table}.{file_format}"
        write_frame(frame, path, file_format, own=out is not None)
        print(path)
    return _say_left_out(results.left_out)


def _say_left_out(left_out: Sequence[str]) -> int:
    """List skipped rows on standard error; the table itself may be on standard output."""
    if not left_out:
        return 0
    count = formats.count(len(left_out), "place")
    say(f"not all of it could be read; {count} left out:", "red")
    for said in left_out[:MOST_SAID]:
        say(f"  {said}")
    if (more := len(left_out) - MOST_SAID) > 0:
        say(f"  and {more:,} more")
    return PARTLY
