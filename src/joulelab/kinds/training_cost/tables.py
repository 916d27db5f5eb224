"""Tables of a training-cost experiment: configurations, cost of the base, proxies for energy.

The energies of a pair of a frozen and a trained base are compared by the ratio of their geometric
means (Welch on logarithms), the accuracies by their difference (Welch); over all pairs, by the mean
of the pairs' logarithms and differences (Student).

The point-biserial correlation of data set and energy, with x = 0 for one data set and x = 1 for the
other, is Pearson's r of x and the energy; Tate, "Correlation between a discrete and a continuous
variable", Annals of Mathematical Statistics 25 (1954). Its square is the share of the variance of
energy between the data sets. The interval is Fisher's: tanh(atanh r +- 1.96 / sqrt(n - 3)).

Spearman's rho shows whether a proxy (operations, parameters, time) orders the configurations by
energy; the ratio of joules per unit between configurations shows its error as a measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from joulelab import formats
from joulelab.analysis.comparison import (
    difference_interval,
    mean_interval,
    ratio_interval,
    ratio_of_means,
)
from joulelab.analysis.correlation import FEWEST as FEWEST_FOR_RHO
from joulelab.analysis.correlation import rank_correlation
from joulelab.analysis.negative_energy import in_words
from joulelab.kinds.training_cost.configurations import (
    BASE,
    DATASET,
    FACTORS,
    FROZEN,
    NETWORK,
    RANDOM,
    TRAINED,
    configurations,
    costs,
    impossible_energies,
    repeated,
    short_datasets,
    shortened,
    sound,
    varied,
)
from joulelab.present import Column, Table, Unavailable, cached_per_subject, table, words
from joulelab.report import effects, resource_use
from joulelab.report.experiment import Experiment
from joulelab.report.resource_use import LEAST_FOR_RHO

MILLION = 1e6
NAMES = {NETWORK: "network", BASE: "base", DATASET: "data set"}
ONE_RUN = "each configuration has one measurement, so effects cannot be told from chance."
TWO = 2
FEWEST = 4
"""Minimum number of measurements for Fisher's interval."""
TOTAL, TRAINABLE = "flops", "flops_trainable"
PROXIES = {
    TOTAL: "FLOPs, total",
    TRAINABLE: "FLOPs, trainable",
    "parameters_total": "parameters, total",
    "parameters": "parameters, trainable",
    "duration_s": "time",
}


@table("training-cost", "What each configuration costs, and what it reaches")
def cost_table(experiment: Experiment) -> Table:
    """Energy, duration, accuracy and accuracy per kWh of each configuration."""
    rows = costs(experiment)
    columns = [
        *_named(experiment, bold="on_front"),
        Column("runs", "n", str, wide=True),
        Column("energy", "energy_j", formats.joules),
        words("95 % interval", ("energy_low_j", "energy_high_j"), form=_joules_range, wide=True),
        Column("time", "duration_s", formats.duration),
        Column("accuracy", form=formats.accuracy),
        *([Column("F1", "f1", formats.accuracy)] if rows["f1"].notna().any() else []),
        Column("acc. per kWh", "accuracy_per_kwh", formats.significant),
    ]
    return Table(rows, columns, " ".join(_cost_note(experiment)))


@table("accuracy-per-kwh", "Accuracy per kWh", folded=True)
def efficiency(experiment: Experiment) -> Table:
    """Accuracy per kWh of each configuration with its interval, most first."""
    rows = costs(experiment).dropna(subset=["accuracy_per_kwh"])
    if not len(rows):
        raise Unavailable("no run has both an energy and an accuracy.")
    ends = ("accuracy_per_kwh_low", "accuracy_per_kwh_high")
    rows = rows.sort_values("accuracy_per_kwh", ascending=False, ignore_index=True)
    rows = rows[[*FACTORS, "measurements", "accuracy", "energy_j", "accuracy_per_kwh", *ends]]
    columns = [
        *_named(experiment),
        Column("accuracy", form=formats.accuracy),
        Column("energy", "energy_j", formats.joules),
        Column("per kWh", "accuracy_per_kwh", formats.significant),
        words("95 % interval", ends, form=formats.between(formats.significant)),
    ]
    note = (
        f"Mean accuracy over mean {experiment.energy.name} ({experiment.energy.status}); interval "
        "of the ratio of means by the delta method. It compares trainings of one study and nothing "
        "else: fewer epochs or smaller data raise it."
    )
    return Table(rows, columns, note)


