"""Commands on data: compare, analyze, replicate and import."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from joulelab import formats
from joulelab.cli.options import Json, epilog
from joulelab.cli.output import check_folder, say, show, show_rows
from joulelab.errors import UsageError
from joulelab.present import Column, Facts, Remark, Section, Table, View, words

if TYPE_CHECKING:
    import pandas as pd

    from joulelab.present.parts import Tone
    from joulelab.replication.codecarbon_rows import CodeCarbonRows
    from joulelab.replication.runs_table import RunsTable
    from joulelab.report.experiment import Experiment

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


@commands.command(epilog=epilog("joulelab compare joulelab-out/laptop joulelab-out/server"))
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="Results folder of a study.")],
    second: Annotated[
        Path, typer.Argument(metavar="DIR_B", help="Results folder of another study.")
    ],
    json: Json = False,
) -> None:
    """Compare two studies: accuracy and energy by configuration, and which claims agree."""
    from joulelab.present.data import tables_data
    from joulelab.report.study_comparison import compare_studies
    from joulelab.study.results import Results

    found = compare_studies(Results.open(first), Results.open(second))
    tables = [found.conditions, *found.configurations, found.claims]
    compared = View(
        [*found.findings, f"A: {first}\nB: {second}", *tables, *map(Remark, found.remarks)],
        {
            "a": str(first),
            "b": str(second),
            "tables": tables_data(tables),
            "remarks": list(found.remarks),
            "findings": list(found.findings),
        },
    )
    show(compared, as_json=json)


@commands.command(
    epilog=epilog("joulelab analyze architecture runs.csv --energy energy_kwh --unit kWh")
)
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
    from joulelab.replication.runs_table import read_runs

    check_folder(out)
    table = read_runs(file, kind.value, factor or [], energy, unit and unit.value)
    show(_analysis(table, kind, out), as_json=json)


@commands.command(epilog=epilog("joulelab replicate yarally2023 --data raw"))
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
    from joulelab.cli import replicating
    from joulelab.replication.published import published_studies

    found = published_studies.get(study)(data)
    for remark in found.remarks:
        say(remark, "yellow")
    if json:
        show_rows(replicating.rows(found))
    else:
        show(replicating.view(found), as_json=False)


@commands.command("import", epilog=epilog("joulelab import codecarbon emissions.csv"))
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
    from joulelab.analysis.negative_energy import in_words
    from joulelab.replication.codecarbon_rows import read_emissions

    if csv and json:
        raise UsageError("--csv and --json are both given", "leave out one of them")
    read = read_emissions(file)
    for remark in (read.trap, *read.remarks):
        say(f"{file}: {remark}", "yellow")
    if len(read.impossible):
        say(f"{file}: {in_words(read.impossible, formats.number)}", "bold yellow")
    if csv:
        _differences(read).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        show(View([_trainings(read)], lambda: _emissions_data(read)), as_json=json)


def _analysis(table: RunsTable, kind: Kind, out: Path | None) -> View:
    """The statistics of a table, and the pages, tables and figures of the paper if wanted."""
    from joulelab.report.claims import data, details, overview
    from joulelab.report.kinds import report_of
    from joulelab.report.pages import claimed, experiment_tables, write_side_pages

    experiment = _experiment(table, kind)
    found = claimed([experiment])
    name, rows, factors = table.path.name, len(table.frame), list(table.factors)
    page = write_side_pages(name, [experiment], out) if out is not None else None
    return View(
        [
            f"{name}: {formats.count(rows, 'row')}, factors {formats.listing(factors)}",
            *map(Remark, experiment.energy.remarks),
            *map(overview, found),
            *experiment_tables(experiment),
            Section("Claims in detail", [*map(details, found)]),
            *([Facts([("report", str(page))])] if page else []),
        ],
        lambda: {
            "file": str(table.path),
            "kind": kind.value,
            "rows": rows,
            "factors": factors,
            "energy": table.energy,
            "remarks": list(table.remarks),
            "tables": report_of(experiment).data(experiment),
            "claims": data(found),
            **({"report": str(page)} if page else {}),
        },
    )


def _experiment(table: RunsTable, kind: Kind) -> Experiment:
    from joulelab.report.experiment import experiment_of_table

    return experiment_of_table(
        table.frame,
        name=kind.value,
        kind=kind.value,
        dataset=table.path.stem.removeprefix(f"{kind}-"),
        factors=table.factors,
        energy=table.energy,
        remarks=table.remarks,
    )


def _differences(read: CodeCarbonRows) -> pd.DataFrame:
    """The trainings, without the readings unchanged."""
    kept = [name for name in read.trainings if not str(name).startswith("cumulative_")]
    return read.trainings[kept].assign(impossible=read.is_impossible())


def _trainings(read: CodeCarbonRows) -> Table:
    """The energy of each training; impossible ones stand out."""
    rows = _differences(read)
    energies = {
        name: heading
        for name, heading in {
            "energy_j": "total",
            "cpu_energy_j": "cpu",
            "gpu_energy_j": "gpu",
            "ram_energy_j": "ram",
        }.items()
        if name in rows
    }
    columns = [
        words("ended", "timestamp", form="{:%Y-%m-%d %H:%M}".format),
        # The first eight digits of a UUID tell trackers apart; JSON and CSV have all of them.
        words("run_id", form=lambda run: str(run)[:8]),
        Column("#", "place"),
        Column("time", "duration_s", formats.duration),
        *(Column(heading, name, units=formats.ENERGY) for name, heading in energies.items()),
        Column("CO2e", "emissions_g", units=formats.MASS),
        words("rule", _rule),
    ]
    return Table(rows, [replace(one, tone=_doubt) for one in columns])


def _rule(training: Mapping[str, Any]) -> str:
    task = training.get("task")
    return f"{training['rule']}: {task}" if task else str(training["rule"])


def _doubt(training: Mapping[str, Any]) -> Tone:
    return "doubtful" if training["impossible"] else ""


def _emissions_data(read: CodeCarbonRows) -> dict[str, Any]:
    trainings = _differences(read)
    trainings["timestamp"] = [one.isoformat() for one in trainings["timestamp"]]
    return {
        "file": str(read.path),
        "rows": read.trap.rows,
        "run_ids": read.trap.trackers,
        "cumulative_run_ids": read.trap.shared,
        "energy_j": read.trap.energy_j,
        "naive_energy_j": read.trap.naive_energy_j,
        "impossible": read.impossible.to_dict("records"),
        "remarks": list(read.remarks),
        "trainings": trainings.to_dict("records"),
    }
