"""The configurations of two studies side by side.

They are matched by the levels of their factors. Runs of a round resemble each other, so rounds are
the sample. Where both studies trained a round with the same hyperparameters, its two means are a
pair; otherwise the samples are unpaired (Welch). Energies are compared by their ratio, B over A, on
logarithms; accuracies by their difference, B less A.

In a search most rounds are bad on purpose, so there the optima are compared. Their intervals come
from repetitions drawn again, and the interval of the difference from those of both (MOVER: Zou and
Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import (
    difference_interval,
    mean_interval,
    ratio_interval,
    ratio_of_means,
)
from joulelab.analysis.convergence import optimum_uncertainty
from joulelab.report.experiment import GROSS, NET, Experiment
from joulelab.report.tables import STRATEGY, Omitted, Table
from joulelab.study.run_frames import HYPERPARAMETERS

RESAMPLES = 1000


def compared(one: Experiment, other: Experiment) -> Table | Omitted:
    """Accuracy and energy of each configuration that both experiments have.

    Args:
        one: of study A, with finished runs.
        other: of study B, likewise.
    """
    key, title = f"compared-{one.name}", f"{one.title}: accuracy and energy of each configuration"
    column = _energy_column(one, other)
    searches = STRATEGY in one.factors
    mine, yours = _by_levels(one), _by_levels(other)
    both = [levels for levels in mine if levels in yours]
    if not both:
        return Omitted(key, title, f"no configuration in common{_other_factors(one, other)}.")
    optima = [_optima(each) if searches else {} for each in (one, other)]
    rows = []
    for levels in both:
        a, b = mine[levels], yours[levels]
        row = {"configuration": _words(levels), "rounds_a": a["round"].nunique()}
        row |= {"rounds_b": b["round"].nunique()}
        if searches:
            row |= _optimum_difference(optima[0].get(levels), optima[1].get(levels))
        else:
            row |= _accuracy_difference(a, b)
        rows.append(row | _energy_ratio(a, b, column))
    raw = pd.DataFrame(rows)
    note = _note(one, other, column, searches=searches) + _overall(raw)
    left_out = len(mine) + len(yours) - 2 * len(both)
    if left_out:
        note += f" {formats.count(left_out, 'configuration')} of only one study left out."
    note += _without_energy(raw) if column is not None else ""
    shown = pd.DataFrame(
        {
            "configuration": raw["configuration"],
            "acc. A": raw["accuracy_a"].map(formats.accuracy),
            "acc. B": raw["accuracy_b"].map(formats.accuracy),
            "B \N{MINUS SIGN} A": raw["difference"].map(formats.effect),
            "95 % interval": formats.intervals(
                raw["difference_low"], raw["difference_high"], formats.effect
            ),
            "energy A": raw["energy_a_j"].map(formats.joules),
            "energy B": raw["energy_b_j"].map(formats.joules),
            "B / A": raw["ratio"].map(formats.statistic),
            "95 % interval of it": formats.intervals(
                raw["ratio_low"], raw["ratio_high"], formats.statistic
            ),
        }
    )
    text = ("configuration", "95 % interval", "95 % interval of it")
    return Table(key, title, note, raw, shown, text, wide=("acc. A", "energy A"))


def _energy_column(one: Experiment, other: Experiment) -> str | None:
    """Net energy where both have it, gross where both have that at least."""
    columns = {one.energy.column, other.energy.column}
    if None in columns:
        return None
    return NET if columns == {NET} else GROSS


def _by_levels(experiment: Experiment) -> dict[tuple[tuple[str, Any], ...], pd.DataFrame]:
    factors = sorted(experiment.factors)
    if not factors:
        return {(): experiment.runs}
    return {
        tuple(zip(factors, key, strict=True)): rows
        for key, rows in experiment.runs.groupby(factors, sort=False)
    }


def _other_factors(one: Experiment, other: Experiment) -> str:
    if set(one.factors) == set(other.factors):
        return ""
    sides = (("A", one.factors), ("B", other.factors))
    said = [f"{side} {formats.listing(factors) if factors else 'none'}" for side, factors in sides]
    return f"; the factors are: {'; '.join(said)}"


def _words(levels: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(
        str(level) if isinstance(level, str) else f"{name}={formats.level(level)}"
        for name, level in levels
    )


def _means(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """The mean of every round that has one."""
    means: pd.Series[float] = rows.groupby("round")[column].mean().dropna()
    return means


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> list[int]:
    """Rounds of which both studies say the same hyperparameters."""
    columns = [name for name in HYPERPARAMETERS if name in a and name in b]
    one, other = (rows.groupby("round")[columns].first() for rows in (a, b))
    shared = one.index.intersection(other.index)
    mine, yours = (rows.loc[shared].to_numpy(float) for rows in (one, other))
    same = np.isclose(mine, yours, rtol=1e-9, atol=0, equal_nan=True).all(axis=1)
    same &= ~np.isnan(mine).all(axis=1)
    return [int(number) for number in np.asarray(shared)[same]]


def _accuracy_difference(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, float]:
    one, other = _means(a, "accuracy"), _means(b, "accuracy")
    row = {"accuracy_a": float(one.mean()), "accuracy_b": float(other.mean())}
    if not len(one) or not len(other):
        return {
            **row,
            "difference": math.nan,
            "difference_low": math.nan,
            "difference_high": math.nan,
        }
    pairs = [n for n in _paired(a, b) if n in one.index and n in other.index]
    found: Any
    if len(pairs) == len(one) == len(other):
        found = mean_interval(list(other[pairs] - one[pairs]))
    else:
        found = difference_interval(list(other), list(one))
    return {
        **row,
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
    }


def _optima(experiment: Experiment) -> dict[tuple[tuple[str, Any], ...], Mapping[Any, Any]]:
    factors = sorted(experiment.factors)
    table = optimum_uncertainty(
        experiment.runs, by=factors, score=experiment.score, resamples=RESAMPLES
    )
    return {tuple((name, row[name]) for name in factors): row for row in table.to_dict("records")}


def _optimum_difference(
    a: Mapping[Any, Any] | None, b: Mapping[Any, Any] | None
) -> dict[str, float]:
    if a is None or b is None:
        keys = ("accuracy_a", "accuracy_b", "difference", "difference_low", "difference_high")
        return dict.fromkeys(keys, math.nan)
    one, other = a["optimum_accuracy"], b["optimum_accuracy"]
    apart = other - one
    below = math.hypot(other - b["accuracy_low"], a["accuracy_high"] - one)
    above = math.hypot(b["accuracy_high"] - other, one - a["accuracy_low"])
    return {
        "accuracy_a": one,
        "accuracy_b": other,
        "difference": apart,
        "difference_low": apart - below,
        "difference_high": apart + above,
    }


def _energy_ratio(a: pd.DataFrame, b: pd.DataFrame, column: str | None) -> dict[str, float]:
    unknown = dict.fromkeys(
        ("energy_a_j", "energy_b_j", "ratio", "ratio_low", "ratio_high"), math.nan
    )
    if column is None:
        return unknown
    one, other = _means(a, column), _means(b, column)
    row = {**unknown, "energy_a_j": float(one.mean()), "energy_b_j": float(other.mean())}
    if not len(one) or not len(other) or min(one.min(), other.min()) <= 0:
        return row
    pairs = [n for n in _paired(a, b) if n in one.index and n in other.index]
    found: Any
    if len(pairs) == len(one) == len(other):
        found = ratio_interval(list(other[pairs]), list(one[pairs]))
    else:
        found = ratio_of_means(list(other), list(one))
    return {**row, "ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}


def _note(one: Experiment, other: Experiment, column: str | None, *, searches: bool) -> str:
    accuracy = "optimum accuracy of the search" if searches else "mean accuracy"
    if column is None:
        return f"Accuracy is the {accuracy}. No energy is known in one of the studies."
    basis = "net" if column == NET else "gross"
    statuses = sorted({one.energy.status, other.energy.status})
    mixed = (
        " One study measured what the other estimated: their ratio says little."
        if len(statuses) > 1
        else ""
    )
    return (
        f"Accuracy is the {accuracy}; energy is {basis} energy of a training "
        f"({' and '.join(statuses)}). Rounds are the sample.{mixed}"
    )


def _overall(raw: pd.DataFrame) -> str:
    known = raw.dropna(subset=["ratio"])
    if len(known) <= 1:
        return ""
    found = ratio_interval(list(known["energy_b_j"]), list(known["energy_a_j"]))
    interval = formats.interval(found.low, found.high, formats.statistic)
    return (
        f" Over {formats.count(len(known), 'configuration')} B takes "
        f"{formats.statistic(found.value)} times the energy of A (95 % interval {interval})."
    )


def _without_energy(raw: pd.DataFrame) -> str:
    count = int(raw["ratio"].isna().sum())
    if not count:
        return ""
    return (
        f" No ratio for {formats.count(count, 'configuration')}: a round has no energy above 0 in "
        "one of the studies."
    )
