"""Commands on data: compare, analyze, replicate and import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.options import Json
from joulelab.cli.output import show

commands = typer.Typer()


class Tool(StrEnum):
    """Tools whose readings can be imported."""

    CODECARBON = "codecarbon"


class Unit(StrEnum):
    """Of an energy."""

    J = "J"
    KJ = "kJ"
    MEGAJOULE = "MJ"
    MILLIJOULE = "mJ"
    WH = "Wh"
    KWH = "kWh"
    MWH = "mWh"
    MICROJOULE = "uJ"
    WS = "Ws"


class Kind(StrEnum):
    """Experiments that a table can be of."""

    ARCHITECTURE = "architecture"
    TUNING = "tuning"


@commands.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="Results folder of a study.")],
    second: Annotated[
        Path, typer.Argument(metavar="DIR_B", help="Results folder of another study.")
    ],
    json: Json = False,
) -> None:
    """Compare two studies: accuracy and energy by configuration, and which claims agree."""
    from joulelab.cli.comparing import comparison

    show(comparison(first, second), as_json=json)


@commands.command()
def analyze(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="Kind of experiment: architecture or tuning.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file with a header.")],
    factor: Annotated[
        list[str] | None,
        typer.Option(
            "--factor", metavar="COLUMN", help="A factor column; repeatable. Detected by default."
        ),
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option("--energy", metavar="COLUMN", help="Energy column; default: energy_j."),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            "--unit", help="Unit of energy, unless the heading gives it; default: joules."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for pages, tables and figures."),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse any table of runs like a study of joulelab.

    architecture: one row per training, with the columns energy_j (joules), accuracy (0 to 1) and
    one column per factor, with any name and levels, such as linear_layers, conv_layers,
    relu_layers.

    tuning: one row per round or per repetition, with the columns strategy, round, accuracy and one
    column per further factor, such as network and hyperparameters; energy_j where known.

    Columns that are not factors: round, repetition, configuration, best_accuracy, duration_s,
    utilisation_mean, flops, learning_rate, beta1, beta2, epsilon, weight_decay. Without a column
    round, rows with equal hyperparameters form a round. Empty cells are missing values. Numeric
    columns that vary within a combination of the others are results. Energies of 0 or below are
    left out.
    """
    from joulelab.cli.analyzing import analysis

    show(analysis(kind.value, file, factor or [], (energy, unit and unit.value), out), as_json=json)


@commands.command()
def replicate(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="yarally2023, xu2023 or delrey2023."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with the raw data.")],
    json: Json = False,
) -> None:
    """Recompute the numbers of a published study from its raw data and show which agree.

    yarally2023 reads the files it finds of the following, with DATASET fashion-mnist or cifar10.

    architecture-DATASET.csv: one row per training, with the columns linear_layers, conv_layers,
    relu_layers, learning_rate, beta1, beta2, energy_j and accuracy.

    tuning-DATASET.csv: one row per round, with the columns network, strategy, hyperparameters,
    round and accuracy, and optionally best_accuracy and energy_j.

    xu2023 reads kaggle-DATASET-REGION.csv, rows of CodeCarbon, and instruments-DATASET.csv, one row
    per training measured by CodeCarbon and a wattmeter. DATASET is cifar10 or mnist, REGION oregon,
    south-carolina or taipei.

    delrey2023 reads tables of power traces, CSV or Parquet, with the columns run, environment,
    model, t_s, power_w and utilisation_pct, and optionally runs.csv.
    """
    from joulelab.cli.replicating import print_replication

    print_replication(study, data, as_json=json)


@commands.command("import")
def import_readings(
    tool: Annotated[Tool, typer.Argument(metavar="TOOL", help="The tool: codecarbon.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The tool's file, such as emissions.csv.")
    ],
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV to standard output.")] = False,
    json: Json = False,
) -> None:
    """Import energies measured by another tool, one per training.

    codecarbon: the rows of an emissions.csv are cumulative within a run_id: each row includes all
    earlier trainings. The import takes differences within each run_id, in order of time. Standard
    error shows the sum of the unchanged rows and any energy below zero.
    """
    from joulelab.cli.importing import Shape, print_emissions

    print_emissions(file, Shape.JSON if json else Shape.CSV if csv else Shape.TABLE)
