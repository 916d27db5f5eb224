"""What a reader must know of the cells of a batching experiment, in sentences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd

from joulelab import formats
from joulelab.report.batching.runs import (
    asked_limit,
    by_cell,
    cell_name,
    rate_names,
    requests,
)
from joulelab.report.experiment import Experiment

MOST_NAMED = 6
"""Of more cells, the first are named and the others counted."""
REMARKS = ("remarks", "producer")
REASONS = (("dropped_full", "queue full"), ("unreadable", "unreadable image"))


def saturations(experiment: Experiment) -> list[str]:
    """Which cells are saturated or may be, with what was offered and served."""
    said, unsure = [], []
    for levels, rows in by_cell(experiment, requests(experiment)):
        name, saturated = cell_name(experiment, levels), rows[rows["saturated"] > 0]
        unknown = rows[rows["saturated"].isna()]
        if len(saturated):
            words = _first_words(saturated, "saturation") or "requests came faster than they left"
            said.append(f"{name}: {words}{_some(len(saturated), len(rows))}")
        elif len(unknown):
            words = _first_words(unknown, "saturation") or "nobody knows"
            unsure.append(f"{name}: {words}{_some(len(unknown), len(rows))}")
    parts = []
    if said:
        parts.append(
            f"Saturated, so that their response times grow with the window: {_listed(said)}."
        )
    if unsure:
        parts.append(f"Perhaps saturated: {_listed(unsure)}.")
    return parts


def _some(count: int, runs: int) -> str:
    return f" (in {count} of {runs} runs)" if count < runs else ""


def drops(experiment: Experiment) -> list[str]:
    """Which cells dropped requests, how many and why."""
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
    """Cells of which no run has finished, and failed runs."""
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
    """What the server and the producer had to say of single cells, such as halved batches."""
    by_remark: dict[str, list[str]] = {}
    for levels, rows in by_cell(experiment, requests(experiment)):
        columns = [rows[column] for column in REMARKS if column in rows]
        told = [one for column in columns for words in column for one in _words(words)]
        for remark in dict.fromkeys(told):
            by_remark.setdefault(remark, []).append(cell_name(experiment, levels))
    said = [f"{remark} ({_listed(where)})" for remark, where in by_remark.items()]
    return [f"Remarks: {_listed(said)}."] if said else []


def arrivals_note(experiment: Experiment) -> list[str]:
    """How requests came, where short names stand for the arrival processes."""
    names = rate_names(experiment)
    if not names:
        return []
    said = [text if text == name else f"{name} is {text}" for text, name in names.items()]
    return [f"Arrivals: {_listed(said)}."]


def limit_note(experiment: Experiment) -> list[str]:
    """Why the study's limit is not checked; nothing where it is, or where there is none."""
    _, why = asked_limit(experiment)
    return [why] if why else []


def _first_words(rows: pd.DataFrame, column: str) -> str:
    if column not in rows:
        return ""
    return next((one for words in rows[column] for one in _words(words)), "")


def _words(told: object) -> list[str]:
    """The remarks of a run, which are a text or several."""
    if isinstance(told, str):
        return [told.rstrip(".")] if told else []
    return [str(one).rstrip(".") for one in told] if isinstance(told, list | tuple) else []


def _listed(said: Sequence[str]) -> str:
    more = len(said) - MOST_NAMED
    shown = "; ".join(said[:MOST_NAMED])
    return f"{shown}; and {more:,} more" if more > 0 else shown
