"""Commands that read sensors: measure, profile, doctor, record, watch and trace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from joulelab.cli.options import (
    Host,
    Idle,
    Interval,
    Json,
    MeterOptions,
    Meters,
    Place,
    Port,
    Pue,
    Quiet,
    To,
    TraceOptions,
    argument,
    command,
    option,
)

commands = typer.Typer()
FOR = "Stop after this time; default: at Ctrl-C."
FIGURE = "Write a figure of power, .png, .svg or .pdf."


class Busy(StrEnum):
    """What to do if another program is measuring on a device."""

    WAIT = "wait"
    REFUSE = "refuse"
    SHARE = "share"


@command(
    commands,
    "measure",
    "joulelab.cli.measuring:run_measure",
    example="joulelab measure -- python train.py",
    allow_interspersed_args=False,
)
@dataclass(frozen=True, kw_only=True)
class Measure(MeterOptions):
    """Measure the energy of a command: joulelab measure -- python train.py.

    The command keeps its output and its exit code. The answer goes to standard error. Exit code 5:
    --budget has ended it.
    """

    command: list[str] | None = argument(None, "Command to run.", "[--] COMMAND ...")
    idle: Idle = None
    strict: bool = option(False, "Fail rather than estimate.")
    busy: Busy = option(Busy.WAIT, "What to do if another program is measuring.")
    repeat: int = option(1, "Number of runs.", min=1)
    compare: bool = option(
        False, 'Compare command lines, run interleaved: --compare "A" "B" ...; comes last.'
    )
    sweep: list[str] | None = option(
        None,
        "Compare a command with {NAME} replaced by each value; repeatable.",
        "NAME=VALUE,VALUE",
    )
    verbose: bool = option(False, "Show the domains.", short="-v")
    quiet: Quiet = False
    budget: str | None = option(
        None, "End the command when so much is spent: 5kJ, 2 Wh, 10min, 5gCO2e.", "AMOUNT"
    )
    grace: float = option(10.0, "Time between SIGTERM and SIGKILL then.", "SECONDS")
    warmup: int = option(0, "Number of warm-up runs, not counted.", min=0)
    seed: int = option(0, "Seed for the order of compared commands.")
    cool_down: float = option(
        30.0, "Longest wait between runs for power to return to idle.", "SECONDS"
    )
    label: str = option("", "Name of the result.")
    trace: Path | None = option(None, "Write the power trace, .parquet or .csv.", "FILE")
    plot: Path | None = option(None, FIGURE, "FILE")
    to: To = None


@command(
    commands,
    "profile",
    "joulelab.cli.profiling:run_profile",
    example="joulelab profile --html profile.html -- train.py --epochs 3",
    allow_interspersed_args=False,
)
@dataclass(frozen=True, kw_only=True)
class Profile(MeterOptions):
    """Show which part of a Python program costs most.

    The program runs in joulelab's own interpreter, with its output and its exit code. The answer
    goes to standard error.
    """

    command: list[str] | None = argument(None, "Program to run.", "[--] FILE|-m MODULE ...")
    module: bool = option(False, "Run a module, as python -m does.", short="-m")
    rate: float = option(100.0, "Samples of the stacks in a second, 1 to 1000.", "HZ")
    html: Path | None = option(None, "Write a flame graph, a page that needs no other.", "FILE")
    speedscope: Path | None = option(None, "Write the profile for speedscope.app.", "FILE")
    idle: float | None = option(
        None,
        "Time to measure idle power before; 0 to skip. Default: as long as the sensors need.",
        "SECONDS",
    )
    busy: Busy = option(Busy.WAIT, "What to do if another program is measuring.")
    quiet: Quiet = False
    label: str = option("", "Name of the result.")


@command(
    commands,
    "doctor",
    "joulelab.cli.recording:run_doctor",
    example="joulelab doctor",
)
@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Show what can be measured here, how accurately, and how to measure more."""

    meter: Meters = None
    json: Json = False


@command(
    commands,
    "record",
    "joulelab.cli.recording:run_record",
    example="joulelab record --out power.csv --for 60",
)
@dataclass(frozen=True, kw_only=True)
class Record:
    """Record power to a file until stopped."""

    out: Path = option(..., "Output file, .parquet or .csv.", "FILE")
    meter: Meters = None
    interval: Interval = 0.1
    for_: float | None = option(None, FOR, "SECONDS")
    label: str = option("", "Name of the trace.")
    quiet: Quiet = False
    force: bool = option(False, "Overwrite an existing file.")
    json: Json = False


@command(
    commands,
    "watch",
    "joulelab.cli.recording:run_watch",
    example="joulelab watch --every 5",
)
@dataclass(frozen=True, kw_only=True)
class Watch:
    """Show live power by domain until stopped; with --live also in a browser."""

    meter: Meters = None
    interval: Interval = 0.1
    every: float = option(1.0, "Time between updates.", "SECONDS")
    for_: float | None = option(None, FOR, "SECONDS")
    live: bool = option(False, "Show it in a browser too.")
    host: Host = None
    port: Port = None
    place: Place = None
    pue: Pue = None
    prometheus: str | None = option(
        None,
        "Serve energy counters to Prometheus; as --to prometheus:ADDRESS.",
        "[HOST:]PORT",
    )
    to: To = None


@command(
    commands,
    "trace",
    "joulelab.cli.recording:run_trace",
    example="joulelab trace power.csv --from 10 --to 50",
)
@dataclass(frozen=True, kw_only=True)
class Trace(TraceOptions):
    """Show the energy in a recorded trace of joulelab or a log of another program.

    Supported: nvidia-smi (query, dmon), nvitop, turbostat, perf stat -I, powermetrics, powerstat,
    PowerJoular, EnergiBridge, Zeus, Scaphandre, Shelly, Tasmota, and any table with times and
    power.
    """

    file: Path = argument(..., "A recorded trace, or a log of another program.")
    from_: float | None = option(None, "Start of the part that counts.", "SECONDS")
    to: float | None = option(None, "End of the part that counts.", "SECONDS")
    place: Place = None
    pue: Pue = None
    plot: Path | None = option(None, FIGURE, "FILE")
    json: Json = False
