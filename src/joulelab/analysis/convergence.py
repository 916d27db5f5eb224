"""Convergence of a search: the best accuracy so far, the optimum and what it took to get there.

::

    accuracy   0.70  0.82  0.79  0.85  0.85  0.80
    best       0.70  0.82  0.82  0.85  0.85  0.85     b_t = max(a_1, ..., a_t)
    round        1     2     3     4     5     6
                                   ^ optimum

The **optimum accuracy** is the final best b_T, the **optimum round** the first round t with
``b_T - b_t <= tolerance``. Yarally et al. (CAIN 2023, section IV-D and Table III) print both; they
also speak of "no substantial increase" after the optimum, which is what a tolerance above 0 says.
How far the scatter of the repetitions moves the optimum: `joulelab.analysis.optimum`.

On their Fashion-MNIST data this gives Table III but for two cells: DenseLinearNN with three
hyperparameters has its optimum in round 52 under grid search (printed: 54) and in round 48 under
Bayesian search (printed: 47).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from joulelab.analysis.levels import groups
from joulelab.analysis.missing import names, numbers, require_columns
from joulelab.analysis.rounding import ROUNDING
from joulelab.errors import UsageError


def running_best(
    rounds: pd.DataFrame, by: str | Sequence[str] = "configuration", score: str = "score"
) -> pd.DataFrame:
    """The best score up to and including each round.

    Args:
        rounds: a row a round, as `joulelab.analysis.rounds.score_rounds` gives it.
        by: the columns that make a configuration.
        score: column of the accuracy of a round; a missing one leaves the best as it was.

    Returns:
        The rounds sorted by configuration and round, with the columns ``round_number`` (from 1) and
        ``running_best`` (missing until the first score).

    Raises:
        UsageError: a column is absent, or a round occurs twice.

    >>> rounds = pd.DataFrame({"configuration": "a", "round": [0, 1, 2], "score": [0.7, 0.6, 0.8]})
    >>> running_best(rounds)["running_best"].tolist()
    [0.7, 0.7, 0.8]
    """
    columns = names(by)
    require_columns(rounds, [*columns, "round"])
    if rounds.duplicated([*columns, "round"]).any():
        raise UsageError(
            "a round occurs twice within a configuration",
            "score the rounds over their repetitions first, or name more columns in `by`",
        )
    frame = rounds.assign(**{score: numbers(rounds, score)})
    parts = []
    for _, rows in groups(frame, columns):
        ordered = rows.sort_values("round")
        parts.append(
            ordered.assign(
                round_number=ordered["round"] + 1, running_best=ordered[score].cummax().ffill()
            )
        )
    if not parts:
        return frame.assign(round_number=frame["round"], running_best=frame[score])
    return pd.concat(parts, ignore_index=True)


def convergence(
    rounds: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    tolerance: float = 0.0,
    score: str = "score",
    energy: str = "energy_mean_j",
) -> pd.DataFrame:
    """Optimum accuracy, optimum round and the energy spent up to it, for every configuration.

    Args:
        rounds: a row a round, as `joulelab.analysis.rounds.score_rounds` gives it.
        by: the columns that make a configuration.
        tolerance: how far below the final best the optimum may lie, in accuracy (0 to 1).
        score: column of the accuracy of a round.
        energy: column of the energy of a round in joules; with ``energy_mean_j`` the energies below
            are those of one repetition of every round.

    Returns:
        A row a configuration: the columns of `by`, ``optimum_accuracy`` (the final best),
        ``optimum_round`` (from 1), ``accuracy_at_optimum`` (the best by then; lower than the
        optimum accuracy only with a tolerance), ``energy_to_optimum_j`` (the optimum round
        included), ``energy_total_j``, ``rounds``, ``dropped`` (rounds without a score),
        ``energy_dropped`` (rounds without an energy, which both sums leave out) and ``reason``.

    Raises:
        UsageError: a column is absent, a round occurs twice, or the tolerance is negative.

    >>> rounds = pd.DataFrame({"configuration": "a", "round": [0, 1, 2],
    ...     "score": [0.70, 0.84, 0.85], "energy_mean_j": [10.0, 11.0, 12.0]})
    >>> columns = ["optimum_accuracy", "optimum_round", "energy_to_optimum_j"]
    >>> convergence(rounds)[columns]
       optimum_accuracy  optimum_round  energy_to_optimum_j
    0              0.85              3                 33.0
    >>> convergence(rounds, tolerance=0.01)[columns]
       optimum_accuracy  optimum_round  energy_to_optimum_j
    0              0.85              2                 21.0
    """
    if not tolerance >= 0:
        raise UsageError(f"a tolerance of {tolerance} is not possible", "give 0 or more")
    columns = names(by)
    best = running_best(rounds, columns, score)
    best[energy] = numbers(best, energy)
    rows = [
        {**key, **_optimum(rows, tolerance, score, energy)} for key, rows in groups(best, columns)
    ]
    table = pd.DataFrame(rows, columns=[*columns, *_COLUMNS])
    return table.astype({"optimum_round": "Int64"})


_COLUMNS = (
    "optimum_accuracy",
    "optimum_round",
    "accuracy_at_optimum",
    "energy_to_optimum_j",
    "energy_total_j",
    "rounds",
    "dropped",
    "energy_dropped",
    "reason",
)


def _optimum(rows: pd.DataFrame, tolerance: float, score: str, energy: str) -> dict[str, object]:
    counts = {
        "rounds": len(rows),
        "dropped": int(rows[score].isna().sum()),
        "energy_dropped": int(rows[energy].isna().sum()),
        "energy_total_j": rows[energy].sum(min_count=1),
    }
    best = rows["running_best"].to_numpy()
    if not len(best) or np.isnan(best[-1]):
        unknown = dict.fromkeys(
            ("optimum_accuracy", "accuracy_at_optimum", "energy_to_optimum_j"), np.nan
        )
        return {**counts, **unknown, "optimum_round": None, "reason": "no round has a score"}
    # Differences of decimal accuracies are off by some 1e-17, which must not cost a round.
    at = int(np.argmax(best[-1] - best <= tolerance + ROUNDING))
    return {
        **counts,
        "optimum_accuracy": best[-1],
        "optimum_round": int(rows["round_number"].iloc[at]),
        "accuracy_at_optimum": best[at],
        "energy_to_optimum_j": rows[energy].iloc[: at + 1].sum(min_count=1),
        "reason": "",
    }
