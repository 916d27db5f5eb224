"""The command that tunes a function of the user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from joulelab.cli.options import (
    Host,
    Json,
    Meters,
    Place,
    Plugins,
    Port,
    Quiet,
    argument,
    command,
    option,
)

commands = typer.Typer()


class Direction(StrEnum):
    """Which scores are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@command(
    commands,
    "tune",
    "joulelab.cli.tuning:run_tune",
    example="joulelab tune train.py:objective --budget 20kJ",
)
@dataclass(frozen=True, kw_only=True)
class Tune:
    """Tune a function of your own: joulelab tune train.py:objective --budget 20kJ.

    The objective takes a trial with the methods of Optuna's, and returns a score. Run the same
    command again to go on after an interruption. Exit code 1: the first trials failed.
    """

    objective: str = argument(..., "The function, file.py:name or module:name.", "FILE:NAME")
    space: Path | None = option(
        None, "TOML file, a table per variable; default: what the objective asks for.", "FILE"
    )
    budget: str | None = option(
        None,
        "20kJ, 0.5kWh, 2h, 50gCO2e, 270epochs or 27evaluations; default: until next to nothing is "
        "gained.",
        "AMOUNT",
    )
    target: float | None = option(None, "Stop at this score, once fresh seeds confirm it.")
    direction: Direction = option(Direction.MAXIMIZE, "Which scores are better.")
    goals: str = option(
        "score",
        "score, or score,energy for the front of both: the energy of a training, or the second "
        "number that the objective returns.",
        "NAMES",
    )
    strategy: str = option("green", "Name of a search or strategy.", "NAME")
    seed: int = option(0, "Seed of the search.", min=0)
    epochs: int | None = option(
        None, "Epochs of a full training; default: what the first trial reports.", "N", min=1
    )
    seeds: int | None = option(
        None,
        "Most trainings of a trial; one gets another seed only while it may still beat the best.",
        "N",
        min=1,
    )
    confirm: int = option(3, "Fresh seeds for the best values.", "N", min=0)
    timeout: str | None = option(None, "Longest duration of a call, such as 10min.", "TIME")
    cost: str | None = option(
        None, "Function from values to a relative cost known beforehand.", "FILE:NAME"
    )
    out: Path | None = option(None, "Results folder.", "DIR")
    meter: Meters = None
    place: Place = None
    plugin: Plugins = None
    quiet: Quiet = False
    live: bool = option(False, "Show the search in a browser; prints the address.")
    host: Host = None
    port: Port = None
    json: Json = False
