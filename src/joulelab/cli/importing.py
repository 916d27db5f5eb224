"""``joulelab import``: readings of another tool, brought to energy per training."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from joulelab import formats
from joulelab.analysis.negative_energy import in_words
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.replication.codecarbon_rows import CodeCarbonRows, read_emissions

ENERGIES = {
    "energy_j": "energy",
    "cpu_energy_j": "cpu",
    "gpu_energy_j": "gpu",
    "ram_energy_j": "ram",
}


class Shape(StrEnum):
    """What is written to standard output."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def print_emissions(path: Path, shape: Shape) -> None:
    """Print the energy of every training in an ``emissions.csv`` of CodeCarbon.

    What a naive reading of the file would make of it, and impossible readings, are said on standard
    error.

    Args:
        path: of the file.
        shape: a table, CSV, or JSON.

    Raises:
        DatasetError: the file cannot be read, or holds something else.
    """
    read = read_emissions(path)
    progress_console().print(Text(f"{path}: {read.trap}", style="yellow"), soft_wrap=True)
    for remark in read.remarks:
        progress_console().print(Text(f"{path}: {remark}", style="yellow"), soft_wrap=True)
    if len(read.impossible):
        named = in_words(read.impossible, formats.number)
        progress_console().print(Text(f"{path}: {named}", style="bold yellow"), soft_wrap=True)
    if shape is Shape.JSON:
        print_json(_plain(read))
    elif shape is Shape.CSV:
        _differences(read).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        data_console().print(_drawn(read))


def _differences(read: CodeCarbonRows) -> pd.DataFrame:
    """The trainings, without the readings unchanged."""
    kept = [name for name in read.trainings if not str(name).startswith("cumulative_")]
    return read.trainings[kept].assign(impossible=read.is_impossible())


def _plain(read: CodeCarbonRows) -> dict[str, object]:
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


def _drawn(read: CodeCarbonRows) -> Table:
    rows = _differences(read)
    energies = [name for name in ENERGIES if name in rows]
    size_j, energy_unit = formats.scale(float(rows["energy_j"].max()), formats.ENERGY)
    size_g, mass_unit = formats.scale(float(rows["emissions_g"].max()), formats.MASS)
    table = Table(
        title=Text(f"energy in {energy_unit}, CO2e in {mass_unit}"),
        title_justify="left",
        title_style="italic",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    # A day and an hour may stand on two lines: where it is narrow, the rule has to be readable.
    table.add_column("ended", min_width=len("2022-05-22"))
    # The first eight digits of a UUID tell trackers apart; JSON and CSV have all of them.
    table.add_column("run_id", no_wrap=True)
    for head in ("#", "time", *(ENERGIES[name] for name in energies), "CO2e"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("rule", min_width=len("goes on"))

    def task(row: dict[Hashable, Any]) -> str:
        return f": {row['task']}" if row.get("task") else ""

    for row in rows.to_dict("records"):
        table.add_row(
            f"{row['timestamp']:%Y-%m-%d %H:%M}",
            Text(str(row["run_id"])[:8]),
            str(row["place"]),
            formats.duration(float(row["duration_s"])),
            *(formats.at_scale(float(row[name]), size_j) for name in energies),
            formats.at_scale(float(row["emissions_g"]), size_g),
            Text(f"{row['rule']}{task(row)}"),
            style="yellow" if row["impossible"] else None,
        )
    return table
