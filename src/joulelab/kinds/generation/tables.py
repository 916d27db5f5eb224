"""Tables of a generation experiment: energy and time of tokens, and which factor moves them."""

from __future__ import annotations

import math

import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import ratio_of_means
from joulelab.analysis.frames import groups
from joulelab.kinds.generation.cells import (
    BATCH,
    MODEL,
    OUTPUT,
    PER_DECODED,
    PER_OUTPUT,
    PER_PROMPT,
    PER_TOKEN,
    PRECISION,
    PROMPT,
    basis,
    cells,
    energy_of,
    token_energy,
)
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.effects import effects_on, interactions_on, level_pairs_on
from joulelab.report.experiment import Experiment

INTERVAL = "95 % interval"
HEADINGS = {MODEL: "model", BATCH: "batch", PROMPT: "prompt", OUTPUT: "output"}
MEGABYTE = 1e6
AT_LEAST = 2


@table("generation-energy", "Energy of a token")
def energy_of_tokens(experiment: Experiment) -> Table:
    """Joules of output tokens, of prompt tokens, of decoded tokens, and of all, by cell."""
    energy_of(experiment)
    rows, of = cells(experiment), basis(experiment)
    least = rows[PER_OUTPUT] == rows.groupby(MODEL)[PER_OUTPUT].transform("min")
    columns = [
        *_named(experiment),
        Column("runs", "n", str, wide=True),
        Column("per output token", PER_OUTPUT, formats.joules, bold="least"),
        words(INTERVAL, (f"{PER_OUTPUT}_low", f"{PER_OUTPUT}_high"), form=energy_range),
        Column("gross", f"gross_{PER_OUTPUT}", formats.joules, wide=True),
        Column("decoding", PER_DECODED, formats.joules),
        Column("per prompt token", PER_PROMPT, formats.joules),
        Column("per token", PER_TOKEN, formats.joules),
    ]
    note = (
        f"{experiment.energy.name.capitalize()} ({experiment.energy.status}), means over the "
        "repetitions. Per output token: of a whole generation, the prompt's share included. "
        "Decoding: of a whole generation less its prefill, by the steps that follow it. Per prompt "
        "token: of prefills alone. Per token: of a whole generation, by prompt and output tokens "
        "together. Bold: the least of a model."
    )
    if of == "net":
        note += " Gross has the idle power too, per output token."
    if (rows["n"] <= 1).all():
        note += " Each cell was run once, so there are no intervals."
    if (rows[PER_DECODED] <= 0).any():
        note += " Where decoding is 0 or less, prefill took all that could be told: run longer."
    return Table(
        rows, columns, f"{note} {_short_parts(experiment)}".rstrip(), shown=rows.assign(least=least)
    )


@table("generation-time", "Time of a token, throughput and memory")
def time_of_tokens(experiment: Experiment) -> Table:
    """Prefill, time per token, tokens per second, and peak memory, by cell."""
    rows = cells(experiment)
    if rows["tokens_per_s"].isna().all():
        raise Unavailable("no run has made a token.")
    columns = [
        *_named(experiment),
        Column("prefill", "prefill_s", formats.duration),
        Column("p95", "prefill_p95_s", formats.duration, wide=True),
        Column("token, p50", "token_p50_s", formats.duration),
        Column("token, p95", "token_p95_s", formats.duration),
        Column("tokens/s", "tokens_per_s", formats.significant),
        Column("peak memory", "peak_memory_bytes", _megabytes),
    ]
    note = (
        "Means over the repetitions of each run's figure. Prefill: from the prompts to the first "
        "token of every sequence. Token: a step, which gives every sequence of the batch one. "
        "Tokens/s: output tokens of all sequences, prefills included. Peak memory: of the "
        "GPU or, on the processor, resident memory of the whole process, Python and libraries "
        "included."
    )
    return Table(rows, columns, note)


