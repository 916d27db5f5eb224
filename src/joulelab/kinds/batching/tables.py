"""Tables of a batching experiment: best policy, energy, response times, and tests.

One run is one observation, however many requests it answered. Saturated runs have an energy per
request, but no comparable response time, because it grows with the length of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import NET_EACH, Choice
from joulelab.analysis.comparison import ratio_of_means
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.posthoc import dunn, min_attainable_p
from joulelab.kinds.batching.runs import (
    absences,
    arrivals_name,
    arrivals_note,
    asked_limit,
    by_setting,
    cell_figures,
    choices,
    drops,
    each_column,
    energy_each,
    limit_note,
    rate,
    remarks,
    requests,
    response_times,
    saturations,
    setting_name,
    settings_of,
    tail_name,
)
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.effects import ETA, SIGNIFICANT_P, Outcome, effects_on, interactions_on
from joulelab.report.experiment import Experiment

INTERVAL = "95 % interval"
STATISTICS = ("h", "p", "eta_squared", "epsilon_squared", "n", "k", "dropped", "reason")
PAIR = ("first", "second")
TIMES = " \N{MULTIPLICATION SIGN} "
ARRIVALS = "arrivals"


@table("batching-choice", "The policy to run for each model")
def chosen_policies(experiment: Experiment) -> Table:
    """For each model and arrival process the policy with the lowest energy that answers in time."""
    rows = pd.DataFrame([levels | _chosen(choice) for levels, choice in choices(experiment)])
    if not len(rows) or rows["policies"].eq(0).all():
        raise Unavailable("no run with an energy has answered a request.")
    rows = rows[rows["policies"] > 0].reset_index(drop=True)
    tail = tail_name(experiment)
    heading = tail.removesuffix(" percentile")
    columns = [
        *_named(experiment, settings_of(experiment)),
        words("policy", form=lambda policy: policy or "none"),
        Column("energy", "energy_j", formats.joules),
        words(INTERVAL, ("energy_low_j", "energy_high_j"), form=energy_range, wide=True),
        Column(heading, "response_s", formats.duration),
        words("against", "baseline", form=lambda policy: policy or formats.DASH),
        Column("change", "ratio", lambda ratio: formats.change(ratio - 1)),
        words("interval of it", ("ratio_low", "ratio_high"), form=_change_range, wide=True),
        words("as good", "alike", wide=True),
    ]
    note = " ".join(
        [
            f"The policy with the least {experiment.energy.name} per request "
            f"({experiment.energy.status}) among those that are not saturated{_limited(experiment)}"
            "; of those whose energy does not differ significantly from the least, the quickest, "
            f"and the others are “as good”. {heading} is the {tail} of its response times. It is "
            "compared with the smallest fixed batch there is or, where that is the best, with the "
            "policy that takes most (ratio of geometric means, Welch).",
            *limit_note(experiment),
        ]
    )
    return Table(rows, columns, note)


@table("batching-energy", "Energy of a request under each policy")
def energy_of_cells(experiment: Experiment) -> Table:
    """Energy of every cell: of a request, net and gross, of the window, and the mean power."""
    column = each_column(experiment)
    rows = cell_figures(experiment)
    name = "net" if column == NET_EACH else "gross"
    least = rows.groupby(settings_of(experiment))[column].transform("min")
    gross = ("gross_per_request_j_low", "gross_per_request_j_high")
    net = (f"{NET_EACH}_low", f"{NET_EACH}_high")
    columns = [
        *_named(experiment, experiment.factors),
        Column("runs", "n", str, wide=True),
        Column("net each", NET_EACH, formats.joules, bold="least_net"),
        words(INTERVAL, net if name == "net" else gross, form=energy_range),
        Column("gross each", "gross_per_request_j", formats.joules, bold="least_gross"),
        *([words("interval, gross", gross, form=energy_range, wide=True)] if name == "net" else []),
        Column("power", "mean_power_w", formats.watts),
        Column("net, all", "energy_net_j", formats.joules, wide=True),
        Column("gross, all", "energy_gross_j", formats.joules, wide=True),
    ]
    is_least = rows[column].notna() & (rows[column] == least)
    shown = rows.assign(
        least_net=is_least & (name == "net"), least_gross=is_least & (name == "gross")
    )
    note = " ".join(
        [
            f"Joules for each request answered ({experiment.energy.status}), means over the "
            f"repetitions; the interval is that of the {name} energy. Power is gross energy over "
            "the window, which ends with the last answer; “all” is the whole window. Bold: the "
            "least energy of a model.",
            *(
                ["Each cell was run once, so there are no intervals."]
                if (rows["n"] <= 1).all()
                else []
            ),
            *arrivals_note(experiment),
            *absences(experiment),
            *remarks(experiment),
        ]
    )
    return Table(rows, columns, note, shown=shown)


@table("batching-response", "Response time under each policy")
def response_of_cells(experiment: Experiment) -> Table:
    """Throughput, response times, batches and drops of every cell, saturation in words."""
    if not len(experiment.runs):
        raise Unavailable("no run has finished yet.")
    rows = cell_figures(experiment)
    if rows["response_mean_s"].isna().all():
        raise Unavailable("no request was answered, or no response time is known.")
    columns = [
        *_named(experiment, experiment.factors),
        Column("served", "throughput_per_s", rate),
        *(
            Column(name, f"response_{name}_s", formats.duration, wide=wide)
            for name, wide in (
                ("mean", False),
                ("p50", True),
                ("p95", True),
                ("p99", False),
                ("max", True),
            )
        ),
        words(
            "grew",
            ("saturated", "saturation_unknown", "n"),
            form=_saturated,
            bold=lambda row: row["saturated"] > 0,
        ),
        Column("batch", "batch_mean", formats.significant),
        Column("answered", form=_count, wide=True),
        Column("dropped", form=_count, wide=True),
    ]
    note = " ".join(
        [
            "Response time is that from entering the queue to the answer: means over the "
            "repetitions of each run's figure, of the maximum the largest. Batch is the mean "
            "batch; answered and dropped are sums over the repetitions. Grew: whether the queue "
            "grew without bound.",
            *saturations(experiment),
            *drops(experiment),
            *arrivals_note(experiment),
        ]
    )
    return Table(rows, columns, note)


@table("batching-kruskal-energy", "Effect of each factor on energy per request: Kruskal-Wallis")
def energy_effects(experiment: Experiment) -> Table:
    """Kruskal-Wallis of every factor on the energy per request."""
    return effects_on(energy_each(experiment))


@table("batching-kruskal-response", "Effect of each factor on mean response time: Kruskal-Wallis")
def response_effects(experiment: Experiment) -> Table:
    """Kruskal-Wallis of every factor on the mean response time of runs that kept up."""
    return _with_saturation(lambda: effects_on(response_times(experiment)), experiment)


@table("batching-interactions-energy", "Energy per request: do factors act together?")
def energy_interactions(experiment: Experiment) -> Table:
    """Whether the effect of the policy on the energy per request depends on the model."""
    return interactions_on(energy_each(experiment))


@table("batching-interactions-response", "Mean response time: do factors act together?")
def response_interactions(experiment: Experiment) -> Table:
    """Whether the effect of the policy on the response time depends on the model."""
    whole, partial = _whole_models(response_times(experiment))
    made = _with_saturation(lambda: interactions_on(whole), experiment)
    if not partial:
        return made
    said = f"{formats.listing(partial)} left out: a policy has no run that kept up."
    return replace(made, note=f"{made.note} {said}")


@table("batching-policy", "Effect of the policy within each model: Kruskal-Wallis")
def policy_effects(experiment: Experiment) -> Table:
    """Kruskal-Wallis of the policy within each model, on energy per request and response time.

    Models differ so much that a joint ranking would hide the policy.
    """
    by, found = settings_of(experiment), {}
    for name, measure in (("energy", energy_each), ("response", response_times)):
        try:
            outcome = measure(experiment)
        except Unavailable:
            continue
        found[name] = pd.DataFrame(
            [
                levels | {f"{name}_{part}": row[part] for part in STATISTICS}
                for levels, runs in by_setting(experiment, outcome.runs)
                for row in kruskal(runs, "policy", outcome.column).to_dict("records")
            ]
        )
    if not by or not found:
        raise Unavailable("no model was run often enough with two policies.")
    rows, *others = found.values()
    for other in others:
        rows = rows.merge(other, on=by, how="outer", sort=False)
    if rows[[f"{name}_p" for name in found]].isna().all(axis=None):
        raise Unavailable("no model was run often enough with two policies.")
    columns = _named(experiment, ["model", ARRIVALS])
    for name in found:
        columns += [
            Column(f"p, {name}", f"{name}_p", formats.p_value),
            Column(f"{ETA}, {name}", f"{name}_eta_squared", formats.effect),
            Column(f"policies, {name}", f"{name}_k", _whole),
        ]
    note = (
        "Whether the policy moves the energy per request and the mean response time of one model. "
        "A policy whose runs are all saturated does not count for the response time."
    )
    return Table(rows, columns, note)


@table(
    "batching-posthoc",
    "Which policies differ in energy, for each model: Dunn's test, Holm's correction",
    folded=True,
)
def policy_pairs(experiment: Experiment) -> Table:
    """Which policies differ in energy within a model: Dunn's test with Holm's correction."""
    outcome = energy_each(experiment)
    column = outcome.column
    found, hopeless = [], []
    for levels, runs in by_setting(experiment, outcome.runs[outcome.runs[column].notna()]):
        pairs = dunn(runs, "policy", column)
        found += [levels | row | _ratio(runs, column, row) for row in pairs.to_dict("records")]
        least = min_attainable_p(list(runs["policy"].value_counts()))
        if least >= SIGNIFICANT_P:
            hopeless.append(f"{setting_name(experiment, levels)} {formats.p_value(least)}")
    if not found:
        raise Unavailable("no model was run with two policies.")
    rows = pd.DataFrame(found)
    columns = [
        *_named(experiment, ["model", ARRIVALS]),
        words("one", "first"),
        words("other", "second"),
        Column("energy, one", "mean_first_j", formats.joules, wide=True),
        Column("energy, other", "mean_second_j", formats.joules, wide=True),
        Column("change", "ratio", lambda ratio: formats.change(ratio - 1)),
        words(INTERVAL, ("ratio_low", "ratio_high"), form=_change_range),
        Column(
            "adjusted p",
            "p_adjusted",
            formats.p_value,
            bold=lambda row: row["p_adjusted"] < SIGNIFICANT_P,
        ),
    ]
    differ = int((rows["p_adjusted"] < SIGNIFICANT_P).sum())
    return Table(rows, columns, _pairs_note(differ, len(rows), hopeless))


def _pairs_note(differ: int, pairs: int, hopeless: list[str]) -> str:
    note = (
        f"{differ:,} of {formats.count(pairs, 'pair')} differ at an adjusted p below "
        f"{SIGNIFICANT_P} (bold). Change: of the geometric mean energy per request from the "
        "one policy to the other, with Welch's interval, which is not adjusted."
    )
    if hopeless:
        note += (
            " There are too few repetitions for this test: even policies that do not overlap at "
            f"all could not reach a p below {SIGNIFICANT_P} (the smallest possible: "
            f"{'; '.join(hopeless)}). Look at the intervals."
        )
    return note


def model_by_policy(experiment: Experiment) -> tuple[float, float]:
    """The p and partial eta squared of model x policy, of the logarithm of the energy.

    On logarithms, policies that save the same share for every model do not interact.

    Raises:
        Unavailable: it cannot be tested.
    """
    rows = energy_interactions(experiment).frame
    found = {frozenset(str(row["effect"]).split(TIMES)): row for _, row in rows.iterrows()}
    row = found.get(frozenset(("model", "policy")))
    if row is None or not formats.known(row["log_p"]):
        raise Unavailable("energies are not all above 0." if row is not None else "one model.")
    return float(row["log_p"]), float(row["log_partial_eta_squared"])


def _named(experiment: Experiment, factors: Sequence[str]) -> list[Column]:
    """Columns that identify a row by its levels; arrivals only if there are several."""
    return [
        words(factor, lambda row: arrivals_name(experiment, row))
        if factor == ARRIVALS
        else words(factor)
        for factor in factors
        if factor != ARRIVALS or factor in experiment.varied
    ]


def energy_range(low: float, high: float) -> str:
    """An interval of energy, with the unit once if both ends are above 0."""
    if formats.known(low) and low > 0:
        return formats.joules_range(low, high)
    return formats.signed(formats.interval(low, high, formats.joules))


def _change_range(low: float, high: float) -> str:
    """An interval of a ratio, as a change."""
    return formats.interval(low - 1, high - 1, formats.change)


def _chosen(choice: Choice) -> dict[str, Any]:
    """A choice as numbers; NaN and ``None`` for missing values."""
    best, baseline, ratio, least = choice.best, choice.baseline, choice.ratio, choice.least
    nan = float("nan")
    return {
        "policy": best.policy if best else None,
        "energy_j": best.energy_j if best else nan,
        "energy_low_j": best.low_j if best else nan,
        "energy_high_j": best.high_j if best else nan,
        "response_s": best.response_s if best else nan,
        "baseline": baseline.policy if baseline else None,
        "baseline_j": baseline.energy_j if baseline else nan,
        "ratio": ratio.value if ratio else nan,
        "ratio_low": ratio.low if ratio else nan,
        "ratio_high": ratio.high if ratio else nan,
        "alike": ", ".join(choice.alike),
        "least": least.policy if least else None,
        "least_j": least.energy_j if least else nan,
        "repetitions_to_tell": choice.repetitions,
        "cheaper": choice.cheaper.policy if choice.cheaper else None,
        "hindrance": choice.cheaper.hindrance if choice.cheaper else "",
        "reach": choice.reach,
        "policies": len(choice.policies),
    }


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


def _with_saturation(make: Callable[[], Table], experiment: Experiment) -> Table:
    """A table of excluded runs, and runs that may be saturated."""
    saturated = (
        requests(experiment)["saturated"] if len(experiment.runs) else pd.Series(dtype=float)
    )
    parts = []
    if count := int((saturated > 0).sum()):
        parts.append(
            f"{formats.count(count, 'saturated run')} left out: their response times grow with the "
            "length of the window."
        )
    if unknown := int(saturated.isna().sum()):
        parts.append(f"{formats.count(unknown, 'run')} included for which saturation is unknown.")
    try:
        made = make()
    except Unavailable as error:
        raise Unavailable(" ".join([error.reason, *parts])) from None
    return replace(made, note=" ".join([made.note, *parts]))


def _ratio(rows: pd.DataFrame, column: str, pair: Mapping[Any, Any]) -> dict[str, float]:
    """Ratio of the second policy's energy to the first's."""
    one, other = (list(rows.loc[rows["policy"] == pair[which], column]) for which in PAIR)
    if min(*one, *other) <= 0:
        return dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.nan)
    found = ratio_of_means(other, one)
    return {"ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}


def _limited(experiment: Experiment) -> str:
    limit, _ = asked_limit(experiment)
    if limit is None:
        return ""
    return (
        f" and answer {limit.percentile:g} % of the requests within "
        f"{formats.duration(limit.seconds)} in every run"
    )


def _saturated(saturated: int, unknown: int, runs: int) -> str:
    """Saturation of the runs of a cell, in words."""
    if not saturated:
        return "no" if not unknown else formats.UNKNOWN
    return "yes" if saturated == runs else f"{saturated} of {runs}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if formats.known(value) else formats.UNKNOWN
