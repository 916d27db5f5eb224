"""From stored runs to the energy of a training that nobody has run: PRE, on one's own machine.

del Rey et al. (SEAA 2023) call it PRE: a regression on what is known before a training. A run has
the features f below, of which logarithms are taken, and energy E, duration T and steps S::

    ln (E / S) = F(ln f_1, ..., ln f_p)         and the same for T

Steps are taken out first: twice as many epochs take twice the energy, as far as nothing else is
known, and the regression has the rest to explain. Runs of one configuration differ by chance only;
they are one row with the mean of their logarithms, and their variance about it is added to the
interval of a single run. Configurations of the same *group* (same network, data and training, in
another precision for instance) are never on both sides of a fold (`grouped_regression`).

The mean absolute errors of the methods are those of the groups left out, as shares of the truth,
each group weighing the same; those of the baselines take the duration from the regression too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from joulelab.analysis.prediction.grouped_regression import (
    FEWEST_GROUPS,
    GroupedRegression,
    fit_by_group,
)
from joulelab.analysis.prediction.traces import Values

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
OUTSIDE = 0.05
"""How far, as a share, a feature may lie outside of what was seen before it is said."""
ENERGY, DURATION = 0, 1


@dataclass(frozen=True)
class Outside:
    """A feature that lies outside of what was seen.

    Attributes:
        feature: its name, in words.
        value: asked for.
        seen: in words.
    """

    feature: str
    value: str
    seen: str

    def __str__(self) -> str:
        """``batch size 4,096 (seen: 32 to 512)``."""
        return f"{self.feature} {self.value} (seen: {self.seen})"


@dataclass(frozen=True)
class Row:
    """What a regression says of one configuration, for a single run of it.

    Attributes:
        energy_j: joules, with the ends of the 95 % interval.
        energy_low_j: lower end.
        energy_high_j: upper end.
        duration_s: seconds, in the same way.
        duration_low_s: lower end.
        duration_high_s: upper end.
        outside: features that lie outside of what was seen.
    """

    energy_j: float
    energy_low_j: float
    energy_high_j: float
    duration_s: float
    duration_low_s: float
    duration_high_s: float
    outside: tuple[Outside, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "outside": [str(one) for one in self.outside]}


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
    >>> found.runs, found.left_out, round(math.exp(found.table["log_energy"].iloc[0]), 9)
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


@dataclass(frozen=True)
class Learnt:
    """A regression on stored runs.

    Attributes:
        stored: what it was fitted on.
        regression: of ln energy and ln duration a step.
        mape: mean absolute error of the groups left out, energy and duration, by method.
    """

    stored: StoredRuns
    regression: GroupedRegression
    mape: Mapping[str, tuple[float, float]]
    _names: tuple[str, ...] = field(repr=False)

    def predict(self, asked: pd.DataFrame, method: str | None = None) -> list[Row]:
        """What a single run of each configuration takes.

        Args:
            asked: a row a configuration, with the features and the categories.
            method: one of the two; where not given, that which is taken. The interval is that of
                the choice between them.
        """
        design = _design(asked, self._names)
        found = self.regression.predict(design, method)
        steps = np.log(asked["steps"].to_numpy(float))
        middle = np.exp(found + steps[:, None])
        factors = np.exp(
            [
                self.regression.half_widths(design, target, self.stored.variance[target])
                for target in (ENERGY, DURATION)
            ]
        ).T
        return [
            Row(
                energy_j=float(energy_j),
                energy_low_j=float(energy_j / factor[ENERGY]),
                energy_high_j=float(energy_j * factor[ENERGY]),
                duration_s=float(duration_s),
                duration_low_s=float(duration_s / factor[DURATION]),
                duration_high_s=float(duration_s * factor[DURATION]),
                outside=tuple(self._outside(one)),
            )
            for (energy_j, duration_s), factor, one in zip(
                middle, factors, asked.to_dict("records"), strict=True
            )
        ]

    def baseline_mape(self, power_w: float) -> float:
        """Mean absolute error of a constant power times the duration of the regression.

        Args:
            power_w: thermal design power, say.
        """
        table = self.stored.table
        steps = np.log(table["steps"].to_numpy(float))
        duration = self.regression.choice[:, DURATION] + steps
        return _mape(table, math.log(power_w) + duration - table["log_energy"].to_numpy(float))

    def _outside(self, asked: Mapping[Any, Any]) -> list[Outside]:
        table, said = self.stored.table, list[Outside]()
        for name in FEATURES:
            seen, value = table[name].astype(float), float(asked[name])
            low, high = float(seen.min()), float(seen.max())
            if not low * (1 - OUTSIDE) <= value <= high * (1 + OUTSIDE):
                between = f"{low:,.4g} to {high:,.4g}" if low < high else f"{low:,.4g} only"
                said.append(Outside(name.replace("_", " "), f"{value:,.4g}", between))
        for name in CATEGORIES:
            levels = sorted(set(table[name].astype(str)))
            if str(asked[name]) not in levels:
                said.append(Outside(name, str(asked[name]), ", ".join(levels)))
        return said


def learn(stored: StoredRuns) -> Learnt:
    """Fit the regression.

    Args:
        stored: of one kind of hardware; `StoredRuns.enough` holds.

    Raises:
        UsageError: too few groups.
    """
    table = stored.table
    names = _columns(table)
    steps = np.log(table["steps"].to_numpy(float))
    targets = table[["log_energy", "log_duration"]].to_numpy(float) - steps[:, None]
    regression = fit_by_group(_design(table, names), targets, table["group"].tolist())
    mape = {
        method: (
            _mape(table, found[:, ENERGY] - targets[:, ENERGY]),
            _mape(table, found[:, DURATION] - targets[:, DURATION]),
        )
        for method, found in regression.out_of_fold.items()
    }
    return Learnt(stored, regression, mape, tuple(names))


def _columns(table: pd.DataFrame) -> list[str]:
    """Features that vary, and a column for each level of a category but the first."""
    varied = [name for name in FEATURES if table[name].nunique() > 1]
    for name in CATEGORIES:
        levels = sorted(set(table[name].astype(str)))
        varied += [f"{name}={level}" for level in levels[1:]]
    return varied


def _design(table: pd.DataFrame, names: Sequence[str]) -> Values:
    """Logarithms of the features, and 0 or 1 for levels, shape (rows, p)."""
    columns = []
    for name in names:
        category, equals, level = name.partition("=")
        values = table[category]
        if equals:
            columns.append((values.astype(str) == level).to_numpy(float))
        else:
            columns.append(np.log(values.to_numpy(float)))
    return np.column_stack(columns) if columns else np.zeros((len(table), 0))


def _mape(table: pd.DataFrame, log_errors: Values) -> float:
    """Mean of |e^error - 1|, each group weighing the same."""
    shares = pd.Series(np.abs(np.expm1(log_errors))).groupby(table["group"].to_numpy()).mean()
    return float(shares.mean())
