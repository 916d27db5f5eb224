"""Runs that were measured together count once.

Repetitions that are trained together as one group share one measurement: the energy of the group,
divided equally. Their energies are copies of each other, and a test that counts them as n
independent runs finds significance where there is none (pseudoreplication: Hurlbert, Ecological
Monographs 54, 1984). Here the runs of each measured unit become one observation::

    group  energy_net_j  accuracy             group  energy_net_j  accuracy  members
    0             100.0      0.80             0             100.0      0.81        2
    0             100.0      0.82     ->      1             104.0      0.79        2
    1             104.0      0.78
    1             104.0      0.80

Accuracies are not copies: a test of accuracy belongs on the runs, a test of energy here.
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
        table: the columns of the runs, in their order, and ``members``: how many runs were measured
            together. Energy and what else was asked for are means over the members, of the rest it
            is the value of the first run that has one.
        runs: how many runs there were.
        dropped: runs that name no unit.
        mixed: the columns, other than means, in which the members of a unit differ, so that the
            first value speaks for others too; a factor among them means that the unit is named
            wrongly.
        unequal: units whose members have different energies, so that they were not measured as one.
    """

    table: pd.DataFrame
    runs: int
    dropped: int
    mixed: tuple[str, ...]
    unequal: int

    def __str__(self) -> str:
        """How many runs became how many observations, in words."""
        text = (
            f"{formats.count(self.runs, 'run')} became "
            f"{formats.count(len(self.table), 'observation')}"
        )
        return f"{text}, {formats.count(self.dropped, 'run')} left out" if self.dropped else text


def observations(
    runs: pd.DataFrame, unit: str | Sequence[str], energy: str = ENERGY, also: Sequence[str] = ALSO
) -> Observations:
    """One observation of each unit that was measured as one.

    Args:
        runs: a row a run.
        unit: the columns that name what was measured together, for instance configuration, round
            and group. A run in which one of them is missing is dropped.
        energy: column in joules.
        also: other columns that are averaged over the members; those that the runs lack are passed
            over.

    Raises:
        UsageError: a column is absent, a column to be averaged does not hold numbers or names the
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
