"""Commands on studies: list, plan, run, status, live, report, places, export and instruments."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulelab.cli.options import (
    DataDir,
    Domains,
    Folder,
    Host,
    Json,
    Overrides,
    Plugins,
    Port,
    Pue,
    Quiet,
    Scale,
    StudyName,
    Timezone,
    Trust,
    argument,
    command,
    epilog,
    option,
)
from joulelab.cli.output import show
from joulelab.errors import UntrustedCodeError, UsageError

if TYPE_CHECKING:
    from joulelab.study.study import Study

commands = typer.Typer()


class Format(StrEnum):
    """File formats of an export."""

    CSV = "csv"
    PARQUET = "parquet"


class Table(StrEnum):
    """Tables that can be exported."""

    RUNS = "runs"
    ENERGY = "energy"
    ROUNDS = "rounds"
    LEDGER = "ledger"
    REQUESTS = "requests"
    CURVES = "curves"
    PREDICTIONS = "predictions"


@commands.command("list", epilog=epilog("joulelab list"))
def list_(plugin: Plugins = None, json: Json = False) -> None:
    """List studies, networks, data sets, strategies, meters and more, one per line."""
    from joulelab.cli import listing

    show(listing.parts(plugin or []), as_json=json)


@commands.command(epilog=epilog("joulelab init study.toml --function train.py:train"))
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file to write.")] = Path(
        "study.toml"
    ),
    command: Annotated[
        str,
        typer.Option("--command", metavar="LINE", help="Command, with {width} for a factor width."),
    ] = "",
    function: Annotated[
        str,
        typer.Option("--function", metavar="FILE:NAME", help="Python function, as work.py:train."),
    ] = "",
    json: Json = False,
) -> None:
    """Write a commented study file for a command or a function of your own."""
    from joulelab.files import write_whole
    from joulelab.kinds.program.template import study_text
    from joulelab.present import View

    if command and function:
        raise UsageError("both --command and --function are given", "leave out one of them")
    if file.exists():
        raise UsageError(f"{file} exists already", "give another name")
    text = study_text(file, command, function)
    try:
        write_whole(file, text)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", "give another place"
        ) from error
    plan_it = shlex.join(["joulelab", "plan", str(file)])
    said = f"{file} is written: edit its levels, then run {plan_it}"
    show(View([said], {"file": str(file)}), as_json=json)


@commands.command(epilog=epilog("joulelab plan quickstart"))
def plan(  # noqa: PLR0913, PLR0917 - an option of the command each
    study: StudyName,
    set_: Overrides = None,
    scale: Scale = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    trust: Trust = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="ENGINE", help="Predict for workers, such as local:2 or slurm."
        ),
    ] = None,
    quiet: Quiet = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Stored runs to learn from; default: joulelab-out; repeatable.",
        ),
    ] = None,
    untimed: Annotated[
        bool, typer.Option("--untimed", help="Predict from stored runs only, without timing.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="With --untimed: hardware of the stored runs, such as H200.",
        ),
    ] = "auto",
    json: Json = False,
) -> None:
    """Show what a study would run and predict its time and energy, without storing anything."""
    if device != "auto" and not untimed:
        raise UsageError(
            "--device needs --untimed", "to set the study's device: --set device=cuda:0"
        )
    from joulelab.cli import planning

    if not (set_ or scale or untimed) and (finished := planning.finished(study)):
        show(finished, as_json=json)
        return
    loaded = load_study(study, set_, plugin, data_dir, scale, trust=trust)
    planned = (
        planning.untimed(loaded, from_, device) if untimed else planning.timed(loaded, from_, on)
    )
    show(planned, as_json=json)


@command(commands, "run", "joulelab.cli.running:run_command", example="joulelab run quickstart")
@dataclass(frozen=True, kw_only=True)
class Run:
    """Run a study, or resume it where it was interrupted; then write its report."""

    study: StudyName
    set_: Overrides = None
    scale: Scale = None
    out: Path | None = option(None, "Results folder.", "DIR")
    data_dir: DataDir = None
    plugin: Plugins = None
    trust: Trust = False
    on: str | None = option(
        None,
        "Run on workers: local:2, slurm, slurm:PARTITION, ray, ray:ADDRESS; default: here.",
        "ENGINE",
    )
    quiet: Quiet = False
    verbose: bool = option(False, "Show a line for each run.", short="-v")
    live: bool = option(False, "Show the study in a browser; prints the address.")
    host: Host = None
    port: Port = None
    to: str = option("", "Log each run there too: mlflow[:URI].", "SINK")
    json: Json = False


@command(
    commands,
    "log",
    "joulelab.cli.run_log:run_log",
    example="joulelab log joulelab-out/quickstart --to mlflow:http://127.0.0.1:5000",
)
@dataclass(frozen=True, kw_only=True)
class Log:
    """Log the runs of a study to MLflow; those that are there already stay as they are."""

    folder: Folder
    to: str = option(..., "Where to: mlflow[:URI].", "SINK")
    json: Json = False


@command(
    commands,
    "live",
    "joulelab.cli.live_pages:run_live",
    needs=("starlette", "uvicorn"),
    example="joulelab live joulelab-out/quickstart",
)
@dataclass(frozen=True, kw_only=True)
class Live:
    """Show a study in a browser while it runs, or afterwards.

    The address is printed; it has a token, without which the page cannot be seen. Ctrl-C ends it.
    """

    folder: Path = argument(..., "The results folder of a study.", "DIR")
    host: Host = None
    port: Port = None


@commands.command(epilog=epilog("joulelab status joulelab-out/quickstart"))
def status(folder: Folder, json: Json = False) -> None:
    """Show the progress of a study, also while it runs."""
    from joulelab.cli import inspecting

    show(inspecting.status(folder), as_json=json)


@commands.command(epilog=epilog("joulelab report joulelab-out/quickstart"))
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR ...", help="Results folders of studies.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Output folder of the joint report; default: joulelab-out/paper.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Rewrite the report of a study, finished or not, and print its tables.

    For several studies, for instance on two data sets, also write a joint report with the claims,
    tables and figures of the paper.
    """
    from joulelab.cli import inspecting

    alone = len(folders) == 1 and out is None
    made = inspecting.report(folders[0]) if alone else inspecting.joint_report(folders, out)
    show(made, as_json=json)


