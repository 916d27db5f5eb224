"""Data of a batching experiment for tables, figures and findings: runs, cells, limit, names."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import (
    ALL,
    GROSS_EACH,
    NET_EACH,
    PERCENTILE,
    Choice,
    Limit,
    cells,
    choose,
    per_request,
    response_column,
)
from joulelab.analysis.frames import groups
from joulelab.present import Unavailable, cached_per_subject
from joulelab.report.effects import Outcome
from joulelab.report.experiment import NET, Experiment, energy_column

Levels = Mapping[str, Any]
RESPONSE = "response_mean_s"
MOST_NAMED = 6
"""Number of cells named in a sentence; the others are counted."""
REMARKS = ("remarks", "producer")
REASONS = (("dropped_full", "queue full"), ("unreadable", "unreadable image"))


@cached_per_subject
def requests(experiment: Experiment) -> pd.DataFrame:
    """The finished runs with their cost per request."""
    return per_request(experiment.measured)


@cached_per_subject
def cell_figures(experiment: Experiment) -> pd.DataFrame:
    """One row per model, policy and arrival process; see `joulelab.analysis.batching.cells`."""
    return cells(requests(experiment), experiment.factors)


def each_column(experiment: Experiment) -> str:
    """The column with the energy per request that counts.

    Raises:
        Unavailable: no energy is known, or no run with an energy has answered a request.
    """
    column = NET_EACH if energy_column(experiment) == NET else GROSS_EACH
    if not requests(experiment)[column].notna().any():
        raise Unavailable("no run with an energy has answered a request.")
    return column


def energy_each(experiment: Experiment) -> Outcome:
    """The energy per request of the runs.

    Raises:
        Unavailable: none is known.
    """
    column, runs = each_column(experiment), requests(experiment)
    return Outcome(runs, experiment.varied, column, "energy per request", "energies per request")


def response_times(experiment: Experiment) -> Outcome:
    """The mean response time of the runs that kept up.

    Raises:
        Unavailable: there is none.
    """
    runs = requests(experiment) if len(experiment.runs) else experiment.runs
    steady = runs[~(runs["saturated"] > 0) & runs[RESPONSE].notna()] if len(runs) else runs
    if not len(steady):
        raise Unavailable("no run that kept up has a response time.")
    varied = [factor for factor in experiment.factors if steady[factor].nunique() > 1]
    return Outcome(steady, varied, RESPONSE, "mean response time", "mean response times")


@cached_per_subject
def asked_limit(experiment: Experiment) -> tuple[Limit | None, str]:
    """The limit on response time, if any, and a sentence why it cannot be checked.

    A limit on a percentile that the runs lack is ignored, and the sentence says so.
    """
    runs = experiment.runs
    if "limit_s" not in runs or not runs["limit_s"].notna().any():
        return None, ""
    seconds = float(runs["limit_s"].dropna().iloc[0])
    asked = list(runs["limit_percentile"].dropna()) if "limit_percentile" in runs else []
    percentile = float(asked[0]) if asked else PERCENTILE
    limit = Limit(seconds, percentile)
    if limit.column not in runs:
        words = f"{tail_of(percentile)} of at most {formats.duration(seconds)}"
        return None, f"The limit, a {words}, is not checked: the runs do not have that percentile."
    return limit, ""


def percentile_of(experiment: Experiment) -> float:
    """The relevant percentile of response times."""
    limit, _ = asked_limit(experiment)
    return limit.percentile if limit else PERCENTILE


def tail_name(experiment: Experiment) -> str:
    """The relevant percentile in words: ``99th percentile``, or ``maximum``."""
    return tail_of(percentile_of(experiment))


def tail_of(percentile: float) -> str:
    """A percentile in words.

    >>> tail_of(99.0), tail_of(100.0)
    ('99th percentile', 'maximum')
    """
    return "maximum" if percentile == ALL else f"{ordinal(percentile)} percentile"


def ordinal(number: float) -> str:
    """``99th``, ``50th``, ``99.9th``, ``91st``."""
    text = f"{number:g}"
    if text.endswith(("11", "12", "13")):
        return f"{text}th"
    return text + {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")


def settings_of(experiment: Experiment) -> list[str]:
    """The factors other than the policy, which the user cannot choose."""
    return [factor for factor in experiment.factors if factor != "policy"]


@cached_per_subject
def choices(experiment: Experiment) -> list[tuple[dict[str, Any], Choice]]:
    """For each model and arrival process the policy to run.

    Raises:
        Unavailable: no energy is known.
    """
    column = each_column(experiment)
    runs = requests(experiment)
    response = response_column(percentile_of(experiment))
    runs = runs if response in runs else runs.assign(**{response: math.nan})
    limit, _ = asked_limit(experiment)
    return [(levels, choose(rows, column, limit)) for levels, rows in by_setting(experiment, runs)]


def by_setting(
    experiment: Experiment, runs: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of each model and arrival process, in the order of the cells.

    Args:
        experiment: the experiment.
        runs: any frame with its factors; settings without rows are skipped.
    """
    by = settings_of(experiment)
    there = {tuple(levels.values()): rows for levels, rows in groups(runs, by)}
    for key in cell_figures(experiment)[by].drop_duplicates().itertuples(index=False, name=None):
        if key in there:
            yield dict(zip(by, key, strict=True)), there[key]


