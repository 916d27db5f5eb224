"""How much of a score was luck: what a search saw, less what fresh seeds on the test images say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import Interval, mean_interval
from joulelab.analysis.two_samples import shift
from joulelab.kinds.green_tuning.compared import PROBLEM, SEEN, TUNE_ON, problem_names, with_problem
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.search import other_factors

BOTH = 2


def judged(experiment: Experiment) -> pd.DataFrame:
    """The searches with a score and a judged accuracy, what they saw, and the difference.

    Raises:
        Unavailable: there is none.
    """
    runs = with_problem(experiment)
    if "seen" not in runs:
        raise Unavailable("there are no fresh trainings of what the searches chose.")
    runs[TUNE_ON] = runs["seen"]
    rest = [name for name in other_factors(experiment) if name != TUNE_ON]
    runs[PROBLEM] = problem_names(experiment, runs[rest])
    runs["optimism"] = runs["score"].astype(float) - runs["accuracy"].astype(float)
    rows = runs.dropna(subset=["optimism"])
    if not len(rows):
        raise Unavailable("nothing that a search chose has been judged.")
    return rows


@table("optimism", "As searched, and as judged")
def optimism(experiment: Experiment) -> Table:
    """The score as searched, as judged, and their difference, by what the searches saw."""
    whole = judged(experiment)
    rows: list[dict[str, Any]] = []
    for (problem, strategy, seen), own in whole.groupby([PROBLEM, STRATEGY, TUNE_ON], sort=False):
        row: dict[str, Any] = {PROBLEM: problem, STRATEGY: strategy, TUNE_ON: seen}
        for name in ("score", "accuracy", "optimism"):
            mean = mean_interval(list(own[name].astype(float)))
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(row | {"searches": len(own)})
    both = len({row[TUNE_ON] for row in rows}) == BOTH
    columns = [
        words(PROBLEM),
        words(STRATEGY),
        *([words("tuned on", TUNE_ON, form=lambda one: SEEN.get(one, one))] if both else []),
        Column("as searched", ("score", "score_high"), _plus_minus),
        Column("as judged", ("accuracy", "accuracy_high"), _plus_minus),
        Column("difference", "optimism", _signed),
        words(
            "95 % interval",
            ("optimism_low", "optimism_high"),
            form=formats.between(_signed),
            wide=True,
        ),
    ]
    seen = "" if both else f" The searches saw {SEEN.get(rows[0][TUNE_ON], rows[0][TUNE_ON])}."
    note = (
        "Means over searches, with 95 % intervals by Student's t. As judged: fresh seeds, on "
        "the test images. A choice by the highest of many noisy scores promises more than it holds."
        f"{seen} {' '.join(summaries(experiment))}"
    )
    return Table(rows, columns, note.rstrip())


def _plus_minus(mean: float, high: float) -> str:
    """A mean with half its interval: ``0.8450 ± 0.0021``."""
    half = f" ± {high - mean:.4f}" if formats.known(high) else ""
    return f"{mean:.4f}{half}"


def _signed(value: float) -> str:
    return formats.signed(f"{value:+.4f}") if np.isfinite(value) else formats.DASH


def optimism_finding(experiment: Experiment) -> list[str]:
    """What it means to tune on the test images, where that is compared.

    Raises:
        Unavailable: nothing has been judged.
    """
    both = set(judged(experiment)[TUNE_ON]) == {*SEEN}
    return summaries(experiment) if both else []


def summaries(experiment: Experiment) -> list[str]:
    """Over all searches: the optimism by what they saw, and what that did to the judged accuracy.

    Raises:
        Unavailable: nothing has been judged.
    """
    whole = judged(experiment)
    said = []
    for seen, own in whole.groupby(TUNE_ON, sort=False):
        apart = mean_interval(list(own["optimism"]))
        said.append(
            f"Over {formats.count(len(own), 'search')} on {SEEN.get(str(seen), str(seen))}, the "
            f"score as searched is {_words(apart)} above the judged one."
        )
    if set(whole[TUNE_ON]) == {*SEEN}:
        said.append(_gain(whole))
    return said


def _words(apart: Interval) -> str:
    inside = f" ({formats.between(_signed)(apart.low, apart.high)})" if apart.n > 1 else ""
    return f"{_signed(apart.value)}{inside}"


def _gain(whole: pd.DataFrame) -> str:
    """What tuning on the test images gains in judged accuracy."""
    pairs = whole.pivot_table(
        values="accuracy", index=[PROBLEM, STRATEGY, "repetition"], columns=TUNE_ON
    ).dropna()
    if not len(pairs):
        return ""
    apart = shift((pairs["test"] - pairs["validation"]).to_numpy(float))
    return (
        f"Judged, what was tuned on the test images is {_words(apart)} above what was tuned on "
        f"held-out images ({formats.count(apart.n, 'pair')})."
    )
