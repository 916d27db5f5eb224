"""Energy against accuracy: the Pareto front, and the low-energy and high-energy clusters.

Pareto front: the configurations that no other beats in both
------------------------------------------------------------

A configuration is dominated if another one takes at most its energy and reaches at least its
accuracy, and is better in one of the two. The front is the rest: along it, accuracy costs energy.
Both are means over the runs of a configuration, which ignore chance; neighbours on the front may be
equal within the spread of their runs.

Clusters: the low-energy and the high-energy runs, and what accuracy each reaches
---------------------------------------------------------------------------------

E- and E+ are the runs at two levels of one factor, E+ those with the higher mean energy. Yarally et
al. (CAIN 2023, Fig. 8 and Table V) take one and four convolutional layers; on Fashion-MNIST that is

====  ===========  =============  ========  ========
      mean energy  mean accuracy  maximum   std
====  ===========  =============  ========  ========
E+    1674 J       .872           .889      .011
E-    857 J        .864           .887      .010
====  ===========  =============  ========  ========

The standard deviation is the sample's (n - 1), over all runs of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from joulelab.analysis.frames import (
    ENERGY,
    Level,
    complete,
    extremes,
    names,
    numbers,
    require_columns,
    results,
)
from joulelab.analysis.front import undominated
from joulelab.analysis.kruskal import kruskal
from joulelab.errors import UsageError

LOW, HIGH = "E-", "E+"
CLUSTERS = "cluster level energy_mean_j accuracy_mean accuracy_max accuracy_std n"


def pareto(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    energy: str = ENERGY,
    accuracy: str = "accuracy",
) -> pd.DataFrame:
    """Mean energy and accuracy of every configuration, and whether it is on the Pareto front.

    Args:
        runs: one row per run.
        by: the columns that make a configuration.
        energy: column in joules; less is better.
        accuracy: column, 0 to 1; more is better.

    Returns:
        One row per configuration, by ascending energy: the columns of `by`, ``energy_mean_j``,
        ``accuracy_mean``, ``n``, ``dropped`` (runs without an energy or an accuracy) and
        ``on_front``. A configuration without a complete run has no means and is not on the front;
        if several configurations are equal in both, all are on it.

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


@dataclass(frozen=True)
class Clusters:
    """Two clusters of runs.

    Attributes:
        factor: the factor whose levels make the clusters; None if there are no clusters.
        low: the level of E-.
        high: the level of E+.
        table: one row each for E- and E+: ``cluster``, ``level``, ``energy_mean_j``,
            ``accuracy_mean``, ``accuracy_max``, ``accuracy_std`` and ``n``.
        members: the runs of both, with all their columns and ``cluster``.
        between: number of runs at other levels of the factor, in neither cluster.
        dropped: number of runs without an energy, an accuracy or a level.
        reason: why there are no clusters; empty if there are.
    """

    factor: str | None
    low: Level | None
    high: Level | None
    table: pd.DataFrame
    members: pd.DataFrame
    between: int
    dropped: int
    reason: str


def clusters(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    levels: tuple[Level, Level] | None = None,
    energy: str = ENERGY,
    accuracy: str = "accuracy",
) -> Clusters:
    """Split the runs into a low-energy and a high-energy cluster.

    Args:
        runs: one row per run.
        factors: the factor that makes the clusters; if several are given, the one with the largest
            eta squared on energy (the first of equals).
        levels: its two levels; default: the lowest and the highest, or for text levels those with
            the lowest and the highest mean energy. Runs at levels in between are in neither
            cluster.
        energy: column in joules.
        accuracy: column, 0 to 1.

    Raises:
        UsageError: a column is absent or does not hold numbers, or levels are given for several
            factors.

    >>> runs = pd.DataFrame({"conv_layers": [1, 1, 4, 4], "relu": [0, 1, 0, 1],
    ...     "energy_net_j": [850.0, 860.0, 1660.0, 1680.0], "accuracy": [0.86, 0.87, 0.87, 0.89]})
    >>> found = clusters(runs, ["relu", "conv_layers"])
    >>> found.factor
    'conv_layers'
    >>> found.table[["cluster", "level", "energy_mean_j", "accuracy_mean", "accuracy_max"]]
      cluster level  energy_mean_j  accuracy_mean  accuracy_max
    0      E-     1          855.0          0.865          0.87
    1      E+     4         1670.0          0.880          0.89
    """
    candidates = names(factors)
    if levels is not None and len(candidates) != 1:
        raise UsageError("levels were given for several factors", "name the factor they belong to")
    require_columns(runs, candidates)
    measured = complete(runs, [energy, accuracy])
    factor = _strongest(measured.rows, candidates, energy)
    if factor is None:
        return _none(measured.dropped, "no factor has an effect on energy that can be computed")
    whole = complete(measured.rows, [], [factor])
    dropped = measured.dropped + whole.dropped
    if not len(whole.rows):
        return _none(dropped, "no run has an energy, an accuracy and a level")
    low, high = levels or extremes(whole.rows, factor, energy)
    at = {level: whole.rows[whole.rows[factor] == level] for level in (low, high)}
    if low == high:
        return _none(dropped, f"the factor {factor} has a single level")
    for level, rows in at.items():
        if not len(rows):
            return _none(dropped, f"no complete run at level {level} of {factor}")
    if at[low][energy].mean() > at[high][energy].mean():
        low, high = high, low
    parts = [at[low].assign(cluster=LOW), at[high].assign(cluster=HIGH)]
    members = pd.concat(parts, ignore_index=True)
    described = [_describe(part, factor, energy, accuracy) for part in parts]
    table = results(described, CLUSTERS).astype({"level": object})
    return Clusters(factor, low, high, table, members, len(whole.rows) - len(members), dropped, "")


def _strongest(runs: pd.DataFrame, factors: Sequence[str], energy: str) -> str | None:
    if len(factors) == 1:
        return factors[0]
    effects = kruskal(runs, factors, energy)[["factor", "eta_squared"]].dropna()
    if not len(effects):
        return None
    return str(effects["factor"].iloc[int(effects["eta_squared"].argmax())])


def _describe(rows: pd.DataFrame, factor: str, energy: str, accuracy: str) -> dict[str, object]:
    return {
        "cluster": rows["cluster"].iloc[0],
        "level": rows[factor].iloc[0],
        "energy_mean_j": float(rows[energy].mean()),
        "accuracy_mean": float(rows[accuracy].mean()),
        "accuracy_max": float(rows[accuracy].max()),
        "accuracy_std": float(rows[accuracy].std()),
        "n": len(rows),
    }


def _none(dropped: int, reason: str) -> Clusters:
    nobody = pd.DataFrame(columns=["cluster"])
    return Clusters(None, None, None, results([], CLUSTERS), nobody, 0, dropped, reason)
