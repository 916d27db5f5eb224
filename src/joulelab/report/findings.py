"""What was found, in sentences that are computed from the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulelab import formats
from joulelab.analysis.assumptions import normality
from joulelab.report.experiment import Experiment
from joulelab.report.factor_effects import FIXED, effects
from joulelab.report.ledger import StudyEnergy
from joulelab.report.tables import (
    SIGNIFICANT_P,
    STRATEGY,
    Table,
    found_clusters,
    increases,
    optima,
)

WORK = ("training", "serving")
MOST = 0.5
"""From this eta squared on, a factor explains most of the energy."""


def training_findings(experiment: Experiment) -> list[str]:
    """What an experiment with trainings has shown; empty where nothing can be said yet."""
    sentences = [_search(experiment), _effect(experiment)]
    return [sentence for sentence in sentences if sentence]


def _effect(experiment: Experiment) -> str:
    """Which factor moves the energy, by how much, and what that does to the accuracy."""
    table = effects(experiment)
    if not isinstance(table, Table):
        return ""
    moving = table.raw[table.raw[f"{FIXED}p"] < SIGNIFICANT_P]
    held = " with the other factors held fixed" if len(table.raw) > 1 else ""
    if not len(moving):
        return (
            f"No factor of {experiment.name} moves the energy significantly (Kruskal-Wallis"
            f"{held}, smallest p {formats.p_value(table.raw[f'{FIXED}p'].min())})."
        )
    # Of those that move it, the one to which most of all spread is due.
    strongest = moving.iloc[int(moving["eta_squared"].to_numpy().argmax())]
    factor, share = str(strongest["factor"]), strongest["eta_squared"]
    verb = "explains most of" if share >= MOST else "moves"
    most = "" if verb.startswith("explains") or len(table.raw) == 1 else " most"
    fixed = f"η² = {formats.effect(strongest[f'{FIXED}eta_squared'])}{held}"
    size = f"{fixed}, {strongest[f'{FIXED}magnitude']}"
    sentence = (
        f"In {experiment.name}, {factor} {verb} the {experiment.energy.status} energy{most} "
        f"({size}{f'; {formats.effect(share)} of all runs' if held else ''})"
    )
    costs = increases(experiment)
    if isinstance(costs, Table) and (costs.raw["factor"] == factor).any():
        row = costs.raw[costs.raw["factor"] == factor].iloc[0]
        sentence += (
            f": {formats.level(row['high'])} instead of {formats.level(row['low'])} means "
            f"{formats.change(row['increase_percent'] / 100)} energy"
        )
    found = found_clusters(experiment)
    if found is not None and found.factor == factor:
        # A search tries bad hyperparameters too, so there only the best accuracy says anything.
        which = "max" if STRATEGY in experiment.factors else "mean"
        low, high = found.table[f"accuracy_{which}"]
        word = {"max": "best", "mean": "mean"}[which]
        sentence += f" and {formats.points(high - low)} of {word} accuracy"
    return f"{sentence}."


def _search(experiment: Experiment) -> str:
    """Which strategy finds the best accuracy, and where the best of all is."""
    table = optima(experiment)
    if not isinstance(table, Table):
        return ""
    raw = table.raw
    others = [factor for factor in experiment.factors if factor != STRATEGY]
    settings = raw.groupby(others, dropna=False) if others else [((), raw)]
    wins: dict[str, int] = {}
    for _, rows in settings:
        for strategy in rows.loc[
            rows["optimum_accuracy"] == rows["optimum_accuracy"].max(), STRATEGY
        ]:
            wins[str(strategy)] = wins.get(str(strategy), 0) + 1
    best = raw.iloc[int(raw["optimum_accuracy"].to_numpy().argmax())]
    where = ", ".join(setting(experiment, {name: best[name] for name in others}))
    reached = (
        f"{formats.accuracy(best['optimum_accuracy'])} by {best[STRATEGY]}"
        f"{f' on {where}' if where else ''} in round {best['optimum_round']}"
    )
    if raw[STRATEGY].nunique() == 1 or len(settings) == 1:
        return f"In {experiment.name}, the best accuracy is {reached}."
    counts = [f"{name} in {wins[name]}" for name in sorted(wins, key=lambda name: -wins[name])]
    tied = " (ties count for each)" if sum(wins.values()) > len(settings) else ""
    return (
        f"In {experiment.name}, the best accuracy of {len(settings)} settings is found by "
        f"{formats.listing(counts)}{tied}; the best of all is {reached}."
    )


def setting(experiment: Experiment, levels: Mapping[str, Any]) -> list[str]:
    """Levels in words, without factors that do not vary: ``SimpleCNN``, ``5 hyperparameters``."""
    said = [name for name in levels if name in experiment.varied] or list(levels)[:1]
    return [
        str(levels[name])
        if isinstance(levels[name], str)
        else f"{formats.level(levels[name])} {name}"
        if name == "hyperparameters"
        else f"{name} = {formats.level(levels[name])}"
        for name in said
    ]


def normality_finding(experiment: Experiment) -> str:
    """What Shapiro and Wilk say of the energies."""
    if experiment.energy.column is None:
        return ""
    row = normality(experiment.measured, energy=experiment.energy.column).iloc[0]
    if row["reason"]:
        return f"No test of normality: {row['reason']}."
    note = f" ({row['note']})" if row["note"] else ""
    verdict = (
        "the energies of all configurations together are not normally distributed, which is why "
        "rank tests are used"
        if row["p"] < SIGNIFICANT_P
        else "nothing speaks against a normal distribution; rank tests are valid all the same"
    )
    return (
        f"Shapiro-Wilk: W = {formats.accuracy(row['w'])}, p {_equals(row['p'])}{note}; {verdict}."
    )


def study_finding(energy: StudyEnergy) -> str:
    """What the study used, and how much of it for its runs."""
    if energy.gross_j is None:
        return f"The energy of the study is {energy.words}."
    sums = energy.parts.set_index("kind")
    share = ""
    for kind in WORK:
        if kind in sums.index and energy.gross_j > 0:
            work_j = float(sums["kept_j"][kind] + sums["lost_j"][kind])
            share += f", {formats.percent(work_j / energy.gross_j, 0)} of it for {kind}"
    lost_j = float(energy.parts["lost_j"].sum())
    lost = f"; failed and interrupted attempts used {formats.joules(lost_j)}" if lost_j else ""
    return f"The study used {energy.words} in all{share}{lost}."


def _equals(p: float) -> str:
    text = formats.p_value(p)
    return text if text.startswith("<") else f"= {text}"
