"""Command on cards: measured energy in the formats of others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from joulelab.cli.options import Json, Place, Pue, Timezone, argument, command, option

commands = typer.Typer()


class CardFormat(StrEnum):
    """Formats of a card."""

    HF = "hf"
    SPDX = "spdx"
    ANNEX_XI = "annex-xi"
    SCI = "sci"


class CardPhase(StrEnum):
    """What energy was spent for."""

    TRAINING = "training"
    FINE_TUNING = "fine-tuning"
    INFERENCE = "inference"


@command(
    commands,
    "card",
    "joulelab.cli.carding:run_card",
    example="joulelab card joulelab-out/quickstart --format hf --place NLD",
)
@dataclass(frozen=True, kw_only=True)
class Card:
    """State measured energy in the format of a model card, a bill of materials or a standard.

    hf is Hugging Face's co2_eq_emissions, spdx a JSON-LD document of SPDX 3.0, annex-xi the energy
    items of the EU AI Act, sci the Software Carbon Intensity of ISO/IEC 21031. A field that cannot
    be filled is left out, with the reason.
    """

    source: Path = argument(
        ...,
        "Results folder, output of measure or load --json, or CodeCarbon's emissions.csv.",
        "DIR|FILE",
    )
    format_: CardFormat = option(..., "Format of the card.")
    run: list[str] | None = option(
        None,
        "Count only this run, experiment or configuration; repeatable. Default: all energy of the "
        "study.",
        "ID",
    )
    place: Place = None
    timezone: Timezone = None
    pue: Pue = None
    phase: CardPhase | None = option(None, "What the energy was spent for.")
    hardware: str | None = option(None, "What it ran on, where that is not recorded.", "TEXT")
    name: str | None = option(None, "Name of the model; default: of the study.", "TEXT")
    unit: str | None = option(
        None, "sci: functional unit, such as training, image, request or token.", "NOUN"
    )
    count: int | None = option(None, "sci: how many of these; default: from the results.")
    embodied: float | None = option(
        None, "sci: embodied emissions of the hardware for this work.", "GRAMS", min=0
    )
    out: Path | None = option(
        None, "Write it to this file; in a model card, update its metadata.", "FILE"
    )
    json: Json = False
