"""The report of a generation experiment: figures, findings and contents."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.kinds.generation.cells import (
    BATCH,
    PER_OUTPUT,
    PER_PROMPT,
    PROMPT,
    by_model,
    cell_name,
    cells,
    energy_of,
)
from joulelab.kinds.generation.tables import (
    batching_saves,
    energy_effects,
    energy_interactions,
    energy_of_tokens,
    energy_range,
    level_differences,
    time_of_tokens,
)
from joulelab.present import Figure, Unavailable, figure
from joulelab.present.axes import Axis
from joulelab.present.curve_plot import curves
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.style import looks
from joulelab.report.effects import moved_by
from joulelab.report.experiment import NET, Experiment
from joulelab.report.report import Report, sentences

RANDOM = "random"


@figure("generation-batch", "Energy per output token by batch size")
def by_batch(experiment: Experiment) -> Figure:
    """Energy per output token against the batch size, a panel for each model."""
    return _lines(experiment, BATCH, "batch size")


@figure("generation-prompt", "Energy per output token by length of the prompt")
def by_prompt(experiment: Experiment) -> Figure:
    """Energy per output token against the length of the prompt, a panel for each model."""
    return _lines(experiment, PROMPT, "prompt, tokens")


def _lines(experiment: Experiment, factor: str, label: str) -> Figure:
    """Energy per output token along a factor, a line for each level of the others."""
    energy_of(experiment)
    if factor not in experiment.varied:
        raise Unavailable(f"it needs two levels of {factor}.")
    known = cells(experiment).dropna(subset=[PER_OUTPUT])
    known = known.assign(
        line=[cell_name(experiment, row, without=factor) for row in known.to_dict("records")]
    )
    panels = [
        Panel(rows.sort_values(factor, kind="stable"), str(model))
        for model, rows in known.groupby("model", sort=False)
    ]
    lines = list(dict.fromkeys(known["line"]))

    def draw(width: Width) -> Drawing:
        return curves(
            panels,
            Axis(factor, label, scale="doubling", shared=True),
            Axis(
                PER_OUTPUT,
                f"{{unit}} per output token\n({_basis(experiment)}, {experiment.energy.status})",
                units=formats.ENERGY,
                low=f"{PER_OUTPUT}_low",
                high=f"{PER_OUTPUT}_high",
                from_zero=True,
            ),
            looks=looks(lines),
            columns=2,
            width=width,
        )

    note = (
        "Means over the repetitions with their 95 % intervals, each model on a scale of its own "
        "from 0. A token of a whole generation: the prompt's share is included."
    )
    return Figure(draw, note, _ends_in_words(experiment))


def generation_findings(experiment: Experiment) -> list[str]:
    """A sentence for each model, then what moves the energy of a token.

    Empty if no run has finished.
    """
    if not len(experiment.runs):
        return []
    said = [_cheapest(experiment, model, rows) for model, rows in by_model(experiment)]
    said += [_saved(experiment), _prompts(experiment)]
    said += [moved_by(experiment, energy_effects, "Energy per output token")]
    said += [_weights(experiment)]
    try:
        energy_of(experiment)
    except Unavailable:
        pass
    else:
        said += [f"Energy per token is {experiment.energy.name}, {experiment.energy.status}."]
    return [sentence for sentence in said if sentence]


def _cheapest(experiment: Experiment, model: str, rows: pd.DataFrame) -> str:
    """Where an output token of a model costs least."""
    known = rows.dropna(subset=[PER_OUTPUT]).sort_values(PER_OUTPUT, kind="stable")
    if not len(known):
        return ""
    best = known.iloc[0]
    where = cell_name(experiment, best.to_dict())
    said = f"{model}: an output token costs "
    said += f"least at {where}: " if where and len(known) > 1 else ""
    said += formats.joules(best[PER_OUTPUT])
    low, high = best[f"{PER_OUTPUT}_low"], best[f"{PER_OUTPUT}_high"]
    if formats.known(low):
        said += f" ({energy_range(low, high)})"
    return (
        f"{said}; {formats.significant(best['tokens_per_s'])} tokens/s, "
        f"{formats.duration(best['token_p50_s'])} a step."
    )


def _saved(experiment: Experiment) -> str:
    """How much the best batch size saves, from the least to the most of the settings."""
    try:
        rows = batching_saves(experiment).frame.dropna(subset=["saving"])
    except Unavailable:
        return ""
    if not len(rows):
        return ""
    least, most = rows["saving"].min(), rows["saving"].max()
    between = (
        formats.percent(most, 0)
        if len(rows) == 1
        else f"{100 * least:.0f} to {formats.percent(most, 0)}"
    )
    return (
        f"Decoding more sequences together saves {between} of the energy per output token of a "
        f"batch of {rows['smallest'].min():.0f}."
    )


def _prompts(experiment: Experiment) -> str:
    """How the energy of a prompt token compares with that of an output token."""
    known = cells(experiment).dropna(subset=[PER_PROMPT, PER_OUTPUT])
    ratios = (known[PER_OUTPUT] / known[PER_PROMPT])[known[PER_PROMPT] > 0]
    if not len(ratios):
        return ""
    low, high = (formats.significant(float(one)) for one in (ratios.min(), ratios.max()))
    between = low if low == high else f"{low} to {high}"
    return f"An output token costs {between} times as much as a prompt token."


def _weights(experiment: Experiment) -> str:
    runs = experiment.runs
    if "weights" not in runs or not (runs["weights"] == RANDOM).any():
        return ""
    return (
        "Models with random weights were used: with fixed lengths the same operations are "
        "computed, so that time and energy do not depend on the weights."
    )


def _ends_in_words(experiment: Experiment) -> str:
    said = []
    for model, rows in by_model(experiment):
        known = rows.dropna(subset=[PER_OUTPUT]).sort_values(PER_OUTPUT)
        if len(known):
            ends = [
                f"{formats.joules(row[PER_OUTPUT])} ({cell_name(experiment, row)})"
                for row in known.iloc[[0, -1]].to_dict("records")
            ]
            said.append(f"{model} from {' to '.join(ends)}")
    return f"Energy per output token: {'; '.join(said)}."


def _basis(experiment: Experiment) -> str:
    return "net" if experiment.energy.column == NET else "gross"


GENERATION = Report(
    contents=(
        by_batch,
        energy_of_tokens,
        by_prompt,
        time_of_tokens,
        batching_saves,
        energy_effects,
        energy_interactions,
        level_differences,
    ),
    lead=(by_batch, energy_of_tokens),
    findings=sentences(generation_findings),
)
