"""Two studies side by side: conditions, configurations and claims.

Experiments are matched by their kind, those of the same name first, and their configurations by the
levels of their factors. Runs of a round resemble each other, so rounds are the sample; where there
are no rounds, the repetitions are. Where both studies trained a round with the same
hyperparameters, its two means are a pair; otherwise the samples are unpaired (Welch). Energies are
compared by their ratio, B over A, on logarithms; accuracies by their difference, B less A.

In a search most rounds are bad on purpose, so there the optima are compared. Their intervals come
from repetitions drawn again, and the interval of the difference from those of both (MOVER: Zou and
Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from joulelab.present import Column, Omitted, Table, words
from joulelab.report import conditions
from joulelab.report.claim_comparison import claim_agreement
from joulelab.report.effects import RESAMPLES, STRATEGY
from joulelab.report.experiment import GROSS, NET, Experiment, experiments
from joulelab.study.column_names import HYPERPARAMETERS
from joulelab.study.results import Results


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side.

    Attributes:
        conditions: what differs between them, in words.
        configurations: tables of the experiments that both have: energy and accuracy, and the
            metrics of programs.
        claims: which claims agree.
        remarks: what could not be compared.
        findings: the answer in sentences.
    """

    conditions: Table | Omitted
    configurations: tuple[Table | Omitted, ...]
    claims: Table | Omitted
    remarks: tuple[str, ...]
    findings: tuple[str, ...]


def compare_studies(first: Results, second: Results) -> Comparison:
    """Compare what two studies found.

    Args:
        first: A.
        second: B.
    """
    ours, theirs = experiments(first), experiments(second)
    matched = _matched(ours, theirs)
    remarks = [
        *_unmatched("B", ours, [one for one, _ in matched]),
        *_unmatched("A", theirs, [other for _, other in matched]),
    ]
    both = []
    for one, other in matched:
        if len(one.runs) and len(other.runs):
            both.append((one, other))
            continue
        sides = [side for side, its in (("A", one), ("B", other)) if not len(its.runs)]
        remarks.append(f"{one.title}: no run has finished in {formats.listing(sides)}.")
    tables, claims = tuple(compared(one, other) for one, other in both), claim_agreement(both)
    metrics = tuple(table for one, other in both for table in _metrics(one, other))
    return Comparison(
        _conditions(first, second),
        (*tables, *metrics),
        claims,
        tuple(remarks),
        tuple(_findings(both, tables, claims)),
    )


def _findings(
    pairs: Sequence[tuple[Experiment, Experiment]],
    tables: Sequence[Table | Omitted],
    claims: Table | Omitted,
) -> Iterator[str]:
    """The ratio of energies of each experiment, and how many claims agree."""
    if all(isinstance(table, Omitted) for table in tables):
        yield "The studies have no configuration in common."
    for (one, other), table in zip(pairs, tables, strict=True):
        if isinstance(table, Table):
            ratio = _ratio_in_words(table.frame, _statuses(one, other))
            yield f"{one.title}: {ratio or 'no ratio of energies is known.'}"
    if isinstance(claims, Table):
        yield claims.note


def _matched(
    ours: Sequence[Experiment], theirs: Sequence[Experiment]
) -> list[tuple[Experiment, Experiment]]:
    """Pairs of the same kind, each experiment in one pair at most; the same name goes first."""
    left = list(theirs)
    found: dict[Experiment, Experiment] = {}
    for by_name in (True, False):
        for one in ours:
            match = next(
                (o for o in left if o.kind == one.kind and (o.name == one.name or not by_name)),
                None,
            )
            if one not in found and match is not None:
                found[one] = match
                left.remove(match)
    return [(one, found[one]) for one in ours if one in found]


def _unmatched(
    side: str, experiments: Sequence[Experiment], matched: Sequence[Experiment]
) -> list[str]:
    return [
        f"{side} has no experiment to compare {one.title} with."
        for one in experiments
        if one not in matched
    ]