def by_cell(
    experiment: Experiment, runs: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of every cell, in the order of the cells.

    Args:
        experiment: the experiment.
        runs: its finished runs, with any columns.
    """
    factors = list(experiment.factors)
    there = dict(list(runs.groupby(factors, sort=False)))
    for levels in cell_figures(experiment)[factors].itertuples(index=False, name=None):
        yield dict(zip(factors, levels, strict=True)), there[levels]


@cached_per_subject
def rate_names(experiment: Experiment) -> dict[str, str]:
    """A short name for each arrival process: its rate, ``16/s``, if unique."""
    if "arrivals" not in experiment.runs or "offered_per_s" not in experiment.runs:
        return {}
    means = requests(experiment).groupby("arrivals", sort=False)["offered_per_s"].mean()
    known = means.dropna()
    short = {str(text): "" for text in means.index} | {
        str(text): rate(float(per_s)) for text, per_s in known.items()
    }
    alike = Counter(short.values())
    return {text: name if name and alike[name] == 1 else text for text, name in short.items()}


def rate(per_s: float | None) -> str:
    """Requests a second, three digits: ``16/s``, ``1.1/s``, ``1,240/s``."""
    return f"{float(f'{per_s:.3g}'):,g}/s" if formats.known(per_s) else formats.UNKNOWN


def arrivals_name(experiment: Experiment, levels: Levels) -> str:
    """The short name of the arrival process of some levels; empty if it is not a factor."""
    text = str(levels.get("arrivals", ""))
    return rate_names(experiment).get(text, text)


def setting_name(experiment: Experiment, levels: Levels) -> str:
    """A model and its arrivals: ``resnet18 at 16/s``."""
    said = [
        str(level) if name == "model" else f"{name} {formats.level(level)}"
        for name, level in levels.items()
        if name not in ("arrivals", "policy")
    ]
    arrivals = arrivals_name(experiment, levels)
    return ", ".join(said) + (f" at {arrivals}" if arrivals else "")


def cell_name(experiment: Experiment, levels: Levels) -> str:
    """A cell in short: ``alexnet, fixed(16), 16/s``."""
    said = [
        str(levels[name])
        if name in ("model", "policy")
        else f"{name} {formats.level(levels[name])}"
        for name in experiment.factors
        if name != "arrivals"
    ]
    return ", ".join(filter(None, [*said, arrivals_name(experiment, levels)]))


def histogram(told: object) -> dict[int, int]:
    """Number of batches of each size in a run; empty if unknown.

    Args:
        told: sizes with counts, as a mapping or its JSON text; anything else is ignored.

    >>> histogram('{"1": 40, "2": 3}')
    {1: 40, 2: 3}
    """
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    if not isinstance(told, Mapping):
        return {}
    return {int(size): int(count) for size, count in told.items() if int(count) > 0}


def saturations(experiment: Experiment) -> list[str]:
    """Cells that are or may be saturated, with offered and served rates."""
    said, unsure = [], []
    for levels, rows in by_cell(experiment, requests(experiment)):
        name, saturated = cell_name(experiment, levels), rows[rows["saturated"] > 0]
        unknown = rows[rows["saturated"].isna()]
        if len(saturated):
            words = _first_words(saturated, "saturation") or "requests came faster than they left"
            said.append(f"{name}: {words}{_some(len(saturated), len(rows))}")
        elif len(unknown):
            words = _first_words(unknown, "saturation") or formats.UNKNOWN
            unsure.append(f"{name}: {words}{_some(len(unknown), len(rows))}")
    parts = []
    if said:
        parts.append(f"Saturated, so response times grow with the window: {_listed(said)}.")
    if unsure:
        parts.append(f"Perhaps saturated: {_listed(unsure)}.")
    return parts


def _some(count: int, runs: int) -> str:
    return f" (in {count} of {runs} runs)" if count < runs else ""


def drops(experiment: Experiment) -> list[str]:
    """Cells with dropped requests, with numbers and reasons."""
    said = []
    for levels, rows in by_cell(experiment, requests(experiment)):
        dropped = int(rows["dropped"].fillna(0).sum())
        if not dropped:
            continue
        reasons = {
            reason: int(pd.to_numeric(rows[column]).fillna(0).sum())
            for column, reason in REASONS
            if column in rows
        }
        if (rest := dropped - sum(reasons.values())) > 0:
            reasons["the model failed, or another reason"] = rest
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items() if count)
        share = formats.share(dropped / requested) if (requested := rows["requests"].sum()) else ""
        part = f", {share}" if share else ""
        said.append(f"{cell_name(experiment, levels)}: {dropped:,}{part} ({why})")
    return [f"Dropped: {_listed(said)}."] if said else []


def absences(experiment: Experiment) -> list[str]:
    """Cells without finished runs, and failed runs."""
    runs, factors = experiment.runs, list(experiment.factors)
    there = set(runs[factors].itertuples(index=False, name=None))
    every = itertools.product(*(list(dict.fromkeys(runs[name])) for name in factors))
    gone = [
        cell_name(experiment, dict(zip(factors, levels, strict=True)))
        for levels in every
        if levels not in there
    ]
    parts = [f"No run has finished of {_listed(gone)}."] if gone else []
    if experiment.failed:
        parts.append(f"{formats.count(experiment.failed, 'failed run')} left out.")
    return parts


def remarks(experiment: Experiment) -> list[str]:
    """Remarks of server and producer on single cells, such as halved batches."""
    by_remark: dict[str, list[str]] = {}
    for levels, rows in by_cell(experiment, requests(experiment)):
        columns = [rows[column] for column in REMARKS if column in rows]
        told = [one for column in columns for words in column for one in _words(words)]
        for remark in dict.fromkeys(told):
            by_remark.setdefault(remark, []).append(cell_name(experiment, levels))
    said = [f"{remark} ({_listed(where)})" for remark, where in by_remark.items()]
    return [f"Remarks: {_listed(said)}."] if said else []


def arrivals_note(experiment: Experiment) -> list[str]:
    """The arrival processes behind short names."""
    names = rate_names(experiment)
    if not names:
        return []
    said = [text if text == name else f"{name} is {text}" for text, name in names.items()]
    return [f"Arrivals: {_listed(said)}."]


def limit_note(experiment: Experiment) -> list[str]:
    """Why the study's limit is not checked; empty if it is, or without a limit."""
    _, why = asked_limit(experiment)
    return [why] if why else []


def _first_words(rows: pd.DataFrame, column: str) -> str:
    if column not in rows:
        return ""
    return next((one for words in rows[column] for one in _words(words)), "")


def _words(told: object) -> list[str]:
    """The remarks of a run: one text or several."""
    if isinstance(told, str):
        return [told.rstrip(".")] if told else []
    return [str(one).rstrip(".") for one in told] if isinstance(told, list | tuple) else []


def _listed(said: Sequence[str]) -> str:
    more = len(said) - MOST_NAMED
    shown = "; ".join(said[:MOST_NAMED])
    return f"{shown}; and {more:,} more" if more > 0 else shown
