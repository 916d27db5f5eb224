"""A batching experiment as its tables, figures and sentences see it: runs, cells, limit, names."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
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
from joulelab.report.experiment import NET, Experiment, once

Levels = Mapping[str, Any]


@once
def requests(experiment: Experiment) -> pd.DataFrame:
    """The finished runs with what a request cost in each."""
    return per_request(experiment.measured)


@once
def cell_figures(experiment: Experiment) -> pd.DataFrame:
    """A row a model, policy and arrival process; see `joulelab.analysis.batching.cells`."""
    return cells(requests(experiment), experiment.factors)


def each_column(experiment: Experiment) -> str | None:
    """The column with the energy per request that counts; ``None`` where no energy is known."""
    if experiment.energy.column is None:
        return None
    column = NET_EACH if experiment.energy.column == NET else GROSS_EACH
    return column if requests(experiment)[column].notna().any() else None


def each_label(experiment: Experiment) -> str:
    """For an axis, the unit left open: ``net energy per request, {unit} (measured)``."""
    return f"{experiment.energy.name} per request, {{unit}} ({experiment.energy.status})"


@once
def asked_limit(experiment: Experiment) -> tuple[Limit | None, str]:
    """The limit of the response time, if there is one, and in a sentence why it cannot be kept.

    A limit on a percentile that the runs do not have is none, and the sentence says so.
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
    """The percentile of the response times that counts."""
    limit, _ = asked_limit(experiment)
    return limit.percentile if limit else PERCENTILE


def tail_name(experiment: Experiment) -> str:
    """What counts of the response times: ``99th percentile``, or ``maximum``."""
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
    """The factors other than the policy: what a user has, and does not choose."""
    return [factor for factor in experiment.factors if factor != "policy"]


@once
def choices(experiment: Experiment) -> list[tuple[dict[str, Any], Choice]]:
    """For each model and arrival process the policy to run; empty where no energy is known."""
    column = each_column(experiment)
    if column is None:
        return []
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
        experiment: whose cells these are.
        runs: any frame with its factors; a setting without a row is passed over.
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
        experiment: whose cells these are.
        runs: its finished runs, with any columns.
    """
    factors = list(experiment.factors)
    there = dict(list(runs.groupby(factors, sort=False)))
    for levels in cell_figures(experiment)[factors].itertuples(index=False, name=None):
        yield dict(zip(factors, levels, strict=True)), there[levels]


@once
def rate_names(experiment: Experiment) -> dict[str, str]:
    """A short name for each arrival process: its rate, ``16/s``, where no other has the same."""
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
    """The arrival process of some levels in short; empty where it is no factor."""
    text = str(levels.get("arrivals", ""))
    return rate_names(experiment).get(text, text)


def setting_name(experiment: Experiment, levels: Levels) -> str:
    """A model and how its requests come: ``resnet18 at 16/s``."""
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
    """How many batches of each size a run had; empty where it does not say.

    Args:
        told: sizes with counts, as a mapping or its JSON text; anything else says nothing.

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