@table("generation-batching", "What batching saves")
def batching_saves(experiment: Experiment) -> Table:
    """The cheapest batch size of each setting against the smallest."""
    column = energy_of(experiment)
    others = [name for name in experiment.factors if name != BATCH]
    found = []
    for levels, runs in groups(experiment.measured, others):
        samples = {
            int(str(size)): list(rows[column].dropna())
            for size, rows in runs.groupby(BATCH)
            if rows[column].notna().any()
        }
        if len(samples) >= AT_LEAST:
            found.append(levels | _saving(samples))
    if not found:
        raise Unavailable("no setting was run with two batch sizes.")
    columns = [
        *_named(experiment, without=BATCH),
        Column("smallest", "smallest", str),
        Column("energy there", "smallest_j", formats.joules),
        Column("best", "best", str),
        Column("energy", "best_j", formats.joules),
        Column("saving", "saving", formats.percent),
        words(INTERVAL, ("saving_low", "saving_high"), form=_saving_range),
    ]
    note = (
        "Energy per output token at the smallest batch size and at the one with the least. Saving: "
        "by the ratio of geometric means, with Welch's interval; the best size is chosen on the "
        "same runs, so that a small saving looks larger than it is."
    )
    return Table(pd.DataFrame(found), columns, note)


@table("generation-kruskal", "Effect of each factor on energy per output token: Kruskal-Wallis")
def energy_effects(experiment: Experiment) -> Table:
    """Kruskal-Wallis of every factor on the energy per output token."""
    return effects_on(token_energy(experiment))


@table("generation-interactions", "Energy per output token: do factors act together?")
def energy_interactions(experiment: Experiment) -> Table:
    """Whether the effect of the batch size depends on the model, the prompt, and so on."""
    return interactions_on(token_energy(experiment))


@table(
    "generation-levels",
    "Which levels differ in energy per output token, the other factors held fixed",
    folded=True,
)
def level_differences(experiment: Experiment) -> Table:
    """Which levels of each factor differ in energy per output token."""
    return level_pairs_on(token_energy(experiment))


def energy_range(low: float, high: float) -> str:
    """An interval of energies in one unit; a dash where it is unknown."""
    return formats.joules_range(max(low, 0.0), high) if formats.known(low) else formats.DASH


def _named(experiment: Experiment, without: str = "") -> list[Column]:
    """Columns that identify a cell: the model, and what varies."""
    names = [MODEL, *(name for name in (BATCH, PROMPT, OUTPUT, PRECISION) if name != without)]
    return [
        words(name) if name in (MODEL, PRECISION) else Column(HEADINGS[name], name, "{:,}".format)
        for name in names
        if name == MODEL or name in experiment.varied
    ]


def _saving(samples: dict[int, list[float]]) -> dict[str, object]:
    means = {size: sum(values) / len(values) for size, values in samples.items()}
    smallest, best = min(samples), min(means, key=lambda size: means[size])
    found: dict[str, object] = {
        "smallest": smallest,
        "smallest_j": means[smallest],
        "best": best,
        "best_j": means[best],
        **dict.fromkeys(("saving", "saving_low", "saving_high"), math.nan),
    }
    if min(*samples[smallest], *samples[best]) > 0:
        ratio = ratio_of_means(samples[best], samples[smallest])
        found["saving"] = 1 - ratio.value
        if best != smallest:
            found |= {"saving_low": 1 - ratio.high, "saving_high": 1 - ratio.low}
    return found


def _short_parts(experiment: Experiment) -> str:
    """A sentence where parts were too short for the sensors of an otherwise measured energy."""
    runs = experiment.runs
    if "parts_status" not in runs or experiment.energy.status != "measured":
        return ""
    short = int((runs["parts_status"] != "measured").sum())
    if not short:
        return ""
    return (
        f"In {formats.count(short, 'run')} a part was shorter than two ticks of a sensor, and its "
        "share is estimated: give more seconds."
    )


def _saving_range(low: float, high: float) -> str:
    return formats.signed(formats.interval(low, high, formats.percent))


def _megabytes(value: float) -> str:
    return f"{value / MEGABYTE:,.0f} MB" if formats.known(value) else formats.UNKNOWN
