"""Tables of a batching experiment: energy and response of every cell, and the policy to run.

A cell is a model under a policy and an arrival process; `joulelab.analysis.batching` says how its
figures are made. The tests are in `joulelab.report.batching.effects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import NET_EACH, Choice
from joulelab.report.batching.notes import (
    absences,
    arrivals_note,
    drops,
    limit_note,
    remarks,
    saturations,
)
from joulelab.report.batching.runs import (
    arrivals_name,
    asked_limit,
    cell_figures,
    choices,
    each_column,
    rate,
    settings_of,
    tail_name,
)
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table, no_energy

INTERVAL = "95 % interval"
RESPONSES = ("mean", "p50", "p95", "p99", "max")


@once
def energy_cells(experiment: Experiment) -> Table | Omitted:
    """Energy of every cell: of a request, net and gross, of the window, and the mean power."""
    key, title = "batching-energy", "Energy of a request under each policy"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    column = each_column(experiment)
    if column is None:
        return Omitted(key, title, "no run with an energy has answered a request.")
    raw = cell_figures(experiment)
    name = "net" if column == NET_EACH else "gross"
    ranges = {
        f"{which} {INTERVAL}": _ranges(raw[f"{each}_low"], raw[f"{each}_high"])
        for which, each in (("net", NET_EACH), ("gross", "gross_per_request_j"))
    }
    shown = _named(experiment, raw)
    shown["runs"] = raw["n"].map(str)
    shown["net each"] = raw[NET_EACH].map(formats.joules)
    shown[INTERVAL] = ranges[f"{name} {INTERVAL}"]
    shown["gross each"] = raw["gross_per_request_j"].map(formats.joules)
    if name == "net":
        shown["interval, gross"] = ranges[f"gross {INTERVAL}"]
    shown["power"] = raw["mean_power_w"].map(formats.watts)
    shown["net, all"] = raw["energy_net_j"].map(formats.joules)
    shown["gross, all"] = raw["energy_gross_j"].map(formats.joules)
    note = " ".join(
        [
            f"Joules for each request answered ({experiment.energy.status}), means over the "
            f"repetitions; the interval is that of the {name} energy. Power is gross energy over "
            "the window, which ends with the last answer; “all” is the whole window. Bold: the "
            "least energy of a model.",
            *_once_only(raw),
            *arrivals_note(experiment),
            *absences(experiment),
            *remarks(experiment),
        ]
    )
    bold = _least(experiment, raw, column, f"{name} each")
    text = (*experiment.factors, INTERVAL, "interval, gross")
    wide = ("interval, gross", "net, all", "gross, all", "runs")
    return Table(key, title, note, raw, shown, text, bold, wide=wide)


@once
def response_cells(experiment: Experiment) -> Table | Omitted:
    """Throughput, response times, batches and drops of every cell, saturation in words."""
    key, title = "batching-response", "Response time under each policy"
    if not len(experiment.runs):
        return Omitted(key, title, "no run has finished yet.")
    raw = cell_figures(experiment)
    if raw["response_mean_s"].isna().all():
        return Omitted(key, title, "no request was answered, or no response time is known.")
    shown = _named(experiment, raw)
    shown["served"] = raw["throughput_per_s"].map(rate)
    for name in RESPONSES:
        shown[name] = raw[f"response_{name}_s"].map(formats.duration)
    shown["grew"] = [
        _saturated(*counts)
        for counts in zip(raw["saturated"], raw["saturation_unknown"], raw["n"], strict=True)
    ]
    shown["batch"] = raw["batch_mean"].map(formats.significant)
    shown["answered"] = [_count(value) for value in raw["answered"]]
    shown["dropped"] = [_count(value) for value in raw["dropped"]]
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
    bold = frozenset((int(row), "grew") for row in raw.index[raw["saturated"] > 0])
    text = (*experiment.factors, "grew")
    wide = ("p50", "p95", "answered", "max", "dropped")
    return Table(key, title, note, raw, shown, text, bold, wide=wide)


@once
def choice_table(experiment: Experiment) -> Table | Omitted:
    """For each model and arrival process the policy with the fewest joules that answers in time."""
    key, title = "batching-choice", "The policy to run for each model"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    found = choices(experiment)
    raw = pd.DataFrame([levels | _chosen(choice) for levels, choice in found])
    if not len(raw) or raw["policies"].eq(0).all():
        return Omitted(key, title, "no run with an energy has answered a request.")
    raw = raw[raw["policies"] > 0].reset_index(drop=True)
    tail = tail_name(experiment)
    heading = tail.removesuffix(" percentile")
    shown = _named(experiment, raw, settings_of(experiment))
    shown["policy"] = raw["policy"].fillna("none")
    shown["energy"] = raw["energy_j"].map(formats.joules)
    shown[INTERVAL] = _ranges(raw["energy_low_j"], raw["energy_high_j"])
    shown[heading] = raw["response_s"].map(formats.duration)
    shown["against"] = raw["baseline"].fillna(formats.DASH)
    shown["change"] = (raw["ratio"] - 1).map(formats.change)
    shown["interval of it"] = formats.intervals(
        raw["ratio_low"] - 1, raw["ratio_high"] - 1, formats.change
    )
    shown["as good"] = raw["alike"]
    note = " ".join(
        [
            f"The policy with the least {experiment.energy.name} per request "
            f"({experiment.energy.status}) among those that are not saturated{_limited(experiment)}"
            "; of those whose energy these runs cannot tell from the least, the quickest, and the "
            f"others are “as good”. {heading} is the {tail} of its response times. It is compared "
            "with the smallest fixed batch there is or, where that is the best, with the policy "
            "that takes most (ratio of geometric means, Welch).",
            *limit_note(experiment),
        ]
    )
    text = (*settings_of(experiment), "policy", INTERVAL, "against", "interval of it", "as good")
    wide = ("interval of it", "as good", INTERVAL)
    return Table(key, title, note, raw, shown, text, wide=wide)


def _chosen(choice: Choice) -> dict[str, Any]:
    """A choice as numbers; NaN and ``None`` for what there is not."""
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


def _named(
    experiment: Experiment, raw: pd.DataFrame, factors: Sequence[str] | None = None
) -> pd.DataFrame:
    """The factors of each row as text; the arrivals only where there are several."""
    shown = pd.DataFrame(index=raw.index)
    for factor in experiment.factors if factors is None else factors:
        if factor != "arrivals":
            shown[factor] = raw[factor].map(formats.level)
        elif factor in experiment.varied:
            shown[factor] = [arrivals_name(experiment, {factor: level}) for level in raw[factor]]
    return shown


def _ranges(lows: Iterable[float], highs: Iterable[float]) -> list[str]:
    """Intervals of energy, the unit said once where both ends are above 0."""
    return [
        formats.joules_range(low, high)
        if formats.known(low) and low > 0
        else formats.signed(formats.interval(low, high, formats.joules))
        for low, high in zip(lows, highs, strict=True)
    ]


def _least(
    experiment: Experiment, raw: pd.DataFrame, column: str, heading: str
) -> frozenset[tuple[int, str]]:
    """The cell with the least energy of each model and arrival process."""
    known = raw[raw[column].notna()]
    least = known.groupby(settings_of(experiment))[column].transform("min")
    return frozenset((int(row), heading) for row in known.index[known[column] == least])


def _once_only(raw: pd.DataFrame) -> list[str]:
    if (raw["n"] <= 1).all():
        return ["Each cell was run once, so there are no intervals."]
    return []


def _limited(experiment: Experiment) -> str:
    limit, _ = asked_limit(experiment)
    if limit is None:
        return ""
    return (
        f" and answer {limit.percentile:g} % of the requests within "
        f"{formats.duration(limit.seconds)} in every run"
    )


def _saturated(saturated: int, unknown: int, runs: int) -> str:
    """In which of the runs of a cell the queue grew without bound."""
    if not saturated:
        return "no" if not unknown else formats.UNKNOWN
    return "yes" if saturated == runs else f"{saturated} of {runs}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if formats.known(value) else formats.UNKNOWN
