"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
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
