"""Coefficient of variation of the energy of a configuration: how repeatable are runs?

::

    cv = s / m      m  mean energy,  s  sample standard deviation (n - 1) of the same energies

A cv below 0.01 means that neither the repetition nor the hyperparameters affect the energy of a
configuration, so architectures can be compared regardless of their hyperparameters.

Yarally et al. (CAIN 2023, section VI-B and Fig. 7) print a mean cv of 0.009 and a maximum of 0.018
over the eight configurations on both data sets. On their Fashion-MNIST half alone the mean is
0.0073 and the maximum 0.0121 over all runs of a configuration, and 0.0055 and 0.0113 over the means
of its rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from joulelab.analysis.frames import (
    ENERGY,
    complete,
    groups,
    names,
    numbers,
    require_columns,
    results,
)
from joulelab.analysis.rounding import Values, sample_std
from joulelab.errors import UsageError

Over = Literal["runs", "rounds"]
COLUMNS = "n mean_j std_j cv dropped reason"


@dataclass(frozen=True)
class VariationSummary:
    """Coefficients of variation over all configurations.

    Attributes:
        mean: their mean; NaN if none is defined.
        maximum: the largest of them; NaN if none is defined.
        n: number of configurations with one.
        dropped: number of configurations without.
    """

    mean: float
    maximum: float
    n: int
    dropped: int


def variation(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    over: Over = "runs",
    energy: str = ENERGY,
    rounds: str | Sequence[str] = "round",
) -> pd.DataFrame:
    """Coefficient of variation of energy for every configuration.

    Args:
        runs: one row per run.
        by: the columns that make a configuration.
        over: ``"runs"`` for the spread of all runs; ``"rounds"`` for the spread of the means of
            the rounds, which excludes the spread between repetitions.
        energy: column in joules.
        rounds: the columns that identify the rounds of a configuration; with
            ``over="rounds"`` only.

    Returns:
        One row per configuration: the columns of `by`, ``n`` (runs or rounds), ``mean_j``,
        ``std_j``, ``cv``, ``dropped`` (runs without an energy) and ``reason``.

    Raises:
        UsageError: a column is absent, or `over` is something else.

    >>> runs = pd.DataFrame({"configuration": "a", "energy_net_j": [98.0, 100.0, 102.0]})
    >>> variation(runs)[["n", "mean_j", "std_j", "cv"]]     # s = sqrt((4 + 0 + 4) / 2) = 2
       n  mean_j  std_j    cv
    0  3   100.0    2.0  0.02
    """
    if over not in ("runs", "rounds"):
        raise UsageError(f"no variation over {over!r}", "known: rounds, runs")
    columns = names(by)
    require_columns(runs, [*columns, energy])
    rows = list[dict[str, object]]()
    for key, group in groups(runs, columns):
        whole = complete(group, [energy])
        if over == "runs":
            values = whole.rows[energy]
        else:
            values = whole.rows.groupby(names(rounds), dropna=False, observed=True)[energy].mean()
        rows.append({**key, **_spread(values.to_numpy(dtype=float)), "dropped": whole.dropped})
    return results(rows, COLUMNS, columns)


def summarise_variation(table: pd.DataFrame) -> VariationSummary:
    """Mean and maximum of the coefficients of variation of all configurations.

    Args:
        table: from `variation`.

    >>> table = pd.DataFrame({"cv": [0.004, 0.012, None]})
    >>> summarise_variation(table)
    VariationSummary(mean=0.008, maximum=0.012, n=2, dropped=1)
    """
    values = numbers(table, "cv")
    known = values[~np.isnan(values)]
    if not len(known):
        return VariationSummary(np.nan, np.nan, 0, len(values))
    return VariationSummary(
        float(known.mean()), float(known.max()), len(known), len(values) - len(known)
    )


def _spread(values: Values) -> dict[str, object]:
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    std = sample_std(values) if n > 1 else np.nan
    reason = ""
    if n <= 1:
        reason = "fewer than two values"
    elif mean <= 0:
        reason = "the mean energy is not positive"
    cv = np.nan if reason else std / mean
    return {"n": n, "mean_j": mean, "std_j": std, "cv": cv, "reason": reason}
