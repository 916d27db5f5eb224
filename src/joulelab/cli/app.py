"""The commands and their options. What a command does stands in the module of its name."""

from __future__ import annotations

import os
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from joulelab.errors import JoulelabError

if TYPE_CHECKING:
    from joulelab.study.study import Study

INTERRUPTED = 130

app = typer.Typer(
    name="joulelab",
    help="A laboratory for energy-efficient deep learning: designed experiments, in joules.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="A shipped study, a study file, or a results folder to go on with."
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The results folder of a study.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the study file."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="A Python file with parts of your own."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets lie; else JOULELAB_DATA."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


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


def _print_version(wanted: bool) -> None:
    if wanted:
        import joulelab

        print(joulelab.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A laboratory for energy-efficient deep learning: designed experiments, in joules."""
    if debug:
        os.environ["JOULELAB_DEBUG"] = "1"


@app.command("list")
def list_(plugin: Plugins = None, json: Json = False) -> None:
    """List studies, networks, data sets, strategies, meters and more, a line each."""
    from joulelab.cli.listing import print_parts

    print_parts(plugin or [], as_json=json)


@app.command()
def plan(
    study: StudyName,
    set_: Overrides = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show what a study would run, and predict its time and energy; nothing is kept."""
    from joulelab.cli.planning import print_plan

    print_plan(_load(study, set_, plugin, data_dir), as_json=json)


@app.command()
def run(
    study: StudyName,
    set_: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Results folder.")
    ] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run a study, or go on with it where it was interrupted; then write its report."""
    from joulelab.cli.running import default_folder, run_study

    folder = out or default_folder(study, set_ or [])
    raise typer.Exit(run_study(_load(study, set_, plugin, data_dir), folder, as_json=json))


@app.command()
def status(folder: Folder, json: Json = False) -> None:
    """Say how far a study is, also while it runs."""
    from joulelab.cli.inspecting import print_status

    print_status(folder, as_json=json)


@app.command()
def report(folder: Folder, json: Json = False) -> None:
    """Write the report of a study anew, finished or not, and print its tables."""
    from joulelab.cli.inspecting import print_report

    print_report(folder, as_json=json)


@app.command()
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
    """Write the runs, or another table, of a study as CSV or Parquet."""
    from joulelab.cli.inspecting import export_table

    export_table(folder, format_.value, table.value, out)


def main() -> NoReturn:
    """Run the command line; errors become one or two lines and an exit code."""
    try:
        app()
    except JoulelabError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe (`joulelab list | head`); keep Python from saying so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # A mistake of joulelab itself: still two lines, and not a screen of them.
        if os.environ.get("JOULELAB_DEBUG"):
            raise
        _explain(
            JoulelabError(
                f"joulelab has a defect: {type(error).__name__}: {error}",
                "please report it with what `joulelab --debug` prints before this line",
            )
        )
        sys.exit(JoulelabError.exit_code)
    sys.exit(0)


def _explain(error: JoulelabError) -> None:
    if os.environ.get("JOULELAB_DEBUG"):
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)


def _load(
    study: str, overrides: list[str] | None, plugins: list[Path] | None, data_dir: Path | None
) -> Study:
    from joulelab.study.study import Study

    return Study.load(study, overrides or [], plugins or [], data_dir)
