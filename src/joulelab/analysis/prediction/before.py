"""Predict the energy of a new training from stored runs.

del Rey et al. (SEAA 2023) call it PRE: a regression on what is known before a training. A run has
the features f (`FEATURES`), used as logarithms, and energy E, duration T and steps S::

    ln (E / S) = F(ln f_1, ..., ln f_p)         and the same for T

Steps are divided out first: twice as many epochs take about twice the energy, and the regression
explains the rest. Configurations of one group are never split between the two sides of a fold.

The mean absolute errors of the methods are for held-out groups, as shares of the true value, with
equal weight per group; the baselines also use the regression's duration.

Regression with errors for unseen groups: ridge and kernel ridge
----------------------------------------------------------------

With features x (rows, p), standardised on the fitted rows, and targets y minus their means, both
are kernel ridge with a kernel k::

    linear   k(x, z) = x z / p                                  ridge on the features
    kernel   k(x, z) = x z / p + exp(-g |x - z|^2 / p)          plus deviations from the line
    fit      y = k(x, X) c,    c = (K + a I)^-1 y

Far from the data the second term vanishes and the line remains. The distance is measured by the
variance of the fit (of a Gaussian process with this kernel, in units of the targets' variance)::

    v(x) = a + k(x, x) - k(x, X) (K + a I)^-1 k(X, x)

Rows of one group (for instance repetitions of one configuration) share everything not in the
features. So a group is never split between the two sides of a fold, neither in the outer folds,
which give the errors, nor in the inner ones, which select a and g (nested cross-validation: Varma
and Simon, BMC Bioinformatics 7:91, 2006). Groups have equal weight in the selection and in the
errors.

Three procedures are tested on each outer fold: linear and kernel, each with its best a and g, and
*choice*, which selects the better of the two by the inner folds. The method with the smaller error
in the outer folds is used; the interval comes from the errors of *choice*, which include the cost
of selection. With r_j the root mean square error of group j of m, and V the mean of v over the rows
of the outer folds, each held out::

    s^2 = sum r_j^2 / m         interval of a new row: y +- t(0.975, m - 1) s max(1, v(x) / V)^1/2

Stored runs as training data: cleaned, one row per configuration
----------------------------------------------------------------

Runs of one configuration differ only by chance; they form one row with the mean of their
logarithms, and their variance is kept for the interval of a single run. Configurations that differ
only in engine, precision or protocol form one *group*: the same network, data and training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.rounding import Values
from joulelab.errors import UsageError

LINEAR, KERNEL = "linear", "kernel"
FEWEST_GROUPS = 6
OUTER_FOLDS, INNER_FOLDS = 10, 3
MOST_KERNEL_ROWS = 1000
"""Above this number of rows the kernel is not used: its cost is cubic."""
SMALLEST_SPREAD = 1e-9
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
"""Positive features, of the whole training unless per step."""
CATEGORIES = ("engine", "precision", "protocol")
OUTSIDE = 0.05
"""How far, as a share, a feature may be outside the seen range without a remark."""
ENERGY, DURATION = 0, 1


Groups = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Candidate:
    """A method with its penalty and, for the kernel, its width."""

    method: str
    penalty: float
    width: float = 0.0


LINEAR_GRID = tuple(Candidate(LINEAR, penalty) for penalty in (1e-3, 1e-2, 1e-1, 1.0, 10.0))
KERNEL_GRID = tuple(
    Candidate(KERNEL, penalty, width)
    for penalty in (1e-3, 1e-2, 1e-1)
    for width in (0.03, 0.1, 0.3, 1.0)
)


@dataclass(frozen=True)
class GroupedRegression:
    """A fitted regression with its cross-validation results.

    Attributes:
        method: the selected method, by target.
        out_of_fold: predictions of every row by a fit without its group, shape (rows, targets), by
            method.
        choice: the same for the procedure that selects between the methods.
        groups: m, the number of groups.
        deviation: s by target, in the unit of the targets.
    """

    method: tuple[str, ...]
    out_of_fold: Mapping[str, Values]
    choice: Values
    groups: int
    deviation: tuple[float, ...]
    _fits: Mapping[str, tuple[_Fit, ...]]
    _usual_variance: tuple[float, ...]

    def predict(self, features: Values, method: str | None = None) -> Values:
        """Predict the targets of new rows, shape (rows, targets).

        Args:
            features: shape (rows, p).
            method: ``linear`` or ``kernel``; default: the selected one for each target.
        """
        columns = [
            self._fits[method or taken][target].predict(features)[:, target]
            for target, taken in enumerate(self.method)
        ]
        return np.column_stack(columns)

    def half_widths(self, features: Values, target: int, more: float = 0.0) -> Values:
        """Half-width of the 95 % interval of a target for rows of unseen groups, shape (rows,).

        Args:
            features: shape (rows, p).
            target: number of the target.
            more: variance of a single run around its row, for the interval of a single run.
        """
        from scipy.stats import t

        quantile = float(t.ppf((1.0 + CONFIDENCE) / 2, self.groups - 1))
        variance = self._fits[self.method[target]][target].variance(features)
        wider = np.maximum(variance / self._usual_variance[target], 1.0)
        half: Values = quantile * np.sqrt(self.deviation[target] ** 2 * wider + more)
        return half


def fit_by_group(features: Values, targets: Values, groups: Sequence[object]) -> GroupedRegression:
    """Fit both methods, and estimate their errors for unseen groups.

    Args:
        features: shape (rows, p).
        targets: shape (rows, targets).
        groups: the group of each row.

    Raises:
        UsageError: fewer than six groups.

    Eight groups of two rows on a line, and the prediction for a ninth:

    >>> x = np.repeat(np.arange(8.0), 2)[:, None]
    >>> found = fit_by_group(x, 3 * x + 1, np.repeat(np.arange(8), 2).tolist())
    >>> found.method, found.predict(np.array([[10.0]])).round(1).tolist()
    (('linear',), [[31.0]])
    """
    numbers = np.unique(np.asarray([str(one) for one in groups]), return_inverse=True)[1]
    count = int(numbers.max()) + 1 if len(numbers) else 0
    if count < FEWEST_GROUPS:
        raise UsageError(
            f"{count} groups are too few for a regression", f"{FEWEST_GROUPS} is the minimum"
        )
    grid = LINEAR_GRID if len(numbers) > MOST_KERNEL_ROWS else LINEAR_GRID + KERNEL_GRID
    methods = tuple(dict.fromkeys(one.method for one in grid))
    out = {method: np.full(targets.shape, np.nan) for method in (*methods, "choice")}
    for train, test in _folds(numbers, OUTER_FOLDS):
        x, y, g = features[train], targets[train], numbers[train]
        for target, best in enumerate(_best(x, y, g, grid)):
            for method, candidate in best.items():
                fitted = _Fit(candidate, x, y).predict(features[test])
                out[method][test, target] = fitted[:, target]
    choice = out.pop("choice")
    errors = {method: _group_errors(found - targets, numbers) for method, found in out.items()}
    taken = tuple(
        min(methods, key=lambda method: float(errors[method][target]))
        for target in range(targets.shape[1])
    )
    final = _best(features, targets, numbers, grid)
    return GroupedRegression(
        taken,
        out,
        choice,
        count,
        tuple(map(float, _group_errors(choice - targets, numbers))),
        {m: tuple(_Fit(best[m], features, targets) for best in final) for m in methods},
        tuple(
            _usual_variance(final[target][method], features, targets, numbers)
            for target, method in enumerate(taken)
        ),
    )


def _folds(groups: Groups, most: int) -> Iterator[tuple[Groups, Groups]]:
    """Rows to fit and rows to predict; leave one group out if there are few.

    The groups are dealt out by size, the largest first, each to the fold that is smallest so far.
    """
    sizes = np.bincount(groups)
    folds = min(most, int(np.count_nonzero(sizes)))
    fold_of, rows = np.zeros(len(sizes), dtype=np.intp), np.zeros(folds)
    for group in np.argsort(sizes, kind="stable")[::-1]:
        fold_of[group] = np.argmin(rows)
        rows[fold_of[group]] += sizes[group]
    for fold in range(folds):
        held_out = fold_of[groups] == fold
        yield np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _best(
    x: Values, y: Values, groups: Groups, grid: Sequence[Candidate]
) -> list[dict[str, Candidate]]:
    """For each target the best candidate of each method, and of both as ``choice``."""
    predicted = {one: np.full(y.shape, np.nan) for one in grid}
    for train, test in _folds(groups, INNER_FOLDS):
        for one in grid:
            predicted[one][test] = _Fit(one, x[train], y[train]).predict(x[test])
    errors = {one: _group_errors(found - y, groups) for one, found in predicted.items()}
    best: list[dict[str, Candidate]] = []
    for target in range(y.shape[1]):
        ranked = sorted(grid, key=lambda one: float(errors[one][target]))
        found = {one.method: one for one in reversed(ranked)}
        best.append({**found, "choice": ranked[0]})
    return best


def _group_errors(errors: Values, groups: Groups) -> Values:
    """Root mean square error by target, with equal weight per group."""
    sizes = np.bincount(groups)[groups]
    weights = 1.0 / sizes / len(np.unique(groups))
    return np.asarray(np.sqrt(weights @ errors**2), dtype=float)


def _usual_variance(one: Candidate, x: Values, y: Values, groups: Groups) -> float:
    """V: the mean of v over the groups, each held out."""
    variances = np.full(len(x), np.nan)
    for train, test in _folds(groups, OUTER_FOLDS):
        variances[test] = _Fit(one, x[train], y[train]).variance(x[test])
    sizes = np.bincount(groups)[groups]
    return float(np.sum(variances / sizes) / len(np.unique(groups)))


class _Fit:
    """A candidate fitted on some rows.

    Args:
        one: the candidate.
        x: features, shape (rows, p).
        y: targets, shape (rows, targets).
    """

    def __init__(self, one: Candidate, x: Values, y: Values) -> None:
        self._one = one
        self._middle, spread = x.mean(axis=0), x.std(axis=0)
        # A feature that is constant in these rows has no information, however small its noise.
        varies = spread > SMALLEST_SPREAD * np.maximum(np.abs(self._middle), 1.0)
        self._spread = np.where(varies, spread, np.inf)
        self._rows = self._standardised(x)
        self._mean = y.mean(axis=0)
        self._penalised = self._between(self._rows, self._rows)
        self._penalised.flat[:: len(x) + 1] += one.penalty
        from scipy import linalg  # heavy, and not every study is predicted by regression

        self._weights: Values = linalg.solve(self._penalised, y - self._mean, assume_a="pos")

    def predict(self, x: Values) -> Values:
        """All targets of new rows, shape (rows, targets)."""
        found: Values = self._between(self._standardised(x), self._rows) @ self._weights
        found += self._mean
        return found

    def variance(self, x: Values) -> Values:
        """The variance v of new rows, shape (rows,)."""
        new = self._standardised(x)
        across = self._between(new, self._rows)
        own = np.diag(self._between(new, new))
        explained = np.sum(across * np.linalg.solve(self._penalised, across.T).T, axis=1)
        found: Values = self._one.penalty + np.maximum(own - explained, 0.0)
        return found

    def _standardised(self, x: Values) -> Values:
        scaled: Values = (x - self._middle) / self._spread
        return scaled

    def _between(self, rows: Values, others: Values) -> Values:
        size = max(rows.shape[1], 1)
        line: Values = rows @ others.T / size
        if self._one.method == LINEAR:
            return line
        squares = (rows**2).sum(1)[:, None] + (others**2).sum(1) - 2 * size * line
        bend: Values = np.exp(-self._one.width / size * np.maximum(squares, 0.0))
        return line + bend


@dataclass(frozen=True)
class StoredRuns:
    """Usable stored runs, one row per configuration.

    Attributes:
        table: ``group``, the features, the categories, ``log_energy`` and ``log_duration`` (means
            of logarithms), ``runs``.
        runs: number of runs.
        left_out: number of runs by reason.
        variance: of single runs around their configuration, for both logarithms.
    """

    table: pd.DataFrame
    runs: int
    left_out: Mapping[str, int]
    variance: tuple[float, float]

    @property
    def groups(self) -> int:
        """Number of groups: configurations that differ in what is trained."""
        return int(self.table["group"].nunique())

    @property
    def enough(self) -> bool:
        """Whether there are enough groups for a regression."""
        return self.groups >= FEWEST_GROUPS

    def of_group(self, group: str) -> pd.DataFrame:
        """The rows of one group; empty if it was never run."""
        return self.table[self.table["group"] == group]


def stored_runs(runs: pd.DataFrame) -> StoredRuns:
    """Clean a table of runs, and reduce it to one row per configuration.

    Args:
        runs: one row per run: ``group``, the features, the categories, ``energy_j`` and
            ``duration_s``; NaN where unknown. Unknown and non-positive values are dropped and
            counted.

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
    """Reasons to leave runs out; a run gets the first that holds."""
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
class Outside:
    """A feature outside the range of the stored runs.

    Attributes:
        feature: its name, in words.
        value: the value asked for.
        seen: the range seen, in words.
    """

    feature: str
    value: str
    seen: str

    def __str__(self) -> str:
        """``batch size 4,096 (seen: 32 to 512)``."""
        return f"{self.feature} {self.value} (seen: {self.seen})"


