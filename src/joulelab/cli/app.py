"""The commands and their options. What a command does stands in the module of its name."""

from __future__ import annotations

import os
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from joulelab.errors import JoulelabError, UsageError

if TYPE_CHECKING:
    from joulelab.energy.monitor import Options
    from joulelab.energy.trials import Command
    from joulelab.study.study import Study

INTERRUPTED = 130
WHOLE_MACHINE: Options = {"settings": {"estimate": {"scope": "machine"}}}
"""Where nothing of ours is run, an estimate of our own process would be one of nothing."""

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
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        metavar="S",
        help="A miniature that does this share of the work, for instance 0.001; it is printed "
        "and kept what was thinned. What --set sets is not.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets lie; else JOULELAB_DATA."),
]
Meters = Annotated[
    list[str] | None,
    typer.Option(
        "--meter",
        metavar="NAME",
        help="Only this meter, for instance nvml or shelly:192.168.1.20; may be repeated.",
    ),
]
Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain", metavar="NAME", help="Count only this domain, for instance gpu:0; repeatable."
    ),
]
Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", help="Time between two samples.")
]
Place = Annotated[
    str | None,
    typer.Option(
        "--place",
        metavar="PLACE",
        help="Where the electricity is from: NLD, USA-CA, 412 (g/kWh), or a CSV over time.",
    ),
]
Pue = Annotated[
    float | None, typer.Option("--pue", help="Power usage effectiveness of the building.")
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


class Kind(StrEnum):
    """Experiments that a table can be of."""

    ARCHITECTURE = "architecture"
    TUNING = "tuning"


class Busy(StrEnum):
    """What to do while another program measures on a device."""

    WAIT = "wait"
    REFUSE = "refuse"
    SHARE = "share"


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
    scale: Scale = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show what a study would run, and predict its time and energy; nothing is kept."""
    from joulelab.cli.planning import print_plan

    print_plan(_load(study, set_, plugin, data_dir, scale), as_json=json)


@app.command()
def run(
    study: StudyName,
    set_: Overrides = None,
    scale: Scale = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Results folder.")
    ] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run a study, or go on with it where it was interrupted; then write its report."""
    from joulelab.cli.running import default_folder, run_study

    folder = out or default_folder(study, set_ or [], scale)
    raise typer.Exit(run_study(_load(study, set_, plugin, data_dir, scale), folder, as_json=json))


@app.command()
def status(folder: Folder, json: Json = False) -> None:
    """Say how far a study is, also while it runs."""
    from joulelab.cli.inspecting import print_status

    print_status(folder, as_json=json)


@app.command()
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
    from joulelab.cli.inspecting import print_joint_report, print_report

    if len(folders) == 1 and out is None:
        print_report(folders[0], as_json=json)
    else:
        print_joint_report(folders, out, as_json=json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="Results folder of a study.")],
    second: Annotated[Path, typer.Argument(metavar="DIR_B", help="That of another.")],
    json: Json = False,
) -> None:
    """Compare two studies: accuracy and energy of each configuration, and which claims agree."""
    from joulelab.cli.comparing import print_comparison

    print_comparison(first, second, as_json=json)


