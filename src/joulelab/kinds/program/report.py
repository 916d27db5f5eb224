"""The report of a program: what each factor moves, and what is cheapest and nearly as good."""

from __future__ import annotations

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import Verdict
from joulelab.analysis.interaction import TIMES
from joulelab.analysis.posthoc import holm
from joulelab.kinds.program.figures import by_configuration, metric_curves, phase_bars, trade_off
from joulelab.kinds.program.measures import Measure, measures, numbers, runs_of
from joulelab.kinds.program.spec import ENERGY, MEASURED_NAMES
from joulelab.kinds.program.tables import (
    claim_table,
    claims,
    configurations,
    effects,
    interactions,
    level_differences,
    nearly_best,
    phase_table,
    tolerance,
)
from joulelab.present import Unavailable
from joulelab.report import effects as statistics
from joulelab.report.effects import ETA, FIXED, SIGNIFICANT_P
from joulelab.report.energy import variations
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report, sentences

INTERACTION_P = 0.01
"""Interactions are looked for in addition to the factors, and so less is left to chance."""


def best_finding(experiment: Experiment) -> list[str]:
    """What the cheapest configuration that is nearly as good saves."""
    said = []
    cost = measures(experiment)[0]
    for row in nearly_best(experiment).frame.to_dict("records"):
        if row["alike"]:
            if experiment.runs["configuration"].nunique() > 1:
                said.append(f"{row['metric']} is {row['best_value']} in every run.")
            continue
        best = (
            f"{row['best']} reaches the best {row['metric']}, {row['best_value']}, for "
            f"{cost.form(row['best_cost'])}{_status(experiment, cost)}"
        )
        if row["cheapest"] == row["best"]:
            said.append(f"{best}; nothing that is nearly as good is cheaper.")
        else:
            said.append(
                f"{best}; {row['cheapest']} is within "
                f"{formats.percent(tolerance(experiment), 0)} of it ({row['value']}) and saves "
                f"{formats.percent(row['saved'], 0)} of the {cost.name}."
            )
    return said


def effect_findings(experiment: Experiment) -> list[str]:
    """For each measure the factor that moves it most, or with which other one it acts."""
    said = []
    for name, rows in effects(experiment).frame.groupby("measure", sort=False):
        moving = rows[rows["p_adjusted"] < SIGNIFICANT_P]
        together = _acting_together(experiment, str(name))
        if not len(moving):
            said.append(together or _nothing_moves(str(name), rows))
            continue
        strongest = moving.iloc[int(moving["eta_used"].to_numpy().argmax())]
        one = next(one for one in measures(experiment) if one.name == name)
        factor = str(strongest["factor"])
        by_level = _level_means(experiment, factor, one)
        low, high = by_level.index[0], by_level.index[-1]
        said.append(
            f"{factor} moves {name} most ({ETA} = {formats.effect(strongest['eta_used'])}): on "
            f"average {one.form(by_level.iloc[0])} at {formats.level(low)} and "
            f"{one.form(by_level.iloc[-1])} at {formats.level(high)}"
            f"{_status(experiment, one)}.{f' {together}' if together else ''}"
        )
    return said


def _nothing_moves(name: str, rows: pd.DataFrame) -> str:
    """Says whether a difference could have been found at all."""
    if (least := rows[f"{FIXED}least_p"].min()) >= SIGNIFICANT_P:
        return (
            f"There are too few runs to find what moves {name}: the smallest p that they allow is "
            f"{formats.p_value(least)}."
        )
    smallest = formats.p_value(rows["p_adjusted"].min())
    return f"No factor moves {name} significantly (smallest adjusted p {smallest})."


def _acting_together(experiment: Experiment, name: str) -> str:
    """The strongest interaction of two factors that is more than a product of their effects."""
    try:
        found = interactions(experiment).frame
    except Unavailable:
        return ""
    pairs = found[(found["measure"] == name) & (found["order"] > 1)].copy()
    pairs["p"] = holm(pairs[["anova_p", "log_p"]].max(axis=1).to_numpy(float))
    pairs = pairs[(pairs["order"] == 2) & (pairs["p"] < INTERACTION_P)]  # noqa: PLR2004 - of two
    if not len(pairs):
        return ""
    strongest = pairs.sort_values("p", kind="stable").iloc[0]
    one, other = str(strongest["effect"]).split(TIMES)
    p = formats.p_value(strongest["p"])
    return f"How {one} moves {name} depends on {other} (interaction, adjusted p {p})."


def _level_means(experiment: Experiment, factor: str, one: Measure) -> pd.Series[float]:
    """Means of the levels, ascending, in which each configuration counts once."""
    runs = runs_of(experiment)
    by = runs.groupby(["configuration", factor], sort=False)[one.column].mean()
    return by.groupby(level=factor).mean().dropna().sort_values()


def claim_findings(experiment: Experiment) -> list[str]:
    """How many claims hold."""
    found = claims(experiment)
    if not found:
        return []
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    several = formats.count(len(found), "claim")
    fails, undecided = counts[Verdict.FAILS], counts[Verdict.UNDECIDED]
    rest = [f"{fails} {'does' if fails == 1 else 'do'} not hold" if fails else ""]
    rest.append(f"{undecided} cannot be decided" if undecided else "")
    tail = "".join(f", {one}" for one in rest if one)
    holds = counts[Verdict.HOLDS]
    return [f"Of {several}, {holds} {'holds' if holds == 1 else 'hold'}{tail}."]


def remark_findings(experiment: Experiment) -> list[str]:
    """Metrics that some runs do not have."""
    said = []
    for one in measures(experiment):
        missing = int(numbers(experiment.runs[one.column]).isna().sum())
        if missing and one.name not in MEASURED_NAMES:
            runs = formats.count(len(experiment.runs), "run")
            said.append(
                f"{one.name} is unknown in {missing:,} of {runs}; the column remarks of an export "
                "says why."
            )
    return said


def _status(experiment: Experiment, one: Measure) -> str:
    return f" ({experiment.energy.status})" if one.name == ENERGY else ""


PROGRAM = Report(
    contents=(
        trade_off,
        configurations,
        nearly_best,
        claim_table,
        effects,
        by_configuration,
        phase_table,
        phase_bars,
        metric_curves,
        level_differences,
        interactions,
        variations,
        statistics.assumptions,
    ),
    lead=(trade_off, configurations),
    findings=sentences(claim_findings, best_finding, effect_findings, remark_findings),
    claims=claims,
)