@table("training-size", "Operations, parameters and weights", folded=True)
def sizes(experiment: Experiment) -> Table:
    """Operations of a training, parameters and weights of each configuration."""
    rows = costs(experiment).sort_values([DATASET, "flops"], kind="stable", ignore_index=True)
    rows = rows[[*FACTORS, "flops", "flops_trainable", "parameters_total", "parameters", "weights"]]
    columns = [
        *_named(experiment),
        Column("FLOPs", "flops", formats.operations),
        Column("trainable FLOPs", "flops_trainable", formats.operations),
        Column("parameters, M", "parameters_total", _millions),
        Column("trainable, M", "parameters", _millions, wide=True),
        words("weights", form=lambda weights: weights or formats.DASH),
    ]
    note = (
        "FLOPs of the whole training, products and convolutions forward and backward; trainable: "
        "without the forward pass of frozen layers, which have no backward pass. Parameters in "
        f"millions. {weights_words(experiment)}"
    )
    return Table(rows, columns, note.strip())


@table("base", "A trained base against a frozen one")
def bases(experiment: Experiment) -> Table:
    """Extra energy and accuracy of a trained base compared with a frozen one."""
    found, rows = base_effect(experiment), base_pairs(experiment)
    columns = [
        *_named(experiment, without=(BASE,)),
        Column("frozen", "frozen_j", formats.joules),
        Column("trained", "trained_j", formats.joules),
        Column("more energy", "ratio", _more),
        words("95 % interval", ("ratio_low", "ratio_high"), form=formats.between(_more), wide=True),
        Column("accuracy", "points", formats.points),
        words("its interval", ("points_low", "points_high"), form=_points, wide=True),
    ]
    note = (
        f"{experiment.energy.name.capitalize()} ({experiment.energy.status}), geometric means over "
        "runs; accuracy: trained less frozen, in percentage points. Intervals of Welch."
    )
    if found.pairs > 1:
        reach = formats.interval(found.ratio_low, found.ratio_high, _more)
        note += (
            f" Over {found.pairs} pairs {_more(found.ratio)} ({reach}) at "
            f"{formats.points(found.points)}."
        )
    return Table(rows, columns, note)


@table("point-biserial", "Data set and energy: point-biserial correlation")
def dataset_effect(experiment: Experiment) -> Table:
    """Point-biserial correlation of the data set with the energy."""
    found = dataset_correlation(experiment)
    rows = [{**vars(found), "r_squared": found.r**2}]
    short = short_datasets([found.less, found.more])
    columns = [
        words("more energy", "more", form=lambda name: short[name]),
        words("less", form=lambda name: short[name]),
        Column("r", form=formats.effect),
        words("95 % interval", ("low", "high"), form=formats.between(formats.effect)),
        Column("p", form=formats.p_value),
        Column("r²", "r_squared", formats.effect),
        Column("paired", "ratio", _more),
        words("its interval", ("ratio_low", "ratio_high"), form=formats.between(_more), wide=True),
    ]
    note = (
        f"Pearson's r of energy and data set (0 or 1), {formats.count(found.n, 'run')}; r² is the "
        "share of the variance of energy between the data sets. Network and base are in the rest: "
        "a small r does not say that the data set does little. Paired: what it adds at equal "
        f"network and base, geometric mean of {formats.count(found.pairs, 'pair')} (Student)."
    )
    return Table(pd.DataFrame(rows), columns, note)


@table("proxies", "Proxies for energy: operations, parameters and time")
def proxies(experiment: Experiment) -> Table:
    """How well operations, parameters and time predict energy."""
    points = costs(experiment).dropna(subset=["energy_j"])
    found = [{"of": of, **_proxy(points, of)} for of in PROXIES if points[of].notna().any()]
    rows = pd.DataFrame([row for row in found if row["rho"] is not None])
    if not len(rows):
        raise Unavailable(
            f"it needs {LEAST_FOR_RHO} configurations whose energies, and whose operations, "
            "parameters or times differ."
        )
    columns = [
        words("of", form=lambda of: PROXIES[of]),
        Column("Spearman's \N{GREEK SMALL LETTER RHO}", "rho", formats.effect),
        words("95 % interval", ("low", "high"), form=formats.between(formats.effect)),
        Column("joules a unit, most / least", "spread", formats.significant),
        Column("configurations", "n", str),
    ]
    note = (
        "\N{GREEK SMALL LETTER RHO} = 1: the same order as by energy. Most over least: the "
        "largest energy per operation, parameter or second over the smallest; 1 for a perfect "
        "proxy."
    )
    if (rows["n"] < FEWEST_FOR_RHO).any():
        note += f" Intervals need {FEWEST_FOR_RHO} configurations."
    if not experiment.energy.status.startswith("measured"):
        note += " Energies estimated from the processor's time follow time by construction."
    return Table(rows, columns, note)