@commands.command(epilog=epilog("joulelab places joulelab-out/quickstart --place NLD --place FRA"))
def places(  # noqa: PLR0913, PLR0917 - an option of the command each
    folder: Folder,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place",
            metavar="PLACE",
            help="NLD, USA-CA, 412 (g/kWh), or a file over time; repeatable.",
        ),
    ] = None,
    timezone: Timezone = None,
    by: Annotated[
        str, typer.Option("--by", metavar="FACTOR", help="Compare the levels of this factor.")
    ] = "configuration",
    pue: Pue = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", metavar="FILE", help="Find the best start time in this series."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration", metavar="TIME", help="Duration of the work: 6h; default: as measured."
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="TIME", help="Deadline after --from: 24h."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Earliest start, ISO 8601; default: start of the series."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Write a figure by place, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the CO2e of a study's energy in other places or at other hours."""
    from joulelab.cli import placing
    from joulelab.energy.carbon.footprint import in_zone, names_series

    asked = placing.StartRequest(start, duration, within, from_, timezone)
    located = [in_zone(one, timezone) or one if names_series(one) else one for one in place or []]
    show(placing.places(folder, located, by, pue, asked, plot), as_json=json)


@commands.command(epilog=epilog("joulelab export joulelab-out/quickstart --out runs.csv"))
def export(
    folder: Folder,
    format_: Annotated[Format, typer.Option("--format", help="File format.")] = Format.CSV,
    table: Annotated[Table, typer.Option("--table", help="Table to export.")] = Table.RUNS,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Output file; CSV defaults to standard output."),
    ] = None,
) -> None:
    """Write the runs or another table of a study as CSV or Parquet.

    Damaged rows are skipped and listed, and the exit code is 4.
    """
    from joulelab.cli.inspecting import export_table

    raise typer.Exit(export_table(folder, format_.value, table.value, out))


@command(
    commands,
    "instruments",
    "joulelab.cli.calibrating:run_instruments",
    example="joulelab instruments joulelab-out/quickstart",
)
@dataclass(frozen=True, kw_only=True)
class Instruments:
    """Show how well meters agree on the same runs, and their calibration factors.

    First run the study with several meters: --set 'energy.meters=["nvml", "codecarbon",
    "shelly:HOST"]'.
    """

    folders: list[Path] = argument(..., "Results folders of studies.", "DIR ...")
    reference: str | None = option(
        None, "Reference instrument; default: the one that covers most.", "NAME"
    )
    instrument: list[str] | None = option(
        None,
        "Only this instrument, or a sum: sensors=nvml+rapl; repeatable.",
        "NAME[=SOURCE+SOURCE]",
    )
    domain: Domains = None
    plot: Path | None = option(None, "Write Bland-Altman plots, .png, .svg or .pdf.", "FILE")
    save: bool = option(False, "Save the calibration factors to the settings file.")
    json: Json = False


def load_study(
    study: str,
    overrides: list[str] | None,
    plugins: list[Path] | None,
    data_dir: Path | None,
    scale: float | None,
    *,
    trust: bool,
) -> Study:
    """Load a study; on a terminal, ask before running new code.

    Args:
        study: name, file or results folder.
        overrides: of ``--set``.
        plugins: files with the user's own parts.
        data_dir: of data sets.
        scale: of a miniature.
        trust: whether to run new code without asking.

    Raises:
        UntrustedCodeError: it was refused.
    """
    from joulelab.study.study import Study

    wanted = (study, overrides or [], plugins or [], data_dir, scale)
    try:
        return Study.load(*wanted, trust=trust)
    except UntrustedCodeError as error:
        if error.missing or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        listed = "\n".join(f"  {one}" for one in error.code)
        from joulelab.study.trust import approve_refused

        typer.echo(f"{error.study} uses code that you have not run yet:\n{listed}", err=True)
        if not typer.confirm("Run it?", err=True):
            raise
        approve_refused(error)
    return Study.load(*wanted)  # refuses what has changed since it was shown
