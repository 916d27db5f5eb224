"""Tables on a factorial design beyond Tables IV and V: how levels and factors act on energy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.assumptions import equal_variances, normality
from joulelab.analysis.interaction import interactions
from joulelab.analysis.two_samples import dominance
from joulelab.report.experiment import Experiment, once
from joulelab.report.outcome import Outcome, energy_of_runs
from joulelab.report.tables import SIGNIFICANT_P, Omitted, Table, no_energy, too_many_pairs

ETA = "\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO}"
LOGARITHM = "logarithm"
P_COLUMNS = {
    "p": ("anova_p", ""),
    "p, ranks": ("art_p", "aligned ranks"),
    "p, log": ("log_p", "logarithms"),
}
"""Heading, column of the raw table, and what the analysis is of; that of the values is first."""
MOST_NAMED = 4
"""Of more interactions the others are counted."""
MOST_FACTORS = 4
"""Of more factors, the full-factorial model has more terms than anybody reads."""


@once
def assumptions(experiment: Experiment) -> Table | Omitted:
    """Whether energies are normally distributed and scatter alike."""
    key, title = "assumptions", "Assumptions, before any test"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    runs, energy = experiment.measured, str(experiment.energy.column)
    found = [
        normality(runs, energy=energy).assign(of="all energies together"),
        normality(runs, "configuration", energy, residuals=True).assign(
            of="what is left without the configurations' means"
        ),
    ]
    raw = pd.concat(found, ignore_index=True)
    raw = raw[["of", "n", "w", "p", "dropped", "note", "reason"]]
    scatter = equal_variances(runs, "configuration", energy)
    raw["equal_variances_w"], raw["equal_variances_p"] = scatter.w, scatter.p
    raw["std_ratio"] = scatter.ratio
    shown = pd.DataFrame(
        {
            "energies": raw["of"],
            "n": raw["n"].map("{:,}".format),
            "Shapiro-Wilk W": raw["w"].map(formats.effect),
            "p": raw["p"].map(formats.p_value),
        }
    )
    normal = bool((raw["p"] >= SIGNIFICANT_P).all())
    alike = not scatter.p < SIGNIFICANT_P
    spread = (
        f"Brown and Forsythe: p {formats.p_value(scatter.p)}, {_ratio_words(scatter.ratio)}."
        if not scatter.reason
        else f"No test of equal variances: {scatter.reason}."
    )
    verdict = (
        "Nothing speaks against analysis of variance; tests of ranks are valid all the same."
        if normal and alike
        else "So energies are compared by ranks, and analyses of variance are read with care."
    )
    said = dict.fromkeys(filter(None, [*raw["note"], *raw["reason"]]))
    notes = " ".join(f"{note[0].upper()}{note[1:]}." for note in said)
    note = " ".join(part for part in (spread, verdict, notes) if part)
    return Table(key, title, note, raw, shown, ("energies",))


def _ratio_words(ratio: float) -> str:
    if not formats.known(ratio):
        return "the smallest standard deviation is 0"
    return f"the largest standard deviation {formats.significant(ratio)} times the smallest"


@once
def dominances(experiment: Experiment) -> Table | Omitted:
    """Cliff's delta of every pair of levels of every factor."""
    key, title = "dominance", "How often one level takes more energy than another: Cliff's delta"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    sizes = (experiment.measured[name].nunique() for name in experiment.varied)
    if reason := too_many_pairs(sizes, "levels"):
        return Omitted(key, title, reason)
    energy = str(experiment.energy.column)
    found = [
        dominance(experiment.measured, factor, energy)
        .astype({"first": object, "second": object})
        .assign(factor=factor)
        for factor in experiment.varied
    ]
    raw = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["delta"])
    raw = raw[raw["delta"].notna()].reset_index(drop=True)
    if not len(raw):
        return Omitted(key, title, "no factor has two levels with an energy.")
    shown = pd.DataFrame(
        {
            "factor": raw["factor"],
            "one": raw["first"].map(formats.level),
            "other": raw["second"].map(formats.level),
            "delta": raw["delta"].map(formats.effect),
            "95 % interval": formats.intervals(raw["low"], raw["high"], formats.effect),
            "magnitude": raw["magnitude"],
        }
    )
    note = (
        "Above 0, a run at the other level takes more energy more often than less; at 1, always "
        "(small from 0.147, medium from 0.33, large from 0.474)."
    )
    text = ("factor", "one", "other", "95 % interval", "magnitude")
    return Table(key, title, note, raw, shown, text, folded=True)