def _tested(make: Callable[[Experiment], Table]) -> Callable[[Experiment], Table]:
    """A test, which needs repetitions; with short names of data sets."""

    def tested(experiment: Experiment) -> Table:
        costs(experiment)
        if not repeated(experiment):
            raise Unavailable(ONE_RUN)
        return _sound(make)(experiment)

    return tested


def _sound(make: Callable[[Experiment], Table]) -> Callable[[Experiment], Table]:
    """A table of the valid energies, with short names of data sets in shown rows."""

    def made(experiment: Experiment) -> Table:
        costs(experiment)
        short = short_datasets(list(configurations(experiment)[DATASET]))
        try:
            found = make(sound(experiment))
        except Unavailable as error:
            raise Unavailable(shortened(error.reason, short)) from None
        columns = [replace(column, of=_short(column, short)) for column in found.columns]
        # The title is that of this report.
        return replace(found, columns=columns, note=shortened(found.note, short), key="", title="")

    return made


def _short(column: Column, short: Mapping[str, str]) -> Callable[[Mapping[str, object]], str]:
    """The text of a column, with short names of data sets."""
    if callable(column.of):
        text = column.of
        return lambda row: shortened(str(text(row)), short)
    return lambda row: shortened(column.form(*column.values(row)), short)


factor_effects = table("kruskal", "Effect of each factor on energy: Kruskal-Wallis")(
    _tested(effects.effects)
)
factor_interactions = table("interactions", "Do factors act together? ANOVA and aligned ranks")(
    _tested(effects.factor_interactions)
)
level_differences = table(
    "posthoc-levels",
    "Which levels differ in energy, the other factors held fixed",
    folded=True,
)(_tested(effects.level_differences))
configuration_pairs = table(
    "posthoc",
    "Which configurations differ in energy: Dunn's test, Holm's correction",
    folded=True,
)(_tested(effects.configuration_pairs))
flops = table("flops", "FLOPs beside joules", folded=True)(_sound(resource_use.flops))
time_energy = table("time-energy", "Does time stand for energy?", folded=True)(
    _sound(resource_use.time_energy)
)
utilisations = table("utilisation", "Utilisation of the device that trains", folded=True)(
    _sound(resource_use.utilisations)
)


