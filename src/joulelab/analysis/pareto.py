"""Pareto front: the configurations that no other beats in both energy and accuracy.

A configuration is dominated if another one takes at most its energy and reaches at least its
accuracy, and is better in one of the two. The front is the rest: going along it, accuracy costs
energy. Here both are means over the runs of a configuration, which says nothing about chance;
neighbours on the front may well be the same within the spread of their runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.analysis.missing import ENERGY, names, numbers, require_columns

COLUMNS = ("energy_mean_j", "accuracy_mean", "n", "dropped", "on_front")


def pareto(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    energy: str = ENERGY,
    accuracy: str = "accuracy",
) -> pd.DataFrame:
    """Mean energy and accuracy of every configuration, and whether it is on the Pareto front.

    Args:
        runs: a row a run.
        by: the columns that make a configuration.
        energy: column in joules; less is better.
        accuracy: column, 0 to 1; more is better.

    Returns:
        A row a configuration, by ascending energy: the columns of `by`, ``energy_mean_j``,
        ``accuracy_mean``, ``n``, ``dropped`` (runs without an energy or an accuracy) and
        ``on_front``. A configuration without a complete run has no means and is not on the front;
        of configurations that are the same in both, all are.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"configuration": ["a", "b", "c"],
    ...     "energy_net_j": [100.0, 200.0, 150.0], "accuracy": [0.80, 0.85, 0.79]})
    >>> pareto(runs)[["configuration", "energy_mean_j", "on_front"]]
      configuration  energy_mean_j  on_front
    0             a          100.0      True
    1             c          150.0     False
    2             b          200.0      True
    """
    columns = names(by)
    require_columns(runs, [*columns, energy, accuracy])
    energies, accuracies = numbers(runs, energy), numbers(runs, accuracy)
    known = ~(np.isnan(energies) | np.isnan(accuracies))
    rows = runs[columns].assign(
        energy_mean_j=np.where(known, energies, np.nan),
        accuracy_mean=np.where(known, accuracies, np.nan),
        n=known.astype(int),
        dropped=(~known).astype(int),
    )
    grouped: Any = rows.groupby(columns, sort=True, dropna=False, observed=True)
    measures = ["energy_mean_j", "accuracy_mean"]
    table: pd.DataFrame = (
        grouped[measures].mean().join(grouped[["n", "dropped"]].sum()).reset_index()
    )
    table["on_front"] = undominated(
        table["energy_mean_j"].to_numpy(dtype=float), table["accuracy_mean"].to_numpy(dtype=float)
    )
    return table.sort_values("energy_mean_j", kind="stable", ignore_index=True)


def undominated(
    energy_j: npt.NDArray[np.float64], accuracy: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which points no other point beats, shape (points,); a point with a NaN is not among them.

    Args:
        energy_j: shape (points,); less is better.
        accuracy: shape (points,); more is better.

    >>> undominated(np.array([1.0, 2.0, 2.0]), np.array([0.8, 0.9, 0.7])).tolist()
    [True, True, False]
    """
    known = np.flatnonzero(~(np.isnan(energy_j) | np.isnan(accuracy)))
    # By energy, and of those that take the same the most accurate first. A point is beaten by the
    # first of its own energy, or by the most accurate of all that take less.
    order = known[np.lexsort((-accuracy[known], energy_j[known]))]
    starts = np.append(True, energy_j[order][1:] != energy_j[order][:-1])[: len(order)]
    of_energy = np.cumsum(starts) - 1  # (points,)
    best = accuracy[order][starts]  # (energies,)
    before = np.append(np.nan, np.maximum.accumulate(best))[:-1]
    ordered = accuracy[order]
    on_front = np.zeros(len(energy_j), bool)
    on_front[order] = (ordered == best[of_energy]) & ~(before[of_energy] >= ordered)
    return on_front
