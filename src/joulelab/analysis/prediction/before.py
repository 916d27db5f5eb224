"""The energy of a training that nobody has run, from runs that somebody has.

del Rey et al. (SEAA 2023) call it PRE: a regression on what is known before a training. A run has
the features f (`stored_runs.FEATURES`), of which logarithms are taken, and energy E, duration T and
steps S::

    ln (E / S) = F(ln f_1, ..., ln f_p)         and the same for T

Steps are taken out first: twice as many epochs take twice the energy, as far as nothing else is
known, and the regression has the rest to explain. Configurations of one group are never on both
sides of a fold (`grouped_regression`).

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

from joulelab.analysis.prediction.grouped_regression import GroupedRegression, fit_by_group
from joulelab.analysis.prediction.stored_runs import CATEGORIES, FEATURES, StoredRuns
from joulelab.analysis.prediction.traces import Values

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

    Ten networks that take a joule a step, whatever else they are:

    >>> from joulelab.analysis.prediction.stored_runs import stored_runs
    >>> steps = 10.0 * np.arange(1, 11)
    >>> runs = pd.DataFrame({name: np.full(10, 2.0) for name in FEATURES}).assign(steps=steps)
    >>> runs = runs.assign(group=list("abcdefghij"), energy_j=steps, duration_s=steps)
    >>> runs = runs.assign(engine="reference", precision="fp32", protocol="default")
    >>> learnt = learn(stored_runs(runs))
    >>> round(learnt.predict(runs.head(1).assign(steps=1000.0))[0].energy_j, 6)
    1000.0
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
