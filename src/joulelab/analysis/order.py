"""In what order do factors move energy? Effect sizes compared on the same resamples.

Intervals of two effects that overlap do not say that the effects may be equal: both move together
from resample to resample. So the rounds of every configuration are drawn again, the eta squared of
all factors (`joulelab.analysis.kruskal`) is taken of the same resample, and what is looked at is
their difference::

    gap = eta^2 of the factor before - eta^2 of the factor after

A round of a configuration, the mean of its repetitions, is the unit: repetitions with the same
hyperparameters resemble each other. Where configurations have a single round, it is the run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab.analysis.kruskal import (
    eta_squared,
    kruskal,
    resampled_h_of_factors,
    separate,
)
from joulelab.analysis.levels import levels
from joulelab.analysis.missing import ENERGY, complete
from joulelab.analysis.resampling import percentile_interval, require_chance


@dataclass(frozen=True)
class Order:
    """Factors in an order, and how far each is above the next.

    Attributes:
        effects: a row a factor: ``factor``, ``eta_squared``, its ``low`` and ``high`` (95 %), ``h``
            and ``p``.
        gaps: a row a pair of neighbours: ``before``, ``after``, ``gap``, ``low``, ``high``, which
            are one where no two configurations overlap.
        n: how many units there are.
        dropped: runs without an energy, a level or a round.
        reason: why there is nothing to compare; empty where there is.
    """

    effects: pd.DataFrame
    gaps: pd.DataFrame
    n: int
    dropped: int
    reason: str


def effect_order(
    runs: pd.DataFrame,
    factors: Sequence[str],
    configuration: str = "configuration",
    energy: str = ENERGY,
    resamples: int = 1000,
    seed: int = 0,
) -> Order:
    """How far the effect of each factor on energy is above that of the next.

    Args:
        runs: a row a run, with a column ``round``.
        factors: columns with the levels, in the order that is asked about.
        configuration: column of the configurations; their rounds are drawn again.
        energy: column in joules.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    >>> runs = pd.DataFrame({"conv": [1, 1, 1, 1, 4, 4, 4, 4], "relu": [0, 0, 1, 1] * 2,
    ...     "round": [0, 1] * 4, "energy_net_j": [10.0, 11, 12, 13, 30, 31, 32, 33]})
    >>> runs["configuration"] = runs["conv"].astype(str) + runs["relu"].astype(str)
    >>> effect_order(runs, ["conv", "relu"]).gaps.round(2)
      before after   gap   low  high
    0   conv  relu  0.67  0.67  0.67
    """
    require_chance(resamples)
    whole = complete(runs, [energy], [*factors, configuration, "round"])
    rows = whole.rows
    if rows.groupby(configuration)["round"].nunique().max() > 1:
        by = list(dict.fromkeys([configuration, "round", *factors]))
        rows = rows.groupby(by, observed=True)[[energy]].mean().reset_index()
    table = kruskal(rows, factors, energy)
    n = len(rows)
    if table["h"].isna().any():
        reason = "; ".join(dict.fromkeys(why for why in table["reason"] if why))
        return Order(pd.DataFrame(), pd.DataFrame(), n, whole.dropped, reason)
    codes = [pd.factorize(rows[factor])[0] for factor in factors]
    strata = pd.factorize(rows[configuration])[0]
    rng = np.random.default_rng(seed)
    h = resampled_h_of_factors(rows[energy].to_numpy(float), codes, strata, resamples, rng)
    sizes = np.array([len(levels(rows[factor])) for factor in factors])
    etas = (h - sizes + 1) / (n - sizes)  # (resamples, factors)
    found = [eta_squared(one["h"], n, one["k"]) for one in table.to_dict("records")]
    if separate([part.to_numpy(float) for _, part in rows.groupby(configuration)[energy]]):
        etas[:] = found  # the order is the same in every resample, but for runs drawn twice
    effects = pd.DataFrame({"factor": list(factors), "eta_squared": found})
    effects[["low", "high"]] = [percentile_interval(column) for column in etas.T]
    effects["h"], effects["p"] = table["h"], table["p"]
    gaps = pd.DataFrame(
        {
            "before": factors[first],
            "after": factors[second],
            "gap": found[first] - found[second],
            **dict(
                zip(
                    ("low", "high"),
                    percentile_interval(etas[:, first] - etas[:, second]),
                    strict=True,
                )
            ),
        }
        for first, second in itertools.pairwise(range(len(factors)))
    )
    return Order(effects, gaps, n, whole.dropped, "")
