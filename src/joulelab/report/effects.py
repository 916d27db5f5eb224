"""Which factor moves a measure of the runs, whether factors act together, and which levels differ.

Each function takes an `Outcome`, so that the energy of a training and the response time of a
request have the same tables. What leads is the test that holds the other factors fixed
(`joulelab.analysis.stratified`). Beside it stands the one of CAIN 2023, of one factor over all
runs, in which whatever the other factors do counts as noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.assumptions import equal_variances, normality
from joulelab.analysis.interaction import interactions
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.posthoc import dunn
from joulelab.analysis.stratified import level_pairs, stratified
from joulelab.analysis.two_samples import dominance
from joulelab.present import Column, Declared, Table, Unavailable, table, words
from joulelab.report.experiment import Experiment, energy_column
from joulelab.report.machines import MACHINE, machines_of

ETA = "\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO}"
EPSILON = "\N{GREEK SMALL LETTER EPSILON}\N{SUPERSCRIPT TWO}"
REPLICATION = "yarally2023"
STRATEGY = "strategy"
SIGNIFICANT_P = 0.05
RESAMPLES = 1000
FIXED = "fixed_"
"""Before the columns of the test that holds the other factors fixed."""
SEPARATE = "levels do not overlap"
"""In place of an interval that no resample would give a length."""
LOGARITHM = "logarithm"
ANALYSES = {"anova_p": "", "art_p": "aligned ranks", "log_p": "logarithms"}
"""Columns of p-values, and what each analysis of variance is of; the first is of the values."""
MOST_NAMED = 4
"""Interactions named in a note; the others are counted."""
MOST_FACTORS = 4
"""With more factors, the full-factorial model has more terms than anybody reads."""
MOST_PAIRS = 5000
"""Most pairs in a table; their number grows with the square of the configurations."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One measure of the runs of an experiment, and how sentences speak of it.

    Attributes:
        runs: one row per measurement, those that count.
        factors: columns with the levels.
        column: of the measure.
        noun: ``energy``, ``energy per request``, ``mean response time``.
        plural: ``energies``.
        exact: whether p is counted where there are few runs.
    """

    runs: pd.DataFrame
    factors: Sequence[str]
    column: str
    noun: str = "energy"
    plural: str = "energies"
    exact: bool = False

    def said(self, reason: str) -> str:
        """A reason of the statistics, which speak of energies, in the words of this measure."""
        article = "an" if self.noun[0] in "aeiou" else "a"
        return reason.replace("energies", self.plural).replace(
            "an energy", f"{article} {self.noun}"
        )


def energy_of_runs(experiment: Experiment) -> Outcome:
    """The energy of the runs.

    Raises:
        Unavailable: no energy is known.
    """
    return Outcome(experiment.measured, experiment.varied, energy_column(experiment))


@table("kruskal", "Effect of each factor on energy: Kruskal-Wallis (Table IV)")
def effects(experiment: Experiment) -> Table:
    """Does a factor move the energy, the others held fixed? And alone, as in Table IV."""
    outcome = energy_of_runs(experiment)
    made = effects_on(outcome)
    rows, columns, note = made.frame, list(made.columns), made.note
    if experiment.protocol == REPLICATION and STRATEGY not in experiment.factors:
        k = experiment.runs["configuration"].nunique()
        whole = kruskal(outcome.runs, list(rows["factor"]), outcome.column, eta_k=k)
        rows["eta_squared_as_published"] = whole["eta_squared"]
        columns.append(
            Column(f"{ETA}, k = {k}", "eta_squared_as_published", formats.effect, wide=True)
        )
        note += (
            f" The last column takes the number of configurations, {k}, for k, as the paper did; "
            "the number of levels is right."
        )
    same = [factor for factor in experiment.factors if factor not in experiment.varied]
    note += f" Not varied: {formats.listing(same)}." if same else ""
    return Table(rows, columns, note)


@table("posthoc-levels", "Which levels differ in energy, the other factors held fixed", folded=True)
def level_differences(experiment: Experiment) -> Table:
    """Which levels of each factor differ in energy, the other factors held fixed."""
    return level_pairs_on(energy_of_runs(experiment))


@table(
    "posthoc",
    "Which configurations differ in energy: Dunn's test, Holm's correction",
    folded=True,
)
def configuration_pairs(experiment: Experiment) -> Table:
    """Which configurations differ in energy: Dunn's test with Holm's correction."""
    energy = energy_column(experiment)
    check_pairs([experiment.measured["configuration"].nunique()], "configurations")
    whole = dunn(experiment.measured, energy=energy)
    rows = whole[whole["p_adjusted"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(sentence(whole["reason"], "it needs two configurations"))
    note = (
        f"{int((rows['p_adjusted'] < SIGNIFICANT_P).sum()):,} of "
        f"{formats.count(len(rows), 'pair')} differ at an adjusted p below {SIGNIFICANT_P} (bold)."
    )
    columns = [words("one", "first"), words("other", "second"), *PAIR_COLUMNS]
    return Table(rows, columns, note)


@table("assumptions", "Assumptions, before any test", folded=True)
def assumptions(experiment: Experiment) -> Table:
    """Whether energies are normally distributed and scatter alike."""
    energy, runs = energy_column(experiment), experiment.measured
    found = [
        normality(runs, energy=energy).assign(of="all energies together"),
        normality(runs, "configuration", energy, residuals=True).assign(
            of="what is left without the configurations' means"
        ),
    ]
    rows = pd.concat(found, ignore_index=True)
    rows = rows[["of", "n", "w", "p", "dropped", "note", "reason"]]
    scatter = equal_variances(runs, "configuration", energy)
    rows["equal_variances_w"], rows["equal_variances_p"] = scatter.w, scatter.p
    rows["std_ratio"] = scatter.ratio
    normal = bool((rows["p"] >= SIGNIFICANT_P).all())
    spread = (
        f"Brown and Forsythe: p {formats.p_value(scatter.p)}, {_ratio_words(scatter.ratio)}."
        if not scatter.reason
        else f"No test of equal variances: {scatter.reason}."
    )
    verdict = (
        "Nothing speaks against analysis of variance; tests of ranks are valid all the same."
        if normal and not scatter.p < SIGNIFICANT_P
        else "So energies are compared by ranks, and analyses of variance are read with care."
    )
    said = dict.fromkeys(filter(None, [*rows["note"], *rows["reason"]]))
    notes = [f"{note[0].upper()}{note[1:]}." for note in said]
    columns = [
        words("energies", "of"),
        Column("n", form="{:,}".format),
        Column("Shapiro-Wilk W", "w", formats.effect),
        Column("p", form=formats.p_value),
    ]
    return Table(rows, columns, " ".join([spread, verdict, *notes]))


def _ratio_words(ratio: float) -> str:
    if not formats.known(ratio):
        return "the smallest standard deviation is 0"
    return f"the largest standard deviation {formats.significant(ratio)} times the smallest"


@table(
    "dominance", "How often one level takes more energy than another: Cliff's delta", folded=True
)
def dominances(experiment: Experiment) -> Table:
    """Cliff's delta of every pair of levels of every factor."""
    energy = energy_column(experiment)
    check_pairs((experiment.measured[name].nunique() for name in experiment.varied), "levels")
    found = [
        dominance(experiment.measured, factor, energy)
        .astype({"first": object, "second": object})
        .assign(factor=factor)
        for factor in experiment.varied
    ]
    rows = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["delta"])
    rows = rows[rows["delta"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable("no factor has two levels with an energy.")
    columns = [
        *LEVEL_COLUMNS,
        Column("delta", form=formats.effect),
        words("95 % interval", ("low", "high"), form=formats.between(formats.effect)),
        words("magnitude"),
    ]
    note = (
        "Above 0, a run at the other level takes more energy more often than less; at 1, always "
        "(small from 0.147, medium from 0.33, large from 0.474)."
    )
    return Table(rows, columns, note)


@table("interactions", "Do factors act together? ANOVA and aligned ranks")
def factor_interactions(experiment: Experiment) -> Table:
    """Whether factors act together, on the energy and on its logarithm."""
    return interactions_on(energy_of_runs(experiment))


LEVEL_COLUMNS = (words("factor"), words("one", "first"), words("other", "second"))
PAIR_COLUMNS = (
    Column("energy, one", "mean_first_j", formats.joules),
    Column("energy, other", "mean_second_j", formats.joules),
    Column(
        "adjusted p",
        "p_adjusted",
        formats.p_value,
        bold=lambda row: row["p_adjusted"] < SIGNIFICANT_P,
    ),
)


def effects_on(outcome: Outcome) -> Table:
    """The effect of every factor on any measure of the runs.

    Raises:
        Unavailable: no factor has two levels.
    """
    factors, runs = list(outcome.factors), outcome.runs
    alone = kruskal(runs, factors, outcome.column)
    fixed_too = [*factors, *([MACHINE] if machines_of(runs) else [])]
    tested = stratified(runs, fixed_too, outcome.column, RESAMPLES, exact=outcome.exact)
    fixed = tested.head(len(factors)).add_prefix(FIXED)
    rows = pd.concat([alone, fixed], axis=1)[alone["h"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(sentence(alone["reason"].map(outcome.said), "no factor has two levels"))
    columns = [
        words("factor"),
        Column("levels", "k", str, wide=True),
        Column("H", f"{FIXED}q", "{:,.3f}".format, wide=True),
        Column("p", f"{FIXED}p", formats.p_value),
        Column(ETA, f"{FIXED}eta_squared", formats.effect),
        words(
            "95 % interval",
            (f"{FIXED}eta_low", f"{FIXED}eta_high", f"{FIXED}separate"),
            form=lambda low, high, separate: (
                SEPARATE if separate else formats.interval(low, high, formats.effect)
            ),
        ),
        words("magnitude", f"{FIXED}magnitude"),
    ]
    note = (
        f"A small p says that the factor moves the {outcome.noun}; {ETA} says how consistently "
        "(small from 0.01, medium from 0.06, large from 0.14), with a bootstrap interval."
    )
    epsilon = EPSILON
    if len(factors) > 1:
        epsilon = f"{EPSILON}, alone"
        columns += [
            Column("H, alone", "h", "{:,.3f}".format, wide=True),
            Column("p, alone", "p", formats.p_value),
            Column(f"{ETA}, alone", "eta_squared", formats.effect),
        ]
        note = (
            "Runs are ranked among those that share the levels of all other factors (van Elteren). "
            f"{note} Alone: all runs ranked together, as in CAIN 2023; there, the other "
            "factors add noise that can hide a small effect."
        )
    if len(fixed_too) > len(factors):
        note += " Runs are ranked among those of the same kind of machine."
    columns.append(Column(epsilon, "epsilon_squared", formats.effect, wide=True))
    said = dict.fromkeys(
        f"No test with the others held fixed of {factor}: {outcome.said(reason)}."
        for factor, reason in zip(rows["factor"], rows[f"{FIXED}reason"], strict=True)
        if reason
    )
    return Table(rows, columns, " ".join([note, *said]))


def moved_by(experiment: Experiment, tested_in: Declared[Experiment, Table], noun: str) -> str:
    """Factors that move a measure in a sentence, strongest first; empty where none was tested.

    Args:
        experiment: the experiment.
        tested_in: its table of effects, of `effects_on`.
        noun: of the measure, as a sentence begins.
    """
    try:
        tested = tested_in(experiment).frame
    except Unavailable:
        return ""
    eta = f"{FIXED}eta_squared"
    rows = tested.sort_values(eta, ascending=False).to_dict("records")
    moved = [
        f"{row['factor']} (η² = {formats.effect(row[eta])}, {row[f'{FIXED}magnitude']})"
        for row in rows
        if row[f"{FIXED}p"] < SIGNIFICANT_P
    ]
    held = ", the other factors held fixed" if len(rows) > 1 else ""
    if not moved:
        return f"No factor has a significant effect on {noun.lower()} (Kruskal-Wallis{held})."
    return f"{noun} depends on {formats.listing(moved)} (Kruskal-Wallis{held})."


def level_pairs_on(outcome: Outcome) -> Table:
    """Every pair of levels of every factor, on any measure in joules.

    Raises:
        Unavailable: no factor has two levels, or there are too many pairs.
    """
    factors, runs = list(outcome.factors), outcome.runs
    check_pairs((runs[name].nunique() for name in factors), "levels")
    fixed_too = [*factors, *([MACHINE] if machines_of(runs) else [])]
    whole = level_pairs(runs, fixed_too, outcome.column, exact=outcome.exact)
    whole = whole[whole["factor"].isin(factors)]
    rows = whole[whole["p_adjusted"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(sentence(whole["reason"].map(outcome.said), "no factor has two levels"))
    note = (
        f"{int((rows['p_adjusted'] < SIGNIFICANT_P).sum()):,} of "
        f"{formats.count(len(rows), 'pair')} of levels differ at an adjusted p below "
        f"{SIGNIFICANT_P} (bold): van Elteren's test, p by Holm for the pairs of each factor. "
        "Means are over the runs that both levels can be compared in."
    )
    return Table(rows, [*LEVEL_COLUMNS, *PAIR_COLUMNS], note)


def interactions_on(outcome: Outcome) -> Table:
    """Analyses of variance of any measure of the runs, of its ranks and of its logarithm.

    Raises:
        Unavailable: there are too few factors, or too many, or empty cells.
    """
    factors, runs, value = list(outcome.factors), outcome.runs, outcome.column
    if len(factors) <= 1:
        raise Unavailable("it needs two factors with two levels each.")
    if len(factors) > MOST_FACTORS:
        raise Unavailable(f"{len(factors)} factors are too many for all their products.")
    rows = interactions(runs, factors, value)
    positive = runs[value].where(runs[value] > 0)
    logged = interactions(runs.assign(**{LOGARITHM: np.log(positive)}), factors, LOGARITHM)
    rows = rows.assign(
        log_p=logged["anova_p"], log_partial_eta_squared=logged["anova_partial_eta_squared"]
    )
    if rows["anova_p"].isna().all():
        why = "; ".join(dict.fromkeys(reason for reason in rows["reason"] if reason))
        raise Unavailable(f"{outcome.said(why)}.")
    columns = [
        words("effect"),
        _p_column("p", "anova_p"),
        Column(f"partial {ETA}", "anova_partial_eta_squared", formats.effect),
        _p_column("p, ranks", "art_p"),
        Column(f"{ETA}, ranks", "art_partial_eta_squared", formats.effect, wide=True),
        _p_column("p, log", "log_p", wide=True),
        Column(f"{ETA}, log", "log_partial_eta_squared", formats.effect),
    ]
    note = (
        f"{_together(rows, outcome)} Analysis of variance of the {outcome.plural}, of aligned "
        f"ranks, and of logarithms, on which factors that each multiply the {outcome.noun} do not "
        "interact. Kruskal-Wallis tests, with or without the other factors held fixed, see none of "
        "this."
    )
    return Table(rows, columns, note)


def _p_column(heading: str, of: str, *, wide: bool = False) -> Column:
    return Column(heading, of, formats.p_value, wide=wide, bold=lambda row: row[of] < SIGNIFICANT_P)


def _together(rows: pd.DataFrame, outcome: Outcome) -> str:
    """Which interactions any of the three analyses finds, and which of them finds each."""
    whats = {column: what or outcome.plural for column, what in ANALYSES.items()}
    pairs = rows[rows["order"] > 1]
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


def check_pairs(sizes: Iterable[int], what: str) -> None:
    """Refuse to compare pairs where there are too many.

    Args:
        sizes: how many there are that make pairs, for each factor.
        what: they are, in the plural.

    Raises:
        Unavailable: there are more than `MOST_PAIRS`.
    """
    pairs = sum(size * (size - 1) // 2 for size in sizes)
    if pairs > MOST_PAIRS:
        raise Unavailable(f"{pairs:,} pairs of {what} are more than anybody reads.")


def sentence(reasons: Iterable[str], otherwise: str) -> str:
    """Reasons, each once, as a sentence; where there is none, another one."""
    return ("; ".join(dict.fromkeys(reason for reason in reasons if reason)) or otherwise) + "."
