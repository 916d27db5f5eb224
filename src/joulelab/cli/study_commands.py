"""Commands on studies: what there is, what it would take, running it, and what was found."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulelab.cli.options import (
    DataDir,
    Folder,
    Json,
    Overrides,
    Plugins,
    Pue,
    Scale,
    StudyName,
    Timezone,
    Trust,
    default_folder,
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
    """What an export holds."""

    RUNS = "runs"
    ENERGY = "energy"
    ROUNDS = "rounds"
    LEDGER = "ledger"
    REQUESTS = "requests"
    PREDICTIONS = "predictions"


@commands.command("list")
def list_(plugin: Plugins = None, json: Json = False) -> None:
    """List studies, networks, data sets, strategies, meters and more, a line each."""
    from joulelab.cli import listing

    show(listing.parts(plugin or []), as_json=json)


@commands.command()
def plan(  # noqa: PLR0913, PLR0917 - an option of the command each
    study: StudyName,
    set_: Overrides = None,
    scale: Scale = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    trust: Trust = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Stored runs to learn from; else joulelab-out; repeatable.",
        ),
    ] = None,
    untimed: Annotated[
        bool, typer.Option("--untimed", help="From stored runs alone; nothing is timed.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="With --untimed: hardware of stored runs, as H200."
        ),
    ] = "auto",
    json: Json = False,
) -> None:
    """Show what a study would run, and predict its time and energy; nothing is kept."""
    loaded = _load(study, set_, plugin, data_dir, scale, trust=trust)
    if untimed:
        from joulelab.cli import planning_history

        show(planning_history.untimed(loaded, from_, device), as_json=json)
        return
    if device != "auto":
        raise UsageError("--device is for --untimed", "set the study's own: --set device=cuda:0")
    from joulelab.cli import planning

    show(planning.timed(loaded, from_), as_json=json)


@commands.command()
def run(
    study: StudyName,
    set_: Overrides = None,
    scale: Scale = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Results folder.")
    ] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Run a study, or go on with it where it was interrupted; then write its report."""
    from joulelab.cli.running import run_study

    folder = out or default_folder(study, set_ or [], scale)
    loaded = _load(study, set_, plugin, data_dir, scale, trust=trust)
    raise typer.Exit(run_study(loaded, folder, as_json=json))


@commands.command()
def status(folder: Folder, json: Json = False) -> None:
    """Say how far a study is, also while it runs."""
    from joulelab.cli import inspecting

    show(inspecting.status(folder), as_json=json)


@commands.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR ...", help="Results folders of studies.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where several studies together are written."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the report of a study anew, finished or not, and print its tables.

    Of several studies, for instance on two data sets, the claims, tables and figures of the paper
    are written together as well.
    """
    from joulelab.cli import inspecting

    alone = len(folders) == 1 and out is None
    made = inspecting.report(folders[0]) if alone else inspecting.joint_report(folders, out)
    show(made, as_json=json)


@commands.command()
def places(  # noqa: PLR0913, PLR0917 - an option of the command each
    folder: Folder,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place",
            metavar="PLACE",
            help="NLD, USA-CA, 412 (g/kWh), or a file over time; may be repeated.",
        ),
    ] = None,
    timezone: Timezone = None,
    by: Annotated[
        str, typer.Option("--by", metavar="FACTOR", help="Compare the levels of this factor.")
    ] = "configuration",
    pue: Pue = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", metavar="FILE", help="Find the best hour to start in this series."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("--duration", metavar="TIME", help="How long it takes: 6h; else as it took."),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="TIME", help="Finished so long after --from: 24h."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="First start, ISO 8601; else as the series begins."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Figure by place, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what a study's energy would mean in CO2e at other places, or at other hours."""
    from joulelab.cli import placing
    from joulelab.cli.starting import StartRequest
    from joulelab.energy.carbon.footprint import in_zone, names_series

    asked = StartRequest(start, duration, within, from_, timezone)
    located = [in_zone(one, timezone) or one if names_series(one) else one for one in place or []]
    show(placing.places(folder, located, by, pue, asked, plot), as_json=json)


@commands.command()
def export(
    folder: Folder,
    format_: Annotated[Format, typer.Option("--format", help="File format.")] = Format.CSV,
    table: Annotated[Table, typer.Option("--table", help="What to export.")] = Table.RUNS,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Where to; CSV goes to standard output without it."
        ),
    ] = None,
) -> None:
    """Write the runs, or another table, of a study as CSV or Parquet.

    Rows that are damaged are left out, and named; the exit code is then 4.
    """
    from joulelab.cli.inspecting import export_table

    raise typer.Exit(export_table(folder, format_.value, table.value, out))


def _load(
    study: str,
    overrides: list[str] | None,
    plugins: list[Path] | None,
    data_dir: Path | None,
    scale: float | None,
    *,
    trust: bool,
) -> Study:
    """Load a study; on a terminal, the user is asked about code that he has not run yet."""
    from joulelab.study.study import Study

    wanted = (study, overrides or [], plugins or [], data_dir, scale)
    try:
        return Study.load(*wanted, trust=trust)
    except UntrustedCodeError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        listed = "\n".join(f"  {one}" for one in error.code)
        from joulelab.study.trust import approve_refused

        typer.echo(f"{error.study} names code that you have not run yet:\n{listed}", err=True)
        if not typer.confirm("Run it?", err=True):
            raise
        approve_refused(error)
    return Study.load(*wanted)  # refuses what has changed since it was shown
