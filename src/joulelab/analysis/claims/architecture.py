"""Claims about the energy and accuracy of layers.

The unit of evidence is a round: a set of hyperparameters with which every configuration is trained.
Its repetitions are averaged, and the rounds are the sample, because repetitions with the same
hyperparameters are not independent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import (
    PAPER,
    SIGNIFICANT_P,
    Claim,
    Effect,
    Verdict,
    below,
    beyond_time,
    on_energy,
)
from joulelab.analysis.comparison import mean_interval, ratio_interval
from joulelab.analysis.frames import ENERGY, complete, groups
from joulelab.analysis.kruskal import effect_order, kruskal
from joulelab.analysis.posthoc import holm
from joulelab.analysis.trade_off import HIGH, LOW, Clusters, clusters
from joulelab.analysis.variation import variation

ETA = "\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO}"
LAYERS = ("conv_layers", "linear_layers", "relu")
"""Types of layer by cost, most expensive first."""
STEADY = 0.01
"""A mean coefficient of variation below this means that hyperparameters do not affect energy."""
HALF = 0.55
"""E- over E+ below this counts as half, as in the paper: 0.51 and 0.60 on its two data sets."""
RESAMPLES = 1000
TINY = 1e-9
"""Differences below this are of rounding."""
BIASED = (
    " An estimate lies outside its interval, because the bootstrap of ranks is biased near 0 and "
    "in small samples; rely on p."
)
BEYOND_TIME = (
    "Estimated energy follows time by construction: the spread is the spread of time, which other "
    "programs increase, and an effect of hyperparameters on power would not show."
)


def architecture_claims(
    runs: pd.DataFrame,
    factors: Sequence[str],
    energy: str = ENERGY,
    configuration: str = "configuration",
    accuracy: str = "accuracy",
    status: str = "measured",
) -> list[Claim]:
    """The paper's four findings about layers and energy, on these runs.

    Args:
        runs: one row per run, with a column ``round``.
        factors: columns with the levels of each type of layer.
        energy: column in joules.
        configuration: column of the configurations.
        accuracy: column, 0 to 1.
        status: of the energies; a verdict on estimates says so, and claims that time cannot show
            are left undecided.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    Four layers take twice the energy of one, in three rounds out of three:

    >>> runs = pd.DataFrame({"conv_layers": [1, 4] * 3, "round": [0, 0, 1, 1, 2, 2],
    ...     "energy_net_j": [50.0, 100.0, 51.0, 100.0, 50.0, 101.0],
    ...     "accuracy": [0.86, 0.87, 0.86, 0.87, 0.85, 0.87]})
    >>> runs["configuration"] = runs["conv_layers"].astype(str)
    >>> {claim.key: claim.words for claim in architecture_claims(runs, ["conv_layers"])[2:]}
    {'energy-can-be-halved': 'holds', 'diminishing-returns': 'holds'}
    """
    split = _split(runs, factors, energy, accuracy)
    rest = (
        _order(runs, factors, energy, configuration),
        _halved(split, energy, accuracy),
        _diminishing(split, energy, accuracy),
    )
    return [
        hyperparameters_claim(runs, energy, configuration, status),
        *(on_energy(claim, status) for claim in rest),
    ]


def hyperparameters_claim(
    runs: pd.DataFrame,
    energy: str = ENERGY,
    configuration: str = "configuration",
    status: str = "measured",
) -> Claim:
    """Whether hyperparameters affect the energy of a training.

    Args:
        runs: one row per run, with a column ``round``.
        energy: column in joules.
        configuration: column of the configurations.
        status: of the energies; estimates cannot decide it.

    Raises:
        UsageError: a column is absent or does not hold numbers.
    """
    table = variation(runs, by=configuration, energy=energy)
    spread, why = table["cv"].dropna(), dict.fromkeys(filter(None, table["reason"]))
    n, effect = len(spread), Effect("mean coefficient of variation", reference=STEADY)
    verdict = Verdict.UNDECIDED
    said = f"No configuration has a coefficient: {'; '.join(why) or 'there is no run'}."
    if n:
        effect = Effect.of("mean coefficient of variation", mean_interval(list(spread)), STEADY)
        verdict = below(effect)
        said = (
            f"The coefficients reach up to {formats.percent(float(spread.max()), 2)}; "
            f"{int((spread < STEADY).sum())} of {n} are below {formats.percent(STEADY, 0)}."
        )
        if n < len(table):
            said += f" {formats.count(len(table) - n, 'configuration')} left out: {'; '.join(why)}."
    test, p = _between_rounds(runs, energy, configuration)
    claim = Claim(
        "hyperparameters-do-not-move-energy",
        "Hyperparameters do not move the energy of a training (coefficient of variation below "
        f"{STEADY:g}).",
        f"{PAPER}section VI-B",
        verdict,
        f"Holds if the interval of the mean coefficient lies below {STEADY:g}, does not if above.",
        test,
        p,
        effect,
        n,
        "configurations",
        said,
    )
    return beyond_time(claim, status, BEYOND_TIME)


def _between_rounds(runs: pd.DataFrame, energy: str, configuration: str) -> tuple[str, float]:
    """Kruskal-Wallis between the rounds of each configuration, in words, and the smallest p."""
    tested = [
        kruskal(rows, "round", energy).iloc[0]
        for _, rows in groups(runs, configuration)
        if rows["round"].nunique() > 1
    ]
    found = pd.DataFrame([row for row in tested if np.isfinite(row["h"])])
    if not len(found):
        return "Student's t interval over configurations", np.nan
    p = holm(found["p"].to_numpy(float))
    return (
        "Student's t interval over configurations; Kruskal-Wallis between the hyperparameter sets "
        f"of each: p < {SIGNIFICANT_P:g} (Holm) in {int((p < SIGNIFICANT_P).sum())} of "
        f"{len(found)}, median {ETA} "
        f"{formats.effect(float(found['eta_squared'].median()))}"
    ), float(p.min())


def _order(runs: pd.DataFrame, factors: Sequence[str], energy: str, configuration: str) -> Claim:
    """Whether convolutional layers explain most of the energy, then linear ones, then ReLU."""
    effect, verdict, n = Effect(f"least gap in {ETA}", reference=0.0), Verdict.UNDECIDED, 0
    test, p = "", np.nan
    present = _varied(runs, [name for name in LAYERS if name in factors])
    said = f"It needs {formats.listing(LAYERS)} to vary; "
    said += f"here it is {formats.listing(present)}." if present else "here none of them does."
    if len(present) == len(LAYERS):
        found = effect_order(runs, LAYERS, configuration, energy, RESAMPLES)
        n, said = found.n, f"No test: {found.reason}."
        if not found.reason:
            gaps = found.gaps
            least = gaps.sort_values("gap").iloc[0]
            name = f"{ETA} of {least['before']} minus {ETA} of {least['after']}"
            effect = Effect(name, least["gap"], least["low"], least["high"], 0.0)
            if (gaps["low"] > 0).all():
                verdict = Verdict.HOLDS
            elif (gaps["high"] < 0).any():
                verdict = Verdict.FAILS
            p = float(found.effects["p"].max())
            rows = found.effects.to_dict("records")
            h = ", ".join(f"{row['factor']} H = {formats.statistic(row['h'])}" for row in rows)
            test = f"Kruskal-Wallis: {h}; largest p {formats.p_value(p)}; gaps by bootstrap"
            said = "; ".join(map(_eta_words, rows)) + "."
            outside = found.effects[["low", "high"]].sub(found.effects["eta_squared"], axis=0)
            if (outside["low"] > TINY).any() or (outside["high"] < -TINY).any():
                said += BIASED
    return Claim(
        "convolutions-dominate",
        "Convolutional layers move the energy most, then linear layers, then ReLU.",
        f"{PAPER}section VI-B, Table IV",
        verdict,
        f"Holds if the intervals of both gaps in {ETA}, on the same resamples, lie above 0, does "
        "not if one lies below.",
        test,
        p,
        effect,
        n,
        "rounds of configurations",
        said,
    )


def _eta_words(row: Mapping[Hashable, Any]) -> str:
    interval = formats.interval(row["low"], row["high"], formats.effect)
    return f"{row['factor']} {ETA} = {formats.effect(row['eta_squared'])} ({interval})"


def _split(
    runs: pd.DataFrame, factors: Sequence[str], energy: str, accuracy: str
) -> tuple[Clusters, pd.DataFrame]:
    """E- and E+, and the mean energy and accuracy of both in every round that has both.

    The clusters are by convolutional layers or, if these do not vary, by the factor with the
    largest effect on energy.
    """
    whole = complete(runs, [energy, accuracy], ["round"]).rows
    varied = _varied(whole, factors)
    by = [LAYERS[0]] if LAYERS[0] in varied else varied
    found = clusters(whole, by, energy=energy, accuracy=accuracy)
    if found.reason:
        return found, pd.DataFrame()
    means = found.members.pivot_table(
        index="round", columns="cluster", values=[energy, accuracy], aggfunc="mean"
    )
    return found, means.dropna()


def _halved(split: tuple[Clusters, pd.DataFrame], energy: str, accuracy: str) -> Claim:
    found, means = split
    effect, verdict = Effect("E- over E+, mean energy", reference=HALF), Verdict.UNDECIDED
    said = _apart(split)
    test = "Student's t interval of the logarithms, paired by round"
    if len(means) and bool((means[energy].to_numpy() > 0).all()):
        low, high = list(means[energy, LOW]), list(means[energy, HIGH])
        effect = Effect.of("E- over E+, mean energy", ratio_interval(low, high), HALF)
        verdict = below(effect)
        change = mean_interval(list(means[accuracy, LOW] - means[accuracy, HIGH]))
        said = (
            f"{found.factor} = {formats.level(found.low)} instead of {formats.level(found.high)} "
            f"takes {formats.percent(effect.value)} of the energy and changes the mean accuracy by "
            f"{formats.points(change.value)} "
            f"({formats.interval(change.low, change.high, formats.points)})."
        )
    elif len(means):
        said = "A mean energy is not positive, so the ratio is undefined."
    return Claim(
        "energy-can-be-halved",
        "A smaller network takes half the energy.",
        f"{PAPER}section VII-B, Table V",
        verdict,
        f"Holds if the interval of the ratio lies below {HALF:g} (the paper's own ratios are 0.51 "
        "and 0.60), does not if above.",
        test,
        np.nan,
        effect,
        len(means),
        "rounds",
        said,
    )


def _diminishing(split: tuple[Clusters, pd.DataFrame], energy: str, accuracy: str) -> Claim:
    found, means = split
    name = "elasticity of accuracy in energy"
    effect, verdict, n = Effect(name, reference=1.0), Verdict.UNDECIDED, len(means)
    said = _apart(split)
    if n and bool((means.to_numpy() > 0).all()):
        gain = np.log(means[accuracy, HIGH] / means[accuracy, LOW])
        cost = np.log(means[energy, HIGH] / means[energy, LOW])
        elastic = list((gain / cost)[cost > 0])
        n = len(elastic)
        if n:
            effect = Effect.of(name, mean_interval(elastic), 1.0)
            verdict = below(effect)
        best = found.members.groupby("cluster")[accuracy].max()
        more = formats.change(float(np.exp(cost.mean())) - 1)
        said = (
            f"From E- to E+ the energy changes by {more}, the mean accuracy by "
            f"{formats.change(float(np.exp(gain.mean())) - 1)}, the best accuracy by "
            f"{formats.points(float(best[HIGH] - best[LOW]))}."
        )
        if n < len(means):
            said += f" In {formats.count(len(means) - n, 'round')} E+ takes no more than E-."
    elif n:
        said = "A mean energy or accuracy is not positive."
    return Claim(
        "diminishing-returns",
        "Accuracy grows more slowly than energy: returns diminish.",
        f"{PAPER}section VI-B, Table V, Fig. 8",
        verdict,
        "Holds if the interval of the elasticity, ln(accuracy ratio) / ln(energy ratio) of E+ to "
        "E-, lies below 1, does not if above.",
        "Student's t interval over rounds",
        np.nan,
        effect,
        n,
        "rounds",
        said,
    )


def _varied(runs: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    return [name for name in factors if runs[name].nunique() > 1]


def _apart(split: tuple[Clusters, pd.DataFrame]) -> str:
    """Why there is nothing to compare; otherwise empty."""
    found, means = split
    if found.reason:
        return f"Two clusters cannot be formed: {found.reason}."
    return "" if len(means) else "No round has runs in both clusters."
