"""Kruskal-Wallis in strata: does a factor move energy with the other factors held fixed?

A stratum contains the runs with the same levels of all other factors. Ranks are within the stratum,
so a small effect is not hidden by the spread that a large one causes. With
n_si runs of level i among the N_s of stratum s, and r the ranks (ties get their mean rank)::

    T_i  = sum_s w_s (sum of r - n_si (N_s + 1) / 2)                 w_s = 1 / (N_s + 1)
    V_s  = sum (r - (N_s + 1) / 2)^2
    C_ij = sum_s w_s^2 V_s n_si (N_s [i = j] - n_sj) / (N_s (N_s - 1))
    Q    = T' C^+ T          df = rank of C, k - 1 where all levels meet      p from chi-square

C is the exact covariance of T if levels are assigned at random within each stratum, ties included.
Nothing else is assumed about the strata: they may be far apart, scatter unequally, differ in size
and lack levels. For two levels Q is the square of van Elteren's statistic (Bulletin of the
International Statistical Institute 37, 1960), whose weights these are; for equal strata it is that
of Mack and Skillings (JASA 75, 1980), with one run in each cell Friedman's, and with one stratum
the H of Kruskal and Wallis. In general it is the extended Mantel-Haenszel statistic of
Landis, Heyman and Koch (International Statistical Review 46, 1978) on those ranks.

Effect sizes as in `joulelab.analysis.kruskal`, with Q for H and sum_s (N_s - 1) for n - 1::

    epsilon^2 = Q / (n - S)        eta^2 = (Q - df) / (n - S - df)       n runs in S strata

They say how consistently the factor orders the energies of a stratum, not which share of the total
variation it explains. An effect that changes sign between strata cancels out: that is an
interaction (`joulelab.analysis.interaction`). Aligned ranks are no alternative: they need a run in
every cell and additive effects, and find spurious effects if energies scatter in proportion to
their size.

Chi-square is an approximation, and too bold for very few runs: three against three that do not
overlap give p = .0495, although chance alone does that once in ten times. With ``exact`` the p of
few runs is therefore counted: the share of all arrangements of the levels within the strata that
have a Q as large as this one.

The intervals come from a percentile bootstrap that resamples the runs of each cell; Q includes the
ties of the resample. If levels overlap in no stratum there is no interval: every resample has the
same order, and ranks cannot say how far apart the levels are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.frames import ENERGY, complete, levels, names, require_columns, results
from joulelab.analysis.kruskal import ends_of_ties, magnitude, members_of, resampled_ranks
from joulelab.analysis.posthoc import holm
from joulelab.analysis.resampling import batches, draw_counts, percentile_interval, require_chance
from joulelab.analysis.rounding import ROUNDING, Values, constant, without_noise

COLUMNS = (
    "factor q df p n k strata eta_squared magnitude epsilon_squared eta_low eta_high separate "
    "alone dropped reason"
)
PAIRS = (
    "factor first second mean_first_j mean_second_j epsilon_squared p p_adjusted n strata reason"
)
MOST_LEVELS = 30
"""With more levels there is no interval: each resample inverts C."""
MOST_ARRANGEMENTS = 20_000
"""With more arrangements chi-square is close enough."""

Codes = npt.NDArray[np.intp]


def stratified(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    energy: str = ENERGY,
    resamples: int = 0,
    seed: int = 0,
    *,
    exact: bool = False,
) -> pd.DataFrame:
    """Test and effect size of every factor on energy, with the others held fixed.

    Args:
        runs: one row per run.
        factors: columns with the levels; all but the tested one form the strata.
        energy: column in joules.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.
        exact: count p where there are few runs.

    Returns:
        One row per factor, in the order given: ``factor``, ``q``, ``df``, ``p``, ``n`` and ``k``
        (runs and levels used), ``strata``, ``eta_squared``, ``magnitude``,
        ``epsilon_squared``, ``eta_low`` and ``eta_high`` (95 %), ``separate`` (whether levels
        overlap in no stratum, so that there is no interval), ``alone`` (runs of strata with a
        single level, which carry no information), ``dropped`` (runs without an energy or a level)
        and ``reason``; if `exact` also ``least_p``, the smallest p that such runs can have, or 0
        where they are too many to count.

    Raises:
        UsageError: a column is absent, the energies are not numbers, or the resamples are negative.

    Worked example: ReLU adds a joule to networks of 10 and of 90 J. Ranks within the networks are
    1, 2 and 3, 4, so w T = 2 / 5 each, V = 5, C = 2 (1 / 25) (5 * 4 / 12) and Q = .64 / .1333; if
    all are ranked together the networks hide it: H = 1.33, p = .25.

    >>> runs = pd.DataFrame({"relu": [0, 0, 1, 1] * 2, "network": ["s"] * 4 + ["l"] * 4,
    ...     "energy_net_j": [10.0, 10.1, 11.0, 11.1, 90.0, 90.1, 91.0, 91.1]})
    >>> stratified(runs, ["relu", "network"])[["factor", "q", "df", "p"]].round(3)
        factor    q  df      p
    0     relu  4.8   1  0.028
    1  network  4.8   1  0.028
    """
    require_chance(resamples)
    columns = names(factors)
    rows = [
        _test(runs, factor, columns, energy, resamples, seed, exact=exact) for factor in columns
    ]
    return results(rows, f"{COLUMNS} least_p" if exact else COLUMNS, whole=["df"])


def level_pairs(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    energy: str = ENERGY,
    *,
    exact: bool = False,
) -> pd.DataFrame:
    """Test every pair of levels of a factor, with the other factors held fixed.

    Args:
        runs: one row per run.
        factors: columns with the levels.
        energy: column in joules.
        exact: count p where there are few runs.

    Returns:
        One row per pair of levels of one factor: ``factor``, ``first``, ``second``, the mean
        energies of both in the strata that have both, ``epsilon_squared``, ``p``, ``p_adjusted``
        (Holm, over the pairs of that factor), ``n``, ``strata`` and ``reason``.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    >>> runs = pd.DataFrame({"batch": [1, 1, 2, 2, 4, 4], "energy_net_j": [9., 8, 5, 6, 5.5, 4]})
    >>> level_pairs(runs, "batch")[["first", "second", "p", "p_adjusted"]].round(3)
      first second      p  p_adjusted
    0     1      2  0.121       0.364
    1     1      4  0.121       0.364
    2     2      4  0.439       0.439
    """
    columns = names(factors)
    require_columns(runs, [*columns, energy])
    whole = complete(runs[[*columns, energy]], [energy], columns).rows
    tables = [results([], PAIRS)]
    for factor in columns:
        at = {level: np.flatnonzero(whole[factor] == level) for level in levels(whole[factor])}
        rows = [
            _pair(
                whole.iloc[np.sort(np.append(at[first], at[second]))],
                factor,
                columns,
                energy,
                exact=exact,
            )
            | {"first": first, "second": second}
            for first, second in itertools.combinations(at, 2)
        ]
        table = results(rows, PAIRS).astype({"first": object, "second": object})
        tables.append(table.assign(p_adjusted=holm(table["p"].to_numpy(dtype=float))))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _pair(
    rows: pd.DataFrame, factor: str, columns: list[str], energy: str, *, exact: bool
) -> dict[str, object]:
    """The test of the two levels that these runs have."""
    design = _design(rows, factor, columns, energy)
    mine = rows.iloc[design.kept]
    first, second = (
        float(mine.loc[mine[factor] == level, energy].mean()) for level in levels(rows[factor])
    )
    return _tested(design, exact=exact) | {
        "factor": factor,
        "mean_first_j": first,
        "mean_second_j": second,
    }


@dataclass(frozen=True)
class _Design:
    """The runs used, ordered by stratum and within it by energy.

    Attributes:
        kept: (n,), their positions among the rows.
        values: (n,), rounded to twelve digits.
        codes: (n,), index of the level.
        strata: (n,), index of the stratum.
        sizes: (strata, levels), n_si.
        alone: number of rows in strata with a single level.
    """

    kept: Codes
    values: Values
    codes: Codes
    strata: Codes
    sizes: Values
    alone: int

    @property
    def cells(self) -> Codes:
        """Index of the cell of each run, shape (n,)."""
        numbers: Codes = self.strata * self.sizes.shape[1] + self.codes
        return numbers


def _design(rows: pd.DataFrame, factor: str, columns: Sequence[str], energy: str) -> _Design:
    others = [name for name in columns if name != factor]
    strata = (
        rows.groupby(others, sort=False).ngroup().to_numpy(dtype=np.intp)
        if others and len(rows)
        else np.zeros(len(rows), np.intp)
    )
    codes = pd.factorize(rows[factor])[0]
    k = int(codes.max(initial=-1)) + 1
    cells = np.unique(strata * max(k, 1) + codes)
    several = np.bincount(cells // max(k, 1), minlength=1) > 1  # strata with two levels
    kept = np.flatnonzero(several[strata]) if len(rows) else np.empty(0, np.intp)
    values = without_noise(rows[energy])
    kept = kept[np.lexsort((values[kept], strata[kept]))]
    strata = np.unique(strata[kept], return_inverse=True)[1]
    codes = np.unique(codes[kept], return_inverse=True)[1]
    k, count = int(codes.max(initial=-1)) + 1, int(strata.max(initial=-1)) + 1
    sizes = np.bincount(strata * k + codes, minlength=count * k).reshape(count, k)
    return _Design(kept, values[kept], codes, strata, sizes.astype(float), len(rows) - len(kept))


def _test(
    runs: pd.DataFrame,
    factor: str,
    columns: list[str],
    energy: str,
    resamples: int,
    seed: int,
    *,
    exact: bool,
) -> dict[str, object]:
    require_columns(runs, [*columns, energy])
    whole = complete(runs[[*columns, energy]], [energy], columns)
    design = _design(whole.rows, factor, columns, energy)
    row = _tested(design, exact=exact) | {
        "factor": factor,
        "alone": design.alone,
        "dropped": whole.dropped,
    }
    several = bool((design.sizes > 1).any())
    row["separate"] = not row["reason"] and several and _separate(design)
    if row["reason"] or row["separate"] or not several or design.sizes.shape[1] > MOST_LEVELS:
        return row
    # Each factor gets the same random numbers, whatever other factors are requested.
    rng = np.random.default_rng(seed)
    groups, n = members_of(design.cells), len(design.values)
    parts = [_q(design, draw_counts(rng, batch, groups, n))[0] for batch in batches(resamples, n)]
    if parts:
        low, high = percentile_interval(np.concatenate(parts))
        row["eta_low"], row["eta_high"] = (_eta(end, design) for end in (low, high))
    return row


def _tested(design: _Design, *, exact: bool) -> dict[str, object]:
    """Statistic, p and effect sizes, or the reason why they are undefined."""
    n, (count, k) = len(design.kept), design.sizes.shape
    reason = _undefined(design)
    row = {"n": n, "k": k, "strata": count, "magnitude": "", "reason": reason}
    if reason:
        return row
    q, df = _q(design, np.ones((1, n)))
    eta = _eta(float(q[0]), design, df)
    counted = _counted(design, float(q[0])) if exact else None
    p, least_p = counted or (float(stats.chi2.sf(q[0], df)), 0.0)
    return row | {
        "q": float(q[0]),
        "df": df,
        "p": p,
        "least_p": least_p,
        "eta_squared": eta,
        "magnitude": magnitude(eta),
        "epsilon_squared": float(q[0]) / (n - count),
    }


def _undefined(design: _Design) -> str:
    if not len(design.kept):
        if not design.alone:
            return "no run has an energy and a level"
        return "no two levels share the levels of the other factors"
    if all(constant(design.values[members]) for members in members_of(design.strata)):
        return "all values are the same"
    return ""


def _eta(q: float, design: _Design, df: int | None = None) -> float:
    used = design.sizes.shape[1] - 1 if df is None else df
    left = len(design.values) - design.sizes.shape[0] - used
    return (q - used) / left if left > 0 else np.nan


def _separate(design: _Design) -> bool:
    """Whether the levels of every stratum are separate: each cell contiguous, without ties.

    The values are sorted within each stratum.
    """
    cells, values = design.cells, design.values
    border = cells[1:] != cells[:-1]
    tied = border & (design.strata[1:] == design.strata[:-1]) & (values[1:] == values[:-1])
    return int(border.sum()) + 1 == len(np.unique(cells)) and not tied.any()


def _q(design: _Design, counts: Values) -> tuple[Values, int]:
    """The statistic of each resample, shape (resamples,), and its degrees of freedom.

    Args:
        design: the runs, sorted.
        counts: how often each was drawn, shape (resamples, n); each cell keeps its size.
    """
    sizes, strata = design.sizes, design.strata
    of_stratum = sizes.sum(axis=1)  # N_s
    starts = np.append(0, np.cumsum(of_stratum)[:-1])
    ranks = _centred_ranks(design, counts, of_stratum, starts)
    drawn = counts * ranks
    within = np.add.reduceat(drawn * ranks, starts.astype(np.intp), axis=1)  # V_s, (resamples, S)
    drawn /= of_stratum[strata] + 1
    members = members_of(design.codes)
    t = np.stack([drawn[:, one].sum(axis=1) for one in members], axis=1)  # (resamples, k)
    return _quadratic(t, _covariances(sizes, within))


def _centred_ranks(design: _Design, counts: Values, of_stratum: Values, starts: Values) -> Values:
    """Ranks within the strata minus their mean, shape (resamples, n)."""
    # Strata are contiguous and keep their size: rank within one = rank among all minus its start.
    ranks = resampled_ranks(counts, ends_of_ties(design.values, design.strata))[0]
    ranks -= starts[design.strata]
    ranks -= (of_stratum[design.strata] + 1) / 2
    return ranks


def _covariances(sizes: Values, within: Values) -> Values:
    """C of every T, shape (resamples, levels, levels), from V_s, shape (resamples, strata)."""
    of_stratum = sizes.sum(axis=1)
    scale = within / ((of_stratum + 1) ** 2 * of_stratum * (of_stratum - 1))
    whole: Values = -(sizes.T * scale[:, None]) @ sizes
    level = np.arange(sizes.shape[1])
    whole[:, level, level] += (scale * of_stratum) @ sizes
    return whole


def _quadratic(t: Values, covariances: Values) -> tuple[Values, int]:
    """T' C^+ T of each T, and the rank of the last C.

    Args:
        t: shape (any number, k).
        covariances: of each T or one for all, shape (any number or 1, k, k).
    """
    size, vectors = np.linalg.eigh(covariances)
    largest = np.maximum(size[:, -1:], np.finfo(float).tiny)
    known = size > t.shape[1] * np.finfo(float).eps * largest
    squares = (t[:, None, :] @ vectors)[:, 0, :] ** 2
    q: Values = np.divide(squares, size, out=np.zeros_like(squares), where=known).sum(axis=1)
    return q, int(known[-1].sum()) if len(known) else 0


def _counted(design: _Design, q: float) -> tuple[float, float] | None:
    """The share of arrangements with such a Q, and the smallest share; `None` for too many."""
    sizes = design.sizes
    of_stratum = sizes.sum(axis=1)
    many = 0.0
    for counts in sizes:
        many += math.lgamma(counts.sum() + 1) - sum(math.lgamma(count + 1) for count in counts)
    if many > math.log(MOST_ARRANGEMENTS) + ROUNDING:
        return None
    starts = np.append(0, np.cumsum(of_stratum)[:-1])
    ranks = _centred_ranks(design, np.ones((1, len(design.values))), of_stratum, starts)[0]
    members = members_of(design.strata)
    t = np.zeros((1, sizes.shape[1]))
    for counts, one in zip(sizes, members, strict=True):
        here = _arrangements(ranks[one] / (len(one) + 1), counts.astype(int))
        t = (t[:, None] + here[None]).reshape(-1, sizes.shape[1])
    within = np.array([(ranks[one] ** 2).sum() for one in members])
    every = _quadratic(t, _covariances(sizes, within[None]))[0]
    share = float((every >= q - ROUNDING * max(q, 1.0)).mean())
    return share, float((every >= every.max() * (1 - ROUNDING)).mean())


def _arrangements(scores: Values, counts: Codes) -> Values:
    """The sum of the scores of each level, for every arrangement: shape (arrangements, levels).

    >>> _arrangements(np.array([1.0, 2.0, 4.0]), np.array([1, 2])).tolist()
    [[1.0, 6.0], [2.0, 5.0], [4.0, 3.0]]
    """
    first, rest = int(counts[0]), counts[1:]
    if not len(rest):
        return np.array([[scores.sum()]])
    parts = []
    for chosen in itertools.combinations(range(len(scores)), first):
        others = _arrangements(np.delete(scores, chosen), rest)
        mine = np.full((len(others), 1), scores[list(chosen)].sum())
        parts.append(np.hstack([mine, others]))
    return np.concatenate(parts)