def _conditions(first: Results, second: Results) -> Table | Omitted:
    key, title = "conditions", "What differs between the studies"
    of_both = [dict(conditions.conditions(one)) for one in (first, second)]
    for said, one in zip(of_both, (first, second), strict=True):
        said["Miniature"] = " ".join(conditions.thinning(one)) or "no"
        said["Energy"] = "; ".join(conditions.counted(one.to_frame())) or "unknown"
    names = [name for name in dict.fromkeys([*of_both[0], *of_both[1]]) if name != "Sessions"]
    rows = [
        {
            "condition": name,
            "A": of_both[0].get(name, "not said"),
            "B": of_both[1].get(name, "not said"),
        }
        for name in names
        if of_both[0].get(name) != of_both[1].get(name)
    ]
    if not rows:
        return Omitted(key, title, "the two studies ran under the same recorded conditions.")
    return Table(rows, [words(name) for name in ("condition", "A", "B")], "", key, title)


def compared(one: Experiment, other: Experiment) -> Table | Omitted:
    """Accuracy and energy of each configuration that both experiments have.

    Args:
        one: of study A, with finished runs.
        other: of study B, likewise.
    """
    key, title = f"compared-{one.name}", f"{one.title}: accuracy and energy of each configuration"
    column = _energy_column(one, other)
    searches = STRATEGY in one.factors
    mine, yours, unit = _by_levels(one), _by_levels(other), _unit(one)
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
            row |= _difference(a, b, "accuracy", unit)
        rows.append(row | _energy_ratio(a, b, column, unit))
    raw = pd.DataFrame(rows)
    scored = bool(raw[["accuracy_a", "accuracy_b"]].notna().any(axis=None))
    note = _note(one, other, column, scored=scored)
    if len(raw) > 1 and (overall := _ratio_in_words(raw)):
        note += f" {overall[0].upper()}{overall[1:]}"
    left_out = len(mine) + len(yours) - 2 * len(both)
    if left_out:
        note += f" {formats.count(left_out, 'configuration')} of only one study left out."
    note += _without_energy(raw) if column is not None else ""
    accuracies = [
        Column("acc. A", "accuracy_a", formats.accuracy, wide=True),
        Column("acc. B", "accuracy_b", formats.accuracy),
        Column("B \N{MINUS SIGN} A", "difference", formats.effect),
        words(
            "95 % interval",
            ("difference_low", "difference_high"),
            form=formats.between(formats.effect),
        ),
    ]
    columns = [
        words("configuration"),
        *(accuracies if scored else []),
        Column("energy A", "energy_a_j", formats.joules, wide=True),
        Column("energy B", "energy_b_j", formats.joules),
        Column("B / A", "ratio", formats.statistic),
        words(
            "95 % interval of it",
            ("ratio_low", "ratio_high"),
            form=formats.between(formats.statistic),
        ),
    ]
    return Table(raw, columns, note, key, title)


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


def _means(rows: pd.DataFrame, column: str, unit: str) -> pd.Series[float]:
    """The mean of every round that has one, or the values of the repetitions."""
    values = rows.assign(value=pd.to_numeric(rows[column], errors="coerce"))
    means: pd.Series[float] = values.groupby(unit)["value"].mean().dropna()
    return means


def _unit(one: Experiment) -> str:
    """The column of the sample: rounds, or repetitions where the kind has no rounds."""
    return "round" if "rounds" in one.table or one.runs["round"].nunique() > 1 else "repetition"


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> list[int]:
    """Rounds of which both studies say the same hyperparameters."""
    columns = [name for name in HYPERPARAMETERS if name in a and name in b]
    one, other = (rows.groupby("round")[columns].first() for rows in (a, b))
    shared = one.index.intersection(other.index)
    mine, yours = (rows.loc[shared].to_numpy(float) for rows in (one, other))
    same = np.isclose(mine, yours, rtol=1e-9, atol=0, equal_nan=True).all(axis=1)
    same &= ~np.isnan(mine).all(axis=1)
    return [int(number) for number in np.asarray(shared)[same]]


