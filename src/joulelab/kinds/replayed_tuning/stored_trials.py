"""Recorded trials from the results folder of a study: its finished trainings, with final scores.

==================  ==============================================================================
kind of experiment  a trial
==================  ==============================================================================
tuning              the hyperparameters of a round; its repetitions
green-tuning,       a trial of any search that was trained to the end, or confirmed; steps are added
objective           up
==================  ==============================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.errors import UsageError, quoted
from joulelab.report.experiment import Experiment, experiments
from joulelab.study.database import DATABASE
from joulelab.study.results import Results
from joulelab.tuning.recorded import ENERGY, REPETITION, SECONDS, STATUS, RecordedTrials
from joulelab.tuning.recorded_tables import selected, table_of

SEARCHES = ("green-tuning", "objective")
KINDS = ("tuning", *SEARCHES)
SCORE, NAME = "score", "experiment"
STRATEGY = "strategy"
"""The factor that is how, not what, trials were chosen."""


def is_results_folder(reference: str) -> bool:
    """Whether a reference is a results folder."""
    return (Path(reference) / DATABASE).is_file()


def stored_trials(
    folder: str,
    variables: Sequence[str] | None = None,
    score: str | None = None,
    judged: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> RecordedTrials:
    """The finished trainings of a study as a table; for arguments see `recorded`.

    Raises:
        UsageError: there are none, or those of several problems.
        StoreError: the folder cannot be read.
    """
    name = Path(folder).name
    found = [one for one in experiments(Results.open(folder)) if one.kind in KINDS]
    if not found:
        raise UsageError(
            f"{folder} has no experiment whose trials can be replayed",
            f"kinds: {', '.join(KINDS)}",
        )
    frames = [one for one in map(_trials, found) if len(one)]
    if not frames:
        raise UsageError(
            f"{folder} has no finished trial", "finish the study: joulelab run continues it"
        )
    rows = pd.concat(frames, ignore_index=True)
    factors = [one for each in found for one in (NAME, *each.factors) if one != STRATEGY]
    factors = [one for one in dict.fromkeys(factors) if one in rows]
    rows = selected(rows, name, where or {})
    problems = rows[factors].drop_duplicates()
    if len(problems) > 1:
        varied = [one for one in factors if rows[one].nunique(dropna=False) > 1]
        first = ", ".join(f"{one} = {quoted(_plain(problems.iloc[0][one]))}" for one in varied)
        raise UsageError(
            f"{folder} has trials of {len(problems)} different problems",
            f"choose one: {{ file = {quoted(folder)}, where = {{ {first} }} }}",
        )
    known = {*factors, STRATEGY, SCORE, "accuracy", ENERGY, SECONDS, REPETITION, STATUS}
    if variables is None:
        proposed = [one for one in rows if one not in known]
        variables = [str(one) for one in proposed if rows[one].nunique(dropna=False) > 1] or None
    return table_of(rows, name, variables, score or SCORE, judged)


def _trials(experiment: Experiment) -> pd.DataFrame:
    """A row for each finished training of an experiment: values, score, energy, seconds."""
    runs = experiment.runs
    if not len(runs):
        return pd.DataFrame()
    return _of_searches(experiment) if experiment.kind in SEARCHES else _of_rounds(experiment)


def _of_rounds(experiment: Experiment) -> pd.DataFrame:
    runs = experiment.runs.dropna(subset=["accuracy"])
    names = [name for name in experiment.table.get("space", {}) if name in runs]
    frame = runs[[*names, *experiment.factors]].copy()
    frame[NAME], frame[SCORE] = experiment.name, runs["accuracy"]
    frame[SECONDS] = runs["duration_s"]
    if experiment.energy.column is not None:
        frame[ENERGY] = runs[experiment.energy.column]
        frame[STATUS] = runs["energy_status"]
    return _without_empty(frame)


def _of_searches(experiment: Experiment) -> pd.DataFrame:
    """Steps of one training are added up; only those that reached the last epoch count."""
    steps = experiment.curves()
    runs = experiment.runs.set_index("run_id")
    steps = steps[steps["run_id"].isin(runs.index)] if len(steps) else steps
    if not len(steps):
        return pd.DataFrame()
    training = ["run_id", "step", REPETITION]
    found = (
        steps.sort_values([*training, "end"], kind="stable")
        .groupby(training, sort=False)
        .agg(
            end=("end", "last"),
            state=("state", "last"),
            score=("value", "last"),
            values=("values", "last"),
            energy_j=(ENERGY, lambda one: one.sum(skipna=False)),
            seconds=("duration_s", "sum"),
        )
        .reset_index()
    )
    found = found[(found["state"] == "finished") & found["score"].notna()]
    values = pd.DataFrame([json.loads(one) for one in found["values"]], index=found.index)
    sign = -1.0 if experiment.table.get("direction") == "minimize" else 1.0
    frame = values.copy()
    frame[NAME], frame[SCORE] = experiment.name, sign * found["score"]
    frame[SECONDS] = found["seconds"]
    for name in experiment.factors:
        frame[name] = found["run_id"].map(runs[name])
    if found[ENERGY].notna().all():
        frame[ENERGY] = found[ENERGY]
        frame[STATUS] = found["run_id"].map(runs["energy_status"])
    return _without_empty(frame)


def _without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.dropna(axis="columns", how="all")


def _plain(value: Any) -> Any:  # noqa: ANN401 - a scalar of numpy or Python
    return value.item() if hasattr(value, "item") else value
