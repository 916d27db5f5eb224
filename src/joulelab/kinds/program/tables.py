"""The tables of a program's report."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import Claim, on_energy
from joulelab.analysis.claims.factors import decide, parse_claim, undecidable
from joulelab.analysis.main_effects import main_effects
from joulelab.analysis.posthoc import holm
from joulelab.analysis.rounding import constant
from joulelab.errors import UsageError
from joulelab.kinds.program.measures import (
    Measure,
    factors,
    groups,
    means,
    measures,
    outcomes,
    phases,
    runs_of,
)
from joulelab.kinds.program.spec import ENERGY, MEASURED_NAMES
from joulelab.present import Column, Table, Unavailable, cached_per_subject, table, words
from joulelab.report import effects as statistics
from joulelab.report.claims import evidence
from joulelab.report.effects import ETA, FIXED, SIGNIFICANT_P, Outcome
from joulelab.report.experiment import Experiment


@table("configurations", "Energy, time and metrics of each configuration")
def configurations(experiment: Experiment) -> Table:
    """Means with their intervals."""
    rows = means(experiment)
    columns = [words("configuration"), Column("runs", "n", "{:,}".format)]
    best = {}
    for one in measures(experiment):
        values = one.sign * rows[one.column]
        best[one.column] = values.min()
        columns.append(_mean_column(one, best))
        columns.append(_interval_column(one))
    note = "Means over the repetitions, with 95 % intervals (Student's t); the best in bold."
    return Table(rows, columns, note)


def _mean_column(one: Measure, best: dict[str, float]) -> Column:
    return Column(
        one.name,
        one.column,
        one.form,
        bold=lambda row: bool(one.sign * row[one.column] == best[one.column]),
    )


def _interval_column(one: Measure) -> Column:
    return words(
        "95 % interval",
        (f"{one.column} low", f"{one.column} high"),
        form=formats.between(one.form),
        wide=True,
        group="",
    )


@table("nearly-best", "The cheapest configuration that is nearly as good as the best")
def nearly_best(experiment: Experiment) -> Table:
    """For each metric: the best, and the cheapest within the tolerance."""
    cost, *others = measures(experiment)
    metrics = [one for one in others if one.name not in MEASURED_NAMES]
    if not metrics:
        raise Unavailable("the study file declares no metric.")
    share = tolerance(experiment)
    rows = []
    for one in metrics:
        known = means(experiment).dropna(subset=[one.column, cost.column])
        if not len(known):
            continue
        values = one.sign * known[one.column]
        best = known.iloc[int(values.to_numpy().argmin())]
        near = known[values <= values.min() + share * abs(values.min())]
        cheapest = near.iloc[int(near[cost.column].to_numpy().argmin())]
        rows.append(
            {
                "metric": one.name,
                "best": best["configuration"],
                "best_value": one.form(best[one.column]),
                "best_cost": best[cost.column],
                "cheapest": cheapest["configuration"],
                "value": one.form(cheapest[one.column]),
                "cost": cheapest[cost.column],
                "saved": 1 - cheapest[cost.column] / best[cost.column],
                "alike": constant(runs_of(experiment)[one.column].dropna()),
            }
        )
    if not rows:
        raise Unavailable("no configuration has both a cost and a metric.")
    columns = [
        words("metric"),
        words("best"),
        Column("value", "best_value"),
        Column(cost.name, "best_cost", cost.form),
        words("cheapest nearly as good", "cheapest"),
        Column("value ", "value"),
        Column(f"{cost.name} ", "cost", cost.form),
        Column("saved", form=formats.percent),
    ]
    note = (
        f"Nearly as good: the mean is within {formats.percent(share, 0)} of the best. Means of few "
        "runs vary by chance; see the intervals."
    )
    return Table(rows, columns, note)


def tolerance(experiment: Experiment) -> float:
    """``within_percent`` as a share."""
    return float(experiment.table.get("within_percent", 5.0)) / 100


@table("effects", "Which factor moves what: Kruskal-Wallis in strata")
def effects(experiment: Experiment) -> Table:
    """The effect of every factor on every measure."""
    found, reasons = [], []
    for one, outcome in outcomes(experiment):
        try:
            rows = statistics.effects_on(outcome).frame
        except Unavailable as error:
            reasons.append(f"{one.name}: {error}")
        else:
            found.append(_with_used(rows, outcome).assign(measure=one.name))
    if not found:
        raise Unavailable(" ".join(reasons) or "no factor has two levels.")
    rows = pd.concat(found, ignore_index=True)
    columns = [
        words("of", "measure"),
        words("factor"),
        Column("levels", "k", str, wide=True),
        Column("p", "p_used", formats.p_value, wide=True),
        Column(
            "adjusted p",
            "p_adjusted",
            formats.p_value,
            bold=lambda row: row["p_adjusted"] < SIGNIFICANT_P,
        ),
        Column(ETA, "eta_used", formats.effect),
        words(
            "95 % interval",
            (f"{FIXED}eta_low", f"{FIXED}eta_high", f"{FIXED}separate"),
            form=lambda low, high, separate: (
                statistics.SEPARATE
                if separate is True
                else formats.interval(low, high, formats.effect)
            ),
            wide=True,
        ),
        words("magnitude", "magnitude_used"),
    ]
    held = "Runs are ranked among those that share the levels of all other factors (van Elteren). "
    several = len(factors(experiment)) > 1
    note = (
        f"{held if several else ''}A small p says that the factor moves the measure; {ETA} says "
        "how consistently (small from 0.01, medium from 0.06, large from 0.14), with a bootstrap "
        f"interval.{' p is adjusted by Holm for the factors of a measure.' if several else ''}"
    )
    if len(alone := list(dict.fromkeys(rows.loc[rows["alone"], "factor"]))):
        note += (
            f" For {formats.listing(alone)} no two runs share all other levels: there, the effects "
            "of all factors on the ranks are estimated together, as if they added up."
        )
    return Table(rows, columns, note)


def _with_used(rows: pd.DataFrame, outcome: Outcome) -> pd.DataFrame:
    """The test of each factor that counts: in strata or, where there are none, of all together."""
    alone = rows[f"{FIXED}strata"] == 0
    rows = rows.assign(alone=alone)
    without = outcome.factors if alone.any() else []
    together = main_effects(outcome.runs, without, outcome.column).set_index("factor")
    for used, ours, theirs in (
        ("p_used", f"{FIXED}p", "p"),
        ("eta_used", f"{FIXED}eta_squared", "eta_squared"),
        ("magnitude_used", f"{FIXED}magnitude", "magnitude"),
    ):
        rows[used] = rows[ours].where(~alone, rows["factor"].map(together[theirs]))
    return rows.assign(p_adjusted=holm(rows["p_used"].to_numpy(float)))


@table("levels", "Which levels differ", folded=True)
def level_differences(experiment: Experiment) -> Table:
    """Every pair of levels of every factor, for every measure."""
    found = []
    for one, outcome in outcomes(experiment):
        try:
            rows = statistics.level_pairs_on(outcome).frame
        except Unavailable:
            continue
        found.append(
            rows.assign(
                measure=one.name,
                first_words=[one.form(value) for value in rows["mean_first_j"]],
                second_words=[one.form(value) for value in rows["mean_second_j"]],
            )
        )
    if not found:
        raise Unavailable("no factor has two levels, the others held fixed.")
    rows = pd.concat(found, ignore_index=True).rename(
        columns={"mean_first_j": "mean_first", "mean_second_j": "mean_second"}
    )
    columns = [
        words("of", "measure"),
        *statistics.LEVEL_COLUMNS,
        Column("mean, one", "first_words"),
        Column("mean, other", "second_words"),
        Column(
            "adjusted p",
            "p_adjusted",
            formats.p_value,
            bold=lambda row: row["p_adjusted"] < SIGNIFICANT_P,
        ),
    ]
    note = (
        "Van Elteren's test of each pair, the other factors held fixed; p by Holm for the pairs of "
        f"each factor, below {SIGNIFICANT_P} in bold."
    )
    return Table(rows, columns, note)


@table("interactions", "Do factors act together?", folded=True)
def interactions(experiment: Experiment) -> Table:
    """Analyses of variance of every measure."""
    found, reasons = [], []
    for one, outcome in outcomes(experiment):
        try:
            made = statistics.interactions_on(outcome)
        except Unavailable as error:
            reasons.append(str(error))
            continue
        found.append((made, made.frame.assign(measure=one.name)))
    if not found:
        raise Unavailable(" ".join(dict.fromkeys(reasons)) or "no factor has two levels.")
    rows = pd.concat([frame for _, frame in found], ignore_index=True)
    note = (
        "Analysis of variance of the values, of aligned ranks, and of logarithms, on which factors "
        f"that each multiply a measure do not interact; p below {SIGNIFICANT_P} in bold."
    )
    return Table(rows, [words("of", "measure"), *found[0][0].columns], note)


@cached_per_subject
def claims(experiment: Experiment) -> list[Claim]:
    """The claims of the study file, decided."""
    decided = []
    known = {one.name: one for one in measures(experiment)}
    grouped = groups(experiment)
    names = [name for several in grouped.values() for name in several]
    levels = {name: list(experiment.runs[name].unique()) for name in names}
    for statement in experiment.table.get("claims") or []:
        try:
            claim = parse_claim(statement, levels, list(known))
        except UsageError:  # the study file is right, so it is of what no run has
            why = "The finished runs lack a measure, factor or level that it names."
            decided.append(undecidable(statement, why))
            continue
        one = known[claim.measure]
        with_it = next(several for several in grouped.values() if claim.factor in several)
        held = [claim.factor if several is with_it else of for of, several in grouped.items()]
        found = decide(claim, runs_of(experiment), held, one.column, tolerance(experiment))
        if others := [name for name in with_it if name != claim.factor]:
            found = replace(found, said=f"{found.said} {formats.listing(others)} changes with it.")
        decided.append(on_energy(found, experiment.energy.status) if one.name == ENERGY else found)
    return decided


@table("claims", "Claims of the study file")
def claim_table(experiment: Experiment) -> Table:
    """Every claim with its verdict, effect and test."""
    if not (found := claims(experiment)):
        raise Unavailable("")
    within = formats.percent(tolerance(experiment), 0)
    note = (
        f"A difference is found if p is below {SIGNIFICANT_P}, the other factors held fixed; it is "
        f"refuted if the 95 % interval of the ratio is within {within} "
        "of 1 (within_percent in the study file)."
    )
    if any(one.effect.reference == 0 for one in found):
        note += (
            f" Where values are 0 or below, the difference counts, and {within} is of their mean "
            "size."
        )
    return evidence(found, note)


@table("phases", "Time and energy of each phase")
def phase_table(experiment: Experiment) -> Table:
    """What each phase takes."""
    columns = [
        words("configuration"),
        words("phase"),
        Column("mean duration", "duration_s", formats.duration),
        Column("mean gross energy", "energy_j", formats.joules),
        words("status", wide=True),
    ]
    note = (
        "Means over the runs, of all occurrences of a phase. Where phases are shorter than two "
        "readings of the meter, their energy is an estimate."
    )
    return Table(phases(experiment), columns, note)