@dataclass(frozen=True)
class Row:
    """The prediction of a regression for a single run of one configuration.

    Attributes:
        energy_j: joules.
        energy_low_j: lower end of the 95 % interval.
        energy_high_j: upper end.
        duration_s: seconds.
        duration_low_s: lower end of the 95 % interval.
        duration_high_s: upper end.
        outside: features outside the range seen.
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
    """A regression fitted on stored runs.

    Attributes:
        stored: the runs it was fitted on.
        regression: of ln energy and ln duration per step.
        mape: mean absolute error of the held-out groups, energy and duration, by method.
    """

    stored: StoredRuns
    regression: GroupedRegression
    mape: Mapping[str, tuple[float, float]]
    _names: tuple[str, ...] = field(repr=False)

    def predict(self, asked: pd.DataFrame, method: str | None = None) -> list[Row]:
        """Predict a single run of each configuration.

        Args:
            asked: one row per configuration, with the features and the categories.
            method: ``linear`` or ``kernel``; default: the selected one. The interval is always that
                of the selection between them.
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
        """Mean absolute error of a constant power times the regression's duration.

        Args:
            power_w: for instance the thermal design power.
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
        stored: runs of one kind of hardware; `StoredRuns.enough` must hold.

    Raises:
        UsageError: too few groups.

    Ten networks that take one joule per step, whatever else they are:

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
    """Features that vary, and a column for each level of a category except the first."""
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
    """Mean of |e^error - 1|, with equal weight per group."""
    shares = pd.Series(np.abs(np.expm1(log_errors))).groupby(table["group"].to_numpy()).mean()
    return float(shares.mean())
