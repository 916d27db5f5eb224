"""Arguments and options that several commands share, and how options are declared and read.

A command with many options is a dataclass: its docstring is the help, its fields are the options,
and `command` names the function that takes it, whose module is imported only when it is run::

    @command(commands, "load", "joulelab.cli.loading:run_load")
    @dataclass(frozen=True, kw_only=True)
    class Load(MeterOptions):
        url: str = argument(..., "http:// or https://.")
        timeout: str = option("10s", "For one request, such as 10s.", "TIME")
        place: Place = None
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from inspect import Parameter, Signature, get_annotations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from joulelab.cli.output import QUIET
from joulelab.cli.signals import for_the_main_thread
from joulelab.errors import UsageError, quoted
from joulelab.files import shortened
from joulelab.optional import require
from joulelab.registry import imported, load_plugin

if TYPE_CHECKING:
    from joulelab.energy.options import Options
    from joulelab.energy.traces.recording import ReadSettings

Settings = TypeVar("Settings")
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WRITTEN = re.compile(rf"\s*([0-9.]+(?:e[+-]?\d+)?)\s*({'|'.join(UNITS_S)})\s*", re.ASCII)
OUTPUT_FOLDER = Path("joulelab-out")
"""Default folder of results, to write and to search."""
LONGEST_NAME = 120

StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="A shipped study, a study file, or a results folder to resume."
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The results folder of a study.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the study file."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file with your own parts."),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code of a results folder's study without asking.",
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        metavar="S",
        help="Scale the study down to this share of the work, for instance 0.001. The reductions "
        "are printed and stored; keys given with --set stay as they are.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Folder of data sets; default: JOULELAB_DATA."),
]
Meters = Annotated[
    list[str] | None,
    typer.Option(
        "--meter",
        metavar="NAME",
        help="Only this meter, for instance nvml or shelly:192.168.1.20; repeatable.",
    ),
]
Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain", metavar="NAME", help="Count only this domain, for instance gpu:0; repeatable."
    ),
]
Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", help="Time between samples.")
]
Idle = Annotated[
    float | None,
    typer.Option(
        "--idle",
        metavar="SECONDS",
        help="Time to measure idle power before and after; 0 to skip. Default: as long as the "
        "sensors need.",
    ),
]
Place = Annotated[
    str | None,
    typer.Option(
        "--place",
        metavar="PLACE",
        help="Origin of the electricity: NLD, USA-CA, 412 (g/kWh), or a file over time.",
    ),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Time zone of the --place file, for times without an offset: Europe/Berlin, +02:00, "
        "local; default: UTC.",
    ),
]
Pue = Annotated[
    float | None, typer.Option("--pue", help="Power usage effectiveness of the data centre.")
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Where the live page can be reached; default: 127.0.0.1, this machine only.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", help="Port of the live page; default: a free one."),
]
To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="SINK",
        help="Send values there too: FILE.csv, FILE.jsonl, prometheus:[HOST:]PORT, otlp[:URL], "
        "mlflow[:URI], tensorboard:DIR, wandb[:DIR]; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


def _be_quiet(ctx: typer.Context, quiet: bool) -> bool:
    if quiet:
        token = QUIET.set(True)
        ctx.call_on_close(lambda: QUIET.reset(token))
    return quiet


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.", callback=_be_quiet)]
Where = Annotated[
    str,
    typer.Option(
        "--where", metavar="COLUMN=VALUE", help="Select one of several recordings in the file."
    ),
]
TimeColumn = Annotated[
    str, typer.Option("--time", metavar="COLUMN", help="Time column, if not found by name.")
]
PowerColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--power", metavar="COLUMN", help="Power column, if not found by name; repeatable."
    ),
]
DeviceColumn = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="COLUMN|NAME",
        help="Column that identifies the device; or the only device, such as gpu:0 or wall.",
    ),
]
TraceTimezone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Time zone of the trace, for times without an offset: Europe/Berlin, UTC, +02:00; "
        "default: this machine's. For the --place file: grid.csv?timezone=ZONE.",
    ),
]
RowInterval = Annotated[
    float | None,
    typer.Option("--interval", metavar="SECONDS", help="Time between rows that have no times."),
]


def argument(default: Any, help_: str, metavar: str | None = None) -> Any:  # noqa: ANN401 - as of `field`
    """A field that is an argument of the command.

    Args:
        default: ``...`` if required.
        help_: what it is.
        metavar: its placeholder in the help; default: its name.
    """
    given = {"argument": {"help": help_, "metavar": metavar}}
    return field(default=MISSING if default is ... else default, metadata=given)


def option(
    default: Any,  # noqa: ANN401
    help_: str,
    metavar: str | None = None,
    short: str = "",
    **limits: float,
) -> Any:  # noqa: ANN401
    """A field that is an option of the command, with the same name.

    Args:
        default: ``...`` if required.
        help_: what it is.
        metavar: placeholder of its value in the help; default: its type.
        short: another name, of one letter: ``-v``.
        limits: ``min`` and ``max`` of a number.
    """
    given = {"short": short, "option": {"help": help_, "metavar": metavar, **limits}}
    return field(default=MISSING if default is ... else default, metadata=given)


@dataclass(frozen=True, kw_only=True)
class MeterOptions:
    """Meters, and the origin of the electricity."""

    meter: Meters = None
    domain: Domains = None
    interval: Interval = 0.1
    place: Place = None
    timezone: Timezone = None
    pue: Pue = None
    json: Json = False

    def located(self) -> str | None:
        """The place, in its time zone."""
        from joulelab.energy.carbon.footprint import in_zone

        return in_zone(self.place, self.timezone)

    @property
    def monitor(self) -> Options:
        """The same for `joulelab.energy.monitor.Monitor`."""
        return {
            "meters": self.meter or None,
            "domains": self.domain or None,
            "interval_s": self.interval,
            "place": self.located(),
            "pue": self.pue,
        }


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """How to read a trace."""

    where: Where = ""
    time: TimeColumn = ""
    power: PowerColumns = None
    device: DeviceColumn = ""
    timezone: TraceTimezone = None
    interval: RowInterval = None

    @property
    def settings(self) -> ReadSettings:
        """The same for `joulelab.energy.traces.recording.read_recording`."""
        return {
            "where": self.where,
            "time_column": self.time,
            "power_column": self.power or [],
            "device": self.device,
            "timezone": self.timezone or "",
            "interval_s": self.interval,
        }


def command(
    commands: typer.Typer,
    name: str,
    runs: str,
    *,
    example: str,
    needs: tuple[str, ...] = (),
    **settings: bool,
) -> Callable[[type[Settings]], type[Settings]]:
    """Make a command of the decorated dataclass.

    Its own fields come first in the help, then those that it inherits. Plug-ins that it names are
    loaded before it is run.

    Args:
        commands: where the command is added.
        name: of the command.
        runs: ``"module:function"`` that takes the dataclass; it may return an exit code.
        example: a command line, for the help.
        needs: libraries, of `joulelab.optional`, without which it cannot be run.
        settings: of click, such as ``allow_interspersed_args``.
    """

    def declare(asked: type[Settings]) -> type[Settings]:
        hints = get_type_hints(asked, include_extras=True)
        own_first = [name for part in asked.__mro__ for name in get_annotations(part)]
        declared = {one.name: one for one in fields(asked)}  # type: ignore[arg-type]

        def run(**given: Any) -> None:  # noqa: ANN401 - an option each
            require(*needs, user=f"joulelab {name}")
            with for_the_main_thread():
                function = imported(runs)
            for path in given.get("plugin") or ():
                load_plugin(path)
            raise typer.Exit(function(asked(**given)) or 0)

        run.__doc__ = asked.__doc__
        run.__signature__ = Signature(  # type: ignore[attr-defined]
            [_parameter(declared[name], hints[name]) for name in own_first]
        )
        commands.command(name, epilog=epilog(example), context_settings=settings)(run)
        return asked

    return declare


def epilog(*examples: str) -> str:
    """The end of a command's help.

    Args:
        examples: command lines.
    """
    return "\n".join(["\b", f"Example{'s' * (len(examples) > 1)}:", *(f"  {x}" for x in examples)])


def _parameter(one: Field[Any], hint: Any) -> Parameter:  # noqa: ANN401 - a type, or Annotated
    """A field of a command's dataclass as a parameter that typer reads."""
    if "argument" in one.metadata:
        given = one.metadata["argument"]
        metavar = given["metavar"] or one.name.upper()
        hint = Annotated[hint, typer.Argument(help=given["help"], metavar=metavar)]
    elif "option" in one.metadata:
        name = f"--{one.name.strip('_').replace('_', '-')}"
        names = [name, *filter(None, [one.metadata["short"]])]
        hint = Annotated[hint, typer.Option(*names, **one.metadata["option"])]
    default = Parameter.empty if one.default is MISSING else one.default
    return Parameter(one.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def parse_duration_s(text: str, option: str) -> float:
    """Seconds from a number and its unit, as ``200ms``, ``10s``, ``2min`` or ``6h``.

    Args:
        text: as the user wrote it.
        option: that it was given for, named in the error.

    Raises:
        UsageError: the number or the unit is missing, or the time is not above 0.
    """
    written = _WRITTEN.fullmatch(text)
    try:
        seconds = float(written[1]) * UNITS_S[written[2]] if written else math.nan
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(
            f"{option} {text!r} is not a time",
            f"write it with its unit: {option} 200ms, {option} 2s",
        )
    return seconds


def check_seconds(seconds: float | None, option: str, *, zero: bool = False) -> None:
    """Refuse an impossible duration.

    Args:
        seconds: as given; ``None`` if it was not.
        option: that it was given for, named in the error.
        zero: whether 0 is possible.

    Raises:
        UsageError: it is not above 0, or not a finite number.
    """
    if seconds is None or (math.isfinite(seconds) and (seconds > 0 or (zero and seconds == 0))):
        return
    least = "0 or more" if zero else "more than 0"
    raise UsageError(f"{option} {seconds:g} is not possible", f"give {least} seconds")


def parse_pairs(written: Sequence[str] | None, option: str) -> dict[str, str]:
    """Values by name, from ``NAME=VALUE``.

    Args:
        written: as the user wrote them.
        option: that they were given for, named in the error.

    Raises:
        UsageError: the name or the value is missing.
    """
    pairs = {}
    for text in written or ():
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise UsageError(
                f"{option} {quoted(text)} has no name or no value",
                f"write it as {option} 'name=value'",
            )
        pairs[name.strip()] = value.strip()
    return pairs


def default_folder(study: str, overrides: Sequence[str], scale: float | None = None) -> Path:
    """The default results folder: the same for the same command.

    Args:
        study: as on the command line; a results folder is its own.
        overrides: each ``--set``; they tell one variant of a study from another.
        scale: of a miniature.
    """
    path = Path(study).expanduser()
    if path.is_dir():
        return path
    of_scale = [] if scale is None else [f"scale-{scale:g}"]
    settings = [re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") for text in overrides]
    name = "-".join([path.stem, *of_scale, *settings])
    if len(name) > LONGEST_NAME:
        name = shortened(name, "\n".join([path.stem, *of_scale, *overrides]), LONGEST_NAME)
    return OUTPUT_FOLDER / name
