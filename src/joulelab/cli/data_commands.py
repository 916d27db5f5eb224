"""Commands on data: two studies, anybody's table, a published study, another tool's readings."""

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
    second: Annotated[Path, typer.Argument(metavar="DIR_B", help="That of another.")],
    json: Json = False,
) -> None:
    """Compare two studies: accuracy and energy of each configuration, and which claims agree."""
    from joulelab.cli.comparing import comparison

    show(comparison(first, second), as_json=json)


@commands.command()
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
        typer.Option("--energy", metavar="COLUMN", help="Column with the energy, else energy_j."),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            "--unit", help="Of the energy, where its heading does not say so; else joules."
        ),
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
    round, equal hyperparameters make a round. Empty cells are missing values. Columns of numbers
    that vary within a combination of the others are results. Energies of 0 or below are left out.
    """
    from joulelab.cli.analyzing import analysis

    show(analysis(kind.value, file, factor or [], (energy, unit and unit.value), out), as_json=json)


@commands.command()
def replicate(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="yarally2023, xu2023 or delrey2023."),
    ],
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

    xu2023 takes kaggle-DATASET-REGION.csv, the rows of CodeCarbon, and instruments-DATASET.csv, a
    row a training that CodeCarbon and a wattmeter have read; DATASET is cifar10 or mnist, REGION
    oregon, south-carolina or taipei.

    delrey2023 takes tables of power traces, CSV or Parquet, with the columns run, environment,
    model, t_s, power_w and utilisation_pct; and runs.csv where it is there.
    """
    from joulelab.cli.replicating import print_replication

    print_replication(study, data, as_json=json)


@commands.command("import")
def import_readings(
    tool: Annotated[
        Tool, typer.Argument(metavar="TOOL", help="codecarbon: whose readings they are.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its file: emissions.csv.")],
    csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    json: Json = False,
) -> None:
    """Read another tool's energies, training by training.

    codecarbon: the rows of an emissions.csv go on counting within a run_id, so that a row holds all
    trainings before it too. Differences are taken within each run_id, in order of time; what the
    rows add up to as they stand is said on standard error, and so are energies below zero.
    """
    from joulelab.cli.importing import Shape, print_emissions

    print_emissions(file, Shape.JSON if json else Shape.CSV if csv else Shape.TABLE)
