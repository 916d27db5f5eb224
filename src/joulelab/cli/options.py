"""Arguments and options that several commands share, and the default of --out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from joulelab.files import shortened

OUTPUT_FOLDER = Path("joulelab-out")
"""Results are written there, and looked for, when no folder is named."""
LONGEST_NAME = 120

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
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code that the study of a results folder names, though you have not yet.",
    ),
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
        help="Where the electricity is from: NLD, USA-CA, 412 (g/kWh), or a file over time.",
    ),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Of times without an offset in the file of --place: Europe/Berlin, +02:00, local; "
        "UTC where not given.",
    ),
]
Pue = Annotated[
    float | None, typer.Option("--pue", help="Power usage effectiveness of the building.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Where = Annotated[
    str,
    typer.Option("--where", metavar="COLUMN=VALUE", help="One of several recordings in the file."),
]
TimeColumn = Annotated[
    str, typer.Option("--time", metavar="COLUMN", help="The column of times, if not found by name.")
]
PowerColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--power", metavar="COLUMN", help="A column of power, if not found by name; repeatable."
    ),
]
DeviceColumn = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="COLUMN|NAME",
        help="The column that tells devices apart; or the one device it is of, as gpu:0 or wall.",
    ),
]
TraceTimezone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Of times without an offset in the trace: Europe/Berlin, UTC, +02:00; that of this "
        "machine where not given. A file of --place has its own: grid.csv?timezone=ZONE.",
    ),
]
RowInterval = Annotated[
    float | None,
    typer.Option("--interval", metavar="SECONDS", help="Between rows, where they have no times."),
]


def default_folder(study: str, overrides: Sequence[str], scale: float | None = None) -> Path:
    """The results folder where none is given: the same for the same command.

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
