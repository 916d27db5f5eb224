"""The score of a round over its repetitions.

A strategy proposes a round; the round is trained in several repetitions. Yarally et al. (CAIN 2023,
section IV-C) log "the highest accuracy and the mean energy" of a round; in their published data the
accuracy is the mean of the repetitions. Both are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from joulelab.analysis.missing import ENERGY, names, numbers, require_columns
from joulelab.errors import UsageError

Score = Literal["mean", "max"]


def score_rounds(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    score: Score = "mean",
    accuracy: str = "accuracy",
    energy: str = ENERGY,
) -> pd.DataFrame:
    """Score and mean energy of every round.

    Args:
        runs: a row a run, with a column ``round`` that counts from 0.
        by: the columns that make a configuration.
        score: the mean or the maximum of the accuracies of the repetitions.
        accuracy: column of the accuracy, 0 to 1; missing where a run failed.
        energy: column in joules.

    Returns:
        A row a (configuration, round), sorted: the columns of `by`, ``round`` (from 0), ``score``,
        ``energy_mean_j`` (over the runs that did not fail), ``n`` (runs with an accuracy),
        ``energy_n`` (those of them with an energy) and ``dropped`` (runs without an accuracy).
        A round in which every run failed keeps its row, with a missing score.

    Raises:
        UsageError: a column is absent, or the score has another name.

    >>> runs = pd.DataFrame({"configuration": "a", "round": [0, 0, 1, 1],
    ...     "accuracy": [0.80, 0.90, 0.70, None], "energy_net_j": [10.0, 12.0, 11.0, None]})
    >>> score_rounds(runs)[["round", "score", "energy_mean_j", "n", "dropped"]]
       round  score  energy_mean_j  n  dropped
    0      0   0.85           11.0  2        0
    1      1   0.70           11.0  1        1
    """
    if score not in ("mean", "max"):
        raise UsageError(f"no score of a round is called {score!r}", "known: max, mean")
    columns = names(by)
    require_columns(runs, [*columns, "round"])
    scores = numbers(runs, accuracy)
    finished = np.isfinite(scores)
    repetitions = runs[[*columns, "round"]].assign(
        score=scores,
        energy_mean_j=np.where(finished, numbers(runs, energy), np.nan),
        dropped=~finished,
    )
    grouped = repetitions.groupby([*columns, "round"], dropna=False, observed=True)
    table = grouped.agg(
        score=("score", score),
        energy_mean_j=("energy_mean_j", "mean"),
        n=("score", "count"),
        energy_n=("energy_mean_j", "count"),
        dropped=("dropped", "sum"),
    )
    return table.reset_index()