def _metrics(one: Experiment, other: Experiment) -> Iterator[Table]:
    """The metrics that both experiments declare, other than accuracy, by configuration."""
    declared = [
        name
        for name in one.table.get("metrics") or {}
        if name in (other.table.get("metrics") or {}) and name != "accuracy"
    ]
    mine, yours = _by_levels(one), _by_levels(other)
    rows = [
        {"metric": name, "configuration": _words(levels)}
        | _difference(mine[levels], yours[levels], name, _unit(one))
        for name in declared
        if name in one.runs and name in other.runs
        for levels in mine
        if levels in yours
    ]
    if not rows:
        return
    columns = [
        words("metric"),
        words("configuration"),
        Column("A", of="metric_a", form=formats.quantity),
        Column("B", of="metric_b", form=formats.quantity),
        Column("B \N{MINUS SIGN} A", "difference", formats.quantity),
        words(
            "95 % interval",
            ("difference_low", "difference_high"),
            form=formats.between(formats.quantity),
        ),
    ]
    named = [
        {key.replace(f"{row['metric']}_", "metric_"): value for key, value in row.items()}
        for row in rows
    ]
    note = "Means over the repetitions; intervals by Welch."
    yield Table(named, columns, note, f"metrics-{one.name}", f"{one.title}: metrics")


def _difference(a: pd.DataFrame, b: pd.DataFrame, column: str, unit: str) -> dict[str, float]:
    one, other = _means(a, column, unit), _means(b, column, unit)
    row = {f"{column}_a": float(one.mean()), f"{column}_b": float(other.mean())}
    if not len(one) or not len(other):
        return {
            **row,
            "difference": math.nan,
            "difference_low": math.nan,
            "difference_high": math.nan,
        }
    same = _paired(a, b) if unit == "round" else []
    pairs = [n for n in same if n in one.index and n in other.index]
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


def _energy_ratio(
    a: pd.DataFrame, b: pd.DataFrame, column: str | None, unit: str
) -> dict[str, float]:
    unknown = dict.fromkeys(
        ("energy_a_j", "energy_b_j", "ratio", "ratio_low", "ratio_high"), math.nan
    )
    if column is None:
        return unknown
    one, other = _means(a, column, unit), _means(b, column, unit)
    row = {**unknown, "energy_a_j": float(one.mean()), "energy_b_j": float(other.mean())}
    if not len(one) or not len(other) or min(one.min(), other.min()) <= 0:
        return row
    same = _paired(a, b) if unit == "round" else []
    pairs = [n for n in same if n in one.index and n in other.index]
    found: Any
    if len(pairs) == len(one) == len(other):
        found = ratio_interval(list(other[pairs]), list(one[pairs]))
    else:
        found = ratio_of_means(list(other), list(one))
    return {**row, "ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}


def _note(one: Experiment, other: Experiment, column: str | None, *, scored: bool) -> str:
    kind = "optimum accuracy of the search" if STRATEGY in one.factors else "mean accuracy"
    accuracy = f"Accuracy is the {kind}" if scored else ""
    if column is None:
        return f"{accuracy}{'. ' * scored}No energy is known in one of the studies."
    basis = "net" if column == NET else "gross"
    sample = f"{_unit(one)}s"
    mixed = (
        " One study measured what the other estimated: their ratio says little."
        if one.energy.status != other.energy.status
        else ""
    )
    energy = f"energy is {basis} energy of {one.each} ({_statuses(one, other)})"
    energy = f"{accuracy}; {energy}" if scored else f"E{energy[1:]}"
    return f"{energy}. {sample.capitalize()} are the sample.{mixed}"


def _statuses(one: Experiment, other: Experiment) -> str:
    """How both energies came about: ``estimated and measured``."""
    return " and ".join(sorted({one.energy.status, other.energy.status}))


def _ratio_in_words(raw: pd.DataFrame, status: str = "") -> str:
    """The ratio of energies over all configurations; empty if none has one."""
    known = raw.dropna(subset=["ratio"])
    if not len(known):
        return ""
    if len(known) == 1:
        row = known.iloc[0]
        start, end = "", f" with {row['configuration']}" if row["configuration"] else ""
        value, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    else:
        found = ratio_interval(list(known["energy_b_j"]), list(known["energy_a_j"]))
        start, end = f"over {formats.count(len(known), 'configuration')} ", ""
        value, low, high = found.value, found.low, found.high
    interval = formats.interval(low, high, formats.statistic)
    interval = f"95 % interval {interval}" if formats.known(low) else interval
    ratio = formats.statistic(value)
    said = f"{status}; {interval}" if status else interval
    return f"{start}B takes {ratio} times the energy of A{end} ({said})."


def _without_energy(raw: pd.DataFrame) -> str:
    count = int(raw["ratio"].isna().sum())
    if not count:
        return ""
    return (
        f" No ratio for {formats.count(count, 'configuration')}: a round has no energy above 0 in "
        "one of the studies."
    )
