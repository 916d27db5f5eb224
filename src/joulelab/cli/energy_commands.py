"""Commands that read sensors: measure, doctor, record, watch and trace."""

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
"""These commands run no program, so an estimate covers the whole machine, not this process."""


class Busy(StrEnum):
    """What to do if another program is measuring on a device."""

    WAIT = "wait"
    REFUSE = "refuse"
    SHARE = "share"


@commands.command(context_settings={"allow_interspersed_args": False})
def measure(  # noqa: PLR0913, PLR0917 - an option of the command each
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[--] COMMAND ...", help="Command to run.")
    ] = None,
    meter: Meters = None,
    domain: Domains = None,
    interval: Interval = 0.1,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            help="Time to measure idle power before and after; 0 to skip. Default: as long as the "
            "sensors need.",
        ),
    ] = None,
    place: Place = None,
    timezone: Timezone = None,
    pue: Pue = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail rather than estimate.")] = False,
    busy: Annotated[
        Busy, typer.Option("--busy", help="What to do if another program is measuring.")
    ] = Busy.WAIT,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Number of runs.")] = 1,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", metavar='"A" "B"', help="Two command lines to compare, run interleaved."
        ),
    ] = None,
    warmup: Annotated[
        int, typer.Option("--warmup", min=0, help="Number of warm-up runs, not counted.")
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed for the order of compared commands.")
    ] = 0,
    cool_down: Annotated[
        float,
        typer.Option(
            "--cool-down",
            metavar="SECONDS",
            help="Longest wait between runs for power to return to idle.",
        ),
    ] = 30.0,
    label: Annotated[str, typer.Option("--label", help="Name of the result.")] = "",
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write the power trace, .parquet or .csv."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Write a figure of power, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure the energy of a command: joulelab measure -- python train.py.

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
    """Show what can be measured here, how accurately, and how to measure more."""
    from joulelab.cli.examining import diagnosis

    show(diagnosis(meter), as_json=json)


@commands.command()
def record(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Output file, .parquet or .csv.")
    ],
    meter: Meters = None,
    interval: Interval = 0.1,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop after this time; default: at Ctrl-C."),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="Name of the trace.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    json: Json = False,
) -> None:
    """Record power to a file until stopped."""
    from joulelab.cli import recording

    options = _options(meter, None, interval, None, None) | WHOLE_MACHINE
    recorded = recording.record(out, options, seconds, label or out.stem, force=force)
    show(recorded, as_json=json)


@commands.command()
def watch(
    meter: Meters = None,
    interval: Interval = 0.1,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", help="Time between updates.")
    ] = 1.0,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop after this time; default: at Ctrl-C."),
    ] = None,
) -> None:
    """Show live power by domain until stopped."""
    from joulelab.cli import recording

    recording.watch(_options(meter, None, interval, None, None) | WHOLE_MACHINE, every, seconds)


@commands.command()
def trace(  # noqa: PLR0913, PLR0917 - an option of the command each
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A recorded trace, or a log of another program."),
    ],
    where: Where = "",
    time: TimeColumn = "",
    power: PowerColumns = None,
    device: DeviceColumn = "",
    timezone: TraceTimezone = None,
    interval: RowInterval = None,
    start: Annotated[
        float | None, typer.Option("--from", metavar="SECONDS", help="Start of the part to read.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--to", metavar="SECONDS", help="End of the part to read.")
    ] = None,
    place: Place = None,
    pue: Pue = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Write a figure of power, .png, .svg or .pdf."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the energy in a recorded trace of joulelab or a log of another program.

    Supported: nvidia-smi (query, dmon), nvitop, turbostat, perf stat -I, powermetrics, powerstat,
    PowerJoular, EnergiBridge, Zeus, Scaphandre, Shelly, Tasmota, and any table with times and
    power.
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
        raise UsageError("--compare takes exactly two commands", "remove the third")
    if compare is not None:
        return list(compare)
    if not command:
        raise UsageError(
            "no command given", "joulelab measure -- python train.py, or --compare A B"
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