@once
def factor_interactions(experiment: Experiment) -> Table | Omitted:
    """Whether factors act together, on the energy and on its logarithm."""
    key, title = "interactions", "Do factors act together? ANOVA and aligned ranks"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    return interactions_on(energy_of_runs(experiment), key, title)


def interactions_on(outcome: Outcome, key: str, title: str) -> Table | Omitted:
    """Analyses of variance of any measure of the runs, of its ranks and of its logarithm.

    Args:
        outcome: the measure.
        key: of the table.
        title: of the table.
    """
    factors, runs, value = list(outcome.factors), outcome.runs, outcome.column
    if len(factors) <= 1:
        return Omitted(key, title, "it needs two factors with two levels each.")
    if len(factors) > MOST_FACTORS:
        return Omitted(key, title, f"{len(factors)} factors are too many for all their products.")
    raw = interactions(runs, factors, value)
    positive = runs[value].where(runs[value] > 0)
    logged = interactions(runs.assign(**{LOGARITHM: np.log(positive)}), factors, LOGARITHM)
    raw = raw.assign(
        log_p=logged["anova_p"], log_partial_eta_squared=logged["anova_partial_eta_squared"]
    )
    if raw["anova_p"].isna().all():
        why = "; ".join(dict.fromkeys(reason for reason in raw["reason"] if reason))
        return Omitted(key, title, f"{outcome.said(why)}.")
    shown = pd.DataFrame(
        {
            "effect": raw["effect"],
            "p": raw["anova_p"].map(formats.p_value),
            f"partial {ETA}": raw["anova_partial_eta_squared"].map(formats.effect),
            "p, ranks": raw["art_p"].map(formats.p_value),
            f"{ETA}, ranks": raw["art_partial_eta_squared"].map(formats.effect),
            "p, log": raw["log_p"].map(formats.p_value),
            f"{ETA}, log": raw["log_partial_eta_squared"].map(formats.effect),
        }
    )
    note = (
        f"{_together(raw, outcome)} Analysis of variance of the {outcome.plural}, of aligned "
        f"ranks, and of logarithms, on which factors that each multiply the {outcome.noun} do not "
        "interact. Kruskal-Wallis tests, with or without the other factors held fixed, see none of "
        "this."
    )
    bold = {
        (int(row), heading)
        for heading, (column, _) in P_COLUMNS.items()
        for row in raw.index[raw[column] < SIGNIFICANT_P]
    }
    wide = (f"{ETA}, ranks", "p, log")
    return Table(key, title, note, raw, shown, ("effect",), frozenset(bold), wide=wide)


def _together(raw: pd.DataFrame, outcome: Outcome) -> str:
    """Which interactions any of the three analyses finds, and which of them finds each."""
    whats = {column: what or outcome.plural for column, what in P_COLUMNS.values()}
    pairs = raw[raw["order"] > 1]
    tested = [column for column in whats if pairs[column].notna().any()]
    found = {
        str(row["effect"]): [column for column in tested if row[column] < SIGNIFICANT_P]
        for row in pairs.sort_values("anova_p").to_dict("records")
    }
    found = {effect: columns for effect, columns in found.items() if columns}
    if not found:
        by = formats.listing([whats[column] for column in tested])
        return f"No interaction is significant, by analysis of {by}."
    said = "; ".join(
        effect
        if columns == tested
        else f"{effect} of {formats.listing([whats[column] for column in columns])} only"
        for effect, columns in list(found.items())[:MOST_NAMED]
    )
    more = len(found) - MOST_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"{formats.count(len(found), 'interaction')} significant: {said}{rest}. The effect of one "
        "factor depends on the level of the other."
    )
