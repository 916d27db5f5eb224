"""The command that compares the instruments of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.options import Domains, Json
from joulelab.cli.output import show

commands = typer.Typer()


@commands.command()
def instruments(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR ...", help="Results folders of studies.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="NAME",
            help="Reference instrument; default: the one that covers most.",
        ),
    ] = None,
    instrument: Annotated[
        list[str] | None,
        typer.Option(
            "--instrument",
            metavar="NAME[=SOURCE+SOURCE]",
            help="Only this instrument, or a sum: sensors=nvml+rapl; repeatable.",
        ),
    ] = None,
    domain: Domains = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Write Bland-Altman plots, .png, .svg or .pdf."
        ),
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Save the calibration factors to the settings file."),
    ] = False,
    json: Json = False,
) -> None:
    """Show how well meters agree on the same runs, and their calibration factors.

    First run the study with several meters: --set 'energy.meters=["nvml", "codecarbon",
    "shelly:HOST"]'.
    """
    from joulelab.cli import calibrating

    asked = calibrating.Asked(reference, tuple(instrument or ()), tuple(domain or ()), plot, save)
    show(calibrating.instruments(folders, asked), as_json=json)