@dataclass(frozen=True)
class BaseEffect:
    """A trained base compared with a frozen one, over all pairs.

    Attributes:
        ratio: energy with a trained base over that with a frozen one.
        ratio_low: lower end of its 95 % interval; NaN if undefined.
        ratio_high: upper end.
        points: difference of accuracy, trained minus frozen, as a share of 1.
        pairs: number of pairs.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    points: float
    pairs: int


@cached_per_subject
def base_pairs(experiment: Experiment) -> pd.DataFrame:
    """One row per network and data set with both bases measured, smallest increase first."""
    costs(experiment)
    whole = sound(experiment)
    energy = str(whole.energy.column)
    runs, measured = whole.runs, whole.measured.dropna(subset=[energy])
    rows = []
    for (network, dataset), part in measured.groupby([NETWORK, DATASET], sort=False):
        of = runs[(runs[NETWORK] == network) & (runs[DATASET] == dataset)]
        energies = [list(part.loc[part[BASE] == base, energy]) for base in (FROZEN, TRAINED)]
        accuracies = [
            list(of.loc[of[BASE] == base, "accuracy"].dropna()) for base in (FROZEN, TRAINED)
        ]
        if all(energies) and all(accuracies):
            rows.append({NETWORK: network, DATASET: dataset, **_pair(*energies, *accuracies)})
    table = pd.DataFrame(rows, columns=[NETWORK, DATASET, *_COLUMNS])
    return table.sort_values("ratio", kind="stable", ignore_index=True)


@cached_per_subject
def base_effect(experiment: Experiment) -> BaseEffect:
    """The average cost of training the base.

    Raises:
        Unavailable: no network was measured with both on the same data set.
    """
    pairs = base_pairs(experiment)
    if not len(pairs):
        raise Unavailable("no network was measured with both on the same data set.")
    if len(pairs) == 1:
        row = pairs.iloc[0]
        return BaseEffect(row["ratio"], row["ratio_low"], row["ratio_high"], row["points"], 1)
    ratio = ratio_interval(list(pairs["ratio"]), [1.0] * len(pairs))
    points = mean_interval(list(pairs["points"]))
    return BaseEffect(ratio.value, ratio.low, ratio.high, points.value, len(pairs))


@dataclass(frozen=True)
class DatasetCorrelation:
    """The point-biserial correlation of energy with one of two data sets.

    Attributes:
        less: the data set whose trainings take less energy on average.
        more: the other one.
        r: of `more`, so not negative.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the hypothesis that there is none.
        n: measurements.
        ratio: energy on `more` over that on `less`, geometric mean over pairs of configurations
            with equal network and base; NaN without pairs.
        ratio_low: lower end of its 95 % interval; NaN with fewer than two pairs.
        ratio_high: upper end.
        pairs: number of pairs.
    """

    less: str
    more: str
    r: float
    low: float
    high: float
    p: float
    n: int
    ratio: float
    ratio_low: float
    ratio_high: float
    pairs: int


@cached_per_subject
def dataset_correlation(experiment: Experiment) -> DatasetCorrelation:
    """The correlation of energy with the data set.

    Raises:
        Unavailable: it cannot be computed.
    """
    costs(experiment)
    whole = sound(experiment)
    energy = str(whole.energy.column)
    rows = whole.measured.dropna(subset=[energy])
    means = rows.groupby(DATASET, sort=False)[energy].mean().sort_values()
    if len(means) != TWO:
        raise Unavailable(
            f"it needs two data sets, here {'is' if len(means) == 1 else 'are'} {len(means)}."
        )
    if not repeated(experiment):
        raise Unavailable("each configuration has one measurement.")
    if len(rows) < FEWEST:
        raise Unavailable(f"it needs {FEWEST} runs, here are {len(rows)}.")
    if rows[energy].nunique() == 1:
        raise Unavailable("all values are the same.")
    less, more = map(str, means.index)
    found = stats.pearsonr((rows[DATASET] == more).astype(float), rows[energy])
    interval = found.confidence_interval()
    return DatasetCorrelation(
        less,
        more,
        float(found.statistic),
        float(interval.low),
        float(interval.high),
        float(found.pvalue),
        len(rows),
        *_paired(experiment, less, more),
    )


def better_proxy(experiment: Experiment) -> str:
    """A sentence whether total or trainable operations predict energy better; or nothing.

    Raises:
        Unavailable: it cannot be decided.
    """
    rows = proxies(experiment).frame.set_index("of")
    points = configurations(experiment)
    if not {TOTAL, TRAINABLE} <= set(rows.index) or (points[TOTAL] == points[TRAINABLE]).all():
        return ""
    rho = {of: float(rows["rho"][of]) for of in (TOTAL, TRAINABLE)}
    spread = {of: float(rows["spread"][of]) for of in (TOTAL, TRAINABLE)}
    which = {TOTAL: "total", TRAINABLE: "trainable"}
    order = max(rho, key=lambda of: rho[of])
    near = min(spread, key=lambda of: spread[of])
    said = (
        f"Spearman's \N{GREEK SMALL LETTER RHO} with energy over "
        f"{formats.count(int(rows['n'][TOTAL]), 'configuration')} is {formats.effect(rho[TOTAL])} "
        f"for total and {formats.effect(rho[TRAINABLE])} for trainable FLOPs, and a FLOP costs up "
        f"to {formats.significant(spread[TOTAL])} and {formats.significant(spread[TRAINABLE])} "
        "times as much in one configuration as in another"
    )
    # Without intervals, or if they overlap, other networks may show the opposite.
    apart = rows["low"][order] > rows["high"][TRAINABLE if order == TOTAL else TOTAL]
    sure = "" if apart else ", though other networks may show the opposite"
    if rho[TOTAL] == rho[TRAINABLE] or order == near:
        return f"{said}: {which[near]} FLOPs are the better proxy for energy{sure}."
    return (
        f"{said}: {which[order]} FLOPs order energies better, {which[near]} FLOPs are closer in "
        "proportion."
    )


def _proxy(points: pd.DataFrame, of: str) -> dict[str, object]:
    """Rho and spread of one proxy; rho is ``None`` if undefined."""
    rows = points.dropna(subset=[of])
    rows = rows[rows[of] > 0]
    n = len(rows)
    if n < LEAST_FOR_RHO or min(rows[of].nunique(), rows["energy_j"].nunique()) == 1:
        return {"rho": None}
    found = rank_correlation(rows, of, "energy_j")
    rho = found.rho
    if found.reason:
        rho = float(rows[of].corr(rows["energy_j"], method="spearman"))
    each = rows["energy_j"] / rows[of]
    spread = float(each.max() / each.min())
    return {"rho": rho, "low": found.low, "high": found.high, "spread": spread, "n": n}


def _named(
    experiment: Experiment, *, bold: str = "", without: tuple[str, ...] = ()
) -> list[Column]:
    """Columns that identify a configuration or a pair; always including the network."""
    short = short_datasets(list(configurations(experiment)[DATASET]))
    return [
        words(
            NAMES[factor],
            factor,
            form=lambda level: short.get(level, str(level)),
            bold=bold if factor == NETWORK else "",
        )
        for factor in FACTORS
        if factor in {NETWORK, *varied(experiment)} and factor not in without
    ]


def weights_words(experiment: Experiment) -> str:
    """Configurations that started with random weights, and the consequence; or nothing."""
    points = configurations(experiment)
    random = points[points["weights"] == RANDOM]
    if not len(random):
        return ""
    if (points.loc[points["weights"] != "", "weights"] == RANDOM).all():
        which, their = "", "accuracies"
    else:
        which = f" for {formats.listing(list(dict.fromkeys(random[NETWORK])))}"
        their = "their accuracies"
    asked = experiment.table.get("weights")
    why = "because the published ones are not on this machine"
    if asked == RANDOM:
        why = "as the study file asks"
    elif asked is None:
        why += " or were not asked for"
    return f"Weights: random{which}, {why}: {their} do not represent fine-tuning."


def _cost_note(experiment: Experiment) -> Iterator[str]:
    points, energy = configurations(experiment), experiment.energy
    yield (
        f"{energy.name.capitalize()} of a training ({energy.status}), mean with the 95 % interval "
        "of Student. Accuracy and macro F1 on the test images, means over runs. Accuracy per kWh: "
        "mean accuracy over mean energy. Bold: on the Pareto front of energy and accuracy of its "
        "data set."
    )
    same = [factor for factor in FACTORS if factor not in varied(experiment)]
    if fixed := [f"{NAMES[factor]} {points[factor].iloc[0]}" for factor in same]:
        yield f"The same in all: {formats.listing(fixed)}."
    short = short_datasets(list(points[DATASET]))
    if DATASET in varied(experiment) and any(name != long for long, name in short.items()):
        yield f"Data sets: {formats.listing(sorted(short))}."
    if int((points["n"] == 1).sum()) == len(points):
        yield "Each configuration has one run, so there are no intervals."
    if len(found := impossible_energies(experiment)):
        yield f"Left out: {in_words(found, formats.joules)}."


_COLUMNS = (
    "frozen_j",
    "trained_j",
    "ratio",
    "ratio_low",
    "ratio_high",
    "p",
    "points",
    "points_low",
    "points_high",
    "n_frozen",
    "n_trained",
)


def _pair(
    frozen_j: list[float],
    trained_j: list[float],
    frozen_accuracy: list[float],
    trained_accuracy: list[float],
) -> dict[str, float]:
    ratio = ratio_of_means(trained_j, frozen_j)
    points = difference_interval(trained_accuracy, frozen_accuracy)
    means = (float(np.exp(np.log(energies).mean())) for energies in (frozen_j, trained_j))
    figures = (
        *means,
        ratio.value,
        ratio.low,
        ratio.high,
        ratio.p,
        points.value,
        points.low,
        points.high,
        ratio.n_second,
        ratio.n_first,
    )
    return dict(zip(_COLUMNS, figures, strict=True))


def _paired(experiment: Experiment, less: str, more: str) -> tuple[float, float, float, int]:
    """Energy on one data set over that on the other, at equal network and base."""
    means = configurations(experiment).pivot(
        index=[NETWORK, BASE], columns=DATASET, values="energy_j"
    )
    both = means[[less, more]].dropna()
    if not len(both):
        return math.nan, math.nan, math.nan, 0
    found = ratio_interval(list(both[more]), list(both[less]))
    return found.value, found.low, found.high, found.n


def _more(ratio: float) -> str:
    return formats.change(ratio - 1)


def _points(low: float, high: float) -> str:
    """Both ends of a difference of accuracies: ``1.1 to 2.5``."""
    return formats.interval(100 * low, 100 * high, lambda end: formats.decimals(end, 1))


def _joules_range(low: float, high: float) -> str:
    """An interval of energies in one unit; no energy is below 0."""
    return formats.joules_range(max(low, 0.0), high) if formats.known(low) else formats.DASH


def _millions(number: float) -> str:
    return formats.at_scale(number, MILLION)
