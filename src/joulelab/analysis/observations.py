"""Merge runs that were measured together into one observation.

Repetitions that are trained together as one group share one measurement: the energy of the group,
divided equally. Their energies are copies of each other, and a test that treats them as n
independent runs finds false significance (pseudoreplication: Hurlbert, Ecological Monographs 54,
1984). This module turns the runs of each measured unit into one observation::

    group  energy_net_j  accuracy             group  energy_net_j  accuracy  members
    0             100.0      0.80             0             100.0      0.81        2
    0             100.0      0.82     ->      1             104.0      0.79        2
    1             104.0      0.78
    1             104.0      0.80

Accuracies are not copies: test accuracy on runs, energy on observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.frames import ENERGY, names, numbers, require_columns
from joulelab.errors import UsageError

ALSO = ("accuracy", "duration_s")
DIGITS = 9


@dataclass(frozen=True)
class Observations:
    """One row a measured unit.

    Attributes:
        table: the columns of the runs, in their order, and ``members``: number of runs measured
            together. Energy and other requested columns are means over the members; other columns
            have the first known value.
        runs: number of runs.
        dropped: runs without a unit.
        mixed: the columns, other than means, in which the members of a unit differ; a factor among
            them means that the unit is wrong.
        unequal: units whose members have different energies, so were not measured together.
    """

    table: pd.DataFrame
    runs: int
    dropped: int
    mixed: tuple[str, ...]
    unequal: int

    def __str__(self) -> str:
        """The numbers of runs and observations, in words."""
        text = (
            f"{formats.count(self.runs, 'run')} became "
            f"{formats.count(len(self.table), 'observation')}"
        )
        return f"{text}, {formats.count(self.dropped, 'run')} left out" if self.dropped else text


def observations(
    runs: pd.DataFrame, unit: str | Sequence[str], energy: str = ENERGY, also: Sequence[str] = ALSO
) -> Observations:
    """One observation per unit measured together.

    Args:
        runs: one row per run.
        unit: the columns that identify a unit measured together, for instance configuration, round
            and group. Runs with a missing one are dropped.
        energy: column in joules.
        also: other columns to average over the members; absent ones are ignored.

    Raises:
        UsageError: a column is absent, a column to average does not hold numbers or identifies the
            unit, or there is no unit.

    >>> runs = pd.DataFrame({"network": "CNN", "group": [0, 0, 1],
    ...     "energy_net_j": [100.0, 100.0, 104.0], "accuracy": [0.80, 0.82, 0.78]})
    >>> found = observations(runs, ["network", "group"])
    >>> print(found)
    3 runs became 2 observations
    >>> found.table
      network  group  energy_net_j  accuracy  members
    0     CNN      0         100.0      0.81        2
    1     CNN      1         104.0      0.78        1
    """
    columns = names(unit)
    require_columns(runs, [*columns, energy])
    means = [energy, *(name for name in names(also) if name in runs and name != energy)]
    if not columns or set(columns) & set(means):
        raise UsageError(
            f"{columns} do not identify a measured unit", "name columns that are not averaged"
        )
    frame = runs.assign(**{name: numbers(runs, name) for name in means})
    whole = frame.dropna(subset=columns)
    grouped = whole.groupby(columns, sort=False, observed=True)
    table = grouped.agg(
        {name: "mean" if name in means else "first" for name in runs.columns if name not in columns}
    ).reset_index()
    rest = [name for name in runs.columns if name not in (*columns, *means)]
    energies = grouped[energy].agg(["min", "max"])
    apart = energies["max"] - energies["min"] > 10.0**-DIGITS * energies["max"].abs()
    return Observations(
        table=table[list(runs.columns)].assign(members=grouped.size().to_numpy()),
        runs=len(runs),
        dropped=len(runs) - len(whole),
        mixed=tuple(name for name in rest if bool((grouped[name].nunique() > 1).any())),
        unequal=int(np.count_nonzero(apart)),
    )
