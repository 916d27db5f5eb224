"""Commands that read sensors: measure, diagnose, record, watch, and read what was recorded."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulelab.cli.options import (
    DeviceColumn,
    Domains,
    Interval,
    Json,
    Meters,
    Place,
    PowerColumns,
    Pue,
    RowInterval,
    TimeColumn,
    Timezone,
    TraceTimezone,
    Where,
)
from joulelab.cli.output import say, show
from joulelab.errors import UsageError

if TYPE_CHECKING:
    from joulelab.energy.command import Command
    from joulelab.energy.monitor import Options
    from joulelab.energy.traces.recording import ReadSettings

commands = typer.Typer()

WHOLE_MACHINE: Options = {"settings": {"estimate": {"scope": "machine"}}}
"""Where nothing of ours is run, an estimate of our own process would be one of nothing."""


class Busy(StrEnum):
    """What to do while another program measures on a device."""

    WAIT = "wait"
    REFUSE = "refuse"
    SHARE = "share"


@commands.command(context_settings={"allow_interspersed_args": False})
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
    timezone: Timezone = None,
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
        from joulelab.cli.measuring import Output, measure_commands
        from joulelab.energy.command import Design
        from joulelab.energy.signals import SURVIVED, signals_survived

    commands = _commands(command, compare)
    output = Output(json, trace, plot)
    design = Design(
        repeat=repeat,
        warmup=warmup,
        seed=seed,
        cool_down_s=cool_down,
        label=label or (" ".join(command) if command else "A against B"),
        stdout=output.stdout,
    )
    from joulelab.energy.carbon.footprint import in_zone

    options = _options(meter, domain, interval, in_zone(place, timezone), pue)
    options |= {"strict": strict, "busy": busy.value, "on_wait": say}
    idle_s = -1.0 if idle is None else max(idle, 0.0)
    with signals_survived(SURVIVED):
        code = measure_commands(commands, options, design, idle_s, output)
    raise typer.Exit(code)


@commands.command()
def doctor(meter: Meters = None, json: Json = False) -> None:
    """Say what can be measured here, how well, and what would make more measurable."""
    from joulelab.cli.examining import diagnosis

    show(diagnosis(meter), as_json=json)


@commands.command()
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
    from joulelab.cli import recording

    options = _options(meter, None, interval, None, None) | WHOLE_MACHINE
    recorded = recording.record(out, options, seconds, label or out.stem, force=force)
    show(recorded, as_json=json)


@commands.command()
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
    from joulelab.cli import recording

    recording.watch(_options(meter, None, interval, None, None) | WHOLE_MACHINE, every, seconds)


@commands.command()
def trace(  # noqa: PLR0913, PLR0917 - an option of the command each
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A recorded trace, or another program's log."),
    ],
    where: Where = "",
    time: TimeColumn = "",
    power: PowerColumns = None,
    device: DeviceColumn = "",
    timezone: TraceTimezone = None,
    interval: RowInterval = None,
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
    """Say what was used in a recorded trace: joulelab's, or a log of another program.

    Known are nvidia-smi (query, dmon), nvitop, turbostat, perf stat -I, powermetrics, powerstat,
    PowerJoular, EnergiBridge, Zeus, Scaphandre, Shelly, Tasmota, and any table with times and
    power in it.
    """
    from joulelab.cli import recording
    from joulelab.energy.booking import Booking

    settings: ReadSettings = {
        "where": where,
        "time_column": time,
        "power_column": power or [],
        "device": device,
        "timezone": timezone or "",
        "interval_s": interval,
    }
    read = recording.recording(file, settings, (start, end), Booking.of(place, pue), plot)
    show(read, as_json=json)


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
