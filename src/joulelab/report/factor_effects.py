"""Tables on which factor moves a measure, and which of its levels differ.

What leads is the test that holds the other factors fixed (`joulelab.analysis.stratified`). Beside
it stands the one of CAIN 2023, of one factor over all runs, in which whatever the other factors do
counts as noise.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from joulelab import formats
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.posthoc import dunn
from joulelab.analysis.stratified import level_pairs, stratified
from joulelab.report.experiment import Experiment, once
from joulelab.report.outcome import Outcome, energy_of_runs
from joulelab.report.tables import (
    RESAMPLES,
    SIGNIFICANT_P,
    STRATEGY,
    Omitted,
    Table,
    no_energy,
    sentence,
    single_levels,
    too_many_pairs,
)

REPLICATION = "yarally2023"
ETA = "\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO}"
EPSILON = "\N{GREEK SMALL LETTER EPSILON}\N{SUPERSCRIPT TWO}"
FIXED = "fixed_"
"""Before the columns of the test that holds the other factors fixed."""
SEPARATE = "levels do not overlap"
"""In place of an interval that no resample would give a length."""


@once
def effects(experiment: Experiment) -> Table | Omitted:
    """Does a factor move the energy, the others held fixed? And alone, as in Table IV."""
    key = "kruskal"
    title = "Effect of each factor on energy: Kruskal-Wallis (Table IV)"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    outcome = energy_of_runs(experiment)
    table = effects_on(outcome, key, title)
    if isinstance(table, Omitted):
        return table
    raw, shown, note, wide = table.raw, table.shown, table.note, table.wide
    if experiment.protocol == REPLICATION and STRATEGY not in experiment.factors:
        k = experiment.runs["configuration"].nunique()
        whole = kruskal(outcome.runs, list(raw["factor"]), outcome.column, eta_k=k)
        raw["eta_squared_as_published"] = whole["eta_squared"]
        heading = f"{ETA}, k = {k}"
        shown[heading], wide = whole["eta_squared"].map(formats.effect), (*wide, heading)
        note += (
            f" The last column takes the number of configurations, {k}, for k, as the paper did; "
            "the number of levels is right."
        )
    return replace(table, note=note + single_levels(experiment), wide=wide)


def effects_on(outcome: Outcome, key: str, title: str) -> Table | Omitted:
    """The effect of every factor on any measure of the runs.

    Args:
        outcome: the measure.
        key: of the table.
        title: of the table.
    """
    factors, runs = list(outcome.factors), outcome.runs
    alone = kruskal(runs, factors, outcome.column)
    fixed = stratified(runs, factors, outcome.column, RESAMPLES).add_prefix(FIXED)
    raw = pd.concat([alone, fixed], axis=1)[alone["h"].notna()].reset_index(drop=True)
    if not len(raw):
        reasons = alone["reason"].map(outcome.said)
        return Omitted(key, title, sentence(reasons, "no factor has two levels"))
    shown = pd.DataFrame(
        {
            "factor": raw["factor"],
            "levels": raw["k"].map(str),
            "H": raw[f"{FIXED}q"].map("{:,.3f}".format),
            "p": raw[f"{FIXED}p"].map(formats.p_value),
            ETA: raw[f"{FIXED}eta_squared"].map(formats.effect),
            "95 % interval": [
                SEPARATE if separate else formats.interval(low, high, formats.effect)
                for low, high, separate in zip(
                    raw[f"{FIXED}eta_low"],
                    raw[f"{FIXED}eta_high"],
                    raw[f"{FIXED}separate"],
                    strict=True,
                )
            ],
            "magnitude": raw[f"{FIXED}magnitude"],
        }
    )
    note = (
        f"A small p says that the factor moves the {outcome.noun}; {ETA} says how consistently "
        "(small from 0.01, medium from 0.06, large from 0.14), with a bootstrap interval."
    )
    if len(factors) > 1:
        shown["H, alone"] = raw["h"].map("{:,.3f}".format)
        shown["p, alone"] = raw["p"].map(formats.p_value)
        shown[f"{ETA}, alone"] = raw["eta_squared"].map(formats.effect)
        note = (
            "Runs are ranked among those that share the levels of all other factors (van Elteren). "
            f"{note} Alone: all runs ranked together, as in CAIN 2023; there what the other "
            "factors do counts as noise, in which a small effect drowns."
        )
    shown[f"{EPSILON}, alone" if len(factors) > 1 else EPSILON] = raw["epsilon_squared"].map(
        formats.effect
    )
    said = dict.fromkeys(
        f"No test with the others held fixed of {factor}: {outcome.said(reason)}."
        for factor, reason in zip(raw["factor"], raw[f"{FIXED}reason"], strict=True)
        if reason
    )
    text = ("factor", "95 % interval", "magnitude")
    wide = ("levels", "H", "H, alone", EPSILON, f"{EPSILON}, alone")
    return Table(key, title, " ".join([note, *said]), raw, shown, text, wide=wide)


@once
def factor_levels(experiment: Experiment) -> Table | Omitted:
    """Which levels of each factor differ in energy, the other factors held fixed."""
    key, title = "posthoc-levels", "Which levels differ in energy, the other factors held fixed"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    return level_pairs_on(energy_of_runs(experiment), key, title)


def level_pairs_on(outcome: Outcome, key: str, title: str) -> Table | Omitted:
    """Every pair of levels of every factor, on any measure in joules.

    Args:
        outcome: the measure.
        key: of the table.
        title: of the table.
    """
    factors, runs = list(outcome.factors), outcome.runs
    if reason := too_many_pairs((runs[name].nunique() for name in factors), "levels"):
        return Omitted(key, title, reason)
    whole = level_pairs(runs, factors, outcome.column)
    raw = whole[whole["p_adjusted"].notna()].reset_index(drop=True)
    if not len(raw):
        reasons = whole["reason"].map(outcome.said)
        return Omitted(key, title, sentence(reasons, "no factor has two levels"))
    shown = pd.DataFrame(
        {
            "factor": raw["factor"],
            "one": raw["first"].map(formats.level),
            "other": raw["second"].map(formats.level),
            "energy, one": raw["mean_first_j"].map(formats.joules),
            "energy, other": raw["mean_second_j"].map(formats.joules),
            "adjusted p": raw["p_adjusted"].map(formats.p_value),
        }
    )
    differ = raw["p_adjusted"] < SIGNIFICANT_P
    note = (
        f"{int(differ.sum()):,} of {formats.count(len(raw), 'pair')} of levels differ at an "
        f"adjusted p below {SIGNIFICANT_P} (bold): van Elteren's test, p by Holm for the pairs of "
        "each factor. Means are over the runs that both levels can be compared in."
    )
    bold = frozenset((int(row), "adjusted p") for row in raw.index[differ])
    return Table(key, title, note, raw, shown, ("factor", "one", "other"), bold, folded=True)


@once
def pairs(experiment: Experiment) -> Table | Omitted:
    """Which configurations differ in energy: Dunn's test with Holm's correction."""
    key, title = "posthoc", "Which configurations differ in energy: Dunn's test, Holm's correction"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    count = experiment.measured["configuration"].nunique()
    if reason := too_many_pairs([count], "configurations"):
        return Omitted(key, title, reason)
    whole = dunn(experiment.measured, energy=str(experiment.energy.column))
    raw = whole[whole["p_adjusted"].notna()].reset_index(drop=True)
    if not len(raw):
        return Omitted(key, title, sentence(whole["reason"], "it needs two configurations"))
    shown = pd.DataFrame(
        {
            "one": raw["first"],
            "other": raw["second"],
            "energy, one": raw["mean_first_j"].map(formats.joules),
            "energy, other": raw["mean_second_j"].map(formats.joules),
            "adjusted p": raw["p_adjusted"].map(formats.p_value),
        }
    )
    differ = raw["p_adjusted"] < SIGNIFICANT_P
    note = (
        f"{int(differ.sum()):,} of {formats.count(len(raw), 'pair')} differ at an adjusted p below "
        f"{SIGNIFICANT_P} (bold)."
    )
    bold = frozenset((int(row), "adjusted p") for row in raw.index[differ])
    return Table(key, title, note, raw, shown, ("one", "other"), bold, folded=True)