@app.command()
def analyze(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="architecture or tuning: which experiment it is.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file with a header.")],
    factor: Annotated[
        list[str] | None,
        typer.Option(
            "--factor", metavar="COLUMN", help="This column is a factor; repeatable. Else found."
        ),
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option("--energy", metavar="COLUMN", help="Column with the joules, else energy_j."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write pages, tables and figures there."),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse anybody's table of runs as a study of joulelab is analysed.

    architecture: a row a training, with the columns energy_j (joules) and accuracy (0 to 1), and a
    column for each factor, of any name and with any levels, such as linear_layers, conv_layers,
    relu_layers.

    tuning: a row a round, or a row a repetition, with the columns strategy, round and accuracy, and
    a column for each further factor, such as network and hyperparameters; energy_j where known.

    Columns that are no factors: round, repetition, configuration, best_accuracy, duration_s,
    utilisation_mean, flops, learning_rate, beta1, beta2, epsilon, weight_decay. Without a column
    round, equal hyperparameters make a round. Empty cells are missing values.
    """
    from joulelab.cli.analyzing import analyze as analyze_table

    analyze_table(kind.value, file, factor or [], energy, out, as_json=json)


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


@app.command(context_settings={"allow_interspersed_args": False})
def measure(  # noqa: PLR0913, PLR0917 - an option of the command each
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[--] COMMAND ...", help="What to run.")
    ] = None,
    meter: Meters = None,
    domain: Domains = None,
    interval: Interval = 0.1,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            help="How long idle power is measured before and after; 0 for not at all. "
            "As long as the sensors need where not given.",
        ),
    ] = None,
    place: Place = None,
    pue: Pue = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="No estimates: measured, or an error.")
    ] = False,
    busy: Annotated[
        Busy, typer.Option("--busy", help="What to do while another program measures here.")
    ] = Busy.WAIT,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="How often to run it.")] = 1,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", metavar='"A" "B"', help="Two command lines to compare, interleaved."
        ),
    ] = None,
    warmup: Annotated[
        int, typer.Option("--warmup", min=0, help="Runs before, that do not count.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the order of compared commands.")] = 0,
    cool_down: Annotated[
        float,
        typer.Option(
            "--cool-down", metavar="SECONDS", help="Longest wait for idle power between runs."
        ),
    ] = 30.0,
    label: Annotated[str, typer.Option("--label", help="A name for the result.")] = "",
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Power trace, .parquet or .csv."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Picture of it, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure what a command uses: joulelab measure -- python train.py.

    The command keeps its output and its exit code. The table goes to standard error.
    """
    from joulelab.cli.signals import for_the_main_thread

    with for_the_main_thread():
        from joulelab.cli.measuring import Output, measure_commands, stdout_of_commands
        from joulelab.energy.trials import Design

    commands = _commands(command, compare)
    design = Design(
        repeat=repeat,
        warmup=warmup,
        seed=seed,
        cool_down_s=cool_down,
        label=label or (" ".join(command) if command else "A against B"),
        stdout=stdout_of_commands(as_json=json),
    )
    options = _options(meter, domain, interval, place, pue)
    options |= {"strict": strict, "busy": busy.value, "on_wait": _say}
    output = Output(json, trace, plot)
    idle_s = -1.0 if idle is None else max(idle, 0.0)
    raise typer.Exit(measure_commands(commands, options, design, idle_s, output))


@app.command()
def doctor(meter: Meters = None, json: Json = False) -> None:
    """Say what can be measured here, how well, and what would make more measurable."""
    from joulelab.cli.examining import print_diagnosis

    print_diagnosis(meter, as_json=json)


@app.command()
def record(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to, .parquet or .csv.")],
    meter: Meters = None,
    interval: Interval = 0.1,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop by itself; else Ctrl-C stops it."),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="A name for the trace.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Record power into a file until stopped."""
    from joulelab.cli.recording import record_trace

    options = _options(meter, None, interval, None, None) | WHOLE_MACHINE
    record_trace(out, options, seconds, label or out.stem, force=force, as_json=json)


@app.command()
def watch(
    meter: Meters = None,
    interval: Interval = 0.1,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", help="Time between two views.")
    ] = 1.0,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop by itself; else Ctrl-C stops it."),
    ] = None,
) -> None:
    """Show live power by domain, until stopped."""
    from joulelab.cli.watching import watch_power

    watch_power(_options(meter, None, interval, None, None) | WHOLE_MACHINE, every, seconds)


@app.command()
def trace(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A recorded trace, also nvidia-smi's CSV log."),
    ],
    where: Annotated[
        str,
        typer.Option("--where", metavar="COLUMN=VALUE", help="Which of several recordings."),
    ] = "",
    start: Annotated[
        float | None, typer.Option("--from", metavar="SECONDS", help="From this moment on.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--to", metavar="SECONDS", help="Until this moment.")
    ] = None,
    place: Place = None,
    pue: Pue = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Picture of it, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what was used in a recorded trace."""
    from joulelab.cli.recording import Part, print_recording

    print_recording(file, Part(where, start, end), place, pue, plot, as_json=json)


@app.command()
def replicate(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A published study: yarally2023.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="The folder with its raw data.")
    ],
    json: Json = False,
) -> None:
    """Recompute the numbers of a published study from its raw data, and say which agree.

    yarally2023 takes whichever of these files are there, DATASET being fashion-mnist or cifar10.

    architecture-DATASET.csv, a row a training, with the columns linear_layers, conv_layers,
    relu_layers, learning_rate, beta1, beta2, energy_j and accuracy.

    tuning-DATASET.csv, a row a round, with the columns network, strategy, hyperparameters, round
    and accuracy; best_accuracy and energy_j where there are.
    """
    from joulelab.cli.replicating import print_replication

    print_replication(study, data, as_json=json)


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
    study: str,
    overrides: list[str] | None,
    plugins: list[Path] | None,
    data_dir: Path | None,
    scale: float | None,
) -> Study:
    from joulelab.study.study import Study

    return Study.load(study, overrides or [], plugins or [], data_dir, scale)


def _commands(command: list[str] | None, compare: tuple[str, str] | None) -> list[Command]:
    if compare is not None and command:
        raise UsageError("--compare has its two commands already", "leave out the third")
    if compare is not None:
        return list(compare)
    if not command:
        raise UsageError(
            "no command is named", "joulelab measure -- python train.py, or --compare A B"
        )
    return [command]


def _options(
    meters: list[str] | None,
    domains: list[str] | None,
    interval_s: float,
    place: str | None,
    pue: float | None,
) -> Options:
    return {
        "meters": meters or None,
        "domains": domains or None,
        "interval_s": interval_s,
        "place": place,
        "pue": pue,
    }


def _say(what: str) -> None:
    print(what, file=sys.stderr)
