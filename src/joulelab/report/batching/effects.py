"""Tests of a batching experiment: what moves the energy of a request, and what its response time?

One run is one observation, however many requests it answered. Saturated runs have an energy per
request, but no response time that could be compared: theirs grows with the length of the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import ratio_of_means
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.posthoc import dunn, min_attainable_p
from joulelab.report.batching.runs import (
    arrivals_name,
    by_setting,
    each_column,
    requests,
    setting_name,
    settings_of,
)
from joulelab.report.design_tables import ETA, interactions_on
from joulelab.report.experiment import Experiment, once
from joulelab.report.factor_effects import effects_on
from joulelab.report.outcome import Outcome
from joulelab.report.tables import SIGNIFICANT_P, Omitted, Table, no_energy

RESPONSE = "response_mean_s"
STATISTICS = ("h", "p", "eta_squared", "epsilon_squared", "n", "k", "dropped", "reason")
PAIR = ("first", "second")
TIMES = " \N{MULTIPLICATION SIGN} "
NO_ANSWER = "no run with an energy has answered a request."
STEADY = "no run that kept up has a response time."


@once
def energy_effects(experiment: Experiment) -> Table | Omitted:
    """Kruskal-Wallis of every factor on the energy per request."""
    key = "batching-kruskal-energy"
    title = "Effect of each factor on energy per request: Kruskal-Wallis"
    outcome = _energy(experiment)
    if outcome is None:
        return no_energy(experiment, key, title) or Omitted(key, title, NO_ANSWER)
    return effects_on(outcome, key, title)


@once
def response_effects(experiment: Experiment) -> Table | Omitted:
    """Kruskal-Wallis of every factor on the mean response time of runs that kept up."""
    key = "batching-kruskal-response"
    title = "Effect of each factor on mean response time: Kruskal-Wallis"
    outcome = _response(experiment)
    if outcome is None:
        return Omitted(key, title, STEADY)
    return _with_saturation(effects_on(outcome, key, title), experiment)


@once
def energy_interactions(experiment: Experiment) -> Table | Omitted:
    """Whether the effect of the policy on the energy per request depends on the model."""
    key, title = "batching-interactions-energy", "Energy per request: do factors act together?"
    outcome = _energy(experiment)
    if outcome is None:
        return no_energy(experiment, key, title) or Omitted(key, title, NO_ANSWER)
    return interactions_on(outcome, key, title)


@once
def response_interactions(experiment: Experiment) -> Table | Omitted:
    """Whether the effect of the policy on the response time depends on the model."""
    key = "batching-interactions-response"
    title = "Mean response time: do factors act together?"
    outcome = _response(experiment)
    if outcome is None:
        return Omitted(key, title, STEADY)
    whole, partial = _whole_models(outcome)
    made = _with_saturation(interactions_on(whole, key, title), experiment)
    if isinstance(made, Omitted) or not partial:
        return made
    said = f"{formats.listing(partial)} left out: a policy has no run that kept up."
    return replace(made, note=f"{made.note} {said}")


@once
def policy_effects(experiment: Experiment) -> Table | Omitted:
    """Kruskal-Wallis of the policy within each model, on energy per request and response time.

    Models differ so much that the policy is lost among them where all are ranked together.
    """
    key, title = "batching-policy", "Effect of the policy within each model: Kruskal-Wallis"
    measures = {"energy": _energy(experiment), "response": _response(experiment)}
    by = settings_of(experiment)
    raw: pd.DataFrame | None = None
    for name, outcome in measures.items():
        if outcome is None or not by:
            continue
        rows = [
            levels | {f"{name}_{part}": row[part] for part in STATISTICS}
            for levels, runs in by_setting(experiment, outcome.runs)
            for row in kruskal(runs, "policy", outcome.column).to_dict("records")
        ]
        made = pd.DataFrame(rows)
        raw = made if raw is None else raw.merge(made, on=by, how="outer", sort=False)
    tested = [] if raw is None else [name for name in raw if str(name).endswith("_p")]
    if raw is None or raw[tested].isna().all(axis=None):
        return Omitted(key, title, "no model was run often enough with two policies.")
    shown = pd.DataFrame({"model": raw["model"].map(formats.level)})
    if "arrivals" in experiment.varied:
        shown["arrivals"] = [arrivals_name(experiment, {"arrivals": a}) for a in raw["arrivals"]]
    for name in measures:
        if f"{name}_p" in raw:
            shown[f"p, {name}"] = raw[f"{name}_p"].map(formats.p_value)
            shown[f"{ETA}, {name}"] = raw[f"{name}_eta_squared"].map(formats.effect)
            shown[f"policies, {name}"] = raw[f"{name}_k"].map(_whole)
    note = (
        "Whether the policy moves the energy per request and the mean response time of one model. "
        "A policy whose runs are all saturated does not count for the response time."
    )
    return Table(key, title, note, raw, shown, ("model", "arrivals"))


@once
def policy_pairs(experiment: Experiment) -> Table | Omitted:
    """Which policies differ in energy within a model: Dunn's test with Holm's correction."""
    key = "batching-posthoc"
    title = "Which policies differ in energy, for each model: Dunn's test, Holm's correction"
    outcome = _energy(experiment)
    if outcome is None:
        return no_energy(experiment, key, title) or Omitted(key, title, NO_ANSWER)
    column = outcome.column
    runs = outcome.runs[outcome.runs[column].notna()]
    found, hopeless = [], []
    for levels, rows in by_setting(experiment, runs):
        pairs = dunn(rows, "policy", column)
        found += [levels | row | _ratio(rows, column, row) for row in pairs.to_dict("records")]
        least = min_attainable_p(list(rows["policy"].value_counts()))
        if least >= SIGNIFICANT_P:
            hopeless.append(f"{setting_name(experiment, levels)} {formats.p_value(least)}")
    if not found:
        return Omitted(key, title, "no model was run with two policies.")
    raw = pd.DataFrame(found)
    shown = pd.DataFrame({"model": raw["model"].map(formats.level)})
    if "arrivals" in experiment.varied:
        shown["arrivals"] = [arrivals_name(experiment, {"arrivals": a}) for a in raw["arrivals"]]
    shown["one"], shown["other"] = raw["first"], raw["second"]
    shown["energy, one"] = raw["mean_first_j"].map(formats.joules)
    shown["energy, other"] = raw["mean_second_j"].map(formats.joules)
    shown["change"] = (raw["ratio"] - 1).map(formats.change)
    shown["95 % interval"] = formats.intervals(
        raw["ratio_low"] - 1, raw["ratio_high"] - 1, formats.change
    )
    shown["adjusted p"] = raw["p_adjusted"].map(formats.p_value)
    differ = raw["p_adjusted"] < SIGNIFICANT_P
    note = _pairs_note(int(differ.sum()), len(raw), hopeless)
    bold = frozenset((int(row), "adjusted p") for row in raw.index[differ])
    text = ("model", "arrivals", "one", "other", "95 % interval")
    wide = ("energy, one", "energy, other")
    return Table(key, title, note, raw, shown, text, bold, folded=True, wide=wide)


def _pairs_note(differ: int, pairs: int, hopeless: list[str]) -> str:
    note = (
        f"{differ:,} of {formats.count(pairs, 'pair')} differ at an adjusted p below "
        f"{SIGNIFICANT_P} (bold). Change is that of the geometric mean energy per request from the "
        "one policy to the other, with Welch's interval, which is not adjusted."
    )
    if hopeless:
        note += (
            " There are too few repetitions for this test: even policies that do not overlap at "
            f"all could not reach a p below {SIGNIFICANT_P} (the smallest possible: "
            f"{'; '.join(hopeless)}). Look at the intervals."
        )
    return note


def model_by_policy(experiment: Experiment) -> tuple[float, float, str]:
    """The p and partial eta squared of model x policy, of the logarithm of the energy.

    On logarithms, policies that save the same share for every model do not interact.

    Returns:
        NaN, NaN and the reason where it cannot be tested.
    """
    table = energy_interactions(experiment)
    if isinstance(table, Omitted):
        return np.nan, np.nan, table.reason.rstrip(".")
    effects = {frozenset(str(row["effect"]).split(TIMES)): row for _, row in table.raw.iterrows()}
    row = effects.get(frozenset(("model", "policy")))
    if row is None or not formats.known(row["log_p"]):
        return np.nan, np.nan, "energies are not all above 0" if row is not None else "one model"
    return float(row["log_p"]), float(row["log_partial_eta_squared"]), ""


def _energy(experiment: Experiment) -> Outcome | None:
    if (column := each_column(experiment)) is None:
        return None
    runs = requests(experiment)
    return Outcome(runs, experiment.varied, column, "energy per request", "energies per request")


def _response(experiment: Experiment) -> Outcome | None:
    if not len(experiment.runs):
        return None
    runs = requests(experiment)
    steady = runs[~(runs["saturated"] > 0) & runs[RESPONSE].notna()]
    if not len(steady):
        return None
    varied = [factor for factor in experiment.factors if steady[factor].nunique() > 1]
    return Outcome(steady, varied, RESPONSE, "mean response time", "mean response times")


def _whole_models(outcome: Outcome) -> tuple[Outcome, list[str]]:
    """The runs of models that have some in every cell, and the other models.

    A factorial analysis needs a run in every cell.
    """
    factors = list(outcome.factors)
    others = [name for name in factors if name != "model"]
    if "model" not in factors or not others:
        return outcome, []
    runs = outcome.runs
    cells = len(runs[others].drop_duplicates())
    counts = runs.drop_duplicates(factors).groupby("model", sort=False).size()
    partial = [str(model) for model, count in counts.items() if count < cells]
    if len(partial) > len(counts) - 2:
        return outcome, []
    return replace(outcome, runs=runs[~runs["model"].isin(partial)]), partial


def _whole(number: float) -> str:
    return f"{number:.0f}" if formats.known(number) else formats.DASH


def _with_saturation(made: Table | Omitted, experiment: Experiment) -> Table | Omitted:
    """The same, saying which runs are left out, and which may be saturated."""
    saturated = requests(experiment)["saturated"]
    parts = []
    if count := int((saturated > 0).sum()):
        parts.append(
            f"{formats.count(count, 'saturated run')} left out: their response times grow with the "
            "length of the window."
        )
    if unknown := int(saturated.isna().sum()):
        parts.append(
            f"{formats.count(unknown, 'run')} included of which nobody knows whether they kept up."
        )
    if not parts:
        return made
    if isinstance(made, Omitted):
        return replace(made, reason=" ".join([made.reason, *parts]))
    return replace(made, note=" ".join([made.note, *parts]))


def _ratio(rows: pd.DataFrame, column: str, pair: Mapping[Any, Any]) -> dict[str, float]:
    """How many times the energy of the first policy the second takes."""
    one, other = (list(rows.loc[rows["policy"] == pair[which], column]) for which in PAIR)
    if min(*one, *other) <= 0:
        return dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.nan)
    found = ratio_of_means(other, one)
    return {"ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}
