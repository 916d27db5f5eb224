"""Regression whose error is that of a group it has never seen: ridge and kernel ridge.

With features x (rows, p), standardised on the rows that are fitted, and targets y less their
means, both are kernel ridge with a kernel k::

    linear   k(x, z) = x z / p                                  ridge on the features
    kernel   k(x, z) = x z / p + exp(-g |x - z|^2 / p)          and what bends about the line
    fit      y = k(x, X) c,    c = (K + a I)^-1 y

Far from all that was seen the second term vanishes and the line is left. How far that is says the
variance of the fit (that of a Gaussian process with this kernel, in units of the targets')::

    v(x) = a + k(x, x) - k(x, X) (K + a I)^-1 k(X, x)

Rows of one group (repetitions of one configuration, say) share all that the features do not tell.
So a group is never on both sides of a fold, neither of the outer folds, from which the errors are,
nor of the inner ones, in which a and g are chosen (nested cross-validation: Varma and Simon, BMC
Bioinformatics 7:91, 2006). Every group weighs the same in what is chosen and in the errors.

Three procedures are held against each outer fold: linear and kernel, each with its best a and g,
and *choice*, which takes the better of both by the inner folds. The method that does better in the
outer folds is taken in the end; the interval is from the errors of *choice*, which has paid for
choosing. With r_j the root mean square error of group j of m, and V the mean of v over the rows of
the outer folds, each left out::

    s^2 = sum r_j^2 / m         interval of a new row: y +- t(0.975, m - 1) s max(1, v(x) / V)^1/2
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulelab.analysis.prediction.traces import Values
from joulelab.errors import UsageError

LINEAR, KERNEL = "linear", "kernel"
FEWEST_GROUPS = 6
OUTER_FOLDS, INNER_FOLDS = 10, 3
MOST_KERNEL_ROWS = 1000
"""Above so many rows the kernel is left out: its cost grows with their cube."""
CONFIDENCE = 0.95
SMALLEST_SPREAD = 1e-9

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
    """A fitted regression, with what cross-validation says of it.

    Attributes:
        method: that is taken, by target.
        out_of_fold: predictions of every row by a fit without its group, shape (rows, targets), by
            method.
        choice: the same of the procedure that chooses between the methods.
        groups: m, their number.
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
        """The targets of new rows, shape (rows, targets).

        Args:
            features: shape (rows, p).
            method: one of the two; where not given, that which is taken for each target.
        """
        columns = [
            self._fits[method or taken][target].predict(features)[:, target]
            for target, taken in enumerate(self.method)
        ]
        return np.column_stack(columns)

    def half_widths(self, features: Values, target: int, more: float = 0.0) -> Values:
        """Half of the 95 % interval of one target of rows of groups never seen, shape (rows,).

        Args:
            features: shape (rows, p).
            target: number of the target.
            more: variance of one run about its row, where one run is asked for.
        """
        from scipy.stats import t

        quantile = float(t.ppf((1.0 + CONFIDENCE) / 2, self.groups - 1))
        variance = self._fits[self.method[target]][target].variance(features)
        wider = np.maximum(variance / self._usual_variance[target], 1.0)
        half: Values = quantile * np.sqrt(self.deviation[target] ** 2 * wider + more)
        return half


def fit_by_group(features: Values, targets: Values, groups: Sequence[object]) -> GroupedRegression:
    """Fit both methods, and find their errors for groups never seen.

    Args:
        features: shape (rows, p).
        targets: shape (rows, targets).
        groups: the group of each row.

    Raises:
        UsageError: fewer than six groups.

    Eight groups of two rows on a line, and what a ninth would be:

    >>> x = np.repeat(np.arange(8.0), 2)[:, None]
    >>> found = fit_by_group(x, 3 * x + 1, np.repeat(np.arange(8), 2).tolist())
    >>> found.method, found.predict(np.array([[10.0]])).round(1).tolist()
    (('linear',), [[31.0]])
    """
    numbers = np.unique(np.asarray([str(one) for one in groups]), return_inverse=True)[1]
    count = int(numbers.max()) + 1 if len(numbers) else 0
    if count < FEWEST_GROUPS:
        raise UsageError(
            f"{count} groups are too few for a regression", f"{FEWEST_GROUPS} are the fewest"
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
    """Rows to fit and rows to predict; every group alone where there are few."""
    from sklearn.model_selection import GroupKFold

    folds = min(most, len(np.unique(groups)))
    yield from GroupKFold(folds).split(groups, groups=groups)


def _best(
    x: Values,
    y: Values,
    groups: Groups,
    grid: Sequence[Candidate],
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
    """Root mean square error by target, each group weighing the same."""
    sizes = np.bincount(groups)[groups]
    weights = 1.0 / sizes / len(np.unique(groups))
    return np.asarray(np.sqrt(weights @ errors**2), dtype=float)


def _usual_variance(one: Candidate, x: Values, y: Values, groups: Groups) -> float:
    """V: the mean of v over the groups, each left out."""
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
        from sklearn.kernel_ridge import KernelRidge

        self._one = one
        self._middle, spread = x.mean(axis=0), x.std(axis=0)
        # A feature that is constant in these rows says nothing, however small its noise.
        varies = spread > SMALLEST_SPREAD * np.maximum(np.abs(self._middle), 1.0)
        self._spread = np.where(varies, spread, np.inf)
        self._rows = self._standardised(x)
        self._mean = y.mean(axis=0)
        self._kernel = self._between(self._rows, self._rows)
        self._ridge = KernelRidge(alpha=one.penalty, kernel="precomputed")
        self._ridge.fit(self._kernel, y - self._mean)

    def predict(self, x: Values) -> Values:
        """All targets of new rows, shape (rows, targets)."""
        found: Values = self._ridge.predict(self._between(self._standardised(x), self._rows))
        whole: Values = found.reshape(len(x), len(self._mean)) + self._mean
        return whole

    def variance(self, x: Values) -> Values:
        """V of new rows, shape (rows,)."""
        new = self._standardised(x)
        across = self._between(new, self._rows)
        own = np.diag(self._between(new, new))
        penalised = self._kernel + self._one.penalty * np.eye(len(self._kernel))
        explained = np.sum(across * np.linalg.solve(penalised, across.T).T, axis=1)
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
