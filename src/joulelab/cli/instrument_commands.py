"""The command that holds the instruments of a study against each other."""

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
            "--reference", metavar="NAME", help="Hold the others against it; else what sees most."
        ),
    ] = None,
    instrument: Annotated[
        list[str] | None,
        typer.Option(
            "--instrument",
            metavar="NAME[=SOURCE+SOURCE]",
            help="Only this one, or a sum: sensors=nvml+rapl; may be repeated.",
        ),
    ] = None,
    domain: Domains = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Bland-Altman plots, .png, .svg or .pdf."),
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Keep the calibration factors in the settings file."),
    ] = False,
    json: Json = False,
) -> None:
    """Say how far several meters agree on the same runs, and by what factor one is off.

    Run the study with several first: --set 'energy.meters=["nvml", "codecarbon", "shelly:HOST"]'.
    """
    from joulelab.cli import calibrating

    asked = calibrating.Asked(reference, tuple(instrument or ()), tuple(domain or ()), plot, save)
    show(calibrating.instruments(folders, asked), as_json=json)
