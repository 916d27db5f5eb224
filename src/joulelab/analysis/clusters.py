"""The low-energy and the high-energy runs, and what accuracy each reaches.

E- and E+ are the runs at two levels of one factor, E+ those with the higher mean energy. Yarally et
al. (CAIN 2023, Fig. 8 and Table V) take one and four convolutional layers; on Fashion-MNIST that is

====  ===========  =============  ========  ========
      mean energy  mean accuracy  maximum   std
====  ===========  =============  ========  ========
E+    1674 J       .872           .889      .011
E-    857 J        .864           .887      .010
====  ===========  =============  ========  ========

The standard deviation is that of a sample (n - 1), over all runs of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.levels import Level, extremes
from joulelab.analysis.missing import ENERGY, complete, names, require_columns
from joulelab.errors import UsageError

LOW, HIGH = "E-", "E+"
COLUMNS = (
    "cluster",
    "level",
    "energy_mean_j",
    "accuracy_mean",
    "accuracy_max",
    "accuracy_std",
    "n",
)


@dataclass(frozen=True)
class Clusters:
    """Two clusters of runs.

    Attributes:
        factor: the factor whose levels make the clusters; None if there are no clusters.
        low: the level of E-.
        high: the level of E+.
        table: a row E- and a row E+: ``cluster``, ``level``, ``energy_mean_j``, ``accuracy_mean``,
            ``accuracy_max``, ``accuracy_std`` and ``n``.
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
        runs: a row a run.
        factors: the factor that makes the clusters. Of several, the one with the largest eta
            squared on energy does (the first of equals).
        levels: its two levels; by default the lowest and the highest, and where the levels are
            names those with the lowest and the highest mean energy. The runs at levels in between
            are in neither cluster.
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
    table = pd.DataFrame(described, columns=list(COLUMNS)).astype({"level": object})
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
    return Clusters(
        None,
        None,
        None,
        pd.DataFrame(columns=list(COLUMNS)),
        pd.DataFrame(columns=["cluster"]),
        0,
        dropped,
        reason,
    )
