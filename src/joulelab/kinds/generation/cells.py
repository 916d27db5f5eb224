"""Data of a generation experiment for tables, figures and findings: cells, and their names.

A **cell** is one combination of levels; its runs are its repetitions, and a run is one observation,
however many tokens it made. Energies are those that `kinds.generation.figures_of_run` computes for
each run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import Interval, mean_interval
from joulelab.analysis.frames import groups, numbers
from joulelab.present import Unavailable, cached_per_subject
from joulelab.report.effects import Outcome
from joulelab.report.experiment import NET, Experiment, energy_column

MODEL, BATCH, PROMPT, OUTPUT, PRECISION = (
    "model",
    "batch_size",
    "prompt_tokens",
    "output_tokens",
    "precision",
)
PER_OUTPUT, PER_PROMPT, PER_DECODED, PER_TOKEN = (
    "per_output_token_j",
    "per_prompt_token_j",
    "per_decoded_token_j",
    "per_token_j",
)
ENERGIES = (PER_OUTPUT, PER_PROMPT, PER_DECODED, PER_TOKEN)
TIMES = (
    "prefill_s",
    "prefill_p95_s",
    "token_p50_s",
    "token_p95_s",
    "tokens_per_s",
    "peak_memory_bytes",
)
UNKNOWN = Interval(math.nan, math.nan, math.nan, math.nan, 0)
SHORT = {
    BATCH: "batch {}",
    PROMPT: "{} prompt tokens",
    OUTPUT: "{} output tokens",
    PRECISION: "{}",
}


def basis(experiment: Experiment) -> str:
    """``net`` or ``gross``: which energy of a token counts.

    Raises:
        Unavailable: no energy is known.
    """
    return "net" if energy_column(experiment) == NET else "gross"


def energy_of(experiment: Experiment, per: str = PER_OUTPUT) -> str:
    """The column with the energy of a token that counts.

    Args:
        experiment: the experiment.
        per: one of `ENERGIES`.

    Raises:
        Unavailable: no energy is known.
    """
    column = f"{basis(experiment)}_{per}"
    if column not in experiment.runs or not experiment.runs[column].notna().any():
        raise Unavailable("no run has an energy of its tokens.")
    return column


def token_energy(experiment: Experiment) -> Outcome:
    """The energy per output token of the runs.

    Raises:
        Unavailable: none is known.
    """
    column = energy_of(experiment)
    runs = experiment.measured.assign(**{column: numbers(experiment.measured, column)})
    return Outcome(
        runs, experiment.varied, column, "energy per output token", "energies per output token"
    )


@cached_per_subject
def cells(experiment: Experiment) -> pd.DataFrame:
    """One row per cell, in the order of its levels.

    Returns:
        The factors, ``n`` (runs), the energies (`ENERGIES`) that count, each with ``_low`` and
        ``_high`` (95 %, NaN with fewer than two runs), gross energy per output token
        (``gross_per_output_token_j``), and means over the runs of `TIMES`. Unknown is NaN.

    Raises:
        Unavailable: no run has finished.
    """
    if not len(experiment.runs):
        raise Unavailable("no run has finished yet.")
    try:
        of = basis(experiment)
    except Unavailable:
        of = "gross"
    runs = experiment.measured
    rows = [levels | _cell(rows, of) for levels, rows in groups(runs, list(experiment.factors))]
    table = pd.DataFrame(rows)
    models = dict.fromkeys([*experiment.table.get("models", ()), *runs[MODEL]])
    order = {name: place for place, name in enumerate(models)}
    ordered = table.assign(_model=table[MODEL].map(order)).sort_values(
        ["_model", PRECISION, PROMPT, OUTPUT, BATCH], kind="stable"
    )
    return ordered.drop(columns="_model").reset_index(drop=True)


def _cell(rows: pd.DataFrame, of: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"n": len(rows)}
    for name in ENERGIES:
        values = _numbers(rows, f"{of}_{name}").dropna()
        found = mean_interval(list(values)) if len(values) else UNKNOWN
        cell |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    for name in (*TIMES, f"gross_{PER_OUTPUT}"):
        cell[name] = float(_numbers(rows, name).mean())
    return cell


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column as numbers; unknown where it is absent."""
    if name not in rows:
        return pd.Series(math.nan, rows.index)
    return pd.Series(numbers(rows, name), rows.index)


def by_model(experiment: Experiment) -> Iterator[tuple[str, pd.DataFrame]]:
    """The cells of each model, in their order."""
    for model, rows in cells(experiment).groupby(MODEL, sort=False):
        yield str(model), rows


def cell_name(experiment: Experiment, levels: Mapping[Any, Any], *, without: str = "") -> str:
    """The levels that vary in words, without the model: ``batch 8, 128 prompt tokens``.

    Args:
        experiment: the experiment.
        levels: of a cell.
        without: a factor that is not named.
    """
    varied = [name for name in SHORT if name in experiment.varied and name != without]
    return ", ".join(SHORT[name].format(formats.level(levels[name])) for name in varied)
