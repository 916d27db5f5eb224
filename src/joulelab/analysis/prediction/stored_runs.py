"""Stored runs as a table to learn from: clean, and a row a configuration.

Runs of one configuration differ by chance only; they are one row with the mean of their logarithms,
and their variance about it is kept for the interval of a single run. Configurations that differ in
engine, precision or protocol alone are of one *group*: the same network, data and training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab.analysis.prediction.grouped_regression import FEWEST_GROUPS

FEATURES = (
    "flops",
    "flops_per_step",
    "bytes",
    "steps",
    "images",
    "batch_size",
    "parameters",
    "together",
)
"""Numbers above 0: of the whole training, but for those of a step."""
CATEGORIES = ("engine", "precision", "protocol")


@dataclass(frozen=True)
class StoredRuns:
    """Runs that can be learnt from, a row a configuration.

    Attributes:
        table: ``group``, the features, the categories, ``log_energy`` and ``log_duration`` (means
            of logarithms), ``runs``.
        runs: their number.
        left_out: number of runs by reason.
        variance: of single runs about their configuration, of both logarithms.
    """

    table: pd.DataFrame
    runs: int
    left_out: Mapping[str, int]
    variance: tuple[float, float]

    @property
    def groups(self) -> int:
        """Groups of configurations that differ in what is trained."""
        return int(self.table["group"].nunique())

    @property
    def enough(self) -> bool:
        """Whether there are groups enough for a regression."""
        return self.groups >= FEWEST_GROUPS

    def of_group(self, group: str) -> pd.DataFrame:
        """The rows of one group; empty where it was never run."""
        return self.table[self.table["group"] == group]


def stored_runs(runs: pd.DataFrame) -> StoredRuns:
    """Clean a table of runs, and bring it to a row a configuration.

    Args:
        runs: a row a run: ``group``, the features, the categories, ``energy_j`` and ``duration_s``;
            NaN where unknown. What is unknown, or not above 0, is left out, and counted.

    >>> frame = pd.DataFrame({name: [2.0, 2.0, 2.0] for name in FEATURES})
    >>> frame = frame.assign(group="a", engine="a", precision="b", protocol="c", duration_s=1.0)
    >>> found = stored_runs(frame.assign(energy_j=[3.0, 12.0, -1.0]))
    >>> found.runs, found.left_out, round(np.exp(found.table["log_energy"].iloc[0]).item(), 9)
    (2, {'energy is zero or negative': 1}, 6.0)
    """
    left_out: dict[str, int] = {}
    kept = runs
    for reason, wrong in _faults(runs):
        faulty = wrong.reindex(kept.index) & True
        if faulty.any():
            left_out[reason] = int(faulty.sum())
            kept = kept[~faulty]
    logs = kept.assign(
        log_energy=np.log(kept["energy_j"].astype(float)),
        log_duration=np.log(kept["duration_s"].astype(float)),
    )
    keys = ["group", *CATEGORIES, "together"]
    by = logs.groupby(keys, sort=False, dropna=False)
    means = [name for name in FEATURES if name not in keys]
    table = by[[*means, "log_energy", "log_duration"]].mean().reset_index()
    table["runs"] = by.size().to_numpy()
    freedom = int((table["runs"] - 1).sum())
    within = [
        float((logs[name] - by[name].transform("mean")).pow(2).sum()) / freedom if freedom else 0.0
        for name in ("log_energy", "log_duration")
    ]
    return StoredRuns(table, len(kept), left_out, (within[0], within[1]))


def _faults(runs: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """Why runs cannot be learnt from; the first reason that holds is a run's."""
    faults = []
    for name, word in (("energy_j", "energy"), ("duration_s", "duration")):
        values = pd.to_numeric(runs[name], errors="coerce")
        faults += [
            (f"{word} is unknown", ~np.isfinite(values)),
            (f"{word} is zero or negative", values <= 0),
        ]
    for name in FEATURES:
        values = pd.to_numeric(runs[name], errors="coerce")
        word = name.replace("_", " ")
        faults.append((f"{word} unknown", ~(np.isfinite(values) & (values > 0))))
    return faults
