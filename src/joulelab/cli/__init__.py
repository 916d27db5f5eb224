"""The command ``joulelab``: thin commands over study, analysis and report.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 done; 1 error;
2 wrong usage or study file; 3 some runs failed; 4 done, but a validity check failed; 5 ended by its
budget; 130 interrupted. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from joulelab.cli import (
    card_commands,
    data_commands,
    energy_commands,
    help_commands,
    predict_commands,
    serving_commands,
    study_commands,
    tuning_commands,
)
from joulelab.errors import JoulelabError, UsageError
from joulelab.optional import EXTRAS, missing

__all__ = ["app", "main"]

INTERRUPTED = 130
NAME_SHOWN = 40

WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]
"""The usage error of click, which some versions of typer bring along."""

GROUPS = {
    "Measure": ("measure", "profile", "doctor", "watch", "record", "trace", "predict"),
    "Study": ("list", "init", "plan", "run", "status", "live", "report", "export", "log", "tune"),
    "Analyse": ("compare", "analyze", "places", "instruments", "replicate", "import", "card"),
    "Serve": ("load", "batch"),
    "Help": ("help", "config"),
}


class Grouped(typer.core.TyperGroup):
    """Lists the commands by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - of click
        """One list for each group; a command without a group comes last."""
        grouped = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in self.list_commands(ctx) if name not in grouped)
        width = max(map(len, self.commands))
        for title, names in {**GROUPS, "More": rest}.items():
            if names:
                about = [(f"{name:{width}}", self.commands[name]) for name in names]
                with formatter.section(title):
                    formatter.write_dl([(name, one.get_short_help_str(200)) for name, one in about])


app = typer.Typer(
    name="joulelab",
    cls=Grouped,
    help="A laboratory for energy-efficient deep learning: designed experiments, measured in "
    "joules.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import joulelab

        print(joulelab.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A laboratory for energy-efficient deep learning: designed experiments, measured in joules."""
    if debug:
        os.environ["JOULELAB_DEBUG"] = "1"


PARTS = (
    study_commands,
    tuning_commands,
    data_commands,
    card_commands,
    energy_commands,
    serving_commands,
    predict_commands,
    help_commands,
)
for part in PARTS:
    app.add_typer(part.commands)


def main() -> NoReturn:
    """Run the command line; errors become one or two lines and an exit code."""
    _open_closed_streams()
    code = 0
    try:
        code = app(prog_name="joulelab", standalone_mode=False) or 0
    except JoulelabError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except WrongUsage as error:
        sys.exit(_explain_usage(error))
    except typer.Abort:
        print("aborted", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe (`joulelab list | head`); keep Python from saying so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (library := _library(error)) in EXTRAS:
            _explain(missing(library, "this"))
            sys.exit(JoulelabError.exit_code)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            name = f"{str(error.filename)[:NAME_SHOWN]}..."
            _explain(UsageError(f"{name} is not possible: {error.strerror}", "choose another file"))
            sys.exit(UsageError.exit_code)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            where = f" for {error.filename}" if error.filename else ""
            _explain(JoulelabError(f"no space is left{where}", "free some, or write elsewhere"))
            sys.exit(JoulelabError.exit_code)
        # A defect of joulelab: still two lines, not a whole traceback.
        if os.environ.get("JOULELAB_DEBUG"):
            raise
        _explain(
            JoulelabError(
                f"joulelab has a defect: {type(error).__name__}: {error}",
                "please report it with what `joulelab --debug` prints before this line",
            )
        )
        sys.exit(JoulelabError.exit_code)
    sys.exit(code)


def _library(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _open_closed_streams() -> None:
    """Replace closed streams (``>&-``) by the null device, so that no file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, stream)


def _explain(error: JoulelabError) -> None:
    if os.environ.get("JOULELAB_DEBUG"):
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)


def _explain_usage(error: Any) -> int:  # noqa: ANN401 - a `WrongUsage`
    """Say in two lines what is wrong, of which command, and where its options are listed.

    Returns:
        The exit code.
    """
    if error.ctx is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    command, message = error.ctx.command_path, error.format_message().rstrip(".")
    message = message.replace("Value error, ", "").replace(": Input should", ": it should")
    message = message.partition(", unable to parse")[0]
    message, near, name = message.partition(". Did you mean ")
    hint = f"did you mean {name}" if near else f"see {command} --help"
    _explain(UsageError(f"{command}: {message[:1].lower()}{message[1:]}", hint))
    return UsageError.exit_code
